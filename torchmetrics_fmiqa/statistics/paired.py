"""Methods compared on the same images: means with intervals, paired differences, and what is settled between them.

All intervals and tests are of one kind, the symmetric bootstrap-t. Images (or groups of them) are drawn with
replacement, and in each resample the mean is divided by its own standard error. The 95 % point of the absolute value of
that ratio takes the place of Student's in ``mean ± point x standard error``. It keeps its level where percentiles of
resampled means are too narrow: on few images, and on skewed scores.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.statistics.inputs import Floats


@dataclass(frozen=True)
class PairedStatistics:
    """What is known of ``M`` methods by ``K`` metrics; NaN where a metric has fewer than two images or groups.

    Args:
        level: of the intervals, such as 0.95.
        alpha: chance of at least one wrong "better" among all pairs of methods and all metrics.
        images: ``(K,)`` number of images that a metric has finite scores of, by all methods.
        mean: ``(M, K)`` mean over these images.
        low: ``(M, K)`` lower limit of the mean's interval.
        high: ``(M, K)`` upper limit.
        difference: ``(M, M, K)`` mean of the row's scores minus the column's, in the metric's own unit and direction.
        difference_low: ``(M, M, K)`` lower limit of the difference's interval, not corrected.
        difference_high: ``(M, M, K)`` upper limit.
        p: ``(M, M, K)`` two-sided p-value of the difference, not corrected; 1 on the diagonal.
        p_holm: ``(M, M, K)`` p-value with Holm's correction over all pairs of methods and all metrics.
        won: ``(M, M, K)`` share of images on which the row is better than the column; equal scores count half.
        settled: ``(M, M, K)`` 1 where the row is better than the column (``p_holm < alpha``), -1 where it is worse, 0
            where the two are tied.
        rank: ``(M, K)`` 1 + the number of methods that are settled to be better; methods that are tied with all
            others are all first.
    """

    level: float
    alpha: float
    images: npt.NDArray[np.int64] = field(repr=False)
    mean: Floats = field(repr=False)
    low: Floats = field(repr=False)
    high: Floats = field(repr=False)
    difference: Floats = field(repr=False)
    difference_low: Floats = field(repr=False)
    difference_high: Floats = field(repr=False)
    p: Floats = field(repr=False)
    p_holm: Floats = field(repr=False)
    won: Floats = field(repr=False)
    settled: npt.NDArray[np.int8] = field(repr=False)
    rank: npt.NDArray[np.int64] = field(repr=False)
