"""What shares a forward pass in a panel: the distances of a recipe, and SPIPS."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

from torch import Tensor

from torchmetrics_fmiqa.benchmark.asked_spips import AskedSpips
from torchmetrics_fmiqa.benchmark.columns import tap_column
from torchmetrics_fmiqa.benchmark.measures import Measure, Scorer
from torchmetrics_fmiqa.comparator import FeatureComparator, Precision, Request
from torchmetrics_fmiqa.fusion.scorer import SpipsScorer
from torchmetrics_fmiqa.jobs import Distances
from torchmetrics_fmiqa.profiles import Profiled
from torchmetrics_fmiqa.recipes import Recipe


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
