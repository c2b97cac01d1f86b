"""Write files whole or not at all: under a temporary name beside the target, then renamed over it."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Paths that stand for an open stream, even where that stream is a file.
_STREAMS = ("/dev/std", "/dev/fd/", "/proc/")


class WriteError(OSError, ValueError):
    """The system refuses to write a file, or to make a folder; the message names it and the reason."""


def check_writable(path: str | Path, inputs: Iterable[str | Path | None] = ()) -> None:
    """Check that a file can be written, before any work is done for it. Leaves nothing behind.

    Args:
        path: of the file; it may be there already.
        inputs: files that are read, which ``path`` must not replace; ``None`` is passed over.

    Raises:
        ValueError: for a folder in its place, and for a file that is an input, by whatever name.
        WriteError: if the system refuses: no such folder, a read-only file or folder, a full disk, a name too long.

    >>> check_writable("scores.csv")
    >>> check_writable("missing/scores.csv")
    Traceback (most recent call last):
    ...
    torchmetrics_fmiqa.safe_write.WriteError: cannot write 'missing/scores.csv': there is no folder 'missing'
    """
    path = Path(path)
    check_no_inputs([path], inputs)
    with _refusals_named(path):
        if path.is_dir():
            raise ValueError(f"{str(path)!r} is a folder: give the name of a file")
        if _is_stream(path):
            return
        _check_target(path)
        _try_writing(Path(os.path.realpath(path)).parent)


def check_no_inputs(outputs: Iterable[str | Path], inputs: Iterable[str | Path | None]) -> None:
    """Check that no file to be written is one of those that are read, also not through a link.

    Raises:
        ValueError: naming both.
    """
    there = {file: path for path in outputs if (file := _file(path)) is not None}
    if not there:
        return  # what is not there cannot be lost
    for one in inputs:
        file = None if one is None else _file(one)
        if file is not None and file in there:
            raise ValueError(
                f"{str(there[file])!r} is an input ({str(one)!r}), which would be lost: write to another file"
            )


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to, which becomes ``path`` when all has gone well, and vanishes otherwise.

    An older file stays as it was until then, and what is there afterwards has its permissions. Links are followed.
    What is no regular file (a pipe, ``/dev/stdout``) gets the content at the end.

    Raises:
        ValueError: for a folder in its place.
        WriteError: for all that the system refuses, inside the ``with`` too.

    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "table.csv"
    >>> with whole_file(path) as draft:
    ...     _ = draft.write_text("a,b")
    ...     path.exists()
    False
    >>> path.read_text()
    'a,b'
    """
    path = Path(path)
    with _refusals_named(path):
        if path.is_dir():
            raise ValueError(f"{str(path)!r} is a folder: give the name of a file")
        if _is_stream(path):
            with tempfile.TemporaryDirectory() as folder:
                draft = Path(folder) / f"draft{path.suffix}"
                yield draft
                with draft.open("rb") as content, path.open("wb") as stream:
                    shutil.copyfileobj(content, stream)
            return
        _check_target(path)
        real = Path(os.path.realpath(path))
        draft = _new_draft(real.parent, real.suffix)
        try:
            yield draft
            _flush_to_disk(draft)
            _keep_permissions(path, draft)
            os.replace(draft, real)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise
        if os.name == "posix":
            with suppress(OSError):  # some file systems flush no folders
                _flush_to_disk(draft.parent)


def write_text(path: str | Path, text: str) -> None:
    """Write a :func:`printable` text as UTF-8, whole or not at all.

    Raises:
        ValueError: for a folder in its place.
        WriteError: for all that the system refuses.
    """
    write_bytes(path, printable(text).encode())


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write bytes, whole or not at all; raises as :func:`write_text` does."""
    with whole_file(path) as draft:
        draft.write_bytes(content)


def make_folder(path: str | Path) -> None:
    """Make a folder with those above it; one that is there is kept.

    Raises:
        WriteError: if the system refuses, or a file is in its place.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise WriteError(f"cannot make the folder {str(path)!r}: there is a file of that name") from None
    except OSError as error:
        raise WriteError(f"cannot make the folder {str(path)!r}: {_reason(error)}") from error


def check_folder(path: str | Path) -> None:
    """Check that files can be written in a folder, which is made if it is not there.

    Raises:
        WriteError: if not.
    """
    make_folder(path)
    try:
        _try_writing(Path(path))
    except OSError as error:
        raise WriteError(f"cannot write to the folder {str(path)!r}: {_reason(error)}") from error


def printable(text: str) -> str:
    r"""A text that UTF-8 can hold: bytes of a file name that are no UTF-8 become ``\udc..``.

    >>> print(printable("caf" + chr(0xDCE9)))
    caf\udce9
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def _refusals_named(path: Path) -> Iterator[None]:
    """Turn what the system refuses into one message that names the file."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        parent = Path(os.path.realpath(path)).parent
        missing = error.errno == errno.ENOENT and not parent.is_dir()
        reason = f"there is no folder {str(path.parent)!r}" if missing else _reason(error)
        raise WriteError(f"cannot write {str(path)!r}: {reason}") from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _is_stream(path: Path) -> bool:
    """Whether it is a pipe or a device, which cannot be replaced."""
    if os.path.abspath(path).startswith(_STREAMS):
        return True
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def _check_target(path: Path) -> None:
    """Raise an OSError for a file that cannot be replaced."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not mode & 0o222:  # its owner said so, which the administrator too should heed
        raise PermissionError(errno.EACCES, "the file is read-only")
    with path.open("r+b"):  # refused where another program has locked it
        pass


def _new_draft(folder: Path, ending: str = "") -> Path:
    ending = ending if len(ending) < 20 else ""  # savers look at it
    draft = folder / f".{secrets.token_hex(6)}.tmp{ending}"
    # Not by `tempfile`, whose files only their owner may read.
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return draft


def _try_writing(folder: Path) -> None:
    draft = _new_draft(folder)
    try:
        draft.write_bytes(bytes(4096))  # a full disk takes the name of a file, and not its content
    finally:
        draft.unlink()


def _keep_permissions(path: Path, draft: Path) -> None:
    with suppress(FileNotFoundError):
        before = path.stat()
        os.chmod(draft, stat.S_IMODE(before.st_mode))
        if os.name == "posix" and before.st_uid != os.geteuid():
            with suppress(OSError):
                os.chown(draft, before.st_uid, before.st_gid)


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _file(path: str | Path) -> tuple[int, int] | None:
    """What a file is on this system, whatever its name; ``None`` if it is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
