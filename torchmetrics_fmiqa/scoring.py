"""Score pairs on disk: files are read ahead, equal sizes go together, one bad file stops nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator import FeatureComparator
from torchmetrics_fmiqa.comparator.distance_terms import Distances, column_name
from torchmetrics_fmiqa.data.images import Match, match_sizes, read_image
from torchmetrics_fmiqa.data.pairs import Pair
from torchmetrics_fmiqa.features.image_checks import share_outside
from torchmetrics_fmiqa.memory import memory_of_a_pair
from torchmetrics_fmiqa.spips_model.scorer import SpipsScorer

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")

_READERS = 2
_AHEAD = 4  # pairs in memory beyond those being scored; a 4K pair takes 50 MB


@dataclass(frozen=True)
class Scored:
    """What came of a pair.

    Args:
        pair: the pair.
        values: column name to value, empty if it failed.
        outside: share of the image under test outside its range.
        error: why it failed, empty if it did not.
    """

    pair: Pair
    values: dict[str, float]
    outside: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class _Loaded:
    pair: Pair
    preds: Tensor
    target: Tensor


class PairScorer(Protocol):
    """What scores pairs: columns of values for each image."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the scores."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Of all values: the scores, and what else there is."""

    @property
    def tile_batch(self) -> int:
        """How many tiles of a side go through the network at once."""

    def __call__(self, preds: Tensor, target: Tensor, crop_border: int) -> list[Tensor]:
        """The values of pairs of one size, ``(N,)`` for each of the columns."""


class DistanceScorer:
    """The score of a recipe, or one for each of its distances; with ``layers`` the taps' distances too.

    Args:
        comparator: what to measure with.
        layers: whether each tap has a column.
    """

    def __init__(self, comparator: FeatureComparator, layers: bool = False) -> None:
        self._comparator, self._layers = comparator, layers
        self.tile_batch = comparator.tile_batch
        labels = comparator.labels()
        joint = comparator.recipes[0].joint
        several = len(labels) > 1
        self.names = tuple(f"score_{name}" for name in labels) if several else ("score",)
        taps = [column_name(name, tap, several) for name, names in labels.items() for tap in names]
        if joint is not None:
            taps += [column_name(name, tap, True) for name in joint.names for tap in labels[joint.name]]
        self.columns = (*self.names, *taps) if layers else self.names

    def __call__(self, preds: Tensor, target: Tensor, crop_border: int) -> list[Tensor]:
        """Measure pairs."""
        measured: Distances = self._comparator(preds, target, crop_border=crop_border)[0]
        scores = list(measured.scores().values())
        return [*scores, *measured.by_tap().values()] if self._layers else scores


class FusedScorer:
    """The score of SPIPS, called ``spips``, or its quality.

    Args:
        scorer: SPIPS.
        quality: give the quality, 100 for equal images, not the distance.

    Raises:
        ValueError: for a quality where no head was fitted to opinions.
    """

    def __init__(self, scorer: SpipsScorer, quality: bool = False) -> None:
        if quality:
            scorer.check_quality()
        self._scorer, self._quality = scorer, quality
        self.tile_batch = scorer.comparator.tile_batch
        self.names = self.columns = ("quality" if quality else "spips",)

    def __call__(self, preds: Tensor, target: Tensor, crop_border: int) -> list[Tensor]:
        """Score pairs."""
        score = self._scorer(preds, target, crop_border=crop_border)
        return [self._scorer.quality(score) if self._quality else score]


def score_pairs(
    scorer: PairScorer,
    pairs: Sequence[Pair],
    device: torch.device | str = "cpu",
    crop_border: int = 0,
    match: Match | None = None,
    to_rgb: bool = False,
) -> Iterator[Scored]:
    """Score pairs one after another, in order; a pair that cannot be read or scored comes with its error.

    Args:
        scorer: what to measure with.
        pairs: what to measure.
        device: where to measure.
        crop_border: pixels to cut off each side first.
        match: what to do with pairs of two sizes.
        to_rgb: convert grey and opaque RGBA files.

    Yields:
        One :class:`Scored` for each pair.
    """
    group: list[_Loaded] = []
    for loaded in read_ahead(pairs, partial(_load, match=match, to_rgb=to_rgb)):
        if group and (isinstance(loaded, Scored) or not _fits(group, loaded, scorer.tile_batch)):
            yield from _score_group(scorer, group, device, crop_border)
            group = []
        if isinstance(loaded, Scored):
            yield loaded
        else:
            group.append(loaded)
    if group:
        yield from _score_group(scorer, group, device, crop_border)


def _fits(group: list[_Loaded], loaded: _Loaded, tile_batch: int) -> bool:
    first = group[0]
    same = (first.preds.shape, first.preds.dtype, first.target.dtype) == (
        loaded.preds.shape,
        loaded.preds.dtype,
        loaded.target.dtype,
    )
    pixels = loaded.preds.shape[1] * loaded.preds.shape[2] * (len(group) + 1)
    return same and pixels <= tile_batch * 224 * 224


def read_ahead(items: Iterable[Item], load: Callable[[Item], Loaded]) -> Iterator[Loaded]:
    """Load items by two threads, a few ahead of their use, and give what they loaded in order."""
    with ThreadPoolExecutor(_READERS) as pool:
        waiting: deque[Future[Loaded]] = deque()
        for item in items:
            waiting.append(pool.submit(load, item))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _load(pair: Pair, match: Match | None, to_rgb: bool) -> _Loaded | Scored:
    try:
        with memory_of_a_pair():
            target, preds = (read_image(path, to_rgb) for path in (pair.ref_path, pair.dist_path))
            return _Loaded(pair, *match_sizes(preds, target, match))
    except ValueError as error:
        return Scored(pair, {}, error=str(error))


def _score_group(scorer: PairScorer, group: list[_Loaded], device: torch.device | str, border: int) -> Iterator[Scored]:
    try:
        table = _measure(scorer, group, device, border)
    except ValueError as error:
        table, reason = None, str(error)
    # Out of the handler: the error holds what was measured, and memory may be short.
    if table is None and len(group) > 1:  # find out whose fault it is
        for one in group:
            yield from _score_group(scorer, [one], device, border)
    elif table is None:
        yield Scored(group[0].pair, {}, error=reason)
    else:
        for loaded, row in zip(group, table, strict=True):
            yield Scored(loaded.pair, dict(zip(scorer.columns, row, strict=True)), share_outside(loaded.preds))


def _measure(scorer: PairScorer, group: list[_Loaded], device: torch.device | str, border: int) -> list[list[float]]:
    """A row of values for each pair of a group of one size."""
    with memory_of_a_pair(group[0].preds.shape):
        preds, target = (
            torch.stack(side).to(device) for side in zip(*((g.preds, g.target) for g in group), strict=True)
        )
        table: list[list[float]] = torch.stack(scorer(preds, target, border), 1).double().tolist()
    return table
