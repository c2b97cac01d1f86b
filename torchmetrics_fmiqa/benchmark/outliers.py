"""Images that a metric misjudges: which types they are of, and whether they hold high frequencies."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FeatureTest:
    """Outliers against inliers by one property of the image.

    Args:
        feature: the property, such as ``"high-frequency energy"``.
        side: ``"reference"``, ``"distorted"`` or ``"difference"``: where it was measured.
        effect: probability that an outlier has more of it than an inlier (ties count half); 0.5 is no difference.
            Stratified: the mean over types, weighed by the pairs of outlier and inlier in each.
        p: two-sided p-value of the Mann-Whitney test; stratified by van Elteren's sum over types.
        p_holm: corrected for all tests made.
        outliers: number of outliers that counted.
        inliers: number of inliers that counted.
        strata: number of types that had both.
    """

    feature: str
    side: str
    effect: float
    p: float
    p_holm: float
    outliers: int
    inliers: int
    strata: int


@dataclass(frozen=True)
class WorstCase:
    """An image that a metric misjudges, for the gallery.

    Args:
        row: its place in the table.
        ref: name of the reference.
        dist: name of the image under test.
        type: its type, empty if unknown.
        opinion: what people said.
        predicted: what the fitted metric says, in the opinion's units.
        z: the residual in the rule's unit.
    """

    row: int
    ref: str
    dist: str
    type: str
    opinion: float
    predicted: float
    z: float


@dataclass(frozen=True)
class OutlierFinding:
    """The outliers of one metric.

    Args:
        metric: the metric.
        rule: what makes an image an outlier, in words.
        count: number of outliers.
        n: number of images.
        by_type: for each type the outliers and the images; empty without types.
        pooled: tests over all images.
        stratified: tests within types; empty without types.
        worst: the worst, by falling absolute z.
    """

    metric: str
    rule: str
    count: int
    n: int
    by_type: dict[str, tuple[int, int]]
    pooled: tuple[FeatureTest, ...]
    stratified: tuple[FeatureTest, ...]
    worst: tuple[WorstCase, ...]
