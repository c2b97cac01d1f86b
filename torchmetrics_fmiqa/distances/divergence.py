"""Divergences: a softmax over positions turns each channel into a distribution over the image.

Each position's term is non-negative and they sum to the divergence, so that divergences have maps as pointwise
distances do: a term times the number of positions, whose mean is the divergence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# From here on log 2 is what a ratio of probabilities adds, to the last digit of float64 (of its half logarithm).
_FAR = 20.0
# Below 1 a logarithm near 1 is exact in the ratio's tangent; above it in its size.
_NEAR, _TANH_NEAR = 1.0, math.tanh(1.0)
# Values that are worked on at once: what comes between stays in the processor's cache, which takes a fifth of the time.
_BLOCK = 65_536


class Totals(NamedTuple):
    """What the softmax over positions divides by, where the positions come in parts.

    Args:
        top: the largest value of each channel, ``(N, 1, C)``.
        total: the sum over positions of ``exp(value - top)``, ``(N, 1, C)``.
        positions: how many positions there are.
    """

    top: Tensor
    total: Tensor
    positions: int

    @classmethod
    def of(cls, tokens: Tensor) -> Totals:
        """Those of tokens ``(N, T, C)``.

        >>> Totals.of(torch.zeros(1, 6, 1)).total
        tensor([[[6.]]])
        """
        top = tokens.amax(1, keepdim=True)
        return cls(top, (tokens - top).exp().sum(1, keepdim=True), tokens.shape[1])

    def joined(self, other: Totals) -> Totals:
        """Those of these positions and of others."""
        top = torch.maximum(self.top, other.top)
        total = self.total * (self.top - top).exp() + other.total * (other.top - top).exp()
        return Totals(top, total, self.positions + other.positions)

    def chunk(self) -> tuple[Totals, Totals]:
        """Those of predictions, and of as many targets that follow them."""
        (ours, theirs), (our, their) = self.top.chunk(2), self.total.chunk(2)
        return Totals(ours, our, self.positions), Totals(theirs, their, self.positions)

    def part(self, images: slice, channels: slice) -> Totals:
        """Those of some images and channels."""
        return Totals(self.top[images, :, channels], self.total[images, :, channels], self.positions)


#: Totals of predictions and of targets.
TotalsPair = tuple[Totals, Totals]


def jensen_shannon(preds: Tensor, target: Tensor) -> Tensor:
    """Jensen-Shannon divergence of each channel's distribution over positions, mean over channels.

    ``(N, T, C), (N, T, C) -> (N,)``, in nats, in [0, log 2]: the mean over positions of :func:`jensen_shannon_map`.

    >>> one = torch.tensor([[[0.0], [1.0], [2.0]]])
    >>> jensen_shannon(one, one), jensen_shannon(one, one.flip(1)).round(decimals=4)
    (tensor([0.]), tensor([0.2476]))
    """
    return jensen_shannon_map(preds, target).mean(1)


def jensen_shannon_map(preds: Tensor, target: Tensor, totals: TotalsPair | None = None) -> Tensor:
    """Each position's term of :func:`jensen_shannon` times the number of positions, ``(N, T)``, in [0, T log 2].

    With p and q the probabilities of a position, x = (log p - log q) / 2 and m = (p + q) / 2, a channel's term is
    ``(p log(p / m) + q log(q / m)) / 2 = m (x tanh x - log cosh x)``: never negative, exact at small distances.

    Args:
        preds: ``(N, T, C)``.
        target: likewise.
        totals: what the softmax divides by, where these are not all of the positions.

    >>> one = torch.tensor([[[0.0], [1.0], [2.0]]])
    >>> jensen_shannon_map(one, one.flip(1)).round(decimals=4)
    tensor([[0.3714, 0.0000, 0.3714]])
    """
    return _map(_jensen_shannon, preds, target, totals)


def symmetric_kl(preds: Tensor, target: Tensor) -> Tensor:
    """Symmetric Kullback-Leibler divergence of each channel's distribution over positions, mean over channels.

    ``(N, T, C), (N, T, C) -> (N,)``, in nats, in [0, inf): half the sum of both directions, and the mean over positions
    of :func:`symmetric_kl_map`.

    >>> one = torch.tensor([[[0.0], [1.0], [2.0]]])
    >>> symmetric_kl(one, one), symmetric_kl(one, one.flip(1)).round(decimals=4)
    (tensor([0.]), tensor([1.1504]))
    """
    return symmetric_kl_map(preds, target).mean(1)


def symmetric_kl_map(preds: Tensor, target: Tensor, totals: TotalsPair | None = None) -> Tensor:
    """Each position's term of :func:`symmetric_kl` times the number of positions, ``(N, T)``, in [0, inf).

    With p and q the probabilities of a position and x = (log p - log q) / 2, a channel's term is
    ``(p - q) (log p - log q) / 2 = (p + q) x tanh x``: never negative, exact at small distances.

    Args:
        preds: ``(N, T, C)``.
        target: likewise.
        totals: what the softmax divides by, where these are not all of the positions.

    >>> one = torch.tensor([[[0.0], [1.0], [2.0]]])
    >>> symmetric_kl_map(one, one.flip(1)).round(decimals=4)
    tensor([[1.7256, 0.0000, 1.7256]])
    """
    return _map(_symmetric_kl, preds, target, totals)


def _symmetric_kl(one: Tensor, other: Tensor) -> Tensor:
    half = 0.5 * (one - other)
    return (one.exp() + other.exp()) * (half * half.tanh())


def _jensen_shannon(one: Tensor, other: Tensor) -> Tensor:
    # For x >= 0 log cosh x is both -log(1 - tanh² x) / 2, exact where x is small, and x - log(1 + tanh x), exact where
    # it is large. What the first says up to 1 and what the second adds beyond, exactly 0 below, needs no branch.
    half = (0.5 * (one - other).abs()).clamp(max=_FAR)
    tangent = half.tanh()
    near = tangent.clamp(max=_TANH_NEAR)
    far = torch.log((1 + tangent) / (1 + near)) - (half - half.clamp(max=_NEAR))
    return 0.5 * (one.exp() + other.exp()) * (half * tangent + 0.5 * torch.log1p(-near * near) + far)


def _map(term: Callable[[Tensor, Tensor], Tensor], preds: Tensor, target: Tensor, totals: TotalsPair | None) -> Tensor:
    """Means over channels of a term of log probabilities, times the number of positions."""
    positions = preds.shape[1] if totals is None else totals[0].positions
    scale = positions / preds.shape[2]
    rows = []
    for images, several in _blocks(preds):
        sums: Tensor | None = None
        for channels in several:
            ours, theirs = (None, None) if totals is None else (side.part(images, channels) for side in totals)
            one = _log_probabilities(preds[images, :, channels], ours)
            other = _log_probabilities(target[images, :, channels], theirs)
            added = term(one, other).sum(-1)
            sums = added if sums is None else sums + added
        rows.append(sums)
    return scale * (rows[0] if len(rows) == 1 else torch.cat(rows))  # type: ignore[arg-type, operator, return-value]


def _blocks(tokens: Tensor) -> Iterator[tuple[slice, list[slice]]]:
    """Cut ``(N, T, C)`` into images, and these into channels where the values of a channel lie side by side."""
    every = slice(None)
    if torch.compiler.is_compiling():  # which joins what comes between by itself, and knows no sizes
        yield every, [every]
        return
    count, positions, channels = tokens.shape
    width = max(1, _BLOCK // max(1, positions)) if tokens.stride(1) == 1 else channels
    images = max(1, _BLOCK // max(1, positions * channels))
    for first in range(0, max(count, 1), images):
        yield slice(first, first + images), [slice(at, at + width) for at in range(0, channels, width)]


def _log_probabilities(tokens: Tensor, totals: Totals | None) -> Tensor:
    if totals is not None:
        return (tokens - totals.top) - totals.total.log()
    if tokens.stride(1) == 1:  # the map of a convolution, which lies in memory channel by channel
        return tokens.transpose(1, 2).log_softmax(-1).transpose(1, 2)
    return tokens.log_softmax(1)
