"""Agreement by type of distortion."""

from __future__ import annotations

import math
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis.agreement import Analysis
from torchmetrics_fmiqa.benchmark.plots.style import SHADES, SMALL, SRCC, axes, heading, shorten, write_cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_types(analysis: Analysis, ax: Axes | None = None) -> Axes:
    """Draw the SRCC of each metric within each type of distortion; the lowest of a metric is underlined.

    Args:
        analysis: of a table with types.
        ax: axes to draw into; by default those of a new figure.

    Raises:
        ValueError: for a table without types.
        ModuleNotFoundError: without matplotlib.

    >>> import numpy as np
    >>> from torchmetrics_fmiqa.benchmark.analysis.agreement import analyse
    >>> from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
    >>> mos, names = np.arange(12.0), np.arange(12).astype(str)
    >>> scores = {"ours": 12 - mos + np.repeat([0, 5], 6) * np.sin(mos)}
    >>> table = ScoredTable(scores, {}, mos, (np.arange(12) % 3).astype(str), names, np.repeat(["blur", "noise"], 6))
    >>> ax = plot_types(analyse(table, "better", [], resamples=10))
    >>> ax.images[0].get_array().round(2).tolist()
    [[1.0, 0.6]]
    """
    types = list(analysis.agreements[0].by_type) if analysis.agreements else []
    if not types:
        raise ValueError(
            "there are no types to tell apart: read the table with `type` or `type_from`, and analyse() it"
        )
    rows = analysis.agreements
    values = np.array([[one.by_type.get(name, math.nan) for name in types] for one in rows])
    long = max(map(len, types)) > 4
    ax = axes(ax, 0.36 * len(types) + 3.8, max(0.21 * len(rows) + 0.5, 1.5) + 1.0 + 0.5 * long)
    known = values[~np.isnan(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    shades = ax.imshow(values, cmap=SHADES, vmin=low, vmax=max(high, low + 1e-6), aspect="auto")
    written = write_cells(ax, values, range(len(types)), range(len(rows)), shades)
    for place, one in enumerate(rows):
        if one.worst_type:
            column = types.index(one.worst_type)
            text = written[place * len(types) + column]
            ax.plot(
                [column - 0.35, column + 0.35], [place + 0.36] * 2, color=text.get_color(), linewidth=1, gid="worst"
            )
    ax.set_xticks(range(len(types)), [shorten(name, 24) for name in types], fontsize=SMALL, parse_math=False)
    if long:
        ax.tick_params(axis="x", labelrotation=40)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), [shorten(one.metric, 48) for one in rows], fontsize=SMALL, parse_math=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("type of distortion", fontsize=9)
    heading(
        ax, "Agreement within each type of distortion", "metrics by SRCC over all images; underlined: a metric's lowest"
    )
    bar = ax.figure.colorbar(
        shades, ax=ax, shrink=min(1.0, 9 / len(rows)) if len(rows) > 9 else 1.0, pad=0.015, anchor=(0, 1)
    )
    bar.set_label(fill(SRCC, 18), fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    return ax
