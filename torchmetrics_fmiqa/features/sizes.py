"""Images, masks and maps between their own size and the one that the network works at."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from torchmetrics_fmiqa.features.tiles import cells


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring images ``(N, 3, H, W)`` to ``size``, antialiased bicubic."""
    if images.shape[-2:] == size:
        return images
    return F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False)


def shrink_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring a mask to the working size by area, so that a pixel's weight is the mean of what it covers."""
    height, width = mask.shape[-2:]
    if (height, width) == size:
        return mask
    return cells(size[0], height, height, mask) @ mask @ cells(size[1], width, width, mask).T


def stretch_map(drawn: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring a map ``(N, h, w)`` to ``size`` by area: its mean stays what it was."""
    if drawn.shape[-2:] == size:
        return drawn
    rows, cols = (cells(count, length, length, drawn) for count, length in zip(drawn.shape[-2:], size, strict=True))
    return rows.T @ drawn @ cols
