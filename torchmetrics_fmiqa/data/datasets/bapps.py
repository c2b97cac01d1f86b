"""BAPPS: patches of 64x64 with two-alternative forced choices and just noticeable differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from torchmetrics_fmiqa.data.dataset_reader import FolderListing
from torchmetrics_fmiqa.data.opening import open_file
from torchmetrics_fmiqa.data.pairs import Problem
from torchmetrics_fmiqa.data.rated_pairs import JndPair, JndPairs, Triplet, Triplets


def read_bapps_2afc(data_dir: str | Path, split: str = "val", types: Sequence[str] | None = None) -> Triplets:
    """Read the two-alternative forced choices of BAPPS: which of two versions is closer to the reference.

    R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018;
    https://github.com/richzhang/PerceptualSimilarity.

    Args:
        data_dir: folder of the dataset: the one with ``2afc/``, or ``2afc/`` itself.
        split: ``"val"`` (traditional, cnn, superres, deblur, color, frameinterp) or ``"train"``.
        types: which of these parts; all by default.

    Returns:
        The triplets; ``judge`` is the share of people who chose ``p1``: 0 where all chose ``p0``.

    Raises:
        ValueError: if a folder does not exist, a part is unknown, or no triplet is complete.
    """
    missing: list[Problem] = []
    triplets = tuple(
        Triplet(files["ref"], files["p0"], files["p1"], share, part)
        for part, files, share in _read(Path(data_dir), "2afc", split, types, ("ref", "p0", "p1"), "judge", missing)
    )
    _check_any(triplets, missing, data_dir)
    return Triplets("bapps_2afc", triplets, tuple(missing))


def read_bapps_jnd(data_dir: str | Path, split: str = "val", types: Sequence[str] | None = None) -> JndPairs:
    """Read the just noticeable differences of BAPPS: whether people took two versions of a patch for the same.

    R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018;
    https://github.com/richzhang/PerceptualSimilarity.

    Args:
        data_dir: folder of the dataset: the one with ``jnd/``, or ``jnd/`` itself.
        split: ``"val"``, the only one there is.
        types: which of its parts, traditional and cnn; both by default.

    Returns:
        The pairs; ``same`` is the share of people who took them for the same.

    Raises:
        ValueError: if a folder does not exist, a part is unknown, or no pair is complete.
    """
    missing: list[Problem] = []
    pairs = tuple(
        JndPair(files["p0"], files["p1"], share, part)
        for part, files, share in _read(Path(data_dir), "jnd", split, types, ("p0", "p1"), "same", missing)
    )
    _check_any(pairs, missing, data_dir)
    return JndPairs("bapps_jnd", pairs, tuple(missing))


def _check_any(complete: Sequence[object], missing: list[Problem], data_dir: str | Path) -> None:
    if not complete:
        first = f": {missing[0].name}: {missing[0].reason}" if missing else ""
        raise ValueError(f"nothing in {str(data_dir)!r} is complete{first}")


def _read(
    root: Path,
    kind: str,
    split: str,
    types: Sequence[str] | None,
    images: tuple[str, ...],
    answers: str,
    missing: list[Problem],
) -> Iterator[tuple[str, dict[str, Path], float]]:
    """Part, files by column, and share of answers of every complete item; incomplete items go to ``missing``."""
    split_folder = next(
        (path for path in (root / kind / split, root / "dataset" / kind / split) if path.is_dir()), root / split
    )
    if not split_folder.is_dir():
        raise ValueError(f"there is no folder {str(root / kind / split)!r}")
    parts = sorted(path.name for path in split_folder.iterdir() if path.is_dir())
    unknown = [part for part in types or () if part not in parts]
    if unknown:
        raise ValueError(f"{str(split_folder)!r} has no part {unknown[0]!r}; it has {', '.join(parts) or 'none'}")
    listing, columns = FolderListing(), (*images, answers)
    for part in parts if types is None else types:
        no_folder = [column for column in columns if not (split_folder / part / column).is_dir()]
        if no_folder:
            raise ValueError(f"there is no folder {str(split_folder / part / no_folder[0])!r}")
        files = {
            column: {
                Path(name).stem: name
                for name in listing.names(split_folder / part / column)
                if name.lower().endswith(".npy" if column == answers else ".png")
            }
            for column in columns
        }
        for stem in sorted(set().union(*files.values())):
            absent = [column for column in columns if stem not in files[column]]
            for column in absent:
                name = f"{stem}.npy" if column == answers else f"{stem}.png"
                missing.append(Problem(str(Path(part, column, name)), "there is no such file"))
            if absent:
                continue
            paths = {column: split_folder / part / column / files[column][stem] for column in columns}
            share = _share(paths[answers])
            if isinstance(share, str):
                missing.append(Problem(str(paths[answers].relative_to(split_folder)), share))
            else:
                yield part, paths, share


def _share(path: Path) -> float | str:
    """The share that a .npy file holds, or the reason why it holds none."""
    try:
        with open_file(path) as file:
            value = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        return f"cannot be read: {error}"
    if value.dtype.kind not in "biuf" or value.size != 1 or not 0 <= float(value.ravel()[0]) <= 1:
        return f"holds no single share in [0, 1]: {value.tolist()!r}"
    return float(value.ravel()[0])
