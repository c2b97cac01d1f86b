"""What scores pairs of equal size: a recipe's distances, or SPIPS."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from torchmetrics_fmiqa.comparator import FeatureComparator
from torchmetrics_fmiqa.comparator.distance_terms import Distances, column_name
from torchmetrics_fmiqa.spips_model.scorer import SpipsScorer


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
