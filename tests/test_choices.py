"""Metrics against choices: known answers, the bootstrap, what is left out, and `fmiqa benchmark --data bapps_...`."""

from __future__ import annotations

import csv
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet
from scipy import stats
from torch import Tensor

from tests.browser import Browser
from tests.conftest import RANDOM_VIT
from tests.test_benchmark_scores import refusal
from tests.test_cli import fmiqa
from tests.test_page import Reader, three
from torchmetrics_fmiqa import feature_distance
from torchmetrics_fmiqa.benchmark.analysis.preference import Choices, ChoiceScore, ChoiceStudy, analyse_choices
from torchmetrics_fmiqa.benchmark.benchmark import Output, as_rated, benchmark_choices
from torchmetrics_fmiqa.benchmark.build_study import StudySettings
from torchmetrics_fmiqa.benchmark.metrics.metric import Metric
from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
from torchmetrics_fmiqa.benchmark.reports import choice_report
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import ScoreOptions
from torchmetrics_fmiqa.data.datasets import read_bapps_2afc, read_bapps_jnd
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.data.rated_csv import Triplets
from torchmetrics_fmiqa.report.html import render_html
from torchmetrics_fmiqa.report.markdown import render_markdown
from torchmetrics_fmiqa.statistics import holm, jnd_map, two_afc

SHARES = {"cnn": [0.0, 0.2, 0.4, 0.6, 1.0], "traditional": [0.8, 0.2, 1.0]}
METRICS = "vit-tiny:weights=random:0:taps=[0,1]:tile=32,psnr"
VIT = "vit-tiny:weights=random:0:taps=[0 1]:tile=32"


# Statistics -----------------------------------------------------------------------------------------------------------


def html_of(study: ChoiceStudy) -> str:
    return render_html(choice_report(study))


def markdown_of(study: ChoiceStudy) -> str:
    return render_markdown(choice_report(study))


def choices(distances: dict[str, np.ndarray], share: np.ndarray, part=None, reference=None, kind="two_afc") -> Choices:
    n = len(share)
    part = np.full(n, "all") if part is None else np.asarray(part)
    reference = np.arange(n).astype(str) if reference is None else np.asarray(reference)
    return Choices(kind, distances, np.asarray(share, dtype=float), part, reference)


def credit(distances: np.ndarray, share: np.ndarray) -> np.ndarray:
    """What a metric gets of each triplet, as the LPIPS code writes it."""
    d0, d1 = distances.T
    return (d0 < d1) * (1 - share) + (d1 < d0) * share + (d0 == d1) * 0.5


triplets = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5), st.sampled_from("abc")), min_size=1, max_size=30
)


@given(rows=triplets)
@settings(max_examples=60, deadline=None)
def test_scores_are_those_of_the_lpips_formula_and_mirror(rows) -> None:
    d0, d1, votes, part = zip(*rows, strict=True)
    distances, share, part = np.stack([d0, d1], 1).astype(float), np.array(votes) / 5, np.array(part)
    found, ceilings = analyse_choices(choices({"m": distances, "-m": -distances}, share, part), resamples=1)
    by_name = {one.metric: one for one in found}
    gained = credit(distances, share)
    parts = {name: gained[part == name].mean() for name in np.unique(part)}
    assert by_name["m"].by_part == pytest.approx(parts)
    assert by_name["m"].score == pytest.approx(np.mean(list(parts.values())))
    assert by_name["m"].pooled == pytest.approx(two_afc(*distances.T, share)) == pytest.approx(gained.mean())
    assert by_name["m"].score + by_name["-m"].score == pytest.approx(1)
    majority, person = ceilings
    assert majority.pooled == pytest.approx(np.maximum(share, 1 - share).mean())
    assert person.pooled == pytest.approx((share**2 + (1 - share) ** 2).mean())
    assert majority.score >= found[0].score - 1e-12
    assert majority.score >= person.score - 1e-12


def test_a_part_counts_as_much_as_another() -> None:
    share = np.array([1.0] * 9 + [0.0])
    table = choices({"m": np.tile([1.0, 0.0], (10, 1))}, share, ["large"] * 9 + ["small"])
    (found,), _ = analyse_choices(table, resamples=10)
    assert (found.score, found.pooled, found.by_part) == (0.5, 0.9, {"large": 1.0, "small": 0.0})


