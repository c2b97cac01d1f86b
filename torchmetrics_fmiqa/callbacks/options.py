"""Checks of a monitor's options, made at its construction and not after an epoch of training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

#: Stages in which a monitor can measure.
STAGES = ("val", "test")


def check_stages(stages: Any) -> tuple[str, ...]:
    """Return the stages as a tuple, in their order.

    Raises:
        ValueError: if there is none, or an unknown one.
    """
    names = (stages,) if isinstance(stages, str) else tuple(stages) if isinstance(stages, Iterable) else ()
    if not names or any(stage not in STAGES for stage in names):
        raise ValueError(f"`stages` must be of 'val' and 'test', got {stages!r}")
    return names


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
