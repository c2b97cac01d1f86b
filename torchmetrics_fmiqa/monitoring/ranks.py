"""Communication between the ranks of a run, beside that of metrics."""

from __future__ import annotations

from typing import Any

from torch import distributed


def several_ranks() -> bool:
    """Whether the run has more than one rank."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def own_rank() -> int:
    """The rank of this process; 0 where there is one."""
    return distributed.get_rank() if several_ranks() else 0


def gather_on_first(value: Any) -> list[Any]:
    """On rank 0 the values of all ranks, in their order, elsewhere nothing. Every rank must call this."""
    if not several_ranks():
        return [value]
    parts: list[Any] | None = [None] * distributed.get_world_size() if own_rank() == 0 else None
    distributed.gather_object(value, parts, dst=0)
    return parts or []


def gather_objects(value: Any) -> list[Any]:
    """The values of all ranks, in their order. Every rank must call this."""
    if not several_ranks():
        return [value]
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, value)
    return parts
