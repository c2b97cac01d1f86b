"""The terms that a comparator has to measure, and what it hands back: distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator.channel_weights import TapChannelWeights, bind_channel_weights, check_same_taps
from torchmetrics_fmiqa.distances import DISTRIBUTION, DIVERGENCES, MAPS, POINTWISE, Distance, alternatives_to, zsiqa
from torchmetrics_fmiqa.distances.joint import Joint
from torchmetrics_fmiqa.features.backbone import Backbone
from torchmetrics_fmiqa.features.network import Network
from torchmetrics_fmiqa.features.tokens import TokenChoice, Tokens
from torchmetrics_fmiqa.recipes import Recipe, distance_name
from torchmetrics_fmiqa.recipes.fields import Protocol

#: Label of the one value that a distance over all taps at once gives.
ALL_TAPS = "all_taps"

#: For each distance of a recipe, the labels of its columns and the places of the terms that fill them.
Columns = dict[str, tuple[tuple[str, ...], list[int]]]


@dataclass(frozen=True)
class Distances:
    """What a comparator measured for one recipe.

    Args:
        per_tap: for each distance ``(N, L)``, one column a tap; of a recipe that joins distances for the joint one.
        labels: for each distance the names of its columns: taps, in the recipe's order.
        weights: for each distance the weight of each column in the score.
        singles: for each distance that is joined ``(N, L)``, with the columns of the joint one.
    """

    per_tap: dict[str, Tensor]
    labels: dict[str, tuple[str, ...]]
    weights: dict[str, tuple[float, ...]]
    singles: dict[str, Tensor] = field(default_factory=dict)

    def joined(self, others: Sequence[Distances], order: Sequence[int]) -> Distances:
        """These images and those of others, in another order."""
        parts, places = (self, *others), list(order)

        def join(of: str) -> dict[str, Tensor]:
            return {name: torch.cat([getattr(one, of)[name] for one in parts])[places] for name in getattr(self, of)}

        return Distances(join("per_tap"), self.labels, self.weights, join("singles"))

    def scores(self) -> dict[str, Tensor]:
        """The score ``(N,)`` of each distance; higher is more different."""
        return {name: combine(values, self.weights[name]) for name, values in self.per_tap.items()}

    def by_tap(self) -> dict[str, Tensor]:
        """What each tap says ``(N,)``, by :func:`tap_columns`."""
        return tap_columns({**self.per_tap, **self.singles}, self.labels)


@dataclass(frozen=True)
class Scoring:
    """The terms that a recipe's distances need, and how their columns make its scores.

    Args:
        columns: for each distance the labels of its columns, and the places of the terms that fill them.
        weights: for each distance that is a score the weight of each column in it.
        joint: how the distances are joined into one score, ``None`` where each is one.
    """

    columns: Columns
    weights: dict[str, tuple[float, ...]]
    joint: Joint | None = None

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """For each distance that is a score the names of its columns."""
        labels = {name: labels for name, (labels, _) in self.columns.items()}
        return labels if self.joint is None else {self.joint.name: labels[self.joint.names[0]]}

    def result(self, sums: Sequence[Tensor]) -> Distances:
        """The distances, from each term's sums over the tiles of images, ``(N,)``.

        Distances are joined here, where each is one number for an image and a tap: whatever tiles, pieces or a mask
        made of it, the joint one follows.
        """
        per_tap = {
            name: torch.stack([sums[place] for place in places], 1) for name, (_, places) in self.columns.items()
        }
        if self.joint is None:
            return Distances(per_tap, self.labels, self.weights)
        joined = self.joint.score([per_tap[name] for name in self.joint.names])
        return Distances({self.joint.name: joined}, self.labels, self.weights, per_tap)


def column_name(distance: str, tap: str, several: bool) -> str:
    """Name of a tap's column in a result: with the distance in front where there are several."""
    return f"{distance}/{tap}" if several else tap


