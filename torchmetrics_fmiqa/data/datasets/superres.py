"""QADS and SR4KIQA: super-resolved images."""

from __future__ import annotations

import re
from pathlib import Path

from torchmetrics_fmiqa.data.dataset_reader import DatasetReader, existing_file
from torchmetrics_fmiqa.data.datasets.tid import mos_and_name, read_stds
from torchmetrics_fmiqa.data.rated_pairs import RatedPairs
from torchmetrics_fmiqa.data.rows import finite, text_lines


def read_qads(data_dir: str | Path) -> RatedPairs:
    """Read QADS: 20 references, 980 super-resolved images; MOS in [0, 1], higher is better.

    F. Zhou, R. Yao, B. Liu and G. Qiu, "Visual Quality Assessment for Super-Resolved Images: Database and Method", IEEE
    Transactions on Image Processing, 2019. The type is the number of the method and the level the factor, both as in
    ``imgXX_FACTOR_METHOD.bmp``.

    Args:
        data_dir: folder with ``mos_with_names.txt``, ``source_images/`` and ``super-resolved_images/``;
            ``mos_std.txt`` gives ``std`` if it exists.

    Raises:
        ValueError: if the table does not exist, no pair has its images, or a line is broken (the message names it).
    """
    root = Path(data_dir)
    table = existing_file(root, "mos_with_names.txt", "QADS")
    lines = [(where, *mos_and_name(where, line)) for where, line in text_lines(table)]
    reader = DatasetReader("qads", root, table)
    for (where, mos, file), std in zip(lines, read_stds(root, len(lines), table), strict=True):
        parts = re.fullmatch(r"(img\d+)_(\d)_(\d+)\.bmp", file, re.IGNORECASE)
        if parts is None:
            raise ValueError(f"{where}: a name is as img01_2_01.bmp, got {file!r}")
        ref, dist = Path("source_images", f"{parts[1]}.bmp"), Path("super-resolved_images", file)
        reader.add(where, ref, dist, mos, f"method {parts[3]}", int(parts[2]), std)
    return reader.rated_pairs(True, "dataset")


_METHODS = (
    "Bicubic",
    "Bilinear",
    "NN",
    "NEDI",
    "ICBI",
    "DCSCN",
    "EDSR",
    "EDVR",
    "ESRGAN",
    "SRGAN",
    "vsrTransformer",
    "DPSR",
    "DPSRGAN",
)


def read_sr4kiqa(data_dir: str | Path) -> RatedPairs:
    """Read SR4KIQA: references of 3840x2160 and their super-resolved versions; MOS in [1, 5], higher is better.

    https://github.com/mb21100/SR4KIQA, which states no licence. The type is the method and the level the factor, if the
    file name has them. Some versions are a few pixels smaller than their reference: score them with ``match="crop"``. A
    version belongs to the reference of its folder (``Animal1/DPSR_x2_01_d_01.png`` to ``reference/Animal1_GT.jpg``),
    because not every file name has it.

    Args:
        data_dir: folder with ``MOS.csv`` (lines ``NAME,MOS in [0, 1],MOS in [1, 5]``), ``reference/`` and a folder
            for each reference.

    Raises:
        ValueError: if the table does not exist, no pair has its images, a name is in two folders, or a line is broken
            (the message names it).
    """
    root = Path(data_dir)
    table = existing_file(root, "MOS.csv", "SR4KIQA")
    reader = DatasetReader("sr4kiqa", root, table)
    references = reader.listing.names(root / "reference")
    folders: dict[str, list[str]] = {}
    for reference in references:
        folder = reference.rpartition("_GT.")[0]
        for name in reader.listing.names(root / folder) if folder else ():
            folders.setdefault(name.lower(), []).append(folder)
    reference_names = {reference.rpartition("_GT.")[0]: reference for reference in references}
    for where, line in text_lines(table):
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 3:
            raise ValueError(f"{where}: a line is a file name and two opinions, got {line!r}")
        name, mos = fields[0], finite(fields[2], "mos", where)
        candidates = folders.get(name.lower(), [name.partition("_")[0]])
        if len(candidates) > 1:
            raise ValueError(
                f"{where}: {name} lies in {candidates[0]} and in {candidates[1]}, so its reference is not known"
            )
        tokens = re.split(r"[_.]", name)
        method = next((token for token in tokens if token in _METHODS), "")
        factor = re.search(r"x(\d)(?=_|\.)", name)
        ref = Path("reference", reference_names.get(candidates[0], f"{candidates[0]}_GT.jpg"))
        reader.add(where, ref, Path(candidates[0], name), mos, method, int(factor[1]) if factor else None)
    return reader.rated_pairs(True, "dataset")
