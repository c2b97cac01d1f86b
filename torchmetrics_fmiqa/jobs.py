"""What a comparator has to measure (jobs), and what it hands back (distances)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.distances import DISTRIBUTION, POINTWISE, Distance, zsiqa
from torchmetrics_fmiqa.features.tokens import TokenChoice, Tokens
from torchmetrics_fmiqa.recipes import distance_name

#: Label of the one value that a distance over all taps at once gives.
ALL_TAPS = "all_taps"


@dataclass(frozen=True)
class Distances:
    """What a comparator measured for one recipe.

    Args:
        per_tap: for each distance ``(N, L)``, one column a tap.
        labels: for each distance the names of its columns: taps, in the recipe's order.
        weights: for each distance the weight of each column in the score.
    """

    per_tap: dict[str, Tensor]
    labels: dict[str, tuple[str, ...]]
    weights: dict[str, tuple[float, ...]]

    def scores(self) -> dict[str, Tensor]:
        """The score ``(N,)`` of each distance; higher is more different."""
        return {name: combine(values, self.weights[name]) for name, values in self.per_tap.items()}


def column_name(distance: str, tap: str, several: bool) -> str:
    """Name of a tap's column in a result: with the distance in front where there are several."""
    return f"{distance}/{tap}" if several else tap


def combine(values: Tensor, weights: Sequence[float]) -> Tensor:
    """Weigh columns ``(..., L)`` into scores ``(...)``; linear, so that sums can be combined as well as images."""
    # No matrix product: autocast would take it in half precision.
    return (values * torch.tensor(weights, dtype=values.dtype, device=values.device)).sum(-1)


@dataclass(frozen=True)
class Job:
    """A distance to take at one tap (an index), or over several (a tuple), whoever of the recipes asks for it."""

    taps: tuple[int, ...]
    distance: str | Distance
    tokens: TokenChoice

    def measure(self, preds: Sequence[Tokens], target: Sequence[Tokens], protocol: str) -> Tensor:
        """The distance, ``(n, T)`` if it is pointwise, else ``(n,)``; of features in at least float32."""
        one, other = [[_raised(tokens) for tokens in side] for side in (preds, target)]
        if protocol == "zsiqa":
            name = str(self.distance)
            return zsiqa.PER_TAP[name](one[0], other[0]) if name in zsiqa.PER_TAP else zsiqa.STACKED[name](one, other)
        pair = (one[0].select(self.tokens), other[0].select(self.tokens))
        if callable(self.distance):
            return _checked(self.distance(*pair), self.distance, one[0].values.shape[0])
        return {**POINTWISE, **DISTRIBUTION}[self.distance](*pair)

    @property
    def pointwise(self) -> bool:
        """Whether the distance compares position by position."""
        return isinstance(self.distance, str) and self.distance in POINTWISE


def _raised(tokens: Tokens) -> Tokens:
    values = tokens.values
    return tokens._replace(values=values.float()) if values.dtype in (torch.float16, torch.bfloat16) else tokens


def _checked(value: Any, distance: Distance, count: int) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != (count,):
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"`distance` {distance_name(distance)} must return a tensor ({count},), got {shape}")
    return value