def tap_columns(columns: Mapping[str, Tensor], labels: Mapping[str, tuple[str, ...]]) -> dict[str, Tensor]:
    """Columns ``(..., L)`` one by one, by the name of their tap: with a distance in front where there are several.

    A distance that is not among the labels is joined with others: it has their taps, and its own name in front.

    >>> columns = {"l2+cosine": torch.ones(3, 1), "l2": torch.zeros(3, 1)}
    >>> list(tap_columns(columns, {"l2+cosine": ("stem",)}))
    ['stem', 'l2/stem']
    """
    joint = next(iter(labels.values()))
    return {
        column_name(name, label, len(labels) > 1 or name not in labels): values[..., place]
        for name, values in columns.items()
        for place, label in enumerate(labels.get(name, joint))
    }


def combine(values: Tensor, weights: Sequence[float]) -> Tensor:
    """Weigh columns ``(..., L)`` into scores ``(...)``; linear, so that sums can be combined as well as images."""
    # No matrix product: autocast would take it in half precision.
    return (values * torch.tensor(weights, dtype=values.dtype, device=values.device)).sum(-1)


@dataclass(frozen=True)
class DistanceTerm:
    """A distance to take at one tap, or over several, whoever of the recipes asks for it.

    Args:
        taps: indices of the taps.
        names: of the taps, for messages.
        distance: a name, or a callable.
        tokens: which tokens it compares; ``"summary"`` for what stands for the whole image.
        protocol: of the recipe.
        channel_weights: of the one tap, for a pointwise distance; ``None`` for equal ones.
    """

    taps: tuple[int, ...]
    names: tuple[str, ...]
    distance: str | Distance
    tokens: TokenChoice | Literal["summary"]
    protocol: Protocol
    channel_weights: TapChannelWeights | None = None

    def measure(self, preds: Sequence[Tokens], target: Sequence[Tokens]) -> Tensor:
        """The distance, ``(n, T)`` if it has a map, else ``(n,)``; of features in at least float32.

        Args:
            preds: tokens of the predictions at all taps of the network.
            target: likewise.

        Raises:
            ValueError: if a tap lacks the tokens that are asked for, or a callable gives something else than ``(n,)``.
        """
        preds_taps, target_taps = ([raised(side[tap]) for tap in self.taps] for side in (preds, target))
        if len(self.taps) == 1:
            self._check_tokens(preds_taps[0])
        if self.protocol == "zsiqa":
            name = str(self.distance)
            if name in zsiqa.STACKED:
                return zsiqa.STACKED[name](preds_taps, target_taps)
            return zsiqa.PER_TAP[name](preds_taps[0], target_taps[0])
        sides = preds_taps[0], target_taps[0]
        pair = [side.summary() if self.tokens == "summary" else side.select(self.tokens) for side in sides]
        if callable(self.distance):
            return _checked(self.distance(*pair), self.distance, len(sides[0].values))
        if self.channel_weights is not None:
            return POINTWISE[self.distance](*pair, self.channel_weights.like(pair[0]))
        return {**DISTRIBUTION, **MAPS}[self.distance](*pair)

    def _check_tokens(self, found: Tokens) -> None:
        name = self.names[0]
        if self.tokens == "prefix" and found.prefix == 0:
            raise ValueError(f"`tokens='prefix'` but the tap {name!r} has no prefix tokens: take 'patch' or 'all'")
        if self.tokens == "patch" and found.grid == (0, 0):
            raise ValueError(f"`tokens='patch'` but the tap {name!r} is a pooled embedding: take 'all'")

    @property
    def has_map(self) -> bool:
        """Whether the distance says what each position adds to it."""
        return isinstance(self.distance, str) and self.distance in MAPS

    @property
    def is_divergence(self) -> bool:
        """Whether each position's term hangs on all the others, by a softmax over them."""
        return isinstance(self.distance, str) and self.distance in DIVERGENCES


def differing(preds: Tensor, target: Tensor) -> Tensor:
    """Which tiles ``(n, 3, h, w)`` of two sides differ at all, ``(n,)``."""
    return (preds != target).flatten(1).any(1)


