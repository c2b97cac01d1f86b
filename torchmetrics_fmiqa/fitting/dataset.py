"""MeasuredSet: a data set whose pairs were measured once, with what a head shall learn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator.tap_statistics import Profiled
from torchmetrics_fmiqa.statistics.inputs import Floats, Integers

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


#: What a head takes: of pairs of images, or columns ``(n, F)`` of a table.
Inputs = Profiled | Tensor


@dataclass(frozen=True)
class Examples:
    """Rows of a set, ready for a loss.

    Args:
        name: of the set.
        kind: what ``target`` is.
        inputs: of the head, ``n`` rows, float32; for choices of both versions.
        target: ``(n,)`` float32, higher is worse: opinions of mean 0 and deviation 1, or severities; or shares of
            people who found the second version closer.
        series: ``(n,)`` numbers of the series, for ranks alone.
    """

    name: str
    kind: Kind
    inputs: tuple[Inputs, ...]
    target: Tensor
    series: Tensor | None = None

    def __len__(self) -> int:
        return len(self.target)

    def rows(self, places: Tensor) -> Examples:
        """The rows at these places."""
        inputs = tuple(one[places] if isinstance(one, Tensor) else one.rows(places) for one in self.inputs)
        series = None if self.series is None else self.series[places]
        return Examples(self.name, self.kind, inputs, self.target[places], series)


def examples(of: MeasuredSet) -> Examples:
    """Turn a measured set into what a loss takes; the scale of opinions is that of these rows.

    Neither loss of opinions sees their scale: a correlation has none, and a ranking asks for the order alone. So sets
    on different scales mix. It is taken off so that float32 keeps all digits.
    """
    target = of.target
    if of.kind == "opinion":
        target = (target - target.mean()) / target.std() * (-1 if of.higher_is_better else 1)
    elif of.kind == "rank":
        target = np.unique(target, return_inverse=True)[1].astype(np.float64)
    series = torch.from_numpy(_codes(of.series)) if of.kind == "rank" and of.series is not None else None
    inputs = tuple(plain(one) for one in of.measured)
    return Examples(of.name, of.kind, inputs, torch.from_numpy(target).float(), series)


def plain(measured: Profiled) -> Profiled:
    """Copies on the CPU that a head can be trained on: not so tensors that were measured in inference mode."""
    parts = (measured.spread, measured.summary, measured.reference, measured.of_images)
    spread, summary, reference, of_images = (part.detach().cpu().float().clone() for part in parts)
    return Profiled(spread, summary, reference, of_images, measured.labels)


def ordered_pairs(severity: Floats, series: npt.NDArray[np.str_] | Integers) -> Integers:
    """Pairs of rows of one series, the worse one first.

    Args:
        severity: ``(n,)``; pairs with equal ones do not count.
        series: ``(n,)`` names or numbers.

    Returns:
        ``(P, 2)`` places of rows.

    >>> ordered_pairs(np.array([1.0, 2.0, 2.0, 5.0]), np.array(["a", "a", "a", "b"])).tolist()
    [[1, 0], [2, 0]]
    """
    codes = _codes(series)
    order = np.argsort(codes, kind="stable")
    found = [np.zeros((0, 2), dtype=np.int64)]
    for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        worse, better = np.nonzero(severity[rows][:, None] > severity[rows][None, :])
        found.append(np.stack([rows[worse], rows[better]], 1))
    return np.concatenate(found)


def steps(count: int, batch: int) -> int:
    """Batches in an epoch: at least 8, but of 8 images or more, or few images would hardly train a head at all.

    >>> steps(3000, 64), steps(100, 64), steps(30, 64), steps(3, 64)
    (47, 8, 3, 1)
    """
    return max(1, round(count / batch), min(8, count // 8))


def deal(sets: Sequence[Examples], batch: int, balance: bool, generator: torch.Generator) -> list[tuple[int, Tensor]]:
    """The batches of an epoch, each of one set.

    Batches of a set are of one size: a last one of two images would count as much as the others. Of ranks they are made
    of whole series, so that the versions that are compared meet.

    Args:
        sets: every row is dealt once.
        batch: rows in a batch, about; see :func:`steps`.
        balance: deal sets of fewer batches again, shuffled anew, until all have as many.
        generator: of the order, of rows and of batches.

    Returns:
        Places in ``sets``, each with the rows of a batch; as many in every epoch.
    """
    dealt = [_shuffled(one, batch, generator) for one in sets]
    most = max(map(len, dealt))
    for one, own in zip(sets, dealt, strict=True):
        while balance and len(own) < most:
            own.extend(_shuffled(one, batch, generator)[: most - len(own)])
    batches = [(place, rows) for place, own in enumerate(dealt) for rows in own]
    if len(sets) == 1:  # in no order already
        return batches
    return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]


def _shuffled(one: Examples, batch: int, generator: torch.Generator) -> list[Tensor]:
    count = steps(len(one), batch)
    if one.series is None:
        return list(torch.randperm(len(one), generator=generator).tensor_split(count))
    names = one.series.unique()
    shuffled = names[torch.randperm(len(names), generator=generator)]
    parts = shuffled.tensor_split(min(count, len(names)))
    return [torch.isin(one.series, part).nonzero()[:, 0] for part in parts]


def _codes(names: npt.NDArray[np.str_] | Integers) -> Integers:
    return np.unique(names, return_inverse=True)[1].reshape(-1).astype(np.int64)
