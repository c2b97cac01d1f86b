"""RatedPairsModule: rated pairs as a LightningDataModule, split by reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from rated_pairs_batches import (
    Epoch,
    ImageType,
    RatedPairsDataset,
    SameSizeBatchSampler,
    Tiles,
    check_images,
)
from torch.utils.data import DataLoader

from torchmetrics_fmiqa.data.images import Match
from torchmetrics_fmiqa.data.rated_pairs import RatedPairs

SPLITS = ("train", "val", "test")


class RatedPairsModule(LightningDataModule):
    """Rated pairs for training, validation and test; no reference is in two of them.

    A batch is a dict: ``preds`` and ``target`` ``(N, 3, H, W)``, float32 in [0, 1] or uint8; ``opinion`` ``(N,)`` on
    the dataset's scale (``rated.higher_is_better`` tells its direction); ``reference`` ``(N,)``, the place of each
    reference in ``rated.references``, and ``index`` ``(N,)``, the place of each pair in ``rated.pairs``, both int64;
    ``type``, a list of texts; with ``tile`` also ``corner``, the ``y`` and ``x`` of each tile. All images of a batch
    have one size. Training shuffles, in an order that seed and epoch decide; validation and test do not.

    Args:
        rated: the dataset.
        batch_size: samples in a batch; a size's last batch may have fewer.
        split: shares of the references for training, validation and test, drawn with ``seed``; or a dict
            ``{"train": [...], "val": [...], "test": [...]}`` of references, each by its file name, the name without
            ending, or its path. References that the dict does not name are left out.
        tile: cut square tiles of this side, at the same place of both images: random ones for training, and for
            validation and test evenly spaced ones that cover the image.
        tiles_per_image: random tiles of each pair in an epoch of training.
        match: what to do with pairs of two sizes: ``"crop"`` both to the common top left part, ``"resize"`` the image
            under test, or ``None`` for an error.
        to_rgb: take grey and opaque RGBA files too.
        image_type: ``"float32"`` in [0, 1], or ``"uint8"`` as stored.
        seed: seed of split, order and tiles.
        num_workers: processes that read images.
        drop_last: leave out training batches that are not full.
        pin_memory: put batches where a GPU copies them from faster.

    Raises:
        ValueError: for arguments that do not fit, or a reference that is not there, is in two splits, or leaves a split
            empty; in ``setup``, naming the pair, if a file cannot be read, its two sizes differ without ``match``, or
            it is smaller than a tile.

    >>> from torchmetrics_fmiqa.data.rated_csv import RatedPair, RatedPairs
    >>> pairs = [RatedPair(Path(f"{ref}.png"), Path(f"{ref}_{n}.png"), n) for ref in "abcde" for n in range(3)]
    >>> module = RatedPairsModule(RatedPairs("five", tuple(pairs), True, "flag"), split=(0.6, 0.2, 0.2))
    >>> {name: len(refs) for name, refs in module.references.items()}
    {'train': 3, 'val': 1, 'test': 1}
    """

    def __init__(
        self,
        rated: RatedPairs,
        batch_size: int = 16,
        split: Sequence[float] | Mapping[str, Sequence[str | Path]] = (0.6, 0.2, 0.2),
        tile: int | None = None,
        tiles_per_image: int = 1,
        match: Match | None = None,
        to_rgb: bool = False,
        image_type: ImageType = "float32",
        seed: int = 0,
        num_workers: int = 0,
        drop_last: bool = False,
        pin_memory: bool = False,
    ) -> None:
        super().__init__()
        check_images(tile, tiles_per_image, match, image_type)
        for name, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0), ("seed", seed, 0)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"`{name}` must be a whole number of at least {least}, got {value!r}")
        self.rated = rated
        self.references = given_split(rated, split) if isinstance(split, Mapping) else drawn_split(rated, split, seed)
        self.batch_size, self.num_workers = batch_size, num_workers
        self.drop_last, self.pin_memory, self.seed = drop_last, pin_memory, seed
        self._tiles: dict[str, Any] = {"tile": tile, "tiles_per_image": tiles_per_image}
        self._images: dict[str, Any] = {"match": match, "to_rgb": to_rgb, "image_type": image_type}
        self.datasets: dict[str, RatedPairsDataset] = {}

    def setup(self, stage: str | None = None) -> None:
        """Read the sizes of a stage's images; ``None`` for all stages."""
        names = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage or "", SPLITS)
        for name in names:
            if name not in self.datasets:
                refs = set(self.references[name])
                indices = [index for index, pair in enumerate(self.rated.pairs) if pair.ref in refs]
                tiles: Tiles = "random" if name == "train" else "regular"
                self.datasets[name] = RatedPairsDataset(
                    self.rated, indices, tiles=tiles, seed=self.seed, **self._tiles, **self._images
                )

    def train_dataloader(self) -> Any:
        """Batches to train on, shuffled."""
        return self._loader("train")

    def val_dataloader(self) -> Any:
        """Batches to validate on, in one order; an empty list where the split has none."""
        return self._loader("val")

    def test_dataloader(self) -> Any:
        """Batches to test on, in one order; an empty list where the split has none."""
        return self._loader("test")

    def _loader(self, name: str) -> Any:
        if name not in self.datasets:
            raise ValueError(f"call setup() before {name}_dataloader()")
        dataset = self.datasets[name]
        if not len(dataset):
            return []
        train = name == "train"
        sampler = SameSizeBatchSampler(
            Epoch(len(dataset)),
            dataset.sizes,
            self.batch_size,
            drop_last=self.drop_last and train,
            shuffle=train,
            seed=self.seed,
        )
        return DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
            persistent_workers=self.num_workers > 0,
        )


