"""The metrics of a benchmark, side by side: those of one backbone share its forward pass.

A :class:`RecipeMember` or :class:`SpipsMember` is what one request to a comparator gives: the distances of a recipe, or
a fused score.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property, partial

import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.metrics.columns import tap_column
from torchmetrics_fmiqa.benchmark.metrics.metric import Metric, Scorer, Skipped
from torchmetrics_fmiqa.benchmark.metrics.spec import SpipsSpec
from torchmetrics_fmiqa.comparator import FeatureComparator, Precision, Request
from torchmetrics_fmiqa.comparator.distance_terms import Distances
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache, References
from torchmetrics_fmiqa.features.weights import WeightsUnavailableError
from torchmetrics_fmiqa.recipes import Recipe
from torchmetrics_fmiqa.spips_model.scorer import SpipsScorer


class Panel:
    """Metrics that score pairs together.

    Features are metrics by name: recipes, and SPIPS. A recipe with several distances is several metrics,
    ``name/distance``. Baselines are other metrics. The precision and ``tile_batch`` of the feature metrics are as in
    :class:`~torchmetrics_fmiqa.FeatureComparator`.

    Raises:
        ValueError: for a recipe that does not fit its backbone, a head that does not fit its recipe, and for two
            metrics of one name.
    """

    def __init__(
        self,
        features: Mapping[str, Recipe | SpipsSpec],
        baselines: Sequence[Metric] = (),
        precision: Precision = "float32",
        tile_batch: int = 32,
    ) -> None:
        self.baselines = tuple(baselines)
        self.skipped: list[Skipped] = []
        self._groups: list[tuple[FeatureComparator, list[Member]]] = []
        trunks: dict[object, list[Member]] = {}
        for name, spec in features.items():
            if isinstance(spec, SpipsSpec):
                trunks.setdefault(spec.recipe.trunk, []).append(SpipsMember(name, spec, precision))
            else:
                trunks.setdefault(spec.trunk, []).append(RecipeMember(name, spec, precision))
        for members in trunks.values():
            try:
                requests = [member.request for member in members]
                comparator = FeatureComparator(requests, precision, tile_batch=tile_batch)
            except WeightsUnavailableError as error:
                self.skipped += [Skipped(name, str(error)) for member in members for name in member.names]
                continue
            self._groups.append((comparator, members))
        self._members = [member for _, members in self._groups for member in members]
        names = (name for member in self._members for name in member.names)
        self.names = (*names, *(metric.name for metric in self.baselines))
        for name in self.names:
            if self.names.count(name) > 1:
                raise ValueError(f"two metrics are called {name!r}")
        #: The metrics in the order that they were given in, where that is known.
        self.order = self.names

    @property
    def qualities(self) -> tuple[str, ...]:
        """The metrics of which more is better."""
        return tuple(metric.name for metric in self.baselines if metric.higher_is_better)

    @property
    def identities(self) -> dict[str, str]:
        """What the numbers of each metric depend on."""
        features = {name: identity for member in self._members for name, identity in member.identities.items()}
        return {**features, **{metric.name: metric.identity for metric in self.baselines}}

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

    def metrics(self) -> list[Metric]:
        """Each metric alone."""
        return [*(metric for member in self._members for metric in member.metrics()), *self.baselines]

    def comparator(self, name: str) -> FeatureComparator | None:
        """The comparator of a metric's recipe alone, which can draw a map; ``None`` for SPIPS and baselines."""
        return next((member.comparator() for member in self._members if name in member.names), None)

    @torch.no_grad()
    def score(
        self,
        preds: Tensor,
        target: Tensor,
        cache: ReferenceCache | None = None,
        ids: Sequence[Hashable] | None = None,
        taps: bool = True,
    ) -> dict[str, Tensor]:
        """Score pairs of one size, ``(N, 3, H, W)`` float32 in [0, 1], and their taps if they are asked for.

        The cache keeps features of references, which the ids name, from call to call.

        Returns:
            ``(N,)`` by column; NaN of a baseline that cannot take images of this size.
        """
        references = None if cache is None else References(cache, None if ids is None else tuple(ids))
        columns: dict[str, Tensor] = {}
        for comparator, members in self._groups:
            for member, measured in zip(members, comparator(preds, target, references=references), strict=True):
                columns |= member.scores(measured, taps)
        for metric in self.baselines:
            small = min(preds.shape[2:]) < metric.minimum_side
            columns[metric.name] = preds.new_full((len(preds),), torch.nan) if small else metric.score(preds, target)
        return columns


