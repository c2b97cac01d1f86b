"""From images as the user has them to portions of tiles: unit, border, working size, plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.backbone import Backbone
from torchmetrics_fmiqa.features.block_means import block_means
from torchmetrics_fmiqa.features.image_checks import (
    DataRange,
    check_images,
    check_mask_values,
    check_values,
    crop,
    to_unit,
)
from torchmetrics_fmiqa.features.image_pairs import unit_pair
from torchmetrics_fmiqa.features.tiles import OneTilePerImage, Portion, TilePlan, plan_tiles, resize, shrink_mask
from torchmetrics_fmiqa.misuse import WarnOnce
from torchmetrics_fmiqa.recipes import Recipe

#: The images under test, or the references, which must lie in their range.
Side = Literal["preds", "target"]


class Preprocess:
    """Brings images to the unit and the size that a recipe measures in, checking them on the way, and plans tiles.

    Args:
        recipe: any of the recipes that share a forward pass.
        backbone: what the tiles are for.

    Raises:
        ValueError: if the network cannot take the recipe's tile.
    """

    def __init__(self, recipe: Recipe, backbone: Backbone) -> None:
        network = backbone.network
        self.recipe, self.backbone, self.network = recipe, backbone, network
        self._warn = WarnOnce()
        self.tile = recipe.tile or network.tile
        self.resolution = recipe.resolution
        if self.resolution == "auto":
            self.resolution = "tile" if network.transformer else "native"
        if recipe.protocol == "fmiqa" and self.resolution == "tile" and self.tile % network.multiple:
            raise ValueError(f"`tile` must be a multiple of {network.multiple} for {network.name}, got {self.tile}")

    def pair(
        self, preds: Tensor, target: Tensor, dtype: torch.dtype, data_range: DataRange, border: int, validate: bool
    ) -> tuple[Tensor, Tensor]:
        """Bring both sides ``(N, 3, H, W)`` to [0, 1] at the working size; no gradient reaches the targets.

        Raises:
            ValueError: for images that do not fit, naming the value and the fix.
        """
        preds, target = unit_pair(
            preds, target, dtype, data_range, border, validate, self._warn, self.recipe.clamp_target
        )
        if self.recipe.clamp_preds:
            preds = preds.clamp(0, 1)
        size = self._working_size(preds)
        return resize(preds, size), resize(target, size)

    def single(
        self, images: Tensor, side: Side, dtype: torch.dtype, data_range: DataRange, border: int, validate: bool
    ) -> Tensor:
        """Bring one side ``(N, 3, H, W)`` alone to [0, 1] at the working size.

        Raises:
            ValueError: for images that do not fit, naming the value and the fix.
        """
        check_images(images, side)
        floating = images.is_floating_point()
        images = to_unit(crop(images.detach(), border), data_range, dtype, side)
        if validate:
            fitting = images.nan_to_num().clamp(0, 1)  # of the other side nothing is known, and nothing said
            pair = (images, fitting) if side == "preds" else (fitting, images)
            check_values(*pair, data_range, self._warn, (floating, floating), self.recipe.clamp_target)
        if self.recipe.clamp_preds if side == "preds" else self.recipe.clamp_target:
            images = images.clamp(0, 1)
        return resize(images, self._working_size(images))

    def mask(self, mask: Tensor, dtype: torch.dtype, border: int, validate: bool) -> Tensor:
        """Bring weights of pixels ``(N, 1, H, W)`` to the working size.

        Raises:
            ValueError: for weights that are negative, not finite, or all zero in an image.
        """
        mask = crop(mask, border).to(dtype)
        if validate and not torch.compiler.is_compiling():
            check_mask_values(mask)
        mask = mask / mask.amax((1, 2, 3), keepdim=True)  # they count against each other: sums stay finite
        return shrink_mask(mask, self._working_size(mask))

    def weights(self, target: Tensor, mask: Tensor | None = None) -> Tensor | None:
        """What pixels ``(N, 1, H, W)`` count for at the working size: the recipe's pooling times the mask.

        ``None`` where all count the same.
        """
        if self.recipe.pooling == "mean":
            return mask
        found = information(target)
        return found if mask is None else found * mask

    def _working_size(self, images: Tensor) -> tuple[int, int]:
        height, width = images.shape[-2:]
        if self.resolution == "resize":
            return self.tile, self.tile
        limit, longer = self.recipe.max_side, max(height, width)
        if limit is None or longer <= limit:
            return height, width
        return max(1, round(height * limit / longer)), max(1, round(width * limit / longer))

    def plan(self, images: Tensor) -> TilePlan:
        """Plan the tiles of images at the working size.

        Raises:
            ValueError: for images that the network cannot take as they are, if the recipe says so.
        """
        height, width = images.shape[-2:]
        if self.resolution == "unpadded":
            self._check_unpadded(height, width)
            return plan_tiles(height, width, None)
        tile = self.tile if self.resolution == "tile" else None
        spacing: Literal["even", "published"] = "published" if self.recipe.protocol == "zsiqa" else "even"
        return plan_tiles(height, width, tile, self.network.multiple, self.network.minimum, spacing)

    def _check_unpadded(self, height: int, width: int) -> None:
        network, multiple = self.network, self.network.multiple
        if network.transformer and (height % multiple or width % multiple):
            raise ValueError(
                f"`resolution='unpadded'` needs sides that are multiples of {multiple} for {network.name}, got "
                f"{height}x{width}: crop the images, or take 'native', which mirrors them up to one"
            )
        if min(height, width) < network.minimum and not torch.compiler.is_compiling():
            least = self.backbone.least_side
            if min(height, width) < least:
                raise ValueError(
                    f"`resolution='unpadded'` needs sides of at least {least} pixels for {network.name}, got "
                    f"{height}x{width}: take larger images, or 'native', which mirrors them up to {network.minimum}"
                )


def portions(plan: TilePlan, images: int, size: int) -> Iterator[Portion]:
    """The tiles of a batch of images in portions of ``size``: the images of a tile, then the next tile.

    >>> list(portions(plan_tiles(448, 224, 224), images=2, size=3))
    [[(0, 0), (1, 0), (0, 1)], [(1, 1)]]
    """
    if torch.compiler.is_exporting() and len(plan.corners) == 1:
        yield OneTilePerImage()
        return
    every = [(image, tile) for tile in range(len(plan.corners)) for image in range(images)]
    for start in range(0, len(every), size):
        yield every[start : start + size]


# Side of the blocks whose variance is taken, pixels.
_BLOCK = 16
# A standard deviation below this, of [0, 1], is hardly seen.
_VISIBLE = 0.02
# An even place counts too.
_LEAST = 0.5


@torch.no_grad()
def information(target: Tensor) -> Tensor:
    """Weights of pixels ``(N, 1, H, W)`` for images ``(N, 3, H, W)`` in [0, 1]: the logarithm of the local variance.

    People look where there is something to see, and metrics whose maps are weighed by information agree with them
    better: Wang and Li, "Information content weighting for perceptual image quality assessment", IEEE Transactions on
    Image Processing 20 (2011). Here in its plainest form: ``log(1 + variance / 0.02**2) + 0.5`` of the mean of the
    three channels, over blocks of 16 x 16 pixels.

    >>> half = torch.zeros(1, 3, 16, 32)
    >>> half[..., 16:] = torch.rand(16, 16, generator=torch.Generator().manual_seed(0))
    >>> weights = information(half)
    >>> bool(weights[..., :16].max() < 0.51), bool(weights[..., 16:].min() > 5)
    (True, True)
    """
    grey = target.mean(1, keepdim=True)
    grey = grey - grey.mean((2, 3), keepdim=True)  # what is squared stays small
    mean, square = (block_means(values, _BLOCK) for values in (grey, grey.square()))
    weights = torch.log1p((square - mean.square()).clamp_min(0) / _VISIBLE**2) + _LEAST
    rows, cols = (torch.arange(side, device=target.device) // _BLOCK for side in target.shape[-2:])
    return weights.index_select(2, rows).index_select(3, cols)
