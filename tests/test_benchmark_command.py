"""`fmiqa benchmark --pairs`, from end to end: the folder, its tables, resuming, refusals."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from scipy import stats

from tests.conftest import ASSETS, VIT_TINY, needs
from tests.test_benchmark_scores import refusal
from tests.test_benchmark_scoring import dataset
from tests.test_cli import fmiqa
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.data.tables import write_table

QUICK = ("--attacked", "1", "--resamples", "50")
METRICS = "vit-tiny:weights=random:0:taps=[0,1]:tile=32,psnr,ssim"
VIT = "vit-tiny:weights=random:0:taps=[0 1]:tile=32"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A data set, and the folder of its benchmark."""
    folder = tmp_path_factory.mktemp("benchmark")
    pairs = dataset(folder / "data", references=5, levels=4)
    fmiqa("benchmark", "--pairs", pairs, "--metrics", METRICS, "--out", folder / "out", *QUICK)
    return pairs, folder / "out"


def test_every_table_is_there_and_agrees_with_scipy(made: Any) -> None:
    pairs, out = made
    for name in ("agreement", "types", "beats", "layers", "attacks", "usefulness", "cost", "desirability"):
        assert (out / f"{name}.csv").is_file(), name
    assert {"report.html", "report.md", "scores.parquet", "inputs.json"} <= {path.name for path in out.iterdir()}
    scores = parquet.read_table(out / "scores.parquet").to_pydict()
    opinion = [float(row["mos"]) for row in read(pairs)]
    agreement = {row["metric"]: row for row in read(out / "agreement.csv")}
    assert next(iter(read(out / "agreement.csv")[0])) == "metric"
    assert set(agreement) == {VIT, "psnr", "ssim"}
    for name, sign in ((VIT, -1), ("psnr", 1), ("ssim", 1)):
        expected = sign * stats.spearmanr(scores[name], opinion).statistic
        assert float(agreement[name]["srcc"]) == pytest.approx(expected, abs=1e-12)
        moved = sign * stats.spearmanr(scores[f"{name}|rotate-1"], opinion).statistic
        assert float(agreement[name]["srcc_rotate-1"]) == pytest.approx(moved, abs=1e-12)
    assert {row["tap"] for row in read(out / "layers.csv")} == {"blocks.0", "blocks.1"}
    assert {row["metric"] for row in read(out / "attacks.csv")} == {VIT, "psnr", "ssim"}
    report = (out / "report.md").read_text()
    assert "comes first here" in report  # of few references nothing is settled, and the first lines say so
    assert "Too few references" in report
    assert "as its column's name says" in report


def test_same_command_again_scores_nothing_and_changes_no_number(made: Any) -> None:
    pairs, out = made
    before = (out / "agreement.csv").read_text(), (out / "scores.parquet").read_bytes()
    fmiqa("benchmark", "--pairs", pairs, "--metrics", METRICS, "--out", out, *QUICK)
    assert before == ((out / "agreement.csv").read_text(), (out / "scores.parquet").read_bytes())


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (["--metrics", "psnr,ssim"], "metrics"),
        (["--changes", "none"], "changes"),
        (["--max-side", "32"], "reading"),
        (["--opinion-is", "worse"], "direction"),
    ],
)
def test_folder_of_other_inputs_is_an_error(made: Any, other: list[str], what: str) -> None:
    pairs, out = made
    arguments = other if "--metrics" in other else ["--metrics", METRICS, *other]
    assert what in refusal("benchmark", "--pairs", pairs, "--out", out, *QUICK, *arguments)


def test_folder_of_other_pixels_is_an_error(made: Any, tmp_path: Path) -> None:
    pairs, out = made
    shutil.copytree(pairs.parent, tmp_path / "data")
    shutil.copy(tmp_path / "data" / "r0.png", tmp_path / "data" / "d0_0.png")
    refused = refusal(
        "benchmark", "--pairs", tmp_path / "data" / "pairs.csv", "--metrics", METRICS, "--out", out, *QUICK
    )
    assert "pairs" in refused


