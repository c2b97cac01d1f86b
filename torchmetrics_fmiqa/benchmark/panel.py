"""The metrics of a benchmark, side by side: those of one backbone share its forward pass."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.asked_spips import AskedSpips
from torchmetrics_fmiqa.benchmark.columns import tap_column
from torchmetrics_fmiqa.benchmark.measures import Measure, Skipped
from torchmetrics_fmiqa.benchmark.members import Member, make_member
from torchmetrics_fmiqa.comparator import FeatureComparator, Precision
from torchmetrics_fmiqa.features.cache import ReferenceCache, References
from torchmetrics_fmiqa.features.weights import WeightsUnavailableError
from torchmetrics_fmiqa.recipes import Recipe


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
