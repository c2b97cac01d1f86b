"""Correlations of a metric's scores with human opinion: over all images, or within groups of images."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from torchmetrics_fmiqa.statistics.inputs import FEWEST, Floats, Integers, column, not_finite, opinions, unusable


class Correlation(NamedTuple):
    """A correlation coefficient, with the reason if it is NaN.

    Args:
        value: the coefficient, in [-1, 1], or NaN.
        reason: why the value is NaN, else empty.
    """

    value: float
    reason: str = ""


def srcc(scores: npt.ArrayLike, opinion: npt.ArrayLike) -> Correlation:
    """Spearman's rank correlation of ``(n,)`` scores with ``(n,)`` opinions, in [-1, 1]; ties share their mean rank.

    Scores that are constant or contain NaN give NaN and the reason, so that a bad metric does not stop a table.
    Infinite scores have a rank like any other.

    Raises:
        ValueError: if there are fewer than 3 opinions, they are constant or not finite, or the lengths differ.

    >>> srcc([1.0, 2.0, 4.0, 3.0], [10.0, 20.0, 30.0, 40.0]).value.__round__(4)
    0.8
    >>> srcc([5.0, 5.0, 5.0], [1.0, 2.0, 3.0])
    Correlation(value=nan, reason='is constant')
    """
    x, y, reason = _pair(scores, opinion)
    return Correlation(np.nan, reason) if reason else Correlation(float(stats.spearmanr(x, y).statistic))


def krcc(scores: npt.ArrayLike, opinion: npt.ArrayLike) -> Correlation:
    """Kendall's rank correlation, tau-b, of ``(n,)`` scores with ``(n,)`` opinions, in [-1, 1].

    NaN and errors are those of :func:`srcc`.

    >>> krcc([1.0, 2.0, 4.0, 3.0], [10.0, 20.0, 30.0, 40.0]).value.__round__(4)
    0.6667
    """
    x, y, reason = _pair(scores, opinion)
    return Correlation(np.nan, reason) if reason else Correlation(float(stats.kendalltau(x, y).statistic))


def plcc(scores: npt.ArrayLike, opinion: npt.ArrayLike) -> Correlation:
    """Pearson's linear correlation of raw ``(n,)`` scores with ``(n,)`` opinions, in [-1, 1].

    NaN and errors are those of :func:`srcc`; infinite scores give NaN too.

    >>> plcc([1.0, 2.0, 3.0], [10.0, 20.0, 30.0]).value.__round__(4)
    1.0
    """
    x, y, reason = _pair(scores, opinion)
    reason = reason or not_finite(x)
    if reason:
        return Correlation(np.nan, reason)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        return Correlation(float(stats.pearsonr(x, y).statistic))


def _pair(scores: npt.ArrayLike, opinion: npt.ArrayLike) -> tuple[Floats, Floats, str]:
    y = opinions(opinion)
    x = column(scores, "scores", len(y))
    return x, y, unusable(x)


def srcc_columns(scores: Floats, opinion: Floats) -> Floats:
    """SRCC of many metrics at once, ``(n, M), (n,) -> (M,)``; NaN for fewer than 3 distinct scores or opinions.

    Two distinct values always correlate by 1 or -1. Within small groups of images (a reference, a type) that would look
    like agreement.

    >>> srcc_columns(np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 4.0]]), np.array([1.0, 2.0, 3.0]))
    array([ 1., nan])
    """
    enough = np.array([_distinct(values) >= FEWEST for values in (*scores.T, opinion)])
    with np.errstate(invalid="ignore", divide="ignore"):
        ranks = stats.rankdata(np.column_stack([scores, opinion]), axis=0)
        ranks -= (len(opinion) + 1) / 2
        lengths = np.sqrt((ranks**2).sum(0))
        correlations = ranks[:, :-1].T @ ranks[:, -1] / (lengths[:-1] * lengths[-1])
    return np.where(enough[:-1] & enough[-1], np.clip(correlations, -1, 1), np.nan)


def _distinct(values: Floats) -> int:
    return 0 if np.isnan(values).any() else len(np.unique(values))


def srcc_by_group(scores: Floats, opinion: Floats, group: Integers, count: int) -> Floats:
    """SRCC within each group of images, ``(n, M), (n,), (n,) -> (count, M)``; NaN where fewer than 3 values differ.

    ``group`` holds the index of each image's group, 0 to ``count - 1``. The mean over references is the
    *within-reference* SRCC: how well a metric orders the versions of the same picture.

    >>> scores = np.array([[1.0], [2.0], [3.0], [3.0], [2.0], [1.0]])
    >>> srcc_by_group(scores, np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0]), np.array([0, 0, 0, 1, 1, 1]), 2)
    array([[ 1.],
           [-1.]])
    """
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(1, count))
    rows_of_groups = np.split(order, ends)
    return np.array([srcc_columns(scores[rows], opinion[rows]) for rows in rows_of_groups])
