"""MeasuredSet: a data set whose pairs were measured once, with what a head shall learn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.profiles import Profiled
from torchmetrics_fmiqa.statistics.inputs import Floats

#: Opinions of pairs, choices between two versions, or the order of versions by severity (no human said anything).
Kind = Literal["opinion", "choice", "rank"]


@dataclass(frozen=True)
class MeasuredSet:
    """Measured pairs and what is known of them.

    Args:
        name: of the data set; no two sets that are mixed share it.
        kind: what ``target`` is.
        measured: what was measured of the pairs, ``n`` rows; for choices of both versions, two of these.
        target: ``(n,)`` opinions on the set's own scale; or shares of people in [0, 1] who found the second version
            closer; or severities, of which only the order within a series counts.
        reference: ``(n,)`` names of the references.
        image: ``(n,)`` names of the images under test (of the first versions).
        higher_is_better: direction of opinions; says nothing for other kinds.
        series: ``(n,)`` for ranks, the series that a pair belongs to, such as ``kodim01.png jpeg``.

    Raises:
        ValueError: for columns that differ in length, values that are not finite, shares outside [0, 1], and ranks
            without series.
    """

    name: str
    kind: Kind
    measured: tuple[Profiled, ...]
    target: Floats
    reference: npt.NDArray[np.str_]
    image: npt.NDArray[np.str_]
    higher_is_better: bool = True
    series: npt.NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        wanted = 2 if self.kind == "choice" else 1
        if len(self.measured) != wanted:
            raise ValueError(f"a set of kind {self.kind!r} has {wanted} `measured`, got {len(self.measured)}")
        count = len(self.target)
        columns = {"reference": self.reference, "image": self.image, "series": self.series}
        lengths = {name: len(column) for name, column in columns.items() if column is not None}
        lengths |= {f"measured[{place}]": len(one.spread) for place, one in enumerate(self.measured)}
        wrong = [f"{name} ({length})" for name, length in lengths.items() if length != count]
        if wrong:
            raise ValueError(f"{self.name}: `target` has {count} rows, but not so {', '.join(wrong)}")
        bad = np.flatnonzero(~np.isfinite(self.target))
        if len(bad):
            raise ValueError(f"{self.name}: the target of {str(self.image[bad[0]])!r} is {self.target[bad[0]]}")
        if self.kind == "choice" and (self.target.min() < 0 or self.target.max() > 1):
            raise ValueError(f"{self.name}: shares must lie in [0, 1], got {self.target.min()} ... {self.target.max()}")
        if self.kind == "rank" and self.series is None:
            raise ValueError(f"{self.name}: ranks need `series`, within which they are compared")

    def __len__(self) -> int:
        return len(self.target)

    def rows(self, places: Sequence[int] | npt.NDArray[np.integer]) -> MeasuredSet:
        """The pairs at these places."""
        index = np.asarray(places, dtype=np.int64)
        return MeasuredSet(
            self.name,
            self.kind,
            tuple(one.rows(index.tolist()) for one in self.measured),
            self.target[index],
            self.reference[index],
            self.image[index],
            self.higher_is_better,
            None if self.series is None else self.series[index],
        )
