"""Checks of the stages of a monitor, made at its construction and not after an epoch of training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
