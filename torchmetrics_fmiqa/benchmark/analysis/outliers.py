"""Images that a metric misjudges: which types they are of, and whether they hold high frequencies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
from torchmetrics_fmiqa.statistics import Agreement, holm
from torchmetrics_fmiqa.statistics.inputs import Floats, column

_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FeatureTest:
    """Outliers against inliers by one property of the image.

    ``p`` takes images for independent, which those of one reference are not: a reference that a metric misjudges gives
    many outliers at once, and what is measured on it is the same for all of them. ``p_clustered`` takes references
    for independent; believe it rather than ``p``, and most of all where ``side`` is ``"reference"``.
    """

    feature: str  #: the property, such as ``"high-frequency energy"``
    side: str  #: ``"reference"``, ``"distorted"`` or ``"difference"``: where it was measured
    #: Probability that an outlier has more of it than an inlier (ties count half); 0.5 is no difference. Stratified:
    #: the mean over types, weighed by the pairs of outlier and inlier in each.
    effect: float
    p: float  #: two-sided p-value of the Mann-Whitney test; stratified by van Elteren's sum over types
    p_holm: float  #: corrected (Holm) for all tests made
    outliers: int  #: number of outliers that counted; ``inliers`` likewise
    inliers: int
    strata: int  #: number of types that had both
    #: Two-sided p-value of the same rank sum with references, not images, as what is independent; ``p_clustered_holm``
    #: is corrected for all tests made.
    p_clustered: float = math.nan
    p_clustered_holm: float = math.nan


@dataclass(frozen=True)
class WorstCase:
    """An image that a metric misjudges, for the gallery."""

    row: int  #: its place in the table
    ref: str  #: name of the reference; ``dist`` of the image under test
    dist: str
    type: str  #: its type, empty if unknown
    opinion: float  #: what people said
    predicted: float  #: what the fitted metric says, in the opinion's units
    z: float  #: the residual in the rule's unit; positive where people find the image better than the metric says


@dataclass(frozen=True)
class OutlierFinding:
    """The outliers of one metric."""

    metric: str
    rule: str  #: what makes an image an outlier, in words
    count: int  #: number of outliers
    n: int  #: number of images
    by_type: dict[str, tuple[int, int]]  #: for each type the outliers and the images; empty without types
    pooled: tuple[FeatureTest, ...]  #: tests over all images
    stratified: tuple[FeatureTest, ...]  #: tests within types; empty without types
    worst: tuple[WorstCase, ...]  #: the worst, by falling absolute z


def outlier_finding(
    agreement: Agreement,
    table: ScoredTable,
    features: Mapping[tuple[str, str], npt.ArrayLike] | None = None,
    worst: int = 10,
) -> OutlierFinding:
    """Find what the images have in common that a metric misjudges.

    Khatami and Mahmoudi-Aznaveh (IPRIA 2023) say that outliers mostly contain high-frequency elements. A distortion's
    type decides both how much high frequency an image holds and whether a metric misjudges it, so that a difference
    over all images may be one between types only: the stratified tests compare images of one type with each other.

    The table is that from which the agreement was made. Features are ``(n,)`` values by ``(feature, side)``, as of
    :func:`~torchmetrics_fmiqa.benchmark.analysis.image_properties.image_features`. So many ``worst`` cases are named,
    whether outliers or not. A test is NaN without outliers, without inliers, or of a feature that is constant.

    Raises:
        ValueError: for a metric without a fit, an agreement of another table, or features that are not ``n`` finite
            values.

    >>> from torchmetrics_fmiqa.statistics import agreement
    >>> rng = np.random.default_rng(0)
    >>> opinion = rng.uniform(0, 100, size=60)
    >>> scores = opinion + rng.normal(size=60)
    >>> scores[:4] += 30
    >>> names = np.arange(60).astype(str)
    >>> table = ScoredTable({"ours": scores}, {}, opinion, np.repeat(names[:6], 10), names, None)
    >>> noisy = np.where(np.arange(60) < 4, 2.0, 1.0) + 0.1 * rng.normal(size=60)
    >>> finding = outlier_finding(agreement(table.scores, opinion)[0], table, {("noise", "distorted"): noisy}, worst=4)
    >>> finding.count, sorted(case.row for case in finding.worst), finding.pooled[0].effect
    (4, [0, 1, 2, 3], 1.0)
    """
    sign = _direction(agreement, table)
    if worst < 0:
        raise ValueError(f"`worst` must be at least 0, got {worst}")
    z, outlying, types = agreement.outliers.z, agreement.outliers.outlying, table.type
    columns = {name: _feature(name, values, agreement.n) for name, values in (features or {}).items()}
    tests = [
        _test(*name, values, outlying, table.reference, strata)
        for strata in ((None,) if types is None else (None, types))
        for name, values in columns.items()
    ]
    by_image, by_reference = holm([test.p for test in tests]), holm([test.p_clustered for test in tests])
    tests = [
        replace(test, p_holm=float(p), p_clustered_holm=float(clustered))
        for test, p, clustered in zip(tests, by_image, by_reference, strict=True)
    ]
    cases = (
        WorstCase(
            int(row),
            str(table.reference[row]),
            str(table.image[row]),
            "" if types is None else str(types[row]),
            float(table.opinion[row]),
            float(sign * agreement.fit.fitted[row]),
            float(z[row]),
        )
        for row in np.argsort(-np.abs(z), kind="stable")[:worst]
    )
    inside = {} if types is None else {str(name): types == name for name in np.unique(types)}
    return OutlierFinding(
        agreement.metric,
        agreement.outliers.rule,
        int(outlying.sum()),
        agreement.n,
        by_type={name: (int(outlying[rows].sum()), int(rows.sum())) for name, rows in inside.items()},
        pooled=tuple(tests[: len(columns)]),
        stratified=tuple(tests[len(columns) :]),
        worst=tuple(cases),
    )


def _direction(agreement: Agreement, table: ScoredTable) -> int:
    """1 if the fit is to the table's opinions as they are, -1 if they were turned to "higher is better"."""
    fit = agreement.fit
    if not fit.converged:
        raise ValueError(f"{agreement.metric!r} has no fit and so no outliers: it {fit.reason}")
    if agreement.n == len(table.opinion):
        for sign in (1, -1):
            if np.allclose(fit.fitted + fit.residuals, sign * table.opinion, rtol=1e-6, atol=1e-6):
                return sign
    raise ValueError(f"the agreement of {agreement.metric!r} was made from other opinions than the table holds")


