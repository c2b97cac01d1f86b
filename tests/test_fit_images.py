"""`fmiqa fit` on images: what is measured and kept, what is trained, the folder, refusals, and real images."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from tests.conftest import ASSETS, RANDOM_VIT, SQUEEZENET, make_pair, needs
from tests.test_benchmark_scores import refusal
from tests.test_benchmark_scoring import save
from tests.test_choices import SHARES, bapps_2afc, bapps_jnd
from tests.test_cli import fmiqa
from torchmetrics_fmiqa import Recipe, spips
from torchmetrics_fmiqa.benchmark.distortions import GRADED
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.data.datasets import read_bapps_2afc
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.data.rated_csv import Triplets, read_rated_csv
from torchmetrics_fmiqa.fitting import cross_validation, measure
from torchmetrics_fmiqa.fitting.compare import SINGLE, single_inputs
from torchmetrics_fmiqa.fitting.dataset import MeasuredSet
from torchmetrics_fmiqa.fitting.graded_photographs import VERSIONS
from torchmetrics_fmiqa.fitting.measure import Measurement, SpipsPanel, check_apart
from torchmetrics_fmiqa.fitting.sources import SetPlan, plan_set, read_photographs
from torchmetrics_fmiqa.spips_model.checkpoint import load_spips
from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe, as_spips_recipe

SPIPS_RECIPE = as_spips_recipe("vit-tiny", weights="random:0", taps=[0, 1])
PANEL = SpipsPanel(SPIPS_RECIPE)
LEVELS = 4


def rated(folder: Path, references: int = 6, column: str = "dmos", seed: int = 0) -> Path:
    """References with ever noisier versions, of which people think ever less."""
    rows = [f"ref,dist,{column},type"]
    for r in range(references):
        for level in range(LEVELS):
            preds, target = make_pair(1, 48, 48, seed=seed + r, noise=0.04 * (level + 1))
            save(target[0], folder / f"r{r}.png")
            save(preds[0], folder / f"d{r}_{level}.png")
            opinion = 20 * level + r if column == "dmos" else 5 - level - 0.1 * r
            rows.append(f"r{r}.png,d{r}_{level}.png,{opinion},noise")
    (folder / "pairs.csv").write_text("\n".join(rows))
    return folder / "pairs.csv"


def photographs(folder: Path, count: int = 2) -> Path:
    for place in range(count):
        save(make_pair(1, 48, 48, seed=100 + place)[1][0], folder / f"p{place}.png")
    return folder


def measurement(source: Any, cache: Path, root: Path | None = None, **options: Any) -> Measurement:
    plan = source if isinstance(source, SetPlan) else plan_set(source, root)
    return Measurement(plan, PANEL, Reading(), cache, **options)


def measured(one: Measurement) -> MeasuredSet:
    list(one)
    return one.result()


def direct(preds: Path, target: Path) -> TapStatistics:
    images = [(read_image(path).float() / 255)[None] for path in (preds, target)]
    return PANEL.comparator(*images)[0]


def equal(one: TapStatistics, row: int, other: TapStatistics) -> bool:
    return torch.allclose(one.flat()[row], other.flat()[0], rtol=1e-4, atol=1e-5)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])


# What is measured


def test_opinions_are_measured_as_the_comparator_measures_them(tmp_path: Path) -> None:
    own = measured(measurement(read_rated_csv(rated(tmp_path / "data", 2)), tmp_path / "cache", batch=3))
    assert (own.name, own.kind, own.higher_is_better, len(own)) == ("data", "opinion", False, 2 * LEVELS)
    assert own.image.tolist()[LEVELS] == "d1_0.png"
    assert own.reference.tolist() == ["r0.png"] * LEVELS + ["r1.png"] * LEVELS
    assert own.target.tolist()[:3] == [0, 20, 40]
    assert own.measured[0].labels == SPIPS_RECIPE.taps
    for row, name in enumerate(own.image.tolist()):
        assert equal(own.measured[0], row, direct(tmp_path / "data" / name, tmp_path / "data" / own.reference[row]))


def test_versions_that_crop_one_reference_differently_have_their_own(tmp_path: Path) -> None:
    target = torch.rand(3, 66, 66, generator=torch.Generator().manual_seed(0))
    versions = {"a": target * 0.9, "b": target[:, :62, :62] * 0.8, "c": target[:, :64, :64] * 0.7}
    save(target, tmp_path / "ref.png")
    for name, image in versions.items():
        save(image, tmp_path / f"{name}.png")
    (tmp_path / "pairs.csv").write_text(
        "ref,dist,mos\n" + "".join(f"ref.png,{n}.png,{i}\n" for i, n in enumerate("abc"))
    )
    reading = Reading("crop", 48)  # all three have one size in the end
    plan = plan_set(read_rated_csv(tmp_path / "pairs.csv"), None)
    own = measured(Measurement(plan, PANEL, reading, tmp_path / "cache", batch=3))
    for row, pair in enumerate(read_rated_csv(tmp_path / "pairs.csv").pairs):
        preds, reference = reading(pair)
        assert equal(own.measured[0], row, PANEL.comparator(preds[None], reference[None])[0])


def test_photographs_are_distorted_by_degrees_and_each_reference_runs_once(
    tmp_path: Path, forwarded: list[int]
) -> None:
    folder = photographs(tmp_path / "photos")
    one = measurement(read_photographs(folder), tmp_path / "cache")
    assert PANEL.columns  # the first time they take a forward pass
    forwarded.clear()
    own = measured(one)
    assert len(one) == len(own) == 2 * VERSIONS
    assert sum(forwarded) == 2 * (VERSIONS + 1)
    assert own.kind == "rank"
    assert set(own.series[:VERSIONS]) == {f"p0.png {name}" for name in GRADED}
    image = read_image(folder / "p1.png").float()[None] / 255
    for name, distortion in GRADED.items():
        rows = np.flatnonzero(own.series == f"p1.png {name}")
        assert own.target[rows].tolist() == list(range(1, len(distortion.levels) + 1))
        assert own.reference[rows].tolist() == ["p1.png"] * len(rows)
        for row, version in zip(rows, distortion.series(image, seed=0), strict=True):
            assert equal(own.measured[0], row, PANEL.comparator(version, image)[0])
    assert own.image[0] == "p0.png blur 1"


def test_photographs_are_shrunk_before_they_are_distorted(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photos", 1)
    small = Reading(max_side=32)
    one = Measurement(read_photographs(folder), PANEL, small, tmp_path / "cache")
    own = measured(one)
    image = small.fit(read_image(folder / "p0.png"))[None]
    row = own.image.tolist().index("p0.png noise 5")
    assert equal(own.measured[0], row, PANEL.comparator(GRADED["noise"].series(image)[-1], image)[0])


def test_choices_have_both_versions_and_go_as_a_whole(tmp_path: Path) -> None:
    root = bapps_2afc(tmp_path / "data")
    home = root / "2afc" / "val" / "cnn"
    (home / "p1" / "000001.png").write_bytes(b"no image")
    own = measured(measurement(read_bapps_2afc(root), tmp_path / "cache", root))
    assert own.kind == "choice"
    assert own.target.tolist() == pytest.approx(
        [share for part in SHARES.values() for share in part if share != 0.2][:4] + SHARES["traditional"]
    )
    assert own.part.tolist() == ["cnn"] * 4 + ["traditional"] * 3
    assert [problem.name for problem in own.problems] == ["2afc/val/cnn/p1/000001.png"]
    assert own.image[1] == "2afc/val/cnn/p0/000002.png"
    assert own.second[1] == "2afc/val/cnn/p1/000002.png"
    for side, name in enumerate(("p0", "p1")):
        assert equal(own.measured[side], 1, direct(home / name / "000002.png", home / "ref" / "000002.png"))
    for path in root.rglob("p1/*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="nothing of bapps_2afc is left"):
        measured(measurement(read_bapps_2afc(root), tmp_path / "cache", root))


def test_triplets_may_share_images_and_references_go_by_content(tmp_path: Path) -> None:
    root = bapps_2afc(tmp_path / "data")
    home = root / "2afc" / "val" / "cnn" / "ref"
    shutil.copy(home / "000000.png", home / "000001.png")
    source = read_bapps_2afc(root)
    twice = measurement(Triplets(source.name, (*source.triplets, source.triplets[-1])), tmp_path / "cache", root)
    assert len(twice) == 2 * len(source)
    own = measured(twice)
    assert len(own) == len(source) + 1
    assert own.reference[0] == own.reference[1] == "2afc/val/cnn/ref/000000.png"
    assert len(set(own.reference.tolist())) == len(source) - 1


def test_an_interrupted_measurement_goes_on_and_gives_the_same(
    tmp_path: Path, forwarded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = read_rated_csv(rated(tmp_path / "data", 3))
    whole = measured(measurement(source, tmp_path / "whole", batch=2))
    run = iter(measurement(source, tmp_path / "broken", batch=2))
    assert [next(run) for _ in range(3)] == [0, 2, 4]
    run.close()
    forwarded.clear()
    again = measurement(source, tmp_path / "broken", batch=2)
    counts = list(again)
    assert counts == [4, 6, 8, 10, 12]
    assert sum(forwarded) == 8 + 4  # images, and a reference for each batch
    assert torch.equal(again.result().measured[0].flat(), whole.measured[0].flat())


def test_what_was_measured_is_found_again_whatever_people_said_and_sets_are_called(
    tmp_path: Path, forwarded: list[int]
) -> None:
    table = rated(tmp_path / "data", 2)
    before = measured(measurement(read_rated_csv(table), tmp_path / "cache"))
    shutil.copytree(tmp_path / "data", tmp_path / "moved")
    table = tmp_path / "moved" / "pairs.csv"
    lines = table.read_text().replace("dmos", "mos").replace(",noise", ",other").splitlines()
    table.write_text("\n".join([lines[0], *reversed(lines[1:])]))
    forwarded.clear()
    after = measured(measurement(read_rated_csv(table), tmp_path / "cache"))
    assert forwarded == []
    assert (after.name, after.higher_is_better, after.part[0]) == ("moved", True, "other")
    assert torch.equal(before.measured[0].flat().flip(0), after.measured[0].flat())
    assert after.image.tolist() == before.image.tolist()[::-1]
    save(make_pair(1, 48, 48, seed=7)[0][0], tmp_path / "moved" / "d0_0.png")
    again = measured(measurement(read_rated_csv(table), tmp_path / "cache"))
    assert forwarded
    assert not torch.equal(again.measured[0].flat(), after.measured[0].flat())
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_what_changes_the_numbers_is_measured_apart(tmp_path: Path) -> None:
    plan = plan_set(read_rated_csv(rated(tmp_path / "data", 2)))
    panels = [PANEL, SpipsPanel(SPIPS_RECIPE, "float64")]
    other = SpipsPanel(SpipsRecipe(Recipe(**{**RANDOM_VIT, "weights": "random:1"})))
    asked = [(panels[0], Reading()), (panels[1], Reading()), (other, Reading()), (panels[0], Reading(max_side=32))]
    keys = {Measurement(plan, panel, reading, tmp_path).inputs[1] for panel, reading in asked}
    assert len(keys) == 4


def test_a_measurement_that_is_not_finite_names_the_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = measure.TapStatistics.flat

    def broken(self: TapStatistics) -> torch.Tensor:
        found = flat(self).clone()
        found[-1, 0] = torch.nan
        return found

    one = measurement(read_rated_csv(rated(tmp_path / "data", 2)), tmp_path / "cache", batch=3)
    monkeypatch.setattr(measure.TapStatistics, "flat", broken)
    with pytest.raises(ValueError, match=r"data: mean@blocks.0 of 'd0_2.png' against 'r0.png' is nan: leave out"):
        list(one)
    monkeypatch.undo()
    assert len(measured(measurement(read_rated_csv(tmp_path / "data" / "pairs.csv"), tmp_path / "cache", batch=3))) == 8


def test_a_reference_in_two_sets_is_refused_but_not_of_two_sets_of_ranks(tmp_path: Path) -> None:
    table = rated(tmp_path / "data", 2)
    photographs(tmp_path / "photos")
    shutil.copy(tmp_path / "data" / "r1.png", tmp_path / "photos" / "other.png")
    opinions = measurement(read_rated_csv(table), tmp_path)
    ranks = [measurement(read_photographs(tmp_path / "photos", name), tmp_path) for name in ("a", "b")]
    check_apart(ranks)
    with pytest.raises(ValueError, match=r"reference 'other.png' of a is 'r1.png' of data too"):
        check_apart([opinions, *ranks])


def test_single_inputs_join_taps_by_equal_weights() -> None:
    recipe = SpipsRecipe(Recipe("vit_tiny_patch16_224", weights="random:0", taps=[0, 1, 5, 11]), low_level=[0, 1, 5])
    preds, target = make_pair(2)
    statistics = SpipsPanel(recipe).comparator(preds, target)[0]
    found = single_inputs(statistics, 3)
    assert tuple(found) == SINGLE
    assert found["feature_distance"] == pytest.approx(statistics.spread[..., 0].mean(1).numpy())
    assert found["low_level_p95"] == pytest.approx(statistics.spread[:, :3, 2].mean(1).numpy())
    assert found["semantic_spread"] == pytest.approx(statistics.spread[:, 3, 1].numpy())
    assert found["semantic_whole"] == pytest.approx(statistics.summary[:, 3].numpy())
    assert found["psnr_mean"] == pytest.approx(statistics.of_images[:, 0].numpy())


# The command

VIT = ("--recipe", "vit-tiny", "--set", "weights=random:0", "--set", "taps=[0,1]")
QUICK = (*VIT, "--epochs", "4", "--hidden", "8", "--resamples", "20")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables `a` and `b` of opinions, choices, photographs, what cannot be used, and all that was measured of them."""
    folder = tmp_path_factory.mktemp("sets")
    (folder / "empty").mkdir()
    rated(folder / "one", 1, seed=80)
    rated(folder / "unknown", 4, "votes", seed=95)
    header, *rows = rated(folder / "same", 4, seed=90).read_text().splitlines()
    alike = [",".join([*row.split(",")[:2], "5", "noise"]) for row in rows]
    (folder / "same" / "pairs.csv").write_text("\n".join([header, *alike]))
    bapps_jnd(folder / "jnd")
    rated(folder / "a")
    rated(folder / "b", 4, "mos", seed=50)
    bapps_2afc(folder / "bapps")
    photographs(folder / "photos")
    return folder


