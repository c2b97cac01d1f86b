"""The images of a comparison: methods as folders beside the references, or as a table; what is left out has a name."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torchmetrics_fmiqa.comparison.comparison import LeftOut, Reason
from torchmetrics_fmiqa.comparison.scores import ComparedImage
from torchmetrics_fmiqa.data.folders import Folder, list_folder, match_names
from torchmetrics_fmiqa.data.images import Match, image_size
from torchmetrics_fmiqa.data.pairs import few, find_pairs
from torchmetrics_fmiqa.data.parquet import read_parquet_table
from torchmetrics_fmiqa.data.rows import csv_rows, need_columns

_COLUMNS = ("ref", "method", "dist")


@dataclass(frozen=True)
class MethodImages:
    """The images of a comparison.

    Args:
        methods: names.
        images: those that all methods have.
        references: number of references that were given.
        left_out: the images that are in no figure.
        notes: about files that were left out because of their names.
        grouped: whether groups were given.
    """

    methods: tuple[str, ...]
    images: tuple[ComparedImage, ...]
    references: int
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    grouped: bool = False

    def without(self, broken: Iterable[tuple[ComparedImage, LeftOut]]) -> MethodImages:
        """The rest, if these images are left out too."""
        broken = list(broken)
        names = {image.name for image, _ in broken}
        kept = tuple(image for image in self.images if image.name not in names)
        return replace(self, images=kept, left_out=(*self.left_out, *(left for _, left in broken)))


def check_methods(methods: Sequence[str]) -> None:
    """Check the names of methods.

    Raises:
        ValueError: for fewer than two, an empty name, or a name that comes twice.
    """
    for name in methods:
        if not isinstance(name, str):
            raise ValueError(f"the name of a method must be a text, got {name!r}")
        if not name.strip():
            raise ValueError("a method has no name: give NAME=FOLDER")
        if methods.count(name) > 1:
            raise ValueError(f"two methods are called {name!r}: give each a name of its own")
    if len(methods) < 2:
        raise ValueError(
            f"give at least two methods to compare, got {', '.join(methods) or 'none'}; `fmiqa score` measures one"
        )


def read_folders(
    references: Path, methods: Mapping[str, Path], suffixes: Mapping[str, str] | None = None
) -> MethodImages:
    """Pair the images of each method's folder with the references, by path within the folder without ending.

    Args:
        references: folder of the references.
        methods: name -> folder.
        suffixes: name -> text that follows the reference's name in the names of that method's images.

    Raises:
        ValueError: for what is no folder, a folder without images, a folder that belongs to two methods or to the
            references, a suffix of no method, and methods that have no image in common.
    """
    suffixes = dict(suffixes or {})
    check_methods(list(methods))
    for name in suffixes:
        if name not in methods:
            raise ValueError(f"a suffix is given for {name!r}, which is no method: {', '.join(methods)}")
    for folder in (references, *methods.values()):
        if not folder.is_dir():
            raise ValueError(f"there is no folder {str(folder)!r}")
    named = {"the references": (references, ""), **{name: (at, suffixes.get(name, "")) for name, at in methods.items()}}
    for (one, (first, suffix)), (other, (second, ending)) in itertools.combinations(named.items(), 2):
        if first.samefile(second) and suffix == ending:
            raise ValueError(f"{one} and {other} are one folder, {str(second)!r}: give each its own")
    refs = list_folder(references)
    left_out = [LeftOut("", problem.name, "broken", problem.reason) for problem in refs.problems]
    notes = _notes(refs, refs.others, "no image")
    partners: dict[str, dict[Path, Path]] = {}
    for name, folder in methods.items():
        partners[name], lost, noted = _match(name, refs, list_folder(folder), suffixes.get(name, ""))
        left_out += lost
        notes += noted
    images = [
        ComparedImage(refs.stem(ref), ref, {name: partners[name][ref] for name in methods}, refs.stem(ref))
        for ref in refs.images
        if all(ref in partners[name] for name in methods)
    ]
    count = len(refs.images) + len(refs.problems)
    return _checked(MethodImages(tuple(methods), tuple(images), count, tuple(left_out), tuple(notes)))


def _match(method: str, refs: Folder, dists: Folder, suffix: str) -> tuple[dict[Path, Path], list[LeftOut], list[str]]:
    """The image of each reference; the images left out; notes."""
    pairs, problems, without_suffix = match_names(refs, dists, suffix)
    if not pairs:
        find_pairs(refs.path, dists.path, suffix)  # raises an error with the likely reason
    matched = dict(pairs)
    reasons = {problem.name: problem.reason for problem in problems}
    taken = {*matched.values(), *without_suffix}
    left_out = [LeftOut(method, problem.name, "broken", problem.reason) for problem in dists.problems]
    broken = {dists.stem(Path(problem.name)) for problem in dists.problems}
    missing = [path for path in refs.images if path not in matched and refs.stem(path) + suffix not in broken]
    extra = [path for path in dists.images if path not in taken]
    sides: tuple[tuple[Folder, list[Path], Reason], ...] = ((refs, missing, "missing"), (dists, extra, "extra"))
    for folder, paths, kind in sides:
        for path in paths:
            name = str(path.relative_to(folder.path))
            left_out.append(LeftOut(method, name, kind, reasons.get(str(path), "its name is not the only one")))
    notes = [*_notes(dists, dists.others, "no image"), *_notes(dists, without_suffix, f"without {suffix!r}")]
    return matched, left_out, notes


def _notes(folder: Folder, files: Sequence[Path], why: str) -> list[str]:
    return [f"left out in {str(folder.path)!r}, by name {why}: {few(files)}"] if files else []


def read_method_table(table: Path, root: Path | None = None) -> MethodImages:
    """Read a table with the columns ``ref``, ``method``, ``dist`` and perhaps ``group``, as CSV or Parquet.

    Args:
        table: a row for each image of each method. A group is what images are drawn by in the bootstrap.
        root: folder that the paths count from; by default the table's.

    Raises:
        ValueError: for a table that cannot be read or lacks a column or a cell, two images of one method for one
            reference, two groups of one reference, and methods that have no image in common.
    """
    if root is not None and not root.is_dir():
        raise ValueError(f"there is no folder {str(root)!r} (--root)")
    folder = table.parent if root is None else root
    dists: dict[str, dict[str, str]] = {}
    groups: dict[str, str] = {}
    methods: dict[str, None] = {}
    for where, row in _rows(table):
        for column, cell in row.items():
            if not cell and column in (*_COLUMNS, "group"):
                raise ValueError(f"{where} lacks `{column}`")
        ref, method = str(Path(row["ref"])), row["method"]  # ./a.png is a.png
        methods[method] = None
        if method in dists.setdefault(ref, {}):
            raise ValueError(f"{where}: {method!r} has two images for {ref!r}: leave one out")
        dists[ref][method] = row["dist"]
        if "group" in row and groups.setdefault(ref, row["group"]) != row["group"]:
            raise ValueError(f"{where}: {ref!r} is in two groups, {groups[ref]!r} and {row['group']!r}: name one")
    check_methods(list(methods))
    if len(set(groups.values())) == 1:
        raise ValueError(
            f"{str(table)!r} has one group for all references: leave out the column `group`, or name several"
        )
    images = tuple(
        ComparedImage(ref, folder / ref, {name: folder / by[name] for name in methods}, groups.get(ref, ref))
        for ref, by in dists.items()
        if len(by) == len(methods)
    )
    left_out = tuple(
        LeftOut(name, ref, "missing", f"has no row in {str(table)!r}")
        for name in methods
        for ref, by in dists.items()
        if name not in by
    )
    return _checked(MethodImages(tuple(methods), images, len(dists), left_out, grouped=bool(groups)))


def _rows(table: Path) -> Iterable[tuple[str, dict[str, str]]]:
    if table.suffix.lower() != ".parquet":
        rows, columns = csv_rows(table)
    else:
        content = read_parquet_table(table)
        columns = [name.lower() for name in content.column_names]
        named = zip(*(column.to_pylist() for column in content.columns), strict=True)
        rows = [
            (
                f"row {number} of {str(table)!r}",
                {key: "" if cell is None else str(cell) for key, cell in zip(columns, cells, strict=True)},
            )
            for number, cells in enumerate(named, 1)
        ]
    need_columns(table, columns, _COLUMNS)
    if not rows:
        raise ValueError(f"the table {str(table)!r} has no rows")
    return rows


def _checked(found: MethodImages) -> MethodImages:
    if not found.images:
        first = found.left_out[0] if found.left_out else None
        why = "" if first is None else f"; {first.method or 'the references'}: {first.name} {first.reason}"
        raise ValueError(f"no reference has an image of every method{why}")
    return found


def check_sizes(images: Sequence[ComparedImage], match: Match | None) -> Iterator[tuple[ComparedImage, LeftOut] | None]:
    """Read the size of every image, before any is measured.

    Args:
        images: to look at.
        match: how pairs of two sizes will be matched.

    Yields:
        For each image ``None``, or the image and what of it cannot be read.

    Raises:
        ValueError: at the end, if sizes differ and ``match`` is ``None``, naming the first.
    """
    differing: list[str] = []
    for image in images:
        method = ""
        try:
            height, width = image_size(image.target)
            for method, path in image.preds.items():
                size = image_size(path)
                if match is None and size != (height, width):
                    differing.append(
                        f"{str(path)!r} ({method}) is {size[0]}x{size[1]}, its reference {height}x{width} (H x W)"
                    )
        except ValueError as error:
            yield image, LeftOut(method, image.name, "broken", str(error))
        else:
            yield None
    if differing:
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        raise ValueError(f"sizes differ: {differing[0]}{more}: give --match crop or resize")