class RecipeMember:
    """The distances of a recipe: each is a metric, called ``name/distance`` where there are several."""

    def __init__(self, name: str, recipe: Recipe, precision: Precision) -> None:
        self.request, self._precision = recipe, precision
        several = len(recipe.results) > 1
        self._names = {distance: f"{name}/{distance}" if several else name for distance in recipe.results}
        self.names = tuple(self._names.values())

    @property
    def identities(self) -> dict[str, str]:
        """What the numbers of each metric depend on: the recipe's digest, the distance and the precision."""
        return {name: f"{self.request.digest} {distance} {self._precision}" for distance, name in self._names.items()}

    def taps(self, comparator: FeatureComparator, position: int) -> dict[str, tuple[str, ...]]:
        """Taps of each metric that joins several, shallow to deep. The comparator has the recipe at ``position``."""
        labels = comparator.labels(position)
        return {name: labels[distance] for distance, name in self._names.items() if len(labels[distance]) > 1}

    def scores(self, measured: Distances, taps: bool) -> dict[str, Tensor]:
        """``(N,)`` by column: each distance, and its taps where they are asked for."""
        columns, joined = {}, measured.scores()
        for distance, name in self._names.items():
            columns[name] = joined[distance]
            labels = measured.labels[distance]
            if taps and len(labels) > 1:
                per_tap = measured.per_tap[distance].unbind(1)
                columns |= dict(zip((tap_column(name, tap) for tap in labels), per_tap, strict=True))
        return columns

    def metrics(self) -> list[Metric]:
        """Each distance alone."""
        comparator = self.comparator()

        def score(preds: Tensor, target: Tensor, distance: str) -> Tensor:
            scores: dict[str, Tensor] = comparator(preds, target, validate=False)[0].scores()
            return scores[distance]

        return [
            _feature_metric(name, partial(score, distance=distance), self.identities[name], comparator)
            for distance, name in self._names.items()
        ]

    def comparator(self) -> FeatureComparator:
        """A comparator of the recipe alone."""
        return FeatureComparator(self.request, self._precision)


class SpipsMember:
    """SPIPS, which has no taps of its own to show and no map."""

    def __init__(self, name: str, spec: SpipsSpec, precision: Precision) -> None:
        self.names = (name,)
        self._spec, self._precision = spec, precision

    @cached_property
    def scorer(self) -> SpipsScorer:
        """The network and the head, loaded when they are first used.

        Raises:
            ValueError: for a recipe, taps or a head that do not fit, naming the metric.
            WeightsUnavailableError: if pretrained weights cannot be downloaded.
        """
        try:
            return self._spec.scorer(self._precision)
        except ValueError as error:
            raise ValueError(f"the metric {self.names[0]!r}: {error}") from None

    @property
    def request(self) -> Request:
        """The tap statistics that the head takes."""
        return self.scorer.recipe.statistics_request

    @property
    def identities(self) -> dict[str, str]:
        """The recipe's digest, the head's content and the precision."""
        return {self.names[0]: f"{self.scorer.identity} {self._precision}"}

    def taps(self, comparator: FeatureComparator, position: int) -> dict[str, tuple[str, ...]]:
        """None: what a head makes of a single tap is no score."""
        return {}

    def scores(self, measured: TapStatistics, taps: bool) -> dict[str, Tensor]:
        """``(N,)``: the score."""
        return {self.names[0]: self.scorer.score(measured)}

    def metrics(self) -> list[Metric]:
        """The metric alone."""
        (name,), scorer = self.names, self.scorer

        def score(preds: Tensor, target: Tensor) -> Tensor:
            return scorer.score(scorer.comparator(preds, target, validate=False)[0])

        return [_feature_metric(name, score, self.identities[name], scorer.comparator)]

    def comparator(self) -> None:
        """There is no map of a fused score."""


Member = RecipeMember | SpipsMember


def _feature_metric(name: str, score: Scorer, identity: str, comparator: FeatureComparator) -> Metric:
    size = comparator.backbone.network.parameters / 1e6
    return Metric(name, score, higher_is_better=False, differentiable=True, identity=identity, parameters=size)
