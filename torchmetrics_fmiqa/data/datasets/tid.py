"""TID2013 and TID2008: ``mos_with_names.txt``, ``mos_std.txt``, ``reference_images/``, ``distorted_images/``."""

from __future__ import annotations

import re
from pathlib import Path

from torchmetrics_fmiqa.data.dataset_reader import DatasetReader, FolderListing, existing_file
from torchmetrics_fmiqa.data.rated_pairs import RatedPairs
from torchmetrics_fmiqa.data.rows import finite, text_lines

#: Types of distortion by their number in the file name; TID2008 has the first 17.
TID_TYPES = (
    "Additive Gaussian noise",
    "Additive noise in color components",
    "Spatially correlated noise",
    "Masked noise",
    "High frequency noise",
    "Impulse noise",
    "Quantization noise",
    "Gaussian blur",
    "Image denoising",
    "JPEG compression",
    "JPEG2000 compression",
    "JPEG transmission errors",
    "JPEG2000 transmission errors",
    "Non eccentricity pattern noise",
    "Local block-wise distortions of different intensity",
    "Mean shift (intensity shift)",
    "Contrast change",
    "Change of color saturation",
    "Multiplicative Gaussian noise",
    "Comfort noise",
    "Lossy compression of noisy images",
    "Image color quantization with dither",
    "Chromatic aberrations",
    "Sparse sampling and reconstruction",
)


def read_tid2013(data_dir: str | Path) -> RatedPairs:
    """Read TID2013: 25 references, 24 types of distortion at 5 levels; MOS in [0, 9], higher is better.

    N. Ponomarenko et al., "Image database TID2013: Peculiarities, results and perspectives", Signal Processing: Image
    Communication 30, 2015; http://www.ponomarenko.info/tid2013.htm. File names differ in case between the tables and
    the disk; case does not matter here. The level is that of the file name. For some types (contrast change, mean
    shift) a higher level is not simply more distortion.

    Args:
        data_dir: folder with ``mos_with_names.txt``; ``mos_std.txt`` gives ``std`` if it exists.

    Raises:
        ValueError: if the table does not exist, no pair has its images, or a line is broken (the message names it).
    """
    return _read(Path(data_dir), "tid2013", types=24, levels=5)


def read_tid2008(data_dir: str | Path) -> RatedPairs:
    """Read TID2008: 25 references, 17 types of distortion at 4 levels; MOS in [0, 9], higher is better.

    N. Ponomarenko et al., "TID2008 - A Database for Evaluation of Full-Reference Visual Quality Assessment Metrics",
    Advances of Modern Radioelectronics 10, 2009. Laid out as TID2013, see :func:`read_tid2013`.

    Args:
        data_dir: folder with ``mos_with_names.txt``; ``mos_std.txt`` gives ``std`` if it exists.

    Raises:
        ValueError: if the table does not exist, no pair has its images, or a line is broken (the message names it).
    """
    return _read(Path(data_dir), "tid2008", types=17, levels=4)


def _read(root: Path, name: str, types: int, levels: int) -> RatedPairs:
    table = existing_file(root, "mos_with_names.txt", name)
    lines = [(where, *mos_and_name(where, line)) for where, line in text_lines(table)]
    stds = read_stds(root, len(lines), table)
    reader = DatasetReader(name, root, table)
    for (where, mos, file), std in zip(lines, stds, strict=True):
        parts = re.fullmatch(r"i(\d\d)_(\d\d)_(\d)\.bmp", file, re.IGNORECASE)
        if parts is None:
            raise ValueError(f"{where}: a name is as I01_24_5.bmp, got {file!r}")
        kind, level = int(parts[2]), int(parts[3])
        if not (1 <= kind <= types and 1 <= level <= levels):
            raise ValueError(f"{where}: {name} has types 1 to {types} and levels 1 to {levels}, got {file!r}")
        ref, dist = Path("reference_images", f"I{parts[1]}.BMP"), Path("distorted_images", file)
        reader.add(where, ref, dist, mos, TID_TYPES[kind - 1], level, std)
    return reader.rated_pairs(True, "dataset")


def mos_and_name(where: str, line: str) -> tuple[float, str]:
    """The opinion and the file name of a line of ``mos_with_names.txt``."""
    fields = line.split()
    if len(fields) != 2:
        raise ValueError(f"{where}: a line is an opinion and a file name, got {line!r}")
    return finite(fields[0], "mos", where), fields[1]


def read_stds(root: Path, count: int, table: Path) -> list[float | None]:
    """The standard deviations of ``mos_std.txt``, one for each line of the table; ``None`` if there is no file."""
    path = FolderListing().find(root / "mos_std.txt")
    if path is None:
        return [None] * count
    stds: list[float | None] = [finite(line, "std", where) for where, line in text_lines(path)]
    if len(stds) != count:
        raise ValueError(f"{str(path)!r} has {len(stds)} lines and {str(table)!r} {count}: they belong together")
    return stds
