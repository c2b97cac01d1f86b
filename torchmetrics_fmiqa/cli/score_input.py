"""What `fmiqa score` scores: two files, two folders, or a table of pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchmetrics_fmiqa.data.pairs import Pair, Problem
    from torchmetrics_fmiqa.data.remote import Place
    from torchmetrics_fmiqa.data.stored_pairs import PairSource


@dataclass
class Input:
    """The pairs to score."""

    pairs: list[Pair] = field(default_factory=list)  #: they themselves, for a run that keeps all in memory
    source: PairSource | None = None  #: they by name and place, for a folder of scores
    problems: list[Problem] = field(default_factory=list)  #: images without a partner
    notes: list[str] = field(default_factory=list)  #: on files that are left out


def open_input(
    ref: str | None, dist: str | None, pairs: str | None, root: str | None, suffix: str, in_parts: bool
) -> Input:
    """Find the pairs that arguments name.

    Args:
        ref: a reference, a folder of them, or a table in place of both images.
        dist: an image under test, or a folder of them.
        pairs: table of pairs.
        root: folder that its paths count from. These and the table may be URLs.
        suffix: of the names of images under test.
        in_parts: whether a folder of scores is written.

    Raises:
        ValueError: for arguments that do not go together, and what readers raise.
    """
    from torchmetrics_fmiqa.data.pair_tables import is_pair_table
    from torchmetrics_fmiqa.data.remote import as_place

    if pairs is None and ref is not None and dist is None and is_pair_table(as_place(ref)):
        ref, pairs = None, ref
    if root is not None and pairs is None:
        raise ValueError("`--root` is for the paths of a table: give --pairs TABLE.csv too")
    if suffix and pairs is not None:
        raise ValueError("`--suffix` pairs the names of two folders: leave it out with --pairs")
    if pairs is not None and ref is None:
        return _of_table(as_place(pairs), None if root is None else as_place(root), in_parts)
    if ref is None or dist is None or pairs is not None:
        raise ValueError("give REF and DIST, or --pairs TABLE.csv with --root FOLDER")
    return _of_images(as_place(ref), as_place(dist), suffix, in_parts)


def _of_table(table: Place, root: Place | None, in_parts: bool) -> Input:
    from torchmetrics_fmiqa.data.pair_tables import open_pair_table
    from torchmetrics_fmiqa.data.pairs import read_pairs
    from torchmetrics_fmiqa.data.remote import suffix_of

    if in_parts:
        source, problems = open_pair_table(table, root)
        return Input(source=source, problems=problems)
    is_folder = table.is_dir() if isinstance(table, Path) else table.endswith("/")
    if is_folder or suffix_of(table) in (".parquet", ".tar"):
        raise ValueError(f"{str(table)!r} is scored part by part: give --out FOLDER/, with the slash")
    return Input(read_pairs(table, root))


def _of_images(ref: Place, dist: Place, suffix: str, in_parts: bool) -> Input:
    from torchmetrics_fmiqa.data.pairs import find_pairs
    from torchmetrics_fmiqa.data.stored_pairs import ListedPairs

    if not isinstance(ref, Path) or not isinstance(dist, Path):
        url = dist if isinstance(ref, Path) else ref
        raise ValueError(f"{str(url)!r} is a URL: give a table that names the pairs (--pairs), and this as --root")
    pairs, problems, notes = find_pairs(ref, dist, suffix)
    if in_parts:
        source = ListedPairs(pairs, *((ref, dist) if ref.is_dir() else (Path(), Path())))
        return Input(source=source, problems=problems, notes=notes)
    return Input(pairs, None, problems, notes)
