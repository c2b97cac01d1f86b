"""Rows of text and CSV files, each with where it is, so that a message can say so."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from pathlib import Path


def text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file that are not empty, each with where it is, for messages.

    Raises:
        ValueError: if it is no text file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise ValueError(f"cannot read {str(path)!r} as text: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"line {number} of {str(path)!r}", line.strip()


def finite(text: object, what: str, where: str) -> float:
    """A number of a table.

    Raises:
        ValueError: if it is none, or not finite, saying where.
    """
    try:
        value = float(str(text))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where}: `{what}` must be a finite number, got {text!r}")
    return value


def csv_rows(table: Path) -> tuple[list[tuple[str, dict[str, str]]], list[str]]:
    """Rows of a CSV table, each with where it is, and its columns in lower case.

    Raises:
        ValueError: if it is no CSV table, or a row has more or fewer fields than there are columns.
    """
    rows: list[tuple[str, dict[str, str]]] = []
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = [column.strip().lower() for column in next(reader, [])]
            for fields in reader:
                if not any(field.strip() for field in fields):
                    continue
                where = f"line {reader.line_num} of {str(table)!r}"
                if len(fields) != len(columns):
                    raise ValueError(f"{where} has {len(fields)} fields, and the table {len(columns)} columns")
                rows.append((where, {key: field.strip() for key, field in zip(columns, fields, strict=True)}))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{str(table)!r} is no CSV table: {error}") from error
    return rows, columns


def need_columns(table: Path, columns: list[str], needed: Iterable[str]) -> None:
    """Raise a ValueError that names the first column that a table lacks."""
    for name in needed:
        if name not in columns:
            raise ValueError(f"{str(table)!r} has no column `{name}`; it has {', '.join(columns) or 'none'}")
