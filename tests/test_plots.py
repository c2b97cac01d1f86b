"""Pictures of a benchmark: what is drawn is what was found, read back from the axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.published_tables import tid2013
from tests.test_imports import loaded_after
from torchmetrics_fmiqa.benchmark import plots
from torchmetrics_fmiqa.benchmark.analysis.agreement import Analysis, analyse
from torchmetrics_fmiqa.benchmark.analysis.attacks import AttackResult
from torchmetrics_fmiqa.benchmark.analysis.cost import Cost
from torchmetrics_fmiqa.benchmark.analysis.desirability import Desirability, Factor
from torchmetrics_fmiqa.benchmark.analysis.imagenet_accuracy import AccuracyFinding
from torchmetrics_fmiqa.benchmark.analysis.layers import LayerCurve
from torchmetrics_fmiqa.benchmark.analysis.outliers import FeatureTest, OutlierFinding, WorstCase
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
from torchmetrics_fmiqa.benchmark.study import GalleryItem, Study

pytest.importorskip("matplotlib")
NAN = math.nan


def table_of(names: list[str], n: int = 120, opinion_is_better: bool = True, types: bool = True) -> ScoredTable:
    """Distances, the first the best; ``psnr`` is a quality, ``broken`` has NaN."""
    rng = np.random.default_rng(3)
    quality = rng.uniform(1, 5, n)
    scores = {}
    for place, name in enumerate(names):
        noisy = 5 - quality + (0.2 + 0.3 * place) * rng.normal(size=n)
        scores[name] = np.exp(noisy) if name != "psnr" else 40 - noisy
        if name == "broken":
            scores[name][7] = NAN
    changed = {
        change: {name: one + strength * rng.normal(size=n) * one.std() for name, one in scores.items()}
        for change, strength in (("shift", 0.2), ("turn", 0.6))
    }
    references = (np.arange(n) // 12).astype(str)
    images = np.array([f"image_{place}.png" for place in range(n)])
    kinds = np.array(["blur", "blocks", "noise"])[np.arange(n) % 3] if types else None
    return ScoredTable(scores, changed, quality if opinion_is_better else 5 - quality, references, images, kinds)


@pytest.fixture(scope="module")
def table() -> ScoredTable:
    return table_of(["broken", "psnr", "best", "second", "far"])


@pytest.fixture(scope="module")
def analysis(table: ScoredTable) -> Analysis:
    return analyse(table, "better", ["psnr"], resamples=60)


@pytest.fixture(scope="module")
def lonely() -> Analysis:
    return analyse(table_of(["ours"]), "better", [], resamples=20)


@pytest.fixture(scope="module")
def many() -> Analysis:
    return analyse(table_of([f"a_metric_with_a_rather_long_name_{i}" for i in range(42)]), "better", [], resamples=20)


def curve(metric: str = "ours", taps: tuple[str, ...] = ("blocks.0", "blocks.5", "blocks.11")) -> LayerCurve:
    srcc = tuple(0.7 + 0.02 * place for place in range(len(taps)))
    return LayerCurve(metric, taps, srcc, tuple(one - 0.1 for one in srcc), tuple(one + 0.1 for one in srcc), 0.9, 0.02)


def attacks(metric: str = "ours") -> list[AttackResult]:
    return [
        AttackResult(metric, attack, goal, epsilon, sign * size * epsilon, 0.1 * epsilon, 48.0, 4)
        for attack, size in (("fgsm", 1.0), ("pgd", 3.0))
        for goal, sign in (("raise", 1), ("lower", -0.5))
        for epsilon in (4.0, 1.0, 2.0)  # in no order: the lines must still go from left to right
    ]


def desirability(metrics: int = 5, groups: bool = True) -> Desirability:
    rng = np.random.default_rng(5)
    factors = tuple(Factor(name, name.title(), 1.0, "a share") for name in ("srcc", "robustness", "cost"))
    values = rng.uniform(0.2, 1, (metrics, 3))
    group = np.zeros(metrics, dtype=np.int64)
    if groups and metrics > 2:
        group[metrics * 2 // 3 :] = 1
        values[group == 1, 2] = NAN
    rank = np.concatenate([1 + np.arange((group == one).sum()) for one in np.unique(group)])
    return Desirability(
        tuple(f"metric_{place}" for place in range(metrics)),
        factors,
        values,
        np.linspace(0.9, 0.3, metrics),
        group,
        rank,
        np.stack([rank, rank + 1, rank], axis=1),
        np.stack([np.maximum(rank - 1, 1), rank + 2], axis=1).astype(float),
        1.0 / (1 + rank),
        500,
    )


def accuracy() -> AccuracyFinding:
    return AccuracyFinding(
        "SRCC",
        ("alexnet", "vgg16", "vit", "dino", "clip"),
        ("lpips", "dists", "vit_l2", "dino_l2", "clip_l2"),
        (56.5, 71.6, 81.8, 78.2, 63.3),
        (0.77, 0.78, 0.75, 0.79, NAN),
        -0.2,
        0.62,
        (-0.8, 0.5),
        "4 backbones are few",
    )


def outliers() -> OutlierFinding:
    pooled = (
        FeatureTest("colourfulness", "reference", 0.7, 0.001, 0.004, 9, 91, 1),
        FeatureTest("energy", "distorted", 0.4, 0.2, 0.6, 9, 91, 1),
    )
    stratified = (replace(pooled[0], effect=0.55, p_holm=0.001, p_clustered_holm=0.3, strata=3),)
    by_type = {"blur": (1, 50), "blocks": (8, 40), "none": (0, 10)}
    return OutlierFinding("ours", "|z| > 2", 9, 100, by_type, pooled, stratified, ())


def gallery(heat: bool = True) -> list[GalleryItem]:
    rng = np.random.default_rng(1)
    return [
        GalleryItem(
            WorstCase(place, "a.png", f"<b>&$x_{place}$.png", "blur" if place else "", 4.0, 2.5, -3.25),
            rng.integers(0, 255, (30, 40, 3), dtype=np.uint8),
            rng.integers(0, 255, (30, 40, 3), dtype=np.uint8),
            rng.uniform(0, 1 + place, (30, 40)).astype(np.float32) if heat and place != 1 else None,
        )
        for place in range(3)
    ]


def fresh_axes() -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(5, 4), layout="constrained").subplots(1, 2)[1]


def drawn(ax: Any, gid: str) -> list[Any]:
    return [line for line in ax.get_lines() if line.get_gid() == gid]


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


def rows_of(ax: Any) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


EVERY: dict[str, Callable[[Analysis, ScoredTable], Callable[[Any], Any]]] = {
    "agreement": lambda found, table: lambda ax: plots.plot_agreement(found, ax=ax),
    "scatter": lambda found, table: lambda ax: plots.plot_scatter(table, found.agreements[0], ax=ax),
    "beats": lambda found, table: lambda ax: plots.plot_beats(found.comparison, ax=ax),
    "types": lambda found, table: lambda ax: plots.plot_types(found, ax=ax),
    "layers": lambda found, table: lambda ax: plots.plot_layers([curve(), curve("other", ("a", "b"))], ax=ax),
    "robustness": lambda found, table: lambda ax: plots.plot_robustness(found, ax=ax),
    "attacks": lambda found, table: lambda ax: plots.plot_attacks(attacks(), ax=ax),
    "desirability": lambda found, table: lambda ax: plots.plot_desirability(desirability(), ax=ax),
    "stability": lambda found, table: lambda ax: plots.plot_stability(desirability(), ax=ax),
    "accuracy": lambda found, table: lambda ax: plots.plot_accuracy(accuracy(), ax=ax),
    "outliers": lambda found, table: lambda ax: plots.plot_outliers(outliers(), ax=ax),
    "outlier_features": lambda found, table: lambda ax: plots.plot_outlier_features(outliers(), ax=ax),
    "cost": lambda found, table: lambda ax: plots.plot_cost([Cost("best", 0.1, 1.0)], found, ax=ax),
    "gallery": lambda found, table: lambda ax: plots.plot_gallery(gallery(), ax=ax),
}


def test_every_plot_is_tried_here():
    assert {f"plot_{name}" for name in EVERY} == set(plots.__all__)


@pytest.mark.parametrize("name", EVERY)
def test_given_axes_are_used_and_the_figure_can_be_saved(name, analysis, table, tmp_path):
    ax = fresh_axes()
    size = ax.figure.get_size_inches().tolist()
    assert EVERY[name](analysis, table)(ax) is ax
    assert ax.figure.get_size_inches().tolist() == size
    ax.figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


@pytest.mark.parametrize("name", EVERY)
def test_axes_of_their_own_are_saved_without_anything_cut(name, analysis, table):
    """Whatever is written lies on the page."""
    ax = EVERY[name](analysis, table)(None)
    figure = ax.figure
    figure.draw_without_rendering()
    page = figure.bbox
    for one in figure.axes:
        box = one.get_tightbbox()
        assert box.x0 >= page.x0 - 2
        assert box.y0 >= page.y0 - 2
        assert box.x1 <= page.x1 + 2
        assert box.y1 <= page.y1 + 2


@pytest.mark.parametrize("name", EVERY)
def test_axes_say_which_way_is_better(name, analysis, table):
    ax = EVERY[name](analysis, table)(None)
    said = " ".join(
        [ax.get_xlabel(), ax.get_ylabel(), *texts(ax)]
        + [other.get_ylabel().replace("\n", " ") for other in ax.figure.axes]
    )
    if name == "beats":
        said += " ".join(text.get_text().replace("\n", " ") for text in ax.get_legend().get_texts())
    words = ("is better", "1 is best", "is closer", "agrees better", "nearer 0 is more robust", "0.5 is no difference")
    assert any(word in said for word in words)


def test_no_window_system_is_chosen():
    """Neither pyplot nor a backend is touched, so that a user's own choice stands."""
    code = """
import matplotlib
before = dict.__getitem__(matplotlib.rcParams, "backend")
from torchmetrics_fmiqa.benchmark.plots import plot_layers
from torchmetrics_fmiqa.benchmark.analysis.layers import LayerCurve
plot_layers([LayerCurve("ours", ("a", "b"), (0.1, 0.2), (0.0, 0.1), (0.2, 0.3), 0.2, 0.5)]).figure.savefig("/dev/null", format="png")
import sys
# torchmetrics itself may import pyplot; a backend is chosen only when one is asked for.
assert dict.__getitem__(matplotlib.rcParams, "backend") is before, "a backend was chosen"
"""  # noqa: E501
    assert "matplotlib" in loaded_after(code)


