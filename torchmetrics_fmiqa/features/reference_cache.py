"""ReferenceCache: features of references that come again, such as a validation set's each epoch.

What is admitted stays: a validation set is walked in a circle, and a cache that evicts the oldest would throw each
reference out just before it is wanted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.tiles import Portion
from torchmetrics_fmiqa.features.tokens import Tokens
from torchmetrics_fmiqa.locks import CopiedLock

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_bytes(size: int | str) -> int:
    """Return a size such as ``"8GiB"``, ``"500MB"`` or a whole number in bytes.

    >>> parse_bytes("8GiB"), parse_bytes("0.5 MB"), parse_bytes(1000)
    (8589934592, 500000, 1000)

    Raises:
        ValueError: if it is neither.
    """
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    match = (
        re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([KMG]i?B|B)\s*", size, re.IGNORECASE) if isinstance(size, str) else None
    )
    if match is None:
        raise ValueError(f"a size must be a number of bytes or a text such as '8GiB' or '500MB', got {size!r}")
    return int(float(match[1]) * _UNITS[match[2].upper()])


class ReferenceCache:
    """Features of reference tiles, within a budget of memory.

    Args:
        budget: memory for features: bytes, or a text such as ``"8GiB"``. Nothing is admitted beyond it, and nothing
            that was admitted is evicted.
        device: where features are kept.
        dtype: what floating point type they are kept in; ``None`` keeps their own. Half types halve the memory and
            round features, by a relative 2e-3 (bfloat16) or 2e-4 (float16).

    Raises:
        ValueError: for a budget that is no size, or a type that is no floating point.
    """

    def __init__(self, budget: int | str, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> None:
        self.budget = parse_bytes(budget)
        self.device = torch.device(device)
        if dtype is not None and not dtype.is_floating_point:
            raise ValueError(f"features are kept in a floating point type, got {dtype}")
        self.dtype = dtype
        self._lock = CopiedLock()  # features are looked up and kept by every thread that measures
        self.clear()

    def clear(self) -> None:
        """Forget all features and counts."""
        with self._lock:
            self._kept: dict[Hashable, tuple[Tensor, ...]] = {}
            self.size = 0
            self.full = False
            self.start_epoch()

    def start_epoch(self) -> None:
        """Count hits, misses and the memory wanted anew."""
        with self._lock:
            self.hits = self.misses = 0
            self._seen: dict[Hashable, int] = {}

    def describe(self) -> str:
        """How it does, in a line."""
        report = self.report()
        kept, wanted, budget = (report[f"{name}_bytes"] / 2**30 for name in ("kept", "wanted", "budget"))
        return (
            f"hit rate {report['hit_rate']:.0%} in the last epoch; {kept:.2f} GiB kept of {budget:.2f} GiB allowed, "
            f"the whole set takes {wanted:.2f} GiB"
        )

    def report(self) -> dict[str, float]:
        """What happened since :meth:`start_epoch`.

        Returns:
            ``hit_rate`` in [0, 1]; ``kept_bytes`` now; ``wanted_bytes``: what all references seen would take;
            ``budget_bytes``.
        """
        with self._lock:
            asked = self.hits + self.misses
            return {
                "hit_rate": self.hits / asked if asked else 0.0,
                "kept_bytes": self.size,
                "wanted_bytes": sum(self._seen.values()),
                "budget_bytes": self.budget,
            }

    def find(self, key: Hashable) -> tuple[Tensor, ...] | None:
        """Return the features of a tile, one ``(T, C)`` a tap, or ``None`` where they are not known."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                self.misses += 1
            else:
                self.hits += 1
                self._seen[key] = _bytes(found)
            return found

    def add(self, key: Hashable, features: Sequence[Tensor]) -> None:
        """Note a tile's features, one ``(T, C)`` a tap, and keep a copy of them where the budget allows."""
        dtypes = [self.dtype or values.dtype for values in features]
        size = sum(values.numel() * dtype.itemsize for values, dtype in zip(features, dtypes, strict=True))
        with self._lock:
            self._seen[key] = size
            if self.full or key in self._kept:
                return
            if self.size + size > self.budget:
                self.full = True
                return
            self.size += size
            pairs = zip(features, dtypes, strict=True)
            self._kept[key] = tuple(values.to(self.device, dtype, copy=True) for values, dtype in pairs)


@dataclass(frozen=True)
class References:
    """The references of one batch: where their features are kept, and what the images are known by.

    Args:
        cache: where features are kept.
        ids: a name for each image, which must change when the image does; ``None`` to go by the pixels, which costs a
            hash on the CPU.
    """

    cache: ReferenceCache
    ids: tuple[Hashable, ...] | None = None

    def select(self, positions: Sequence[int]) -> References:
        """The references at some positions of the batch."""
        return self if self.ids is None else References(self.cache, tuple(self.ids[i] for i in positions))

    def of_portion(self, scope: Hashable, tiles: Tensor, portion: Portion) -> CachedTiles:
        """Look tiles up.

        Args:
            scope: all else that their features depend on: network, taps, precision, size of the image.
            tiles: ``(n, 3, h, w)`` as the network sees them.
            portion: which image, and which of its tiles, each one is.
        """
        if self.ids is None:
            names: list[Hashable] = [_content(tile) for tile in tiles]
        else:
            names = [(self.ids[image], tile) for image, tile in portion]
        return CachedTiles(self.cache, [(scope, tuple(tiles.shape[1:]), name) for name in names])


def _content(tile: Tensor) -> bytes:
    pixels = tile.detach().cpu().flatten().numpy()
    return hashlib.blake2b(pixels.data, digest_size=16, key=str(pixels.dtype).encode()).digest()


class CachedTiles:
    """What a cache has of one portion of tiles.

    Args:
        cache: the cache.
        keys: of the tiles.
    """

    def __init__(self, cache: ReferenceCache, keys: list[Hashable]) -> None:
        self.cache, self.keys = cache, keys
        self._known = [cache.find(key) for key in keys]
        #: Places of the tiles whose features are not known.
        self.missing = [place for place, features in enumerate(self._known) if features is None]

    def completed(self, fresh: Sequence[Tokens]) -> list[Tokens]:
        """The tokens of all tiles at each tap, where those that were missing are given; the cache is offered these."""
        for row, place in enumerate(self.missing):
            self.cache.add(self.keys[place], [tokens.values[row] for tokens in fresh])
        if len(self.missing) == len(self.keys):
            return list(fresh)
        return [self._joined(index, tokens) for index, tokens in enumerate(fresh)]

    def _joined(self, index: int, fresh: Tokens) -> Tokens:
        values = fresh.values
        whole = values.new_empty(len(self.keys), *values.shape[1:])
        for place, features in enumerate(self._known):
            if features is not None:
                whole[place] = features[index].to(values.device, values.dtype)
        if self.missing:
            whole[self.missing] = values
        return fresh._replace(values=whole)


def _bytes(features: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in features)
