"""Files are written whole or not at all, and never over an input."""

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from torchmetrics_fmiqa.safe_write import (
    WriteError,
    atomic_write,
    check_folder,
    check_no_inputs,
    check_writable,
    make_folder,
    write_bytes,
    write_text,
)


def _write_half(path, error):
    with atomic_write(path) as draft:
        draft.write_text("half")
        raise error


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("before")
    for error, raised in (KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.ENOSPC, "disk full"), WriteError):
        with pytest.raises(raised, match=r"cannot write '.*table\.csv': disk full" if raised is WriteError else None):
            _write_half(target, error)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert target.read_text() == "before"


def test_a_replaced_file_keeps_its_permissions_and_its_links(tmp_path):
    target, link = tmp_path / "real.csv", tmp_path / "link.csv"
    target.write_text("before")
    target.chmod(0o640)
    link.symlink_to(target)
    write_text(link, "after")
    assert link.is_symlink()
    assert target.read_text() == "after"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "new", "")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_to_what_is_not_there_yet_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "there" / "new.csv")
    write_text(tmp_path / "link.csv", "1")
    assert (tmp_path / "there" / "new.csv").read_text() == "1"


def test_pipes_and_devices_are_written_to_and_stay(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_writable(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_bytes(pipe, b"scores")
    reader.join(10)
    assert got == [b"scores"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    full = tmp_path / "full.csv"
    full.symlink_to("/dev/full")
    with pytest.raises(WriteError, match=r"cannot write '.*full.csv': No space left"):
        write_bytes(full, b"scores")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/a.csv", "there is no folder '.*missing'"),
        ("n" * 300 + ".csv", "name too long"),
        ("file.csv/a.csv", "Not a directory"),
        ("read_only.csv", "read-only"),
        ("folder", "is a folder: give the name of a file"),
        ("loop.csv", "symbolic links"),
    ],
)
def test_what_cannot_be_written_is_named_before_and_at_the_writing(tmp_path, name, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.csv").write_text("kept")
    (tmp_path / "read_only.csv").write_text("kept")
    (tmp_path / "read_only.csv").chmod(0o444)
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    before = sorted(tmp_path.rglob("*"))
    for write in (check_writable, lambda path: write_text(path, "x")):
        with pytest.raises(ValueError, match=f"(?i){reason}") as caught:
            write(tmp_path / name)
        assert repr(str(tmp_path / name)) in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "read_only.csv").read_text() == "kept"


def test_checking_leaves_a_file_and_its_folder_as_they_were(tmp_path):
    target = tmp_path / "a.csv"
    check_writable(target)
    assert not list(tmp_path.iterdir())
    target.write_text("kept")
    os.utime(target, (1, 1))
    check_writable(target)
    assert (target.read_text(), target.stat().st_mtime) == ("kept", 1)


def test_an_input_is_known_by_every_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = tmp_path / "in.csv"
    one.write_text("1")
    Path("link.csv").symlink_to(one)
    Path("hard.csv").hardlink_to(one)
    (tmp_path / "folder").mkdir()
    for name in ("in.csv", "./folder/../in.csv", "link.csv", "hard.csv", one):
        with pytest.raises(ValueError, match=r"is an input \('.*in.csv'\), which would be lost"):
            check_writable(name, [None, one])
    check_no_inputs(["other.csv"], [one, tmp_path / "not_there.csv"])
    check_no_inputs([tmp_path / "in.csv"], [tmp_path / "n" / "in.csv"])


def test_folders_are_made_or_refused(tmp_path):
    check_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert not list((tmp_path / "a" / "b").iterdir())
    (tmp_path / "file").write_text("")
    for make in (make_folder, check_folder):
        with pytest.raises(WriteError, match="there is a file of that name"):
            make(tmp_path / "file")
        with pytest.raises(WriteError, match=r"(?i)cannot make the folder '.*n+'.*too long"):
            make(tmp_path / ("n" * 300))


def test_text_that_utf8_cannot_hold_is_written_all_the_same(tmp_path):
    write_text(tmp_path / "a", "caf\udce9 é")
    assert (tmp_path / "a").read_bytes() == "caf\\udce9 é".encode()