def fit(sets: Path, out: Path, *arguments: object, status: int = 0) -> str:
    return fmiqa("fit", *arguments, *QUICK, "--cache", sets / "cache", "--out", out, status=status).stdout


@pytest.fixture(scope="module")
def mixed(sets: Path) -> tuple[Path, str]:
    """All kinds of sets, and one to test on alone."""
    given = ("--pairs", sets / "a" / "pairs.csv", "--data", f"bapps_2afc={sets / 'bapps'}", "--graded", sets / "photos")
    printed = fit(sets, sets / "mixed", *given, "--test", sets / "b" / "pairs.csv", "--folds", 3)
    return sets / "mixed", printed


def test_the_folder_agrees_with_scipy(mixed: tuple[Path, str]) -> None:
    out, _ = mixed
    assert {path.name for path in out.iterdir()} == {
        *("agreement.csv", "choices.csv", "head.safetensors", "inputs.json", "predictions.csv", "report.md"),
        "training",
    }
    predictions = read(out / "predictions.csv")
    assert list(predictions[0]) == ["set", "ref", "dist", "fold", "opinion", "prediction", "score"]
    own = {name: [row for row in predictions if row["set"] == name] for name in ("a", "bapps_2afc", "b")}
    assert [len(rows) for rows in own.values()] == [6 * LEVELS, 2 * 8, 4 * LEVELS]
    assert len(predictions) == sum(map(len, own.values()))
    agreement = read(out / "agreement.csv")
    assert {(row["set"], row["tested"]) for row in agreement} == {("a", "held out"), ("b", "alone")}
    for name in ("a", "b"):
        rows = [row for row in agreement if row["set"] == name]
        assert rows[0]["metric"] == "spips"
        assert {row["metric"] for row in rows} == {"spips", "spips-fixed", *SINGLE}
    held, alone = (next(row for row in agreement if row["set"] == name) for name in ("a", "b"))
    opinion, prediction, fold = (column(own["a"], what) for what in ("opinion", "prediction", "fold"))
    assert float(held["srcc"]) == pytest.approx(stats.spearmanr(prediction, opinion).statistic, abs=1e-12)
    assert float(held["krcc"]) == pytest.approx(stats.kendalltau(prediction, opinion).statistic, abs=1e-12)
    by_fold = [stats.spearmanr(prediction[fold == one], opinion[fold == one]).statistic for one in range(3)]
    assert float(held["srcc_fold_mean"]) == pytest.approx(np.mean(by_fold), abs=1e-12)
    ref = np.array([row["ref"] for row in own["a"]])
    within = [stats.spearmanr(prediction[ref == one], opinion[ref == one]).statistic for one in np.unique(ref)]
    assert float(held["within_reference"]) == pytest.approx(np.mean(within), abs=1e-12)
    assert {len(set(fold[ref == one])) for one in np.unique(ref)} == {1}
    # Of the set that was tested alone opinions are better when higher, and scores are distances.
    assert {row["fold"] for row in own["b"]} == {"test"}
    found = stats.spearmanr(-column(own["b"], "score"), column(own["b"], "opinion")).statistic
    assert float(alone["srcc"]) == pytest.approx(found, abs=1e-12)
    assert stats.spearmanr(-column(own["b"], "score"), column(own["b"], "prediction")).statistic == pytest.approx(1)
    assert alone["srcc_fold_mean"] == "nan"
    other = next(row for row in agreement if (row["set"], row["metric"]) == ("a", "psnr_mean"))
    assert float(other["spips_ahead"]) == pytest.approx(float(held["srcc"]) - float(other["srcc"]))
    assert float(other["spips_ahead_low"]) <= float(other["spips_ahead_high"])