def drawn_split(rated: RatedPairs, shares: Sequence[float], seed: int) -> dict[str, tuple[Path, ...]]:
    """Draw the references of each split.

    Args:
        rated: the dataset.
        shares: of training, validation and test; they sum to 1. A share above 0 gets at least one reference.
        seed: the same seed draws the same split, whatever the order of pairs.

    Raises:
        ValueError: if the shares are no such shares, or there are fewer references than splits.
    """
    if len(shares) != len(SPLITS) or any(not share >= 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"`split` must be three shares that sum to 1, or a dict of references, got {shares!r}")
    refs = sorted(rated.references)
    wanted = [int(share > 0) for share in shares]
    if len(refs) < sum(wanted):
        raise ValueError(f"{rated.name} has {len(refs)} references, too few for {sum(wanted)} splits")
    for _ in range(len(refs) - sum(wanted)):  # each further one goes where most is missing
        lacks = [share * len(refs) - count for share, count in zip(shares, wanted, strict=True)]
        wanted[lacks.index(max(lacks))] += 1
    order = np.random.default_rng(seed).permutation(len(refs))
    starts = np.cumsum([0, *wanted])
    return {
        name: tuple(refs[place] for place in sorted(order[start : start + count]))
        for name, start, count in zip(SPLITS, starts, wanted, strict=False)
    }


def given_split(rated: RatedPairs, names: Mapping[str, Sequence[str | Path]]) -> dict[str, tuple[Path, ...]]:
    """The references of each split, by name.

    Raises:
        ValueError: if a split or a reference is not known, a name means two references, or a reference is named twice.
    """
    unknown = [name for name in names if name not in SPLITS]
    if unknown:
        raise ValueError(f"`split` has the keys {', '.join(SPLITS)}, got {unknown[0]!r}")
    split = {name: tuple(_reference(rated, str(one)) for one in names.get(name, ())) for name in SPLITS}
    twice = [ref for ref, count in Counter(ref for refs in split.values() for ref in refs).items() if count > 1]
    if twice:
        raise ValueError(f"`split` names the reference {str(twice[0])!r} twice")
    return split


def _reference(rated: RatedPairs, name: str) -> Path:
    found = [
        ref
        for ref in rated.references
        if name in (ref.name, ref.stem, str(ref)) or (rated.root is not None and rated.root / name == ref)
    ]
    if len(found) != 1:
        reason = f"means {found[0]} and {found[1]}" if found else "is no reference"
        raise ValueError(f"`split`: {name!r} {reason}; {rated.name} has {len(rated.references)} references")
    return found[0]