def test_without_matplotlib_the_error_tells_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"torchmetrics-fmiqa\[plot\]"):
        plots.plot_layers([curve()])


# Agreement


def test_agreement_shows_srcc_and_intervals_in_order(analysis):
    ax = plots.plot_agreement(analysis)
    assert rows_of(ax) == [one.metric for one in analysis.agreements]
    shown = {int(y): x for line in ax.get_lines() for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}
    assert shown == {place: one.srcc for place, one in enumerate(analysis.agreements) if one.metric != "broken"}
    spans = {float(segment[0, 1]): tuple(segment[:, 0]) for one in ax.collections for segment in one.get_segments()}
    assert spans == {float(place): analysis.agreements[place].intervals["srcc"] for place in shown}
    low, high = ax.get_ylim()
    assert low > high  # the first row is at the top


def test_agreement_marks_the_best_and_those_not_settled_against_it():
    rng = np.random.default_rng(0)
    quality = rng.uniform(1, 5, 240)
    scores = {
        "best": 5 - quality + 0.30 * rng.normal(size=240),
        "twin": 5 - quality + 0.31 * rng.normal(size=240),
        "far": 5 - quality + 3.0 * rng.normal(size=240),
    }
    names = np.arange(240).astype(str)
    found = analyse(
        ScoredTable(scores, {}, quality, (np.arange(240) // 12).astype(str), names, None), "better", [], resamples=100
    )
    assert found.ties() == [found.agreements[1].metric]
    ax = plots.plot_agreement(found)
    assert {state: drawn(ax, state)[0].get_ydata().tolist() for state in ("best", "tied", "beaten")} == {
        "best": [0],
        "tied": [1],
        "beaten": [2],
    }
    # Shape or filling tells them apart, not colour alone.
    looks = {(drawn(ax, s)[0].get_marker(), drawn(ax, s)[0].get_markerfacecolor()) for s in ("best", "tied", "beaten")}
    assert len(looks) == 3
    assert drawn(ax, "best")[0].get_marker() != drawn(ax, "tied")[0].get_marker()


def test_agreement_of_one_metric_has_no_best(lonely):
    ax = plots.plot_agreement(lonely)
    assert [line.get_gid() for line in ax.get_lines()] == ["metric"]
    assert ax.get_legend() is None


def test_agreement_says_where_there_is_none(analysis):
    ax = plots.plot_agreement(analysis)
    (dash,) = [text for text in ax.texts if text.get_text() == "— no SRCC"]
    assert rows_of(ax)[int(dash.xy[1])] == "broken"


def test_agreement_of_nothing_says_what_to_run(analysis):
    with pytest.raises(ValueError, match=r"run analyse\(\)"):
        plots.plot_agreement(replace(analysis, agreements=[]))


def test_42_names_do_not_overlap(many):
    for ax in (plots.plot_agreement(many), plots.plot_robustness(many), plots.plot_beats(many.comparison)):
        ax.figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
        assert len(boxes) == 42
        tops = sorted((box.y0, box.y1) for box in boxes)
        assert all(below[1] <= above[0] + 0.5 for below, above in pairwise(tops))


# Scatter


@pytest.mark.parametrize("better", [True, False])
@pytest.mark.parametrize("metric", ["ours", "psnr"])
def test_scatter_shows_raw_scores_and_the_curve_through_them(better, metric):
    """The curve, drawn over scores as they are, is the fit made of turned ones: at each score what it predicts."""
    table = table_of([metric], opinion_is_better=better)
    (found,) = analyse(table, "better" if better else "worse", [metric] * (metric == "psnr"), resamples=10).agreements
    ax = plots.plot_scatter(table, found)
    dots = np.concatenate([one.get_offsets() for one in ax.collections if one.get_gid() == "type"])
    expected = np.stack([table.scores[metric], table.opinion], axis=1)
    assert sorted(map(tuple, dots.tolist())) == sorted(map(tuple, expected.tolist()))
    (line,) = drawn(ax, "fit")
    residuals = table.opinion - np.interp(table.scores[metric], line.get_xdata(), line.get_ydata())
    assert np.sqrt((residuals**2).mean()) == pytest.approx(found.rmse, rel=1e-3)
    assert ax.get_xlabel().endswith("(higher is better)" if metric == "psnr" else "(lower is better)")
    assert ax.get_ylabel().endswith("(higher is better)" if better else "(lower is better)")


def test_scatter_rings_the_outliers_and_tells_types_apart(table, analysis):
    found = analysis.agreements[0]
    ax = plots.plot_scatter(table, found)
    (rings,) = [one for one in ax.collections if one.get_gid() == "outliers"]
    assert len(rings.get_offsets()) == found.outliers.outlying.sum() > 0
    expected = table.opinion[found.outliers.outlying]
    assert sorted(rings.get_offsets()[:, 1].tolist()) == sorted(expected.tolist())
    by_type = {one.get_label(): len(one.get_offsets()) for one in ax.collections if one.get_gid() == "type"}
    assert by_type == {"blocks": 40, "blur": 40, "noise": 40}


def test_scatter_of_many_types_repeats_no_colour_and_shape():
    table = table_of(["ours"], n=144)
    types = np.array([f"type {place % 24:02}" for place in range(144)])
    table = replace(table, type=types)
    found = analyse(table, "better", [], resamples=10).agreements[0]
    ax = plots.plot_scatter(table, found)
    looks = {
        (one.get_facecolor().tobytes(), one.get_paths()[0].vertices.tobytes())
        for one in ax.collections
        if one.get_gid() == "type"
    }
    assert len(looks) == 24


def found_of(analysis, metric):
    return next(one for one in analysis.agreements if one.metric == metric)


def test_scatter_without_a_fit_has_no_curve_and_counts_what_is_missing(table, analysis):
    ax = plots.plot_scatter(table, found_of(analysis, "broken"))
    assert not drawn(ax, "fit")
    assert sum(len(one.get_offsets()) for one in ax.collections) == 119
    assert "1 without a finite score not shown" in texts(ax)[0]
    assert ax.get_xlabel() == "score of broken (direction not known)"


def test_scatter_of_a_study_takes_the_best_or_the_one_asked_for(table, analysis):
    study = Study("made up", "none", table, analysis)
    assert analysis.agreements[0].metric in plots.plot_scatter(study).get_xlabel()
    assert "psnr" in plots.plot_scatter(study, metric="psnr").get_xlabel()
    # Without a fit a study still knows the directions.
    broken = plots.plot_scatter(study, metric="broken")
    assert broken.get_xlabel() == "score of broken (lower is better)"
    assert broken.get_ylabel() == "human opinion (higher is better)"
    # What the study says of a quality is what its fit shows.
    own, alone = plots.plot_scatter(study, metric="psnr"), plots.plot_scatter(table, found_of(analysis, "psnr"))
    assert own.get_xlabel() == alone.get_xlabel() == "score of psnr (higher is better)"
    np.testing.assert_array_equal(drawn(own, "fit")[0].get_ydata(), drawn(alone, "fit")[0].get_ydata())


def test_scatter_refuses_what_does_not_fit_together(table, analysis):
    study, one = Study("made up", "none", table, analysis), analysis.agreements[0]
    with pytest.raises(ValueError, match="no metric 'lpips'"):
        plots.plot_scatter(study, metric="lpips")
    with pytest.raises(ValueError, match="give `agreement` too"):
        plots.plot_scatter(table)
    with pytest.raises(ValueError, match="not of `metric` 'far'"):
        plots.plot_scatter(table, one, "far")
    with pytest.raises(ValueError, match="not made from this table"):
        plots.plot_scatter(replace(table, opinion=table.opinion[::-1]), one)
    with pytest.raises(ValueError, match="the table has 60"):
        plots.plot_scatter(table_of(list(table.scores), n=60), one)
    with pytest.raises(ValueError, match="the table has no metric"):
        plots.plot_scatter(table_of(["else"]), one)
    with pytest.raises(ValueError, match=r"run analyse\(\)"):
        plots.plot_scatter(replace(study, analysis=replace(analysis, agreements=[])))


# Who beats whom


def test_beats_is_ordered_and_told_by_signs(analysis):
    ax = plots.plot_beats(analysis.comparison)
    names = rows_of(ax)
    assert names == [one.metric for one in analysis.agreements]
    assert [label.get_text() for label in ax.get_xticklabels()] == names
    comparison = analysis.comparison
    assert comparison is not None
    states = np.asarray(ax.images[0].get_array())
    signs = {}
    for line in ax.get_lines():
        for column, row in zip(line.get_xdata(), line.get_ydata(), strict=True):
            signs[int(row), int(column)] = line.get_marker()
    for row, a in enumerate(names):
        for column, b in enumerate(names):
            if a == b or "broken" in (a, b):
                assert states[row, column] == 2
                assert (row, column) not in signs
            else:
                beats = comparison.beats[comparison.metrics.index(a), comparison.metrics.index(b)]
                assert states[row, column] == beats
                assert signs[row, column] == {1: "+", 0: ".", -1: "_"}[beats]
    assert {1, -1} <= set(states.ravel().tolist())


def test_beats_of_one_metric_says_what_to_run(lonely):
    assert lonely.comparison is None
    with pytest.raises(ValueError, match=r"run analyse\(\) on a table of two metrics"):
        plots.plot_beats(lonely.comparison)


# Types


def test_types_show_each_number_and_underline_the_lowest(analysis):
    ax = plots.plot_types(analysis)
    values = np.ma.filled(ax.images[0].get_array(), NAN)
    for row, one in zip(values, analysis.agreements, strict=True):
        np.testing.assert_array_equal(row, list(one.by_type.values()))
    written = np.array(texts(ax)[: values.size]).reshape(values.shape)
    for text, value in zip(written.ravel(), values.ravel(), strict=True):
        assert text == "—" if math.isnan(value) else float(text.replace("−", "-")) == pytest.approx(value, abs=0.0051)
    assert "—" in written  # broken has no number
    marked = {int(line.get_ydata()[0]): round(float(np.mean(line.get_xdata()))) for line in drawn(ax, "worst")}
    assert marked == {row: int(np.nanargmin(line)) for row, line in enumerate(values) if not np.isnan(line).all()}


def test_types_underline_in_axes_that_hold_words_already(analysis):
    ax = fresh_axes()
    ax.text(0, 0, "mine", color="red")
    plots.plot_types(analysis, ax=ax)
    assert {line.get_color() for line in drawn(ax, "worst")} <= {"black", "white"}


def test_types_without_types_says_what_to_do():
    found = analyse(table_of(["ours"], types=False), "better", [], resamples=10)
    with pytest.raises(ValueError, match="`type` or `type_from`"):
        plots.plot_types(found)


# Depth


def test_layers_show_curve_band_and_all_taps_joined():
    one = curve()
    ax = plots.plot_layers([one])
    (line,) = [line for line in ax.get_lines() if line.get_label().startswith("ours")]
    assert line.get_xdata().tolist() == [0, 1, 2]
    assert tuple(line.get_ydata()) == one.srcc
    corners = {(float(x), round(float(y), 6)) for x, y in ax.collections[0].get_paths()[0].vertices}
    assert {(place, round(low, 6)) for place, low in enumerate(one.low)} <= corners
    assert {(place, round(high, 6)) for place, high in enumerate(one.high)} <= corners
    (joined,) = drawn(ax, "joined")
    assert set(joined.get_ydata()) == {0.9}
    assert joined.get_linestyle() == "--"
    assert "all taps .900, last .740 (p = .020)" in line.get_label()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "5", "11"]
    assert ax.get_xlabel().endswith("(blocks.*)")


def test_layers_of_other_backbones_run_from_first_to_last_tap():
    ax = plots.plot_layers([curve(), curve("cnn", ("relu1", "relu2")), curve("single", ("norm",))])
    x = {line.get_label().split("\n")[0]: line.get_xdata().tolist() for line in ax.get_lines()[::2]}
    assert x == {"ours": [0, 0.5, 1], "cnn": [0, 1], "single": [1]}
    assert [label.get_text() for label in ax.get_xticklabels()] == ["first tap", "last tap"]
    assert {"0", "5", "11", "relu1", "relu2", "norm"} <= set(texts(ax))


def test_layers_leave_a_gap_where_there_is_no_srcc():
    one = replace(curve(), srcc=(0.7, NAN, 0.8), low=(0.6, NAN, 0.7), high=(0.8, NAN, 0.9), final_p=NAN)
    line = plots.plot_layers([one]).get_lines()[0]
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False]
    assert "p unknown" in line.get_label()


