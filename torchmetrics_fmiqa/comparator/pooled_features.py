"""Pooled features: one vector an image, for distances between sets, from the same forward pass as all the rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from torchmetrics_fmiqa.arguments import as_bool
from torchmetrics_fmiqa.comparator.accumulator import TileWeights
from torchmetrics_fmiqa.comparator.distance_terms import raised
from torchmetrics_fmiqa.features.tiles import Portion, TilePlan
from torchmetrics_fmiqa.features.tokens import Tokens
from torchmetrics_fmiqa.recipes import Recipe

#: ``"mean"`` of the patch tokens, or the ``"cls"`` token.
Pool = Literal["mean", "cls"]


@dataclass(frozen=True)
class PooledRequest:
    """A request for the pooled features of a tap. It shares a forward pass with recipes and requests of the same trunk.

    Of the recipe count backbone, weights, input normalisation, resolution and clamping. Its distance, tap weights,
    choice of tokens and pooling of positions say nothing here: a feature belongs to one image, not to a pair.

    Args:
        recipe: what reads the features.
        tap: index or module name; ``None`` for the last of the recipe's taps.
        pool: ``"mean"`` of the patch tokens, or the ``"cls"`` token. A tap that gives one vector an image is taken as
            it is.
        unit: scale each image's vector to length 1, as CMMD does.

    Raises:
        ValueError: for another ``pool``, and for a recipe by the zsiqa protocol.
    """

    recipe: Recipe
    tap: int | str | None = None
    pool: Pool = "mean"
    unit: bool = False

    def __post_init__(self) -> None:
        if self.pool not in get_args(Pool):
            raise ValueError(f"`pool` must be one of {', '.join(get_args(Pool))}; got {self.pool!r}")
        as_bool(self.unit, "unit")
        if self.recipe.protocol != "fmiqa":
            raise ValueError(f"pooled features are read by the fmiqa protocol, got {self.recipe}")
        taps = self.recipe.taps
        last = -1 if isinstance(taps, str) else taps[-1]
        tap = last if self.tap is None else self.tap
        object.__setattr__(self, "recipe", self.recipe.replace(taps=[tap], tap_weights=None))
        object.__setattr__(self, "tap", tap)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What fixes the features, as plain values that are equal for equal features."""
        unused = {"distance": "l2", "tokens": "patch", "pooling": "mean", "combine": None}
        fields = self.recipe.replace(**unused).identity  # type: ignore[arg-type]
        return {**{name: value for name, value in fields.items() if name not in unused}, **self._own}

    @property
    def _own(self) -> dict[str, Any]:
        return {"pool": self.pool, "unit": self.unit}

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that are equal for equal features."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:12]

    def replace(self, **overrides: Any) -> PooledRequest:
        """A copy with other fields of the recipe."""
        return replace(self, recipe=self.recipe.replace(**overrides))


@dataclass(frozen=True)
class PooledFeatures:
    """The pooled features of a batch of pairs.

    Args:
        preds: ``(N, C)``.
        target: ``(N, C)``.
    """

    preds: Tensor
    target: Tensor

    def joined(self, others: Sequence[PooledFeatures], order: Sequence[int]) -> PooledFeatures:
        """These images and those of others, in another order."""
        parts, places = (self, *others), list(order)
        return PooledFeatures(
            torch.cat([part.preds for part in parts])[places], torch.cat([part.target for part in parts])[places]
        )


@dataclass(frozen=True)
class PooledPlan:
    """What a request needs of a forward pass.

    Args:
        index: of the tap.
        name: of the tap, for messages.
        pool: as in :class:`PooledRequest`.
        unit: likewise.
    """

    index: int
    name: str
    pool: Pool
    unit: bool

    def of_tiles(self, tokens: Tokens) -> Tensor:
        """The vector of each tile, ``(n, C)``, in at least float32.

        Raises:
            ValueError: if there is no CLS token.
        """
        tokens = raised(tokens)
        if tokens.grid == (0, 0):
            return tokens.values[:, 0]
        if self.pool == "mean":
            return tokens.select("patch").mean(1)
        if tokens.prefix == 0:
            raise ValueError(f"`pool='cls'` but the tap {self.name!r} has no CLS token: take 'mean'")
        return tokens.values[:, 0]

    def of_images(self, sums: Tensor) -> Tensor:
        """The vector of each image ``(N, C)``, from its sum over tiles."""
        return torch.nn.functional.normalize(sums, dim=1) if self.unit else sums


class PooledSums:
    """The vectors of images, portion by portion of their tiles: a tile counts by the pixels that it stands for.

    Args:
        plan: the tiles.
        images: ``(N, 3, H, W)`` at the working size, for their number, dtype and device.
        plans: what is pooled.
    """

    def __init__(self, plan: TilePlan, images: Tensor, plans: Sequence[PooledPlan]) -> None:
        self.plan, self.images, self.plans = plan, images, plans
        self._sums: dict[PooledPlan, Tensor] = {}
        self._grids: dict[tuple[int, int], Tensor] = {}

    def add(self, portion: Portion, taps: Sequence[Tokens]) -> None:
        """Add a portion of tiles.

        Args:
            portion: its pairs (image, tile).
            taps: tokens at each tap of the network.
        """
        for pooled in self.plans:
            weigh = TileWeights(self.plan, portion, None, self.images, self._grids)
            vectors = weigh.to_images(weigh.tiles(pooled.of_tiles(taps[pooled.index]).detach().to(self.images.dtype)))
            self._sums[pooled] = vectors + self._sums[pooled] if pooled in self._sums else vectors

    def result(self, pooled: PooledPlan) -> Tensor:
        """The vectors of all images, ``(N, C)``."""
        return pooled.of_images(self._sums[pooled])
