"""What the network computes in, and what everything else does."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Precision = Literal["float32", "float64", "bfloat16", "float16", "auto"]

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_PRECISIONS = ("float32", "float64", "bfloat16", "float16", "auto")


def check_precision(precision: str) -> None:
    """Raise a ValueError for a precision that does not exist."""
    if precision not in _PRECISIONS:
        raise ValueError(f"`precision` must be one of {', '.join(_PRECISIONS)}; got {precision!r}")


def image_dtype(precision: Precision, images: Tensor) -> torch.dtype:
    """What everything but the backbone computes in."""
    if precision == "float64":
        return torch.float64
    return torch.float64 if precision == "auto" and images.dtype == torch.float64 else torch.float32


def backbone_dtype(precision: Precision, images: Tensor) -> torch.dtype | None:
    """What the backbone computes in under autocast, ``None`` for full precision."""
    device = images.device.type
    if precision == "auto" and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return _AUTOCAST.get(precision)
