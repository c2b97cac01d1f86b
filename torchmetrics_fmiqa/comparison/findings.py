"""A comparison as its report reads it: methods in order, and what is said of each pair."""

from __future__ import annotations

import math

from torchmetrics_fmiqa.comparison.comparison import Comparison
from torchmetrics_fmiqa.comparison.marks import best_first
from torchmetrics_fmiqa.comparison.wording import decimals
from torchmetrics_fmiqa.report.document import Name, Text
from torchmetrics_fmiqa.report.numbers import number, percent, signed, span


class Findings:
    """Methods from the best to the worst by the first metric, numbers with a metric's digits, verdicts in words.

    Args:
        comparison: what was found.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison, self.scores, self.statistics = comparison, comparison.scores, comparison.statistics
        self.methods, self.metrics = self.scores.methods, self.scores.metrics
        self.quality = [metric in self.scores.qualities for metric in self.metrics]
        self.order = best_first(self.statistics.mean[:, 0], self.quality[0])
        self.digits = [decimals(self.statistics.mean[:, place]) for place in range(len(self.metrics))]
        #: Names of the metrics with their directions.
        self.labels = [f"{name}\u00a0{'↑' if up else '↓'}" for name, up in zip(self.metrics, self.quality, strict=True)]

    def pairs(self) -> list[tuple[int, int]]:
        """All pairs of methods, the one that comes first by the first metric in front."""
        return [(one, other) for place, one in enumerate(self.order) for other in self.order[place + 1 :]]

    def mean(self, method: int, metric: int) -> str:
        """A method's mean."""
        return number(float(self.statistics.mean[method, metric]), self.digits[metric])

    def interval(self, method: int, metric: int) -> str:
        """The interval of a method's mean; empty where there is none."""
        statistics, at = self.statistics, (method, metric)
        return span(float(statistics.low[at]), float(statistics.high[at]), self.digits[metric])

    def difference(self, one: int, other: int, metric: int) -> str:
        """The mean of the one minus that of the other."""
        return signed(float(self.statistics.difference[one, other, metric]), self.digits[metric])

    def difference_interval(self, one: int, other: int, metric: int) -> str:
        """Its interval; empty where there is none."""
        statistics, at = self.statistics, (one, other, metric)
        return span(float(statistics.difference_low[at]), float(statistics.difference_high[at]), self.digits[metric])

    def won(self, one: int, other: int, metric: int) -> str:
        """On which share of the images the one is better than the other; equal scores count half."""
        statistics, at = self.statistics, (one, other, metric)
        if statistics.difference[at] == statistics.difference_low[at] == statistics.difference_high[at] == 0:
            return f"equal on {percent(1.0)}"
        return f"better on {percent(float(statistics.won[at]))}"

    def verdict(self, one: int, other: int, metric: int) -> Text:
        """Which of the two is better, or that they are tied; nothing is known of too few images."""
        if math.isnan(self.statistics.p_holm[one, other, metric]):
            return ("not known",)
        settled = int(self.statistics.settled[one, other, metric])
        return (Name(self.methods[one if settled > 0 else other]), " is better") if settled else ("tied",)
