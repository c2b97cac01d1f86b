"""Write tables of results as CSV, JSON or Parquet, chosen by the file's ending."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.safe_write import atomic_write, check_writable, printable, write_text

_ENDINGS = (".csv", ".json", ".parquet")
# A text that a spreadsheet would run as a formula, also after apostrophes: it gets one more, which reading removes.
_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠\t\r]")
_MARKED = re.compile(r"'+\s*[=+\-@＝＋－＠\t\r]")
_NO_UTF8 = re.compile(r"\\udc([89a-f][0-9a-f])")


def check_table_path(path: Path, inputs: Iterable[str | Path | None] = ()) -> None:
    """Check that a table can be written, before any work is done for it.

    Args:
        path: file of the table. A pipe or a device needs no ending and gets CSV.
        inputs: input files, which the table must not replace.

    Raises:
        ValueError: if the ending is unknown, the path is an input or a folder, or the system refuses to write there.
    """
    _ending(path)
    check_writable(path, inputs)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    r"""Write rows with the columns ``names`` in one step, floats in full precision.

    Bytes of a file name that are not UTF-8 are written as ``\udc..``. In CSV a text that a spreadsheet would run as a
    formula gets an apostrophe before it (:func:`csv_text`).

    Raises:
        ValueError: as :func:`check_table_path` does.
    """
    ending = _ending(path)
    plain = [[_plain(row.get(name)) for name in names] for row in rows]
    if ending == ".csv":
        write_text(path, format_csv([names, *plain]))
    elif ending == ".json":
        table = [dict(zip(names, map(json_value, row), strict=True)) for row in plain]
        write_text(path, json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    else:
        import pyarrow
        from pyarrow import parquet

        columns = {name: [row[index] for row in plain] for index, name in enumerate(names)}
        with atomic_write(path) as draft:
            parquet.write_table(pyarrow.table(columns), draft)


def format_csv(lines: Iterable[Sequence[Any]], marked: bool = True) -> str:
    """Lines of values as CSV text; ``marked`` puts an apostrophe before formulas (:func:`csv_text`)."""
    file = io.StringIO(newline="")
    if marked:
        lines = ([csv_text(value) if isinstance(value, str) else value for value in line] for line in lines)
    csv.writer(file).writerows(lines)
    return file.getvalue()


def json_value(value: Any) -> Any:
    """A value of a cell as JSON has it: ``None`` for a number that is not finite, which is no JSON.

    >>> json_value(float("nan")), json_value(0.5), json_value("nan")
    (None, 0.5, 'nan')
    """
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv_text(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would run as a formula.

    >>> csv_text("=1+1.png"), csv_text("plain.png"), csv_text("-0.5")
    ("'=1+1.png", 'plain.png', '-0.5')
    """
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def text_of_csv(text: str) -> str:
    """Undo :func:`csv_text` and :func:`~torchmetrics_fmiqa.safe_write.printable`.

    >>> text_of_csv("'=1+1.png"), text_of_csv("plain.png"), text_of_csv("'tis.png")
    ('=1+1.png', 'plain.png', "'tis.png")
    """
    text = text[1:] if _MARKED.match(text) else text
    return _NO_UTF8.sub(lambda match: chr(int(f"dc{match[1]}", 16)), text)


def _plain(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _ending(path: Path) -> str:
    ending = path.suffix.lower()
    if not ending and path.exists() and not path.is_file() and not path.is_dir():
        return ".csv"  # a pipe, or a device
    if ending not in _ENDINGS:
        raise ValueError(f"a table ends in {', '.join(_ENDINGS)}; got {str(path)!r}")
    return ending
