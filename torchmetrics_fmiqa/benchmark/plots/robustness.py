"""What slight changes of the images, which people do not mind, do to the agreement."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis.agreement import Analysis
from torchmetrics_fmiqa.benchmark.plots.style import (
    GREY,
    MARKERS,
    PALETTE,
    SRCC,
    axes,
    beside,
    for_legend,
    heading,
    legend_at_bottom,
    name_rows,
    rows_height,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_robustness(analysis: Analysis, ax: Axes | None = None) -> Axes:
    """Draw the SRCC of each metric before, and after each slight change of the images under test.

    A metric that was not measured under a change has a dash and the change's name at its right.

    Args:
        analysis: of a table that has scores of changed images.
        ax: axes to draw into; by default those of a new figure.

    Raises:
        ValueError: for an analysis without changes.
        ModuleNotFoundError: without matplotlib.

    >>> import numpy as np
    >>> from torchmetrics_fmiqa.benchmark.analysis.agreement import analyse
    >>> from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
    >>> mos, names = np.arange(12.0), np.arange(12).astype(str)
    >>> changed = {"translation": {"ours": 12 - mos + 3 * np.sin(mos)}}
    >>> table = ScoredTable({"ours": 12 - mos}, changed, mos, (np.arange(12) % 3).astype(str), names, None)
    >>> ax = plot_robustness(analyse(table, "better", [], resamples=10))
    >>> {line.get_label(): line.get_xdata().round(2).tolist() for line in ax.get_lines()}
    {'translation': [0.84], 'unchanged': [1.0]}
    """
    if not analysis.agreements or not analysis.robustness:
        raise ValueError("no metric was scored on changed images: run a benchmark with changes and analyse() its table")
    rows, places = analysis.agreements, range(len(analysis.agreements))
    changes = list(analysis.robustness)
    after = np.array([
        [found[one.metric].srcc if one.metric in found else math.nan for found in analysis.robustness.values()]
        for one in rows
    ])  # fmt: skip
    before = np.array([one.srcc for one in rows])
    ax = axes(ax, 7.5, rows_height(len(rows)))
    both = np.concatenate([before[:, None], after], axis=1)
    known = ~np.isnan(both).all(1)
    ends = [(float(np.nanmin(line)), float(np.nanmax(line))) for line in both[known]]
    ax.hlines(np.flatnonzero(known), [low for low, _ in ends], [high for _, high in ends], color=GREY, linewidth=0.8)
    for place, change in enumerate(changes):
        ax.plot(
            after[:, place],
            places,
            linestyle="none",
            marker=MARKERS[(place + 1) % len(MARKERS)],
            color=PALETTE[place % len(PALETTE)],
            markersize=5,
            label=for_legend(change),
        )
    ax.plot(
        before, places, linestyle="none", marker="|", color="black", markersize=9, markeredgewidth=2, label="unchanged"
    )
    for row in places:
        missing = ["unchanged"] * bool(np.isnan(before[row]))
        missing += [change for change, value in zip(changes, after[row], strict=True) if math.isnan(value)]
        if missing:
            beside(ax, row, "— " + ", ".join(missing))
    name_rows(ax, [one.metric for one in rows])
    ax.set_xlabel(SRCC, fontsize=9)
    heading(
        ax,
        "Agreement after slight changes of the images",
        "by SRCC on unchanged images; a robust metric stays where it was",
    )
    legend_at_bottom(ax, ncols=min(4, len(changes) + 1))
    return ax
