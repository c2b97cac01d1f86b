"""What the ranks of a run tell each other outside of metrics."""

from __future__ import annotations

from typing import Any

from torch import distributed


def several_ranks() -> bool:
    """Whether other processes take part."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def gather_objects(value: Any) -> list[Any]:
    """The values of all ranks, rank by rank. Every rank must call it."""
    if not several_ranks():
        return [value]
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, value)
    return parts
