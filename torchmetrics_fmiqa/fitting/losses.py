"""What a fused score is trained for: to run along with opinions, to put pairs in order, to choose as people chose."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def plcc_loss(preds: Tensor, target: Tensor) -> Tensor:
    """One less Pearson's correlation: 0 for a line that rises, 1 for no relation, 2 for a line that falls.

    Constant ``preds`` or ``target`` have no correlation; they count as 1, with a gradient that spreads ``preds`` along
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
    lengths = [torch.where(one > 0, one, 1).sqrt() for one in (x.square().sum(), y.square().sum())]
    return (1 - (x * y).sum() / (lengths[0] * lengths[1])).to(preds.dtype)


def ranking_loss(preds: Tensor, target: Tensor, group: Tensor | None = None, margin: float | None = None) -> Tensor:
    """Mean over pairs of images of what it costs to order them otherwise than people did.

    Args:
        preds: ``(N,)`` scores.
        target: ``(N,)`` opinions, turned to the direction of the scores; pairs with equal ones do not count.
        group: ``(N,)`` whole numbers; only pairs within one group count, such as versions of one reference, or images
            of one data set, whose opinions are on one scale.
        margin: of a hinge, ``max(0, margin - difference)``; by default the logistic loss ``log(1 + exp(-difference))``
            (RankNet: Burges et al., ICML 2005), which has no margin to choose.

    Returns:
        A 0-dim tensor, 0 if there is no pair.

    Raises:
        ValueError: for shapes that differ or are not ``(N,)``, and for a negative margin.

    >>> preds, target = torch.tensor([0.0, 3.0, 1.0]), torch.tensor([1.0, 2.0, 3.0])
    >>> ranking_loss(preds, target, margin=1.0)  # only the last two are in the wrong order, by 2
    tensor(1.)
    """
    _check(preds, target)
    order = torch.sign(target[:, None] - target[None, :]).triu(1)
    if group is not None:
        _check(preds, group, "group")
        order = order * (group[:, None] == group[None, :])
    difference = (preds[:, None] - preds[None, :]) * order
    if margin is None:
        cost = F.softplus(-difference)
    elif margin >= 0:
        cost = F.relu(margin - difference)
    else:
        raise ValueError(f"`margin` must be at least 0, got {margin}")
    counted = order != 0
    return torch.where(counted, cost, 0).sum() / counted.sum().clamp_min(1)


def opinion_loss(
    preds: Tensor, target: Tensor, group: Tensor | None = None, plcc_weight: float = 1.0, ranking_weight: float = 1.0
) -> Tensor:
    """The weighted sum of :func:`plcc_loss` and the logistic :func:`ranking_loss`.

    With groups, which may be data sets whose opinions are on different scales, the correlation too is taken within
    each, and the groups' mean counts.

    Args:
        preds: ``(N,)`` scores.
        target: ``(N,)`` opinions, turned to the direction of the scores.
        group: ``(N,)`` whole numbers.
        plcc_weight: of the correlation.
        ranking_weight: of the order of pairs.

    Raises:
        ValueError: for shapes that differ or are not ``(N,)``.

    >>> scores, mos = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([1.0, 2.0, 3.0])
    >>> loss = opinion_loss(scores, mos)  # a line already; further apart would be better still
    >>> bool(opinion_loss(10 * scores, mos) < loss < opinion_loss(-scores, mos))
    True
    """
    _check(preds, target)
    if group is None:
        straight = plcc_loss(preds, target)
    else:
        _check(preds, group, "group")
        own = [group == one for one in group.unique()]
        straight = torch.stack([plcc_loss(preds[rows], target[rows]) for rows in own]).mean()
    return plcc_weight * straight + ranking_weight * ranking_loss(preds, target, group)


def choice_loss(first: Tensor, second: Tensor, share: Tensor, sharpness: float = 1.0) -> Tensor:
    """Cross-entropy of people's choices between two versions of an image (2AFC) with those of distances.

    The chance that the second version is chosen is ``sigmoid(sharpness * (first - second))``. LPIPS (Zhang et al., CVPR
    2018) learns a small network of both distances in its place; a fixed logistic keeps the distance's own order.

    Args:
        first: ``(N,)`` distances of the first version, higher is worse.
        second: ``(N,)`` distances of the second.
        share: ``(N,)`` share of people, in [0, 1], who found the second version closer.
        sharpness: of the logistic.

    Raises:
        ValueError: for shapes that differ or are not ``(N,)``.

    >>> choice_loss(torch.tensor([0.9]), torch.tensor([0.1]), torch.tensor([1.0])).round(decimals=4)
    tensor(0.3711)
    """
    _check(first, second, "second")
    _check(first, share, "share")
    return F.binary_cross_entropy_with_logits(sharpness * (first - second), share.to(first.dtype))


def _centred(values: Tensor) -> Tensor:
    """Less the mean. In float64 equal values leave exactly 0, where rounding would be taken for a relation."""
    wide = values.to(torch.float32 if values.device.type == "mps" else torch.float64)
    return wide - wide.mean()


def _check(preds: Tensor, other: Tensor, name: str = "target") -> None:
    if preds.ndim != 1 or preds.shape != other.shape or not len(preds):
        raise ValueError(
            f"scores and `{name}` must be one column (N,) each, got {tuple(preds.shape)} and {tuple(other.shape)}"
        )