def test_layers_of_42_metrics_colour_few_and_say_that_there_are_others():
    curves = [curve(f"metric_{place}") for place in range(42)]
    ax = plots.plot_layers(curves, highlight=["metric_40", "metric_3"])
    assert len(drawn(ax, "others")) == 40
    named = [text.get_text().split("\n")[0] for text in ax.get_legend().get_texts()]
    assert sorted(named) == ["metric_3", "metric_40", "others"]
    assert len(drawn(plots.plot_layers(curves), "others")) == 42 - 7
    with pytest.raises(ValueError, match="'metric_42', which is not here"):
        plots.plot_layers(curves, highlight=["metric_42"])
    with pytest.raises(ValueError, match="can name 7 metrics"):
        plots.plot_layers(curves, highlight=[f"metric_{place}" for place in range(8)])


def test_layers_of_nothing_say_what_to_run():
    with pytest.raises(ValueError, match=r"run layer_curves\(\)"):
        plots.plot_layers([])


# Slight changes


def test_robustness_shows_before_and_after(analysis):
    ax = plots.plot_robustness(analysis)
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert set(lines) == {"unchanged", "shift", "turn"}
    np.testing.assert_array_equal(lines["unchanged"].get_xdata(), [one.srcc for one in analysis.agreements])
    for change, found in analysis.robustness.items():
        np.testing.assert_array_equal(
            lines[change].get_xdata(), [found[one.metric].srcc for one in analysis.agreements]
        )
    assert len({line.get_marker() for line in lines.values()}) == 3


