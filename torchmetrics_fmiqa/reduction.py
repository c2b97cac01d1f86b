"""Reduction of values over images: mean, sum or none."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

Reduction = Literal["mean", "sum", "none"]


def check_reduction(reduction: str | None) -> Reduction:
    """Return the reduction (``None`` means ``"none"``, as in torchmetrics).

    Raises:
        ValueError: for any other value.
    """
    reduction = "none" if reduction is None else reduction
    if reduction not in get_args(Reduction):
        raise ValueError(f"`reduction` must be one of {', '.join(get_args(Reduction))}; got {reduction!r}")
    return reduction  # type: ignore[return-value]


def reduce(values: Tensor, reduction: Reduction) -> Tensor:
    """Reduce values ``(N,)`` over images."""
    if reduction == "none":
        return values
    return values.mean() if reduction == "mean" else values.sum()