def test_choices_are_scored_as_people_chose(mixed: tuple[Path, str]) -> None:
    out, printed = mixed
    rows = [row for row in read(out / "predictions.csv") if row["set"] == "bapps_2afc"]
    shares, score = column(rows, "opinion").reshape(-1, 2), column(rows, "score").reshape(-1, 2)
    assert shares.sum(1) == pytest.approx(np.ones(8))
    chosen = np.take_along_axis(shares, score.argmin(1)[:, None], 1)[:, 0]
    choices = read(out / "choices.csv")
    spips_row = next(row for row in choices if row["metric"] == "spips")
    assert float(spips_row["cnn"]) == pytest.approx(chosen[:5].mean())
    assert float(spips_row["traditional"]) == pytest.approx(chosen[5:].mean())
    assert float(spips_row["two_afc"]) == pytest.approx((chosen[:5].mean() + chosen[5:].mean()) / 2)
    assert {row["metric"] for row in choices} == {"spips", "spips-fixed", *SINGLE, "majority of people", "one person"}
    assert "bapps_2afc (held out)" in printed
    assert "b (alone)" in printed


def test_the_head_in_the_folder_scores_images_as_the_command_did(mixed: tuple[Path, str], sets: Path) -> None:
    rows = [row for row in read(mixed[0] / "predictions.csv") if row["set"] == "b"]
    images = [
        torch.stack([read_image(sets / "b" / row[name]).float() / 255 for row in rows]) for name in ("dist", "ref")
    ]
    found = spips(*images, recipe=SPIPS_RECIPE, head=mixed[0] / "head.safetensors", reduction="none")
    assert found.numpy() == pytest.approx(column(rows, "score"), rel=1e-3)
    assert load_spips(mixed[0] / "head.safetensors", SPIPS_RECIPE).fusion.scale is not None