def test_robustness_says_what_was_not_measured(analysis):
    first = analysis.agreements[0].metric
    partial = {"shift": analysis.robustness["shift"], "turn": {}}
    ax = plots.plot_robustness(replace(analysis, robustness=partial))
    notes = {rows_of(ax)[int(text.xy[1])]: text.get_text() for text in ax.texts if text.get_text().startswith("—")}
    assert notes[first] == "— turn"
    assert notes["broken"] == "— unchanged, shift, turn"


def test_robustness_without_changes_says_what_to_run(analysis):
    with pytest.raises(ValueError, match="run a benchmark with changes"):
        plots.plot_robustness(replace(analysis, robustness={}))


# Attacks


def test_attacks_show_changes_beside_noise():
    results = attacks()
    ax = plots.plot_attacks(results)
    for attack in ("fgsm", "pgd"):
        got = {tuple(line.get_ydata()) for line in drawn(ax, attack)}
        expected = {
            tuple(
                one.change for one in sorted(results, key=lambda one: one.epsilon) if (one.attack, one.goal) == series
            )
            for series in ((attack, "raise"), (attack, "lower"))
        }
        assert got == expected
        assert all(line.get_xdata().tolist() == [1, 2, 4] for line in drawn(ax, attack))
    assert [line.get_ydata().tolist() for line in drawn(ax, "noise")] == [pytest.approx([0.1, 0.2, 0.4])] * 4
    assert {line.get_linestyle() for line in drawn(ax, "noise")} == {":"}
    assert drawn(ax, "fgsm")[0].get_marker() != drawn(ax, "pgd")[0].get_marker()


