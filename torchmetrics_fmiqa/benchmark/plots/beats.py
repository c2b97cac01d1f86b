"""Which metric agrees better with people than which other, beyond chance."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from torchmetrics_fmiqa.benchmark.plots.style import (
    DARK,
    GREY,
    PALE,
    PALETTE,
    SMALL,
    axes,
    heading,
    legend_at_right,
    shorten,
)
from torchmetrics_fmiqa.statistics import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# By what is drawn: the row is beaten, nothing is settled, the row beats the column, nothing to compare.
_SHADES = ("#F6C28B", "white", PALETTE[0], PALE)


def plot_beats(comparison: Comparison | None, ax: Axes | None = None) -> Axes:
    """Draw who beats whom, by falling SRCC: each row against each column, told by sign as well as by colour.

    Args:
        comparison: of :func:`~torchmetrics_fmiqa.statistics.compare`, or ``Analysis.comparison``.
        ax: axes to draw into; by default those of a new figure.

    Raises:
        ValueError: without a comparison.
        ModuleNotFoundError: without matplotlib.

    >>> import numpy as np
    >>> from torchmetrics_fmiqa.statistics import compare
    >>> rng = np.random.default_rng(0)
    >>> mos = rng.uniform(1, 5, 200)
    >>> scores = {"far": mos + 3 * rng.normal(size=200), "close": mos + 0.1 * rng.normal(size=200)}
    >>> ax = plot_beats(compare(scores, mos, resamples=100))
    >>> ax.images[0].get_array().tolist()  # close in the first row; 2 is nothing to compare
    [[2, 1], [-1, 2]]
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if comparison is None or len(comparison.metrics) == 0:
        raise ValueError("nobody to compare with: run analyse() on a table of two metrics or more")
    order = np.argsort(-np.nan_to_num(comparison.srcc, nan=-np.inf), kind="stable")
    count = len(order)
    states = comparison.beats[np.ix_(order, order)].astype(np.int64)
    alone = np.eye(count, dtype=bool) | np.isnan(comparison.p_holm[np.ix_(order, order)])
    states[alone] = 2
    side = 0.2 * count + 2.6
    ax = axes(ax, max(side, 4.5) + 2.2, max(side, 3.4) + 0.6)
    ax.imshow(states, cmap=ListedColormap(_SHADES), vmin=-1.5, vmax=2.5, interpolation="nearest")
    frame = ax.get_window_extent()
    cell = min(frame.width, frame.height) / count * 72 / ax.figure.dpi
    signs = {
        1: ("+", "white", "the row agrees better than the column"),
        -1: ("_", DARK, "the row agrees less"),
        0: (".", GREY, "not settled"),
    }
    size = min(0.5 * cell, 9.0)
    handles: list[object] = []
    labels = []
    for state, (marker, colour, words) in signs.items():
        rows, columns = np.nonzero(states == state)
        look: dict[str, Any] = {"marker": marker, "linestyle": "none", "color": colour}
        ax.plot(columns, rows, markersize=size * (0.5 if state == 0 else 1), gid=words, **look)
        patch = Patch(facecolor=_SHADES[state + 1], edgecolor=GREY, linewidth=0.5)
        handles.append((patch, Line2D([], [], markersize=7, **look)))
        labels.append(fill(words, 24))
    handles.append(Patch(facecolor=PALE, edgecolor=GREY, linewidth=0.5))
    labels.append("itself, or no SRCC")
    names = [shorten(comparison.metrics[place], 40) for place in order]
    ax.set_xticks(range(count), names, rotation=90, fontsize=SMALL, parse_math=False)
    ax.set_yticks(range(count), names, fontsize=SMALL, parse_math=False)
    ax.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    ax.grid(which="minor", color=PALE, linewidth=0.5)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    below = f"SRCC by {comparison.test}, Holm-corrected over all pairs, alpha = {comparison.alpha:g}"
    heading(ax, "Who beats whom", below)
    legend_at_right(ax, handles=handles, labels=labels)
    return ax
