"""Score pairs of files: read ahead, batch equal sizes, and go on after a bad file."""

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
_AHEAD = 4  # pairs read ahead; a 4K pair takes 50 MB


@dataclass(frozen=True)
class Scored:
    """The result of a pair.

    Args:
        pair: the pair.
        values: column name -> value; empty if the pair failed.
        outside: share of the values of the image under test outside their range.
        error: why the pair failed; empty if it did not.
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
    """A scorer of pairs: it gives a value for each column and pair."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scores."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all values: the scores, and further values."""

    @property
    def tile_batch(self) -> int:
        """Tiles of preds, and as many of target, in a forward pass."""

    def __call__(self, preds: Tensor, target: Tensor, crop_border: int) -> list[Tensor]:
        """The values of pairs of equal size: ``(N,)`` for each column."""


class DistanceScorer:
    """Scores by a recipe, with a score for each of its distances.

    Args:
        comparator: comparator that measures.
        layers: add a column for each tap's distance.
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
        """Measure pairs of equal size."""
        measured: Distances = self._comparator(preds, target, crop_border=crop_border)[0]
        scores = list(measured.scores().values())
        return [*scores, *measured.by_tap().values()] if self._layers else scores


class FusedScorer:
    """Scores by SPIPS: the distance in the column ``spips``, or the quality.

    Args:
        scorer: scorer of SPIPS.
        quality: give the quality, 100 for equal images, instead of the distance.

    Raises:
        ValueError: for the quality of a head that was not fitted to opinions.
    """

    def __init__(self, scorer: SpipsScorer, quality: bool = False) -> None:
        if quality:
            scorer.check_quality()
        self._scorer, self._quality = scorer, quality
        self.tile_batch = scorer.comparator.tile_batch
        self.names = self.columns = ("quality" if quality else "spips",)

    def __call__(self, preds: Tensor, target: Tensor, crop_border: int) -> list[Tensor]:
        """Score pairs of equal size."""
        score = self._scorer.score(self._scorer.comparator(preds, target, crop_border=crop_border)[0])
        return [self._scorer.quality(score) if self._quality else score]


def score_pairs(
    scorer: PairScorer,
    pairs: Sequence[Pair],
    device: torch.device | str = "cpu",
    crop_border: int = 0,
    match: Match | None = None,
    to_rgb: bool = False,
) -> Iterator[Scored]:
    """Score pairs in order; a pair that cannot be read or scored has an error in its result.

    Args:
        scorer: scorer of the pairs.
        pairs: pairs to score.
        device: device that computes.
        crop_border: pixels to cut off each side first.
        match: how to match pairs that differ in size.
        to_rgb: convert grey and opaque RGBA files.

    Yields:
        A :class:`Scored` for each pair.
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
    # Outside the handler, because the error keeps the measured tensors alive, and memory may be short.
    if table is None and len(group) > 1:  # score each alone, to find the pair with the error
        for loaded in group:
            yield from _score_group(scorer, [loaded], device, border)
    elif table is None:
        yield Scored(group[0].pair, {}, error=reason)
    else:
        for loaded, row in zip(group, table, strict=True):
            yield Scored(loaded.pair, dict(zip(scorer.columns, row, strict=True)), share_outside(loaded.preds))


def _measure(scorer: PairScorer, group: list[_Loaded], device: torch.device | str, border: int) -> list[list[float]]:
    """A row of values for each pair of a group of equal size."""
    with memory_of_a_pair(group[0].preds.shape):
        preds, target = (
            torch.stack(side).to(device)
            for side in zip(*((loaded.preds, loaded.target) for loaded in group), strict=True)
        )
        table: list[list[float]] = torch.stack(scorer(preds, target, border), 1).double().tolist()
    return table
