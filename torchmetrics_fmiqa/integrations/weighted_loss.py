"""The loss as training frameworks build it from a configuration: with a weight, and their names for its arguments."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchmetrics_fmiqa import losses
from torchmetrics_fmiqa.arguments import short_repr


class FeatureDistanceLoss(losses.FeatureDistanceLoss):
    """:class:`torchmetrics_fmiqa.FeatureDistanceLoss` times a weight.

    Args:
        loss_weight: what the loss is multiplied by, a finite number.
        options: of the loss: ``recipe``, ``random_shift``, fields of a recipe.

    Raises:
        ValueError: for a weight that is no finite number, and as the loss does.

    >>> import torch
    >>> loss = FeatureDistanceLoss(loss_weight=0.03)
    >>> images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> bool(loss(0.9 * images, images) > 0)
    True
    """

    def __init__(self, loss_weight: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.loss_weight = checked_weight("loss_weight", loss_weight)

    def forward(  # type: ignore[override]
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, **_: Any
    ) -> Tensor:
        """Return the weighted loss of images in [0, 1]; ``weight`` is a mask ``(N, 1, H, W)``."""
        return self.loss_weight * super().forward(pred, target, weight)


def checked_weight(name: str, value: Any) -> float:
    """Return a weight as a float.

    Raises:
        ValueError: if it is no finite number.
    """
    try:
        number = float("nan") if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not abs(number) < float("inf"):
        raise ValueError(f"`{name}` must be a finite number, got {short_repr(value)}")
    return number
