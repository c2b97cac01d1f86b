"""Warn if a metric is used as a loss: its result has no gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.misuse import WarnOnce


def warn_of_lost_gradient(warn: WarnOnce, *images: Any, **others: Any) -> None:
    """Warn once if the arguments of ``forward`` require a gradient, which the result will not have.

    Args:
        warn: callable that warns once.
        images: positional arguments of ``forward``: tensors, or lists of them.
        others: keyword arguments of ``forward``.
    """
    if torch.is_grad_enabled() and any(requires_grad(side) for side in (*images, *others.values())):
        warn(
            "gradient",
            "the images require a gradient, but the result of a metric has none: in a loss it trains nothing. Take "
            "FeatureDistanceLoss (SpipsLoss for SPIPS, GridArtifactLoss for GridArtifact) to train with; to log the "
            "metric give preds.detach(), or call `update`",
        )


def requires_grad(images: Any) -> bool:
    """Whether a tensor, or any of a list of them, requires a gradient."""
    if isinstance(images, (list, tuple)):
        return any(requires_grad(image) for image in images)
    return isinstance(images, Tensor) and images.requires_grad
