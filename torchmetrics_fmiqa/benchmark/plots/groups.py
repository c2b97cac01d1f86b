"""Rows of metrics that are ranked apart, as different things are known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis.desirability import Desirability
from torchmetrics_fmiqa.benchmark.plots.style import DARK, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def group_rows(found: Desirability | None) -> tuple[Desirability, list[int], dict[int, int]]:
    """What is to be drawn, the row of each metric, and that of each group's heading; one group only has no heading.

    Raises:
        ValueError: without a metric.
    """
    if found is None or not found.metrics:
        raise ValueError("there is no metric to draw: run desirability() on the factors of one metric or more")
    if len(set(found.group.tolist())) == 1:
        return found, list(range(len(found.metrics))), {}
    rows: list[int] = []
    heads: dict[int, int] = {}
    row = 0
    for group in found.group.tolist():
        if group not in heads:
            heads[group] = row
            row += 1
        rows.append(row)
        row += 1
    return found, rows, heads


def write_groups(ax: Axes, found: Desirability, heads: dict[int, int], x: float) -> None:
    """Write above each group what is not known of it, from ``x`` on."""
    for group, row in heads.items():
        first = int(np.flatnonzero(found.group == group)[0])
        missing = [
            one.label
            for one, value in zip(found.factors, found.values[first], strict=True)
            if np.isnan(value) and one.weight > 0  # a factor that counts for nothing makes no group
        ]
        words = f"without {', '.join(missing)}" if missing else "with all factors"
        ax.text(x, row + 0.1, f" {words}", va="center", fontsize=SMALL, color=DARK, style="italic", gid="group")
