"""Methods compared on the same images: means with intervals, paired differences, and what is settled between them.

Intervals and tests are those of :func:`~torchmetrics_fmiqa.statistics.bootstrap_t.bootstrap_t`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.statistics.bootstrap_t import bootstrap_t
from torchmetrics_fmiqa.statistics.inputs import Floats, groups
from torchmetrics_fmiqa.statistics.significance import holm


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


def compare_paired(
    values: npt.ArrayLike,
    higher_is_better: npt.ArrayLike,
    group: npt.ArrayLike | None = None,
    level: float = 0.95,
    alpha: float = 0.05,
    resamples: int = 4999,
    seed: int = 0,
) -> PairedStatistics:
    """Compare methods on the same images by several metrics.

    An image counts for a metric where all methods have a finite score of it. Two methods are settled where the test of
    their difference passes with Holm's correction over all pairs of methods and all metrics together: where no two
    methods differ, the chance of settling any of them is at most ``alpha``.

    Args:
        values: ``(M, K, n)``: scores of ``M`` methods by ``K`` metrics of ``n`` images.
        higher_is_better: ``(K,)`` whether more is better.
        group: ``(n,)`` ids of what images are drawn by, such as scenes; without them images are drawn one by one.
        level: of the intervals.
        alpha: of the tests, all together.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: for arrays that do not fit together, fewer than two methods, no metric or no image.

    >>> good = np.random.default_rng(0).normal(30.0, 3.0, size=40)
    >>> found = compare_paired(np.stack([good, good - 1 + 0.1 * np.sin(good)])[:, None], [True])
    >>> found.settled[:, :, 0].tolist(), found.rank[:, 0].tolist(), float(found.won[0, 1, 0])
    ([[0, 1], [-1, 0]], [1, 2], 1.0)
    """
    scores = np.asarray(values, dtype=np.float64)
    better = np.asarray(higher_is_better, dtype=bool)
    if scores.ndim != 3 or len(scores) < 2 or 0 in scores.shape:
        raise ValueError(f"`values` must be (M, K, n) with at least two methods, got shape {scores.shape}")
    methods, metrics, count = scores.shape
    if better.shape != (metrics,):
        raise ValueError(f"`higher_is_better` must be one truth value for each of {metrics} metrics")
    if not 0 < alpha < 1:
        raise ValueError(f"`alpha` must be between 0 and 1, such as 0.05, got {alpha}")
    ids = np.arange(count) if group is None else groups(group, "group", count)[1]
    first, second = np.triu_indices(methods, 1)
    known = np.isfinite(scores).all(0)
    mean, low, high = np.full((3, methods, metrics), np.nan)
    below, above, p = np.full((3, methods, methods, metrics), np.nan)
    won = np.full((methods, methods, metrics), np.nan)
    # Metrics of the same images take one set of draws; most often these are all.
    for kept in np.unique(known, axis=0):
        alike = np.flatnonzero((known == kept).all(1))
        images = scores[:, alike][:, :, kept]
        if not kept.any():
            continue
        gaps = images[first] - images[second]
        columns = np.concatenate([images, gaps]).reshape(-1, int(kept.sum())).T
        found = bootstrap_t(columns, None if group is None else ids[kept], level, resamples, seed)
        shaped = [part.reshape(-1, len(alike)) for part in (found.mean, found.low, found.high, found.p)]
        mean[:, alike], low[:, alike], high[:, alike] = (part[:methods] for part in shaped[:3])
        for place, metric in enumerate(alike):
            _, lower, upper, chance = (part[methods:, place] for part in shaped)
            below[first, second, metric], above[first, second, metric] = lower, upper
            below[second, first, metric], above[second, first, metric] = -upper, -lower
            p[first, second, metric] = p[second, first, metric] = chance
            gained = gaps[:, place] if better[metric] else -gaps[:, place]
            share = (gained > 0).mean(1) + (gained == 0).mean(1) / 2
            won[first, second, metric], won[second, first, metric] = share, 1 - share
    corrected = p.copy()
    corrected[first, second] = holm(p[first, second].ravel()).reshape(-1, metrics)
    corrected[second, first] = corrected[first, second]
    difference = mean[:, None] - mean[None]
    own = np.arange(methods)
    for matrix, value in ((below, 0.0), (above, 0.0), (p, 1.0), (corrected, 1.0), (won, 0.5)):
        matrix[own, own] = np.where(np.isnan(mean), np.nan, value)
    settled = np.where(corrected < alpha, np.sign(difference) * np.where(better, 1, -1), 0).astype(np.int8)
    rank = 1 + (settled < 0).sum(1)
    return PairedStatistics(
        level, alpha, known.sum(1), mean, low, high, difference, below, above, p, corrected, won, settled, rank
    )
