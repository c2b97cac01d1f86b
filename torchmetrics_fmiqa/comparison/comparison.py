"""A comparison of methods: scores of each image, what is settled between the methods, and the answer in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from markupsafe import Markup

from torchmetrics_fmiqa.comparison.mean_cells import mean_cells
from torchmetrics_fmiqa.comparison.scores import MethodScores
from torchmetrics_fmiqa.comparison.set_rows import SetDistances
from torchmetrics_fmiqa.comparison.wording import (
    answer_text,
    best_method,
    difference_decimals,
    disagreements,
    is_tied,
    lacking_images,
)
from torchmetrics_fmiqa.data.images import Match
from torchmetrics_fmiqa.report.document import Text
from torchmetrics_fmiqa.report.numbers import p_value, signed, span
from torchmetrics_fmiqa.statistics.paired import PairedStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Why an image is in no figure: a method lacks it, it has no reference, or it cannot be read or scored.
Reason = Literal["missing", "extra", "broken"]


@dataclass(frozen=True)
class LeftOut:
    """An image that is in no figure, and why.

    Args:
        method: whose image it is; empty for a reference.
        name: of the image, as :attr:`~torchmetrics_fmiqa.comparison.scores.ComparedImage.name`, or of the file.
        kind: ``"missing"``, ``"extra"`` or ``"broken"``.
        reason: in words, for messages.
    """

    method: str
    name: str
    kind: Reason
    reason: str


@dataclass(frozen=True)
class Difference:
    """How two methods differ by one metric.

    Args:
        first: a method.
        second: another one.
        metric: the metric.
        value: mean of the first's scores minus the second's.
        low: lower limit of the 95 % interval, not corrected for other pairs.
        high: upper limit.
        p_holm: p-value, corrected for all pairs and metrics of the comparison.
        won: share of images on which the first is better; equal scores count half.
        better: the method that is better, or ``None`` where the two are tied, or nothing is known (``p_holm`` is NaN).
        digits: decimals that the difference is printed with.
    """

    first: str
    second: str
    metric: str
    value: float
    low: float
    high: float
    p_holm: float
    won: float
    better: str | None
    digits: int = 4

    def __str__(self) -> str:
        """The difference in a sentence."""
        if math.isnan(self.value):
            return f"{self.first} and {self.second} have no image with a score of both by the metric {self.metric}"
        if math.isnan(self.p_holm):
            gap = f"{self.first} minus {self.second} is {signed(self.value, self.digits)} by the metric {self.metric}"
            return f"{gap}; one image or one group settles nothing"
        said = f"{self.first} and {self.second} are tied"
        if self.better is not None:
            worse = self.second if self.better == self.first else self.first
            said = f"{self.better} is better than {worse}"
        if self.value == self.low == self.high == 0:
            return f"{said} by the metric {self.metric}: they are equal on every image"
        value, interval = signed(self.value, self.digits), span(self.low, self.high, self.digits)
        p = p_value(self.p_holm).replace("\u00a0", " ")
        return (
            f"{said} by the metric {self.metric}: {self.first} minus {self.second} is {value}, "
            f"95 % interval {interval}, corrected {p}; {self.first} is better on {100 * self.won:.0f} % of the images"
        )


@dataclass(frozen=True, repr=False)
class Comparison:
    """Methods compared on the same references.

    Args:
        scores: of each method, metric and image.
        statistics: means, differences and ranks; axes are the methods and metrics of ``scores``, in their order.
        references: number of references that were given; ``scores.images`` holds those that all methods have.
        left_out: the images that are in no figure.
        skipped: metrics that could not run here, and why.
        identities: metric -> what its numbers depend on: versions, weights, settings.
        crop_border: pixels that were cut off each side.
        grouped: whether images are drawn by groups in the bootstrap.
        match: how pairs that differ in size were matched: cut to the top left part that all have, or resized.
        sets: distances between the methods' sets of images and the references', where they were asked for.
    """

    scores: MethodScores
    statistics: PairedStatistics
    references: int
    left_out: tuple[LeftOut, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    identities: Mapping[str, str] = field(default_factory=dict)
    crop_border: int = 0
    grouped: bool = False
    match: Match | None = None
    sets: SetDistances | None = None

    def __repr__(self) -> str:
        """The answer: a representation of all images would be long."""
        return f"<Comparison: {self.answer}>"

    def _repr_html_(self) -> str:
        """The answer and the table of means, for notebooks."""
        heads = Markup("").join(
            Markup("<th>{} {}</th>").format(metric, "↑" if metric in self.scores.qualities else "↓")
            for metric in self.scores.metrics
        )
        marks = (Markup("{}"), Markup("<b>{}</b>"), Markup("<u>{}</u>"))
        rows = []
        for method, cells in zip(self.scores.methods, mean_cells(self.scores, self.statistics), strict=True):
            row = Markup("").join(
                Markup("<td>{}{} {}</td>").format(marks[cell.place].format(cell.mean), " ≈" * cell.tied, cell.interval)
                for cell in cells
            )
            rows.append(Markup("<tr><th>{}</th>{}</tr>").format(method, row))
        table = Markup("<p>{}</p><table><tr><th></th>{}</tr>{}</table><p>{}</p>")
        legend = "95 % intervals in brackets; ≈ is tied with the best."
        return str(table.format(self.answer, heads, Markup("").join(rows), legend))

    @property
    def answer_text(self) -> Text:
        """The answer in a sentence, in parts: names are :class:`~torchmetrics_fmiqa.report.document.Name`."""
        return answer_text(self.scores, self.statistics)

    @property
    def answer(self) -> str:
        """The answer in a sentence: by the first metric, and whether the others say otherwise."""
        return "".join(self.answer_text)

    @property
    def disagreements(self) -> list[Text]:
        """A sentence for each pair of methods that metrics settle in opposite ways."""
        return disagreements(self.scores, self.statistics)

    @property
    def lacking_images(self) -> list[Text]:
        """A sentence for each metric that has no score of some of the images."""
        return lacking_images(self.scores, self.statistics)

    def difference(self, first: str, second: str, metric: str | None = None) -> Difference:
        """How two methods differ by a metric.

        Args:
            first: a method.
            second: another one.
            metric: by default the first.

        Raises:
            ValueError: for a method or metric that there is not.
        """
        name = self.scores.metrics[0] if metric is None else metric
        row, column = (_place(one, self.scores.methods, "method") for one in (first, second))
        k = _place(name, self.scores.metrics, "metric")
        found, at = self.statistics, (row, column, k)
        sign = int(found.settled[at])
        limits = (found.difference[at], found.difference_low[at], found.difference_high[at])
        value, low, high, p, won = map(float, (*limits, found.p_holm[at], found.won[at]))
        digits = difference_decimals(found.mean[:, k], low, high)
        return Difference(first, second, name, value, low, high, p, won, (None, first, second)[sign], digits)

    def plot_plane(self, quality: str | None = None, distance: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw the methods in the perception-distortion plane, see :mod:`torchmetrics_fmiqa.comparison.plots`."""
        from torchmetrics_fmiqa.comparison.plots import plot_plane

        return plot_plane(self.scores, self.statistics, quality, distance, ax)

    def plot_differences(self, first: str, second: str, metric: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw the paired differences of two methods image by image, see :mod:`torchmetrics_fmiqa.comparison.plots`."""
        from torchmetrics_fmiqa.comparison.plots import plot_differences

        return plot_differences(self.scores, self.statistics, first, second, metric, ax)

    def rows(self) -> list[dict[str, Any]]:
        """A row of numbers for each metric and method."""
        scores, found = self.scores, self.statistics
        rows = []
        for k, metric in enumerate(scores.metrics):
            best = best_method(scores, found, k)
            for row, method in enumerate(scores.methods):
                rows.append(
                    {
                        "metric": metric,
                        "method": method,
                        "better": "higher" if metric in scores.qualities else "lower",
                        "images": int(found.images[k]),
                        "mean": float(found.mean[row, k]),
                        "low": float(found.low[row, k]),
                        "high": float(found.high[row, k]),
                        "rank": None if math.isnan(found.mean[row, k]) else int(found.rank[row, k]),
                        "tied_with_best": best is not None and is_tied(found, best, row, k),
                    }
                )
        return rows

    def table(self) -> Any:
        """The means as a ``pyarrow.Table``, a row for each metric and method; ``.to_pandas()`` where pandas is."""
        import pyarrow

        return pyarrow.Table.from_pylist(self.rows())


def _place(name: str, known: tuple[str, ...], what: str) -> int:
    if name not in known:
        raise ValueError(f"there is no {what} {name!r} in this comparison: {', '.join(known)}")
    return known.index(name)
