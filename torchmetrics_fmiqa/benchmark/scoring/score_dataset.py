"""Score a data set with a panel of metrics: batch after batch to Parquet, so that an interrupted run goes on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.analysis.image_properties import image_features
from torchmetrics_fmiqa.benchmark.distortions import parse_changes
from torchmetrics_fmiqa.benchmark.metrics.columns import change_column, feature_column
from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
from torchmetrics_fmiqa.benchmark.scoring.pair_run import Loaded, PairRun
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable, read_scored
from torchmetrics_fmiqa.data.images import Match, match_sizes, read_image
from torchmetrics_fmiqa.data.rated_csv import RatedPair, RatedPairs
from torchmetrics_fmiqa.features.image_checks import crop, to_unit
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache
from torchmetrics_fmiqa.features.tiles import resize


@dataclass(frozen=True)
class Reading:
    """How the images of a data set are read."""

    #: What to do with pairs of two sizes, see :func:`~torchmetrics_fmiqa.data.images.match_sizes`.
    match: Match | None = None
    #: Shrink pairs whose longer side exceeds this (antialiased bicubic, clamped to [0, 1]), for every metric alike.
    max_side: int | None = None
    crop_border: int = 0  #: pixels to cut off each side first
    to_rgb: bool = False  #: take grey and opaque RGBA files too

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
        preds, target = map(self.fit, match_sizes(preds, target, self.match))
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


@dataclass(frozen=True)
class ScoreOptions:
    """How images are scored."""

    reading: Reading = field(default_factory=Reading)  #: how they are read
    #: Names of the slight changes that are scored too, see
    #: :func:`~torchmetrics_fmiqa.benchmark.distortions.parse_changes`.
    changes: str = "none"
    #: Measure :func:`~torchmetrics_fmiqa.benchmark.analysis.image_properties.image_features` too.
    properties: bool = False
    device: torch.device | str = "cpu"  #: where to measure
    batch: int = 8  #: pairs between two saves


class ScoreRun(PairRun):
    """One data set scored by one panel, in one folder: a :class:`PairRun` with changed images and image properties.

    Raises:
        ValueError: for a panel without a metric, and for changes that do not exist.
    """

    def __init__(self, rated: RatedPairs, panel: Panel, folder: Path, options: ScoreOptions | None = None) -> None:
        self.options = options or ScoreOptions()
        super().__init__(rated, panel, folder, self.options.reading, self.options.device, self.options.batch)
        self.panel: Panel = panel
        self._changes = parse_changes(self.options.changes)

    @cached_property
    def columns(self) -> list[str]:
        """Names of the scores, then of those of the changed images."""
        changed = (change_column(metric, change) for change in self._changes for metric in self.panel.names)
        return [*self.panel.columns, *changed]

    def table(self, type_from: str | None = None) -> ScoredTable:
        """The scores, once all are there; ``type_from`` is as in :func:`read_scored`."""
        return read_scored(self.path, "opinion", "ref", "dist", type_from=type_from, metrics=self.panel.names)

    def _measured_columns(
        self, preds: Tensor, target: Tensor, cache: ReferenceCache, ids: Sequence[Hashable]
    ) -> dict[str, Tensor]:
        columns = self.panel.score(preds, target, cache, ids)
        for change, changed in self._changes.items():
            scores = self.panel.score(changed(preds), target, cache, ids, taps=False)
            columns |= {change_column(name, change): values for name, values in scores.items()}
        return columns

    def _properties(self, loaded: Loaded) -> dict[str, float]:
        if not self.options.properties:
            return {}
        if isinstance(loaded, str):  # the columns must be there; the row goes
            loaded = (torch.zeros(3, 16, 16), torch.zeros(3, 16, 16))
        preds, target = loaded
        return {feature_column(*key): value for key, value in image_features(target, preds).items()}
