"""Tables of scores that a run left, checked before they are used again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.data.parquet import read_parquet


def read_keys(path: Path, needed: Sequence[str], exactly: bool = True) -> dict[str, list[Any]]:
    """The columns ``ref``, ``dist`` and ``opinion`` of a table that a run left.

    Args:
        path: the table.
        needed: names of the columns that it must have; ``type``, ``level`` and ``std`` may be absent.
        exactly: whether it may have no others.

    Raises:
        ValueError: for a file that is no such table.
    """
    table = read_parquet(path)
    optional = {"type", "level", "std"}
    lacking, more = set(needed) - set(table.column_names), set(table.column_names) - set(needed)
    other = (lacking | more if exactly else lacking) - optional
    if other or len(set(table.column_names)) < len(table.column_names):
        raise ValueError(f"it has other columns ({', '.join(sorted(other)[:3])})")
    return dict(table.select(["ref", "dist", "opinion"]).to_pydict())
