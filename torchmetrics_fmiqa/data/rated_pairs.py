"""Images with human judgements: pairs with an opinion score, triplets with a choice, just noticeable differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.data.pairs import Pair, Problem

#: Source of the direction of opinion: the column's name, the caller's option, the dataset's documentation, or none.
Direction = Literal["column", "flag", "dataset", "unknown"]

#: Whether a higher opinion means a better image or a worse one.
OpinionIs = Literal["better", "worse"]


@dataclass(frozen=True)
class RatedPair:
    """A reference, an image under test, and its mean opinion score.

    Args:
        ref: file of the reference.
        dist: file of the image under test.
        opinion: the mean opinion on the dataset's own scale; :class:`RatedPairs` has its direction.
        type: the distortion, by the dataset's name for it.
        level: strength of the distortion, if the dataset has it.
        std: standard deviation of the opinions, if the dataset has it.
    """

    ref: Path
    dist: Path
    opinion: float
    type: str = ""
    level: float | None = None
    std: float | None = None


@dataclass(frozen=True)
class RatedPairs:
    """The pairs of a dataset whose files exist, and the missing files.

    Args:
        name: name of the dataset.
        pairs: the pairs, in the order of the dataset's table.
        higher_is_better: direction of opinion; ``None`` if unknown, so that it is taken from the scores.
        direction: source of that direction.
        missing: files that are absent or broken, each with the reason; their pairs are not in ``pairs``.
        undistorted: count of images that the dataset marks as undistorted; they are left out.
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
        """The distinct references, in order of appearance."""
        return tuple(dict.fromkeys(pair.ref for pair in self.pairs))

    @property
    def reference_ids(self) -> tuple[int, ...]:
        """For each pair the index of its reference in :attr:`references`."""
        indices = {ref: index for index, ref in enumerate(self.references)}
        return tuple(indices[pair.ref] for pair in self.pairs)

    @property
    def types(self) -> tuple[str, ...]:
        """The distinct types of distortion, in order of appearance."""
        return tuple(dict.fromkeys(pair.type for pair in self.pairs))

    def select(self, indices: Iterable[int]) -> RatedPairs:
        """A copy with only the pairs at these indices."""
        return replace(self, pairs=tuple(self.pairs[index] for index in indices))

    def as_pairs(self) -> list[Pair]:
        """The pairs to score, named by their paths relative to :attr:`root`."""
        return [Pair(self._short(pair.ref), self._short(pair.dist), pair.ref, pair.dist) for pair in self.pairs]

    def verified(self, to_rgb: bool = False) -> RatedPairs:
        """Decode every image once; unreadable images move to :attr:`missing` and their pairs are left out.

        Args:
            to_rgb: whether grey and opaque RGBA files count as readable.

        Raises:
            ValueError: if no pair is left.
        """
        paths = dict.fromkeys(path for pair in self.pairs for path in (pair.ref, pair.dist))
        broken = {path: reason for path in paths if (reason := _read_error(path, to_rgb))}
        kept = tuple(pair for pair in self.pairs if pair.ref not in broken and pair.dist not in broken)
        if not kept:
            raise ValueError(f"no pair of {self.name} can be read: {next(iter(broken.values()))}")
        uses = Counter(pair.ref for pair in self.pairs)
        unreadable = (missing_file(path, self.root, reason, uses[path]) for path, reason in broken.items())
        return replace(self, pairs=kept, missing=(*self.missing, *unreadable))

    def _short(self, path: Path) -> str:
        return _relative_name(path, self.root)


@dataclass(frozen=True)
class Triplet:
    """A reference, two distorted versions of it, and which of them people judged closer.

    Args:
        ref: file of the reference.
        p0: file of the first version.
        p1: file of the second version.
        judge: share of people, in [0, 1], who judged ``p1`` closer to the reference.
        type: the part of the dataset that it belongs to.
    """

    ref: Path
    p0: Path
    p1: Path
    judge: float
    type: str = ""


@dataclass(frozen=True)
class Triplets:
    """The triplets of a dataset whose files exist, and the missing files."""

    name: str
    triplets: tuple[Triplet, ...]
    missing: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.triplets)


@dataclass(frozen=True)
class JndPair:
    """Two versions of a patch, and whether people saw a difference.

    Args:
        p0: file of the first version.
        p1: file of the second version.
        same: share of people, in [0, 1], who took them for the same.
        type: the part of the dataset that it belongs to.
    """

    p0: Path
    p1: Path
    same: float
    type: str = ""


@dataclass(frozen=True)
class JndPairs:
    """The pairs of a just-noticeable-difference test whose files exist, and the missing files."""

    name: str
    pairs: tuple[JndPair, ...]
    missing: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)


def missing_file(path: Path, root: Path | None, reason: str, pairs: int) -> Problem:
    """The problem of an absent or broken file of a dataset, named by its path relative to ``root``.

    Args:
        path: the file.
        root: the dataset's folder.
        reason: what is wrong with the file.
        pairs: count of pairs that have the file as their reference and are left out with it.

    >>> missing_file(Path("a/b.png"), Path("a"), "there is no such file", 2)
    Problem(name='b.png', reason='there is no such file (the reference of 2 pairs)')
    """
    if pairs:
        reason = f"{reason} (the reference of {pairs} pair{'s' if pairs > 1 else ''})"
    return Problem(_relative_name(path, root), reason)


def _relative_name(path: Path, root: Path | None) -> str:
    return str(path.relative_to(root) if root is not None and path.is_relative_to(root) else path)


def _read_error(path: Path, to_rgb: bool) -> str:
    """Reason why an image cannot be read; empty if it can."""
    try:
        read_image(path, to_rgb)
    except ValueError as error:
        return str(error)
    return ""
