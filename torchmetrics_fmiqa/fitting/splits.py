"""Which references of several sets are held out, and which are kept to stop early by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.fitting.dataset import MeasuredSet, ordered_pairs
from torchmetrics_fmiqa.statistics.inputs import FEWEST, Floats, Integers, groups

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


def grouped_folds(group: npt.ArrayLike, folds: int, seed: int = 0) -> Integers:
    """Deal groups of images into folds of about as many images each, in an order that the seed decides.

    The largest group left goes to the fold with the fewest images so far; groups of one size are shuffled. As many
    folds as groups is leave-one-reference-out.

    Args:
        group: ``(n,)`` ids of the references, numbers or names.
        folds: how many.
        seed: of the shuffling.

    Returns:
        ``(n,)`` the fold of each image, 0 to ``folds - 1``; images of one group are in one fold, and no fold is empty.

    Raises:
        ValueError: for fewer than 2 folds, for one group only, and for fewer groups than folds.

    >>> grouped_folds(["a", "a", "b", "b", "c", "c", "d", "d"], folds=2).tolist()
    [1, 1, 0, 0, 0, 0, 1, 1]
    """
    names, codes = _groups(group)
    if folds < 2:
        raise ValueError(f"`folds` must be at least 2, got {folds}: what is trained on cannot be tested on")
    if len(names) < folds:
        raise ValueError(f"there are {len(names)} references for {folds} folds: take at most {len(names)} folds")
    sizes = np.bincount(codes)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    filled = np.zeros(folds, dtype=np.int64)
    fold_of = np.empty(len(names), dtype=np.int64)
    for one in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold_of[one] = filled.argmin()
        filled[fold_of[one]] += sizes[one]
    return np.asarray(fold_of[codes])


def leave_one_out(group: npt.ArrayLike) -> Integers:
    """A fold for each group, in the order of their names.

    Args:
        group: ``(n,)`` ids of the references.

    Returns:
        ``(n,)`` the fold of each image.

    Raises:
        ValueError: for one group only.

    >>> leave_one_out(["b", "a", "b", "c"]).tolist()
    [1, 0, 1, 2]
    """
    return _groups(group)[1]


def _groups(group: npt.ArrayLike) -> tuple[list[str], Integers]:
    names, codes = groups(group, "group", len(np.asarray(group)))
    if len(names) < 2:
        raise ValueError(
            f"all images have one reference, {names[0] if names else 'of none'!r}: there is nothing to test on that "
            "was not trained on; give the column that names the references"
        )
    return names, codes
