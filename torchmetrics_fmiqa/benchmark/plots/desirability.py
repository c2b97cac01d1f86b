"""The factors that the aggregate of a metric is made of, and the aggregate beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis.desirability import Desirability
from torchmetrics_fmiqa.benchmark.plots import style
from torchmetrics_fmiqa.report.numbers import number

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
    if found is None or not found.metrics:
        raise ValueError("there is no metric to draw: run desirability() on the factors of one metric or more")
    rows, heads = _rows(found)
    columns = len(found.factors)
    grid, last = np.full((rows[-1] + 1, columns), np.nan), np.full((rows[-1] + 1, 1), np.nan)
    grid[rows], last[rows, 0] = found.values, found.aggregate
    ax = style.axes(ax, 0.62 * (columns + 1) + 3.6, 0.22 * len(grid) + 1.5)
    # cividis is even to the eye, and the same for colour-blind people.
    look: dict[str, Any] = {"cmap": "cividis", "vmin": 0.0, "vmax": 1.0, "aspect": "auto", "interpolation": "nearest"}
    bottom, top = len(grid) - 0.5, -0.5
    shades = ax.imshow(grid, extent=(-0.5, columns - 0.5, bottom, top), **look)
    # Half a column between what is measured and what is made of it.
    place = columns + 0.4
    ax.imshow(last, extent=(place - 0.5, place + 0.5, bottom, top), **look)
    for row, values, aggregate in zip(rows, found.values, found.aggregate, strict=True):
        for column, value in zip([*range(columns), place], [*values, aggregate], strict=True):
            _write_cell(ax, column, row, float(value), shades)
    for group, row in heads.items():
        words = f" {_missing_words(found, group)}"
        ax.text(-0.5, row + 0.1, words, va="center", fontsize=style.SMALL, style="italic", gid="group")
    ax.set_xlim(-0.5, place + 0.5)
    ax.set_ylim(bottom, top)
    names = [f"{rank}. {style.shorten(name, 44)}" for rank, name in zip(found.rank, found.metrics, strict=True)]
    ax.set_yticks(rows, names, fontsize=style.SMALL, parse_math=False)
    labels = [*(factor.label for factor in found.factors), "aggregate"]
    ax.set_xticks([*range(columns), place], labels, fontsize=style.SMALL, rotation=35, ha="right")
    for label in ax.get_xticklabels():
        label.set_rotation_mode("anchor")
    ax.get_xticklabels()[-1].set_fontweight("bold")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    subtitle = "from 0 to 1, higher is better; — is missing and left out of the aggregate"
    style.heading(ax, "What one wants from a metric", subtitle)
    return ax


def _rows(found: Desirability) -> tuple[list[int], dict[int, int]]:
    """The row of each metric, and that of each group's heading; a single group has no heading."""
    groups = found.group.tolist()
    if len(set(groups)) == 1:
        return list(range(len(groups))), {}
    numbers = list(dict.fromkeys(groups))
    rows = [row + numbers.index(group) + 1 for row, group in enumerate(groups)]
    return rows, {group: rows[groups.index(group)] - 1 for group in numbers}


def _missing_words(found: Desirability, group: int) -> str:
    """Which factors a group lacks. One that counts for nothing makes no group."""
    values = found.values[int(np.flatnonzero(found.group == group)[0])]
    factors = zip(found.factors, np.isnan(values), strict=True)
    missing = [factor.label for factor, absent in factors if absent and factor.weight > 0]
    return f"without {', '.join(missing)}" if missing else "with all factors"


def _write_cell(ax: Axes, column: float, row: float, value: float, shades: Any) -> None:
    """A number on its shade: black on light, white on dark; a dash for NaN."""
    colour = style.GREY
    if not np.isnan(value):
        red, green, blue, _ = shades.cmap(shades.norm(value))
        colour = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
    ax.text(column, row, number(value, 2), ha="center", va="center", fontsize=6.5, color=colour)
