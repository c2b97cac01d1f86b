"""Scoring images for a benchmark: names of metrics, the panel, resuming, and what cannot be scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from scipy import stats
from torch import Tensor

from tests.conftest import RANDOM_VIT, SQUEEZENET, make_pair, needs
from torchmetrics_fmiqa import FeatureDistance, Recipe, feature_distance
from torchmetrics_fmiqa.benchmark.analysis.layers import layer_curves
from torchmetrics_fmiqa.benchmark.distortions import CHANGES
from torchmetrics_fmiqa.benchmark.metrics.columns import change_column, feature_column, parse_column, tap_column
from torchmetrics_fmiqa.benchmark.metrics.metric import Metric
from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
from torchmetrics_fmiqa.benchmark.metrics.read_panel import read_panel
from torchmetrics_fmiqa.benchmark.metrics.spec import parse_metrics
from torchmetrics_fmiqa.benchmark.scoring.digests import content_of
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading, ScoreOptions, ScoreRun
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.data.rated_csv import RatedPairs, read_rated_csv
from torchmetrics_fmiqa.recipes import RECIPES

BASELINES = ("psnr", "ssim", "lpips", "lpips-squeeze")
VIT = Recipe(**RANDOM_VIT)


def squared(preds: Tensor, target: Tensor) -> Tensor:
    return (preds - target).square().mean((1, 2, 3))


MSE = Metric("mse", squared, higher_is_better=False, differentiable=True, identity="test")
LARGE = Metric("large", squared, higher_is_better=False, differentiable=True, identity="test", minimum_side=100)


def save(image: Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy()).save(path)


def dataset(folder: Path, references: int = 3, levels: int = 3, size: int = 48) -> Path:
    """References with ever noisier versions, and opinions that fall with the noise; the last reference is wider."""
    rows = ["ref,dist,mos,type"]
    for r in range(references):
        for level in range(levels):
            width = size + 16 if r == references - 1 else size
            preds, target = make_pair(1, size, width, seed=r, noise=0.05 * (level + 1))
            save(target[0], folder / f"r{r}.png")
            save(preds[0], folder / f"d{r}_{level}.png")
            rows.append(f"r{r}.png,d{r}_{level}.png,{5 - level - 0.1 * r},noise{level % 2}")
    path = folder / "pairs.csv"
    path.write_text("\n".join(rows))
    return path


@pytest.fixture
def rated(tmp_path: Path) -> RatedPairs:
    return read_rated_csv(dataset(tmp_path / "data"))


def panel() -> Panel:
    return Panel({"vit": VIT, "both": VIT.replace(distance=["cosine", "l2"], taps=[0])}, [MSE])


def run_to_end(run: ScoreRun) -> Any:
    list(run)
    return parquet.read_table(run.path)


# names


def test_names_of_baselines_recipes_overrides_and_files(tmp_path: Path) -> None:
    one, several = tmp_path / "mine.yaml", tmp_path / "set.yaml"
    one.write_text("recipe: vit-tiny\ndistance: l2\n")
    several.write_text("a:\n  recipe: vit-tiny\n  taps: [2]\nb:\n  backbone: resnet18\n  weights: random:1\n")
    names = ["psnr", "vit-tiny", "vit-tiny:distance=l2:taps=[2, 5]", str(one), str(several)]
    found = parse_metrics(names, BASELINES)
    assert list(found) == ["psnr", "vit-tiny", "vit-tiny:distance=l2:taps=[2 5]", "mine", "a", "b"]
    assert found["vit-tiny:distance=l2:taps=[2 5]"].taps == (2, 5)
    assert found["mine"].distance == "l2"
    assert found["a"].taps == (2,)
    assert found["b"].weights == "random:1"


def test_weights_in_a_file_of_recipes_count_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"x")
    (tmp_path / "set.yaml").write_text("a:\n  recipe: vit-tiny\n  weights: w.safetensors\n")
    found = parse_metrics([str(tmp_path / "set.yaml")], BASELINES)
    assert Path(found["a"].weights) == tmp_path / "w.safetensors"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["vit-tny"], "close: vit-tiny"),
        (["psnr", "psnr"], "given twice"),
        (["psnr:distance=l2"], "the metric 'psnr:distance=l2': 'psnr' is no recipe .* give 'psnr' alone$"),
        (["lpips:weights=a.pth"], "or the recipe 'lpips-alex:weights=a.pth'$"),
        (["lpips-squeeze:wights=a.pth"], "did you mean `weights`"),
        (["lpips-squeeze:weights=a/w.pth", "lpips-squeeze:weights=b/w.pth"], "given twice; a .yaml file"),
        (["vit-tiny:dstance=l2"], "did you mean `distance`"),
        (["missing.yaml"], "no recipe file"),
        ([], "at least one metric"),
    ],
)
def test_wrong_names_are_errors(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_metrics(names, BASELINES)


def test_a_name_that_a_baseline_and_a_recipe_have_is_the_recipe_where_it_has_fields() -> None:
    names = ["lpips-squeeze", "lpips-squeeze:weights=some/trunk.pth", "lpips-squeeze:weights=random:0:taps=[0]"]
    plain, filed, random = parse_metrics(names, BASELINES).items()
    assert plain == ("lpips-squeeze", "lpips-squeeze")
    assert filed == ("lpips-squeeze:weights=trunk", RECIPES["lpips-squeeze"].recipe.replace(weights="some/trunk.pth"))
    assert random[0] == names[2]
    assert isinstance(random[1], Recipe)


def test_that_recipe_gives_the_number_of_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMIQA_ASSETS", str(needs(SQUEEZENET).parents[1]))
    found = read_panel(["lpips-squeeze", f"lpips-squeeze:weights={SQUEEZENET}"]).score(*make_pair(2, 64, 48))
    torch.testing.assert_close(found["lpips-squeeze:weights=squeezenet1_1"], found["lpips-squeeze"])


def test_columns_round_trip() -> None:
    assert parse_column(tap_column("a", "blocks.3"))[:3] == ("a", "blocks.3", "")
    assert parse_column(change_column("a/b", "shift-1%"))[:3] == ("a/b", "", "shift-1%")
    assert parse_column(feature_column("spatial information", "reference"))[3:] == ("spatial information", "reference")
    assert parse_column("fsim_tra-1") == ("fsim", "", "translation", "", "")


# panel


def test_panel_equals_each_metric_alone_with_one_forward_pass(forwarded: list[int]) -> None:
    preds, target = make_pair(2, 48, 48)
    found = panel().score(preds, target)
    assert len(forwarded) == 1
    alone = FeatureDistance(VIT, reduction="none")(preds, target)
    torch.testing.assert_close(found["vit"], alone)
    l2 = feature_distance(preds, target, VIT.replace(distance="l2", taps=[0]), reduction="none")
    torch.testing.assert_close(found["both/l2"], l2)
    torch.testing.assert_close(found["mse"], squared(preds, target))
    taps = torch.stack([found[name] for name in found if name.startswith("vit@")])
    torch.testing.assert_close(taps.mean(0), found["vit"])


def test_panel_measures_equal_its_columns() -> None:
    preds, target = make_pair(2, 48, 48)
    found = panel().score(preds, target)
    for metric in panel().metrics():
        torch.testing.assert_close(metric.score(preds, target), found[metric.name])
        assert not metric.higher_is_better
    assert {one.name for one in panel().metrics()} == set(panel().names)


def test_panel_leaves_out_what_cannot_be_downloaded_and_what_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchmetrics_fmiqa.benchmark.metrics import panel as module
    from torchmetrics_fmiqa.features.weights import WeightsUnavailableError

    def unavailable(*args: Any, **kwargs: Any) -> Any:
        raise WeightsUnavailableError("no network")

    preds, target = make_pair(1, 48, 48)
    small = Panel({}, [LARGE]).score(preds, target)["large"]
    assert small.isnan().all()
    monkeypatch.setattr(module, "FeatureComparator", unavailable)
    found = Panel({"vit": VIT}, [MSE])
    assert found.names == ("mse",)
    assert [(one.name, one.reason) for one in found.skipped] == [("vit", "no network")]


def test_two_metrics_of_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="two metrics are called 'mse'"):
        Panel({"mse": VIT}, [MSE])


# scoring


def test_scores_equal_the_metric_image_by_image(rated: RatedPairs, tmp_path: Path) -> None:
    changes = "shift-1px"
    table = run_to_end(ScoreRun(rated, panel(), tmp_path / "out", ScoreOptions(changes=changes, batch=4))).to_pylist()
    assert [row["dist"] for row in table] == [pair.dist.name for pair in rated.pairs]
    for row, pair in zip(table, rated.pairs, strict=True):
        preds, target = (read_image(path)[None] for path in (pair.dist, pair.ref))
        assert row["vit"] == pytest.approx(float(feature_distance(preds, target, VIT)), rel=1e-5)
        moved = CHANGES[changes](preds.float() / 255)
        expected = feature_distance(moved, target, VIT)
        assert row["vit|shift-1px"] == pytest.approx(float(expected), rel=1e-5)
        assert (row["opinion"], row["type"]) == (pair.opinion, pair.type)
        assert row["seconds"] > 0


@pytest.mark.parametrize("stop", [1, 2])
def test_interrupted_run_goes_on_and_equals_one_that_was_not(rated: RatedPairs, tmp_path: Path, stop: int) -> None:
    changes = "rotate-1"
    whole = run_to_end(ScoreRun(rated, panel(), tmp_path / "whole", ScoreOptions(changes=changes, batch=2)))
    broken = ScoreRun(rated, panel(), tmp_path / "broken", ScoreOptions(changes=changes, batch=2))
    steps = iter(broken)
    assert [next(steps) for _ in range(stop + 1)] == [2 * i for i in range(stop + 1)]
    steps.close()
    assert not broken.path.exists()
    resumed = ScoreRun(rated, panel(), tmp_path / "broken", ScoreOptions(changes=changes, batch=2))
    assert next(iter(resumed)) == 2 * stop
    again = run_to_end(resumed)
    assert again.drop_columns(["seconds"]).equals(whole.drop_columns(["seconds"]))
    assert not (tmp_path / "broken" / "parts").exists()


def test_finished_run_scores_nothing_again(rated: RatedPairs, tmp_path: Path, forwarded: list[int]) -> None:
    first = run_to_end(ScoreRun(rated, panel(), tmp_path / "out"))
    forwarded.clear()
    run = ScoreRun(rated, panel(), tmp_path / "out")
    assert list(run) == [len(rated)]
    assert not forwarded
    assert parquet.read_table(run.path).equals(first)
    assert run.unscored() == []


def test_references_of_a_batch_run_once_for_the_changes(tmp_path: Path, forwarded: list[int]) -> None:
    one = read_rated_csv(dataset(tmp_path / "one", references=1, levels=1))
    run_to_end(ScoreRun(one, Panel({"vit": VIT}), tmp_path / "out", ScoreOptions(changes="shift-1px,rotate-1")))
    assert forwarded == [2, 1, 1]  # both sides, then the changed image alone


def test_pairs_that_fail_are_listed_and_stop_nothing(tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    (tmp_path / "data" / "d0_1.png").write_bytes(b"no image")
    save(torch.rand(3, 20, 20), tmp_path / "data" / "d1_1.png")
    rated = read_rated_csv(path)
    run = ScoreRun(rated, Panel({}, [MSE, LARGE]), tmp_path / "out", ScoreOptions(batch=3))
    table = run_to_end(run)
    assert table.num_rows == len(rated) - 2
    problems = {problem.name: problem.reason for problem in run.unscored()}
    assert "cannot read" in problems["d0_1.png"]
    assert "differ in size" in problems["d1_1.png"]
    assert "no value for 7 images" in problems["large"]
    assert np.isfinite(table.column("mse").to_numpy()).all()


def test_nothing_to_score_is_an_error(tmp_path: Path) -> None:
    path = dataset(tmp_path / "data", references=1, levels=1)
    (tmp_path / "data" / "d0_0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="no pair of data could be scored: cannot read"):
        run_to_end(ScoreRun(read_rated_csv(path), panel(), tmp_path / "out"))


def test_max_side_and_border_are_for_every_metric(rated: RatedPairs) -> None:
    preds, target = Reading(max_side=24, crop_border=4)(rated.pairs[-1])
    assert preds.shape == target.shape == (3, 17, 24)  # 40 x 56 without its border
    assert preds.min() >= 0
    assert preds.max() <= 1
    with pytest.raises(ValueError, match="`crop_border` 30 leaves nothing"):
        Reading(crop_border=30)(rated.pairs[0])


def test_content_changes_with_pixels_and_opinions_but_not_with_places(tmp_path: Path) -> None:
    one, same = (read_rated_csv(dataset(tmp_path / name)) for name in ("one", "same"))
    assert content_of(one) == content_of(same)
    assert content_of(one) != content_of(one.select(range(len(one) - 1)))
    save(torch.zeros(3, 48, 48), tmp_path / "same" / "d0_0.png")
    assert content_of(one) != content_of(same)


def test_scores_are_a_table_of_scores(rated: RatedPairs, tmp_path: Path) -> None:
    run = ScoreRun(rated, panel(), tmp_path / "out", ScoreOptions(changes="rotate-1"))
    run_to_end(run)
    table = run.table()
    assert list(table.scores) == ["vit", "both/cosine", "both/l2", "mse"]
    assert table.changed["rotate-1"].keys() == table.scores.keys()
    assert list(table.taps) == ["vit"]
    assert table.type is not None
    assert set(table.type.tolist()) == {"noise0", "noise1"}


# layers


def test_layer_curves_against_scipy() -> None:
    rng = np.random.default_rng(0)
    opinion, reference = rng.uniform(1, 5, 60), np.repeat(np.arange(10), 6).astype(str)
    taps = {f"t{i}": 5 - opinion + noise * rng.normal(size=60) for i, noise in enumerate((0.3, 1.0, 5.0))}
    joined = (taps["t0"] + taps["t1"]) / 2
    names = np.array([str(i) for i in range(60)])
    table = ScoredTable({"net": joined, "other": joined}, {}, opinion, reference, names, None, {"net": taps})
    (curve,) = layer_curves(table, opinion_higher_is_better=True, resamples=300)
    for tap, srcc, low, high in zip(curve.taps, curve.srcc, curve.low, curve.high, strict=True):
        assert srcc == pytest.approx(-stats.spearmanr(taps[tap], opinion).statistic)
        assert low < srcc < high
    assert curve.joined == pytest.approx(-stats.spearmanr(joined, opinion).statistic)
    assert curve.final_p < 0.01  # the last tap is nearly noise


def test_layer_curve_of_one_reference_has_no_interval() -> None:
    opinion = np.array([1.0, 2.0, 3.0, 4.0])
    taps = {"a": opinion * 2, "b": opinion**2}
    names = np.array(list("wxyz"))
    table = ScoredTable({"net": opinion}, {}, opinion, np.array(["r"] * 4), names, None, {"net": taps})
    (curve,) = layer_curves(table, opinion_higher_is_better=False)
    assert curve.srcc == (1.0, 1.0)
    assert np.isnan([*curve.low, *curve.high, curve.final_p]).all()
