"""The fixed normalised Laplacian pyramid (Laparra, Ballé, Berardino and Simoncelli, 2016), plain: the control."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from torchmetrics_fmiqa.benchmark.measures import Measure

# Of the published metric: what keeps flat parts finite, for bands and for the lowest level.
_FLOOR = 0.17
_LEVELS = 6


def nlpd(preds: Tensor, target: Tensor, colour: bool = False) -> Tensor:
    """Distance ``(N,)`` of images ``(N, 3, H, W)`` in [0, 1], 0 for equal ones.

    Root mean squared difference of each level of the pyramid, meaned over levels (and, with ``colour``, over RGB).
    Each level is divided by 0.17 and the local mean of its size; the paper's trained filters are left out.
    """
    if not colour:
        weights = preds.new_tensor([0.299, 0.587, 0.114])[:, None, None]
        preds, target = ((image * weights).sum(1, keepdim=True) for image in (preds, target))
    one, other = _pyramid(preds), _pyramid(target)
    return torch.stack([(a - b).square().mean((2, 3)).sqrt().mean(1) for a, b in zip(one, other, strict=True)]).mean(0)


def pyramid_measures() -> list[Measure]:
    """The pyramid of grey, and of each colour."""
    return [
        Measure(name, lambda preds, target, colour=colour: nlpd(preds, target, colour), False, True, "plain")
        for name, colour in (("nlpd", False), ("nlpd-colour", True))
    ]


def _pyramid(image: Tensor) -> list[Tensor]:
    found, level = [], image.clamp_min(0) ** (1 / 2.6)
    for _ in range(_LEVELS - 1):
        if min(level.shape[2:]) < 4:
            break
        low = _smooth(level)[..., ::2, ::2]
        band = level - F.interpolate(low, level.shape[2:], mode="bilinear")
        found.append(band / (_FLOOR + _smooth(band.abs())))
        level = low
    return [*found, level / (_FLOOR + _smooth(level.abs()))]


def _smooth(image: Tensor) -> Tensor:
    row = image.new_tensor([1, 5, 8, 5, 1]) / 20
    channels = image.shape[1]
    kernel = (row[:, None] * row).expand(channels, 1, 5, 5)
    return F.conv2d(F.pad(image, (2, 2, 2, 2), mode="replicate"), kernel, groups=channels)
