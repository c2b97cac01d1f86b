"""Agreement against depth: intermediate features or the final ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis.layers import LayerCurve
from torchmetrics_fmiqa.benchmark.plots import style
from torchmetrics_fmiqa.report.numbers import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_layers(curves: Sequence[LayerCurve], ax: Axes | None = None, highlight: Sequence[str] | None = None) -> Axes:
    """Draw the SRCC of each tap against its depth, its 95 % interval as a band, all taps joined as a dashed line.

    Metrics of one backbone share its taps. Taps of different backbones are put side by side from the first to the last,
    with a row of names for each backbone. A tap without an SRCC leaves a gap.

    The metrics to ``highlight`` are drawn in colour, by default the first, as many as there are colours. Others are
    grey.

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
    coloured = style.coloured_names([curve.metric for curve in curves], highlight)
    tap_sets = list(dict.fromkeys(curve.taps for curve in curves))
    ax = style.axes(ax, 7.6, 4.4 + 0.16 * len(tap_sets))
    others_label = "others"
    for curve in curves:
        x = depths(curve.taps, tap_sets)
        if curve.metric not in coloured:
            ax.plot(x, curve.srcc, color=style.PALE, linewidth=1, zorder=1, label=others_label, gid="others")
            others_label = ""
            continue
        place = coloured.index(curve.metric)
        look = {"color": style.PALETTE[place], "linewidth": 1.5, "marker": style.MARKERS[place], "markersize": 4.5}
        p = style.p_value(curve.final_p)
        words = f"{curve.metric}\nall taps {number(curve.joined)}, last {number(curve.srcc[-1])} ({p})"
        ax.plot(x, curve.srcc, label=style.for_legend(words), **look)  # type: ignore[arg-type]
        colour = style.PALETTE[place]
        # Many bands over each other hide what is below.
        ax.fill_between(x, curve.low, curve.high, color=colour, alpha=0.14 if len(coloured) <= 3 else 0.06, linewidth=0)
        if len(x) == 1:
            ax.vlines(x, curve.low, curve.high, color=colour, linewidth=1.2, gid="band")
        ax.axhline(curve.joined, color=colour, linestyle="--", linewidth=1, gid="joined")
    if len(tap_sets) == 1:
        names, shared = short_taps(tap_sets[0])
        ax.set_xticks(range(len(names)), names, fontsize=style.SMALL, parse_math=False)
        if max(map(len, names)) * len(names) > 90:
            ax.tick_params(axis="x", labelrotation=60)
        label = f"tap, shallow to deep{f' ({shared})' if shared else ''}"
        ax.set_xlabel(label, fontsize=style.NORMAL, parse_math=False)
    else:
        ax.set_xticks([0, 1], ["first tap", "last tap"], fontsize=style.SMALL)
        ax.set_xlim(-0.03, 1.03)
        _name_taps(ax, curves, tap_sets, coloured)
    ax.set_ylabel(style.SRCC, fontsize=style.NORMAL)
    subtitle = "dashed: all taps joined; band: 95 % interval; p: all taps against the last"
    style.heading(ax, "Agreement against depth", subtitle)
    style.open_frame(ax)
    style.legend_at_right(ax, labelspacing=0.9)
    return ax


def depths(taps: tuple[str, ...], tap_sets: Sequence[tuple[str, ...]]) -> list[float]:
    """Places on the axis: numbers of taps that all curves share, else shares of the way from the first to the last.

    >>> depths(("a", "b", "c"), [("a", "b", "c")]), depths(("a", "b", "c"), [("a", "b", "c"), ("d",)])
    ([0.0, 1.0, 2.0], [0.0, 0.5, 1.0])
    """
    if len(tap_sets) == 1:
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
    head = tail = 0
    while len(parts) > 1 and head < room and len({names[head] for names in parts}) == 1:
        head += 1
    while len(parts) > 1 and tail < room - head and len({names[-1 - tail] for names in parts}) == 1:
        tail += 1
    short = [style.shorten(".".join(names[head : len(names) - tail]), 14) for names in parts]
    if head + tail == 0:
        return short, ""
    return short, ".".join([*parts[0][:head], "*", *parts[0][len(parts[0]) - tail :]])


def _name_taps(
    ax: Axes, curves: Sequence[LayerCurve], tap_sets: Sequence[tuple[str, ...]], coloured: list[str]
) -> None:
    """A row of names below the axis for each set of taps that is drawn in colour, in the colour of its first curve."""
    first = {curve.taps: curve.metric for curve in reversed(curves) if curve.metric in coloured}
    shown = [taps for taps in tap_sets if taps in first]
    for row, taps in enumerate(shown):
        names, shared = short_taps(taps)
        labels = [(x, name, "center") for x, name in zip(depths(taps, tap_sets), names, strict=True)]
        for x, text, align in (*labels, (1.03, f"  {shared}", "left")):
            colour = style.PALETTE[coloured.index(first[taps])]
            look = {"xycoords": ax.get_xaxis_transform(), "ha": align, "va": "top", "fontsize": 6.5, "color": colour}
            style.annotate(ax, text, (x, 0), (0, -18 - 11 * row), **look)
    label = "depth, the taps of each backbone from first to last"
    ax.set_xlabel(label, fontsize=style.NORMAL, labelpad=11 * len(shown))
