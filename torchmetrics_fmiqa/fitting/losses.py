"""The losses of a head: agree with opinions, put pairs in order, choose as people chose."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def plcc_loss(preds: Tensor, target: Tensor) -> Tensor:
    """One minus Pearson's correlation: 0 for a rising line, 1 for no relation, 2 for a falling line.

    Constant ``preds`` or ``target`` have no correlation. They count as 1, with a gradient that spreads ``preds`` along
    ``target``.

    Args:
        preds: ``(N,)`` scores.
        target: ``(N,)`` opinions, turned to the direction of the scores.

    Returns:
        A 0-dim tensor in the dtype of ``preds``.

    Raises:
        ValueError: for shapes that differ or are not ``(N,)``.

    >>> plcc_loss(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, 30.0, 50.0])).round(decimals=4)
    tensor(0.)
    """
    _check(preds, target)
    x, y = _centred(preds), _centred(target)
    lengths = [torch.where(power > 0, power, 1).sqrt() for power in (x.square().sum(), y.square().sum())]
    return (1 - (x * y).sum() / (lengths[0] * lengths[1])).to(preds.dtype)


def ranking_loss(preds: Tensor, target: Tensor, group: Tensor | None = None) -> Tensor:
    """The mean over pairs of ``log(1 + exp(-difference))``, the difference positive if people agree with the order.

    This is RankNet (Burges et al., ICML 2005). It has no margin to choose.

    Args:
        preds: ``(N,)`` scores.
        target: ``(N,)`` opinions, turned to the direction of the scores. Pairs with equal ones do not count.
        group: ``(N,)`` whole numbers. Only pairs within one group count, such as the versions of one reference.

    Returns:
        A 0-dim tensor, 0 if there is no pair.

    Raises:
        ValueError: for shapes that differ or are not ``(N,)``.

    >>> preds, target = torch.tensor([0.0, 3.0, 1.0]), torch.tensor([1.0, 2.0, 2.0])
    >>> ranking_loss(preds, target).round(decimals=4)  # the mean of log(1 + exp(-3)) and log(1 + exp(-1))
    tensor(0.1809)
    """
    _check(preds, target)
    order = torch.sign(target[:, None] - target[None, :]).triu(1)
    if group is not None:
        _check(preds, group, "group")
        order = order * (group[:, None] == group[None, :])
    cost = F.softplus(-(preds[:, None] - preds[None, :]) * order)
    counted = order != 0
    return torch.where(counted, cost, 0).sum() / counted.sum().clamp_min(1)


def opinion_loss(preds: Tensor, target: Tensor) -> Tensor:
    """The sum of :func:`plcc_loss` and :func:`ranking_loss`, which take and refuse the same.

    >>> scores, mos = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([1.0, 2.0, 3.0])
    >>> loss = opinion_loss(scores, mos)  # a line already; further apart would be better still
    >>> bool(opinion_loss(10 * scores, mos) < loss < opinion_loss(-scores, mos))
    True
    """
    return plcc_loss(preds, target) + ranking_loss(preds, target)


def choice_loss(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Cross-entropy of people's choices between two versions of an image (2AFC) with those of distances.

    The chance that the second version is chosen is ``sigmoid(first - second)``. LPIPS (Zhang et al., CVPR 2018) learns
    a small network of both distances in its place. A fixed logistic keeps the distance's own order.

    Args:
        first: ``(N,)`` distances of the first version, higher is worse.
        second: ``(N,)`` distances of the second.
        share: ``(N,)`` share of people, in [0, 1], who found the second version closer.

    Raises:
        ValueError: for shapes that differ or are not ``(N,)``.

    >>> choice_loss(torch.tensor([0.9]), torch.tensor([0.1]), torch.tensor([1.0])).round(decimals=4)
    tensor(0.3711)
    """
    _check(first, second, "second")
    _check(first, share, "share")
    return F.binary_cross_entropy_with_logits(first - second, share.to(first.dtype))


def _centred(values: Tensor) -> Tensor:
    """Subtract the mean. In float64 equal values leave exactly 0, where rounding would be taken for a relation."""
    wide = values.to(torch.float32 if values.device.type == "mps" else torch.float64)
    return wide - wide.mean()


def _check(preds: Tensor, other: Tensor, name: str = "target") -> None:
    if preds.ndim != 1 or preds.shape != other.shape or not len(preds):
        raise ValueError(
            f"scores and `{name}` must be one column (N,) each, got {tuple(preds.shape)} and {tuple(other.shape)}"
        )
