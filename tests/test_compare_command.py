"""`fmiqa compare`: what it prints and writes, its exit statuses, and each error in one line that loses nothing."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from torch import Tensor
from typer.testing import CliRunner

from tests.cli_runs import run_command
from tests.method_images import NOISE, make_methods, save
from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
from torchmetrics_fmiqa.cli import app
from torchmetrics_fmiqa.comparison.inputs import read_folders
from torchmetrics_fmiqa.comparison.scores import MethodScores
from torchmetrics_fmiqa.comparison.unfinished import UNFINISHED, Unfinished
from torchmetrics_fmiqa.safe_write import WriteError


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_methods(tmp_path_factory.mktemp("images"))


@pytest.fixture
def own(tmp_path: Path, images: Path) -> Path:
    """A copy of the images that a test may change."""
    shutil.copytree(images, tmp_path / "own")
    return tmp_path / "own"


run = partial(run_command, "compare")


def methods(root: Path, *names: str) -> list[str]:
    return [text for name in names or tuple(NOISE) for text in ("--method", f"{name}={root / name}")]


def test_the_answer_comes_first_and_the_results_are_there(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, printed = run(images / "ref", *methods(images), "--metrics", "psnr,ssim", "--out", out)
    assert status == 0
    lines = printed.strip().splitlines()
    assert " has the best mean on 8 images, by the metric psnr (mean " in lines[0]
    assert lines[0].endswith("it is better than strong.")
    assert any(line.split()[0] == "strong" for line in lines[1:] if line.strip())
    assert any("are tied by the metric psnr" in line for line in lines)
    assert "mean and 95 % interval of 8 images" in printed
    assert {path.name for path in out.iterdir()} == {
        *("report.html", "scores.parquet", "table.csv", "differences.csv", "table.md", "table.tex")
    }
    assert (out / "table.md").read_text().startswith(lines[0].split(" has the best")[0])


def test_images_left_out_are_named_and_cost_the_status_unless_allowed(own: Path, tmp_path: Path) -> None:
    (own / "weak" / "image1.png").unlink()
    (own / "same" / "image2.png").write_bytes(b"no image")
    for number in range(7):
        Image.new("RGB", (32, 32)).save(own / "strong" / f"more{number}.png")
    arguments = (own / "ref", *methods(own), "--metrics", "psnr", "--out", tmp_path / "out")
    status, printed = run(*arguments)
    assert status == 1
    assert "weak: 1 missing" in printed
    assert "image1.png: has no partner" in printed
    assert "same: 1 broken" in printed
    assert "strong: 7 extra" in printed
    assert "and 2 more, see" in printed
    assert "6 images that all methods have, of 8" in printed
    assert parquet.read_table(tmp_path / "out" / "scores.parquet").num_rows == 3 * 6
    assert (tmp_path / "out" / "left_out.csv").read_text().count("\n") == 1 + 9
    assert run(*arguments, "--allow-missing")[0] == 0


def test_a_suffix_is_of_one_method_or_of_all(tmp_path: Path) -> None:
    make_methods(tmp_path, count=3, suffix="_x4")
    for path in (tmp_path / "weak").iterdir():
        path.rename(path.with_name(path.name.replace("_x4", "_ours")))
    common = (tmp_path / "ref", *methods(tmp_path), "--metrics", "psnr", "--out", tmp_path / "out")
    each = ["--suffix", "weak=_ours", "--suffix", "same=_x4", "--suffix", "strong=_x4"]
    assert run(*common, *each)[0] == 0
    status, printed = run(*common, "--suffix", "_x4")
    assert status == 2
    assert "give --suffix _ours" in printed
    assert "`--suffix` is given twice for 'weak'" in run(*common, "--suffix", "_x4", "--suffix", "weak=_ours")[1]


def test_a_table_is_read_with_its_groups(images: Path, tmp_path: Path) -> None:
    lines = [f"ref/image{k}.png,{name},{name}/image{k}.png,{k // 2}" for k in range(8) for name in NOISE]
    table = tmp_path / "pairs.csv"
    table.write_text("\n".join(["ref,method,dist,group", *lines]))
    status, printed = run("--pairs", table, "--root", images, "--metrics", "psnr", "--out", tmp_path / "out")
    assert status == 0
    assert "weak" in printed
    assert set(parquet.read_table(tmp_path / "out" / "scores.parquet").column("group").to_pylist()) == set("0123")


def test_each_error_is_one_line_and_writes_nothing(images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("years of work")
    out = ["--out", tmp_path / "out"]
    ref, two = images / "ref", methods(images, "weak", "strong")
    for arguments, message in (
        ((ref, *two, *methods(images, "weak"), *out), "two methods are called 'weak': give each a name of its own"),
        ((ref, *two, "--method", f"none={tmp_path / 'empty'}", *out), "there are no images in"),
        ((ref, *methods(images, "weak"), *out), "at least two methods to compare, got weak"),
        ((ref, *two, "--method", "weak", *out), "`--method` takes NAME=FOLDER, such as ours=outputs/ours, got 'weak'"),
        ((ref, *two, "--method", f"={images / 'same'}", *out), "a method has no name"),
        ((ref, *two, "--method", f"x={images / 'weak'}", *out), "weak and x are one folder"),
        ((tmp_path / "nowhere", *two, *out), "there is no folder"),
        ((*two, *out), "give REFERENCES and --method"),
        ((ref, *two, "--pairs", "a.csv", *out), "leave out REFERENCES, --method and --suffix"),
        ((ref, *two, "--root", ref, *out), "`--root` is for the paths of a table"),
        (("--pairs", tmp_path / "no.csv", *out), "there is no table"),
        ((ref, *two, "--metrics", "psmr", *out), "there is no metric 'psmr'; close: psnr"),
        ((ref, *two, "--metrics", "psnr,psnr", *out), "'psnr' is given twice"),
        ((ref, *two, "--match", "stretch", *out), "`--match` must be crop or resize"),
        ((ref, *two, "--device", "gpu", *out), "`--device gpu` cannot be used"),
        ((ref, *two, "--out", images / "weak"), "overlap: give a folder of its own"),
        ((ref, *two, "--out", images / "weak" / "results"), "overlap: give a folder of its own"),
        ((ref, *two, "--out", images), "overlap: give a folder of its own"),
        ((ref, *two, "--out", full), "holds files that are no comparison, such as 'thesis.txt'"),
        ((ref, *two, "--out", full / "thesis.txt"), "there is a file of that name"),
    ):
        before = sorted(images.rglob("*"))
        status, printed = run(*arguments)
        assert (status, "\n" in printed.strip()) == (2, False), printed
        assert message in printed
        assert sorted(images.rglob("*")) == before
        assert not (tmp_path / "out").exists()
    assert (full / "thesis.txt").read_text() == "years of work"


def test_results_of_a_benchmark_are_not_replaced(images: Path, tmp_path: Path) -> None:
    for name in ("scores.parquet", "report.html", "agreement.csv"):
        (tmp_path / name).write_text("hours of work")
    status, printed = run(images / "ref", *methods(images), "--metrics", "psnr", "--out", tmp_path)
    assert status == 2
    assert "holds files that are no comparison" in printed
    assert (tmp_path / "scores.parquet").read_text() == "hours of work"


def test_scores_are_kept_until_all_results_are_written(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (images / "ref", *methods(images), "--metrics", "psnr", "--out", tmp_path / "out")

    def full_disk(*_: object, **__: object) -> None:
        raise WriteError("cannot write 'report.html': no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("torchmetrics_fmiqa.comparison.report.write_comparison_report", full_disk)
        assert run(*arguments)[0] == 2
    with monkeypatch.context() as patch:
        patch.setattr(Panel, "score", lambda *_: pytest.fail("it was measured again"))
        assert run(*arguments)[0] == 0
    assert not (tmp_path / "out" / UNFINISHED).exists()


def test_odd_names_of_methods_break_no_file(images: Path, tmp_path: Path) -> None:
    names = ("a\nb", "50 % of_x & {y}", "caf\udce9")
    given = [
        text for name, folder in zip(names, NOISE, strict=True) for text in ("--method", f"{name}={images / folder}")
    ]
    assert run(images / "ref", *given, "--metrics", "psnr", "--out", tmp_path / "out")[0] == 0
    lines = (tmp_path / "out" / "table.tex").read_text().splitlines()
    assert [line.startswith("%") for line in lines[:3]] == [True, True, False]
    assert r"50 \% of\_x \& \{y\}" in "\n".join(lines)
    known = parquet.read_table(tmp_path / "out" / "scores.parquet").column("method").to_pylist()
    assert set(known) == {*names[:2], "caf\\udce9"}


def test_sizes_that_differ_are_told_before_anything_is_measured(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (3, 6):
        path = own / "strong" / f"image{number}.png"
        Image.open(path).resize((30, 31)).save(path)
    arguments = (own / "ref", *methods(own), "--metrics", "psnr", "--out", tmp_path / "out")
    assert run(*arguments, "--match", "resize")[0] == 0
    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(Panel, "score", lambda *_: pytest.fail("it was measured"))
    status, printed = run(*arguments)
    assert status == 2
    assert (
        "image3.png' (strong) is 31x30, its reference 32x32 (H x W) (and 1 more): give --match crop or resize"
        in printed
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_no_write_access_is_told_before_anything_is_measured(images: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    status, printed = run(images / "ref", *methods(images), "--metrics", "psnr", "--out", closed / "out")
    assert status == 2
    assert "cannot make the folder" in printed


def test_earlier_results_are_replaced_and_an_interrupted_run_goes_on(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    arguments = (own / "ref", *methods(own), "--metrics", "psnr", "--out", out)
    assert run(*arguments)[0] == 0
    first = (out / "table.csv").read_bytes()
    score, scored = Panel.score, []

    def watched(self: Panel, preds: Tensor, *given: object, **options: object) -> object:
        if len(scored) == limit:
            raise KeyboardInterrupt
        scored.append(len(preds))
        return score(self, preds, *given, **options)  # type: ignore[arg-type]

    def interrupted_after(calls: int) -> None:
        nonlocal limit
        limit = calls
        scored.clear()
        done = CliRunner().invoke(app, ["compare", *map(str, arguments)])
        assert done.exit_code != 0
        assert "interrupted: the same command goes on where it stopped, in" in done.output

    limit = 0
    with monkeypatch.context() as patch:
        patch.setattr(Panel, "score", watched)
        patch.setattr("torchmetrics_fmiqa.comparison.score_methods._PIXELS", 3 * 32 * 32)
        interrupted_after(len(NOISE))  # a batch of 3 images
        assert parquet.read_table(out / UNFINISHED).num_rows == 3
        assert (out / "table.csv").read_bytes() == first
        interrupted_after(len(NOISE))
        assert parquet.read_table(out / UNFINISHED).num_rows == 6
        # One of them is another image now, and is scored again.
        save(np.full((32, 32, 3), 90.0), own / "weak" / "image4.png")
        limit = -1
        scored.clear()
        assert run(*arguments)[0] == 0
        assert sum(scored) == (2 + 1) * len(NOISE)
    assert not (out / UNFINISHED).exists()
    goes_on = (out / "table.csv").read_bytes()
    assert goes_on != first
    assert run(*arguments)[0] == 0
    assert (out / "table.csv").read_bytes() == goes_on


def test_unfinished_scores_of_other_inputs_are_not_used_nor_damaged_ones(images: Path, tmp_path: Path) -> None:
    found = read_folders(images / "ref", {name: images / name for name in NOISE})
    values = np.random.default_rng(0).normal(size=(3, 2, 5))
    scores = MethodScores(found.methods, ("psnr", "ssim"), frozenset(), found.images[:5], values)
    Unfinished(tmp_path, {"metrics": "a"}).keep(lambda: scores, now=True)
    read = Unfinished(tmp_path, {"metrics": "a"}).read(found.images)
    assert list(read) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(read[3], values[:, :, 3])
    assert not Unfinished(tmp_path, {"metrics": "b"}).read(found.images)
    Unfinished(tmp_path, {"metrics": "a"}).keep(lambda: pytest.fail("too soon"))
    (tmp_path / UNFINISHED).write_bytes(b"no table")
    with pytest.warns(UserWarning, match=r"is damaged .*: all images are scored again"):
        assert not Unfinished(tmp_path, {"metrics": "a"}).read(found.images)


def test_pictures_may_be_files_beside_the_page(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(images / "ref", *methods(images), "--metrics", "psnr", "--out", out, "--image-files")[0] == 0
    assert list((out / "images").glob("*.png"))
