"""Correlations of a metric's scores with human opinion: over all images, within references, by type."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from torchmetrics_fmiqa.statistics.inputs import FEWEST, Floats, Integers, column, not_finite, opinions, unusable


class Correlation(NamedTuple):
    """A correlation, and why it is NaN where it is.

    Args:
        value: the coefficient, in [-1, 1], or NaN.
        reason: why it is NaN, else empty.
    """

    value: float
    reason: str = ""


def srcc(scores: npt.ArrayLike, opinion: npt.ArrayLike) -> Correlation:
    """Spearman's rank correlation (ties share their mean rank) of ``(n,)`` scores with ``(n,)`` opinions, in [-1, 1].

    Scores that hold NaN or are constant give NaN and the reason, so that one bad metric does not stop a table; infinite
    scores have a rank like any other.

    Raises:
        ValueError: if the opinions are fewer than 3, constant or not finite, or there is not one score for each.

    >>> srcc([1.0, 2.0, 4.0, 3.0], [10.0, 20.0, 30.0, 40.0]).value.__round__(4)
    0.8
    >>> srcc([5.0, 5.0, 5.0], [1.0, 2.0, 3.0])
    Correlation(value=nan, reason='is constant')
    """
    one, other, reason = _pair(scores, opinion)
    return Correlation(np.nan, reason) if reason else Correlation(float(stats.spearmanr(one, other).statistic))


def krcc(scores: npt.ArrayLike, opinion: npt.ArrayLike) -> Correlation:
    """Kendall's rank correlation, tau-b, of ``(n,)`` scores with ``(n,)`` opinions, in [-1, 1].

    NaN and errors are those of :func:`srcc`.

    >>> krcc([1.0, 2.0, 4.0, 3.0], [10.0, 20.0, 30.0, 40.0]).value.__round__(4)
    0.6667
    """
    one, other, reason = _pair(scores, opinion)
    return Correlation(np.nan, reason) if reason else Correlation(float(stats.kendalltau(one, other).statistic))


def plcc(scores: npt.ArrayLike, opinion: npt.ArrayLike) -> Correlation:
    """Pearson's linear correlation of ``(n,)`` scores, as they are, with ``(n,)`` opinions, in [-1, 1].

    NaN and errors are those of :func:`srcc`; infinite scores give NaN too.

    >>> plcc([1.0, 2.0, 3.0], [10.0, 20.0, 30.0]).value.__round__(4)
    1.0
    """
    one, other, reason = _pair(scores, opinion)
    reason = reason or not_finite(one)
    if reason:
        return Correlation(np.nan, reason)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        return Correlation(float(stats.pearsonr(one, other).statistic))


def _pair(scores: npt.ArrayLike, opinion: npt.ArrayLike) -> tuple[Floats, Floats, str]:
    other = opinions(opinion)
    one = column(scores, "scores", len(other))
    return one, other, unusable(one)


def srcc_columns(scores: Floats, opinion: Floats) -> Floats:
    """SRCC of many metrics at once, ``(n, M), (n,) -> (M,)``; NaN for fewer than 3 distinct scores or opinions.

    Two distinct values always correlate by 1 or -1 with two others, and say nothing: within small groups of images (a
    reference, a type) that would be taken for agreement.

    >>> srcc_columns(np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 4.0]]), np.array([1.0, 2.0, 3.0]))
    array([ 1., nan])
    """
    enough = np.array([_distinct(one) >= FEWEST for one in (*scores.T, opinion)])
    with np.errstate(invalid="ignore", divide="ignore"):
        ranks = stats.rankdata(np.column_stack([scores, opinion]), axis=0)
        ranks -= (len(opinion) + 1) / 2
        lengths = np.sqrt((ranks**2).sum(0))
        found = ranks[:, :-1].T @ ranks[:, -1] / (lengths[:-1] * lengths[-1])
    return np.where(enough[:-1] & enough[-1], np.clip(found, -1, 1), np.nan)


def _distinct(values: Floats) -> int:
    return 0 if np.isnan(values).any() else len(np.unique(values))


def srcc_by_group(scores: Floats, opinion: Floats, group: Integers, count: int) -> Floats:
    """SRCC within each group of images, ``(n, M), (n,), (n,) -> (count, M)``; NaN where fewer than 3 values differ.

    ``group`` holds the place of each image's group, 0 to ``count - 1``. The mean over references is the
    *within-reference* SRCC: how well a metric orders the versions of one picture, whatever it makes of different
    pictures.

    >>> scores = np.array([[1.0], [2.0], [3.0], [3.0], [2.0], [1.0]])
    >>> srcc_by_group(scores, np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0]), np.array([0, 0, 0, 1, 1, 1]), 2)
    array([[ 1.],
           [-1.]])
    """
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(1, count))
    places = np.split(order, ends)
    return np.array([srcc_columns(scores[rows], opinion[rows]) for rows in places])
