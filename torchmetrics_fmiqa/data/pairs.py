"""Pairs of a reference and an image under test, from two files, two folders or a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torchmetrics_fmiqa.data.folders import Folder, Problem, list_folder, match_names
from torchmetrics_fmiqa.data.opening import check_file
from torchmetrics_fmiqa.data.remote import Place, join_place, parent_of
from torchmetrics_fmiqa.data.rows import need_columns, open_csv

__all__ = ["Pair", "Problem", "find_pairs", "read_pairs"]


@dataclass(frozen=True)
class Pair:
    """A reference and an image under test.

    Args:
        ref: name of the reference, as the user gave it.
        dist: name of the image under test.
        ref_path: file of the reference, or its URL.
        dist_path: file of the image under test.
        id: of a table with a column ``id``: what names the pair; else empty.
    """

    ref: str
    dist: str
    ref_path: Place
    dist_path: Place
    id: str = ""

    @property
    def images(self) -> tuple[Place, Place]:
        """The reference, and the image under test."""
        return self.ref_path, self.dist_path


def find_pairs(ref: Path, dist: Path, suffix: str = "") -> tuple[list[Pair], list[Problem], list[str]]:
    """Pair two files, or the images of two folders by their path within the folder without its ending.

    Args:
        ref: the reference, or a folder of references.
        dist: the image under test, or a folder of them.
        suffix: for folders: text that follows the reference's name in the name of an image under test, such as
            ``"_x4"``.

    Returns:
        The pairs in the order of names; the images that have no partner, have several, or cannot be read; notes about
        files that are left out because of their names.

    Raises:
        ValueError: if a path does not exist, one path is a file and the other a folder, a folder has no images, or
            there are no pairs.
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
    matched, problems, without_suffix = match_names(refs, dists, suffix)
    if not matched:
        raise ValueError(_why_none(refs, dists, suffix, problems))
    problems = [*refs.problems, *dists.problems, *problems]
    pairs = [
        Pair(str(ref_path.relative_to(ref)), str(dist_path.relative_to(dist)), ref_path, dist_path)
        for ref_path, dist_path in matched
    ]
    notes = [
        f"left out in {str(folder.path)!r}, by {'its name' if len(files) == 1 else 'their names'} {why}: {few(files)}"
        for folder, files, why in (
            (refs, refs.others, "no image" if len(refs.others) == 1 else "no images"),
            (dists, dists.others, "no image" if len(dists.others) == 1 else "no images"),
            (dists, without_suffix, f"without {suffix!r}"),
        )
        if files
    ]
    return pairs, problems, notes


def _why_none(refs: Folder, dists: Folder, suffix: str, problems: Sequence[Problem]) -> str:
    """The message that two folders have no pair, with the likely reason."""
    ambiguous = [problem.reason for problem in problems if "has no partner" not in problem.reason]
    if ambiguous:
        return ambiguous[0]
    unreadable = ""
    for problem in (*dists.problems, *refs.problems)[:1]:
        more = len(refs.problems) + len(dists.problems) - 1
        first = problem.reason if problem.name in problem.reason else f"{problem.name}: {problem.reason}"
        unreadable = f"; besides, {first}{f' (and {more} more)' if more else ''}"
    return (
        f"no image in {str(refs.path)!r} has the name of one in {str(dists.path)!r}"
        f"{suffix and f' without {suffix!r}'}: {_suffix_hint(refs, dists)}give a table with --pairs{unreadable}"
    )


def few(files: Sequence[Path], limit: int = 5) -> str:
    """The names of the first ``limit`` files, and the count of the rest.

    >>> few([Path("a/b.txt"), Path("c.csv")], 1)
    'b.txt and 1 more'
    """
    more = f" and {len(files) - limit} more" if len(files) > limit else ""
    return ", ".join(path.name for path in files[:limit]) + more


def _suffix_hint(refs: Folder, dists: Folder) -> str:
    """Advice to use ``--suffix`` if all images under test have the name of a reference plus the same ending."""
    stems = sorted((refs.stem(path) for path in refs.images), key=len, reverse=True)
    endings = set()
    for path in dists.images:
        name = dists.stem(path)
        endings.add(next((name[len(stem) :] for stem in stems if stem and name.startswith(stem)), ""))
    ending = endings.pop() if len(endings) == 1 else ""
    return f"give --suffix {ending}, or " if ending else ""


def read_pairs(table: Place, root: Place | None = None) -> list[Pair]:
    """Read a CSV table with the columns ``ref`` and ``dist``; case does not matter.

    Paths are relative to ``root``, by default the table's folder. All of them may be URLs.

    Raises:
        ValueError: if the table cannot be read, lacks a column, or has no rows.
    """
    pairs = list(each_pair(table, root))
    if not pairs:
        raise ValueError(f"the table {str(table)!r} has no rows")
    return pairs


def each_pair(table: Place, root: Place | None = None) -> Iterator[Pair]:
    """The pairs of a CSV table one by one; raises as :func:`read_pairs` does, but for a table without rows."""
    if isinstance(root, Path) and not root.is_dir():
        raise ValueError(f"there is no folder {str(root)!r} (--root)")
    columns, rows = open_csv(table)
    need_columns(table, columns, ("ref", "dist"))
    folder = root or parent_of(table)
    for where, row in rows:
        if not row["ref"] or not row["dist"]:
            raise ValueError(f"{where} lacks `ref` or `dist`")
        yield Pair(
            row["ref"], row["dist"], join_place(folder, row["ref"]), join_place(folder, row["dist"]), row.get("id", "")
        )
