"""Cells of tables by what they hold: what is read, what the column is sorted by, and how dark the ground is."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torchmetrics_fmiqa.report import numbers
from torchmetrics_fmiqa.report.document import Cell, Column

#: A cell of what does not exist here.
UNKNOWN = Cell("—", math.nan)


def columns(*labels: str | tuple[str, str]) -> tuple[Column, ...]:
    """Heads of columns: labels, or labels with notes."""
    return tuple(Column(label) if isinstance(label, str) else Column(*label) for label in labels)


def row_name(name: str, best: bool = False, note: str = "") -> Cell:
    """The cell that names a row, marked where it is the best metric's."""
    return Cell(name, mark="best" if best else "", note=note)


def coefficient(value: float, shade: float | None = None) -> Cell:
    """A cell of a correlation or a share in [0, 1]."""
    return Cell(numbers.number(value), value, shade)


def correlation(value: float, shade: float | None = None) -> Cell:
    """A cell of a correlation with people, whose fourth digit published tables give too."""
    return Cell(numbers.number(value), value, shade, fine=numbers.number(value, 4))


def interval(low: float, high: float, otherwise: str = "—", fine: bool = False) -> Cell:
    """A cell of an interval, or of other words if there is none; ``fine`` with the fourth digit too."""
    return Cell(numbers.span(low, high) or otherwise, low, fine=(numbers.span(low, high, 4) or otherwise) * fine)


def amount(value: float) -> Cell:
    """A cell of a number of any size."""
    return Cell(numbers.amount(value), value)


def percent(value: float) -> Cell:
    """A cell of a share in per cent."""
    return Cell(numbers.percent(value), value)


def p_value(value: float) -> Cell:
    """A cell of a p-value."""
    return Cell("—" if math.isnan(value) else numbers.p_value(value)[2:].removeprefix("=\u00a0"), value)


def difference(value: float, digits: int = 2) -> Cell:
    """A cell of a signed difference."""
    return Cell(numbers.signed(value, digits), value)


def count(value: int) -> Cell:
    """A cell of a count."""
    return Cell(f"{value:,}", value)


class Shades:
    """How dark the grounds of cells are, from the least known value (0) to the greatest (1).

    >>> shades = Shades([0.2, float("nan"), 0.6])
    >>> shades(0.6), shades(float("nan")), shades.low
    (1.0, None, 0.2)
    """

    def __init__(self, values: Iterable[float]) -> None:
        known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        self.low, self.high = min(known), max(known)

    def __call__(self, value: float) -> float | None:
        """The shade of a value; ``None`` for one that is not known."""
        if not math.isfinite(value):
            return None
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0
