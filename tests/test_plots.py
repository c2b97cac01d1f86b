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
from torchmetrics_fmiqa.benchmark.analysis.layers import LayerCurve
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
from torchmetrics_fmiqa.benchmark.study import Study

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
    references = (np.arange(n) // 12).astype(str)
    images = np.array([f"image_{place}.png" for place in range(n)])
    kinds = np.array(["blur", "blocks", "noise"])[np.arange(n) % 3] if types else None
    return ScoredTable(scores, {}, quality if opinion_is_better else 5 - quality, references, images, kinds)


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


def study_of(table: ScoredTable, analysis: Analysis) -> Study:
    return Study("made up", "none", table, analysis)


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
    "scatter": lambda found, table: lambda ax: plots.plot_scatter(study_of(table, found), ax=ax),
    "layers": lambda found, table: lambda ax: plots.plot_layers([curve(), curve("other", ("a", "b"))], ax=ax),
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
    assert "is better" in " ".join([ax.get_xlabel(), ax.get_ylabel(), *texts(ax)])


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
    ax = plots.plot_agreement(many)
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
    analysis = analyse(table, "better" if better else "worse", [metric] * (metric == "psnr"), resamples=10)
    (found,) = analysis.agreements
    ax = plots.plot_scatter(study_of(table, analysis))
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
    ax = plots.plot_scatter(study_of(table, analysis))
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
    ax = plots.plot_scatter(study_of(table, analyse(table, "better", [], resamples=10)))
    looks = {
        (one.get_facecolor().tobytes(), one.get_paths()[0].vertices.tobytes())
        for one in ax.collections
        if one.get_gid() == "type"
    }
    assert len(looks) == 24


def test_scatter_without_a_fit_has_no_curve_and_counts_what_is_missing(table, analysis):
    ax = plots.plot_scatter(study_of(table, analysis), "broken")
    assert not drawn(ax, "fit")
    assert sum(len(one.get_offsets()) for one in ax.collections) == 119
    assert "1 without a finite score not shown" in texts(ax)[0]
    # Without a fit a study still knows the directions.
    assert ax.get_xlabel() == "score of broken (lower is better)"
    assert ax.get_ylabel() == "human opinion (higher is better)"


def test_scatter_takes_the_best_or_the_one_asked_for(table, analysis):
    study = study_of(table, analysis)
    assert analysis.agreements[0].metric in plots.plot_scatter(study).get_xlabel()
    assert plots.plot_scatter(study, "psnr").get_xlabel() == "score of psnr (higher is better)"
    with pytest.raises(ValueError, match="no metric 'lpips'"):
        plots.plot_scatter(study, "lpips")
    unknown = replace(table, scores={**table.scores, "far": np.full(120, NAN)})
    with pytest.raises(ValueError, match="'far' has no finite score"):
        plots.plot_scatter(replace(study, table=unknown), "far")


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


# Names with a meaning to matplotlib


def test_names_are_written_as_they_are():
    """A dollar sign starts no formula, an underscore at the front hides no legend."""
    from matplotlib.text import Text

    table = replace(table_of(["$a_1$"]), type=np.array(["_blur", "$x^{", "ok"])[np.arange(120) % 3])
    found = analyse(table, "better", [], resamples=10)
    scatter = plots.plot_scatter(study_of(table, found))
    for ax in (plots.plot_agreement(found), scatter):
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
    ax = plots.plot_scatter(study_of(table, found))
    assert sum(len(one.get_offsets()) for one in ax.collections if one.get_gid() == "type") == len(table.opinion)
