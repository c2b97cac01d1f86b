"""Score a data set with a panel of metrics: batch after batch to Parquet, so that an interrupted run goes on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.metrics.columns import change_column, feature_column
from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
from torchmetrics_fmiqa.benchmark.scoring.digests import content_of
from torchmetrics_fmiqa.benchmark.scoring.pair_run import PairRun
from torchmetrics_fmiqa.data.images import Match, match_sizes, read_image
from torchmetrics_fmiqa.data.rated_csv import RatedPair, RatedPairs
from torchmetrics_fmiqa.features.image_checks import crop, to_unit
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache
from torchmetrics_fmiqa.features.tiles import resize

if TYPE_CHECKING:
    from torchmetrics_fmiqa.benchmark.distortions import Change

__all__ = ["Features", "Reading", "ScoreRun", "content_of"]

#: ``(reference, distorted)`` to values by property and side.
Features = Callable[[Tensor, Tensor], Mapping[tuple[str, str], float]]


@dataclass(frozen=True)
class Reading:
    """How the images of a data set are read.

    Args:
        match: what to do with pairs of two sizes, see :func:`~torchmetrics_fmiqa.data.images.match_sizes`.
        max_side: shrink pairs whose longer side exceeds this (antialiased bicubic, clamped to [0, 1]), for every metric
            alike.
        crop_border: pixels to cut off each side first.
        to_rgb: take grey and opaque RGBA files too.
    """

    match: Match | None = None
    max_side: int | None = None
    crop_border: int = 0
    to_rgb: bool = False

    @property
    def identity(self) -> list[Any]:
        """What the images depend on beside the files, in values that JSON has."""
        return [self.match, self.max_side, self.crop_border, self.to_rgb]

    def __call__(self, pair: RatedPair) -> tuple[Tensor, Tensor]:
        """Read a pair as ``(preds, target)``, both ``(3, H, W)`` float32 in [0, 1].

        Raises:
            ValueError: for files that cannot be read or do not fit together.
        """
        target, preds = (read_image(path, self.to_rgb) for path in (pair.ref, pair.dist))
        sides = match_sizes(preds, target, self.match)
        preds, target = (self.fit(side) for side in sides)
        return preds, target

    def fit(self, image: Tensor) -> Tensor:
        """Bring an image as it was read, ``(3, h, w)``, to its border and size: ``(3, H, W)`` float32 in [0, 1].

        Raises:
            ValueError: if the border leaves nothing.
        """
        image = to_unit(image[None], 1.0, torch.float32, "image")
        height, width = image.shape[2:]
        if min(height, width) <= 2 * self.crop_border:
            raise ValueError(f"`crop_border` {self.crop_border} leaves nothing of an image of {height}x{width}")
        image = crop(image, self.crop_border)
        longer = max(image.shape[2:])
        if self.max_side is not None and longer > self.max_side:
            height, width = (max(1, round(side * self.max_side / longer)) for side in image.shape[2:])
            image = resize(image, (height, width))
        # Resampling overshoots, and a file could not hold that.
        return image.clamp(0, 1)[0]


class ScoreRun(PairRun):
    """One data set scored by one panel, in one folder.

    Args:
        rated: the pairs.
        panel: the metrics.
        folder: where ``scores.parquet`` goes, and its parts until it is complete.
        reading: how the images are read.
        changes: what is done to the images under test for the robustness.
        features: measures properties of a pair of images, ``(3, H, W)`` each, by property and side.
        device: where to measure.
        batch: pairs between two parts. A run that goes on does so at a batch's boundary, and its numbers are those of a
            run that was never interrupted.

    Raises:
        ValueError: for a panel without a metric.
    """

    def __init__(
        self,
        rated: RatedPairs,
        panel: Panel,
        folder: Path,
        reading: Reading,
        changes: Sequence[Change] = (),
        features: Features | None = None,
        device: torch.device | str = "cpu",
        batch: int = 8,
    ) -> None:
        super().__init__(rated, panel, folder, reading, device, batch)
        self.panel: Panel = panel
        self.changes, self.features = tuple(changes), features

    @cached_property
    def columns(self) -> list[str]:
        """Names of the scores, then of those of the changed images."""
        changed = (change_column(metric, change.name) for change in self.changes for metric in self.panel.names)
        return [*self.panel.columns, *changed]

    def _found(
        self, preds: Tensor, target: Tensor, cache: ReferenceCache, ids: Sequence[Hashable]
    ) -> dict[str, Tensor]:
        found = self.panel.score(preds, target, cache, ids)
        for change in self.changes:
            moved = self.panel.score(change(preds), target, cache, ids, taps=False)
            found |= {change_column(name, change.name): value for name, value in moved.items()}
        return found

    def _properties(self, loaded: tuple[Tensor, Tensor] | str) -> dict[str, float]:
        if self.features is None:
            return {}
        if isinstance(loaded, str):  # the columns must be there; the row goes
            loaded = (torch.zeros(3, 16, 16), torch.zeros(3, 16, 16))
        preds, target = loaded
        return {feature_column(*key): value for key, value in self.features(target, preds).items()}