def test_attacks_on_42_metrics_colour_few():
    ax = plots.plot_attacks([one for place in range(42) for one in attacks(f"metric_{place}")])
    assert len(drawn(ax, "pgd")) == 2 * 7
    assert len(drawn(ax, "others")) == 4 * 35
    assert "others" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_attacks_refuse_nothing_and_what_they_do_not_know():
    with pytest.raises(ValueError, match=r"run attack_metric\(\)"):
        plots.plot_attacks([])
    with pytest.raises(ValueError, match="fgsm or pgd, got 'cw'"):
        plots.plot_attacks([replace(attacks()[0], attack="cw")])


# Desirability


@pytest.mark.parametrize("metrics", [1, 5, 42])
def test_desirability_shows_factors_beside_the_aggregate(metrics):
    found = desirability(metrics)
    ax = plots.plot_desirability(found)
    cells = {text.get_position(): text.get_text() for text in ax.texts if text.get_transform() == ax.transData}
    places = ax.get_yticks()
    for row, place in enumerate(places):
        for column in range(3):
            value = found.values[row, column]
            assert cells[column, place] == ("—" if math.isnan(value) else f"{value:.2f}".replace("0.", "."))
        assert cells[3.4, place] == f"{found.aggregate[row]:.2f}".replace("0.", ".")
    assert rows_of(ax) == [f"{rank}. {name}" for rank, name in zip(found.rank, found.metrics, strict=True)]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["Srcc", "Robustness", "Cost", "aggregate"]
    # A row between groups, that says what one of them has not.
    heads = [text.get_text().strip() for text in ax.texts if text.get_gid() == "group"]
    assert heads == (["with all factors", "without Cost"] if metrics > 2 else [])
    assert len(set(range(len(places) + len(heads))) - set(places.tolist())) == len(heads)


