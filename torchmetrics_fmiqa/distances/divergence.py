"""Divergences: a softmax over positions turns each channel into a distribution over the image.

Each position's term is non-negative and they sum to the divergence, so that divergences have maps as pointwise
distances do: a term times the number of positions, whose mean is the divergence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# Values of each side that are worked on at once: what comes between stays in the processor's cache.
_BLOCK = 65_536
# Probabilities below this are none.
_NOTHING = 1e-30


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
        sides = zip(self.top.chunk(2), self.total.chunk(2), strict=True)
        preds, target = (Totals(top, total, self.positions) for top, total in sides)
        return preds, target


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

    With p and q the probabilities of a position, m = (p + q) / 2 and r = (p - q) / (p + q), a channel's term is
    ``(p log(p / m) + q log(q / m)) / 2 = m ((1 + r) log(1 + r) + (1 - r) log(1 - r)) / 2``, which keeps its digits at
    small distances.

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

    With p and q the probabilities of a position, a channel's term is ``(p - q) (log p - log q) / 2``. The difference of
    the logarithms is taken before the exponentials, so that it keeps its digits at small distances. For the arguments
    see :func:`jensen_shannon_map`.

    >>> one = torch.tensor([[[0.0], [1.0], [2.0]]])
    >>> symmetric_kl_map(one, one.flip(1)).round(decimals=4)
    tensor([[1.7256, 0.0000, 1.7256]])
    """
    return _map(_symmetric_kl, preds, target, totals)


def _symmetric_kl(dim: int, preds: Tensor, target: Tensor, *totals: Tensor) -> Tensor:
    (p, log_sum), (q, target_log_sum) = _softmax(dim, preds, *totals[:2]), _softmax(dim, target, *totals[2:])
    return 0.5 * (p - q) * ((preds - target) - (log_sum - target_log_sum))


def _jensen_shannon(dim: int, preds: Tensor, target: Tensor, *totals: Tensor) -> Tensor:
    (p, _), (q, _) = _softmax(dim, preds, *totals[:2]), _softmax(dim, target, *totals[2:])
    both = p + q
    # Just below 1, where the slope is infinite; and 0 where both probabilities are.
    ratio = ((p - q).abs() / both.clamp(min=_NOTHING)).clamp(max=1 - torch.finfo(both.dtype).eps / 2)
    return 0.25 * both * ((1 + ratio) * ratio.log1p() + (1 - ratio) * (-ratio).log1p())


def _softmax(dim: int, values: Tensor, top: Tensor | None = None, total: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Probabilities along a dimension, and the logarithm of the sum of exponentials that they are divided by."""
    if top is None:  # it changes nothing, and has no gradient
        top = values.detach().amax(dim, keepdim=True)
    sizes = (values - top).exp()
    if total is None:
        total = sizes.sum(dim, keepdim=True)
    return sizes * total.reciprocal(), top + total.log()


def _map(term: Callable[..., Tensor], preds: Tensor, target: Tensor, totals: TotalsPair | None) -> Tensor:
    """Means over channels of a term, times the number of positions."""
    sides: tuple[Tensor, ...] = (preds, target) if totals is None else (preds, target, *totals[0][:2], *totals[1][:2])
    positions, channels = 1, 2
    if preds.stride(1) == 1:  # the map of a convolution, which lies in memory channel by channel
        sides, positions, channels = tuple(side.transpose(1, 2) for side in sides), 2, 1
    rows = []
    for images in _split(sides, 0):
        several = _split(images, channels) if channels == 1 else [images]
        sums = [term(positions, *some).sum(channels) for some in several]
        rows.append(sum(sums[1:], sums[0]))
    count = preds.shape[1] if totals is None else totals[0].positions
    # Where both sides are equal but for rounding, the sign is chance.
    return count / preds.shape[2] * torch.cat(rows).clamp(min=0)


def _split(sides: Sequence[Tensor], dim: int) -> Iterator[tuple[Tensor, ...]]:
    """Cut all sides along a dimension, so that a part of the first holds as many values as a block, or one slice."""
    if torch.compiler.is_compiling():  # which joins what comes between by itself, and knows no sizes
        return iter([tuple(sides)])
    first = sides[0]
    width = max(1, _BLOCK * first.shape[dim] // max(1, first.numel()))
    return zip(*(side.split(width, dim) for side in sides), strict=True)
