"""What a comparison knows of distances between sets: a row for each distance and method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torchmetrics_fmiqa.report.numbers import number, span

#: What is said beside the figures.
SETS_NOTE = (
    "distances between all images of a method and all references; lower is closer. They are of the set and not of its "
    "images: no image is tested against its own reference, and methods are not settled by them"
)


@dataclass(frozen=True)
class SetRow:
    """A distance between a method's images and the references.

    Args:
        distance: its name.
        method: the method's.
        images: how many there are of the method, and of the references.
        value: of these images.
        extrapolated: to infinitely many images; NaN where that is not sound.
        low: lower limit of the 95 % interval; NaN likewise.
        high: upper limit.
    """

    distance: str
    method: str
    images: int
    value: float
    extrapolated: float
    low: float
    high: float

    @property
    def digits(self) -> int:
        """Decimals that it is printed with: four digits in all, none of a large figure."""
        most = max(abs(value) for value in (self.value, self.low, self.high, 1e-6) if not math.isnan(value))
        return min(max(3 - math.floor(math.log10(most)), 0), 9)

    def texts(self) -> tuple[str, str, str]:
        """The value, the extrapolated value and the interval as they are printed; a dash for what is not known."""
        numbers = (number(self.value, self.digits), number(self.extrapolated, self.digits))
        return (*numbers, span(self.low, self.high, self.digits) or "—")


@dataclass(frozen=True)
class SetDistances:
    """The distances of all methods.

    Args:
        rows: a row for each distance and method.
        warning: that the images are too few, and how many there are; empty where they are not.
        identities: distance -> what its numbers depend on.
        skipped: distances that could not run here, and why.
    """

    rows: tuple[SetRow, ...]
    warning: str = ""
    identities: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)

    def table(self) -> list[dict[str, Any]]:
        """A row of plain values for each distance and method; nothing where a number is not known."""
        return [
            {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
            for row in map(asdict, self.rows)
        ]
