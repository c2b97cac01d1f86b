"""Rows of text and CSV files, each with its location for error messages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from torchmetrics_fmiqa.data.csv_dialect import csv_records
from torchmetrics_fmiqa.data.opening import read_bytes, read_text
from torchmetrics_fmiqa.data.remote import Place


def text_lines(path: Path, what: str = "file") -> Iterator[tuple[str, str]]:
    """The lines of a text file that are not empty, each after its location for messages.

    Raises:
        ValueError: if the file is not text.
    """
    for number, line in enumerate(read_text(path, what).splitlines(), 1):
        if line.strip():
            yield f"line {number} of {str(path)!r}", line.strip()


def finite(text: object, column: str, where: str) -> float:
    """Parse a finite number of a table.

    Args:
        text: the cell.
        column: its column, for messages.
        where: its row, for messages.

    Raises:
        ValueError: if the cell is not a finite number.
    """
    try:
        value = float(str(text))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where}: `{column}` must be a finite number, got {text!r}")
    return value


def csv_rows(table: Place) -> tuple[list[tuple[str, dict[str, str]]], list[str]]:
    """Rows of a CSV table, each after its location for messages; and the names of its columns in lower case.

    Raises:
        ValueError: if the file is not a CSV table, has two columns of the same name, or a row has more or fewer fields
            than there are columns.
    """
    columns, rows = open_csv(table)
    return list(rows), columns


def open_csv(table: Place) -> tuple[list[str], Iterator[tuple[str, dict[str, str]]]]:
    """The columns of a CSV table and its rows one by one; both raise as :func:`csv_rows` does."""
    records = csv_records(read_bytes(table, "table"), str(table))
    _, names = next(records, (0, []))
    columns = [column.lower() for column in names]
    repeated = [column for column in columns if column and columns.count(column) > 1]
    if repeated:
        raise ValueError(f"{str(table)!r} has two columns `{repeated[0]}`: rename one")

    def rows() -> Iterator[tuple[str, dict[str, str]]]:
        for line, fields in records:
            where = f"line {line} of {str(table)!r}"
            if len(fields) != len(columns):
                raise ValueError(f"{where} has {len(fields)} fields, and the table {len(columns)} columns")
            yield where, dict(zip(columns, fields, strict=True))

    return columns, rows()


def need_columns(table: Place, columns: list[str], needed: Iterable[str]) -> None:
    """Raise a ValueError that names the first column missing from a table."""
    for name in needed:
        if name not in columns:
            raise ValueError(f"{str(table)!r} has no column `{name}`; it has {', '.join(columns) or 'none'}")
