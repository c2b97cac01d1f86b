"""Read pairs of images with opinion scores from the user's own CSV table."""

from __future__ import annotations

import re
from pathlib import Path

from torchmetrics_fmiqa.data.dataset_reader import DatasetReader
from torchmetrics_fmiqa.data.opening import check_file
from torchmetrics_fmiqa.data.rated_pairs import (
    Direction,
    JndPair,
    JndPairs,
    OpinionIs,
    RatedPair,
    RatedPairs,
    Triplet,
    Triplets,
)
from torchmetrics_fmiqa.data.rows import csv_rows, finite, need_columns

# The public import path of rated pairs; they are defined in rated_pairs.py.
__all__ = [
    "Direction",
    "JndPair",
    "JndPairs",
    "OpinionIs",
    "RatedPair",
    "RatedPairs",
    "Triplet",
    "Triplets",
    "csv_rows",
    "read_rated_csv",
]


def read_rated_csv(
    path: str | Path,
    root: str | Path | None = None,
    opinion: str | None = None,
    opinion_is: OpinionIs | None = None,
    name: str | None = None,
) -> RatedPairs:
    r"""Read a CSV table of pairs with opinion scores.

    The columns are ``ref`` and ``dist`` (paths), ``mos`` or ``dmos``, and optionally ``type``, ``level`` and ``std``.
    Others are ignored; the case of column names does not matter. A higher ``mos`` is better and a higher ``dmos`` is
    worse, unless ``opinion_is`` is given.

    Args:
        path: the table.
        root: folder that the table's paths are relative to; by default the table's folder.
        opinion: the column with the opinion, such as ``"mos_norm"``.
        opinion_is: ``"better"`` or ``"worse"``: what a higher opinion means, whatever the column is called.
        name: name of the dataset; by default that of the table's folder.

    Raises:
        ValueError: if the table cannot be read, lacks a column or has both ``mos`` and ``dmos``; if a row is broken or
            repeated (the message names its line); if no pair has its files.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> for file in ("a.png", "a_jpeg.png"):
    ...     Image.new("RGB", (16, 16)).save(folder / file)
    >>> rows = ["ref,dist,dmos,type", "a.png,a_jpeg.png,41.5,jpeg", "a.png,a_blur.png,60,blur"]
    >>> _ = (folder / "pairs.csv").write_text("\n".join(rows))
    >>> rated = read_rated_csv(folder / "pairs.csv")
    >>> len(rated), rated.pairs[0].opinion, rated.higher_is_better, rated.direction
    (1, 41.5, False, 'column')
    >>> rated.missing[0].name, rated.missing[0].reason
    ('a_blur.png', 'there is no such file')
    """
    table = Path(path)
    check_file(table, "table")
    folder = table.parent if root is None else Path(root)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}")
    if opinion_is not in (None, "better", "worse"):
        raise ValueError(f"`opinion_is` must be 'better' or 'worse', got {opinion_is!r}")
    rows, columns = csv_rows(table)
    opinion_column = _opinion_column(table, columns, opinion)
    need_columns(table, columns, ("ref", "dist"))
    reader = DatasetReader(name or table.absolute().parent.name, folder, table)
    for where, row in rows:
        if not row["ref"] or not row["dist"]:
            raise ValueError(f"{where} lacks `ref` or `dist`")
        level, std = (finite(row[key], key, where) if row.get(key) else None for key in ("level", "std"))
        if std is not None and std < 0:
            raise ValueError(f"{where}: `std` must not be negative, got {std:g}")
        value = finite(row[opinion_column], opinion_column, where)
        reader.add(where, Path(row["ref"]), Path(row["dist"]), value, row.get("type", ""), level, std)
    if opinion_is is not None:
        return reader.rated_pairs(opinion_is == "better", "flag")
    column_kind = re.search(r"(?:^|_)(d?mos)(?:_|$)", opinion_column)
    if column_kind:
        return reader.rated_pairs(column_kind[1] == "mos", "column")
    return reader.rated_pairs(None, "unknown")


def _opinion_column(table: Path, columns: list[str], opinion: str | None) -> str:
    if opinion is not None:
        need_columns(table, columns, (opinion.lower(),))
        return opinion.lower()
    candidates = [name for name in ("mos", "dmos") if name in columns]
    if len(candidates) == 1:
        return candidates[0]
    problem = "has the columns `mos` and `dmos`" if candidates else "has no column `mos` or `dmos`"
    raise ValueError(f"{str(table)!r} {problem}: name the one to take (--opinion); it has {', '.join(columns)}")
