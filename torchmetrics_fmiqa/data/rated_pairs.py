"""What people thought of images: pairs with an opinion, triplets with a choice, patches with a difference seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torchmetrics_fmiqa.data.images import read_image
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
        found = (lost(path, self.root, why, uses[path]) for path, why in broken.items())
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


def lost(path: Path, root: Path | None, reason: str, pairs: int) -> Problem:
    """A file of a dataset that cannot be had, by its path below ``root``.

    Args:
        path: where it should be.
        root: the dataset's folder.
        reason: what is wrong with it.
        pairs: how many pairs have it as their reference, and are lost with it.

    >>> lost(Path("a/b.png"), Path("a"), "there is no such file", 2)
    Problem(name='b.png', reason='there is no such file (the reference of 2 pairs)')
    """
    if pairs:
        reason = f"{reason} (the reference of {pairs} pair{'s' if pairs > 1 else ''})"
    return Problem(_below(path, root), reason)


def _below(path: Path, root: Path | None) -> str:
    return str(path.relative_to(root) if root is not None and path.is_relative_to(root) else path)


def _why_unreadable(path: Path, to_rgb: bool) -> str:
    try:
        read_image(path, to_rgb)
    except ValueError as error:
        return str(error)
    return ""
