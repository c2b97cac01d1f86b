"""Significance tests of the differences in SRCC between metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from torchmetrics_fmiqa.statistics.bootstrap import Resamples, interval, resample
from torchmetrics_fmiqa.statistics.correlation import srcc
from torchmetrics_fmiqa.statistics.inputs import Floats, opinions, table

#: Test of a difference.
Test = Literal["bootstrap", "bootstrap_share", "steiger"]


@dataclass(frozen=True)
class Comparison:
    """Differences of SRCC between all pairs of metrics; matrices ``(M, M)``, row minus column.

    Args:
        metrics: names, in the order of rows and columns.
        test: test that ``p`` is from.
        alpha: chance of at least one wrong win among all pairs.
        srcc: ``(M,)`` SRCC of each metric.
        difference: SRCC of the row minus that of the column.
        low: lower limit of the difference's 95 % bootstrap interval, not corrected.
        high: upper limit.
        p: two-sided p-value of each pair, not corrected; 1 on the diagonal.
        p_holm: p-value with Holm's correction for all pairs.
        beats: 1 where the row beats the column, -1 where the column beats the row, 0 where neither is significant.
    """

    metrics: tuple[str, ...]
    test: Test
    alpha: float
    srcc: Floats = field(repr=False)
    difference: Floats = field(repr=False)
    low: Floats = field(repr=False)
    high: Floats = field(repr=False)
    p: Floats = field(repr=False)
    p_holm: Floats = field(repr=False)
    beats: npt.NDArray[np.int8] = field(repr=False)


def compare(
    scores: Mapping[str, npt.ArrayLike] | npt.ArrayLike,
    opinion: npt.ArrayLike,
    reference: npt.ArrayLike | None = None,
    test: Test = "bootstrap",
    alpha: float = 0.05,
    resamples: int = 1000,
    seed: int = 0,
    drawn: Resamples | None = None,
) -> Comparison:
    """Compare the SRCC of all pairs of metrics on the same images.

    Scores and opinions must have the same direction first (:func:`aligned`). Otherwise a metric that ranks images
    perfectly but in reverse comes last.

    The tests are:

    - ``"bootstrap"``: the difference divided by its standard error over resamples of references, against Student's t
      with the number of references minus one as degrees of freedom. It respects that images of the same reference
      depend on each other. Its p can be as small as a correction for many pairs needs.
    - ``"bootstrap_share"``: twice the share of resamples in which the difference has the opposite sign. It assumes no
      distribution, but its p is never below 2 / (resamples + 1).
    - ``"steiger"``: :func:`steiger_z`, which assumes that images are independent. Images of the same reference are not,
      so it often reports differences that do not exist.

    Args:
        scores: ``{name: (n,)}`` or ``(n, M)``, M at least 2.
        opinion: ``(n,)``.
        reference: ``(n,)`` ids; without them images are drawn one by one.
        test: see above.
        alpha: level of the corrected test.
        resamples: number of resamples.
        seed: seed of the draws.
        drawn: existing resamples of the same scores, to reuse.

    Raises:
        ValueError: for fewer than 2 metrics, an unknown test, too few resamples for any pair to pass
            ``"bootstrap_share"``, resamples of other metrics, or bad opinions.

    >>> rng = np.random.default_rng(0)
    >>> opinion, reference = rng.normal(size=200), np.arange(200) // 10
    >>> scores = {"good": opinion + 0.2 * rng.normal(size=200), "bad": opinion + 2.0 * rng.normal(size=200)}
    >>> compare(scores, opinion, reference, resamples=200).beats
    array([[ 0,  1],
           [-1,  0]], dtype=int8)
    """
    y = opinions(opinion)
    metrics, columns = table(scores, len(y))
    width = len(metrics)
    pairs = width * (width - 1) // 2
    if width < 2:
        raise ValueError("`scores` holds one metric: give at least two to compare")
    if test not in get_args(Test):
        raise ValueError(f"`test` must be one of {', '.join(get_args(Test))}; got {test!r}")
    if not 0 < alpha < 1:
        raise ValueError(f"`alpha` must be between 0 and 1, such as 0.05, got {alpha}")
    if drawn is None:
        drawn = resample(columns, y, reference, resamples=resamples, seed=seed)
    elif drawn.srcc.shape[1] != width:
        raise ValueError(f"`drawn` must hold the same {width} metrics, got {drawn.srcc.shape[1]}")
    needed = int(np.ceil(2 * pairs / alpha))
    if test == "bootstrap_share" and len(drawn.srcc) < needed:
        raise ValueError(
            f"among {pairs} pairs nothing passes at {alpha} with {len(drawn.srcc)} resamples: "
            f"take at least {needed}, or test='bootstrap'"
        )
    correlations = np.array([srcc(column, y).value for column in columns.T])
    between = _srcc_between_metrics(columns) if test == "steiger" else np.empty((width, width))
    difference = correlations[:, None] - correlations[None, :]
    shape = (width, width)
    low, high, p = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    for row in range(width):
        by_resample = drawn.srcc[:, row, None] - drawn.srcc
        low[row], high[row] = interval(by_resample)
        if test == "bootstrap":
            p[row] = p_by_standard_error(difference[row], by_resample, drawn.references - 1)
        elif test == "bootstrap_share":
            p[row] = _p_by_share(by_resample)
        else:
            p[row] = [
                steiger_z(correlations[row], correlations[column], between[row, column], len(y))[1]
                for column in range(width)
            ]
    p[np.diag_indices(width)] = np.where(np.isnan(correlations), np.nan, 1.0)
    upper = np.triu_indices(width, 1)
    corrected = np.where(np.eye(width, dtype=bool), p, np.nan)
    corrected[upper] = holm(p[upper])
    corrected.T[upper] = corrected[upper]
    beats = np.where(corrected < alpha, np.sign(np.nan_to_num(difference)), 0).astype(np.int8)
    return Comparison(tuple(metrics), test, alpha, correlations, difference, low, high, p, corrected, beats)


def _srcc_between_metrics(columns: Floats) -> Floats:
    """SRCC of all metrics with each other, ``(n, M) -> (M, M)``; NaN for constant ones."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.corrcoef(stats.rankdata(columns, axis=0), rowvar=False))


