"""Divergences: a softmax over positions turns each channel into a distribution over the image."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def jensen_shannon(preds: Tensor, target: Tensor) -> Tensor:
    """Jensen-Shannon divergence of each channel's distribution over positions, mean over channels.

    ``(N, T, C), (N, T, C) -> (N,)``, in nats, in [0, log 2]. With x the difference of the log probabilities and m
    their mean, the summand is m (x tanh(x/2) - 2 log cosh(x/2)) / 2: never negative, exact at small distances.

    >>> one = torch.tensor([[[0.0], [1.0], [2.0]]])
    >>> jensen_shannon(one, one), jensen_shannon(one, one.flip(1)).round(decimals=4)
    (tensor([0.]), tensor([0.2476]))
    """
    one, other = preds.log_softmax(1), target.log_softmax(1)
    mean = 0.5 * (one.exp() + other.exp())
    half = 0.5 * (one - other)
    return (mean * (half * half.tanh() - _log_cosh(half))).sum(1).mean(-1)


def symmetric_kl(preds: Tensor, target: Tensor) -> Tensor:
    """Symmetric Kullback-Leibler divergence of each channel's distribution over positions, mean over channels.

    ``(N, T, C), (N, T, C) -> (N,)``, in nats, in [0, inf): half the sum of both directions, (p - q)(log p - log q) / 2.

    >>> one = torch.tensor([[[0.0], [1.0], [2.0]]])
    >>> symmetric_kl(one, one), symmetric_kl(one, one.flip(1)).round(decimals=4)
    (tensor([0.]), tensor([1.1504]))
    """
    one, other = preds.log_softmax(1), target.log_softmax(1)
    return 0.5 * ((one.exp() - other.exp()) * (one - other)).sum(1).mean(-1)


def _log_cosh(x: Tensor) -> Tensor:
    """Log of the hyperbolic cosine, without cancellation near 0 and without overflow far from it."""
    small = x.abs() < 1
    near = -0.5 * torch.log1p(-torch.where(small, x, 0.0).tanh().square())
    far = x.abs() + torch.log1p(torch.exp(-2 * x.abs())) - math.log(2)
    return torch.where(small, near, far)
