"""What a head learns from: sets of measured images with opinions, choices or ranks, and the batches of an epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.data.pairs import Problem
from torchmetrics_fmiqa.statistics.inputs import Floats, Integers

#: Opinions of images, choices between two versions, or the order of versions by severity (no human said anything).
Kind = Literal["opinion", "choice", "rank"]

#: What a head takes: measurements of pairs of images, or columns ``(n, F)`` of a table.
Inputs = TapStatistics | Tensor


@dataclass(frozen=True)
class MeasuredSet:
    """A data set: the inputs of a head for each image, and what is known of the image.

    Raises:
        ValueError: for columns that differ in length, values that are not finite, shares outside [0, 1], and ranks
            without series.
    """

    name: str  #: of the data set; no two sets that are mixed share it.
    kind: Kind  #: what ``target`` is.
    measured: tuple[Inputs, ...]  #: the inputs, ``n`` rows; for choices those of both versions, two of these.
    #: ``(n,)`` opinions on the set's own scale; or shares of people in [0, 1] who found the second version closer; or
    #: severities, of which only the order within a series counts.
    target: Floats
    reference: npt.NDArray[np.str_] | Integers  #: ``(n,)`` names or numbers of the references.
    image: npt.NDArray[np.str_]  #: ``(n,)`` names of the images under test (of the first versions).
    higher_is_better: bool = True  #: direction of opinions; says nothing for other kinds.
    #: ``(n,)`` for ranks, the series that an image belongs to, such as ``kodim01.png jpeg``.
    series: npt.NDArray[np.str_] | None = None
    part: npt.NDArray[np.str_] | None = None  #: ``(n,)`` types of distortion, or parts of the data set.
    second: npt.NDArray[np.str_] | None = None  #: ``(n,)`` for choices, names of the second versions.
    std: Floats | None = None  #: ``(n,)`` standard deviations of the opinions.
    problems: tuple[Problem, ...] = ()  #: files that are missing, and pairs that could not be measured.

    def __post_init__(self) -> None:
        versions = 2 if self.kind == "choice" else 1
        if len(self.measured) != versions:
            raise ValueError(f"a set of kind {self.kind!r} has {versions} `measured`, got {len(self.measured)}")
        count = len(self.target)
        lengths = {name: len(column) for name, column in self._columns.items()}
        lengths |= {
            f"measured[{place}]": len(inputs if isinstance(inputs, Tensor) else inputs.spread)
            for place, inputs in enumerate(self.measured)
        }
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
        """The rows at these places."""
        index = np.asarray(places, dtype=np.int64)
        measured = tuple(_rows(inputs, torch.from_numpy(index)) for inputs in self.measured)
        return replace(self, measured=measured, **{name: column[index] for name, column in self._columns.items()})

    @property
    def _columns(self) -> dict[str, Any]:
        """What is known of each row."""
        names = ("target", "reference", "image", "series", "part", "second", "std")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def worst_and_best(self) -> tuple[float, float]:
        """The worst and the best opinion."""
        low, high = float(self.target.min()), float(self.target.max())
        return (low, high) if self.higher_is_better else (high, low)

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits, equal for sets of which a head learns the same."""
        digest = hashlib.sha256(f"{self.kind} {self.higher_is_better}".encode())
        for inputs in self.measured:
            flat, labels = (inputs, ()) if isinstance(inputs, Tensor) else (inputs.flat(), inputs.labels)
            digest.update(repr((labels, flat.shape)).encode())
            digest.update(flat.detach().double().cpu().numpy().tobytes())
        digest.update(self.target.astype(np.float64).tobytes())
        for names in (self.reference, self.series):
            digest.update("\n".join([] if names is None else map(str, names)).encode())
        return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Examples:
    """Rows of a set, ready for a loss."""

    name: str  #: of the set.
    kind: Kind  #: what ``target`` is.
    inputs: tuple[Inputs, ...]  #: of the head, ``n`` rows, float32; for choices of both versions.
    #: ``(n,)`` float32, higher is worse: opinions of mean 0 and deviation 1, or severities; or shares of people who
    #: found the second version closer.
    target: Tensor
    series: Tensor | None = None  #: ``(n,)`` numbers of the series, for ranks alone.

    def __len__(self) -> int:
        return len(self.target)

    def rows(self, places: Tensor) -> Examples:
        """The rows at these places."""
        series = None if self.series is None else self.series[places]
        inputs = tuple(_rows(version, places) for version in self.inputs)
        return Examples(self.name, self.kind, inputs, self.target[places], series)


