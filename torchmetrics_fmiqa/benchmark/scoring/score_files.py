"""Tables of scores as Parquet files: written whole or not at all, and checked before an earlier one is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.data.opening import check_file
from torchmetrics_fmiqa.safe_write import atomic_write


def write_parquet(path: Path, table: Any) -> None:
    """Write a table of pyarrow so that it is whole or not there."""
    from pyarrow import parquet

    with atomic_write(path) as draft:
        parquet.write_table(table, draft)


def read_keys(path: Path, needed: Sequence[str], exactly: bool = True) -> dict[str, list[Any]]:
    """The columns ``ref``, ``dist`` and ``opinion`` of a table that a run left.

    Args:
        path: the table.
        needed: names of the columns that it must have; ``type``, ``level`` and ``std`` may be absent.
        exactly: whether it may have no others.

    Raises:
        ValueError: for a file that is no such table.
    """
    import pyarrow
    from pyarrow import parquet

    check_file(path)
    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"it is no whole Parquet file: {str(error).splitlines()[0]}") from None
    optional = {"type", "level", "std"}
    lacking, more = set(needed) - set(table.column_names), set(table.column_names) - set(needed)
    other = (lacking | more if exactly else lacking) - optional
    if other or len(set(table.column_names)) < len(table.column_names):
        raise ValueError(f"it has other columns ({', '.join(sorted(other)[:3])})")
    return dict(table.select(["ref", "dist", "opinion"]).to_pydict())
