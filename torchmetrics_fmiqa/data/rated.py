"""Pairs of images with the opinion of people, and the readers' common ground."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.data.listing import Listing
from torchmetrics_fmiqa.data.pairs import Pair, Problem

#: How the direction of opinion is known: by the column's name, by the caller's word, by what the dataset says, or not.
Direction = Literal["column", "flag", "dataset", "unknown"]

#: Whether a higher opinion means a better image or a worse one.
OpinionIs = Literal["better", "worse"]


@dataclass(frozen=True)
class RatedPair:
    """A reference, an image under test, and what people thought of it.

    Args:
        ref: where the reference is.
        dist: where the image under test is.
        opinion: the mean opinion on the dataset's own scale; :class:`RatedPairs` tells its direction.
        type: what was done to the image, as the dataset calls it.
        level: how much of it, where the dataset says.
        std: standard deviation of the opinions, where the dataset has it.
    """

    ref: Path
    dist: Path
    opinion: float
    type: str = ""
    level: float | None = None
    std: float | None = None


@dataclass(frozen=True)
class RatedPairs:
    """The pairs of a dataset whose files are there, and what is missing.

    Args:
        name: name of the dataset.
        pairs: the pairs, in the order of the dataset's table.
        higher_is_better: direction of opinion; ``None`` where nothing tells, so that the scores must.
        direction: how it is known.
        missing: files that are absent or broken, each with the reason; their pairs are not in ``pairs``.
        undistorted: images that the dataset itself marks as undistorted, and that are left out.
        root: the dataset's folder.

    >>> rated = RatedPairs("two", (RatedPair(Path("a.png"), Path("b.png"), 4.5),), True, "flag")
    >>> len(rated), [ref.name for ref in rated.references]
    (1, ['a.png'])
    """

    name: str
    pairs: tuple[RatedPair, ...]
    higher_is_better: bool | None
    direction: Direction
    missing: tuple[Problem, ...] = ()
    undistorted: int = 0
    root: Path | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def references(self) -> tuple[Path, ...]:
        """The references, each once, in the order in which they come."""
        return tuple(dict.fromkeys(pair.ref for pair in self.pairs))

    @property
    def reference_ids(self) -> tuple[int, ...]:
        """For each pair the place of its reference in :attr:`references`."""
        places = {ref: place for place, ref in enumerate(self.references)}
        return tuple(places[pair.ref] for pair in self.pairs)

    @property
    def types(self) -> tuple[str, ...]:
        """The types of distortion, each once, in the order in which they come."""
        return tuple(dict.fromkeys(pair.type for pair in self.pairs))

    def select(self, indices: Iterable[int]) -> RatedPairs:
        """The pairs of these numbers."""
        return replace(self, pairs=tuple(self.pairs[index] for index in indices))

    def as_pairs(self) -> list[Pair]:
        """The pairs without opinion, named by their paths below :attr:`root`, to be scored."""
        return [Pair(self._short(one.ref), self._short(one.dist), one.ref, one.dist) for one in self.pairs]

    def verified(self, to_rgb: bool = False) -> RatedPairs:
        """Decode every image once; those that cannot be read move to :attr:`missing`, with their pairs.

        Args:
            to_rgb: whether grey and opaque RGBA files count as readable.

        Raises:
            ValueError: if no pair is left.
        """
        paths = dict.fromkeys(path for pair in self.pairs for path in (pair.ref, pair.dist))
        broken = {path: why for path in paths if (why := _why_unreadable(path, to_rgb))}
        kept = tuple(pair for pair in self.pairs if pair.ref not in broken and pair.dist not in broken)
        if not kept:
            raise ValueError(f"no pair of {self.name} can be read: {next(iter(broken.values()))}")
        uses = Counter(pair.ref for pair in self.pairs)
        found = (Problem(self._short(path), _and_its_pairs(why, uses[path])) for path, why in broken.items())
        return replace(self, pairs=kept, missing=(*self.missing, *found))

    def _short(self, path: Path) -> str:
        return _below(path, self.root)


@dataclass(frozen=True)
class Triplet:
    """A reference, two distorted versions of it, and which of them people found closer.

    Args:
        ref: where the reference is.
        p0: where the first version is.
        p1: where the second version is.
        judge: share of people, in [0, 1], who found ``p1`` closer to the reference.
        type: the part of the dataset that it belongs to.
    """

    ref: Path
    p0: Path
    p1: Path
    judge: float
    type: str = ""


@dataclass(frozen=True)
class Triplets:
    """The triplets of a dataset whose files are there, and what is missing."""

    name: str
    triplets: tuple[Triplet, ...]
    missing: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.triplets)


@dataclass(frozen=True)
class JndPair:
    """Two versions of a patch, and whether people saw a difference.

    Args:
        p0: where the first version is.
        p1: where the second version is.
        same: share of people, in [0, 1], who took them for the same.
        type: the part of the dataset that it belongs to.
    """

    p0: Path
    p1: Path
    same: float
    type: str = ""


@dataclass(frozen=True)
class JndPairs:
    """The pairs of a just-noticeable-difference test whose files are there, and what is missing."""

    name: str
    pairs: tuple[JndPair, ...]
    missing: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)


class Gathering:
    """Collects the rows of a dataset's table, and looks their files up.

    Args:
        name: name of the dataset.
        root: folder that the files are looked up in.
        table: where the rows come from, for messages.
    """

    def __init__(self, name: str, root: Path, table: Path) -> None:
        self.name, self.root, self.table = name, root, table
        self.listing = Listing()
        self._pairs: list[RatedPair] = []
        self._uses: dict[Path, int] = {}
        self._seen: dict[tuple[Path, Path], str] = {}

    def add(
        self,
        where: str,
        ref: Path,
        dist: Path,
        opinion: float,
        type: str = "",
        level: float | None = None,
        std: float | None = None,
    ) -> None:
        """Take a row; ``ref`` and ``dist`` count from ``root``, in any case.

        Raises:
            ValueError: if a row before it has the same files.
        """
        ref, dist = self.root / ref, self.root / dist
        first = self._seen.setdefault((ref, dist), where)
        if first != where:
            raise ValueError(f"{where} has the images of {first}: {dist.name} against {ref.name}")
        found = [self.listing.find(path) for path in (ref, dist)]
        if found[0] is None:
            self._uses[ref] = self._uses.get(ref, 0) + 1
        if found[1] is None:
            self._uses.setdefault(dist, 0)
        if found[0] is not None and found[1] is not None:
            self._pairs.append(RatedPair(found[0], found[1], opinion, type, level, std))

    def done(self, higher_is_better: bool | None, direction: Direction, undistorted: int = 0) -> RatedPairs:
        """What was gathered.

        Raises:
            ValueError: if the table has no rows, or no pair's files are there.
        """
        if not self._seen:
            raise ValueError(f"{str(self.table)!r} has no rows")
        if not self._pairs:
            raise ValueError(
                f"{str(self.table)!r} names {len(self._seen)} pairs, and no pair's images are there: "
                f"there is no file {str(next(iter(self._uses)))!r}"
            )
        missing = tuple(
            Problem(_below(path, self.root), _and_its_pairs("there is no such file", count))
            for path, count in self._uses.items()
        )
        return RatedPairs(
            self.name, tuple(self._pairs), higher_is_better, direction, missing, undistorted, root=self.root
        )


def _below(path: Path, root: Path | None) -> str:
    return str(path.relative_to(root) if root is not None and path.is_relative_to(root) else path)


def _why_unreadable(path: Path, to_rgb: bool) -> str:
    try:
        read_image(path, to_rgb)
    except ValueError as error:
        return str(error)
    return ""


def _and_its_pairs(reason: str, pairs: int) -> str:
    return f"{reason} (the reference of {pairs} pair{'s' if pairs > 1 else ''})" if pairs else reason


def existing_file(folder: Path, name: str, dataset: str) -> Path:
    """A file that a dataset must have.

    Raises:
        ValueError: if it is not there.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}")
    found = Listing().find(folder / name)
    if found is None:
        raise ValueError(f"{str(folder)!r} has no {name}: give the folder of {dataset} that has it")
    return found


