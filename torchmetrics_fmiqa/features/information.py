"""How much there is to see at each place of an image: what the ``information`` pooling weighs positions by."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.block_means import block_means

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
