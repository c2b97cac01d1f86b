"""Rated pairs as samples for training: whole images in batches of one size, or tiles cut alike from both images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, Dataset, SequentialSampler

from torchmetrics_fmiqa.data.images import Match, image_size, match_sizes, read_image
from torchmetrics_fmiqa.data.rated_pairs import RatedPair, RatedPairs
from torchmetrics_fmiqa.features.tiles import even_starts

#: How tiles lie: anywhere, anew in each epoch; or evenly spaced, as few as cover the image.
Tiles = Literal["random", "regular"]

#: What images are given as: float32 in [0, 1], or the bytes as they are stored.
ImageType = Literal["float32", "uint8"]


class RatedPairsDataset(Dataset[dict[str, Any]]):
    """The images of rated pairs.

    A sample is a dict: ``preds`` and ``target`` ``(3, H, W)``, float32 in [0, 1] or uint8; ``opinion``, a float32
    scalar on the dataset's scale; ``reference``, the place of its reference in ``rated.references``, and ``index``, its
    place in ``rated.pairs``, both int64 scalars; ``type``, a text; with tiles also ``corner``, ``(y, x)`` of the tile.
    A sample is asked for by its number, or by ``(number, epoch)``: random tiles depend on the seed, the epoch and the
    number, and on nothing else.

    Args:
        rated: the dataset.
        indices: numbers of the pairs to give; all by default.
        tile: side of the square tiles; ``None`` for whole images.
        tiles: ``"random"`` or ``"regular"``. Each regular tile is a sample of its own.
        tiles_per_image: random tiles of each pair in an epoch, each a sample.
        match: what to do with pairs of two sizes, see :func:`~torchmetrics_fmiqa.data.images.match_sizes`.
        to_rgb: take grey and opaque RGBA files too.
        image_type: ``"float32"`` or ``"uint8"``; the latter for files of 8 bits, and not with ``match="resize"``.
        seed: seed of the random tiles.

    Raises:
        ValueError: for arguments that do not fit, and, naming the pair, if a file cannot be read, its two sizes differ
            without ``match``, or it is smaller than a tile.
    """

    def __init__(
        self,
        rated: RatedPairs,
        indices: Sequence[int] | None = None,
        tile: int | None = None,
        tiles: Tiles = "regular",
        tiles_per_image: int = 1,
        match: Match | None = None,
        to_rgb: bool = False,
        image_type: ImageType = "float32",
        seed: int = 0,
    ) -> None:
        check_images(tile, tiles_per_image, match, image_type)
        if tiles not in ("random", "regular"):
            raise ValueError(f"`tiles` must be 'random' or 'regular', got {tiles!r}")
        self.rated = rated
        self.indices = tuple(range(len(rated)) if indices is None else indices)
        self.tile, self.random = tile, tiles == "random"
        self.match, self.to_rgb, self.image_type, self.seed = match, to_rgb, image_type, seed
        self._references = rated.reference_ids
        self._decoded: tuple[int, Tensor, Tensor] | None = None
        sizes: dict[Path, tuple[int, int]] = {}
        self._samples: list[tuple[int, tuple[int, int] | None]] = []
        self.sizes: list[tuple[int, int]] = []  # of each sample, (H, W)
        for index in self.indices:
            size = self._check_size(rated.pairs[index], sizes)
            corners: list[tuple[int, int] | None] = [None]
            if tile is not None and self.random:
                corners *= tiles_per_image
            elif tile is not None:
                corners = [(y, x) for y in even_starts(size[0], tile) for x in even_starts(size[1], tile)]
            self._samples += [(index, corner) for corner in corners]
            self.sizes += [size if tile is None else (tile, tile)] * len(corners)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        number, epoch = key if isinstance(key, tuple) else (key, 0)
        index, corner = self._samples[number]
        pair = self.rated.pairs[index]
        preds, target = self._images(index, pair)
        sample: dict[str, Any] = {
            "opinion": torch.tensor(pair.opinion, dtype=torch.float32),
            "reference": torch.tensor(self._references[index]),
            "type": pair.type,
            "index": torch.tensor(index),
        }
        if self.tile is not None:
            if corner is None:
                random = np.random.default_rng([self.seed, epoch, number])
                height, width = preds.shape[1:]
                corner = int(random.integers(height - self.tile + 1)), int(random.integers(width - self.tile + 1))
            rows, cols = (slice(start, start + self.tile) for start in corner)
            preds, target = preds[:, rows, cols].clone(), target[:, rows, cols].clone()  # not the image behind them
            sample["corner"] = torch.tensor(corner)
        return {"preds": preds, "target": target, **sample}

    def _images(self, index: int, pair: RatedPair) -> tuple[Tensor, Tensor]:
        """Both images of a pair; the tiles of one follow each other, so the last pair is kept."""
        if self._decoded is None or self._decoded[0] != index:
            target, preds = (read_image(path, self.to_rgb) for path in (pair.ref, pair.dist))
            preds, target = (self._typed(image, pair) for image in match_sizes(preds, target, self.match))
            self._decoded = None if self.tile is None else (index, preds, target)
            return preds, target
        return self._decoded[1:]

    def _typed(self, image: Tensor, pair: RatedPair) -> Tensor:
        if self.image_type == "float32":
            return image if image.is_floating_point() else image.float() / torch.iinfo(image.dtype).max
        if image.dtype != torch.uint8:
            raise ValueError(f"{_named(pair)} has 16 bits: give image_type='float32'")
        return image

    def _check_size(self, pair: RatedPair, known: dict[Path, tuple[int, int]]) -> tuple[int, int]:
        """``(H, W)`` of a pair once it is matched, from the heads of its files."""
        for path in (pair.ref, pair.dist):
            if path not in known:
                known[path] = _size(path)
        target, preds = known[pair.ref], known[pair.dist]
        if target != preds and self.match is None:
            sizes = " and ".join(f"{height}x{width}" for height, width in (target, preds))
            raise ValueError(f"{_named(pair)} differ in size, {sizes} (H x W): give match='crop' or 'resize'")
        size = target
        if self.match == "crop":
            size = min(target[0], preds[0]), min(target[1], preds[1])
        if self.tile is not None and min(size) < self.tile:
            raise ValueError(f"{_named(pair)} has {size[0]}x{size[1]} pixels, fewer than a tile of {self.tile}")
        return size


class SameSizeBatchSampler(BatchSampler):
    """Batches of samples of one size: each sample once in an epoch, in an order that seed and epoch decide.

    It gives lists of ``(number, epoch)`` for a :class:`RatedPairsDataset`. Over several ranks whole batches are dealt
    out: when shuffling some are repeated, so that all ranks have equally many; else only where there are fewer batches
    than ranks. Lightning puts its ``DistributedSampler`` in by itself, and tells the epoch.

    Args:
        sampler: only its ``epoch``, ``rank`` and ``num_replicas`` count, where it has them.
        sizes: size of each sample.
        batch_size: samples in a batch; a size's last batch may have fewer.
        drop_last: leave such a smaller batch out.
        shuffle: shuffle samples and batches anew in each epoch.
        seed: seed of the shuffling.

    >>> batches = SameSizeBatchSampler(Epoch(5), [(8, 8), (9, 9), (8, 8), (8, 8), (9, 9)], batch_size=2)
    >>> [[number for number, epoch in batch] for batch in batches]
    [[0, 2], [3], [1, 4]]
    """

    def __init__(
        self,
        sampler: Any,
        sizes: Sequence[tuple[int, int]],
        batch_size: int,
        drop_last: bool = False,
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self.sizes, self.shuffle, self.seed = tuple(sizes), shuffle, seed

    def __len__(self) -> int:
        return len(self._mine())

    def __iter__(self) -> Iterator[list[Any]]:
        epoch = getattr(self.sampler, "epoch", 0)
        for batch in self._mine():
            yield [(number, epoch) for number in batch]

    def _mine(self) -> list[list[int]]:
        """This rank's batches in this epoch."""
        batches = self._all()
        ranks, rank = getattr(self.sampler, "num_replicas", 1), getattr(self.sampler, "rank", 0)
        wanted = -(-len(batches) // ranks) * ranks if self.shuffle else max(len(batches), ranks)
        if batches:
            batches = (batches * -(-wanted // len(batches)))[:wanted]
        return batches[rank::ranks]

    def _all(self) -> list[list[int]]:
        numbers = list(range(len(self.sizes)))
        random = np.random.default_rng([self.seed, getattr(self.sampler, "epoch", 0)])
        if self.shuffle:
            random.shuffle(numbers)
        groups: dict[tuple[int, int], list[int]] = {}
        for number in numbers:
            groups.setdefault(self.sizes[number], []).append(number)
        batches = [
            group[start : start + self.batch_size]
            for group in groups.values()
            for start in range(0, len(group), self.batch_size)
        ]
        if self.drop_last:
            batches = [batch for batch in batches if len(batch) == self.batch_size]
        if self.shuffle:
            random.shuffle(batches)
        return batches


class Epoch(SequentialSampler):
    """Counts samples and knows the epoch, which Lightning tells it."""

    def __init__(self, samples: int) -> None:
        super().__init__(range(samples))
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Take note of the epoch that begins."""
        self.epoch = epoch


def check_images(tile: int | None, tiles_per_image: int, match: Match | None, image_type: ImageType) -> None:
    """Raise a ValueError for options of images that do not fit."""
    for name, value in (("tile", tile), ("tiles_per_image", tiles_per_image)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"`{name}` must be a whole number of at least 1, got {value!r}")
    if match not in (None, "crop", "resize"):
        raise ValueError(f"`match` must be None, 'crop' or 'resize', got {match!r}")
    if image_type not in ("float32", "uint8"):
        raise ValueError(f"`image_type` must be 'float32' or 'uint8', got {image_type!r}")
    if match == "resize" and image_type == "uint8":
        raise ValueError("match='resize' gives values between bytes: it needs image_type='float32'")


def _named(pair: RatedPair) -> str:
    return f"the pair {str(pair.dist)!r} and its reference {str(pair.ref)!r}"


def _size(path: Path) -> tuple[int, int]:
    try:
        return image_size(path)
    except ValueError as error:
        raise ValueError(f"{error}; rated.verified() finds all such") from error
