"""How well each metric agrees with people, and how sure that is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torchmetrics_fmiqa.benchmark.analysis.agreement import Analysis
from torchmetrics_fmiqa.benchmark.plots.style import (
    ACCENT,
    GREY,
    PALETTE,
    SRCC,
    axes,
    beside,
    heading,
    legend_at_bottom,
    name_rows,
    number,
    rows_height,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_agreement(analysis: Analysis, ax: Axes | None = None) -> Axes:
    """Draw the SRCC of each metric with its 95 % bootstrap interval, the best at the top.

    The best metric is marked, and so are those that it does not beat beyond chance (Holm-corrected over all pairs).
    A metric without an SRCC has a dash.

    Args:
        analysis: of :func:`~torchmetrics_fmiqa.benchmark.analysis.agreement.analyse`.
        ax: axes to draw into; by default those of a new figure.

    Raises:
        ValueError: without a metric.
        ModuleNotFoundError: without matplotlib.

    >>> import numpy as np
    >>> from torchmetrics_fmiqa.benchmark.analysis.agreement import analyse
    >>> from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
    >>> rng = np.random.default_rng(0)
    >>> mos, names = rng.uniform(1, 5, 60), np.arange(60).astype(str)
    >>> scores = {"close": 5 - mos + 0.1 * rng.normal(size=60), "far": 5 - mos + 2 * rng.normal(size=60)}
    >>> table = ScoredTable(scores, {}, mos, (np.arange(60) // 6).astype(str), names, None)
    >>> ax = plot_agreement(analyse(table, "better", [], resamples=100))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['close', 'far']
    """
    if not analysis.agreements:
        raise ValueError("there is no metric to draw: run analyse() on a table with a column of scores")
    rows = analysis.agreements
    ax = axes(ax, 7.5, rows_height(len(rows)))
    tied = set(analysis.ties())
    several = sum(not math.isnan(one.srcc) for one in rows) > 1
    seen: dict[str, list[int]] = {}
    for place, one in enumerate(rows):
        if math.isnan(one.srcc):
            beside(ax, place, "— no SRCC")
            continue
        state = "metric" if not several else "best" if place == 0 else "tied" if one.metric in tied else "beaten"
        seen.setdefault(state, []).append(place)
        span = one.intervals.get("srcc", (math.nan, math.nan))
        known = not math.isnan(span[0])
        beside(ax, place, number(one.srcc) + (f"  [{number(span[0])}, {number(span[1])}]" if known else ""))
    for state, places in seen.items():
        marker, colour, filled, label = _STATES[state]
        values = [rows[place].srcc for place in places]
        spans = [rows[place].intervals.get("srcc", (math.nan, math.nan)) for place in places]
        ax.hlines(places, [low for low, _ in spans], [high for _, high in spans], color=colour, linewidth=1.6)
        ax.plot(
            values,
            places,
            marker,
            color=colour,
            markerfacecolor=colour if filled else "white",
            markersize=6.5 if state == "best" else 5,
            label=label,
            gid=state,
        )
    name_rows(ax, [one.metric for one in rows])
    ax.set_xlabel(SRCC, fontsize=9)
    below = f"{rows[0].n} images, {analysis.references} references"
    if any("srcc" in one.intervals for one in rows):
        below += "; line: 95 % interval"
    heading(ax, "Agreement with human opinion", below)
    if several:
        legend_at_bottom(ax)
    return ax


#: Of each state: marker, colour, filled or hollow, words.
_STATES = {
    "metric": ("o", ACCENT, True, "metric"),
    "best": ("D", PALETTE[1], True, "best"),
    "tied": ("o", ACCENT, True, "not settled against the best"),
    "beaten": ("o", GREY, False, "beaten by the best"),
}
