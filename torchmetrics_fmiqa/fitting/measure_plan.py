"""What a head shall learn from or be tested on, before anything is measured: pairs, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torchmetrics_fmiqa.data.pairs import Problem
from torchmetrics_fmiqa.data.rated_csv import RatedPair, RatedPairs, Triplets
from torchmetrics_fmiqa.fitting.dataset import Kind
from torchmetrics_fmiqa.fitting.graded_photographs import Photographs


@dataclass(frozen=True)
class Row:
    """A row of a :class:`~torchmetrics_fmiqa.fitting.dataset.MeasuredSet` to be.

    Args:
        pairs: what is measured for it: a pair, or both versions of a choice.
        target: an opinion, the share of people who found the second version closer, or a severity.
        part: the type of distortion, or the part of the data set.
        std: standard deviation of the opinions, where it is known.
    """

    pairs: tuple[RatedPair, ...]
    target: float
    part: str = ""
    std: float | None = None


@dataclass(frozen=True)
class SetPlan:
    """A data set to be measured.

    Args:
        name: of the data set.
        kind: what the targets are.
        rows: its rows.
        root: folder from which files are named.
        higher_is_better: direction of opinions.
        missing: files that are not there.
    """

    name: str
    kind: Kind
    rows: tuple[Row, ...]
    root: Path | None = None
    higher_is_better: bool = True
    missing: tuple[Problem, ...] = ()


def plan_set(source: RatedPairs | Triplets | Photographs, root: Path | None = None) -> SetPlan:
    """Plan what is measured of a data set.

    Args:
        source: pairs with opinions, choices, or photographs to be distorted.
        root: folder from which files are named, where the source does not say.

    Raises:
        ValueError: for opinions whose direction nobody tells.

    >>> rated = RatedPairs("two", (RatedPair(Path("a.png"), Path("b.png"), 4.5),), None, "unknown")
    >>> plan_set(rated)
    Traceback (most recent call last):
    ...
    ValueError: nothing says whether a higher opinion of two is better or worse: give --opinion-is
    """
    if isinstance(source, Photographs):
        graded = tuple(Row((one,), one.opinion, one.type) for one in source.versions())
        return SetPlan(source.name, "rank", graded, source.root)
    if isinstance(source, Triplets):
        chosen = tuple(
            Row((RatedPair(one.ref, one.p0, 0.0), RatedPair(one.ref, one.p1, 0.0)), one.judge, one.type or "all")
            for one in source.triplets
        )
        return SetPlan(source.name, "choice", chosen, root, missing=source.missing)
    if source.higher_is_better is None:
        raise ValueError(
            f"nothing says whether a higher opinion of {source.name} is better or worse: give --opinion-is"
        )
    # Types say nothing of what is measured: they stay with the row.
    rated = tuple(Row((RatedPair(one.ref, one.dist, 0.0),), one.opinion, one.type, one.std) for one in source.pairs)
    return SetPlan(source.name, "opinion", rated, source.root or root, source.higher_is_better, source.missing)
