"""Agreement against depth: intermediate features or the final ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis.layers import LayerCurve
from torchmetrics_fmiqa.benchmark.plots.style import (
    MARKERS,
    PALE,
    PALETTE,
    SMALL,
    SRCC,
    axes,
    for_legend,
    heading,
    legend_at_right,
    number,
    of_interest,
    open_frame,
    p_value,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_layers(curves: Sequence[LayerCurve], ax: Axes | None = None, highlight: Sequence[str] | None = None) -> Axes:
    """Draw the SRCC of each tap against its depth, its 95 % interval as a band, all taps joined as a dashed line.

    Metrics of one backbone share its taps. Taps of different backbones are put side by side from the first to the last,
    their names in a row for each backbone. A tap without an SRCC leaves a gap.

    Args:
        curves: of feature metrics.
        ax: axes to draw into; by default those of a new figure.
        highlight: metrics to draw in colour; by default the first, as many as there are colours. Others are grey.

    Raises:
        ValueError: without a curve, or for a metric that has none.
        ModuleNotFoundError: without matplotlib.

    >>> curve = LayerCurve("ours", ("blocks.0", "blocks.1"), (0.7, 0.9), (0.6, 0.8), (0.8, 0.95), 0.92, 0.03)
    >>> ax = plot_layers([curve])
    >>> [label.get_text() for label in ax.get_xticklabels()], ax.get_lines()[0].get_ydata().tolist()
    (['0', '1'], [0.7, 0.9])
    """
    if not curves:
        raise ValueError(
            "there is no curve to draw: run layer_curves() on a table that has the taps of a feature metric"
        )
    coloured = of_interest([one.metric for one in curves], highlight)
    sets = list(dict.fromkeys(one.taps for one in curves))
    ax = axes(ax, 7.6, 4.4 + 0.16 * len(sets))
    # Many bands over each other hide what is below.
    band = 0.14 if len(coloured) <= 3 else 0.06
    others = 0
    for one in curves:
        x = depths(one.taps, sets)
        if one.metric not in coloured:
            ax.plot(x, one.srcc, color=PALE, linewidth=1, zorder=1, label="" if others else "others", gid="others")
            others += 1
            continue
        place = coloured.index(one.metric)
        colour, marker = PALETTE[place], MARKERS[place]
        words = f"{one.metric}\nall taps {number(one.joined)}, last {number(one.srcc[-1])} ({p_value(one.final_p)})"
        ax.plot(x, one.srcc, color=colour, marker=marker, markersize=4.5, linewidth=1.5, label=for_legend(words))
        ax.fill_between(x, one.low, one.high, color=colour, alpha=band, linewidth=0)
        if len(x) == 1:
            ax.vlines(x, one.low, one.high, color=colour, linewidth=1.2, gid="band")
        ax.axhline(one.joined, color=colour, linestyle="--", linewidth=1, gid="joined")
    if len(sets) == 1:
        names, shared = short_taps(sets[0])
        ax.set_xticks(range(len(names)), names, fontsize=SMALL, parse_math=False)
        if max(map(len, names)) * len(names) > 90:
            ax.tick_params(axis="x", labelrotation=60)
        ax.set_xlabel(f"tap, shallow to deep{f' ({shared})' if shared else ''}", fontsize=9, parse_math=False)
    else:
        ax.set_xticks([0, 1], ["first tap", "last tap"], fontsize=SMALL)
        ax.set_xlim(-0.03, 1.03)
        _name_sets(ax, curves, sets, coloured)
    ax.set_ylabel(SRCC, fontsize=9)
    heading(ax, "Agreement against depth", "dashed: all taps joined; band: 95 % interval; p: all taps against the last")
    open_frame(ax)
    legend_at_right(ax, labelspacing=0.9)
    return ax


def depths(taps: tuple[str, ...], sets: Sequence[tuple[str, ...]]) -> list[float]:
    """Places on the axis: numbers of taps that all curves share, else shares of the way from the first to the last.

    >>> depths(("a", "b", "c"), [("a", "b", "c")]), depths(("a", "b", "c"), [("a", "b", "c"), ("d",)])
    ([0.0, 1.0, 2.0], [0.0, 0.5, 1.0])
    """
    if len(sets) == 1:
        return [float(place) for place in range(len(taps))]
    return [float(place) for place in np.linspace(0, 1, len(taps))] if len(taps) > 1 else [1.0]


def short_taps(taps: Sequence[str]) -> tuple[list[str], str]:
    """Names of taps without the parts that all share, and how these were.

    >>> short_taps(["blocks.0", "blocks.11"])
    (['0', '11'], 'blocks.*')
    >>> short_taps(["layer1.2.relu", "layer2.3.relu"])
    (['layer1.2', 'layer2.3'], '*.relu')
    >>> short_taps(["stem", "head"])
    (['stem', 'head'], '')
    """
    parts = [tap.split(".") for tap in taps]
    # At least one part is left of each name.
    room = min(map(len, parts)) - 1
    head = 0
    while len(parts) > 1 and head < room and len({one[head] for one in parts}) == 1:
        head += 1
    tail = 0
    while len(parts) > 1 and tail < room - head and len({one[-1 - tail] for one in parts}) == 1:
        tail += 1
    names = [shorten(".".join(one[head : len(one) - tail]), 14) for one in parts]
    if head + tail == 0:
        return names, ""
    return names, ".".join([*parts[0][:head], "*", *parts[0][len(parts[0]) - tail :]])


def _name_sets(ax: Axes, curves: Sequence[LayerCurve], sets: Sequence[tuple[str, ...]], coloured: list[str]) -> None:
    """A row of names below the axis for each set of taps that is drawn in colour, in the colour of its first curve."""
    rows = 0
    for taps in sets:
        mine = [one.metric for one in curves if one.taps == taps and one.metric in coloured]
        if not mine:
            continue
        colour = PALETTE[coloured.index(mine[0])]
        names, shared = short_taps(taps)
        down = -18 - 11 * rows
        for x, name in zip(depths(taps, sets), names, strict=True):
            _below(ax, x, down, name, colour, "center")
        _below(ax, 1.03, down, f"  {shared}", colour, "left")
        rows += 1
    ax.set_xlabel("depth, the taps of each backbone from first to last", fontsize=9, labelpad=11 * rows)


def _below(ax: Axes, x: float, down: float, text: str, colour: str, align: str) -> None:
    ax.annotate(
        text,
        (x, 0),
        xytext=(0, down),
        xycoords=ax.get_xaxis_transform(),
        textcoords="offset points",
        ha=align,
        va="top",
        fontsize=6.5,
        color=colour,
        annotation_clip=False,
        parse_math=False,
    )
