"""Import this module to register the loss and the metric in BasicSR and in traiNNer-redux, whichever is installed.

In a configuration of BasicSR, after ``import torchmetrics_fmiqa.integrations.basicsr`` in the script that trains::

    train:
      pixel_opt: {type: FeatureDistanceLoss, loss_weight: 0.03}  # gives the loss
      perceptual_opt: {type: PerceptualFeatureDistanceLoss, perceptual_weight: 0.03}  # gives (loss, None)
    val:
      metrics:
        lpips: {type: calculate_fmiqa, recipe: lpips-squeeze, better: lower}

and of traiNNer-redux::

    train:
      losses:
        - {type: FeatureDistanceLoss, loss_weight: 0.03, recipe: lpips-squeeze}
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchmetrics_fmiqa.functional import feature_distance
from torchmetrics_fmiqa.integrations.weighted_loss import FeatureDistanceLoss, checked_weight

_FRAMEWORKS = ("basicsr", "traiNNer")


class PerceptualFeatureDistanceLoss(FeatureDistanceLoss):
    """The loss for BasicSR's ``perceptual_opt``, which asks for a pair of a perceptual and a style loss.

    Args:
        perceptual_weight: what the loss is multiplied by.
        options: as of :class:`FeatureDistanceLoss`.
    """

    def __init__(self, perceptual_weight: float = 1.0, **options: Any) -> None:
        super().__init__(checked_weight("perceptual_weight", perceptual_weight), **options)

    def forward(  # type: ignore[override]
        self, x: Tensor, gt: Tensor
    ) -> tuple[Tensor, None]:
        """Return the weighted loss of images in [0, 1], and no style loss."""
        return super().forward(x, gt), None


def calculate_fmiqa(
    img: np.ndarray[Any, Any],
    img2: np.ndarray[Any, Any],
    crop_border: int = 0,
    input_order: str = "HWC",
    **fields: Any,
) -> float:
    """Feature distance as a validation metric of BasicSR. Lower is better.

    Args:
        img: image under test, blue first, ``(H, W, 3)`` in [0, 255].
        img2: the reference, likewise.
        crop_border: pixels to cut off each side first.
        input_order: ``"HWC"`` or ``"CHW"``.
        fields: ``recipe``, and fields of it.

    Raises:
        ValueError: for another order, and images that do not fit.

    >>> image = np.full((32, 32, 3), 128, np.uint8)
    >>> calculate_fmiqa(image, image)
    0.0
    """
    if input_order not in ("HWC", "CHW"):
        raise ValueError(f"`input_order` must be 'HWC' or 'CHW', got {input_order!r}")

    def batch(image: np.ndarray[Any, Any]) -> Tensor:
        rgb = image[..., ::-1].transpose(2, 0, 1) if input_order == "HWC" else image[::-1]
        return torch.from_numpy(np.ascontiguousarray(rgb))[None]

    found = feature_distance(batch(img), batch(img2), crop_border=crop_border, data_range=255, **fields)
    return float(found)  # type: ignore[arg-type]


def register(losses: Any, metrics: Any) -> None:
    """Register the losses and the metric under their own names.

    Args:
        losses: a registry with ``register(obj)``, as BasicSR's ``LOSS_REGISTRY``.
        metrics: likewise, as its ``METRIC_REGISTRY``.
    """
    losses.register(FeatureDistanceLoss)
    losses.register(PerceptualFeatureDistanceLoss)
    metrics.register(calculate_fmiqa)


def _register_everywhere() -> None:
    installed = [name for name in _FRAMEWORKS if importlib.util.find_spec(name)]
    if not installed:
        raise ModuleNotFoundError("neither basicsr nor traiNNer is installed: there is nothing to register in")
    for name in installed:
        registries = importlib.import_module(f"{name}.utils.registry")
        register(registries.LOSS_REGISTRY, registries.METRIC_REGISTRY)


_register_everywhere()
