"""Means over square blocks, of images whose sides need not be multiples of the block."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def block_means(values: Tensor, side: int) -> Tensor:
    """Mean of each block of ``(N, C, H, W)``; a block at the border has the mean of its pixels within the image.

    >>> block_means(torch.tensor([[[[1.0, 3.0, 5.0]]]]), 2)
    tensor([[[[2., 5.]]]])
    """
    if not torch.compiler.is_exporting():
        return F.avg_pool2d(values, side, ceil_mode=True)
    # The same without `ceil_mode`, which would make the sides static in torch.export.
    height, width = values.shape[-2:]
    overhang = (0, -width % side, 0, -height % side)
    inside = F.pad(values.new_ones(1, 1, height, width), overhang)
    return F.avg_pool2d(F.pad(values, overhang), side) / F.avg_pool2d(inside, side)
