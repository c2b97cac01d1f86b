"""Distances that compare position by position: each is a map ``(N, T)`` whose mean is the distance."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# A token shorter than this has no direction: it is taken as zero, at a distance of 1/2 from any other.
_NO_LENGTH = 1e-8


def mean_over_positions(
    distance_map: Callable[[Tensor, Tensor], Tensor], name: str
) -> Callable[[Tensor, Tensor], Tensor]:
    """Make the distance ``(N, T, C), (N, T, C) -> (N,)`` of a map."""

    def distance(preds: Tensor, target: Tensor) -> Tensor:
        return distance_map(preds, target).mean(1)

    distance.__name__ = distance.__qualname__ = name
    distance.__doc__ = f"Mean over positions of ``{name}_map``: ``(N, T, C), (N, T, C) -> (N,)``."
    return distance


def l2_map(preds: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference over channels, ``(N, T, C), (N, T, C) -> (N, T)``, in [0, inf).

    >>> l2_map(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[3.0, 1.0]]]))
    tensor([[5.]])
    """
    return (preds - target).square().mean(-1)


def cosine_map(preds: Tensor, target: Tensor) -> Tensor:
    """Cosine distance over channels, ``(N, T, C), (N, T, C) -> (N, T)``, in [0, 2].

    One minus the cosine, in its chord form: half the squared distance of the unit vectors. The plain form loses all
    digits at small distances and goes negative.

    >>> cosine_map(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]]))
    tensor([[1.]])
    """
    return 0.5 * errors(preds, target).square().sum(-1)


def errors(preds: Tensor, target: Tensor) -> Tensor:
    """Difference of the unit vectors of two sides, ``(N, T, C), (N, T, C) -> (N, T, C)``: what cosine measures.

    >>> errors(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]]))
    tensor([[[ 1., -1.]]])
    """
    return _direction(preds) - _direction(target)


def angular_map(preds: Tensor, target: Tensor) -> Tensor:
    r"""Angle over channels as a share of a half turn, ``(N, T, C), (N, T, C) -> (N, T)``, in [0, 1].

    The :math:`S_{ac} = \arccos(\cos)/\pi` that Cai et al. (CVPR 2025) found nearest to human vision, in Kahan's form
    :math:`2\,\mathrm{atan2}(\lVert a-b\rVert, \lVert a+b\rVert)`, exact for small angles and for opposite vectors.

    >>> angular_map(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]]))
    tensor([[0.5000]])
    """
    a, b = _direction(preds), _direction(target)
    return torch.atan2(_length(a - b), _length(a + b)) * (2 / math.pi)


def _direction(tokens: Tensor) -> Tensor:
    """Unit vectors; a token without length gives zero, and a zero gradient."""
    squares = tokens.square().sum(-1, keepdim=True)
    long = squares > _NO_LENGTH**2
    return tokens * torch.where(long, torch.where(long, squares, 1.0).rsqrt(), 0.0)


def _length(tokens: Tensor) -> Tensor:
    """Euclidean length over channels with a zero (not an infinite) gradient at zero. NaN stays NaN."""
    squares = tokens.square().sum(-1)
    positive = squares != 0  # or NaN
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)