def _feature(name: tuple[str, str], values: npt.ArrayLike, count: int) -> Floats:
    feature = column(values, f"features[{name!r}]", count)
    bad = np.flatnonzero(~np.isfinite(feature))
    if len(bad):
        raise ValueError(f"the feature {name!r} must be finite, got {feature[bad[0]]} at row {bad[0]}")
    return feature


def _test(
    feature: str,
    side: str,
    values: Floats,
    outlying: _Flags,
    reference: npt.NDArray[np.str_],
    types: npt.NDArray[np.str_] | None,
) -> FeatureTest:
    """Outliers against inliers: against those of their type, or without types all against all."""
    strata = np.zeros(len(values)) if types is None else types
    sums = RankSums.of(values, outlying, np.unique(strata, return_inverse=True)[1])
    p, counts = sums.p, (sums.outliers, sums.inliers)
    if types is None:
        counts = int(outlying.sum()), int((~outlying).sum())
        if sums.variance > 0:
            p = float(stats.mannwhitneyu(values[outlying], values[~outlying]).pvalue)
    clustered = sums.p_clustered(reference)
    return FeatureTest(feature, side, sums.effect, p, math.nan, *counts, sums.strata, p_clustered=clustered)


@dataclass(frozen=True)
class RankSums:
    r"""Van Elteren's test (Bulletin of the Institute of International Statistics 37, 1960): rank sums over strata.

    .. math::
        T = \sum_t \frac{W_t - m_t (N_t + 1) / 2}{N_t + 1}, \qquad
        \operatorname{var} T = \sum_t \frac{m_t (N_t - m_t)}{12 (N_t + 1)^2}
            \left(N_t + 1 - \frac{\sum_g (g^3 - g)}{N_t (N_t - 1)}\right)

    with :math:`W_t` the rank sum of the :math:`m_t` outliers among the :math:`N_t` images of a stratum, and :math:`g`
    the sizes of its sets of ties. Strata without outliers or without inliers tell nothing and are no part of it.
    """

    #: ``(n,)`` what each image adds to ``T``: its centred rank times its centred flag, over ``N_t + 1``; 0 in strata
    #: that tell nothing.
    shares: Floats
    variance: float  #: of ``T`` if flags fall on images of a stratum by chance
    #: Probability that an outlier has more than an inlier of its stratum, ties counting half, over all such pairs; NaN
    #: without any.
    effect: float
    outliers: int  #: number of outliers in the ``strata`` that tell something; ``inliers`` likewise
    inliers: int
    strata: int

    @classmethod
    def of(cls, values: Floats, outlying: _Flags, stratum: npt.NDArray[np.int64]) -> RankSums:
        """Rank ``(n,)`` values within the strata ``(n,)``.

        >>> values, outlying = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, False, True, True])
        >>> sums = RankSums.of(values, outlying, np.zeros(4, dtype=np.int64))
        >>> sums.effect, round(sums.p, 4)
        (1.0, 0.1213)
        """
        shares = np.zeros(len(values))
        variance = above = 0.0
        outliers = inliers = pairs = strata = 0
        for name in np.unique(stratum):
            inside = stratum == name
            flags, total = outlying[inside], int(inside.sum())
            number = int(flags.sum())
            if number in (0, total):
                continue
            ranks = stats.rankdata(values[inside])
            centred = ranks - (total + 1) / 2
            shares[inside] = (flags - number / total) * centred / (total + 1)
            # With mean ranks, the sum of squares holds the correction for ties.
            spread = float((centred**2).sum()) * number * (total - number) / (total * (total - 1))
            variance += spread / (total + 1) ** 2
            above += float(ranks[flags].sum()) - number * (number + 1) / 2
            outliers, inliers = outliers + number, inliers + total - number
            pairs, strata = pairs + number * (total - number), strata + 1
        effect = above / pairs if variance > 0 else math.nan
        return cls(shares, variance, effect, outliers, inliers, strata)

    @property
    def p(self) -> float:
        """Two-sided p-value by the normal approximation; NaN where nothing differs."""
        if not self.variance > 0:
            return math.nan
        return float(2 * stats.norm.sf(abs(self.shares.sum()) / math.sqrt(self.variance)))

    def p_clustered(self, cluster: npt.NDArray[np.str_]) -> float:
        """Two-sided p-value if clusters ``(n,)`` are independent and images of one are not.

        Student's t of what each cluster adds to ``T``: its mean is 0 if values say nothing of the flags, whatever
        images of a cluster have in common. Few clusters make it rough. NaN for fewer than 2 clusters.
        """
        _, code = np.unique(cluster, return_inverse=True)
        sums = np.bincount(code, weights=self.shares)
        if not self.variance > 0 or len(sums) < 2 or np.ptp(sums) == 0:
            return math.nan
        return float(stats.ttest_1samp(sums, 0.0).pvalue)
