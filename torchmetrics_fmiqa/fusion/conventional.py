"""The conventional inputs of SPIPS: maps of PSNR, SSIM and MS-SSIM, each pooled to three numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmetrics_fmiqa.fusion.quality_maps import QUALITY_MAPS, quality_maps
from torchmetrics_fmiqa.pooling import POOLED, pool_map

#: Names of what :func:`conventional` gives, in its order.
CONVENTIONAL = tuple(f"{drawn}_{pooled}" for drawn in QUALITY_MAPS for pooled in POOLED)


def conventional(preds: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Pool the quality maps of pairs; their values are not checked again.

    Args:
        preds: ``(N, 3, H, W)``, in [0, 1] or a little beyond, float32 or float64.
        target: likewise.
        mask: ``(N, 1, H, W)`` weights of pixels.

    Returns:
        ``(N, 9)`` in the order of :data:`CONVENTIONAL`, all at least 0; 0 for equal images.

    >>> target = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> conventional(target, target).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    maps = quality_maps(preds, target, validate=False)
    return torch.cat([pool_map(maps[name], mask, validate=False) for name in QUALITY_MAPS], 1)
