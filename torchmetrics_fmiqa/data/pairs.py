"""Pairs of a reference and an image under test: two files, two folders, or a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torchmetrics_fmiqa.data.formats import SUFFIXES
from torchmetrics_fmiqa.data.rows import csv_rows, need_columns


@dataclass(frozen=True)
class Pair:
    """A reference and an image under test.

    Args:
        ref: name of the reference, as it was given.
        dist: name of the image under test.
        ref_path: where the reference is.
        dist_path: where the image under test is.
    """

    ref: str
    dist: str
    ref_path: Path
    dist_path: Path


@dataclass(frozen=True)
class Problem:
    """Something that could not be scored, and why."""

    name: str
    reason: str


def find_pairs(ref: Path, dist: Path) -> tuple[list[Pair], list[Problem]]:
    """Pair two files, or the images of two folders by their path within the folder without its ending.

    Returns:
        The pairs in the order of names, and the images that have no partner.

    Raises:
        ValueError: if a path is not there, a file meets a folder, or a folder has no images.
    """
    for path in (ref, dist):
        if not path.exists():
            raise ValueError(f"there is no file or folder {str(path)!r}")
    if ref.is_file() and dist.is_file():
        return [Pair(str(ref), str(dist), ref, dist)], []
    if ref.is_file() or dist.is_file():
        raise ValueError(f"{str(ref)!r} and {str(dist)!r} must be two files or two folders")
    refs, dists = _images_by_stem(ref), _images_by_stem(dist)
    problems = [
        Problem(str(path), f"has no partner in {str(folder)!r}")
        for one, other, folder in ((refs, dists, dist), (dists, refs, ref))
        for stem, path in one.items()
        if stem not in other
    ]
    common = sorted(refs.keys() & dists.keys())
    if not common:
        raise ValueError(f"no image in {str(ref)!r} has the name of one in {str(dist)!r}: give a table with --pairs")
    pairs = [
        Pair(str(refs[stem].relative_to(ref)), str(dists[stem].relative_to(dist)), refs[stem], dists[stem])
        for stem in common
    ]
    return pairs, problems


def _images_by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        stem = str(path.relative_to(folder).with_suffix(""))
        if stem in found:
            raise ValueError(f"{str(found[stem])!r} and {str(path)!r} have one name: give a table with --pairs")
        found[stem] = path
    if not found:
        raise ValueError(f"there are no images in {str(folder)!r} ({', '.join(sorted(SUFFIXES))})")
    return found


def read_pairs(table: Path, root: Path | None = None) -> list[Pair]:
    """Read a CSV table with the columns ``ref`` and ``dist``, in any case.

    Paths count from ``root``, by default the table's folder.

    Raises:
        ValueError: if the table cannot be read, lacks a column, or has no rows.
    """
    if root is not None and not root.is_dir():
        raise ValueError(f"there is no folder {str(root)!r} (--root)")
    rows, columns = csv_rows(table)
    need_columns(table, columns, ("ref", "dist"))
    if not rows:
        raise ValueError(f"the table {str(table)!r} has no rows")
    folder = root or table.parent
    for where, row in rows:
        if not row["ref"] or not row["dist"]:
            raise ValueError(f"{where} lacks `ref` or `dist`")
    return [Pair(row["ref"], row["dist"], folder / row["ref"], folder / row["dist"]) for _, row in rows]
