"""Distances of optimal transport: what it costs to turn one set of feature values into the other, ignoring places."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

#: Directions of :func:`sliced_wasserstein`: fixed, so that a pair has one score, and the same on every machine.
DIRECTIONS = 64
_SEED = 20250409


def wasserstein(preds: Tensor, target: Tensor) -> Tensor:
    """1-Wasserstein distance of each channel's values over positions, mean over channels.

    ``(N, T, C), (N, T, C) -> (N,)``, in [0, inf). This is the *sorted* comparison of deep perceptual similarity
    (Sjögren and Pihlgren, 2022), and what "Wasserstein" means here, as against the published ``zsiqa`` one.

    >>> wasserstein(torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[3.0], [2.0]]]))
    tensor([2.])
    """
    return (_sorted(preds) - _sorted(target)).abs().mean((1, 2))


def sliced_wasserstein(preds: Tensor, target: Tensor) -> Tensor:
    """1-Wasserstein distance of the token vectors along 64 fixed random directions of channel space, mean over them.

    ``(N, T, C), (N, T, C) -> (N,)``, in [0, inf). Unlike :func:`wasserstein` it sees how channels occur together.

    >>> one = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    >>> sliced_wasserstein(one, one.flip(1)), sliced_wasserstein(one, one + 1) > 0
    (tensor([0.]), tensor([True]))
    """
    directions = _directions(preds.shape[-1]).to(preds.device, preds.dtype)
    return wasserstein(preds @ directions, target @ directions)


def _sorted(tokens: Tensor) -> Tensor:
    return tokens.transpose(1, 2).sort(-1).values  # positions last: sorting along a contiguous axis is far faster


@lru_cache(maxsize=32)
def _cached_directions(channels: int) -> Tensor:
    # In double, drawn on the CPU by a generator of its own: nothing of the caller's context gets in.
    with torch.inference_mode(False):
        draw = torch.randn(
            channels, DIRECTIONS, generator=torch.Generator("cpu").manual_seed(_SEED), dtype=torch.float64, device="cpu"
        )
        return draw / draw.square().sum(0).sqrt()


@torch.compiler.assume_constant_result
def _directions(channels: int) -> Tensor:
    """Unit vectors ``(C, 64)``, a constant of the graph under ``torch.compile``."""
    return _cached_directions(channels)