def test_stability_shows_places_under_random_weights():
    found = desirability(5)
    ax = plots.plot_stability(found)
    spans = [tuple(segment[:, 0]) for segment in ax.collections[0].get_segments()]
    assert spans == [tuple(one) for one in found.rank_interval]
    (rank,), (without,) = drawn(ax, "rank"), drawn(ax, "without")
    assert rank.get_xdata().tolist() == found.rank.tolist()
    # What a metric has not cannot be left out: two ticks for those of the second group, three for the others.
    assert len(without.get_xdata()) == 3 * 3 + 2 * 2
    shares = [text for text in texts(ax) if text.startswith("first in")]
    assert shares == ["first in 50 %", "first in 33 %", "first in 25 %", "first in 50 %", "first in 33 %"]
    assert [text.get_text().strip() for text in ax.texts if text.get_gid() == "group"] == [
        "with all factors",
        "without Cost",
    ]


@pytest.mark.parametrize("plot", [plots.plot_desirability, plots.plot_stability])
def test_desirability_of_nothing_says_what_to_run(plot):
    with pytest.raises(ValueError, match=r"run desirability\(\)"):
        plot(None)
    empty = replace(desirability(1), metrics=())
    with pytest.raises(ValueError, match=r"run desirability\(\)"):
        plot(empty)


# Accuracy and cost: labelled points


def test_accuracy_labels_points_and_tells_rho():
    ax = plots.plot_accuracy(accuracy())
    (line,) = drawn(ax, "backbones")
    assert line.get_xdata().tolist() == [56.5, 71.6, 81.8, 78.2]
    assert line.get_ydata().tolist() == [0.77, 0.78, 0.75, 0.79]
    assert ax.get_title(loc="left") == "SRCC against ImageNet accuracy: rho = −.20, p = .620"
    labels = {text.get_text(): text.xy for text in ax.texts}
    assert labels["dino"] == (78.2, 0.79)
    assert "clip" not in labels
    assert any("1 without a value not shown" in text for text in texts(ax))
    assert "4 backbones are few" in ax.get_xlabel()


