"""From what was measured at positions and tiles to one number an image."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.tiles import EveryImage, TilePlan, masked_weights, position_weights
from torchmetrics_fmiqa.features.tokens import Tokens


class Weigher:
    """What each measured value counts for in its image's score, for one portion of tiles.

    Args:
        plan: the tiles.
        picks: pairs (image, tile) of the portion.
        mask: ``(N, 1, H, W)`` weights of pixels, or ``None``.
        images: ``(N, 3, H, W)``, for their number, dtype and device.
        known: weights by grid, kept from one portion to the next.
    """

    def __init__(
        self,
        plan: TilePlan,
        picks: list[tuple[int, int]],
        mask: Tensor | None,
        images: Tensor,
        known: dict[tuple[int, int], Tensor],
    ) -> None:
        self.plan, self.picks, self.mask, self.images, self.known = plan, picks, mask, images, known
        self.every = isinstance(picks, EveryImage)
        self.plain = mask is None and not self.every and plan.whole

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
        if self.every or (len(self.plan.corners) == 1 and len(self.picks) == count):
            return values
        index = torch.tensor([image for image, _ in self.picks], device=values.device)
        return values.new_zeros(count, *values.shape[1:]).index_add(0, index, values)

    def patches(self, grid: tuple[int, int]) -> Tensor:
        """What each patch of each tile counts for, ``(n, h * w)``; over the tiles of an image they sum to 1."""
        if self.mask is not None:
            return masked_weights(self.plan, grid, self.picks, self.mask)
        if self.every:
            return position_weights(self.plan, grid, self.images)
        if grid not in self.known:
            self.known[grid] = position_weights(self.plan, grid, self.images)
        return self.known[grid][[tile for _, tile in self.picks]]
