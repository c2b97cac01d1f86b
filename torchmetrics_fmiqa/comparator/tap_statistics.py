"""Statistics of a pair beside its score: how the distances of each tap are spread, and what the reference shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator.accumulator import Accumulator
from torchmetrics_fmiqa.comparator.channel_weights import bind_channel_weights
from torchmetrics_fmiqa.comparator.distance_terms import DistanceTerm, indices_of, place_of
from torchmetrics_fmiqa.distances import MAPS, POINTWISE
from torchmetrics_fmiqa.distances.joint import Joint
from torchmetrics_fmiqa.features.backbone import Backbone
from torchmetrics_fmiqa.recipes import Recipe, distance_name

#: ``(preds, target, mask)`` at the working size, in [0, 1], to ``(N, K)`` numbers about them.
OfImages = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class TapStatisticsRequest:
    """A request for the statistics of each tap. It shares a forward pass with recipes and requests of the same trunk.

    Args:
        recipe: what to measure with; one pointwise distance such as cosine, or one that joins some of them with
            divergences, all taps in patches. Its tap weights and its choice of tokens say nothing here.
        of_images: what to take of the images themselves, as the network sees them but for tiles and normalisation.

    Raises:
        ValueError: for a recipe with several distances that are not joined, or one of another kind.
    """

    recipe: Recipe
    of_images: OfImages | None = None

    def __post_init__(self) -> None:
        if self.recipe.protocol != "fmiqa" or len(self.recipe.results) != 1:
            raise ValueError(f"tap statistics take one `distance` by the fmiqa protocol, got {self.recipe}")
        for distance in self.recipe.distances:
            if not isinstance(distance, str) or distance not in MAPS:
                raise ValueError(
                    f"tap statistics need positions, which {distance_name(distance)!r} does not keep: "
                    f"take distance={' or '.join(map(repr, POINTWISE))}"
                )
        if not any(distance in POINTWISE for distance in self.recipe.distances):
            raise ValueError(
                "tap statistics need a distance of two tokens, since they compare a token of the whole scene too; "
                f"{self.recipe.results[0]!r} compares many: take distance={' or '.join(map(repr, POINTWISE))}, or join "
                "one of them to it"
            )

    @property
    def digest(self) -> str:
        """That of the recipe."""
        return self.recipe.digest

    def replace(self, **overrides: Any) -> TapStatisticsRequest:
        """A copy with other fields of the recipe."""
        return replace(self, recipe=self.recipe.replace(**overrides))


@dataclass(frozen=True)
class TapStatistics:
    """The statistics of each tap, for a batch of pairs.

    Args:
        spread: ``(N, L, 3)`` each tap's distances of patches, pooled:
            :data:`~torchmetrics_fmiqa.comparator.pooling.POOLED`.
        summary: ``(N, L)`` distance of the token of the whole scene: the mean prefix token of each tile (CLS,
            registers), or the mean patch token of networks without. Divergences have no part in it: one token has no
            distribution.
        reference: ``(N, C)`` that token of the reference at the last tap, without a gradient.
        of_images: ``(N, K)``, or ``(N, 0)``.
        labels: names of the taps.
    """

    spread: Tensor
    summary: Tensor
    reference: Tensor
    of_images: Tensor
    labels: tuple[str, ...]

    def rows(self, places: Sequence[int] | Tensor) -> TapStatistics:
        """The images at these places."""
        index = torch.as_tensor(places, dtype=torch.long, device=self.spread.device)
        parts = (self.spread, self.summary, self.reference, self.of_images)
        return TapStatistics(*(part[index] for part in parts), self.labels)  # type: ignore[arg-type, call-arg]

    def flat(self) -> Tensor:
        """All numbers of an image side by side, ``(N, 4 L + K + C)``; see :meth:`from_flat`."""
        return torch.cat([self.spread.flatten(1), self.summary, self.of_images, self.reference], 1)

    @classmethod
    def from_flat(cls, flat: Tensor, labels: tuple[str, ...], of_images: int) -> TapStatistics:
        """What :meth:`flat` was made of.

        Args:
            flat: ``(N, 4 L + K + C)``.
            labels: names of the ``L`` taps.
            of_images: how many numbers of the images there are, ``K``.

        >>> taps = ("stem", "head")
        >>> statistics = TapStatistics(torch.rand(5, 2, 3), torch.rand(5, 2), torch.rand(5, 8), torch.rand(5, 9), taps)
        >>> again = TapStatistics.from_flat(statistics.flat(), taps, of_images=9)
        >>> bool((again.spread == statistics.spread).all()), again.reference.shape
        (True, torch.Size([5, 8]))
        """
        taps = len(labels)
        sizes = (3 * taps, taps, of_images, flat.shape[1] - 4 * taps - of_images)
        spread, summary, own, reference = flat.split(sizes, 1)
        return cls(spread.unflatten(1, (taps, 3)), summary, reference, own, labels)

    def joined(self, others: Sequence[TapStatistics], order: Sequence[int]) -> TapStatistics:
        """These images and those of others, in another order."""
        parts, places = (self, *others), list(order)

        def join(name: str) -> Tensor:
            return torch.cat([getattr(part, name) for part in parts])[places]

        return TapStatistics(join("spread"), join("summary"), join("reference"), join("of_images"), self.labels)


@dataclass(frozen=True)
class TapStatisticsPlan:
    """The terms that tap statistics need.

    Args:
        labels: names of the taps.
        positions: places of the terms of patches, for each tap one a distance.
        summaries: places of the terms of the whole scene, for each tap one a distance of two tokens.
        joint: how distances are joined, ``None`` where there is one.
        last: index of the last tap.
        of_images: what to take of the images.
    """

    labels: tuple[str, ...]
    positions: tuple[tuple[int, ...], ...]
    summaries: tuple[tuple[int, ...], ...]
    joint: Joint | None
    last: int
    of_images: OfImages | None

    def result(self, measured: Accumulator, preds: Tensor, target: Tensor, mask: Tensor | None) -> TapStatistics:
        """What was measured, of images ``(N, 3, H, W)`` at the working size."""
        own = preds.new_zeros(preds.shape[0], 0) if self.of_images is None else self.of_images(preds, target, mask)
        return TapStatistics(
            torch.stack([measured.pooled(places, self.joint) for places in self.positions], 1),
            torch.stack([self._summary([measured.sums[place] for place in places]) for places in self.summaries], 1),
            measured.reference(self.last),
            own,
            self.labels,
        )

    def _summary(self, distances: list[Tensor]) -> Tensor:
        return distances[0] if self.joint is None else self.joint.only(POINTWISE).score(distances)


def plan_tap_statistics(
    request: TapStatisticsRequest, names: tuple[str, ...], backbone: Backbone, terms: list[DistanceTerm]
) -> TapStatisticsPlan:
    """Plan the terms that a request needs, and add to ``terms`` those that no other request has added.

    Args:
        request: the request.
        names: its taps, as the network calls them.
        backbone: the network with the taps of all requests.
        terms: what is measured already.
    """
    indices, distances = indices_of(names, backbone), request.recipe.distances
    weights = bind_channel_weights(request.recipe, names, backbone)

    def places(index: int, name: str, tokens: Literal["patch", "summary"]) -> tuple[int, ...]:
        return tuple(
            place_of(DistanceTerm((index,), (name,), distance, tokens, "fmiqa", weights.get(name)), terms)
            for distance in distances
            if tokens == "patch" or distance in POINTWISE
        )

    taps = tuple(zip(indices, names, strict=True))
    return TapStatisticsPlan(
        names,
        tuple(places(*tap, "patch") for tap in taps),
        tuple(places(*tap, "summary") for tap in taps),
        request.recipe.joint,
        indices[-1],
        request.of_images,
    )
