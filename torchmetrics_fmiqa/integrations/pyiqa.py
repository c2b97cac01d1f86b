"""The metric and the loss in pyiqa: ``pyiqa.create_metric("fmiqa")``.

pyiqa finds this module by its entry points as soon as it looks an architecture or a loss up. Its table of names is no
registry, so a script whose first metric is ours imports this module first; importing it registers too.
"""

from __future__ import annotations

from typing import Any

from pyiqa.default_model_configs import DEFAULT_CONFIGS
from pyiqa.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY
from torch import Tensor, nn

from torchmetrics_fmiqa import losses
from torchmetrics_fmiqa.integrations.weighted_loss import FeatureDistanceLoss
from torchmetrics_fmiqa.recipes import RECIPES

#: The name of the default recipe in pyiqa; others are called ``fmiqa-RECIPE``.
NAME = "fmiqa"


class FeatureDistanceNet(nn.Module):
    """The feature distance as pyiqa builds it, for images in [0, 1]. Lower is better.

    Args:
        options: of :class:`~torchmetrics_fmiqa.FeatureDistanceLoss`: ``recipe``, and fields of it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.distance = losses.FeatureDistanceLoss(reduction="none", **options)

    def forward(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the distance of each image, ``(N, 1)``."""
        return self.distance(preds, target)[:, None]  # type: ignore[no-any-return]


def register_archs() -> None:
    """Register the network, and the names of the recipes. Calling it again changes nothing."""
    if FeatureDistanceNet.__name__ not in ARCH_REGISTRY:
        ARCH_REGISTRY.register(FeatureDistanceNet)
    for recipe in RECIPES:
        DEFAULT_CONFIGS[NAME if recipe == "default" else f"{NAME}-{recipe}"] = {
            "metric_opts": {"type": FeatureDistanceNet.__name__, "recipe": recipe},
            "metric_mode": "FR",
            "lower_better": True,
            "score_range": "0, ~1",
        }


def register_losses() -> None:
    """Register the loss. Calling it again changes nothing."""
    if FeatureDistanceLoss.__name__ not in LOSS_REGISTRY:
        LOSS_REGISTRY.register(FeatureDistanceLoss)


register_archs()
register_losses()
