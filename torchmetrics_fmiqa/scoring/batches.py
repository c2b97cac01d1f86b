"""Score pairs of files: read ahead, batch equal sizes, and go on after a bad file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from torchmetrics_fmiqa.data.images import Match, StoredImage, match_sizes, read_image
from torchmetrics_fmiqa.features.image_checks import share_outside
from torchmetrics_fmiqa.memory import memory_of_a_pair
from torchmetrics_fmiqa.scoring.scorers import PairScorer

Item = TypeVar("Item")
Result = TypeVar("Result")
#: What names a pair.
Known = TypeVar("Known")

_READERS = 2
_AHEAD = 4  # pairs read ahead; a 4K pair takes 50 MB


class HasImages(Protocol):
    """A pair of images, wherever they are stored."""

    @property
    def images(self) -> tuple[StoredImage | None, StoredImage | None]:
        """The reference, and the image under test."""


AnyPair = TypeVar("AnyPair", bound=HasImages)


@dataclass(frozen=True)
class Scored(Generic[Known]):
    """The result of a pair.

    Args:
        pair: the pair.
        values: column name -> value; empty if the pair failed.
        outside: share of the values of the image under test outside their range.
        error: why the pair failed; empty if it did not.
    """

    pair: Known
    values: dict[str, float]
    outside: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Loaded(Generic[Known]):
    """The images of a pair.

    Args:
        pair: the pair.
        preds: the image under test, ``(3, H, W)``.
        target: the reference, of the same size.
    """

    pair: Known
    preds: Tensor
    target: Tensor


class Reader(Protocol):
    """Loads pairs ahead of their use, and gives what was loaded in order."""

    def __call__(self, items: Iterable[Item], load: Callable[[Item], Result], /) -> Iterator[Result]:
        """Load them."""


def score_pairs(
    scorer: PairScorer,
    pairs: Iterable[AnyPair],
    device: torch.device | str = "cpu",
    crop_border: int = 0,
    match: Match | None = None,
    to_rgb: bool = False,
    alone: bool = False,
    read: Reader | None = None,
) -> Iterator[Scored[AnyPair]]:
    """Score pairs in order; a pair that cannot be read or scored has an error in its result.

    Args:
        scorer: scorer of the pairs.
        pairs: pairs to score.
        device: device that computes.
        crop_border: pixels to cut off each side first.
        match: how to match pairs that differ in size.
        to_rgb: convert grey and opaque RGBA files.
        alone: score each pair alone: its numbers then do not change in the last digits with the pairs around it.
        read: reads pairs in order; by default :func:`read_ahead`, by threads.

    Yields:
        A :class:`Scored` for each pair.
    """
    group: list[Loaded[AnyPair]] = []
    for loaded in (read or read_ahead)(pairs, partial(load_pair, match=match, to_rgb=to_rgb)):
        if group and (alone or isinstance(loaded, Scored) or not _fits(group, loaded, scorer.tile_batch)):
            yield from score_group(scorer, group, device, crop_border)
            group = []
        if isinstance(loaded, Scored):
            yield loaded
        else:
            group.append(loaded)
    if group:
        yield from score_group(scorer, group, device, crop_border)


def _fits(group: list[Loaded[AnyPair]], loaded: Loaded[AnyPair], tile_batch: int) -> bool:
    first = group[0]
    same = (first.preds.shape, first.preds.dtype, first.target.dtype) == (
        loaded.preds.shape,
        loaded.preds.dtype,
        loaded.target.dtype,
    )
    pixels = loaded.preds.shape[1] * loaded.preds.shape[2] * (len(group) + 1)
    return same and pixels <= tile_batch * 224 * 224


def read_ahead(items: Iterable[Item], load: Callable[[Item], Result]) -> Iterator[Result]:
    """Load items by two threads, a few ahead of their use, and give what they loaded in order."""
    with ThreadPoolExecutor(_READERS) as pool:
        yield from in_order(pool, items, load, _AHEAD)


def in_order(pool: Executor, items: Iterable[Item], call: Callable[[Item], Result], ahead: int) -> Iterator[Result]:
    """Call a function on items by a pool, up to ``ahead`` of their use, and give the results in order."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(call, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def load_pair(pair: AnyPair, match: Match | None, to_rgb: bool) -> Loaded[AnyPair] | Scored[AnyPair]:
    """Read the images of a pair; one that cannot be read has an error in its result."""
    try:
        with memory_of_a_pair():
            target, preds = (read_image(image, to_rgb) for image in pair.images)
            return Loaded(pair, *match_sizes(preds, target, match))
    except ValueError as error:
        return Scored(pair, {}, error=str(error))


def score_group(
    scorer: PairScorer, group: list[Loaded[AnyPair]], device: torch.device | str, border: int
) -> Iterator[Scored[AnyPair]]:
    """Score pairs of one size and type together; if that fails, each by itself, so that only a bad one has an error."""
    try:
        table = _measure(scorer, group, device, border)
    except ValueError as error:
        table, reason = None, str(error)
    # Outside the handler, because the error keeps the measured tensors alive, and memory may be short.
    if table is None and len(group) > 1:  # score each alone, to find the pair with the error
        for loaded in group:
            yield from score_group(scorer, [loaded], device, border)
    elif table is None:
        yield Scored(group[0].pair, {}, error=reason)
    else:
        for loaded, row in zip(group, table, strict=True):
            yield Scored(loaded.pair, dict(zip(scorer.columns, row, strict=True)), share_outside(loaded.preds))


def _measure(
    scorer: PairScorer, group: list[Loaded[AnyPair]], device: torch.device | str, border: int
) -> list[list[float]]:
    """A row of values for each pair of a group of equal size."""
    with memory_of_a_pair(group[0].preds.shape):
        preds, target = (
            torch.stack(side).to(device)
            for side in zip(*((loaded.preds, loaded.target) for loaded in group), strict=True)
        )
        table: list[list[float]] = torch.stack(scorer(preds, target, border), 1).double().tolist()
    return table