def test_the_report_says_what_was_found(mixed: tuple[Path, str]) -> None:
    report = (mixed[0] / "report.md").read_text()
    held, *_ = read(mixed[0] / "agreement.csv")
    lines = report.splitlines()
    assert lines[0] == "# SPIPS trained on a, bapps_2afc, photos"
    assert lines[2].startswith("`")
    answer = next(line for line in lines if line.startswith("- **a**"))
    assert f"an SRCC of **{float(held['srcc']):.4f}**".replace("0.", ".", 1) in answer
    assert "on references that it has not seen" in answer
    assert any(line.startswith("- **bapps_2afc**") and "2AFC score" in line for line in lines)
    assert any(line.startswith("- **b**") and "without having been trained on it" in line for line in lines)
    assert "| photos | ranks of graded distortions | 44 | 2 |  | train |" in report
    assert "| a | opinions | 24 | 6 | worse | train and test |" in report
    assert "| b | opinions | 16 | 4 | better | test |" in report
    assert "| low-level | `blocks.0` | 1.0000 | 1.0000 to 1.0000 |" in report
    assert "The gate: how much the semantic stream counts" in report
    gates = [line for line in lines if line.startswith("| photos | 2 |")]
    assert len(gates) == 1
    assert "| 2 | 8 of 2:" in report
    assert "`head.safetensors` was trained on all of a, bapps_2afc, photos" in report


