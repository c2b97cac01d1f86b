"""`fmiqa benchmark --scores`: published tables against scipy, and made-up ones with known answers."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from tests.conftest import ASSETS, needs
from tests.test_cli import fmiqa
from torchmetrics_fmiqa.benchmark.analysis.agreement import analyse
from torchmetrics_fmiqa.benchmark.scoring.score_table import read_scored
from torchmetrics_fmiqa.cli import app

PUBLISHED = {"dinov1_l2": 0.7918, "fsim": 0.8509, "psnr": 0.6869, "lpips": 0.7687}


def rows_of(path: Path) -> list[dict[str, str]]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.DictReader(text.decode().splitlines()))


def refusal(*arguments: object) -> str:
    """The message of an error, which the command's entry point makes one line."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, ValueError), result.output
    return str(result.exception)


def made_up(folder: Path, n: int = 60) -> Path:
    """Opinions from 1 to 5 of 10 references; a good distance, a good quality, and noise."""
    rng = np.random.default_rng(0)
    mos = rng.uniform(1, 5, n)
    columns = {
        "mos": mos,
        "near": 5 - mos + 0.1 * rng.normal(size=n),
        "near_tra-1": 5 - mos + 0.2 * rng.normal(size=n),
        "far": 5 - mos + 1.5 * rng.normal(size=n),
        "psnr": 20 + mos + 0.5 * rng.normal(size=n),
    }
    path = folder / "scores.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ref", "dist", *columns])
        for i in range(n):
            writer.writerow(
                [f"r{i % 10}", f"r{i % 10}_t{i % 3}_{i}.png", *(repr(float(c[i])) for c in columns.values())]
            )
    return path


def test_published_scores_agree_with_scipy(tmp_path: Path) -> None:
    path = needs(ASSETS / "published" / "zsiqa_tid2013.csv.gz")
    fmiqa("benchmark", "--scores", path, "--opinion", "mos", "--out", tmp_path / "out", "--resamples", 20)
    raw, found = rows_of(path), rows_of(tmp_path / "out" / "agreement.csv")
    assert len(found) == 42
    mos = [float(row["mos"]) for row in raw]
    for row in found:
        scores = [float(one[row["metric"]]) for one in raw]
        if row["metric"] == "psnr":  # the one column that is a quality
            scores = [-score for score in scores]
        assert float(row["srcc"]) == pytest.approx(stats.spearmanr(scores, mos)[0], abs=1e-6)
        assert float(row["krcc"]) == pytest.approx(stats.kendalltau(scores, mos)[0], abs=1e-6)
        assert float(row["plcc_raw"]) == pytest.approx(stats.pearsonr(scores, mos)[0], abs=1e-6)
        moved = [float(one[f"{row['metric']}_tra-1"]) * (-1 if row["metric"] == "psnr" else 1) for one in raw]
        assert float(row["srcc_translation"]) == pytest.approx(stats.spearmanr(moved, mos)[0], abs=1e-6)
    values = {row["metric"]: float(row["srcc"]) for row in found}
    for metric, value in PUBLISHED.items():
        assert values[metric] == pytest.approx(value, abs=5e-5)


def test_the_better_metric_comes_first_and_beats_the_others(tmp_path: Path) -> None:
    done = fmiqa("benchmark", "--scores", made_up(tmp_path), "--opinion", "mos", "--out", tmp_path / "out")
    found = rows_of(tmp_path / "out" / "agreement.csv")
    assert [row["metric"] for row in found] == ["near", "psnr", "far"]
    assert all(0 < float(row["srcc_low"]) < float(row["srcc"]) < float(row["srcc_high"]) for row in found)
    assert 0 < float(found[0]["sensitivity_translation"]) < 0.3
    assert found[1]["srcc_translation"] == "nan"
    assert "taken for better" in done.stdout
    assert "psnr" in done.stdout.splitlines()[-1]
    beats = {row["metric"]: row for row in rows_of(tmp_path / "out" / "beats.csv")}
    assert (beats["near"]["far"], beats["far"]["near"], beats["near"]["near"]) == ("1", "-1", "0")
    page = (tmp_path / "out" / "report.md").read_text()
    assert page.splitlines()[4].startswith("**near** agrees best with people")
    assert "Not available: the table has no types." in page


def test_types_come_from_the_file_name(tmp_path: Path) -> None:
    options = ("--opinion", "mos", "--type-from", "_(t.)_", "--resamples", 20)
    fmiqa("benchmark", "--scores", made_up(tmp_path), *options, "--out", tmp_path / "out")
    types = rows_of(tmp_path / "out" / "types.csv")
    assert list(types[0]) == ["metric", "t0", "t1", "t2"]
    table = read_scored(tmp_path / "scores.csv", "mos", type_from="_(t.)_")
    chosen = table.type == "t1"
    expected = stats.spearmanr(-table.scores["near"][chosen], table.opinion[chosen])[0]
    assert float(types[0]["t1"]) == pytest.approx(expected)


def test_a_direction_that_is_said_is_taken(tmp_path: Path) -> None:
    table = read_scored(made_up(tmp_path), "mos")
    wrong = analyse(table, "worse", higher_is_better=["psnr"], resamples=20)
    assert all(one.srcc < 0 for one in wrong.agreements)
    said = analyse(table, "better", higher_is_better=["psnr"], resamples=20)
    assert all(one.srcc > 0 for one in said.agreements)


def test_a_folder_of_other_inputs_is_an_error(tmp_path: Path) -> None:
    path, out = made_up(tmp_path), tmp_path / "out"
    fmiqa("benchmark", "--scores", path, "--opinion", "mos", "--resamples", 20, "--out", out)
    before = (out / "agreement.csv").read_bytes()
    fmiqa("benchmark", "--scores", path, "--opinion", "mos", "--resamples", 20, "--out", out)
    assert (out / "agreement.csv").read_bytes() == before
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    error = refusal("benchmark", "--scores", path, "--opinion", "mos", "--resamples", 20, "--out", out)
    assert "made from other inputs (scores differ)" in error
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    error = refusal("benchmark", "--scores", path, "--opinion", "mos", "--out", tmp_path / "mine")
    assert "no results of this command" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--opinion", "dmos"], "no column 'dmos' for the opinion"),
        (["--opinion", "mos", "--ref", "reference"], "no column 'reference'"),
        (["--opinion", "mos", "--type-from", "("], "no regular expression"),
        (["--opinion", "mos", "--type-from", "z+"], "finds nothing"),
        (["--opinion", "mos", "--metrics", "near,nearer"], "no column 'nearer'"),
        (["--opinion", "mos", "--higher-is-better", "ssim"], "'ssim'"),
        (["--opinion", "mos", "--opinion-is", "good"], "'good'"),
        (["--opinion", "dist"], "not a number"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path: Path, options: list[str], message: str) -> None:
    assert message in refusal("benchmark", "--scores", made_up(tmp_path), *options, "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "agreement.csv").exists()
