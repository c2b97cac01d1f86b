"""Score pairs on disk: files are read ahead, equal sizes go together, one bad file stops nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator import FeatureComparator
from torchmetrics_fmiqa.data.images import Match, match_sizes, read_image
from torchmetrics_fmiqa.data.pairs import Pair
from torchmetrics_fmiqa.features.images import share_outside
from torchmetrics_fmiqa.jobs import Distances, column_name

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


def columns(comparator: FeatureComparator, layers: bool) -> list[str]:
    """Names of the value columns: ``score`` (or one for each distance), then the taps if they are asked for."""
    labels = comparator.labels()
    several = len(labels) > 1
    scores = [f"score_{name}" for name in labels] if several else ["score"]
    taps = [column_name(name, tap, several) for name, names in labels.items() for tap in names]
    return scores + (taps if layers else [])


def score_pairs(
    comparator: FeatureComparator,
    pairs: Sequence[Pair],
    device: torch.device | str = "cpu",
    crop_border: int = 0,
    match: Match | None = None,
    to_rgb: bool = False,
    layers: bool = False,
) -> Iterator[Scored]:
    """Score pairs one after another, in order; a pair that cannot be read or scored comes with its error.

    Args:
        comparator: what to measure with.
        pairs: what to measure.
        device: where to measure.
        crop_border: pixels to cut off each side first.
        match: what to do with pairs of two sizes.
        to_rgb: convert grey and opaque RGBA files.
        layers: give the taps' distances too.

    Yields:
        One :class:`Scored` for each pair.
    """
    group: list[_Loaded] = []
    for loaded in _read_ahead(pairs, match, to_rgb):
        if group and (isinstance(loaded, Scored) or not _fits(group, loaded, comparator.tile_batch)):
            yield from _score_group(comparator, group, device, crop_border, layers)
            group = []
        if isinstance(loaded, Scored):
            yield loaded
        else:
            group.append(loaded)
    if group:
        yield from _score_group(comparator, group, device, crop_border, layers)


def _fits(group: list[_Loaded], loaded: _Loaded, tile_batch: int) -> bool:
    first = group[0]
    same = (first.preds.shape, first.preds.dtype, first.target.dtype) == (
        loaded.preds.shape,
        loaded.preds.dtype,
        loaded.target.dtype,
    )
    pixels = loaded.preds.shape[1] * loaded.preds.shape[2] * (len(group) + 1)
    return same and pixels <= tile_batch * 224 * 224


def _read_ahead(pairs: Sequence[Pair], match: Match | None, to_rgb: bool) -> Iterator[_Loaded | Scored]:
    def load(pair: Pair) -> _Loaded | Scored:
        try:
            target, preds = (read_image(path, to_rgb) for path in (pair.ref_path, pair.dist_path))
            return _Loaded(pair, *match_sizes(preds, target, match))
        except ValueError as error:
            return Scored(pair, {}, error=str(error))

    with ThreadPoolExecutor(_READERS) as pool:
        waiting: deque[Future[_Loaded | Scored]] = deque()
        for pair in pairs:
            waiting.append(pool.submit(load, pair))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _score_group(
    comparator: FeatureComparator, group: list[_Loaded], device: torch.device | str, border: int, layers: bool
) -> Iterator[Scored]:
    preds, target = (torch.stack(side).to(device) for side in zip(*((g.preds, g.target) for g in group), strict=True))
    try:
        measured = comparator(preds, target, crop_border=border)[0]
    except ValueError as error:
        if len(group) == 1:
            yield Scored(group[0].pair, {}, error=str(error))
        else:  # find out whose fault it is
            for one in group:
                yield from _score_group(comparator, [one], device, border, layers)
        return
    names = columns(comparator, layers)
    table = torch.stack(_value_columns(measured, layers), 1).double().tolist()
    for loaded, row in zip(group, table, strict=True):
        yield Scored(loaded.pair, dict(zip(names, row, strict=True)), share_outside(loaded.preds))


def _value_columns(measured: Distances, layers: bool) -> list[Tensor]:
    scores = list(measured.scores().values())
    return scores + ([tap for values in measured.per_tap.values() for tap in values.unbind(1)] if layers else [])