def test_the_same_again_does_nothing_and_other_inputs_are_refused(
    sets: Path, tmp_path: Path, forwarded: list[int]
) -> None:
    given, out = ("--pairs", sets / "a" / "pairs.csv", "--folds", "2"), tmp_path / "out"
    fit(sets, out, *given)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    forwarded.clear()
    fit(sets, out, *given)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    common = ("fit", *QUICK, "--cache", sets / "cache", "--out", out)
    assert "(seed differ)" in refusal(*common, *given, "--seed", "1")
    assert "(parts differ)" in refusal(*common, *given, "--without", "semantic")
    assert "(folds differ)" in refusal(*common, *given[:2], "--folds", "3")
    assert "(set a, set x differ)" in refusal(*common, "--pairs", f"x={sets / 'a' / 'pairs.csv'}", "--folds", "2")
    assert "(test set b differ)" in refusal(*common, *given, "--test", sets / "b" / "pairs.csv")
    fit(sets, tmp_path / "seed", *given, "--seed", "1")
    assert forwarded == []
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_an_interrupted_training_goes_on_and_gives_the_same(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--pairs", sets / "a" / "pairs.csv", "--folds", "2")
    fit(sets, tmp_path / "whole", *given)
    original, calls = cross_validation._fit, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(cross_validation, "_fit", interrupted)
    fmiqa("fit", *given, *QUICK, "--cache", sets / "cache", "--out", tmp_path / "out", status=130)
    assert not (tmp_path / "out" / "report.md").exists()
    monkeypatch.undo()
    fit(sets, tmp_path / "out", *given)
    for name in ("predictions.csv", "agreement.csv", "head.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_leave_one_out_and_the_ablations(sets: Path, tmp_path: Path) -> None:
    pairs = ("--pairs", sets / "a" / "pairs.csv", "--pairs", f"second={sets / 'b' / 'pairs.csv'}")
    left_out = ("--without", "low-level", "--without", "conventional")
    quick = [one for one in QUICK if one not in ("--hidden", "8")]
    common = ("fit", *quick, "--cache", sets / "cache", *pairs, "--leave-one-out")
    fmiqa(*common, "--out", tmp_path / "out", "--linear", *left_out)
    head = load_spips(tmp_path / "out" / "head.safetensors", SPIPS_RECIPE)
    assert (head.parts, head.fusion.linear, head.gated) == (("semantic",), True, False)
    rows = read(tmp_path / "out" / "predictions.csv")
    assert len({row["fold"] for row in rows}) == 10
    assert len({(row["set"], row["ref"], row["fold"]) for row in rows}) == 10
    for row in read(tmp_path / "out" / "agreement.csv"):
        assert float(row["srcc_fold_mean"]) == pytest.approx(float(row["within_reference"]))
    report = (tmp_path / "out" / "report.md").read_text()
    assert "There is no gate" in report
    assert "without low_level and conventional, no hidden layer" in report
    fmiqa(*common[:-1], "--out", tmp_path / "gate", "--folds", "2", "--no-gate")
    gate = load_spips(tmp_path / "gate" / "head.safetensors", SPIPS_RECIPE).gate
    assert gate.weight.abs().max() == gate.bias.abs().max() == 0
    assert "The gate was switched off" in (tmp_path / "gate" / "report.md").read_text()


def test_ranks_alone_are_trained_on_and_another_set_tells_what_that_is_worth(sets: Path, tmp_path: Path) -> None:
    printed = fit(sets, tmp_path / "ranks", "--graded", f"ours={sets / 'photos'}")
    report = (tmp_path / "ranks" / "report.md").read_text()
    assert "ranks only: no references were held out, and there is no cross-validation. Nothing was tested" in report
    assert "## The folds" not in report
    assert "report in" in printed
    assert read(tmp_path / "ranks" / "predictions.csv") == read(tmp_path / "ranks" / "agreement.csv") == []
    assert load_spips(tmp_path / "ranks" / "head.safetensors", SPIPS_RECIPE).fusion.scale is None
    tests = ("--test", f"own={sets / 'b' / 'pairs.csv'}", "--test", f"bapps_2afc={sets / 'bapps'}")
    fit(sets, tmp_path / "out", "--graded", sets / "photos", *tests)
    rows = read(tmp_path / "out" / "predictions.csv")
    assert {(row["set"], row["fold"], row["prediction"]) for row in rows} == {
        ("own", "test", ""),
        ("bapps_2afc", "test", ""),
    }
    assert float(read(tmp_path / "out" / "agreement.csv")[0]["srcc"]) > 0.5
    assert {row["set"] for row in read(tmp_path / "out" / "choices.csv")} == {"bapps_2afc"}
    assert "It has no quality" in (tmp_path / "out" / "report.md").read_text()


def test_images_that_cannot_be_read_are_listed_and_the_others_go_on(tmp_path: Path) -> None:
    table = rated(tmp_path / "a", 5)
    (tmp_path / "a" / "d0_0.png").write_bytes(b"no image")
    (tmp_path / "a" / "d1_0.png").unlink()
    arguments = ("fit", "--pairs", table, *QUICK, "--folds", "2", "--out", tmp_path / "out")
    result = fmiqa(*arguments, status=1)
    assert "2 could not be scored" in result.stderr
    assert len(read(tmp_path / "out" / "predictions.csv")) == 5 * LEVELS - 2
    report = (tmp_path / "out" / "report.md").read_text()
    assert "- `d0_0.png`: cannot read the image" in report
    assert "- `d1_0.png`: there is no such file" in report
    assert (tmp_path / "out" / "measured").is_dir()


def wrong() -> Iterator[Any]:
    """Arguments, with the folder of the sets in braces, and what is said of them."""
    a, b = "--pairs {}/a/pairs.csv", "--test {}/b/pairs.csv"
    yield "", "give images to train on"
    yield b, "give images to train on"
    yield f"{a} {a}", "two sets are called 'a': rename one"
    yield f"{a} --test a={{}}/b/pairs.csv", "two sets are called 'a'"
    yield f"{a} --graded a={{}}/photos", "two sets are called 'a'"
    yield f"{a} --test {{}}/photos", "`--test` takes NAME=FOLDER"
    yield "--data {}/bapps", "`--data` takes NAME=FOLDER"
    yield "--data nothing={}/bapps", "there is no reader of 'nothing'"
    yield "--data bapps_jnd={}/jnd", "bapps_jnd tells whether people saw a difference"
    yield "--data bapps_2afc={}/bapps --data-option spilt=val", "`--data-option spilt` means nothing to bapps_2afc"
    yield f"{a} --data-option split=val", "`--data-option split` means nothing to tables"
    yield "--graded {}/photos --opinion mos", "`--opinion` is for tables of pairs"
    yield "--graded {}/photos --opinion-is better", "`--opinion-is` is for tables of pairs"
    yield "--graded {}/photos --folds 2", "--graded has neither"
    yield "--graded {}/photos --leave-one-out", "--graded has neither"
    yield "--graded {}/nothing", "there is no folder"
    yield "--graded {}/empty", "there are no images in"
    yield f"{a} --folds 3 --leave-one-out", "`--leave-one-out` has a fold for each reference"
    yield f"{a} --folds 7", "a: there are 6 references for 7 folds"
    yield f"{a} --folds 1", "a: `folds` must be at least 2"
    yield f"{a} --opinion mos", "has no column `mos`"
    yield f"{a} --opinion-is good", "`--opinion-is` must be better, worse or infer"
    yield f"{a} --without detail", "`--without` takes one of"
    yield f"{a} --without semantic,low_level,conventional", "`--without` leaves out all parts"
    yield f"{a} --without semantic --no-gate", "`--no-gate` does nothing without two streams"
    yield f"{a} --linear", "`--linear` has no hidden layers"
    yield f"{a} --semantic 0,1", "`low_level` has no taps"
    yield f"{a} --low-level 99", "tap 99 is out of range"
    yield f"{a} --set distance=jensen_shannon", "'jensen_shannon' compares many: take distance='l2'"
    yield f"{a} --precision float8", "`precision` must be one of"
    yield f"{a} --match fit", "`--match` must be crop or resize"
    yield f"{a} --learning-rate 0", "`learning_rate` must be above 0"
    yield "--pairs {}/one/pairs.csv --folds 2", "one: all images have one reference"
    yield "--pairs {}/same/pairs.csv --folds 2", "fewer than 3 have different opinions"
    yield "--pairs {}/unknown/pairs.csv --opinion votes", "whether a higher opinion of unknown is better or worse"
    yield f"{a} --folds 2 --test {{}}/same/pairs.csv", "same: `opinion` must differ"
    yield f"{a} --folds 2 --test again={{}}/a/pairs.csv", "the reference 'r0.png' of again is 'r0.png' of a too"
    yield f"{a} --folds 2 --graded g={{}}/a", "the reference 'r0.png' of g is 'r0.png' of a too"
    yield f"{a} --folds 2 --test {{}}/one/pairs.csv", "one: all images have one reference: intervals"


@pytest.mark.parametrize(("arguments", "message"), list(wrong()))
def test_wrong_arguments_are_refused_before_any_work(
    sets: Path, tmp_path: Path, forwarded: list[int], arguments: str, message: str
) -> None:
    given = [one.replace("{}", str(sets)) for one in arguments.split()]
    said = refusal("fit", *given, *QUICK[:-2], "--out", tmp_path / "out")
    assert message in said
    assert forwarded == []
    assert not (tmp_path / "out").exists()


# Real images


@pytest.mark.slow
def test_a_head_learns_what_people_say_of_real_images(tmp_path: Path) -> None:
    table = needs(ASSETS / "iqa" / "live58" / "pairs.csv")
    net = ("--set", "backbone=torchvision/squeezenet1_1", "--set", f"weights={needs(SQUEEZENET)}", "--set", "taps=all")
    how = ("--max-side", "256", "--leave-one-out", "--no-gate", "--resamples", "50", "--cache", tmp_path / "cache")
    fmiqa("fit", "--pairs", table, *net, *how, "--out", tmp_path / "out")
    rows = {row["metric"]: row for row in read(tmp_path / "out" / "agreement.csv")}
    # Reached: .87 to .92 over all images, as details of the training changed; .98 within references. Untrained .963 and
    # .979: four references are few to learn a scale from.
    assert float(rows["spips"]["srcc"]) > 0.8
    assert float(rows["spips"]["within_reference"]) > 0.96
    assert float(rows["spips-fixed"]["srcc"]) == pytest.approx(0.9627, abs=0.005)
    assert json.loads((tmp_path / "out" / "inputs.json").read_text())["folds"] == "leave-one-out"