def test_accuracy_tells_kinds_apart():
    finding = replace(accuracy(), kinds=("supervised", "supervised", "fine-tuned", "linear probe", "zero-shot"))
    lines = drawn(plots.plot_accuracy(finding), "backbones")
    assert {line.get_label(): len(line.get_xdata()) for line in lines} == {
        "fine-tuned": 1,
        "linear probe": 1,
        "supervised": 2,
    }
    assert len({line.get_marker() for line in lines}) == 3


def test_accuracy_of_too_few_says_so():
    finding = replace(accuracy(), rho=NAN, p=NAN, interval=(NAN, NAN))
    assert plots.plot_accuracy(finding).get_title(loc="left").endswith("too few backbones for rho")
    with pytest.raises(ValueError, match=r"run accuracy_finding\(\)"):
        plots.plot_accuracy(replace(finding, values=(NAN,) * 5))


def test_cost_marks_what_no_faster_metric_equals(analysis):
    srcc = {one.metric: one.srcc for one in analysis.agreements}
    names = [one.metric for one in analysis.agreements if one.metric != "broken"]
    # The best is slow, the next fast, the others slower than that.
    seconds = dict(zip(names, (5.0, 0.1, 1.0, 0.5), strict=True))
    cost = [Cost(name, seconds[name], 1.0) for name in names] + [Cost("broken", 1.0, 1.0)]
    ax = plots.plot_cost(cost, analysis)
    (best,), (others,) = drawn(ax, "best"), drawn(ax, "others")
    assert best.get_xdata().tolist() == [0.1, 5.0]
    assert best.get_ydata().tolist() == [srcc[names[1]], srcc[names[0]]]
    assert sorted(others.get_xdata().tolist()) == [0.5, 1.0]
    assert ax.get_xscale() == "log"
    assert {text.get_text(): text.xy for text in ax.texts if text.get_text() in names} == {
        name: (seconds[name], srcc[name]) for name in names
    }
    assert "not shown, without an SRCC: 1" in texts(ax)


def test_cost_of_42_metrics_numbers_them(many):
    rng = np.random.default_rng(0)
    cost = [Cost(one.metric, float(10 ** rng.uniform(-3, 1)), 1.0) for one in many.agreements]
    ax = plots.plot_cost(cost, many)
    (key,) = [text for text in ax.texts if text.get_gid() == "key"]
    named = dict(line.split(maxsplit=1) for line in key.get_text().splitlines())
    seconds = {one.metric: one.seconds_per_megapixel for one in cost}
    numbers = {text.get_text(): text.xy for text in ax.texts if text.get_text().isdigit()}
    assert {named[number]: place for number, place in numbers.items()} == {
        one.metric: (seconds[one.metric], one.srcc) for one in many.agreements
    }


def test_labels_of_close_points_do_not_cover_each_other(analysis):
    """Twelve names at points that nearly coincide."""
    names = [f"backbone-number-{place}" for place in range(12)]
    finding = AccuracyFinding(
        "SRCC",
        tuple(names),
        tuple(names),
        tuple(80 + 0.1 * place for place in range(12)),
        tuple(0.8 + 0.001 * (place % 3) for place in range(12)),
        0.0,
        1.0,
        (-0.5, 0.5),
        "",
    )
    ax = plots.plot_accuracy(replace(finding, top1=(*finding.top1[:-1], 95.0)))
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text() in names]
    assert len(boxes) == 12
    # Half a pixel less on each side: touching is no covering.
    crossing = [
        (a, b)
        for place, a in enumerate(boxes)
        for b in boxes[place + 1 :]
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]
    assert not crossing


def test_cost_refuses_what_does_not_fit(analysis):
    with pytest.raises(ValueError, match=r"run measure_cost\(\)"):
        plots.plot_cost([], analysis)
    with pytest.raises(ValueError, match="'lpips' has a cost but was not analysed"):
        plots.plot_cost([Cost("lpips", 1.0, 1.0)], analysis)
    for seconds in (0.0, NAN):
        with pytest.raises(ValueError, match="above 0 for a logarithmic axis"):
            plots.plot_cost([Cost("best", seconds, 1.0)], analysis)
    with pytest.raises(ValueError, match="no metric with a cost has an SRCC"):
        plots.plot_cost([Cost("broken", 1.0, 1.0)], analysis)


# Outliers


def test_outliers_show_shares_by_type():
    ax = plots.plot_outliers(outliers())
    assert rows_of(ax) == ["blocks", "blur", "none"]
    assert [float(bar.get_width()) for bar in ax.patches] == pytest.approx([20, 2, 0])
    assert [text for text in texts(ax) if " of " in text and "," not in text] == ["8 of 40", "1 of 50", "0 of 10"]
    assert set(drawn(ax, "all")[0].get_xdata()) == {9.0}


