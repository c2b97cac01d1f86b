"""What people said against what a metric says, image by image."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from torchmetrics_fmiqa.benchmark.plots.style import (
    MARKERS,
    PALETTE,
    axes,
    for_legend,
    heading,
    legend_at_right,
    number,
    open_frame,
)
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.statistics import Agreement
from torchmetrics_fmiqa.statistics.inputs import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_scatter(
    source: Study | ScoredTable,
    agreement: Agreement | None = None,
    metric: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the opinions against a metric's scores, with the logistic curve of 4 parameters fitted to them.

    Scores and opinions are shown as they are, not turned. Points have their type's colour and shape; those that the
    curve misses by too much (:func:`~torchmetrics_fmiqa.statistics.find_outliers`) have a ring. Images without a finite
    score cannot be shown and are counted below the title.

    Args:
        source: a study, or a table of scores.
        agreement: of the metric, from the same table; not needed with a study.
        metric: its name; by default that of ``agreement``, or the best of the study.
        ax: axes to draw into; by default those of a new figure.

    Raises:
        ValueError: for a metric that is not there, a table without ``agreement``, or an agreement of another table.
        ModuleNotFoundError: without matplotlib.

    >>> import numpy as np
    >>> from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
    >>> from torchmetrics_fmiqa.statistics import agreement
    >>> rng = np.random.default_rng(0)
    >>> mos = rng.uniform(1, 5, 60)
    >>> scores = {"ours": 5 - mos + 0.1 * rng.normal(size=60)}
    >>> names = np.arange(60).astype(str)
    >>> (found,) = agreement(scores, mos, scores_higher_is_better=False, resamples=0)
    >>> ax = plot_scatter(ScoredTable(scores, {}, mos, names, names, None), found)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('score of ours (lower is better)', 'human opinion (higher is better)')
    """
    table, one = _of(source, agreement, metric)
    scores, opinion = table.scores[one.metric], table.opinion
    signs = _signs(source, one)
    shown = np.isfinite(scores)
    if not shown.any():
        raise ValueError(f"{one.metric!r} has no finite score to draw: score its images again")
    ax = axes(ax, 7.6, 5.0)
    types = np.full(len(opinion), "") if table.type is None else table.type
    names = sorted(set(types.tolist()))
    # More types than pairs of colour and shape could not be told apart.
    told = len(names) <= len(PALETTE) * len(MARKERS)
    for place, name in enumerate(names if told else [""]):
        mine = shown & (types == name) if told else shown
        ax.scatter(
            scores[mine],
            opinion[mine],
            s=12 if len(opinion) > 500 else 22,
            color=PALETTE[place % len(PALETTE)],
            marker=MARKERS[place // len(PALETTE)] if len(names) > len(PALETTE) else MARKERS[place],
            alpha=0.65,
            linewidths=0,
            label=for_legend(name) or "image",
            gid="type",
        )
    if one.fit.converged:
        x = np.linspace(scores[shown].min(), scores[shown].max(), 400)
        curve = signs[1] * one.fit(signs[0] * x)
        ax.plot(x, curve, color="black", linewidth=1.8, label="logistic fit", gid="fit")
    ringed = shown & one.outliers.outlying
    if ringed.any():
        ax.scatter(
            scores[ringed],
            opinion[ringed],
            s=46,
            facecolors="none",
            edgecolors="black",
            linewidths=0.8,
            label=fill(f"outlier: {one.outliers.rule}", 34),
            gid="outliers",
        )
    ax.set_xlabel(f"score of {one.metric} ({_direction(_word(signs[0]))})", fontsize=9, parse_math=False)
    ax.set_ylabel(f"human opinion ({_direction(_word(signs[1]))})", fontsize=9)
    below = f"SRCC {number(one.srcc)}, PLCC after the fit {number(one.plcc)}, {one.n} images"
    if not shown.all():
        below += f"; {int((~shown).sum())} without a finite score not shown"
    if not told:
        below += f"; {len(names)} types are too many to tell apart"
    heading(ax, f"{one.metric} against people", below)
    open_frame(ax)
    if len(ax.get_legend_handles_labels()[0]) > 1:
        legend_at_right(ax, markerscale=1.5, ncols=2 if len(names) > 20 else 1)
    return ax


def _of(source: Study | ScoredTable, agreement: Agreement | None, metric: str | None) -> tuple[ScoredTable, Agreement]:
    table = source.table if isinstance(source, Study) else source
    if agreement is None:
        if not isinstance(source, Study):
            raise ValueError("a table says nothing of the fit: give `agreement` too, from analyse(table).agreements")
        found = {one.metric: one for one in source.analysis.agreements}
        if not found:
            raise ValueError("the study has no metric to draw: run analyse() on a table with a column of scores")
        metric = metric or next(iter(found))
        if metric not in found:
            raise ValueError(f"the study has no metric {metric!r}: it has {', '.join(found)}")
        agreement = found[metric]
    if metric not in (None, agreement.metric):
        raise ValueError(f"`agreement` is of {agreement.metric!r}, not of `metric` {metric!r}: give one of them")
    if agreement.metric not in table.scores:
        raise ValueError(f"the table has no metric {agreement.metric!r}: it has {', '.join(table.scores)}")
    return table, agreement


def _signs(source: Study | ScoredTable, one: Agreement) -> tuple[int, int]:
    """How scores and opinions were turned before the fit, so that higher is better; 0 where nothing tells it."""
    if isinstance(source, Study) and any(one is known for known in source.analysis.agreements):
        found = source.analysis
        return (1 if one.metric in found.higher_is_better else -1), (1 if found.opinion_higher_is_better else -1)
    table = source.table if isinstance(source, Study) else source
    return _signs_of_fit(one, table.scores[one.metric], table.opinion)


def _signs_of_fit(one: Agreement, scores: Floats, opinion: Floats) -> tuple[int, int]:
    """The signs under which the fit gives its own opinions back; 0 without a fit."""
    if len(one.fit.fitted) != len(opinion):
        raise ValueError(f"`agreement` is of {len(one.fit.fitted)} images, the table has {len(opinion)}: give its own")
    if not one.fit.converged:
        return 0, 0
    turned = one.fit.fitted + one.fit.residuals
    size = float(np.abs(opinion).max())
    for sign_y in (1, -1):
        for sign_x in (1, -1):
            again = one.fit(sign_x * scores)
            if np.allclose(sign_y * opinion, turned, atol=1e-6 * size) and np.allclose(
                again, one.fit.fitted, atol=1e-6 * size
            ):
                return sign_x, sign_y
    raise ValueError(f"`agreement` of {one.metric!r} was not made from this table: run analyse() on it")


def _word(sign: int) -> bool | None:
    return None if sign == 0 else sign > 0


def _direction(better: bool | None) -> str:
    return "direction not known" if better is None else f"{'higher' if better else 'lower'} is better"
