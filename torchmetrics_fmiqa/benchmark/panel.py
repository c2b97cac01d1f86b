"""The metrics of a benchmark, side by side: those of one backbone share its forward pass."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.columns import tap_column
from torchmetrics_fmiqa.benchmark.measures import Measure, Scorer, Skipped
from torchmetrics_fmiqa.comparator import FeatureComparator, Precision
from torchmetrics_fmiqa.features.cache import ReferenceCache, References
from torchmetrics_fmiqa.features.weights import WeightsUnavailableError
from torchmetrics_fmiqa.recipes import Recipe, distance_name


@dataclass(frozen=True)
class _Member:
    """A recipe of a comparator, and the metric that each of its distances is."""

    recipe: Recipe
    names: dict[str, str]


class Panel:
    """Metrics that score pairs together.

    Args:
        recipes: feature metrics by name. A recipe with several distances is several metrics, ``name/distance``.
        baselines: other metrics.
        precision: of the feature metrics, see :class:`~torchmetrics_fmiqa.FeatureComparator`.
        tile_batch: likewise.

    Raises:
        ValueError: for a recipe that does not fit its backbone, and for two metrics of one name.
    """

    def __init__(
        self,
        recipes: Mapping[str, Recipe],
        baselines: Sequence[Measure] = (),
        precision: Precision = "float32",
        tile_batch: int = 32,
    ) -> None:
        self.baselines = tuple(baselines)
        self.skipped: list[Skipped] = []
        self._precision: Precision = precision
        self._groups: list[tuple[FeatureComparator, list[_Member]]] = []
        trunks: dict[object, list[_Member]] = {}
        for name, recipe in recipes.items():
            several = len(recipe.distances) > 1
            distances = [distance_name(distance) for distance in recipe.distances]
            names = {distance: f"{name}/{distance}" if several else name for distance in distances}
            trunks.setdefault(recipe.trunk, []).append(_Member(recipe, names))
        for members in trunks.values():
            try:
                comparator = FeatureComparator([member.recipe for member in members], precision, tile_batch=tile_batch)
            except WeightsUnavailableError as error:
                self.skipped += [Skipped(name, str(error)) for member in members for name in member.names.values()]
                continue
            self._groups.append((comparator, members))
        self.names = (*self._feature_names(), *(one.name for one in self.baselines))
        for name in self.names:
            if self.names.count(name) > 1:
                raise ValueError(f"two metrics are called {name!r}")

    def _feature_names(self) -> list[str]:
        return [name for _, members in self._groups for member in members for name in member.names.values()]

    @property
    def qualities(self) -> tuple[str, ...]:
        """The metrics of which more is better."""
        return tuple(one.name for one in self.baselines if one.higher_is_better)

    @property
    def identities(self) -> dict[str, str]:
        """What the numbers of each metric depend on."""
        features = {
            name: f"{member.recipe.digest} {distance} {self._precision}"
            for _, members in self._groups
            for member in members
            for distance, name in member.names.items()
        }
        return {**features, **{one.name: one.identity for one in self.baselines}}

    @property
    def taps(self) -> dict[str, tuple[str, ...]]:
        """The taps of each feature metric, shallow to deep; of those that join several."""
        return {
            name: labels
            for comparator, members in self._groups
            for position, member in enumerate(members)
            for distance, labels in comparator.labels(position).items()
            for name in [member.names[distance]]
            if len(labels) > 1
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all that :meth:`score` gives: the metrics, then each tap of those that join several."""
        return (*self.names, *(tap_column(name, tap) for name, labels in self.taps.items() for tap in labels))

    def measures(self) -> list[Measure]:
        """Each metric alone."""
        features = [
            _feature_measure(FeatureComparator(member.recipe, self._precision), distance, name)
            for _, members in self._groups
            for member in members
            for distance, name in member.names.items()
        ]
        return [*features, *self.baselines]

    def comparator(self, name: str) -> FeatureComparator | None:
        """The comparator of a feature metric, of its recipe alone; ``None`` for a baseline."""
        for _, members in self._groups:
            for member in members:
                if name in member.names.values():
                    return FeatureComparator(member.recipe, self._precision)
        return None

    @torch.no_grad()
    def score(
        self,
        preds: Tensor,
        target: Tensor,
        cache: ReferenceCache | None = None,
        ids: Sequence[Hashable] | None = None,
        taps: bool = True,
    ) -> dict[str, Tensor]:
        """Score pairs of one size.

        Args:
            preds: ``(N, 3, H, W)`` float32 in [0, 1].
            target: likewise.
            cache: where features of references are kept from call to call.
            ids: names of the references, for the cache.
            taps: give each tap's distance too.

        Returns:
            ``(N,)`` by column; NaN of a baseline that cannot take images of this size.
        """
        references = None if cache is None else References(cache, None if ids is None else tuple(ids))
        found: dict[str, Tensor] = {}
        for comparator, members in self._groups:
            for member, measured in zip(members, comparator(preds, target, references=references), strict=True):
                scores = measured.scores()
                for distance, name in member.names.items():
                    found[name] = scores[distance]
                    labels = measured.labels[distance]
                    if taps and len(labels) > 1:
                        columns = measured.per_tap[distance].unbind(1)
                        found |= {tap_column(name, tap): one for tap, one in zip(labels, columns, strict=True)}
        for one in self.baselines:
            small = min(preds.shape[2:]) < one.minimum_side
            found[one.name] = preds.new_full((len(preds),), torch.nan) if small else one.score(preds, target)
        return found


def _feature_measure(comparator: FeatureComparator, distance: str, name: str) -> Measure:
    def score(preds: Tensor, target: Tensor) -> Tensor:
        found: Tensor = comparator(preds, target, validate=False)[0].scores()[distance]
        return found

    recipe = comparator.recipes[0]
    size = comparator.backbone.network.parameters / 1e6
    scorer: Scorer = score
    return Measure(name, scorer, False, True, f"{recipe.digest} {distance} {comparator.precision}", parameters=size)
