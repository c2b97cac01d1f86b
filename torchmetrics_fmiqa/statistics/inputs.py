"""Checks of the inputs that all statistics share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

#: A column or a table of float64.
Floats = npt.NDArray[np.float64]
#: A column of int64.
Integers = npt.NDArray[np.int64]

#: The fewest pairs for a correlation: two points are always on a line.
FEWEST = 3


def column(values: npt.ArrayLike, name: str, count: int | None = None) -> Floats:
    """Check a column of numbers and return it as ``(n,)`` float64.

    Raises:
        ValueError: if the values are not numbers, not a single column, or not ``count`` of them.

    >>> column([1, 2, 3], "scores")
    array([1., 2., 3.])
    """
    array = _floats(values, name)
    if array.ndim != 1:
        raise ValueError(f"`{name}` must be one column (n,), got shape {array.shape}")
    if count is not None and len(array) != count:
        raise ValueError(f"`{name}` must hold {count} values, one an image, got {len(array)}")
    return array


def opinions(values: npt.ArrayLike, name: str = "opinion") -> Floats:
    """Check ``(n,)`` human opinions, which must be complete: every result of a table depends on them.

    Raises:
        ValueError: if there are fewer than 3, some are not finite, or all are equal.

    >>> opinions([3.0, 1.0, 2.0])
    array([3., 1., 2.])
    """
    array = column(values, name)
    if len(array) < FEWEST:
        raise ValueError(f"`{name}` must hold at least {FEWEST} values, got {len(array)}")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"`{name}` must be finite, got {array[bad[0]]} at row {bad[0]}: leave such images out first")
    if array.min() == array.max():
        raise ValueError(f"`{name}` must differ between images, got {array[0]} for all {len(array)}")
    return array


def table(scores: Mapping[str, npt.ArrayLike] | npt.ArrayLike, count: int | None = None) -> tuple[list[str], Floats]:
    """Return the names of the metrics and their scores ``(n, M)``; unnamed columns are named by their index.

    Raises:
        ValueError: if there is no column, or the columns differ in length or from ``count``.

    >>> names, scores = table({"psnr": [30, 20, 25], "ssim": [0.9, 0.5, 0.7]})
    >>> names, scores.shape
    (['psnr', 'ssim'], (3, 2))
    """
    if isinstance(scores, Mapping):
        if not scores:
            raise ValueError("`scores` holds no metric: give {name: (n,)} or a table (n, M)")
        columns = {str(name): column(values, f"scores[{name!r}]", count) for name, values in scores.items()}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"`scores` must be equally long for all metrics, got {lengths}")
        return list(columns), np.stack(list(columns.values()), axis=1)
    array = _floats(scores, "scores")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] == 0 or (count is not None and len(array) != count):
        rows = "n" if count is None else count
        raise ValueError(f"`scores` must be {{name: ({rows},)}} or a table ({rows}, M), got shape {array.shape}")
    return [str(index) for index in range(array.shape[1])], array


def groups(ids: npt.ArrayLike, name: str, count: int) -> tuple[list[str], Integers]:
    """Return the sorted names of the groups, and for each image the index of its group ``(n,)``.

    Raises:
        ValueError: if there is not exactly one id for each image.

    >>> groups(["bikes", "house", "bikes"], "reference", 3)
    (['bikes', 'house'], array([0, 1, 0]))
    """
    array = np.asarray(ids)
    if array.shape != (count,):
        raise ValueError(f"`{name}` must hold {count} ids, one an image, got shape {array.shape}")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError(f"`{name}` must give every image an id, got NaN at row {int(np.isnan(array).argmax())}")
    if array.dtype == object:
        array = array.astype(str)
    names, codes = np.unique(array, return_inverse=True)
    return [str(name) for name in names], codes.reshape(-1).astype(np.int64)


def unusable(scores: Floats) -> str:
    """Reason why a metric's scores ``(n,)`` have no correlation; empty if they have one.

    >>> unusable(np.array([1.0, 1.0, 1.0])), unusable(np.array([1.0, 2.0, np.inf]))
    ('is constant', '')
    """
    missing = int(np.isnan(scores).sum())
    if missing:
        return f"holds {missing} NaN"
    return "is constant" if scores.min() == scores.max() else ""


def not_finite(scores: Floats) -> str:
    """Reason why no line or curve can be fitted to a metric's scores ``(n,)``; empty if one can.

    >>> not_finite(np.array([1.0, 2.0, np.inf]))
    'holds 1 infinite values, which have a rank but no place on a line'
    """
    count = int(np.isinf(scores).sum())
    return f"holds {count} infinite values, which have a rank but no place on a line" if count else ""


def _floats(values: npt.ArrayLike, name: str) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be numbers: {error}") from error
