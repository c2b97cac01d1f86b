"""Tables of results on disk: CSV, JSON or Parquet by the file's ending."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_ENDINGS = (".csv", ".json", ".parquet")


def check_table_path(path: Path) -> None:
    """Check that a table can be written there, before any work is done for it.

    Raises:
        ValueError: for an ending that is not known, and for a folder that is not there, or in its place.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise ValueError(f"a table ends in {', '.join(_ENDINGS)}; got {str(path)!r}")
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder: give the name of a file")
    if not path.resolve().parent.is_dir():
        raise ValueError(f"there is no folder {str(path.parent)!r} to write {path.name!r} to")


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Write rows with the columns ``names``, floats in full precision."""
    check_table_path(path)
    ending = path.suffix.lower()
    if ending == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
    elif ending == ".json":
        path.write_text(json.dumps([{name: row[name] for name in names} for row in rows], indent=1) + "\n")
    else:
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({name: [row[name] for row in rows] for name in names}), path)
