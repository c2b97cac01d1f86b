"""CSIQ: ``src_imgs/``, ``dst_imgs/TYPE/``, ``csiq.DMOS.xlsx`` or a text export of its sheet ``all_by_image``."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.data.dataset_reader import DatasetReader, FolderListing
from torchmetrics_fmiqa.data.opening import open_file
from torchmetrics_fmiqa.data.rated_pairs import RatedPairs
from torchmetrics_fmiqa.data.rows import finite, text_lines

_COLUMNS = ("image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos")

#: Folder, and type in the file name, of each type in the table.
_FILES = {
    "noise": ("awgn", "AWGN"),
    "blur": ("blur", "BLUR"),
    "contrast": ("contrast", "contrast"),
    "fnoise": ("fnoise", "fnoise"),
    "jpeg": ("jpeg", "JPEG"),
    "jpeg 2000": ("jpeg2000", "jpeg2000"),
}


def read_csiq(data_dir: str | Path, table: str | Path | None = None) -> RatedPairs:
    """Read CSIQ: 30 references, 866 distorted images of six types at four or five levels; DMOS, higher is worse.

    E. C. Larson and D. M. Chandler, "Most apparent distortion: full-reference image quality assessment and the role of
    strategy", Journal of Electronic Imaging 19(1), 2010; https://s2.smu.edu/~eclarson/csiq.html.

    Args:
        data_dir: folder with ``src_imgs/``, ``dst_imgs/`` (a folder for each type, or all in one) and the table.
        table: the table, if it is not ``csiq.DMOS.xlsx`` (needs openpyxl), ``csiq.DMOS.csv`` or ``csiq.DMOS.txt`` in
            that folder, looked for from the last to the first. A text table has the sheet's columns image, dst_idx,
            dst_type, dst_lev, dmos_std and dmos, between commas, semicolons, tabs or spaces, with or without their
            names on top.

    Raises:
        ValueError: if the table does not exist, no pair has its images, or a line is broken (the message names it).
        ModuleNotFoundError: for the .xlsx table without openpyxl.
    """
    root = Path(data_dir)
    path = _table(root) if table is None else Path(table)
    reader = DatasetReader("csiq", root, path)
    flat = any(name.lower().endswith(".png") for name in reader.listing.names(root / "dst_imgs"))
    for where, fields in _sheet_rows(path) if path.suffix.lower() == ".xlsx" else _text_rows(path):
        row = dict(zip(_COLUMNS, fields, strict=True))
        image, kind = _plain(row["image"]), _plain(row["dst_type"]).lower()
        kind = "jpeg 2000" if kind == "jpeg2000" else "noise" if kind == "awgn" else kind
        if kind not in _FILES:
            raise ValueError(f"{where}: `dst_type` is one of {', '.join(_FILES)}, got {row['dst_type']!r}")
        folder, label = _FILES[kind]
        level = finite(row["dst_lev"], "dst_lev", where)
        dist = Path("dst_imgs", "" if flat else folder, f"{image}.{label}.{level:g}.png")
        dmos, std = finite(row["dmos"], "dmos", where), finite(row["dmos_std"], "dmos_std", where)
        reader.add(where, Path("src_imgs", f"{image}.png"), dist, dmos, folder, level, std)
    return reader.rated_pairs(False, "dataset")


def _table(root: Path) -> Path:
    if not root.is_dir():
        raise ValueError(f"there is no folder {str(root)!r}")
    for name in ("csiq.DMOS.txt", "csiq.DMOS.csv", "csiq.DMOS.xlsx"):
        path = FolderListing().find(root / name)
        if path is not None:
            return path
    raise ValueError(f"{str(root)!r} has no csiq.DMOS.xlsx, and no .csv or .txt export of it")


def _plain(cell: Any) -> str:
    """A cell as text; the image name 1600 is a number in a spreadsheet."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _sheet_rows(path: Path) -> Iterator[tuple[str, list[Any]]]:
    try:
        openpyxl: Any = importlib.import_module("openpyxl")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path.name} is a spreadsheet: `pip install openpyxl` to read it, or save its sheet all_by_image as "
            f"{path.with_suffix('.csv').name}"
        ) from error
    try:
        with open_file(path) as file:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            rows = [list(row) for row in book["all_by_image"].iter_rows(values_only=True)]
    except Exception as error:  # a broken archive raises any exception; a missing sheet is a KeyError
        raise ValueError(f"cannot read the sheet all_by_image of {str(path)!r}: {error}") from error
    indices: list[int] | None = None
    for number, row in enumerate(rows, 1):
        labels = [str(cell).strip().lower() for cell in row]
        if indices is None:
            indices = [labels.index(name) for name in _COLUMNS] if set(_COLUMNS) <= set(labels) else None
        elif any(row[index] is not None for index in indices):
            yield f"row {number} of {str(path)!r}", [row[index] for index in indices]
    if indices is None:
        raise ValueError(f"the sheet all_by_image of {str(path)!r} has no row of titles {', '.join(_COLUMNS)}")


def _text_rows(path: Path) -> Iterator[tuple[str, list[Any]]]:
    for index, (where, line) in enumerate(text_lines(path, "table")):
        separator = next((character for character in "\t;," if character in line), None)
        fields = [field.strip().strip('"') for field in (line.split(separator) if separator else line.split())]
        if index == 0 and "dmos" in [field.lower() for field in fields]:
            if tuple(field.lower() for field in fields) != _COLUMNS:
                raise ValueError(f"{where}: the columns are {', '.join(_COLUMNS)}, got {', '.join(fields)}")
            continue
        if separator is None and len(fields) == len(_COLUMNS) + 1:
            fields[2:4] = [" ".join(fields[2:4])]  # the type `jpeg 2000`, between spaces
        if len(fields) != len(_COLUMNS):
            raise ValueError(f"{where}: a line is {', '.join(_COLUMNS)}, got {line!r}")
        if not re.fullmatch(r"[\w.-]+", fields[0]):
            raise ValueError(f"{where}: `image` is a name as 1600 or aerial_city, got {fields[0]!r}")
        yield where, list(fields)
