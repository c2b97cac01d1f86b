"""Which references of several sets are held out, and which are kept to stop early by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.fitting.dataset import MeasuredSet, ordered_pairs
from torchmetrics_fmiqa.statistics.inputs import FEWEST, Integers, groups

#: Of the references that a head may see, one in so many is kept for early stopping.
INNER_FOLDS = 5

#: How many folds of references, or one for each reference.
Folds = int | Literal["leave-one-out"]


def assign_folds(sets: Sequence[MeasuredSet], folds: Folds, seed: int) -> dict[str, Integers]:
    """Deal the references of each set of opinions or choices into folds, each set on its own.

    So each fold holds references of each set. With ``"leave-one-out"`` each reference of each set has a fold of its
    own, counted on from set to set.

    Returns:
        By name of the set, ``(n,)`` the fold of each row. Ranks are never held out.

    Raises:
        ValueError: if there is nothing to hold out, for a set of one reference, and for fewer references than folds,
            naming the set.
    """
    tested = [data for data in sets if data.kind != "rank"]
    if not tested:
        raise ValueError("there is nothing to hold out: none of the sets has opinions or choices, ranks only train")
    if folds != "leave-one-out" and not isinstance(folds, int):
        raise ValueError(f"`folds` must be a number or 'leave-one-out', got {folds!r}")
    fold_of, first = dict[str, Integers](), 0
    for data in tested:
        reference = data.reference
        try:
            own = grouped_folds(reference, folds, seed) + (first if folds == "leave-one-out" else 0)
        except ValueError as error:
            raise ValueError(f"{data.name}: {error}") from None
        fold_of[data.name] = own
        first = int(own.max()) + 1
    return fold_of


def inner_rows(sets: Sequence[MeasuredSet], seed: int) -> list[npt.NDArray[np.bool_]]:
    """The rows to stop early by: those of a fifth of each set's references, of one of less than ten.

    Returns:
        For each set ``(n,)``. One with a single reference is learned from as a whole.

    Raises:
        ValueError: if no set has two references, and if a set has too little on either side: fewer than 3 different
            opinions, or no two ranks of one series that differ; naming the set.
    """
    inner_of = []
    for data in sets:
        count = len(np.unique(data.reference))
        inner = np.zeros(len(data), dtype=np.bool_)
        if count > 1:
            inner = np.asarray(grouped_folds(data.reference, min(INNER_FOLDS, count), seed) == 0)
            check_rows(data, inner, "stop early by")
        check_rows(data, ~inner, "learn from")
        inner_of.append(inner)
    if not any(inner.any() for inner in inner_of):
        raise ValueError("a head needs at least 2 references to train on: one to learn from, one to stop early by")
    return inner_of


def check_rows(data: MeasuredSet, chosen: npt.NDArray[np.bool_], purpose: str) -> None:
    """Check that the chosen rows ``(n,)`` of a set can be learned from, or tested with, as the purpose says.

    Raises:
        ValueError: for fewer than 3 different opinions, and for ranks without two that differ within a series.
    """
    target, count = data.target[chosen], chosen.sum()
    if data.kind == "opinion" and len(np.unique(target)) < FEWEST:
        raise ValueError(
            f"{data.name}: of the {count} images to {purpose} fewer than {FEWEST} have different opinions: "
            "give more images"
        )
    if data.kind == "rank" and data.series is not None and not len(ordered_pairs(target, data.series[chosen])):
        raise ValueError(f"{data.name}: of the {count} images to {purpose} no two of one series differ in severity")


def grouped_folds(group: npt.ArrayLike, folds: Folds, seed: int = 0) -> Integers:
    """Deal groups of images into folds of about as many images each, in an order that the seed decides.

    The largest group left goes to the fold with the fewest images so far; groups of one size are shuffled. With
    ``"leave-one-out"`` each group has a fold, in the order of their names.

    Args:
        group: ``(n,)`` ids of the references, numbers or names.
        folds: how many, or ``"leave-one-out"``.
        seed: of the shuffling.

    Returns:
        ``(n,)`` the fold of each image, from 0; images of one group are in one fold, and no fold is empty.

    Raises:
        ValueError: for fewer than 2 folds, for one group only, and for fewer groups than folds.

    >>> grouped_folds(["a", "a", "b", "b", "c", "c", "d", "d"], folds=2).tolist()
    [1, 1, 0, 0, 0, 0, 1, 1]
    >>> grouped_folds(["b", "a", "b", "c"], "leave-one-out").tolist()
    [1, 0, 1, 2]
    """
    names, codes = groups(group, "group", len(np.asarray(group)))
    if len(names) < 2:
        raise ValueError(
            f"all images have one reference, {names[0] if names else 'of none'!r}: there is nothing to test on that "
            "was not trained on; give the column that names the references"
        )
    if folds == "leave-one-out":
        return codes
    if folds < 2:
        raise ValueError(f"`folds` must be at least 2, got {folds}: what is trained on cannot be tested on")
    if len(names) < folds:
        raise ValueError(f"there are {len(names)} references for {folds} folds: take at most {len(names)} folds")
    sizes = np.bincount(codes)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    filled = np.zeros(folds, dtype=np.int64)
    fold_of = np.empty(len(names), dtype=np.int64)
    for number in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold_of[number] = filled.argmin()
        filled[fold_of[number]] += sizes[number]
    return np.asarray(fold_of[codes])
