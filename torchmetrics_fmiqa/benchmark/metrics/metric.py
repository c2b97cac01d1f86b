"""A metric of a benchmark: a name, a direction, and a function of two batches of images.

:func:`library_metric` wraps a library's function so that it takes no images that it would score wrongly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from torchmetrics_fmiqa.features.content_hash import content_of
from torchmetrics_fmiqa.features.image_checks import check_pair

#: ``(preds, target)``, both ``(N, 3, H, W)`` float32 in [0, 1] and of one size, to one value an image, ``(N,)``.
Scorer = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Metric:
    """A metric of two images."""

    name: str  #: what it is called in tables; no commas, ``@`` or ``|``
    #: The function; differentiable with respect to ``preds`` where ``differentiable`` says so.
    score: Scorer = field(repr=False, compare=False)
    higher_is_better: bool  #: whether it is a quality (PSNR, SSIM) or a distance
    differentiable: bool  #: whether a gradient with respect to ``preds`` flows
    identity: str  #: what its numbers depend on: versions, weights, settings
    minimum_side: int = 1  #: the least side of an image that it takes, in pixels
    parameters: float = 0.0  #: parameters of its network, in millions; 0 without one


@dataclass(frozen=True)
class Skipped:
    """A metric that was asked for and cannot run here, and why."""

    name: str
    reason: str


def library_metric(
    name: str,
    score: Scorer,
    device: torch.device,
    source: str,
    minimum_side: int = 1,
    higher_is_better: bool = False,
    differentiable: bool = True,
    network: nn.Module | None = None,
) -> Metric:
    """Make a metric of a library's function: its input is checked, autocast off, and no graph kept without use.

    Args:
        name: of the metric.
        score: the library's function; ``(N,)``, or no dimension at all for one image.
        device: where the images must lie, and the network is.
        source: library, version and settings, for the identity.
        minimum_side: the least side of an image that it takes, in pixels.
        higher_is_better: whether it is a quality or a distance.
        differentiable: whether the library gives a gradient.
        network: the network in it: its weights are part of the identity, its parameters are counted.

    Returns:
        A metric that raises ValueError for images of another shape, dtype, device, size or range than
        ``(N, 3, H, W)`` float32 in [0, 1], naming what is wrong.
    """

    def checked_score(preds: Tensor, target: Tensor) -> Tensor:
        check_pair(preds, target)
        for side, images in (("preds", preds), ("target", target)):
            _check(name, side, images, device, minimum_side)
        with (
            torch.set_grad_enabled(torch.is_grad_enabled() and differentiable),
            torch.autocast(preds.device.type, enabled=False),
        ):
            return score(preds, target).reshape(len(preds))

    identity, parameters = source, 0.0
    if network is not None:
        digest = hashlib.sha256(content_of(dict(network.state_dict())).encode()).hexdigest()
        identity += f", sha256:{digest[:16]}"
        parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    return Metric(name, checked_score, higher_is_better, differentiable, identity, minimum_side, parameters)


def _check(name: str, side: str, images: Tensor, device: torch.device, minimum_side: int) -> None:
    if images.dtype != torch.float32:
        raise ValueError(f"{name} takes float32 images in [0, 1], `{side}` is {images.dtype}: convert it")
    if images.device.type != device.type or device.index not in (None, images.device.index):
        raise ValueError(f"{name} was made for {device}, `{side}` is on {images.device}: move it, or make {name} there")
    height, width = images.shape[2:]
    if min(height, width) < minimum_side:
        raise ValueError(f"{name} needs images of at least {minimum_side} pixels a side, `{side}` is {height}x{width}")
    low, high = torch.stack(images.detach().aminmax()).tolist()  # a NaN anywhere makes both NaN
    if not (low >= 0 and high <= 1):
        # LPIPS and PSNR would take such values without a word, piq would stop with an AssertionError.
        raise ValueError(f"{name} takes images in [0, 1], `{side}` spans {low:.6g} .. {high:.6g}: scale or clamp it")
