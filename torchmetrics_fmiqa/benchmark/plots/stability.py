"""How far the order of metrics hangs on the weights of what one wants from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis.desirability import Desirability
from torchmetrics_fmiqa.benchmark.plots.groups import group_rows, write_groups
from torchmetrics_fmiqa.benchmark.plots.style import (
    ACCENT,
    PALETTE,
    axes,
    beside,
    heading,
    legend_at_bottom,
    name_rows,
    rows_height,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_stability(found: Desirability | None, ax: Axes | None = None) -> Axes:
    """Draw each metric's place, where it lies under random weights, and with one factor left out.

    At the right stands the share of random weights under which it comes first in its group.

    Args:
        found: of the ``desirability`` function.
        ax: axes to draw into; by default those of a new figure.

    Raises:
        ValueError: without a metric.
        ModuleNotFoundError: without matplotlib.

    >>> from torchmetrics_fmiqa.benchmark.analysis.desirability import desirability
    >>> ax = plot_stability(desirability({"steady": {"cost": 0.8, "robustness": 0.9}, "slow": {"cost": 0.0}}))
    >>> ax.texts[0].get_text()
    'first in 100 %'
    """
    from matplotlib.ticker import MaxNLocator

    found, rows, heads = group_rows(found)
    ax = axes(ax, 7.5, rows_height(rows[-1] + 1))
    low, high = found.rank_interval.T
    ax.hlines(rows, low, high, color=ACCENT, linewidth=4, alpha=0.35, label=f"95 % of {found.draws} random weights")
    known = ~np.isnan(found.values)
    line, column = np.nonzero(known)
    ax.plot(
        found.without[line, column],
        np.array(rows)[line],
        linestyle="none",
        marker="|",
        color=PALETTE[1],
        markersize=7,
        markeredgewidth=1.2,
        label="one factor left out",
        gid="without",
    )
    ax.plot(
        found.rank, rows, linestyle="none", marker="o", color=ACCENT, markersize=5, label="default weights", gid="rank"
    )
    for row, share in zip(rows, found.first_share, strict=True):
        beside(ax, row, "first in < 1 %" if 0 < share < 0.01 else f"first in {100 * share:.0f} %")
    name_rows(ax, found.metrics, rows)
    most = max(float(np.nanmax(high)), float(found.rank.max()), float(found.without[known].max()))
    ax.set_xlim(0.5, most + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    write_groups(ax, found, heads, 0.5)
    ax.set_xlabel("place in its group (1 is best)", fontsize=9)
    ax.set_ylim(rows[-1] + 0.7, -0.7)
    heading(ax, "How far the order hangs on the weights")
    legend_at_bottom(ax, ncols=3)
    return ax