def examples(data: MeasuredSet) -> Examples:
    """Turn a set into what a loss takes. Opinions are standardised over these rows.

    No loss of opinions sees their scale: a correlation has none, and a ranking asks for the order alone. So sets on
    different scales mix. The scale is taken off so that float32 keeps all digits.
    """
    target = data.target
    if data.kind == "opinion":
        target = (target - target.mean()) / target.std() * (-1 if data.higher_is_better else 1)
    elif data.kind == "rank":
        target = np.unique(target, return_inverse=True)[1].astype(np.float64)
    series = torch.from_numpy(_codes(data.series)) if data.kind == "rank" and data.series is not None else None
    inputs = tuple(plain(version) for version in data.measured)
    return Examples(data.name, data.kind, inputs, torch.from_numpy(target).float(), series)


def plain(inputs: Inputs) -> Inputs:
    """Float32 copies on the CPU that a head can be trained on. Tensors measured in inference mode could not be."""
    if isinstance(inputs, Tensor):
        return inputs.detach().cpu().float().clone()
    parts = (inputs.spread, inputs.summary, inputs.reference, inputs.of_images)
    spread, summary, reference, of_images = (part.detach().cpu().float().clone() for part in parts)
    return TapStatistics(spread, summary, reference, of_images, inputs.labels)


def ordered_pairs(severity: Floats, series: npt.NDArray[np.str_] | Integers) -> Integers:
    """Pairs ``(P, 2)`` of rows of one series, the worse one first; those of equal severity do not count.

    >>> ordered_pairs(np.array([1.0, 2.0, 2.0, 5.0]), np.array(["a", "a", "a", "b"])).tolist()
    [[1, 0], [2, 0]]
    """
    codes = _codes(series)
    order = np.argsort(codes, kind="stable")
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        worse, better = np.nonzero(severity[rows][:, None] > severity[rows][None, :])
        pairs.append(np.stack([rows[worse], rows[better]], 1))
    return np.concatenate(pairs)


def steps(count: int, batch: int) -> int:
    """Batches in an epoch: at least 8, but of 8 images or more, or few images would hardly train a head at all.

    >>> steps(3000, 64), steps(100, 64), steps(30, 64), steps(3, 64)
    (47, 8, 3, 1)
    """
    return max(1, round(count / batch), min(8, count // 8))


def epoch_batches(sets: Sequence[Examples], batch: int, generator: torch.Generator) -> list[tuple[int, Tensor]]:
    """The batches of an epoch, each of one set.

    Batches of a set are of one size: a last one of two images would count as much as the others. Of ranks they are made
    of whole series, so that the versions that are compared meet.

    Returns:
        Places in ``sets``, each with the rows of a batch: every row once, about ``batch`` at a time (:func:`steps`).
    """
    batches = [(place, rows) for place, data in enumerate(sets) for rows in _shuffled(data, batch, generator)]
    if len(sets) == 1:  # in no order already
        return batches
    return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]


def _shuffled(data: Examples, batch: int, generator: torch.Generator) -> list[Tensor]:
    count = steps(len(data), batch)
    if data.series is None:
        return list(torch.randperm(len(data), generator=generator).tensor_split(count))
    names = data.series.unique()
    shuffled = names[torch.randperm(len(names), generator=generator)]
    parts = shuffled.tensor_split(min(count, len(names)))
    return [torch.isin(data.series, part).nonzero()[:, 0] for part in parts]


def _rows(inputs: Inputs, places: Tensor) -> Inputs:
    return inputs[places] if isinstance(inputs, Tensor) else inputs.rows(places)


def _codes(names: npt.NDArray[np.str_] | Integers) -> Integers:
    return np.unique(names, return_inverse=True)[1].reshape(-1).astype(np.int64)
