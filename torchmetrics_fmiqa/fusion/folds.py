"""Folds that share no reference: a head that has seen a picture must not be tested on other versions of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.statistics.inputs import Integers, groups


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