def zero_where_equal(values: Tensor, differ: Tensor) -> Tensor:
    """Distances ``(n, ...)`` with those of equal tiles 0 to the last digit.

    Some processors round a row of a matrix by its place in the batch.
    """
    return torch.where(differ.view(-1, *[1] * (values.ndim - 1)), values, 0.0)


def raised(tokens: Tokens) -> Tokens:
    """Tokens in at least float32."""
    values = tokens.values
    return tokens._replace(values=values.float()) if values.dtype in (torch.float16, torch.bfloat16) else tokens


def _checked(value: Any, distance: Distance, count: int) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != (count,):
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"`distance` {distance_name(distance)} must return a tensor ({count},), got {shape}")
    return value


def plan_terms(recipe: Recipe, names: tuple[str, ...], backbone: Backbone, terms: list[DistanceTerm]) -> Columns:
    """Say which terms fill the columns of a recipe, adding to ``terms`` those that nobody has asked for yet.

    Args:
        recipe: what to measure.
        names: the recipe's taps, as the network calls them.
        backbone: the network with the taps of all recipes.
        terms: what is measured already.

    Raises:
        ValueError: if only prefix tokens are asked for, and the network has none; for channel weights that do not fit.
    """
    columns: Columns = {}
    channel_weights = bind_channel_weights(recipe, names, backbone)
    if recipe.tokens == "prefix" and backbone.network.patch is not None and backbone.network.prefix == 0:
        raise ValueError(f"`tokens='prefix'` but {backbone.network.name} has no prefix tokens: take 'patch'")
    for distance in recipe.distances:
        stacked = recipe.protocol == "zsiqa" and distance in zsiqa.STACKED
        together = [names] if stacked else [(name,) for name in names]
        places = [
            place_of(
                DistanceTerm(
                    indices_of(some, backbone),
                    some,
                    distance,
                    recipe.tokens,
                    recipe.protocol,
                    channel_weights.get(some[0]),
                ),
                terms,
            )
            for some in together
        ]
        columns[distance_name(distance)] = ((ALL_TAPS,) if stacked else names, places)
    return columns


def indices_of(names: Sequence[str], backbone: Backbone) -> tuple[int, ...]:
    """Where taps stand among those of a network."""
    return tuple(backbone.taps.index(name) for name in names)


def place_of(term: DistanceTerm, terms: list[DistanceTerm]) -> int:
    """Where a term stands among others, added to them if it is new."""
    if term not in terms:
        terms.append(term)
    return terms.index(term)


def bind_weights(recipe: Recipe, network: Network, columns: Columns) -> dict[str, tuple[float, ...]]:
    """For each distance of a recipe, the weight of each column in the score; they bind by name, not by position.

    Raises:
        ValueError: if the recipe's weights name other taps than it reads.
    """
    given: dict[str, float] | None = None
    if recipe.tap_weights is not None:
        keys = network.resolve(list(recipe.tap_weights))
        given = dict(zip(keys, recipe.tap_weights.values(), strict=True))
    weights = {}
    for name, (labels, _) in columns.items():
        if given is not None:
            check_same_taps("tap_weights", given, labels)
        own = [1.0 if given is None else given[label] for label in labels]
        total = sum(own) if (recipe.protocol, recipe.tap_reduction) == ("fmiqa", "mean") else 1.0
        weights[name] = tuple(weight / total for weight in own)
    joint = recipe.joint
    return weights if joint is None else {joint.name: weights[joint.names[0]]}


def check_maskable(terms: Sequence[DistanceTerm]) -> None:
    """Raise a ValueError that names the first distance whose positions a mask cannot weigh, if there is one."""
    for term in terms:
        if not term.has_map or term.protocol != "fmiqa":
            raise ValueError(
                f"`mask` weighs positions, which {distance_name(term.distance)!r} does not keep: "
                f"{alternatives_to(term.distance, term.protocol)}"
            )
