"""LIVE Release 2: ``dmos.mat``, ``dmos_realigned.mat``, ``refnames_all.mat``, a folder for each type."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from torchmetrics_fmiqa.data.dataset_reader import DatasetReader, existing_file
from torchmetrics_fmiqa.data.opening import open_file
from torchmetrics_fmiqa.data.rated_pairs import RatedPairs
from torchmetrics_fmiqa.data.rows import finite

#: Folders in the order of the tables, and how many images each has.
LIVE_FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}


def read_live(data_dir: str | Path, realigned: bool = False) -> RatedPairs:
    """Read LIVE Release 2: 29 references, 779 distorted images of five types; DMOS, higher is worse.

    H. R. Sheikh, M. F. Sabir and A. C. Bovik, "A statistical evaluation of recent full reference image quality
    assessment algorithms", IEEE Transactions on Image Processing 15(11), 2006;
    http://live.ece.utexas.edu/research/quality/subjective.htm. The tables also list 203 images that are not distorted
    (``orgs``). They are left out, and counted in ``undistorted``.

    Args:
        data_dir: folder with ``dmos.mat`` and ``refnames_all.mat``. Needs scipy.
        realigned: take the opinions of ``dmos_realigned.mat``, which come with their standard deviation.

    Raises:
        ValueError: if a table does not exist or is not LIVE's, or no pair has its images.
        ModuleNotFoundError: without scipy.
    """
    root = Path(data_dir)
    table = existing_file(root, "dmos_realigned.mat" if realigned else "dmos.mat", "LIVE Release 2")
    names_table = existing_file(root, "refnames_all.mat", "LIVE Release 2")
    opinions, names = _load(table), _load(names_table)
    dmos = _column(opinions, "dmos_new" if realigned else "dmos", table)
    orgs = _column(opinions, "orgs", table)
    stds = _column(opinions, "dmos_std", table) if realigned else [None] * len(dmos)
    refs = [str(np.asarray(cell).item()) for cell in _column(names, "refnames_all", names_table)]
    reader = DatasetReader("live", root, table)
    files = [(kind, f"img{number}.bmp") for kind, count in LIVE_FOLDERS.items() for number in range(1, count + 1)]
    undistorted = 0
    for number, ((kind, file), opinion, org, std, ref) in enumerate(zip(files, dmos, orgs, stds, refs, strict=True), 1):
        where = f"entry {number} of {str(table)!r}"
        if finite(org, "orgs", where):
            undistorted += 1
            continue
        deviation = None if std is None else finite(std, "dmos_std", where)
        opinion = finite(opinion, "dmos", where)
        reader.add(where, Path("refimgs", ref), Path(kind, file), opinion, kind, std=deviation)
    return reader.rated_pairs(False, "dataset", undistorted)


def _load(path: Path) -> dict[str, Any]:
    try:
        io: Any = importlib.import_module("scipy.io")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("LIVE's tables are .mat files: `pip install scipy` to read them") from error
    try:
        with open_file(path) as file:
            loaded: dict[str, Any] = io.loadmat(file)
    except Exception as error:  # scipy raises any exception
        raise ValueError(f"cannot read {str(path)!r}: {error}") from error
    return loaded


def _column(table: dict[str, Any], name: str, path: Path) -> list[Any]:
    total = sum(LIVE_FOLDERS.values())
    if name not in table:
        raise ValueError(f"{str(path)!r} has no variable `{name}`")
    values = list(np.asarray(table[name]).ravel())
    if len(values) != total:
        raise ValueError(f"`{name}` of {str(path)!r} has {len(values)} entries, and LIVE Release 2 has {total} images")
    return values
