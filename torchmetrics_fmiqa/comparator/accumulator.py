"""What was measured of a batch so far, portion by portion of its tiles."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator.distance_terms import DistanceTerm, raised
from torchmetrics_fmiqa.comparator.pooling import pool
from torchmetrics_fmiqa.distances.joint import Joint
from torchmetrics_fmiqa.features.tiles import OneTilePerImage, Portion, TilePlan, masked_weights, position_weights
from torchmetrics_fmiqa.features.tokens import Tokens


class Accumulator:
    """Sums of distances over the tiles of each image; and where they are asked for, the values of all patches.

    Args:
        plan: the tiles.
        images: ``(N, 3, H, W)`` at the working size, for their number, dtype and device.
        mask: ``(N, 1, H, W)`` weights of pixels at the working size, or ``None``.
        terms: what is measured.
        patches: places of the terms whose values of patches are kept.
        references: indices of the taps whose mean reference token is kept.
    """

    def __init__(
        self,
        plan: TilePlan,
        images: Tensor,
        mask: Tensor | None,
        terms: Sequence[DistanceTerm],
        patches: Collection[int] = (),
        references: Collection[int] = (),
    ) -> None:
        self.plan, self.images, self.mask, self.terms = plan, images, mask, terms
        count = images.shape[0]
        self.sums = [images.new_zeros(count) for _ in terms]
        self._grids: dict[tuple[int, int], Tensor] = {}
        self._values: dict[int, list[Tensor]] = {place: [] for place in patches}
        self._weights: dict[int, list[Tensor]] = {place: [] for place in patches}
        self._read = tuple(references)
        self._references: dict[int, Tensor] = {}

    def add(self, portion: Portion, values: Sequence[Tensor], target: Sequence[Tokens]) -> None:
        """Add a portion of tiles.

        Args:
            portion: its pairs (image, tile).
            values: what each term measured, ``(n, T)`` or ``(n,)``.
            target: the tokens of the targets at each tap, or what stands for them.
        """
        weigh = TileWeights(self.plan, portion, self.mask, self.images, self._grids)
        for place, (term, value) in enumerate(zip(self.terms, values, strict=True)):
            tokens = target[term.taps[0]]
            if place in self._values:
                self._values[place].append(value.to(self.images.dtype))
                if not weigh.plain:
                    self._weights[place].append(weigh.patches(tokens.grid).expand(value.shape[0], -1))
            value = weigh.positions(value, tokens, term.tokens) if value.ndim == 2 else weigh.tiles(value)
            self.sums[place] = self.sums[place] + weigh.to_images(value.to(self.images.dtype))
        for index in self._read:
            summary = raised(target[index]).summary()[:, 0].detach().to(self.images.dtype)
            before, own = self._references.get(index), weigh.to_images(weigh.tiles(summary))
            self._references[index] = own if before is None else before + own

    def pooled(self, places: Sequence[int], joint: Joint | None = None) -> Tensor:
        """Mean, spread and 95th percentile of a distance over the patches of each image, ``(N, 3)``.

        Args:
            places: of its term, or of those that are joined.
            joint: how they are joined, into a map by :meth:`~torchmetrics_fmiqa.distances.joint.Joint.factors`.
        """
        values, weights = [self._of_images(self._values[place]) for place in places], self._weights[places[0]]
        if joint is not None:
            factors = joint.factors([self.sums[place] for place in places])
            values = [factor[:, None] * value for factor, value in zip(factors, values, strict=True)]
        return pool(sum(values[1:], values[0]), self._of_images(weights) if weights else None)

    def reference(self, index: int) -> Tensor:
        """The token that stands for the whole reference at a tap, ``(N, C)``."""
        return self._references[index]

    def _of_images(self, parts: Sequence[Tensor]) -> Tensor:
        """Values ``(n, T)`` of tiles, portion by portion, side by side for each image, ``(N, tiles * T)``."""
        # Portions run over the images of a tile, then over tiles: see `preprocess.portions`.
        count, tiles = self.images.shape[0], len(self.plan.corners)
        return torch.cat(list(parts)).view(tiles, count, -1).transpose(0, 1).reshape(count, -1)


class TileWeights:
    """What each measured value counts for in its image's score, for one portion of tiles.

    Args:
        plan: the tiles.
        portion: its pairs (image, tile).
        mask: ``(N, 1, H, W)`` weights of pixels, or ``None``.
        images: ``(N, 3, H, W)``, for their number, dtype and device.
        known: weights by grid, kept from one portion to the next.
    """

    def __init__(
        self,
        plan: TilePlan,
        portion: Portion,
        mask: Tensor | None,
        images: Tensor,
        known: dict[tuple[int, int], Tensor],
    ) -> None:
        self.plan, self.portion, self.mask, self.images, self.known = plan, portion, mask, images, known
        self.one_tile_each = isinstance(portion, OneTilePerImage)
        self.plain = mask is None and not self.one_tile_each and plan.is_whole_image

    def positions(self, values: Tensor, tokens: Tokens, choice: str) -> Tensor:
        """Weigh values ``(n, T)`` of the chosen tokens into ``(n,)``."""
        if self.plain:
            return values.mean(1)
        if tokens.grid == (0, 0) or choice in ("prefix", "summary"):
            return values.mean(1) * self.patches((1, 1)).sum(1)
        weights = self.patches(tokens.grid)
        if choice == "all" and tokens.prefix:
            # A prefix token counts as much as an average patch of its tile.
            prefix = weights.mean(1, keepdim=True).expand(-1, tokens.prefix)
            weights = torch.cat([prefix, weights], 1) / (1 + tokens.prefix / weights.shape[1])
        return (values * weights.to(values.dtype)).sum(1)

    def tiles(self, values: Tensor) -> Tensor:
        """Weigh values ``(n, ...)`` of whole tiles."""
        if self.plain:
            return values
        return values * self.patches((1, 1)).sum(1).to(values.dtype).view(-1, *[1] * (values.ndim - 1))

    def to_images(self, values: Tensor) -> Tensor:
        """Sum ``(n, ...)`` over the tiles of each image, ``(N, ...)``."""
        count = self.images.shape[0]
        if self.one_tile_each or (len(self.plan.corners) == 1 and len(self.portion) == count):
            return values
        index = torch.tensor([image for image, _ in self.portion], device=values.device)
        return values.new_zeros(count, *values.shape[1:]).index_add(0, index, values)

    def patches(self, grid: tuple[int, int]) -> Tensor:
        """What each patch of each tile counts for, ``(n, h * w)``; over the tiles of an image they sum to 1."""
        if self.mask is not None:
            return masked_weights(self.plan, grid, self.portion, self.mask)
        if self.one_tile_each:
            return position_weights(self.plan, grid, self.images)
        if grid not in self.known:
            self.known[grid] = position_weights(self.plan, grid, self.images)
        return self.known[grid][[tile for _, tile in self.portion]]
