"""Parquet files: written whole or not at all, and checked when they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.data.opening import check_file
from torchmetrics_fmiqa.data.remote import Place, open_url
from torchmetrics_fmiqa.safe_write import atomic_write


def write_parquet(path: Path, table: Any) -> None:
    """Write a table of pyarrow so that it is whole or not there."""
    from pyarrow import parquet

    with atomic_write(path) as draft:
        parquet.write_table(table, draft)


@contextmanager
def open_parquet(path: Place) -> Iterator[Any]:
    """A ``ParquetFile`` of pyarrow.

    Raises:
        ValueError: for what is no regular file, and for a URL that cannot be opened.
    """
    from pyarrow import parquet

    if isinstance(path, str):
        with open_url(path) as stream, parquet.ParquetFile(stream) as file:
            yield file
    else:
        check_file(path)
        with parquet.ParquetFile(path) as file:
            yield file


def read_parquet(path: Place, columns: Sequence[str] | None = None) -> Any:
    """Read a table of pyarrow.

    Args:
        path: the file.
        columns: names of the columns to read; by default all.

    Raises:
        ValueError: for a file that is no whole Parquet file, or lacks a column; the message does not name it.
    """
    import pyarrow

    try:
        with open_parquet(path) as file:
            lacking = [name for name in columns or () if name not in file.schema_arrow.names]
            if lacking:
                raise ValueError(f"it has no column {lacking[0]!r}")
            return file.read(columns)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"it is no whole Parquet file: {str(error).splitlines()[0]}") from None


def read_parquet_table(path: Path) -> Any:
    """Read all of a table of pyarrow that a user has named.

    Raises:
        ValueError: for a file that is absent or no whole Parquet file, naming it.
    """
    check_file(path, "table")
    try:
        return read_parquet(path)
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no table: {error}") from None