def test_broken_pairs_are_listed_with_exit_status_1(tmp_path: Path) -> None:
    pairs = dataset(tmp_path / "data")
    (tmp_path / "data" / "d0_1.png").write_bytes(b"no image")
    (tmp_path / "data" / "d1_1.png").unlink()
    result = fmiqa(
        *("benchmark", "--pairs", pairs, "--metrics", "psnr", "--out", tmp_path / "out", "--changes", "none", *QUICK),
        status=1,
    )
    assert "d0_1.png" in result.stderr
    assert "d1_1.png" in result.stderr
    assert "d1_1.png" in (tmp_path / "out" / "report.md").read_text()
    assert len(read(tmp_path / "out" / "agreement.csv")) == 1


def test_other_set_enters_the_aggregate(made: Any, tmp_path: Path) -> None:
    pairs, out = made
    arguments = ("--metrics", METRICS, "--out", tmp_path / "two", "--other-set", out, *QUICK)
    fmiqa("benchmark", "--pairs", pairs, *arguments)
    srcc = {row["metric"]: float(row["srcc"]) for row in read(out / "agreement.csv")}
    for row in read(tmp_path / "two" / "desirability.csv"):
        assert float(row["worst_set"]) == pytest.approx(max(srcc[row["metric"]], 0.0))
    assert "worst_set" not in read(out / "desirability.csv")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of --pairs"),
        (["--pairs", "p.csv", "--scores", "s.csv"], "one of --pairs"),
        (["--scores", "s.csv"], "--opinion COLUMN"),
        (["--pairs", "nowhere.csv", "--metrics", "psnr"], "nowhere.csv"),
        (["--data", "tid2013", "--metrics", "psnr"], "NAME=FOLDER"),
        (["--data", "imagenet=.", "--metrics", "psnr"], "imagenet"),
    ],
)
def test_wrong_sources_are_errors(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in refusal("benchmark", "--out", tmp_path / "out", *arguments)


IGNORED = {
    "--ref": "ref",
    "--image": "dist",
    "--type": "type",
    "--higher-is-better": "psnr",
    "--data-option": "split=train",
}
OF_IMAGES = {
    "--match": "crop",
    "--max-side": "64",
    "--crop-border": "2",
    "--changes": "all",
    "--attacked": "3",
    "--root": ".",
    "--batch": "2",
    "--device": "cpu",
    "--precision": "float32",
    "--data-option": "split=train",
}


@pytest.mark.parametrize(("option", "value"), IGNORED.items())
def test_options_that_pairs_have_no_use_for_are_refused(tmp_path: Path, option: str, value: str) -> None:
    refused = refusal("benchmark", "--pairs", "p.csv", "--metrics", "psnr", "--out", tmp_path / "out", option, value)
    assert f"`{option}` is for --" in refused
    assert "with --pairs it would do nothing: leave it out" in refused


@pytest.mark.parametrize(("option", "value"), [*OF_IMAGES.items(), ("--to-rgb", None)])
def test_options_that_scores_have_no_use_for_are_refused(tmp_path: Path, option: str, value: str | None) -> None:
    given = [option] if value is None else [option, value]
    refused = refusal("benchmark", "--scores", "s.csv", "--opinion", "mos", "--out", tmp_path / "out", *given)
    assert f"`{option}` is for --" in refused
    assert "with --scores it would do nothing" in refused


def test_what_only_says_that_it_is_off_may_stay(tmp_path: Path) -> None:
    arguments = ("--scores", "nowhere.csv", "--opinion", "mos", "--changes", "none", "--attacked", "0")
    assert "nowhere.csv" in refusal("benchmark", *arguments, "--out", tmp_path / "out")


def kadid(folder: Path) -> Path:
    """A few images in the layout of KADID-10k."""
    pairs = dataset(folder / "data", references=3, levels=3)
    images = folder / "images"
    images.mkdir()
    lines = ["dist_img,ref_img,dmos,var"]
    for row in read(pairs):
        level = int(row["dist"].removesuffix(".png")[-1]) + 1
        reference, distorted = f"I0{row['ref'][1]}.png", f"I0{row['ref'][1]}_01_0{level}.png"
        shutil.copy(pairs.parent / row["ref"], images / reference)
        shutil.copy(pairs.parent / row["dist"], images / distorted)
        lines.append(f"{distorted},{reference},{row['mos']},0.5")
    (folder / "dmos.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_data_set_is_scored_and_knows_its_own(tmp_path: Path) -> None:
    folder = kadid(tmp_path / "kadid")
    arguments = ("benchmark", "--data", f"kadid10k={folder}", "--metrics", "psnr", "--out", tmp_path / "out", *QUICK)
    for option, value in (*IGNORED.items(), ("--opinion", "mos"), ("--opinion-is", "better"), ("--root", ".")):
        refused = refusal(*arguments, option, value)
        if option == "--data-option":
            assert "`--data-option split` means nothing to kadid10k: its reader takes none" in refused
        else:
            assert f"`{option}` is for --" in refused
            assert "with --data with opinions it would do nothing" in refused
    assert not (tmp_path / "out").exists()
    fmiqa(*arguments, "--changes", "none")
    assert "as the dataset says" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    ("data", "option", "message"),
    [
        ("live=.", "realigned=maybe", "`--data-option realigned` must be true or false, got 'maybe'"),
        ("LIVE=.", "realign=true", "`--data-option realign` means nothing to LIVE: its reader takes realigned"),
        ("live=.", "realigned", "`--data-option` takes KEY=VALUE, got 'realigned'"),
        ("imagenet=.", "split=val", "there is no reader of 'imagenet'"),
    ],
)
def test_wrong_options_of_a_reader_are_errors(tmp_path: Path, data: str, option: str, message: str) -> None:
    arguments = ("--metrics", "psnr", "--out", tmp_path / "out", "--data-option", option)
    assert message in refusal("benchmark", "--data", data, *arguments)
    twice = ("--data-option", "realigned=true", "--data-option", "realigned=false")
    refused = refusal("benchmark", "--data", "live=.", "--metrics", "psnr", "--out", tmp_path / "out", *twice)
    assert "`--data-option realigned` is given twice" in refused


def test_pairs_without_metrics_or_with_wrong_ones(tmp_path: Path) -> None:
    pairs = dataset(tmp_path / "data")
    assert "--metrics" in refusal("benchmark", "--pairs", pairs, "--out", tmp_path / "out")
    assert "close: psnr" in refusal("benchmark", "--pairs", pairs, "--metrics", "psnrr", "--out", tmp_path / "out")
    arguments = ("--pairs", pairs, "--metrics", "psnr", "--changes", "twist", "--out", tmp_path / "out")
    assert "rotate-1" in refusal("benchmark", *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_real_images_with_real_weights(tmp_path: Path) -> None:
    metrics = f"vit-tiny:weights={needs(VIT_TINY)}:resolution=resize,psnr"
    folder = needs(ASSETS / "iqa" / "live58")
    rows = read(folder / "pairs.csv")[::4]
    for row in rows:
        row.update({side: str(folder / row[side]) for side in ("ref", "dist")})
    write_table(tmp_path / "pairs.csv", rows, list(rows[0]))
    arguments = ("--pairs", tmp_path / "pairs.csv", "--metrics", metrics, "--out", tmp_path / "out")
    fmiqa("benchmark", *arguments, "--changes", "none", "--attacked", "0")
    agreement = {row["metric"]: float(row["srcc"]) for row in read(tmp_path / "out" / "agreement.csv")}
    dmos, psnr = ([float(row[name]) for row in rows] for name in ("dmos", "psnr"))
    assert agreement["psnr"] == pytest.approx(-stats.spearmanr(psnr, dmos).statistic, abs=5e-4)
    assert agreement["vit-tiny:resolution=resize"] > 0.85


def test_the_gallery_shows_a_map_though_the_best_metric_has_none(tmp_path: Path) -> None:
    pairs = dataset(tmp_path / "data", references=4, levels=4)
    rows = read(pairs)
    for row in rows:  # people who see as PSNR does
        images = [read_image(pairs.parent / row[side]).double() for side in ("ref", "dist")]
        row["mos"] = str(-float((images[0] - images[1]).square().mean()))
    write_table(pairs, rows, list(rows[0]))
    metrics = "psnr,vit-tiny:weights=random:0:taps=[0]:tile=32"
    fmiqa("benchmark", "--pairs", pairs, "--metrics", metrics, "--out", tmp_path / "out", "--changes", "none", *QUICK)
    assert read(tmp_path / "out" / "agreement.csv")[0]["metric"] == "psnr"
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'alt="Where the metric sees a difference"' in page
    assert "The map shows where" in page
