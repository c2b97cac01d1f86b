"""Pairs of a reference and an image under test: two files, two folders, or a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torchmetrics_fmiqa.data.folders import Folder, Problem, list_folder, match_names
from torchmetrics_fmiqa.data.opening import check_file
from torchmetrics_fmiqa.data.rows import csv_rows, need_columns

__all__ = ["Pair", "Problem", "find_pairs", "read_pairs"]


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


def find_pairs(ref: Path, dist: Path, suffix: str = "") -> tuple[list[Pair], list[Problem], list[str]]:
    """Pair two files, or the images of two folders by their path within the folder without its ending.

    Args:
        ref: the reference, or a folder of references.
        dist: the image under test, or a folder of them.
        suffix: of folders: what names of images under test have after those of their references, such as ``"_x4"``.

    Returns:
        The pairs in the order of names; the images that have no partner, have several, or cannot be read; notes of the
        files that are left out by their names.

    Raises:
        ValueError: if a path is not there, a file meets a folder, a folder has no images, or there are no pairs.
    """
    if not ref.is_dir() and not dist.is_dir():
        for path in (ref, dist):
            check_file(path, "file or folder")
        if suffix:
            raise ValueError(f"`--suffix {suffix}` pairs the names of two folders: leave it out for two files")
        return [Pair(str(ref), str(dist), ref, dist)], [], []
    for path in (ref, dist):
        if not path.exists():
            raise ValueError(f"there is no file or folder {str(path)!r}")
        if not path.is_dir():
            raise ValueError(f"{str(ref)!r} and {str(dist)!r} must be two files or two folders")
    refs, dists = list_folder(ref), list_folder(dist)
    matched, problems, left = match_names(refs, dists, suffix)
    if not matched:
        raise ValueError(_why_none(refs, dists, suffix, problems))
    problems = [*refs.problems, *dists.problems, *problems]
    pairs = [Pair(str(one.relative_to(ref)), str(two.relative_to(dist)), one, two) for one, two in matched]
    notes = [
        f"left out in {str(folder.path)!r}, by {'its name' if len(files) == 1 else 'their names'} {what}: {few(files)}"
        for folder, files, what in (
            (refs, refs.others, "no image" if len(refs.others) == 1 else "no images"),
            (dists, dists.others, "no image" if len(dists.others) == 1 else "no images"),
            (dists, left, f"without {suffix!r}"),
        )
        if files
    ]
    return pairs, problems, notes


def _why_none(refs: Folder, dists: Folder, suffix: str, problems: Sequence[Problem]) -> str:
    """Why two folders have no pair, from what kept their names from being paired."""
    ambiguous = [problem.reason for problem in problems if "has no partner" not in problem.reason]
    if ambiguous:
        return ambiguous[0]
    others = ""
    for one in (*dists.problems, *refs.problems)[:1]:
        more = len(refs.problems) + len(dists.problems) - 1
        first = one.reason if one.name in one.reason else f"{one.name}: {one.reason}"
        others = f"; besides, {first}{f' (and {more} more)' if more else ''}"
    return (
        f"no image in {str(refs.path)!r} has the name of one in {str(dists.path)!r}"
        f"{suffix and f' without {suffix!r}'}: {_suffix_hint(refs, dists)}give a table with --pairs{others}"
    )


def few(files: Sequence[Path], most: int = 5) -> str:
    """The names of the first few files, and how many more there are.

    >>> few([Path("a/b.txt"), Path("c.csv")], 1)
    'b.txt and 1 more'
    """
    more = f" and {len(files) - most} more" if len(files) > most else ""
    return ", ".join(path.name for path in files[:most]) + more


def _suffix_hint(refs: Folder, dists: Folder) -> str:
    """Advice where all images under test have the name of a reference and one ending more."""
    stems = sorted((refs.stem(path) for path in refs.images), key=len, reverse=True)
    endings = set()
    for path in dists.images:
        name = dists.stem(path)
        endings.add(next((name[len(stem) :] for stem in stems if stem and name.startswith(stem)), ""))
    ending = endings.pop() if len(endings) == 1 else ""
    return f"give --suffix {ending}, or " if ending else ""


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
