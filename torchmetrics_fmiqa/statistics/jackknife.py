"""The grouped jackknife: what a figure of a whole set would be without its bias, and how sure it is."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from torchmetrics_fmiqa.statistics.inputs import column


class Jackknife(NamedTuple):
    """What leaving out one fold after the other tells of a figure.

    Args:
        extrapolated: the figure without the part of its bias that is proportional to ``1 / n``.
        error: standard error.
        margin: half the width of the interval, by Student's t with one degree of freedom less than folds.
    """

    extrapolated: float
    error: float
    margin: float


def grouped_jackknife(value: float, without: npt.ArrayLike, level: float = 0.95) -> Jackknife:
    """Extrapolate a figure to infinitely many images, and find its standard error, from what it is without each fold.

    The folds must be about equally large. Where the bias is ``b / n``, the figure of all ``n`` images and those of
    ``n (1 - 1 / G)`` give the line whose end is at ``1 / n = 0``: Quenouille's estimate. The spread of the latter gives
    the error: Tukey's. Both need a figure that is smooth in the distribution of the images.

    Args:
        value: the figure of all images.
        without: ``(G,)`` the figure of all images but those of a fold, of at least two folds.
        level: of the interval.

    Raises:
        ValueError: for fewer than two folds, and for a level that is not between 0 and 1.

    >>> values = np.arange(12.0)  # their variance, divided by n, is biased; its jackknife is that by n - 1
    >>> found = grouped_jackknife(values.var(), [np.delete(values, place).var() for place in range(12)])
    >>> round(found.extrapolated, 6), round(float(values.var(ddof=1)), 6)
    (13.0, 13.0)
    """
    folds = column(without, "without")
    count = len(folds)
    if count < 2:
        raise ValueError(f"`without` must hold the figures without each of at least 2 folds, got {count}")
    if not 0 < level < 1:
        raise ValueError(f"`level` must be between 0 and 1, such as 0.95, got {level}")
    mean = float(folds.mean())
    error = math.sqrt((count - 1) / count * float(np.square(folds - mean).sum()))
    margin = error * float(stats.t.ppf((1 + level) / 2, count - 1))
    return Jackknife(count * float(value) - (count - 1) * mean, error, margin)