def made_up(n: int = 400, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Votes of five people, a metric near to them and one farther off."""
    rng = np.random.default_rng(seed)
    share = rng.integers(0, 6, n) / 5
    truth = np.stack([share, 1 - share], 1)
    return share, {"near": truth + 0.3 * rng.normal(size=(n, 2)), "far": truth + 1.5 * rng.normal(size=(n, 2))}


def test_interval_is_as_wide_as_its_standard_error() -> None:
    share, distances = made_up()
    found, _ = analyse_choices(choices(distances, share), resamples=2000)
    for one in found:
        error = credit(distances[one.metric], share).std(ddof=1) / np.sqrt(len(share))
        assert one.high - one.low == pytest.approx(2 * 1.96 * error, rel=0.08)
        assert one.low < one.score < one.high


def test_difference_from_the_best_is_tested_as_a_paired_t_test_does() -> None:
    rng = np.random.default_rng(1)
    share, distances = made_up()
    distances["close"] = distances["near"] + 0.25 * rng.normal(size=distances["near"].shape)
    del distances["far"]
    (best, other), _ = analyse_choices(choices(distances, share), resamples=2000)
    one, two = (credit(distances[name], share) for name in (best.metric, other.metric))
    expected = stats.ttest_rel(one, two)
    assert other.behind == pytest.approx(two.mean() - one.mean())
    assert other.p_holm == pytest.approx(expected.pvalue, rel=0.15)
    low, high = expected.confidence_interval()
    assert (other.behind_low, other.behind_high) == pytest.approx((-high, -low), abs=0.004)
    assert (best.behind, best.p_holm) == (0, 1)


def test_correction_counts_all_pairs_of_metrics() -> None:
    rng = np.random.default_rng(2)
    share, distances = made_up()
    table = {"near": distances["near"]}
    table |= {name: table["near"] + more * rng.normal(size=(400, 2)) for name, more in (("b", 0.25), ("c", 0.3))}
    found, _ = analyse_choices(choices(table, share), resamples=200)
    names = [one.metric for one in found]
    alone = {}
    for pair in combinations(names, 2):  # the same draws, and nothing to correct for
        (_, other), _ = analyse_choices(choices({name: table[name] for name in pair}, share), resamples=200)
        alone[pair] = other.p_holm
    corrected = dict(zip(alone, holm(list(alone.values())), strict=True))
    assert [one.p_holm for one in found[1:]] == pytest.approx([corrected[names[0], name] for name in names[1:]])
    assert max(one.p_holm / alone[names[0], one.metric] for one in found[1:]) == pytest.approx(3)


def test_triplets_of_one_reference_are_drawn_together() -> None:
    share, distances = made_up()
    twice = {name: np.concatenate([one, one]) for name, one in distances.items()}
    ids = np.arange(400).astype(str)
    once, _ = analyse_choices(choices(distances, share), resamples=1000)
    known, _ = analyse_choices(choices(twice, np.tile(share, 2), reference=np.tile(ids, 2)), resamples=1000)
    unknown, _ = analyse_choices(choices(twice, np.tile(share, 2)), resamples=1000)
    for one, same, narrow in zip(once, known, unknown, strict=True):
        assert (same.low, same.high) == pytest.approx((one.low, one.high))
        assert (narrow.high - narrow.low) * 2**0.5 == pytest.approx(one.high - one.low, rel=0.1)


def test_metrics_that_choose_alike_differ_by_nothing() -> None:
    share, distances = made_up()
    found, _ = analyse_choices(choices({"one": distances["near"], "two": distances["near"] * 3}, share), resamples=50)
    assert [(one.metric, one.behind, one.p_holm) for one in found] == [("one", 0, 1), ("two", 0, 1)]
    study = ChoiceStudy("x", "fmiqa", "two_afc", found, (), {"all": 400}, 400)
    assert study.ties == ["two"]
    assert "`two` may be as good" in markdown_of(study).replace("**", "`")


def test_a_metric_without_a_value_has_no_score_and_says_so() -> None:
    share, distances = made_up()
    distances["near"][3, 1] = np.nan
    found, _ = analyse_choices(choices(distances, share), resamples=20)
    assert [one.metric for one in found] == ["far", "near"]
    assert np.isnan([found[1].score, found[1].low, found[1].by_part["all"]]).all()
    assert found[1].note == "has no value for 1 of 400 choices"
    none, _ = analyse_choices(choices({"near": distances["near"]}, share), resamples=20)
    assert "No metric could be ranked" in markdown_of(ChoiceStudy("x", "c", "two_afc", none, (), {"all": 400}, 400))


def test_one_reference_gives_no_interval() -> None:
    share, distances = made_up(20)
    found, _ = analyse_choices(choices(distances, share, reference=["r"] * 20), resamples=20)
    assert np.isnan([found[0].low, found[1].p_holm]).all()
    assert found[1].behind == pytest.approx(found[1].score - found[0].score)


def test_differences_seen() -> None:
    rng = np.random.default_rng(0)
    same, part = rng.integers(0, 4, 200) / 3, np.repeat(["cnn", "traditional"], 100)
    distances = {
        "people": 1 - same[:, None],
        "reversed": same[:, None],
        "near": 1 - same[:, None] + 0.2 * rng.normal(size=(200, 1)),
    }
    found, (majority,) = analyse_choices(choices(distances, same, part, kind="jnd_map"), resamples=100)
    assert [one.metric for one in found] == ["people", "near", "reversed"]
    assert found[0].by_part == majority.by_part
    for one in found:
        values = distances[one.metric][:, 0]
        expected = [jnd_map(values[part == name], same[part == name]) for name in ("cnn", "traditional")]
        assert list(one.by_part.values()) == expected
        assert one.score == pytest.approx(np.mean(expected))
        assert one.pooled == jnd_map(values, same)
        assert one.low < one.score < one.high
    assert found[2].p_holm < 0.001


def test_wrong_columns_are_errors() -> None:
    with pytest.raises(ValueError, match="resamples"):
        analyse_choices(choices({"m": np.ones((3, 2))}, np.ones(3)), resamples=0)
    with pytest.raises(ValueError, match=r"shares of people in \[0, 1\], got 2.0"):
        analyse_choices(choices({"m": np.ones((3, 2))}, np.array([0, 1, 2])), resamples=2)
    with pytest.raises(ValueError, match="must hold 3 ids"):
        analyse_choices(choices({"m": np.ones((3, 2))}, np.ones(3), part=["a"]), resamples=2)
    table = choices({"m": np.ones((2, 1))}, np.array([1, 0]), ["a", "b"], kind="jnd_map")
    with pytest.raises(ValueError, match="part 'b' for the same"):
        analyse_choices(table, resamples=2)


# Images ---------------------------------------------------------------------------------------------------------------


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.astype(np.uint8)).save(path)


def share(path: Path, value: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array([value], np.float32))


def bapps_2afc(folder: Path) -> Path:
    """Triplets in the layout of BAPPS whose images are the farther from their reference the fewer people chose them."""
    rng = np.random.default_rng(0)
    for part, shares in SHARES.items():
        home = folder / "2afc" / "val" / part
        for number, judge in enumerate(shares):
            ref = rng.integers(60, 120, (32, 32, 3))
            for column, offset in (("ref", 0), ("p0", 100 * judge), ("p1", 100 * (1 - judge))):
                save(home / column / f"{number:06}.png", ref + offset)
            share(home / "judge" / f"{number:06}.npy", judge)
    return folder


def bapps_jnd(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, shares in SHARES.items():
        for number, same in enumerate(shares):
            home, ref = folder / "jnd" / "val" / part, rng.integers(60, 120, (32, 32, 3))
            save(home / "p0" / f"{number:06}.png", ref)
            save(home / "p1" / f"{number:06}.png", ref + 100 * (1 - same))
            share(home / "same" / f"{number:06}.npy", same)
    return folder


def away(preds: Tensor, target: Tensor) -> Tensor:
    return (preds - target).abs().mean((1, 2, 3))


def metric(name: str, score, quality: bool = False, minimum_side: int = 1) -> Metric:
    return Metric(name, score, quality, True, identity="test", minimum_side=minimum_side)


DISTANCE, REVERSED = metric("distance", away), metric("reversed", lambda p, t: -away(p, t))
QUALITY, BLIND = (
    metric("quality", lambda p, t: 1 - away(p, t), quality=True),
    metric("blind", lambda p, t: 0 * away(p, t)),
)


def benchmark(source, root: Path, out: Path, *metrics: Metric, batch: int = 3, seed: int = 0) -> ChoiceStudy:
    settings = StudySettings(resamples=50, seed=seed)
    return benchmark_choices(source, root, Panel({}, metrics), ScoreOptions(batch=batch), settings, Output(out))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def best_share(shares: list[float]) -> float:
    return float(np.mean([max(one, 1 - one) for one in shares]))


def test_a_metric_that_is_the_opinion_gets_the_majority_and_its_reverse_the_mirror(tmp_path: Path) -> None:
    root = bapps_2afc(tmp_path / "data")
    study = benchmark(read_bapps_2afc(root), root, tmp_path / "out", REVERSED, QUALITY, DISTANCE, BLIND)
    majority = {part: best_share(shares) for part, shares in SHARES.items()}
    found = {one.metric: one for one in study.scores}
    assert [one.metric for one in study.scores] == ["quality", "distance", "blind", "reversed"]
    for name in ("distance", "quality"):
        assert found[name].by_part == pytest.approx(majority)
        assert found[name].score == pytest.approx(study.ceilings[0].score)
    assert found["reversed"].by_part == pytest.approx({part: 1 - value for part, value in majority.items()})
    assert found["blind"].by_part == {"cnn": 0.5, "traditional": 0.5}
    assert (study.parts, study.references, study.lost, study.missing) == ({"cnn": 5, "traditional": 3}, 8, 0, ())
    rows = read(tmp_path / "out" / "choices.csv")
    assert list(rows[0])[:6] == ["metric", "two_afc", "two_afc_low", "two_afc_high", "cnn", "traditional"]
    assert [row["metric"] for row in rows] == [one.metric for one in study.scores]
    assert float(rows[0]["two_afc"]) == study.scores[0].score
    assert float(rows[0]["traditional"]) == pytest.approx(majority["traditional"])
    ceilings = read(tmp_path / "out" / "ceilings.csv")
    assert [row["metric"] for row in ceilings] == ["majority of people", "one person"]
    report = (tmp_path / "out" / "report.md").read_text()
    assert "**quality** agrees best with people" in report
    assert "| majority of people |" in report


def test_pairs_keep_names_below_the_root_and_the_share_of_each_image(tmp_path: Path) -> None:
    root = bapps_2afc(tmp_path)
    rated = as_rated(read_bapps_2afc(root), root)
    assert rated.as_pairs()[3].dist == "2afc/val/cnn/p1/000001.png"
    assert [pair.opinion for pair in rated.pairs[2:4]] == pytest.approx([0.8, 0.2])
    assert (rated.name, rated.higher_is_better, rated.pairs[2].type) == ("bapps_2afc", True, "cnn")


def test_noticeable_differences_of_images(tmp_path: Path) -> None:
    root = bapps_jnd(tmp_path / "data")
    study = benchmark(read_bapps_jnd(root), root, tmp_path / "out", DISTANCE, QUALITY, REVERSED)
    assert study.scores[0].by_part == pytest.approx(study.ceilings[0].by_part)
    assert study.scores[1].score == study.scores[0].score
    expected = jnd_map(np.array(SHARES["cnn"]), np.array(SHARES["cnn"]))
    assert study.scores[2].by_part["cnn"] == pytest.approx(expected)
    assert list(read(tmp_path / "out" / "choices.csv")[0])[1:4] == ["jnd_map", "jnd_map_low", "jnd_map_high"]
    assert "JND mAP" in (tmp_path / "out" / "report.md").read_text()


def test_an_interrupted_run_goes_on_and_gives_the_same(tmp_path: Path) -> None:
    root = bapps_2afc(tmp_path / "data")
    source = read_bapps_2afc(root)
    whole = benchmark(source, root, tmp_path / "whole", DISTANCE)
    seen: list[int] = []

    def counting(preds: Tensor, target: Tensor) -> Tensor:
        seen.append(len(preds))
        if sum(seen) == 9:
            raise KeyboardInterrupt
        return away(preds, target)

    counted = metric("distance", counting)
    with pytest.raises(KeyboardInterrupt):
        benchmark(source, root, tmp_path / "out", counted)
    assert sum(seen) == 9
    again = benchmark(source, root, tmp_path / "out", counted)
    assert sum(seen) == 9 + 16 - 6
    assert again == whole
    tables = [
        parquet.read_table(tmp_path / name / "scores.parquet").drop_columns("seconds") for name in ("out", "whole")
    ]
    assert tables[0].equals(tables[1])
    benchmark(source, root, tmp_path / "out", counted)
    assert sum(seen) == 9 + 16 - 6
    with pytest.raises(ValueError, match="bootstrap differ"):
        benchmark(source, root, tmp_path / "out", counted, seed=1)


def test_what_cannot_be_scored_takes_its_triplet_along_and_is_listed(tmp_path: Path) -> None:
    root = bapps_2afc(tmp_path / "data")
    cnn = root / "2afc" / "val" / "cnn"
    (cnn / "p1" / "000001.png").write_bytes(b"no image")
    (cnn / "ref" / "000003.png").write_bytes(b"no image")
    (cnn / "judge" / "000004.npy").unlink()
    study = benchmark(read_bapps_2afc(root), root, tmp_path / "out", DISTANCE)
    assert (study.parts, study.lost) == ({"cnn": 2, "traditional": 3}, 2)
    assert study.scores[0].by_part["cnn"] == pytest.approx(best_share([0.0, 0.4]))
    assert sorted(one.name for one in study.missing) == [
        "2afc/val/cnn/p0/000003.png",
        "2afc/val/cnn/p1/000001.png",
        "2afc/val/cnn/p1/000003.png",
        "cnn/judge/000004.npy",
    ]
    report = (tmp_path / "out" / "report.md").read_text()
    assert "2 choices left out" in report
    assert "`2afc/val/cnn/p1/000001.png`" in report
    for path in root.rglob("p1/*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="no triplet of bapps_2afc is left"):
        benchmark(read_bapps_2afc(root), root, tmp_path / "none", DISTANCE)


def test_a_metric_for_larger_images_is_listed_and_the_others_are_ranked(tmp_path: Path) -> None:
    root = bapps_2afc(tmp_path / "data")
    large = metric("large", away, minimum_side=100)
    study = benchmark(read_bapps_2afc(root), root, tmp_path / "out", large, DISTANCE)
    assert [one.metric for one in study.scores] == ["distance", "large"]
    assert [one.name for one in study.missing] == ["large"]
    assert read(tmp_path / "out" / "choices.csv")[1]["two_afc"] == "nan"
    assert "has no value for 8 of 8 choices" in (tmp_path / "out" / "report.md").read_text()


def test_references_are_told_apart_by_content_and_triplets_may_share_images(tmp_path: Path) -> None:
    root = bapps_2afc(tmp_path / "data")
    source = read_bapps_2afc(root)
    cnn = root / "2afc" / "val" / "cnn" / "ref"
    shutil.copy(cnn / "000000.png", cnn / "000001.png")
    twice = Triplets(source.name, (*source.triplets, source.triplets[-1]))
    study = benchmark(twice, root, tmp_path / "out", DISTANCE)
    assert (study.references, study.parts["traditional"]) == (7, 4)
    assert study.scores[0].by_part["traditional"] == pytest.approx(best_share([*SHARES["traditional"], 1.0]))


def test_what_cannot_be_told_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    def never(preds: Tensor, target: Tensor) -> Tensor:
        raise AssertionError

    root = bapps_jnd(tmp_path / "data")
    for path in (root / "jnd" / "val" / "traditional" / "same").iterdir():
        share(path, 0.0)
    with pytest.raises(ValueError, match="part 'traditional' for the same"):
        benchmark(read_bapps_jnd(root), root, tmp_path / "out", metric("never", never))
    (root / "jnd" / "val" / "traditional").rename(root / "jnd" / "val" / "pooled")
    with pytest.raises(ValueError, match="a part of bapps_jnd is called 'pooled'"):
        benchmark(read_bapps_jnd(root), root, tmp_path / "out", metric("never", never))
    with pytest.raises(ValueError, match="no metric can run here"):
        benchmark(read_bapps_jnd(root, types=["cnn"]), root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_from_outside_are_no_markup() -> None:
    one = ChoiceScore("<b>|`x`", 0.7, {"a|b*": 0.7})
    page = markdown_of(ChoiceStudy("t<i>", "c", "two_afc", (one,), (), {"a|b*": 1}, 1))
    assert "<b>" not in page.replace("\\<b>", "")
    assert "a\\|b\\*" in page


def study_of_many() -> ChoiceStudy:
    """Six metrics, two of them with names that are markup, one without a score."""
    rng = np.random.default_rng(3)
    share, distances = made_up()
    table = {f"near+{k}": distances["near"] + 0.2 * k * rng.normal(size=(400, 2)) for k in range(1, 3)}
    table |= {"<script>boom()</script>": distances["near"], "far": distances["far"], "{{ 7 * 7 }}": distances["far"]}
    table["hole"] = np.where(np.arange(800).reshape(400, 2) == 5, np.nan, distances["near"])
    part = np.array(["cnn", "traditional", "</table>"])[np.arange(400) % 3]
    found, ceilings = analyse_choices(choices(table, share, part), resamples=100)
    counts = {name: int((part == name).sum()) for name in np.unique(part).tolist()}
    return ChoiceStudy("bapps_2afc", "fmiqa benchmark", "two_afc", found, ceilings, counts, 400, 2)


def test_the_html_page_says_what_the_study_holds() -> None:
    study = study_of_many()
    page = html_of(study)
    read = Reader(page)
    text = " ".join("".join(read.texts).split()).replace("\u00a0", " ")
    best, second = study.scores[:2]
    answer = [
        f"{best.metric} agrees best with people, at a 2AFC of {three(best.score)}",
        f"2AFC {three(best.score)}, 95 % interval [{three(best.low)}, {three(best.high)}]",
        f"+{three(best.score - second.score)} over the next, {second.metric}, 95 % interval "
        f"[{three(-second.behind_high)}, {three(-second.behind_low)}]",
        f"{4 - len(study.ties)} of 4 others, beyond chance",
        f"Majority of people {three(study.ceilings[0].score)}; one person {three(study.ceilings[1].score)}.",
        "400 choices of 400 references, in 3 parts",
        "2AFC is the mean share of people",
        "2 choices left out",
    ]
    places = [text.index(part) for part in answer]
    assert places == sorted(places)
    assert [row[0] for row in read.words("agreement")] == [one.metric for one in study.scores]
    for row, one in zip(read.values("agreement"), study.scores, strict=True):
        np.testing.assert_array_equal(row[1:5], [one.score, one.low, one.score, one.pooled])
    for row, one in zip(read.values("parts"), (*study.scores, *study.ceilings), strict=True):
        np.testing.assert_array_equal(row[1:], list(one.by_part.values()))
    assert read.words("agreement")[-1][1] == "—"
    assert "://" not in page
    assert sum(tag == "script" for tag, _ in read.elements) == 1
    # The Markdown page has the same facts, without drawings.
    short = markdown_of(study).replace("\u00a0", " ")
    assert f"- Agreement: 2AFC {three(best.score)}, 95 % interval" in short
    assert "drawn" not in short


def test_the_html_page_works_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    """Without the drawing of scores against opinions, of which there are none, the script still does the rest."""
    study = study_of_many()
    path = tmp_path / "report.html"
    path.write_text(html_of(study), encoding="utf-8")
    for width in (360, 1280, 1600):
        browser.open(path, width=width)
        assert browser.evaluate("document.documentElement.scrollWidth") == width
        assert browser.evaluate("typeof boom") == "undefined"
    names = "[...document.querySelectorAll('#parts-table tbody th')].map((one) => one.textContent)"
    part = list(study.parts)[1]
    rows = [one for one in (*study.scores, *study.ceilings) if not np.isnan(one.score)]
    expected = [one.metric for one in sorted(rows, key=lambda one: -one.by_part[part])]
    browser.evaluate("document.querySelectorAll('#parts-table thead th button')[2].click()")
    assert browser.evaluate(names) == [*expected, "hole"]
    assert browser.evaluate("document.querySelectorAll('#agreement-table svg .dot').length") == 5
    browser.evaluate("new Promise((done) => setTimeout(done, 200))")
    assert browser.evaluate("document.querySelectorAll('nav a').length") == 3
    assert browser.problems == []
    assert {one for one in browser.requests if not one.startswith("data:")} == {path.resolve().as_uri()}


# The command line -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A data set, the folder of its benchmark, and what was printed."""
    folder = tmp_path_factory.mktemp("choices")
    root = bapps_2afc(folder / "data")
    arguments = ("--metrics", METRICS, "--out", folder / "out", "--resamples", "50", "--changes", "none")
    printed = fmiqa("benchmark", "--data", f"bapps_2afc={root}", *arguments).stdout
    return root, folder / "out", printed


def test_command_scores_triplets_as_the_metrics_do(made: tuple[Path, Path, str]) -> None:
    root, out, printed = made
    rows = {row["metric"]: row for row in read(out / "choices.csv")}
    assert set(rows) == {VIT, "psnr"}
    vit, mse = [], []
    for part, shares in SHARES.items():
        home = root / "2afc" / "val" / part
        images = [
            torch.stack([read_image(home / column / f"{i:06}.png") for i in range(len(shares))]).float() / 255
            for column in ("ref", "p0", "p1")
        ]
        by_side = [feature_distance(side, images[0], **RANDOM_VIT, tile=32, reduction="none") for side in images[1:]]
        vit.append(two_afc(*(one.numpy() for one in by_side), shares))
        errors = [(side - images[0]).square().mean((1, 2, 3)).numpy() for side in images[1:]]
        mse.append(two_afc(*errors, shares))
    assert float(rows[VIT]["two_afc"]) == pytest.approx(np.mean(vit), abs=1e-6)
    assert float(rows["psnr"]["two_afc"]) == pytest.approx(np.mean(mse), abs=1e-6)
    assert {"choices.csv", "ceilings.csv", "scores.parquet", "report.md", "inputs.json"} <= {
        p.name for p in out.iterdir()
    }
    for report in ("report.html", "report.md"):
        text = (out / report).read_text()
        assert "Agreement with human choices" in text
        assert f"{float(rows['psnr']['two_afc']):.3f}".removeprefix("0") in text
    assert "majority of people" in printed
    assert "report.html" in printed


def test_same_command_again_changes_nothing_and_another_is_refused(made: tuple[Path, Path, str]) -> None:
    root, out, _ = made
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    arguments = ("benchmark", "--data", f"bapps_2afc={root}", "--out", out, "--resamples", "50")
    fmiqa(*arguments, "--metrics", METRICS, "--attacked", "0")
    again = {path.name: path.read_bytes() for path in out.iterdir()}
    # The reports tell the command that made them.
    assert {name for name in before if before[name] != again[name]} <= {"report.md", "report.html"}
    assert "metrics differ" in refusal(*arguments, "--metrics", "psnr")


def test_command_scores_noticeable_differences(tmp_path: Path) -> None:
    root = bapps_jnd(tmp_path / "data")
    (root / "jnd" / "val" / "cnn" / "p1" / "000001.png").unlink()
    result = fmiqa(
        *("benchmark", "--data", f"bapps_jnd={root}", "--metrics", "psnr", "--out", tmp_path / "out"), status=1
    )
    assert "cnn/p1/000001.png" in result.stderr
    (row,) = read(tmp_path / "out" / "choices.csv")
    assert float(row["jnd_map"]) == pytest.approx(float(read(tmp_path / "out" / "ceilings.csv")[0]["jnd_map"]))


def test_options_of_the_reader_choose_what_is_scored(tmp_path: Path) -> None:
    root = bapps_2afc(tmp_path / "data")
    (root / "2afc" / "val").rename(root / "2afc" / "train")
    options = ("--data-option", "split=train", "--data-option", "types=[traditional]")
    fmiqa(
        *("benchmark", "--data", f"bapps-2AFC={root}", *options, "--metrics", "psnr", "--resamples", "20"),
        *("--out", tmp_path / "out"),
    )
    (row,) = read(tmp_path / "out" / "choices.csv")
    assert "traditional" in row
    assert "cnn" not in row
    assert float(row["two_afc"]) == pytest.approx(best_share(SHARES["traditional"]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--opinion", "mos"], "--opinion"),
        (["--opinion-is", "worse"], "--opinion-is"),
        (["--root", "."], "--root"),
        (["--type", "kind"], "`--type`"),
        (["--type-from", "a"], "`--type-from`"),
        (["--higher-is-better", "psnr"], "`--higher-is-better`"),
        (["--ref", "ref"], "`--ref`"),
        (["--changes", "all"], "`--changes`"),
        (["--attacked", "3"], "`--attacked`"),
        (["--worst", "10"], "`--worst`"),
        (["--image", "dist"], "`--image`"),
        (["--other-set", "."], "agreement.csv"),
        (["--data-option", "split=test"], "2afc/test'"),
        (["--data-option", "realigned=true"], "its reader takes split, types"),
        (["--data-option", "types=[cnn, music]"], "'music'"),
    ],
)
def test_options_for_opinions_are_refused(tmp_path: Path, given: list[str], message: str) -> None:
    root = bapps_2afc(tmp_path / "data")
    arguments = ("--data", f"bapps_2afc={root}", "--metrics", "psnr", "--out", tmp_path / "out")
    assert message in refusal("benchmark", *arguments, *given)
    assert not (tmp_path / "out").exists()
