"""Read CSV of any common dialect: comma, semicolon or tab, with or without a byte order mark."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from torchmetrics_fmiqa.data.tables import format_csv, text_of_csv

_DELIMITERS = ",;\t"
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")


def csv_records(content: bytes, table: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV file, each after the number of its last line; the first record holds the column names.

    The first line tells the delimiter. If it is a semicolon, ``3,5`` is the number 3.5. Apostrophes before formulas are
    removed (:func:`~torchmetrics_fmiqa.data.tables.csv_text`).

    Args:
        content: bytes of the file.
        table: name of the file for messages.

    Raises:
        ValueError: if the content is not CSV in UTF-8.

    >>> list(csv_records(b"Ref; mos" + bytes([10]) + b"a.png; 3,5", "pairs.csv"))
    [(1, ['Ref', 'mos']), (2, ['a.png', '3.5'])]
    """
    delimiter, skipped, text = _dialect(content, table)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                cells = [text_of_csv(field.strip()) for field in fields]
                if delimiter == ";":
                    cells = [cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell for cell in cells]
                yield reader.line_num + skipped, cells
    except csv.Error as error:
        raise ValueError(f"{table!r} is no CSV table: line {reader.line_num + skipped}: {error}") from error


def plain_csv(content: bytes, table: str) -> bytes:
    """The same table with commas as delimiters, in UTF-8, without marks; raises as :func:`csv_records` does."""
    delimiter, skipped, text = _dialect(content, table)
    padded = re.search(r"[ \t],|,[ \t]", text.partition("\n")[0])
    if delimiter != "," or skipped or padded or re.search(r"'|\\udc", text):
        text = format_csv((fields for _, fields in csv_records(content, table)), marked=False)
    return text.encode("utf-8", "backslashreplace")  # mostly unparsed: a table of scores may be large


def _dialect(content: bytes, table: str) -> tuple[str, int, str]:
    """The delimiter, the number of lines that only declare it, and the text after them."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{table!r} is text in UTF-16: save it as CSV in UTF-8")
    if b"\0" in content:
        raise ValueError(
            f"{table!r} is no CSV table: it holds zero bytes, as UTF-16 and binary files do; save it as CSV in UTF-8"
        )
    # File names may have bytes that are not UTF-8; they must survive to open the file.
    text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    declaration = re.match(r"sep=(.)\r?\n", text)  # Excel's own first line
    if declaration:
        return declaration[1], 1, text[declaration.end() :]
    first_line = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").partition("\n")[0])
    return max(_DELIMITERS, key=first_line.count), 0, text
