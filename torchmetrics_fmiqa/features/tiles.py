"""Tiles of an image: plan their positions, cut them, weight their tokens by pixels, and paint maps.

A plan is separable: it is two :class:`Axis`, rows and columns. Overlapping tiles share their pixels, padding has no
weight, and a token's weight is the area of its cell. So the score is the mean over the image, and it equals the mean of
the map that :func:`paint` draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

#: ``even``: the fewest tiles that cover the axis, evenly spaced. ``published``: ZS-IQA's windows of 224 at stride 200.
Spacing = Literal["even", "published"]


@dataclass(frozen=True)
class Axis:
    """One axis of a tile plan.

    Args:
        length: pixels along the axis.
        starts: first pixel of each tile.
        tile: pixels of the image in each tile.
        padded: pixels of each tile after mirroring to the size that the network needs.
        shared: whether overlapping tiles share their pixels; else each tile counts in full.
    """

    length: int
    starts: tuple[int, ...]
    tile: int
    padded: int
    shared: bool = True

    def shares_like(self, like: Tensor) -> Tensor:
        """:meth:`shares` as a tensor ``(tiles, pixels)``."""
        if len(self.starts) == 1 and self.shared:
            return like.new_ones(1, self.tile)
        return torch.tensor(self.shares(), device=like.device, dtype=like.dtype)

    def shares(self) -> list[list[float]]:
        """For each tile the weight of each of its pixels; all weights sum to ``length``."""
        if not self.shared:
            return [[self.length / (len(self.starts) * self.tile)] * self.tile] * len(self.starts)
        cover = [0] * self.length
        for start in self.starts:
            for pixel in range(start, start + self.tile):
                cover[pixel] += 1
        return [[1 / cover[pixel] for pixel in range(start, start + self.tile)] for start in self.starts]


@dataclass(frozen=True)
class TilePlan:
    """The tiles of an image, row by row."""

    rows: Axis
    cols: Axis

    @property
    def corners(self) -> tuple[tuple[int, int], ...]:
        """``(y, x)`` of each tile."""
        return tuple((y, x) for y in self.rows.starts for x in self.cols.starts)

    @property
    def is_whole_image(self) -> bool:
        """Whether there is a single tile that is the image without padding."""
        return len(self.corners) == 1 and self.rows.padded == self.rows.length and self.cols.padded == self.cols.length


def even_starts(length: int, tile: int) -> tuple[int, ...]:
    """The fewest, evenly spaced starts of tiles of ``tile`` pixels that cover ``length``.

    >>> even_starts(512, 224), even_starts(224, 224), even_starts(100, 224)
    ((0, 144, 288), (0,), (0,))
    """
    if length <= tile:
        return (0,)
    count = -(-length // tile)
    return tuple(round(i * (length - tile) / (count - 1)) for i in range(count))


def published_starts(length: int, tile: int = 224, stride: int = 200) -> tuple[int, ...]:
    """Window starts of the published ZS-IQA code, including near-duplicates at the end.

    >>> published_starts(512), published_starts(425), published_starts(224)
    ((0, 200, 288), (0, 200, 201), (0,))

    Raises:
        ValueError: for a side shorter than a window, where the published code fails.
    """
    if length < tile:
        raise ValueError(f"the zsiqa protocol needs images of at least {tile}x{tile} pixels, got a side of {length}")
    return (*range(0, length - tile, stride), length - tile)


def plan_tiles(
    height: int, width: int, tile: int | None, multiple: int = 1, minimum: int = 1, spacing: Spacing = "even"
) -> TilePlan:
    """Plan the tiles of a ``height`` x ``width`` image.

    Args:
        height: rows of the image.
        width: columns of the image.
        tile: side of a tile; ``None`` for a single tile, as is used for a side shorter than a tile.
        multiple: the network's patch or stride; tiles are mirrored up to a multiple of it.
        minimum: the smallest side that the network supports.
        spacing: ``"even"`` or ``"published"``.
    """

    def axis(length: int) -> Axis:
        if spacing == "published" and tile is not None:
            return Axis(length, published_starts(length, tile), tile, tile, shared=False)
        side = length if tile is None else min(tile, length)
        # Some versions of torch.compile lack sym_max, and torch.export does not support max of a dynamic side.
        least: int = (max if torch.compiler.is_dynamo_compiling() else torch.sym_max)(side, minimum)  # type: ignore[assignment]
        padded = -(-least // multiple) * multiple
        return Axis(length, even_starts(length, side), side, padded)

    return TilePlan(axis(height), axis(width))


def mirror_index(length: int, padded: int, device: torch.device, shift: Tensor | int = 0) -> Tensor:
    """Indices that extend ``length`` pixels to ``padded`` by repeated mirroring; a single pixel is replicated.

    With ``shift`` they start that many pixels later. Indices are used instead of ``F.pad``, which cannot reflect more
    than the image and has no deterministic backward on CUDA.

    >>> mirror_index(3, 8, torch.device("cpu")).tolist()
    [0, 1, 2, 1, 0, 1, 2, 1]
    """
    if length == 1:
        return torch.zeros(padded, dtype=torch.long, device=device)
    period = 2 * (length - 1)
    index = (torch.arange(padded, device=device) + shift) % period
    return torch.minimum(index, period - index)


#: Pairs (image, tile) that go through the network at once.
Portion = list[tuple[int, int]]


class OneTilePerImage(Portion):
    """The one tile of every image of a batch, however many there are: sizes are free while a program is exported."""


def cut(images: Tensor, plan: TilePlan, portion: Portion) -> Tensor:
    """Cut tiles ``(K, C, h, w)`` of a portion out of ``(N, C, H, W)``."""
    if isinstance(portion, OneTilePerImage):
        for dim, axis in ((2, plan.rows), (3, plan.cols)):
            images = images.index_select(dim, mirror_index(axis.length, axis.padded, images.device))
        return images
    if plan.is_whole_image and [image for image, _ in portion] == list(range(images.shape[0])):
        return images
    corners, height, width = plan.corners, plan.rows.tile, plan.cols.tile
    tiles = torch.stack(
        [images[i, :, y : y + height, x : x + width] for i, (y, x) in ((i, corners[t]) for i, t in portion)]
    )
    if plan.rows.padded != height:
        tiles = tiles.index_select(2, mirror_index(height, plan.rows.padded, images.device))
    if plan.cols.padded != width:
        tiles = tiles.index_select(3, mirror_index(width, plan.cols.padded, images.device))
    return tiles


def cells(count: int, padded: int, real: int, like: Tensor) -> Tensor:
    """Overlap ``(count, real)`` of ``count`` equal cells over ``padded`` pixels with each of the first ``real`` pixels.

    Each column sums to 1: a pixel is split among the cells that overlap it.

    >>> cells(2, 3, 3, torch.zeros(())).tolist()
    [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]
    """
    size = padded / count
    pixel = torch.arange(real, device=like.device, dtype=like.dtype)
    cell = torch.arange(count, device=like.device, dtype=like.dtype)[:, None] * size
    return (torch.minimum(pixel + 1, cell + size) - torch.maximum(pixel, cell)).clamp(min=0)


def position_weights(plan: TilePlan, grid: tuple[int, int], like: Tensor) -> Tensor:
    """Weight of each position of each tile, its share of the image: ``(tiles, h * w)``, with sum 1."""

    def along(axis: Axis, count: int) -> Tensor:
        return axis.shares_like(like) @ cells(count, axis.padded, axis.tile, like).T / axis.length

    rows, cols = along(plan.rows, grid[0]), along(plan.cols, grid[1])
    # einsum would make the sides static in torch.export if there is a single tile.
    return (rows[:, None, :, None] * cols[:, None]).flatten(2).flatten(0, 1)


def masked_weights(plan: TilePlan, grid: tuple[int, int], portion: Portion, mask: Tensor) -> Tensor:
    """Like :func:`position_weights` of a portion's tiles, with every pixel weighed by ``mask`` ``(N, 1, H, W)``."""
    shares = pixel_shares(plan, mask)
    height, width = plan.rows.tile, plan.cols.tile
    one_tile_each = isinstance(portion, OneTilePerImage)
    tiles = (
        mask[:, 0]
        if one_tile_each
        else torch.stack(
            [mask[i, 0, y : y + height, x : x + width] * shares[t] for i, t in portion for y, x in [plan.corners[t]]]
        )
    )
    rows = cells(grid[0], plan.rows.padded, height, mask)
    cols = cells(grid[1], plan.cols.padded, width, mask)
    totals = mask.sum((1, 2, 3))
    totals = totals if one_tile_each else totals[torch.tensor([i for i, _ in portion], device=mask.device)]
    return (rows @ tiles @ cols.T).flatten(1) / totals[:, None]


