"""Which references of several sets are held out, and which are kept to stop early by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.fusion.folds import grouped_folds, leave_one_out
from torchmetrics_fmiqa.fusion.sets import MeasuredSet
from torchmetrics_fmiqa.fusion.training_examples import ordered_pairs
from torchmetrics_fmiqa.statistics.inputs import FEWEST, Floats, Integers

#: Of the references that a head may see, one in so many is kept for early stopping.
INNER_FOLDS = 5

#: How many folds of references, or one for each reference.
Folds = int | Literal["leave-one-out"]


def deal_folds(sets: Sequence[MeasuredSet], folds: Folds, seed: int) -> dict[str, Integers]:
    """Deal the references of each set of opinions or choices into folds, each set on its own.

    So each fold holds references of each set. With ``"leave-one-out"`` each reference of each set has a fold of its
    own, counted on from set to set.

    Args:
        sets: of any kinds; ranks are never held out.
        folds: how many, or ``"leave-one-out"``.
        seed: of the dealing.

    Returns:
        By name of the set, ``(n,)`` the fold of each row.

    Raises:
        ValueError: if there is nothing to hold out, for a set of one reference, and for fewer references than folds,
            naming the set.
    """
    tested = [one for one in sets if one.kind != "rank"]
    if not tested:
        raise ValueError("there is nothing to hold out: none of the sets has opinions or choices, ranks only train")
    if folds != "leave-one-out" and not isinstance(folds, int):
        raise ValueError(f"`folds` must be a number or 'leave-one-out', got {folds!r}")
    dealt, first = dict[str, Integers](), 0
    for one in tested:
        own = one.reference
        try:
            found = leave_one_out(own) + first if folds == "leave-one-out" else grouped_folds(own, folds, seed)
        except ValueError as error:
            raise ValueError(f"{one.name}: {error}") from None
        dealt[one.name] = found
        first = int(found.max()) + 1
    return dealt


def inner_rows(sets: Sequence[MeasuredSet], seed: int) -> list[npt.NDArray[np.bool_]]:
    """The rows to stop early by: those of a fifth of each set's references, of one of less than ten.

    Args:
        sets: what a head is trained on; one with a single reference is learned from as a whole.
        seed: of the choice.

    Returns:
        For each set ``(n,)``.

    Raises:
        ValueError: if no set has two references, and if a set has too little on either side: fewer than 3 different
            opinions, or no two ranks of one series that differ; naming the set.
    """
    found = []
    for one in sets:
        count = len(np.unique(one.reference))
        inner = np.zeros(len(one), dtype=np.bool_)
        if count > 1:
            inner = np.asarray(grouped_folds(one.reference, min(INNER_FOLDS, count), seed) == 0)
            check_rows(one, inner, "stop early by")
        check_rows(one, ~inner, "learn from")
        found.append(inner)
    if not any(inner.any() for inner in found):
        raise ValueError("a head needs at least 2 references to train on: one to learn from, one to stop early by")
    return found


def check_rows(one: MeasuredSet, chosen: npt.NDArray[np.bool_], what: str) -> None:
    """Check that rows of a set can be learned from, or tested with.

    Args:
        one: the set.
        chosen: ``(n,)`` which rows.
        what: what they are for, as the error has it.

    Raises:
        ValueError: for fewer than 3 different opinions, and for ranks without two that differ within a series.
    """
    different: Floats = np.unique(one.target[chosen])
    if one.kind == "opinion" and len(different) < FEWEST:
        raise ValueError(
            f"{one.name}: of the {chosen.sum()} images to {what} fewer than {FEWEST} have different opinions: "
            "give more images"
        )
    if one.kind == "rank" and one.series is not None and not len(ordered_pairs(one.target[chosen], one.series[chosen])):
        raise ValueError(f"{one.name}: of the {chosen.sum()} images to {what} no two of one series differ in severity")