def text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file that are not empty, each with where it is, for messages.

    Raises:
        ValueError: if it is no text file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise ValueError(f"cannot read {str(path)!r} as text: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"line {number} of {str(path)!r}", line.strip()


def finite(text: object, what: str, where: str) -> float:
    """A number of a table.

    Raises:
        ValueError: if it is none, or not finite, saying where.
    """
    try:
        value = float(str(text))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where}: `{what}` must be a finite number, got {text!r}")
    return value


def read_rated_csv(
    path: str | Path,
    root: str | Path | None = None,
    opinion: str | None = None,
    opinion_is: OpinionIs | None = None,
    name: str | None = None,
) -> RatedPairs:
    r"""Read a CSV table of pairs with opinion.

    Columns ``ref`` and ``dist`` (paths), ``mos`` or ``dmos``, and where they are there ``type``, ``level`` and ``std``;
    others are ignored, and names of columns count in any case. A higher ``mos`` is better, a higher ``dmos`` is worse,
    unless ``opinion_is`` says otherwise.

    Args:
        path: the table.
        root: folder that the table's paths count from; its own by default.
        opinion: the column with the opinion, such as ``"mos_norm"``.
        opinion_is: ``"better"`` or ``"worse"``: what a higher opinion means, whatever the column is called.
        name: name of the dataset; that of the table's folder by default.

    Raises:
        ValueError: if the table cannot be read, lacks a column or has both ``mos`` and ``dmos``, if a row is broken or
            comes twice (naming its line), or if no pair's files are there.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> for file in ("a.png", "a_jpeg.png"):
    ...     Image.new("RGB", (16, 16)).save(folder / file)
    >>> rows = ["ref,dist,dmos,type", "a.png,a_jpeg.png,41.5,jpeg", "a.png,a_blur.png,60,blur"]
    >>> _ = (folder / "pairs.csv").write_text("\n".join(rows))
    >>> rated = read_rated_csv(folder / "pairs.csv")
    >>> len(rated), rated.pairs[0].opinion, rated.higher_is_better, rated.direction
    (1, 41.5, False, 'column')
    >>> rated.missing[0].name, rated.missing[0].reason
    ('a_blur.png', 'there is no such file')
    """
    table = Path(path)
    if not table.is_file():
        raise ValueError(f"there is no table {str(table)!r}")
    folder = table.parent if root is None else Path(root)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}")
    if opinion_is not in (None, "better", "worse"):
        raise ValueError(f"`opinion_is` must be 'better' or 'worse', got {opinion_is!r}")
    rows, columns = csv_rows(table)
    chosen = _opinion_column(table, columns, opinion)
    need_columns(table, columns, ("ref", "dist"))
    gathering = Gathering(name or table.absolute().parent.name, folder, table)
    for where, row in rows:
        if not row["ref"] or not row["dist"]:
            raise ValueError(f"{where} lacks `ref` or `dist`")
        level, std = (finite(row[key], key, where) if row.get(key) else None for key in ("level", "std"))
        if std is not None and std < 0:
            raise ValueError(f"{where}: `std` must not be negative, got {std:g}")
        value = finite(row[chosen], chosen, where)
        gathering.add(where, Path(row["ref"]), Path(row["dist"]), value, row.get("type", ""), level, std)
    if opinion_is is not None:
        return gathering.done(opinion_is == "better", "flag")
    known = re.search(r"(?:^|_)(d?mos)(?:_|$)", chosen)
    return gathering.done(known[1] == "mos", "column") if known else gathering.done(None, "unknown")


