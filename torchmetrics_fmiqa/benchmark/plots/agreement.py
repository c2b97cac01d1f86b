"""How well each metric agrees with people, and how sure that is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torchmetrics_fmiqa.benchmark.analysis.agreement import Analysis
from torchmetrics_fmiqa.benchmark.plots import style
from torchmetrics_fmiqa.report.numbers import number, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Of each state of a metric: marker, its colour and that inside, words.
_LOOKS = {
    "metric": ("o", style.ACCENT, style.ACCENT, "metric"),
    "best": ("D", style.PALETTE[1], style.PALETTE[1], "best"),
    "tied": ("o", style.ACCENT, style.ACCENT, "not settled against the best"),
    "beaten": ("o", style.GREY, "white", "beaten by the best"),
}


def plot_agreement(analysis: Analysis, ax: Axes | None = None) -> Axes:
    """Draw the SRCC of each metric with its 95 % bootstrap interval, the best at the top.

    The best metric is marked, and so are those that it does not beat beyond chance (Holm-corrected over all pairs).
    A metric without an SRCC has a dash.

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
    agreements = analysis.agreements
    if not agreements:
        raise ValueError("there is no metric to draw: run analyse() on a table with a column of scores")
    ax = style.axes(ax, 7.5, style.rows_height(len(agreements)))
    ties = set(analysis.ties())
    alone = sum(not math.isnan(agreement.srcc) for agreement in agreements) == 1
    rows_by_state: dict[str, list[int]] = {}
    for row, agreement in enumerate(agreements):
        if math.isnan(agreement.srcc):
            style.write_beside(ax, row, "— no SRCC")
            continue
        state = "metric" if alone else "best" if row == 0 else "tied" if agreement.metric in ties else "beaten"
        rows_by_state.setdefault(state, []).append(row)
        style.write_beside(ax, row, f"{number(agreement.srcc)}  {span(*agreement.srcc_interval)}".rstrip())
    for state, rows in rows_by_state.items():
        marker, colour, face, label = _LOOKS[state]
        low, high = zip(*(agreements[row].srcc_interval for row in rows), strict=True)
        ax.hlines(rows, low, high, color=colour, linewidth=1.6)
        size, srcc = 6.5 if state == "best" else 5, [agreements[row].srcc for row in rows]
        ax.plot(srcc, rows, marker, color=colour, markerfacecolor=face, markersize=size, label=label, gid=state)
    style.name_rows(ax, [agreement.metric for agreement in agreements])
    ax.set_xlabel(style.SRCC, fontsize=style.NORMAL)
    subtitle = f"{agreements[0].n} images, {analysis.references} references"
    if any("srcc" in agreement.intervals for agreement in agreements):
        subtitle += "; line: 95 % interval"
    style.heading(ax, "Agreement with human opinion", subtitle)
    if not alone:
        style.legend_at_bottom(ax)
    return ax
