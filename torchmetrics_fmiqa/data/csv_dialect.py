"""CSV as people have it: between commas, semicolons or tabs, with or without a byte order mark, from any system."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from torchmetrics_fmiqa.data.tables import format_csv, text_of_csv

_DELIMITERS = ",;\t"
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")


def csv_records(content: bytes, table: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV file, the names of its columns first, each with the number of its last line.

    What separates the fields is seen in the first line. Where that is a semicolon, ``3,5`` is the number 3.5.
    Apostrophes before what would be a formula are taken away (:func:`~torchmetrics_fmiqa.data.tables.csv_text`).

    Args:
        content: of the file.
        table: what it is called in messages.

    Raises:
        ValueError: for what is no CSV in UTF-8.

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
    """The same table between commas, in UTF-8 and without any marks; raises as :func:`csv_records` does."""
    delimiter, skipped, text = _dialect(content, table)
    padded = re.search(r"[ \t],|,[ \t]", text.partition("\n")[0])
    if delimiter != "," or skipped or padded or re.search(r"'|\\udc", text):
        text = format_csv((fields for _, fields in csv_records(content, table)), marked=False)
    return text.encode("utf-8", "backslashreplace")  # mostly as it is: a table of scores may be large


def _dialect(content: bytes, table: str) -> tuple[str, int, str]:
    """What separates the fields, the number of lines that say so alone, and the text after them."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{table!r} is text in UTF-16: save it as CSV in UTF-8")
    if b"\0" in content:
        raise ValueError(
            f"{table!r} is no CSV table: it holds zero bytes, as UTF-16 and binary files do; save it as CSV in UTF-8"
        )
    # A name of a file may be no UTF-8, and is found all the same.
    text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    said = re.match(r"sep=(.)\r?\n", text)  # Excel's own first line
    if said:
        return said[1], 1, text[said.end() :]
    first = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").partition("\n")[0])
    return max(_DELIMITERS, key=first.count), 0, text
