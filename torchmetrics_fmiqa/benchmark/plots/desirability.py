"""All that one wants from a metric, and the aggregate beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis.desirability import Desirability
from torchmetrics_fmiqa.benchmark.plots.groups import group_rows, write_groups
from torchmetrics_fmiqa.benchmark.plots.style import SHADES, SMALL, axes, heading, shorten, write_cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_desirability(found: Desirability | None, ax: Axes | None = None) -> Axes:
    """Draw the factors of each metric, a dash where one is missing, and the aggregate beside them.

    Metrics with different sets of factors stand apart, and are ranked apart.

    Args:
        found: of the ``desirability`` function.
        ax: axes to draw into; by default those of a new figure.

    Raises:
        ValueError: without a metric.
        ModuleNotFoundError: without matplotlib.

    >>> from torchmetrics_fmiqa.benchmark.analysis.desirability import desirability
    >>> ax = plot_desirability(desirability({"ours": {"rank_agreement": 0.9}}))
    >>> [text.get_text() for text in ax.texts[:2]], ax.get_yticklabels()[0].get_text()
    (['.90', '.90'], '1. ours')
    """
    found, rows, heads = group_rows(found)
    width = len(found.factors)
    grid = np.full((rows[-1] + 1, width), np.nan)
    last = np.full((rows[-1] + 1, 1), np.nan)
    grid[rows], last[rows, 0] = found.values, found.aggregate
    ax = axes(ax, 0.62 * (width + 1) + 3.6, 0.22 * len(grid) + 1.5)
    look: dict[str, Any] = {"cmap": SHADES, "vmin": 0.0, "vmax": 1.0, "aspect": "auto", "interpolation": "nearest"}
    down, up = len(grid) - 0.5, -0.5
    shades = ax.imshow(grid, extent=(-0.5, width - 0.5, down, up), **look)
    # Half a column between what is measured and what is made of it.
    beside = width + 0.4
    ax.imshow(last, extent=(beside - 0.5, beside + 0.5, down, up), **look)
    write_cells(ax, found.values, range(width), rows, shades)
    write_cells(ax, found.aggregate[:, None], [beside], rows, shades)
    write_groups(ax, found, heads, -0.5)
    ax.set_xlim(-0.5, beside + 0.5)
    ax.set_ylim(down, -0.5)
    names = [f"{rank}. {shorten(name, 44)}" for rank, name in zip(found.rank, found.metrics, strict=True)]
    ax.set_yticks(rows, names, fontsize=SMALL, parse_math=False)
    ax.set_xticks([*range(width), beside], [*(one.label for one in found.factors), "aggregate"], fontsize=SMALL)
    for label in ax.get_xticklabels():
        label.set(rotation=35, ha="right", rotation_mode="anchor")
    ax.get_xticklabels()[-1].set_fontweight("bold")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    heading(
        ax, "What one wants from a metric", "from 0 to 1, higher is better; — is missing and left out of the aggregate"
    )
    return ax
