"""Distances that compare position by position: each is a map ``(N, T)`` whose mean is the distance.

All take weights of the channels, ``(C,)`` and at least 0; ones change nothing. ``l2`` weighs squared differences,
``normalized_l2`` those of unit vectors; ``cosine`` and ``angular`` weigh the products in the cosine and the lengths.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# A token shorter than this has no direction: it is taken as zero, at a distance of 1/2 from any other.
_NO_LENGTH = 1e-8
# What LPIPS adds to the squared length, in the form that torchmetrics gives it: it keeps the slope finite at 0.
_LPIPS_EPSILON = 1e-8


def mean_over_positions(
    distance_map: Callable[[Tensor, Tensor, Tensor | None], Tensor], name: str
) -> Callable[..., Tensor]:
    """Make the distance ``(N, T, C), (N, T, C) -> (N,)`` of a map."""

    def distance(preds: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        return distance_map(preds, target, weights).mean(1)

    distance.__name__ = distance.__qualname__ = name
    distance.__doc__ = f"Mean over positions of ``{name}_map``: ``(N, T, C), (N, T, C) -> (N,)``."
    return distance


def l2_map(preds: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean squared difference over channels, ``(N, T, C), (N, T, C) -> (N, T)``, in [0, inf).

    >>> l2_map(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[3.0, 1.0]]]))
    tensor([[5.]])
    """
    return _weighed((preds - target).square(), weights).mean(-1)


def normalized_l2_map(preds: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Squared distance of unit vectors, ``(N, T, C), (N, T, C) -> (N, T)``, in [0, 4]: twice the cosine distance.

    With weights of channels it is that of LPIPS (Zhang et al., "The Unreasonable Effectiveness of Deep Features as a
    Perceptual Metric", CVPR 2018): the channels are weighed after the division by the length, and the sum is not
    divided by the weights'. A token without length is zero.

    >>> normalized_l2_map(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]]), torch.tensor([0.25, 0.5]))
    tensor([[0.7500]])
    """
    a, b = (tokens * (tokens.square().sum(-1, keepdim=True) + _LPIPS_EPSILON).rsqrt() for tokens in (preds, target))
    return _weighed((a - b).square(), weights).sum(-1)


def cosine_map(preds: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cosine distance over channels, ``(N, T, C), (N, T, C) -> (N, T)``, in [0, 2].

    One minus the cosine, in its chord form: half the squared distance of the unit vectors. The plain form loses all
    digits at small distances and goes negative.

    >>> cosine_map(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]]))
    tensor([[1.]])
    """
    return 0.5 * errors(preds, target, weights).square().sum(-1)


def errors(preds: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Difference of the unit vectors of two sides, ``(N, T, C), (N, T, C) -> (N, T, C)``: what cosine measures.

    >>> errors(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]]))
    tensor([[[ 1., -1.]]])
    """
    return _direction(preds, weights) - _direction(target, weights)


def angular_map(preds: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Angle over channels as a share of a half turn, ``(N, T, C), (N, T, C) -> (N, T)``, in [0, 1].

    The :math:`S_{ac} = \arccos(\cos)/\pi` that Cai et al. (CVPR 2025) found nearest to human vision, in Kahan's form
    :math:`2\,\mathrm{atan2}(\lVert a-b\rVert, \lVert a+b\rVert)`, exact for small angles and for opposite vectors.

    >>> angular_map(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]]))
    tensor([[0.5000]])
    """
    a, b = _direction(preds, weights), _direction(target, weights)
    return torch.atan2(_length(a - b), _length(a + b)) * (2 / math.pi)


def _weighed(squares: Tensor, weights: Tensor | None) -> Tensor:
    return squares if weights is None else squares * weights


def _direction(tokens: Tensor, weights: Tensor | None) -> Tensor:
    """Unit vectors; a token without length gives zero, and a zero gradient."""
    tokens = tokens if weights is None else tokens * weights.sqrt()
    squares = tokens.square().sum(-1, keepdim=True)
    long = squares > _NO_LENGTH**2
    return tokens * torch.where(long, torch.where(long, squares, 1.0).rsqrt(), 0.0)


def _length(tokens: Tensor) -> Tensor:
    """Euclidean length over channels with a zero (not an infinite) gradient at zero. NaN stays NaN."""
    squares = tokens.square().sum(-1)
    positive = squares != 0  # or NaN
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)
