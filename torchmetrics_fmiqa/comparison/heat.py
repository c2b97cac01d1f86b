"""Where the metric of the answer sees a difference."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.metrics.panel import Panel

#: Measures where a pair differs: ``(preds, target)``, both ``(1, 3, H, W)`` float32 in [0, 1], to ``(1, 1, H, W)``.
Heat = Callable[[Tensor, Tensor], Tensor]


def metric_heat(panel: Panel, metric: str, device: torch.device | str = "cpu") -> Heat | None:
    """The map of one of the panel's metrics; ``None`` for a metric without maps, such as PSNR.

    Args:
        panel: the metrics.
        metric: name of one of them.
        device: where it runs.

    >>> metric_heat(Panel({}), "psnr") is None
    True
    """
    comparator = panel.comparator(metric)
    if comparator is None or not comparator.has_maps:
        return None

    def heat(preds: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            return next(iter(comparator.maps(preds.to(device), target.to(device)).values()))["score"].cpu()

    return heat
