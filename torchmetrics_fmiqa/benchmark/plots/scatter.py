"""What people said against what a metric says, image by image."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from torchmetrics_fmiqa.benchmark.plots import style
from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.report.numbers import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# How an axis says its direction.
_BETTER = {True: "higher is better", False: "lower is better"}


def plot_scatter(study: Study, metric: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the opinions against a metric's scores (by default the best's), with the logistic curve fitted to them.

    Scores and opinions are shown as they are, not turned. Points have their type's colour and shape. Those that the
    curve misses by too much (:func:`~torchmetrics_fmiqa.statistics.find_outliers`) have a ring. Images without a finite
    score cannot be shown; the line below the title counts them.

    Raises:
        ValueError: for a metric that the study does not have, or that has no finite score.
        ModuleNotFoundError: without matplotlib.

    >>> from torchmetrics_fmiqa.benchmark.build_study import StudySettings, study_table
    >>> from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
    >>> rng = np.random.default_rng(0)
    >>> mos, names = rng.uniform(1, 5, 60), np.arange(60).astype(str)
    >>> table = ScoredTable({"ours": 5 - mos + 0.1 * rng.normal(size=60)}, {}, mos, names, names, None)
    >>> ax = plot_scatter(study_table(table, settings=StudySettings("better", resamples=10)))
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('score of ours (lower is better)', 'human opinion (higher is better)')
    """
    analysis, table = study.analysis, study.table
    by_name = {agreement.metric: agreement for agreement in analysis.agreements}
    metric = next(iter(by_name)) if metric is None else metric
    if metric not in by_name:
        raise ValueError(f"the study has no metric {metric!r}: it has {', '.join(by_name)}")
    agreement, scores, opinion = by_name[metric], table.scores[metric], table.opinion
    shown = np.isfinite(scores)
    if not shown.any():
        raise ValueError(f"{metric!r} has no finite score to draw: score its images again")
    ax = style.axes(ax, 7.6, 5.0)
    types = np.full(len(opinion), "") if table.type is None else table.type
    names = sorted(set(types.tolist()))
    # More types than pairs of colour and shape could not be told apart.
    distinguishable = len(names) <= len(style.PALETTE) * len(style.MARKERS)
    size = 12 if len(opinion) > 500 else 22
    for place, name in enumerate(names if distinguishable else [""]):
        members = shown & (types == name) if distinguishable else shown
        shape = place // len(style.PALETTE) if len(names) > len(style.PALETTE) else place
        colour, marker = style.PALETTE[place % len(style.PALETTE)], style.MARKERS[shape]
        look = {"s": size, "color": colour, "marker": marker, "alpha": 0.65, "linewidths": 0, "gid": "type"}
        ax.scatter(scores[members], opinion[members], label=style.for_legend(name) or "image", **look)  # type: ignore[arg-type]
    quality, better = metric in analysis.higher_is_better, analysis.opinion_higher_is_better
    if agreement.fit.converged:
        # The fit was made to scores and opinions turned so that higher is better.
        x = np.linspace(scores[shown].min(), scores[shown].max(), 400)
        curve = (1 if better else -1) * agreement.fit((1 if quality else -1) * x)
        ax.plot(x, curve, color="black", linewidth=1.8, label="logistic fit", gid="fit")
    ringed = shown & agreement.outliers.outlying
    if ringed.any():
        ring = {"s": 46, "facecolors": "none", "edgecolors": "black", "linewidths": 0.8, "gid": "outliers"}
        rule = fill(f"outlier: {agreement.outliers.rule}", 34)
        ax.scatter(scores[ringed], opinion[ringed], label=rule, **ring)  # type: ignore[arg-type]
    ax.set_xlabel(f"score of {metric} ({_BETTER[quality]})", fontsize=style.NORMAL, parse_math=False)
    ax.set_ylabel(f"human opinion ({_BETTER[better]})", fontsize=style.NORMAL)
    subtitle = f"SRCC {number(agreement.srcc)}, PLCC after the fit {number(agreement.plcc)}, {agreement.n} images"
    if not shown.all():
        subtitle += f"; {int((~shown).sum())} without a finite score not shown"
    if not distinguishable:
        subtitle += f"; {len(names)} types are too many to tell apart"
    style.heading(ax, f"{metric} against people", subtitle)
    style.open_frame(ax)
    if len(ax.get_legend_handles_labels()[0]) > 1:
        style.legend_at_right(ax, markerscale=1.5, ncols=2 if len(names) > 20 else 1)
    return ax
