"""The middles of images, on which metrics are attacked and tried as losses."""

from __future__ import annotations

from torch import Tensor


def centre(images: Tensor, side: int) -> Tensor:
    """The middle of images ``(N, 3, H, W)``, at most ``side`` pixels a side."""
    top, left = (max(length - side, 0) // 2 for length in images.shape[2:])
    return images[:, :, top : top + side, left : left + side]
