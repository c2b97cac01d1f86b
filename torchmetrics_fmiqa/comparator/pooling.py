"""Values over the pixels or the patches of an image, pooled to three numbers: mean, spread and bad tail."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.image_checks import check_mask, check_mask_values

#: What :func:`pool` and :func:`pool_map` give, in their order.
POOLED = ("mean", "spread", "p95")

_PERCENT = 95


def pool_map(drawn: Tensor, mask: Tensor | None = None, validate: bool = True) -> Tensor:
    """Pool a map to its mean, its spread (standard deviation) and its 95th percentile over the pixels, by :func:`pool`.

    Args:
        drawn: a map ``(N, 1, H, W)``, floating point; half types are raised to float32.
        mask: ``(N, 1, H, W)`` weights of pixels (boolean, or floats of at least 0).
        validate: look at the values of the mask too (on a GPU this waits for the device).

    Returns:
        ``(N, 3)`` in the order of :data:`POOLED`.

    Raises:
        ValueError: if the map is no ``(N, 1, H, W)`` of floats, or the mask does not fit it.

    >>> drawn = torch.arange(100.0).view(1, 1, 10, 10)
    >>> pool_map(drawn)
    tensor([[49.5000, 28.8661, 94.0000]])
    >>> pool_map(drawn, mask=drawn < 20)
    tensor([[ 9.5000,  5.7663, 18.0000]])
    """
    _check_map(drawn)
    check_mask(mask, drawn)
    values = drawn.flatten(1)
    values = values if values.dtype == torch.float64 else values.float()
    weights = None if mask is None else mask.flatten(1).to(values.dtype)
    if weights is not None and validate and not torch.compiler.is_compiling():
        check_mask_values(weights[:, None])
    return pool(values, weights)


def pool(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """Pool values to their mean, their spread (standard deviation) and their 95th percentile.

    The percentile is the least value that 95 % of the values (by weight) do not exceed: one of the values, and exact
    for any number of them (``numpy.quantile(method="inverted_cdf")``). Without weights it is found by selection;
    with them the values are sorted, which takes about ten times as long. Its gradient goes to the place of that value
    (without weights evenly to all that have it). All gradients are finite, also where values are equal.

    Args:
        values: ``(N, P)``, float32 or float64.
        weights: ``(N, P)``, at least 0 and not all 0; only their proportions count.

    Returns:
        ``(N, 3)`` in the order of :data:`POOLED`.

    >>> pool(torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([[1.0, 1.0, 0.0]]))
    tensor([[2., 1., 3.]])
    """
    centre = _mean(values, weights)
    spread = _root(_mean((values - centre[:, None]).square(), weights))
    percentile = _percentile(values) if weights is None else _weighted_percentile(values, weights)
    return torch.stack([centre, spread, percentile], 1)


def _check_map(drawn: Tensor) -> None:
    if not isinstance(drawn, Tensor) or drawn.ndim != 4 or drawn.shape[1] != 1 or drawn.numel() == 0:
        found = tuple(drawn.shape) if isinstance(drawn, Tensor) else type(drawn).__name__
        raise ValueError(f"a map must be a tensor (N, 1, H, W) with pixels, got {found}")
    if not drawn.is_floating_point():
        raise ValueError(f"a map must be floating point, got {drawn.dtype}: convert it first")


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    return values.mean(1) if weights is None else (values * weights).sum(1) / weights.sum(1)


def _root(squares: Tensor) -> Tensor:
    """Square root with a zero (not an infinite) gradient at zero. NaN stays NaN."""
    positive = squares != 0  # or NaN
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)


def _percentile(values: Tensor) -> Tensor:
    """Select among ``(N, P)``: the least of the values from the percentile up."""
    pixels = values.shape[1]
    above = pixels - -(-_PERCENT * pixels // 100) + 1
    # torch.quantile takes 16 million values at most; torch.kthvalue is refused on CUDA where runs must be repeatable.
    return values.topk(above, 1, sorted=False).values.amin(1)


def _weighted_percentile(values: Tensor, weights: Tensor) -> Tensor:
    """Sort ``(N, P)``: the least value up to which there is the percentile's share of the weights."""
    ordered, order = values.sort(dim=1, stable=True)
    with torch.no_grad():
        reached = weights.double().gather(1, order).cumsum(1)
        place = (100 * reached < _PERCENT * reached[:, -1:]).sum(1, keepdim=True)
    return ordered.gather(1, place).squeeze(1)