def csv_rows(table: Path) -> tuple[list[tuple[str, dict[str, str]]], list[str]]:
    """Rows of a CSV table, each with where it is, and its columns in lower case.

    Raises:
        ValueError: if it is no CSV table, or a row has more or fewer fields than there are columns.
    """
    rows: list[tuple[str, dict[str, str]]] = []
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = [column.strip().lower() for column in next(reader, [])]
            for fields in reader:
                if not any(field.strip() for field in fields):
                    continue
                where = f"line {reader.line_num} of {str(table)!r}"
                if len(fields) != len(columns):
                    raise ValueError(f"{where} has {len(fields)} fields, and the table {len(columns)} columns")
                rows.append((where, {key: field.strip() for key, field in zip(columns, fields, strict=True)}))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{str(table)!r} is no CSV table: {error}") from error
    return rows, columns


def need_columns(table: Path, columns: list[str], needed: Iterable[str]) -> None:
    """Raise a ValueError that names the first column that a table lacks."""
    for name in needed:
        if name not in columns:
            raise ValueError(f"{str(table)!r} has no column `{name}`; it has {', '.join(columns) or 'none'}")


def _opinion_column(table: Path, columns: list[str], opinion: str | None) -> str:
    if opinion is not None:
        need_columns(table, columns, (opinion.lower(),))
        return opinion.lower()
    known = [name for name in ("mos", "dmos") if name in columns]
    if len(known) == 1:
        return known[0]
    problem = "has the columns `mos` and `dmos`" if known else "has no column `mos` or `dmos`"
    raise ValueError(f"{str(table)!r} {problem}: name the one to take with opinion=; it has {', '.join(columns)}")
