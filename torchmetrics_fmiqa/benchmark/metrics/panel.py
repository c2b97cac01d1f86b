"""The metrics of a benchmark, side by side: those of one backbone share its forward pass."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.metrics.columns import tap_column
from torchmetrics_fmiqa.benchmark.metrics.metric import Measure, Scorer, Skipped
from torchmetrics_fmiqa.benchmark.metrics.spec import AskedSpips
from torchmetrics_fmiqa.comparator import FeatureComparator, Precision, Request
from torchmetrics_fmiqa.comparator.distance_terms import Distances
from torchmetrics_fmiqa.comparator.tap_statistics import Profiled
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache, References
from torchmetrics_fmiqa.features.weights import WeightsUnavailableError
from torchmetrics_fmiqa.recipes import Recipe
from torchmetrics_fmiqa.spips_model.scorer import SpipsScorer


class Panel:
    """Metrics that score pairs together.

    Args:
        features: feature metrics by name: recipes, and SPIPS. A recipe with several distances is several metrics,
            ``name/distance``.
        baselines: other metrics.
        precision: of the feature metrics, see :class:`~torchmetrics_fmiqa.FeatureComparator`.
        tile_batch: likewise.

    Raises:
        ValueError: for a recipe that does not fit its backbone, a head that does not fit its recipe, and for two
            metrics of one name.
    """

    def __init__(
        self,
        features: Mapping[str, Recipe | AskedSpips],
        baselines: Sequence[Measure] = (),
        precision: Precision = "float32",
        tile_batch: int = 32,
    ) -> None:
        self.baselines = tuple(baselines)
        self.skipped: list[Skipped] = []
        self._groups: list[tuple[FeatureComparator, list[Member]]] = []
        trunks: dict[object, list[Member]] = {}
        for name, asked in features.items():
            recipe = asked.recipe if isinstance(asked, AskedSpips) else asked
            trunks.setdefault(recipe.trunk, []).append(make_member(name, asked, precision))
        for members in trunks.values():
            try:
                comparator = FeatureComparator([one.request for one in members], precision, tile_batch=tile_batch)
            except WeightsUnavailableError as error:
                self.skipped += [Skipped(name, str(error)) for member in members for name in member.names]
                continue
            self._groups.append((comparator, members))
        self.names = (*(name for one in self._members for name in one.names), *(one.name for one in self.baselines))
        for name in self.names:
            if self.names.count(name) > 1:
                raise ValueError(f"two metrics are called {name!r}")

    @property
    def _members(self) -> list[Member]:
        return [member for _, members in self._groups for member in members]

    @property
    def qualities(self) -> tuple[str, ...]:
        """The metrics of which more is better."""
        return tuple(one.name for one in self.baselines if one.higher_is_better)

    @property
    def identities(self) -> dict[str, str]:
        """What the numbers of each metric depend on."""
        features = {name: identity for one in self._members for name, identity in one.identities.items()}
        return {**features, **{one.name: one.identity for one in self.baselines}}

    @property
    def taps(self) -> dict[str, tuple[str, ...]]:
        """The taps of each recipe's metrics, shallow to deep; of those that join several."""
        return {
            name: labels
            for comparator, members in self._groups
            for position, member in enumerate(members)
            for name, labels in member.taps(comparator, position).items()
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all that :meth:`score` gives: the metrics, then each tap of those that join several."""
        return (*self.names, *(tap_column(name, tap) for name, labels in self.taps.items() for tap in labels))

    def measures(self) -> list[Measure]:
        """Each metric alone."""
        return [*(measure for one in self._members for measure in one.measures()), *self.baselines]

    def comparator(self, name: str) -> FeatureComparator | None:
        """What draws a map of a metric: the comparator of its recipe alone; ``None`` for SPIPS and baselines."""
        return next((one.drawing() for one in self._members if name in one.names), None)

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
                found |= member.scores(measured, taps)
        for one in self.baselines:
            small = min(preds.shape[2:]) < one.minimum_side
            found[one.name] = preds.new_full((len(preds),), torch.nan) if small else one.score(preds, target)
        return found


class Member(Protocol):
    """One request to a comparator, and the metrics that come of what it measures."""

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics. Known before anything is loaded."""

    @property
    def request(self) -> Request:
        """What to ask of the comparator."""

    @property
    def identities(self) -> dict[str, str]:
        """What the numbers of each metric depend on."""

    def taps(self, comparator: FeatureComparator, position: int) -> dict[str, tuple[str, ...]]:
        """The taps of each metric that joins several; at ``position`` the comparator has this request."""

    def scores(self, measured: Any, taps: bool) -> dict[str, Tensor]:
        """``(N,)`` by column, with each tap's own where they are asked for."""

    def measures(self) -> list[Measure]:
        """Each metric alone."""

    def drawing(self) -> FeatureComparator | None:
        """What draws a map of the metrics, if anything does."""


def make_member(name: str, asked: Recipe | AskedSpips, precision: Precision) -> Member:
    """Make the member of a metric that was asked for."""
    return (
        SpipsMember(name, asked, precision) if isinstance(asked, AskedSpips) else RecipeMember(name, asked, precision)
    )


class RecipeMember:
    """The distances of a recipe: each is a metric, called ``name/distance`` where there are several.

    Args:
        name: of the recipe.
        recipe: what to measure with.
        precision: see :class:`~torchmetrics_fmiqa.FeatureComparator`.
    """

    def __init__(self, name: str, recipe: Recipe, precision: Precision) -> None:
        self.request, self._precision = recipe, precision
        several = len(recipe.results) > 1
        self._names = {distance: f"{name}/{distance}" if several else name for distance in recipe.results}

    @property
    def names(self) -> tuple[str, ...]:
        """One for each distance."""
        return tuple(self._names.values())

    @property
    def identities(self) -> dict[str, str]:
        """The recipe's digest, the distance and the precision."""
        return {name: f"{self.request.digest} {distance} {self._precision}" for distance, name in self._names.items()}

    def taps(self, comparator: FeatureComparator, position: int) -> dict[str, tuple[str, ...]]:
        """Shallow to deep."""
        labels = comparator.labels(position)
        return {name: labels[distance] for distance, name in self._names.items() if len(labels[distance]) > 1}

    def scores(self, measured: Distances, taps: bool) -> dict[str, Tensor]:
        """Each distance, and its taps."""
        found, joined = {}, measured.scores()
        for distance, name in self._names.items():
            found[name] = joined[distance]
            labels = measured.labels[distance]
            if taps and len(labels) > 1:
                columns = measured.per_tap[distance].unbind(1)
                found |= {tap_column(name, tap): one for tap, one in zip(labels, columns, strict=True)}
        return found

    def measures(self) -> list[Measure]:
        """One for each distance."""
        comparator = FeatureComparator(self.request, self._precision)
        return [self._measure(comparator, distance) for distance in self._names]

    def drawing(self) -> FeatureComparator:
        """That of the recipe alone."""
        return FeatureComparator(self.request, self._precision)

    def _measure(self, comparator: FeatureComparator, distance: str) -> Measure:
        def score(preds: Tensor, target: Tensor) -> Tensor:
            found: Tensor = comparator(preds, target, validate=False)[0].scores()[distance]
            return found

        name = self._names[distance]
        return _distance(name, score, self.identities[name], comparator)


class SpipsMember:
    """SPIPS, which has no taps of its own to show and no map.

    Args:
        name: of the metric.
        asked: what was asked for.
        precision: see :class:`~torchmetrics_fmiqa.FeatureComparator`.
    """

    def __init__(self, name: str, asked: AskedSpips, precision: Precision) -> None:
        self.names = (name,)
        self._asked, self._precision = asked, precision

    @cached_property
    def scorer(self) -> SpipsScorer:
        """The network and the head, loaded when they are first used.

        Raises:
            ValueError: for a recipe, taps or a head that do not fit, naming the metric.
            WeightsUnavailableError: if pretrained weights cannot be downloaded.
        """
        try:
            return self._asked.scorer(self._precision)
        except ValueError as error:
            raise ValueError(f"the metric {self.names[0]!r}: {error}") from None

    @property
    def request(self) -> Request:
        """The profile that the head takes."""
        return self.scorer.recipe.profile

    @property
    def identities(self) -> dict[str, str]:
        """The recipe's digest, the head's content and the precision."""
        return {self.names[0]: f"{self.scorer.identity} {self._precision}"}

    def taps(self, comparator: FeatureComparator, position: int) -> dict[str, tuple[str, ...]]:
        """None: what a head makes of a single tap is no score."""
        return {}

    def scores(self, measured: Profiled, taps: bool) -> dict[str, Tensor]:
        """The score."""
        return {self.names[0]: self.scorer.score(measured)}

    def measures(self) -> list[Measure]:
        """The one metric."""
        (name,), scorer = self.names, self.scorer

        def score(preds: Tensor, target: Tensor) -> Tensor:
            return scorer(preds, target, validate=False)

        return [_distance(name, score, self.identities[name], scorer.comparator)]

    def drawing(self) -> None:
        """There is no map of a fused score."""
        return


def _distance(name: str, score: Scorer, identity: str, comparator: FeatureComparator) -> Measure:
    size = comparator.backbone.network.parameters / 1e6
    return Measure(name, score, higher_is_better=False, differentiable=True, identity=identity, parameters=size)
