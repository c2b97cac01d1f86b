"""What a monitor measures, and checks of its options, made at its construction and not after an epoch of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from torchmetrics_fmiqa.metrics.collection import FeatureMetricCollection
from torchmetrics_fmiqa.metrics.feature_distance import FeatureDistance
from torchmetrics_fmiqa.metrics.image_pair_metric import NanStrategy


@dataclass(frozen=True)
class EvaluationOptions:
    """What an evaluation measures, and how.

    Args:
        metrics: the metrics; an evaluation updates a copy of them.
        worst: number of worst images to keep.
        worst_by: name of the metric that ranks the images.
        drawer: the metric whose maps are drawn, or ``None`` for no maps.
        crop_border: pixels to cut off each side first.
        data_range: range of floating point images.
        nan_strategy: treatment of predictions that are not finite.
    """

    metrics: FeatureMetricCollection
    worst: int
    worst_by: str
    drawer: FeatureDistance | None
    crop_border: int
    data_range: tuple[float, float]
    nan_strategy: NanStrategy

    @property
    def shares(self) -> list[str]:
        """Names of the shares that are reported beside the metrics."""
        return ["share_outside"] if self.nan_strategy == "error" else ["share_outside", "share_not_finite"]

    def settings(self) -> dict[str, Any]:
        """What must be equal on all ranks, by name, as plain values."""
        names = ("worst", "worst_by", "crop_border", "data_range", "nan_strategy")
        own = {name: getattr(self, name) for name in names} | {"maps": self.drawer is not None}
        return own | self.metrics.settings()


def check_text(value: Any, name: str) -> str:
    """Return a string.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(value, str):
        raise ValueError(f"`{name}` must be a text, got {value!r}")
    return value


def check_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """Return a floating point dtype, which may be given by its name.

    Raises:
        ValueError: if there is no such type.
    """
    resolved = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is not None and not (isinstance(resolved, torch.dtype) and resolved.is_floating_point):
        raise ValueError(f"`cache_dtype` must be 'float16', 'bfloat16', 'float32' or None, got {dtype!r}")
    return resolved


def check_device(device: torch.device | str) -> torch.device:
    """Return a device.

    Raises:
        ValueError: if there is no such device here.
    """
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"`cache_device` must be a device such as 'cpu' or 'cuda', got {device!r}") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"`cache_device={str(device)!r}`, but there is no CUDA device here: give 'cpu'")
    return resolved
