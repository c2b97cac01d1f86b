"""What a benchmark measures pairs with: a name, a direction, and a function of two batches of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

#: ``(preds, target)``, both ``(N, 3, H, W)`` float32 in [0, 1] and of one size, to one value an image, ``(N,)``.
Scorer = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Measure:
    """A metric of two images.

    Args:
        name: what it is called in tables; no commas, ``@`` or ``|``.
        score: the function; differentiable with respect to ``preds`` where ``differentiable`` says so.
        higher_is_better: whether it is a quality (PSNR, SSIM) or a distance.
        differentiable: whether a gradient with respect to ``preds`` flows.
        identity: what its numbers depend on: versions, weights, settings.
        minimum_side: the least side of an image that it takes, in pixels.
        parameters: parameters of its network, in millions; 0 without one.
    """

    name: str
    score: Scorer = field(repr=False, compare=False)
    higher_is_better: bool
    differentiable: bool
    identity: str
    minimum_side: int = 1
    parameters: float = 0.0


@dataclass(frozen=True)
class Skipped:
    """A metric that was asked for and cannot run here, and why."""

    name: str
    reason: str
