"""Agreement with people against what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torchmetrics_fmiqa.benchmark.analysis.agreement import Analysis
from torchmetrics_fmiqa.benchmark.analysis.cost import Cost
from torchmetrics_fmiqa.benchmark.plots.labels import place_labels
from torchmetrics_fmiqa.benchmark.plots.style import (
    DARK,
    GREY,
    PALETTE,
    SMALL,
    SRCC,
    axes,
    heading,
    legend_at_bottom,
    open_frame,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More names than that are put beside the axes, and their numbers at the points.
_MANY = 16


def plot_cost(cost: Sequence[Cost], analysis: Analysis, ax: Axes | None = None) -> Axes:
    """Draw the SRCC of each metric against the time it takes for a megapixel, on a logarithmic axis.

    Metrics that no faster one equals are marked and joined by a line.

    Args:
        cost: of the metrics, from one machine.
        analysis: of the same metrics.
        ax: axes to draw into; by default those of a new figure.

    Raises:
        ValueError: without costs, for a metric that was not analysed, a time that is not positive, or if no metric has
            an SRCC.
        ModuleNotFoundError: without matplotlib.

    >>> import numpy as np
    >>> from torchmetrics_fmiqa.benchmark.analysis.agreement import analyse
    >>> from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
    >>> mos, names = np.arange(12.0), np.arange(12).astype(str)
    >>> table = ScoredTable({"slow": 12 - mos, "fast": -np.sqrt(mos)}, {}, mos, names, names, None)
    >>> ax = plot_cost([Cost("slow", 3.0, 86.0), Cost("fast", 0.1, 1.0)], analyse(table, "better", [], resamples=10))
    >>> ax.get_xscale(), [line.get_xdata().tolist() for line in ax.get_lines() if line.get_gid() == "best"]
    ('log', [[0.1]])
    """
    if not cost:
        raise ValueError("there is no cost to draw: run measure_cost() on each metric")
    agreed = {one.metric: one.srcc for one in analysis.agreements}
    for one in cost:
        if one.metric not in agreed:
            raise ValueError(f"{one.metric!r} has a cost but was not analysed: analyse() a table that has its scores")
        if not one.seconds_per_megapixel > 0:
            raise ValueError(
                f"`seconds_per_megapixel` of {one.metric!r} must be above 0 for a logarithmic axis, "
                f"got {one.seconds_per_megapixel}: measure_cost() it again"
            )
    shown = sorted((one for one in cost if not math.isnan(agreed[one.metric])), key=lambda one: -agreed[one.metric])
    if not shown:
        raise ValueError("no metric with a cost has an SRCC: look at `notes` in analysis.agreements")
    best = _best(shown, agreed)
    many = len(shown) > _MANY
    ax = axes(ax, 9.2 if many else 7.4, max(5.0, 0.135 * len(shown) + 1.4) if many else 5.0)
    ax.set_xscale("log")
    for gid, mine, look in (
        ("others", [one for one in shown if one not in best], {"marker": "o", "color": GREY, "linestyle": "none"}),
        ("best", best, {"marker": "D", "color": PALETTE[1], "linestyle": "--", "linewidth": 1}),
    ):
        if mine:
            ax.plot(
                [one.seconds_per_megapixel for one in mine],
                [agreed[one.metric] for one in mine],
                markersize=5.5,
                gid=gid,
                label="no faster metric agrees as well" if gid == "best" else "a faster metric agrees as well",
                **look,
            )
    ax.margins(0.1)
    ax.set_xlabel("seconds for a pair of one megapixel, on one machine (lower is better)", fontsize=9)
    ax.set_ylabel(SRCC, fontsize=9)
    below = f"not shown, without an SRCC: {len(cost) - len(shown)}" if len(shown) < len(cost) else ""
    heading(ax, "Agreement against cost", below)
    open_frame(ax)
    legend_at_bottom(ax)
    names = [shorten(one.metric, 44) for one in shown]
    if many:
        key = "\n".join(f"{place:>2}  {name}" for place, name in enumerate(names, 1))
        ax.annotate(
            key,
            (1, 1),
            xytext=(8, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="top",
            fontsize=SMALL - 0.5,
            color=DARK,
            annotation_clip=False,
            parse_math=False,
            gid="key",
        )
    labels = [str(place) for place in range(1, len(shown) + 1)] if many else names
    place_labels(ax, [one.seconds_per_megapixel for one in shown], [agreed[one.metric] for one in shown], labels)
    return ax


def _best(shown: Sequence[Cost], agreed: dict[str, float]) -> list[Cost]:
    """Those that agree better than every faster one, by time."""
    best: list[Cost] = []
    for one in sorted(shown, key=lambda one: (one.seconds_per_megapixel, -agreed[one.metric])):
        if not best or agreed[one.metric] > agreed[best[-1].metric]:
            best.append(one)
    return best
