"""PIPAL: a folder of label files; folder names of the images vary from copy to copy."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from torchmetrics_fmiqa.data.dataset_reader import DatasetReader
from torchmetrics_fmiqa.data.rated_pairs import RatedPairs
from torchmetrics_fmiqa.data.rows import finite, text_lines


def read_pipal(data_dir: str | Path, split: Literal["train", "val"] = "train") -> RatedPairs:
    """Read PIPAL: 200 references for training, 116 distorted versions of each; an Elo score, higher is better.

    J. Gu et al., "PIPAL: a Large-Scale Image Quality Assessment Dataset for Perceptual Image Restoration", ECCV 2020;
    https://github.com/HaomingCai/PIPAL-dataset. Copies differ in their folders (``Train_Ref`` or ``Reference_train``,
    ``Train_Dist`` or ``Distortion_1`` to ``Distortion_4``, ``Train_Label`` or ``MOS_Scores_train``), so images are
    looked up by name in all folders. The type is the two digits after the reference's name in ``A0001_06_05.bmp``,
    because the last two are a restoration or a setting, not a level.

    Args:
        data_dir: folder of the dataset. Its label files ``A0001.txt``, a line ``A0001_00_00.bmp,1414.0308`` for each
            image, are in a folder with ``label`` or ``mos`` in its name.
        split: ``"train"`` or ``"val"``: the label files below a folder with this word in its name.

    Raises:
        ValueError: if there are no label files or none of their images, an image exists twice, or a line is broken
            (the message names it).
    """
    root = Path(data_dir)
    if not root.is_dir():
        raise ValueError(f"there is no folder {str(root)!r}")
    if split not in ("train", "val"):
        raise ValueError(f"`split` must be 'train' or 'val', got {split!r}")
    labels, images = _files(root, split)
    if not labels:
        raise ValueError(f"{str(root)!r} has no label files A0001.txt ... in a folder such as {split.title()}_Label")
    reader = DatasetReader("pipal", root, labels[0].parent)
    for path in labels:
        for where, line in text_lines(path):
            parts = re.fullmatch(r"(([A-Z]\d+)_(\d\d)_(\d\d)\.bmp)\s*,\s*(\S+)", line, re.IGNORECASE)
            if parts is None:
                raise ValueError(f"{where}: a line is as A0001_00_00.bmp,1414.0308, got {line!r}")
            ref, dist = (_image_path(root, images, name) for name in (f"{parts[2]}.bmp", parts[1]))
            reader.add(where, ref, dist, finite(parts[5], "mos", where), parts[3])
    return reader.rated_pairs(True, "dataset")


def _files(root: Path, split: str) -> tuple[list[Path], dict[str, list[Path]]]:
    """The label files of a split, and the paths of all images by name."""
    labels: list[Path] = []
    images: dict[str, list[Path]] = {}
    for folder, _, names in os.walk(root):
        below = Path(folder).relative_to(root)
        labelled = split in str(below).lower() and re.search("label|mos", below.name.lower()) is not None
        for name in names:
            if name.lower().endswith(".bmp"):
                images.setdefault(name.lower(), []).append(below / name)
            elif labelled and re.fullmatch(r"[A-Z]\d+\.txt", name, re.IGNORECASE):
                labels.append(Path(folder, name))
    return sorted(labels), images


def _image_path(root: Path, images: dict[str, list[Path]], name: str) -> Path:
    paths = images.get(name.lower(), [Path(name)])
    if len(paths) > 1:
        raise ValueError(f"{str(root)!r} has {name} twice, as {paths[0]} and {paths[1]}: keep one copy of the dataset")
    return paths[0]