def pixel_shares(plan: TilePlan, like: Tensor) -> Tensor:
    """Weight of each pixel of each tile, ``(tiles, h, w)``: :meth:`Axis.shares` in two dimensions."""
    rows, cols = plan.rows.shares_like(like), plan.cols.shares_like(like)
    return torch.einsum("ah,bw->abhw", rows, cols).flatten(0, 1)


def paint(values: Tensor, plan: TilePlan, grid: tuple[int, int]) -> Tensor:
    """Paint the position values ``(K, h * w)`` of tiles on their pixels, ``(K, height, width)``."""
    rows = cells(grid[0], plan.rows.padded, plan.rows.tile, values)
    cols = cells(grid[1], plan.cols.padded, plan.cols.tile, values)
    painted: Tensor = rows.T @ values.unflatten(1, grid) @ cols
    return painted


def interpolate(values: Tensor, plan: TilePlan, grid: tuple[int, int]) -> Tensor:
    """As :func:`paint`, but bilinear from the centre of one cell to the next."""
    cells = values.unflatten(1, grid)[:, None]
    return F.interpolate(cells, (plan.rows.tile, plan.cols.tile), mode="bilinear", align_corners=False)[:, 0]


def add_tiles(canvas: Tensor, painted: Tensor, plan: TilePlan, portion: Portion) -> Tensor:
    """Add painted tiles ``(K, h, w)`` to a canvas ``(N, H, W)`` at their places."""
    canvas = canvas.clone()
    for tile, (image, number) in zip(painted, portion, strict=True):
        y, x = plan.corners[number]
        canvas[image, y : y + plan.rows.tile, x : x + plan.cols.tile] += tile
    return canvas


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images ``(N, 3, H, W)`` to ``size`` by antialiased bicubic interpolation."""
    if images.shape[-2:] == size:
        return images
    return F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False)


def shrink_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a mask to ``size`` by area: a pixel's weight is the mean of the pixels that it covers."""
    height, width = mask.shape[-2:]
    if (height, width) == size:
        return mask
    return cells(size[0], height, height, mask) @ mask @ cells(size[1], width, width, mask).T


def stretch_map(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a map ``(N, h, w)`` to ``size`` by area, which keeps its mean."""
    if values.shape[-2:] == size:
        return values
    rows, cols = (cells(count, length, length, values) for count, length in zip(values.shape[-2:], size, strict=True))
    return rows.T @ values @ cols
