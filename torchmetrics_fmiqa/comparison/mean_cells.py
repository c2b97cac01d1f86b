"""The means of a comparison as tables print them: which is best, which second, and which are tied with the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from torchmetrics_fmiqa.comparison.marks import PLACES, marks
from torchmetrics_fmiqa.comparison.scores import MethodScores
from torchmetrics_fmiqa.comparison.set_rows import SetRow
from torchmetrics_fmiqa.comparison.wording import best_method, decimals, is_tied
from torchmetrics_fmiqa.report.numbers import number, span
from torchmetrics_fmiqa.statistics.paired import PairedStatistics


@dataclass(frozen=True)
class MeanCell:
    """A method's mean by a metric, as it is printed.

    Args:
        mean: the number, ``"—"`` where there is none.
        interval: its interval in brackets, or nothing.
        place: 1 for the best mean, 2 for the second, 0 for the others.
        tied: whether it is not the best and the difference from the best is not settled.
    """

    mean: str
    interval: str
    place: int
    tied: bool


def mean_cells(scores: MethodScores, statistics: PairedStatistics) -> list[list[MeanCell]]:
    """The table of means: a row for each method, a cell for each metric."""
    columns = []
    for k, metric in enumerate(scores.metrics):
        means = statistics.mean[:, k]
        digits, best = decimals(means), best_method(scores, statistics, k)
        marked = marks(means, metric in scores.qualities)
        columns.append(
            [
                MeanCell(
                    number(float(mean), digits),
                    span(float(statistics.low[row, k]), float(statistics.high[row, k]), digits),
                    PLACES.index(mark),
                    best is not None and mark != "best" and is_tied(statistics, best, row, k),
                )
                for row, (mean, mark) in enumerate(zip(means, marked, strict=True))
            ]
        )
    return [list(row) for row in zip(*columns, strict=True)]


def set_cells(rows: Sequence[SetRow], methods: Sequence[str]) -> list[list[MeanCell]]:
    """The same of distances between sets: a row for each method, a cell for each distance. None is settled or tied.

    >>> nan = float("nan")
    >>> rows = [SetRow("frechet", name, 3000, value, nan, nan, nan) for name, value in (("a", 2.0), ("b", 1.0))]
    >>> [[(cell.mean, cell.place) for cell in cells] for cells in set_cells(rows, ["a", "b"])]
    [[('2.000', 2)], [('1.000', 1)]]
    """
    columns = []
    for distance in dict.fromkeys(row.distance for row in rows):
        by_method = {row.method: row for row in rows if row.distance == distance}
        column = [by_method[method] for method in methods]
        marked = marks(np.array([row.value for row in column]), quality=False)
        columns.append(
            [
                MeanCell(row.texts()[0], "", PLACES.index(mark), tied=False)
                for row, mark in zip(column, marked, strict=True)
            ]
        )
    return [[column[place] for column in columns] for place in range(len(methods))]
