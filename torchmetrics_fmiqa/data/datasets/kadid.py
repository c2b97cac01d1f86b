"""KADID-10k: ``dmos.csv`` and ``images/``."""

from __future__ import annotations

import re
from pathlib import Path

from torchmetrics_fmiqa.data.dataset_reader import DatasetReader, existing_file
from torchmetrics_fmiqa.data.rated_pairs import RatedPairs
from torchmetrics_fmiqa.data.rows import csv_rows, finite, need_columns

#: Types of distortion by their number in the file name.
KADID_TYPES = (
    "Gaussian blur",
    "Lens blur",
    "Motion blur",
    "Color diffusion",
    "Color shift",
    "Color quantization",
    "Color saturation 1",
    "Color saturation 2",
    "JPEG2000",
    "JPEG",
    "White noise",
    "White noise in color component",
    "Impulse noise",
    "Multiplicative noise",
    "Denoise",
    "Brighten",
    "Darken",
    "Mean shift",
    "Jitter",
    "Non-eccentricity patch",
    "Pixelate",
    "Quantization",
    "Color block",
    "High sharpen",
    "Contrast change",
)


def read_kadid10k(data_dir: str | Path) -> RatedPairs:
    """Read KADID-10k: 81 references, 25 types of distortion at 5 levels; opinion in [1, 5], higher is better.

    H. Lin, V. Hosu and D. Saupe, "KADID-10k: A Large-scale Artificially Distorted IQA Database", QoMEX 2019;
    http://database.mmsp-kn.de/kadid-10k-database.html. Two names in its table mislead. The column ``dmos`` is not a
    difference: 5 is as good as the reference, and higher is better. The column ``var`` is no variance: with 30 ratings
    on a scale of whole numbers, 0.496 at a mean of 4.57 can only be a standard deviation, so it gives ``std`` as it is.

    Args:
        data_dir: folder with ``dmos.csv`` and ``images/``.

    Raises:
        ValueError: if the table does not exist, no pair has its images, or a line is broken (the message names it).
    """
    root = Path(data_dir)
    table = existing_file(root, "dmos.csv", "KADID-10k")
    rows, columns = csv_rows(table)
    need_columns(table, columns, ("dist_img", "ref_img", "dmos"))
    reader = DatasetReader("kadid10k", root, table)
    for where, row in rows:
        parts = re.fullmatch(r"i\d\d_(\d\d)_(\d\d)\.png", row["dist_img"], re.IGNORECASE)
        if parts is None or not 1 <= int(parts[1]) <= len(KADID_TYPES):
            raise ValueError(f"{where}: a name is as I01_25_05.png, got {row['dist_img']!r}")
        std = finite(row["var"], "var", where) if row.get("var") else None
        reader.add(
            where,
            Path("images", row["ref_img"]),
            Path("images", row["dist_img"]),
            finite(row["dmos"], "dmos", where),
            KADID_TYPES[int(parts[1]) - 1],
            int(parts[2]),
            std,
        )
    return reader.rated_pairs(True, "dataset")