def p_by_standard_error(difference: Floats, by_resample: Floats, degrees_of_freedom: int) -> Floats:
    """Two-sided p-values ``(k,)`` of differences ``(k,)`` by their standard error over resamples ``(B, k)``."""
    known = ~np.isnan(by_resample).any(0)
    error = np.full(len(difference), np.nan)
    error[known] = by_resample[:, known].std(0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Metrics that rank equally in every resample have no difference to test.
        t = np.where((difference == 0) & (error == 0), 0.0, difference / error)
    return np.asarray(2 * stats.t.sf(np.abs(t), degrees_of_freedom))


def _p_by_share(by_resample: Floats) -> Floats:
    count = (~np.isnan(by_resample)).sum(0)
    tail = np.minimum((by_resample <= 0).sum(0), (by_resample >= 0).sum(0))
    return np.where(count > 0, np.minimum(1.0, 2 * (tail + 1) / (count + 1)), np.nan)


def steiger_z(r_1: float, r_2: float, r_12: float, count: int) -> tuple[float, float]:
    r"""Steiger's Z for two correlations that share a variable, and its two-sided p.

    This is equation 14 of Steiger (Psychological Bulletin 87(2), 1980) with the pooled correlation
    :math:`\bar r = (r_1 + r_2) / 2`:

    .. math::
        Z = \frac{(\operatorname{artanh} r_1 - \operatorname{artanh} r_2) \sqrt{n - 3}}{\sqrt{2 - 2 s}}, \qquad
        s = \frac{r_{12} (1 - 2 \bar r^2) - \tfrac12 \bar r^2 (1 - 2 \bar r^2 - r_{12}^2)}{(1 - \bar r^2)^2}

    It holds for Pearson's correlations of independent pairs; for Spearman's it is an approximation.

    Args:
        r_1: correlation of the first metric with opinion.
        r_2: correlation of the second metric with opinion.
        r_12: correlation of the two metrics with each other.
        count: number of images, more than 3.

    Returns:
        Z, positive if the first correlation is higher, and p. Both are NaN if a correlation is NaN; Z is infinite for a
        perfect correlation against an imperfect one.

    Raises:
        ValueError: for a correlation outside [-1, 1] or 3 images or fewer.

    >>> [round(value, 4) for value in steiger_z(0.3, 0.4, 0.5, 100)]
    [-1.0718, 0.2838]
    """
    for name, value in (("r_1", r_1), ("r_2", r_2), ("r_12", r_12)):
        if abs(value) > 1:
            raise ValueError(f"`{name}` must be a correlation in [-1, 1], got {value}")
    if count <= 3:
        raise ValueError(f"`count` must be more than 3 images, got {count}")
    if np.isnan([r_1, r_2, r_12]).any():
        return np.nan, np.nan
    if r_1 == r_2:
        return 0.0, 1.0
    square = ((r_1 + r_2) / 2) ** 2
    shared = (r_12 * (1 - 2 * square) - 0.5 * square * (1 - 2 * square - r_12**2)) / (1 - square) ** 2
    # For metrics that are almost equal, rounding can make this negative.
    spread = max(2 - 2 * shared, np.finfo(np.float64).tiny)
    with np.errstate(divide="ignore"):
        z = float((np.arctanh(r_1) - np.arctanh(r_2)) * np.sqrt(count - 3) / np.sqrt(spread))
    return z, float(2 * stats.norm.sf(abs(z)))


def holm(p: npt.ArrayLike) -> Floats:
    """Holm's correction of ``(k,)`` p-values for multiple tests (Scandinavian Journal of Statistics 6, 1979).

    The chance of at least one wrong rejection stays below the level, even if the tests depend on each other. NaN stays
    NaN and does not count as a test.

    Raises:
        ValueError: if a value is outside [0, 1].

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or (values < 0).any() or (values > 1).any():
        raise ValueError(f"`p` must be one column of probabilities in [0, 1], got {values}")
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    corrected = np.full(len(values), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected
