"""Folders of images: what is read one by one is paired in a folder, and nothing is left out without a word."""

from __future__ import annotations

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from torchmetrics_fmiqa.cli import app
from torchmetrics_fmiqa.data.folders import list_folder
from torchmetrics_fmiqa.data.pairs import find_pairs

SMALL = ("--set", "backbone=vit_tiny_patch16_224", "--set", "weights=random:0", "--set", "taps=[0]")


def touch(*paths):
    """Files that are only listed, never decoded."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.fixture
def two(tmp_path):
    """Folders of references and of images under test, each with a.png."""
    touch(tmp_path / "ref" / "a.png", tmp_path / "dist" / "a.png")
    return tmp_path / "ref", tmp_path / "dist"


def names(pairs):
    return [(pair.ref, pair.dist) for pair in pairs]


def test_every_ending_that_is_read_is_found_in_any_case(two):
    endings = [
        "jfif",
        "jpe",
        "gif",
        "avif",
        "jp2",
        "j2k",
        "tga",
        "pnm",
        "pgm",
        "pbm",
        "qoi",
        "heic",
        "jxl",
        "TIFF",
        "JPG",
    ]
    for ending in endings:
        touch(two[0] / f"{ending}.{ending}", two[1] / f"{ending}.png")
    pairs, problems, notes = find_pairs(*two)
    assert sorted(names(pairs)) == sorted([("a.png", "a.png"), *((f"{one}.{one}", f"{one}.png") for one in endings)])
    assert not problems
    assert not notes


def test_linked_folders_are_followed_and_loops_end(two, tmp_path):
    for side, folder in zip(("ref", "dist"), two, strict=True):
        touch(tmp_path / "elsewhere" / side / "b.png")
        (folder / "linked").symlink_to(tmp_path / "elsewhere" / side)
        (tmp_path / "elsewhere" / side / "up").symlink_to(folder)
    pairs, problems, notes = find_pairs(*two)
    assert names(pairs) == [("a.png", "a.png"), ("linked/b.png", "linked/b.png")]
    assert not problems
    assert all("up" in note for note in notes)


def test_what_is_left_out_is_named(two):
    os.mkfifo(two[0] / "pipe.png")
    (two[1] / "gone.png").symlink_to("nowhere")
    touch(two[0] / "render.exr", two[0] / "only.avif", two[1] / "film.mkv", two[1] / "noending", two[1] / "notes.txt")
    touch(two[0] / ".hidden.png", two[0] / "._a.png", two[1] / "Thumbs.db", two[1] / ".cache" / "b.png")
    pairs, problems, notes = find_pairs(*two)
    assert names(pairs) == [("a.png", "a.png")]
    found = {os.path.basename(problem.name): problem.reason for problem in problems}
    assert sorted(found) == ["gone.png", "only.avif", "pipe.png", "render.exr"]
    for name, reason in (("pipe", "named pipe"), ("gone", "not there"), ("render", "not read"), ("only", "no partner")):
        assert reason in next(text for key, text in found.items() if key.startswith(name))
    assert len(notes) == 1
    assert notes[0].endswith("no images: film.mkv, noending")


def test_a_folder_that_cannot_be_listed_is_named(two, monkeypatch):
    (two[0] / "shut").mkdir()
    listdir = os.listdir

    def refuse(path):
        if os.path.basename(path) == "shut":
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert [problem.reason for problem in list_folder(two[0]).problems] == ["cannot be listed: permission denied"]


def test_names_that_look_alike_pair_whatever_their_unicode_form(two):
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    touch(two[0] / f"{composed}.png", two[1] / f"{apart}.jpg")
    assert (f"{composed}.png", f"{apart}.jpg") in names(find_pairs(*two)[0])
    touch(two[0] / f"{apart}.png", two[1] / f"{composed}.jpg")  # both forms on both sides
    assert names(find_pairs(*two)[0])[1:] == [(f"{apart}.png", f"{apart}.jpg"), (f"{composed}.png", f"{composed}.jpg")]
    (two[1] / f"{apart}.jpg").unlink()
    pairs, problems, _ = find_pairs(*two)
    assert len(pairs) == 1
    assert "differ in Unicode form" in problems[0].reason
    assert r"caf\xe9.png" in problems[0].reason
    assert r"cafe\u0301.png" in problems[0].reason


def test_two_images_of_one_name_are_named_and_the_others_pair(two):
    touch(two[0] / "x.png", two[1] / "x.avif", two[1] / "x.webp", two[0] / "sub" / "x.png", two[1] / "sub" / "x.jxl")
    pairs, problems, _ = find_pairs(*two)
    assert names(pairs) == [("a.png", "a.png"), (os.path.join("sub", "x.png"), os.path.join("sub", "x.jxl"))]
    assert len(problems) == 1
    for text in ("x.avif", "x.webp", "have one name", "--pairs"):
        assert text in problems[0].reason


def test_a_suffix_of_the_images_under_test(two):
    touch(two[0] / "n" / "b.png", two[0] / "c_x4.png", two[0] / "lone.png")
    touch(two[1] / "a_x4.png", two[1] / "n" / "b_x4.jpg", two[1] / "c_x4_x4.png", two[1] / "extra_x4.png")
    pairs, problems, notes = find_pairs(*two, "_x4")
    assert names(pairs) == [
        ("a.png", "a_x4.png"),
        ("c_x4.png", "c_x4_x4.png"),
        (os.path.join("n", "b.png"), os.path.join("n", "b_x4.jpg")),
    ]
    assert sorted(os.path.basename(problem.name) for problem in problems) == ["extra_x4.png", "lone.png"]
    assert "without '_x4': a.png" in notes[0]


def test_a_suffix_is_suggested_where_all_names_have_one(two):
    (two[1] / "a.png").unlink()
    touch(two[1] / "a_sr.png")
    with pytest.raises(ValueError, match="give --suffix _sr, or give a table"):
        find_pairs(*two)
    with pytest.raises(ValueError, match="leave it out for two files"):
        find_pairs(two[0] / "a.png", two[0] / "a.png", "_x4")


def test_names_that_do_not_pair_are_not_hidden_by_a_file_that_is_not_read(two):
    touch(two[0] / "render.exr")
    (two[1] / "a.png").rename(two[1] / "a_x4.png")
    with pytest.raises(ValueError, match=r"give --suffix _x4, or .* besides, \S*render\.exr: \.exr files are not read"):
        find_pairs(*two)
    (two[0] / "a.png").unlink()
    touch(two[1] / "other.exr")
    with pytest.raises(ValueError, match=r"other\.exr: \.exr files are not read: convert it \(and 1 more\)"):
        find_pairs(*two)


def save(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


def test_score_and_map_take_folders_with_a_suffix(tmp_path):
    pytest.importorskip("matplotlib")
    refs, dists, out = tmp_path / "ref", tmp_path / "dist", tmp_path / "maps"
    for number, name in enumerate(("a", "n/b", "broken")):
        save(refs / f"{name}.png", number)
        save(dists / f"{name}_x4.png", number + 9)
    (dists / "broken_x4.png").write_bytes(b"no image")
    touch(dists / "readme.txt")
    arguments = [str(refs), str(dists), "--suffix", "_x4", *SMALL]
    scored = CliRunner().invoke(app, ["score", *arguments, "--out", str(tmp_path / "s.csv")])
    assert scored.exit_code == 1
    assert (tmp_path / "s.csv").read_text().count("\n") == 3
    drawn = CliRunner().invoke(app, ["map", *arguments, "--out", str(out)])
    assert drawn.exit_code == 1
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert found == ["a_x4.png", os.path.join("n", "b_x4.png")]
    assert Image.open(out / found[0]).size[0] > 100
    before = (dists / "a_x4.png").read_bytes()
    refused = CliRunner().invoke(app, ["map", *arguments, "--out", str(dists)])
    assert refused.exit_code == 1
    assert "is an input" in str(refused.exception)
    assert (dists / "a_x4.png").read_bytes() == before


@pytest.mark.parametrize("out", [None, "map.png"])
def test_map_of_folders_wants_a_folder(two, out, tmp_path):
    given = [] if out is None else ["--out", str(tmp_path / out)]
    done = CliRunner().invoke(app, ["map", str(two[0]), str(two[1]), *given])
    assert isinstance(done.exception, ValueError)
    assert "`--out` is the folder for the pictures" in str(done.exception)