def test_outlier_features_show_pooled_and_stratified():
    ax = plots.plot_outlier_features(outliers())
    assert rows_of(ax) == ["colourfulness, reference", "energy, distorted"]
    pooled, stratified = drawn(ax, "pooled"), drawn(ax, "stratified")
    assert [line.get_xdata().tolist() for line in pooled] == [[0.7], [0.4]]
    assert [line.get_xdata().tolist() for line in stratified] == [[0.55]]
    assert pooled[0].get_marker() != stratified[0].get_marker()
    # Filled below .05; the p that takes references for independent counts where there is one.
    assert [line.get_markerfacecolor() == "white" for line in (*pooled, *stratified)] == [False, True, True]
    assert {"p = .004, p = .300", "p = .600, —"} <= set(texts(ax))
    assert set(drawn(ax, "none")[0].get_xdata()) == {0.5}
    assert ax.get_xlim() == (0, 1)


def test_outliers_of_nothing_say_what_to_run():
    bare = replace(outliers(), by_type={}, pooled=(), stratified=())
    with pytest.raises(ValueError, match="`type` or `type_from`"):
        plots.plot_outliers(bare)
    with pytest.raises(ValueError, match=r"outlier_finding\(\) with the `features`"):
        plots.plot_outlier_features(bare)


def test_outlier_features_without_an_effect_have_a_dash():
    finding = outliers()
    unknown = replace(finding.pooled[0], effect=NAN, p=NAN, p_holm=NAN)
    ax = plots.plot_outlier_features(replace(finding, pooled=(unknown,), stratified=()))
    assert np.isnan(drawn(ax, "pooled")[0].get_xdata()).all()
    assert "p unknown" in texts(ax)


# Gallery


def test_gallery_shows_images_as_they_are_and_what_people_said():
    items = gallery()
    ax = plots.plot_gallery(items)
    shown = [np.asarray(image.get_array()) for image in ax.images]
    for item in items:
        assert any(one.shape == item.reference.shape and (one == item.reference).all() for one in shown)
        assert any(one.shape == item.distorted.shape and (one == item.distorted).all() for one in shown)
    maps = [one for one in ax.images if one.get_cmap().name == "inferno"]
    assert [np.array_equal(one.get_array(), item.heat) for one, item in zip(maps, items[::2], strict=True)] == [
        True
    ] * 2
    assert len({one.get_clim() for one in maps}) == 1  # one scale for all
    assert "this metric has no map" in texts(ax)
    assert "2. <b>&$x_1$.png (blur): people say 4, the metric predicts 2.5 (z = −3.2)" in texts(ax)
    assert "1. <b>&$x_0$.png: people say 4, the metric predicts 2.5 (z = −3.2)" in texts(ax)


def test_gallery_keeps_shapes_and_needs_no_map():
    ax = plots.plot_gallery(gallery(heat=False)[:1])
    left, right, bottom, top = ax.images[0].get_extent()
    assert (bottom - top) / (right - left) == pytest.approx(30 / 40)
    assert len(ax.images) == 2
    assert len(ax.figure.axes) == 1  # no colour bar


def test_gallery_of_nothing_says_what_to_run():
    with pytest.raises(ValueError, match=r"run gallery\(\)"):
        plots.plot_gallery([])


# Names with a meaning to matplotlib


def test_names_are_written_as_they_are():
    """A dollar sign starts no formula, an underscore at the front hides no legend."""
    from matplotlib.text import Text

    table = replace(table_of(["$a_1$"]), type=np.array(["_blur", "$x^{", "ok"])[np.arange(120) % 3])
    found = analyse(table, "better", [], resamples=10)
    scatter = plots.plot_scatter(table, found.agreements[0])
    for ax in (plots.plot_agreement(found), plots.plot_types(found), plots.plot_robustness(found), scatter):
        ax.figure.draw_without_rendering()
        named = [text for text in ax.findobj(Text) if "$" in text.get_text()]
        assert named
        assert not any(text.get_parse_math() for text in named)
    assert {"_blur", "$x^{", "ok"} <= {text.get_text().strip() for text in scatter.get_legend().get_texts()}


# The published tables


@pytest.mark.slow
def test_a_published_table_is_drawn_whole():
    table, found = tid2013()
    assert len(rows_of(plots.plot_agreement(found))) == 42
    assert plots.plot_beats(found.comparison).images[0].get_array().shape == (42, 42)
    lines = {line.get_label(): line.get_xdata() for line in plots.plot_robustness(found).get_lines()}
    psnr = [one.metric for one in found.agreements].index("psnr")
    assert lines["unchanged"][psnr] - lines["translation"][psnr] > 0.6  # a pixel ruins it
    ax = plots.plot_scatter(table, found.agreements[0])
    assert sum(len(one.get_offsets()) for one in ax.collections if one.get_gid() == "type") == len(table.opinion)
    assert plots.plot_types(found).images[0].get_array().shape == (42, 24)
