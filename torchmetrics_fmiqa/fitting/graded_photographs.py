"""Photographs and their graded distortions, which nobody needs to rate: a stronger level is worse."""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.distortions import GRADED
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.data.rated_csv import RatedPair

if TYPE_CHECKING:
    from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading

# Of the noise. Not the seed of a training: another training shall find what was measured.
_SEED = 0

#: Distorted versions of a photograph.
VERSIONS = sum(len(distortion.levels) for distortion in GRADED.values())


def graded_versions(photograph: Path) -> list[RatedPair]:
    """A photograph at every level of every distortion; the level is its number, from 1."""
    levels = [(name, number) for name, own in GRADED.items() for number in range(1, len(own.levels) + 1)]
    return [RatedPair(photograph, photograph, 0.0, name, number) for name, number in levels]


class GradedReading:
    """Reads a photograph as ``reading`` says, and distorts it at that size: a level is what the network sees."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        # The versions of a photograph follow each other.
        self._photograph = lru_cache(maxsize=2)(self._read)

    @cached_property
    def identity(self) -> list[Any]:
        """What the images depend on beside the files, in values that JSON has."""
        levels = {name: list(distortion.levels) for name, distortion in GRADED.items()}
        return [*self.reading.identity, levels, _SEED]

    def __call__(self, pair: RatedPair) -> tuple[Tensor, Tensor]:
        """Make a version as ``(preds, target)``, both ``(3, H, W)`` float32 in [0, 1].

        Raises:
            ValueError: for a photograph that cannot be read, or is too small for a distortion.
        """
        photograph, distortion = self._photograph(pair.ref), GRADED[pair.type]
        level = distortion.levels[int(pair.level or 0) - 1]
        return distortion(photograph[None], level, torch.Generator().manual_seed(_SEED))[0], photograph

    def _read(self, path: Path) -> Tensor:
        return self.reading.fit(read_image(path, self.reading.to_rgb))
