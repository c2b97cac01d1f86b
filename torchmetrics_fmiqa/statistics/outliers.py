"""Outliers: images whose opinion a fitted metric misses by more than people disagree."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from torchmetrics_fmiqa.statistics.inputs import Floats, column


@dataclass(frozen=True)
class Outliers:
    """The outliers among images.

    Args:
        ratio: share of outliers, in [0, 1]; NaN if the residuals are.
        rule: the rule that makes an image an outlier, in words.
        z: ``(n,)`` residuals in the rule's unit: standard errors of the opinion, its standard deviations, or standard
            deviations of the residuals.
        outlying: ``(n,)`` whether an image is an outlier.
    """

    ratio: float
    rule: str
    z: Floats = field(repr=False, compare=False)
    outlying: npt.NDArray[np.bool_] = field(repr=False, compare=False)


def find_outliers(
    residuals: npt.ArrayLike, std: npt.ArrayLike | None = None, votes: npt.ArrayLike | None = None
) -> Outliers:
    """Find the outliers among ``(n,)`` residuals, opinion minus prediction.

    The rule depends on the data about the opinions:

    - ``std`` and ``votes``: outside the 95 % interval of the mean opinion, Student's t times the standard error
      ``std / sqrt(votes)`` (ITU-T P.1401);
    - ``std`` alone: beyond 1.96 ``std``, the interval of 95 % of single opinions. This is much wider than the interval
      of their mean;
    - neither: beyond 2 standard deviations of the residuals. This compares a metric with itself, so the ratio hardly
      differs between metrics.

    Args:
        residuals: in the units of the opinion.
        std: standard deviation of each image's votes, ``(n,)`` or one for all, at least 0.
        votes: number of votes for each image, ``(n,)`` or one for all, at least 2.

    Raises:
        ValueError: for a negative or missing ``std``, for fewer than 2 votes, or votes without ``std``.

    >>> outliers = find_outliers([0.1, -0.2, 3.0], std=[1.0, 1.0, 1.0], votes=16)
    >>> round(outliers.ratio, 4), outliers.z
    (0.3333, array([ 0.4, -0.8, 12. ]))
    >>> outliers.rule
    'residual outside the 95 % interval of the mean opinion (t * std / sqrt(votes))'
    """
    residual = column(residuals, "residuals")
    limit: float | Floats
    if std is None:
        if votes is not None:
            raise ValueError("`votes` says how sure an opinion is only together with `std`: give both or neither")
        rule, limit = "|residual| > 2 standard deviations of the residuals", 2.0
        unit = np.full(len(residual), np.sqrt((residual**2).mean()) if len(residual) else np.nan)
    else:
        unit = _each(std, "std", len(residual))
        if not (unit >= 0).all():
            raise ValueError(f"`std` must be at least 0 for every image, got {unit[~(unit >= 0)][0]}")
        if votes is None:
            rule, limit = "|residual| > 1.96 standard deviations of the votes", 1.96
        else:
            number = _each(votes, "votes", len(residual))
            if not (number >= 2).all():
                raise ValueError(f"`votes` must be at least 2 for every image, got {number[~(number >= 2)][0]:g}")
            rule = "residual outside the 95 % interval of the mean opinion (t * std / sqrt(votes))"
            unit, limit = unit / np.sqrt(number), stats.t.ppf(0.975, number - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # A zero residual is never an outlier, even at a standard error of 0.
        z = np.where(residual == 0, 0.0, residual / unit)
    outlying = np.abs(z) > limit
    unknown = len(residual) == 0 or np.isnan(residual).any()
    return Outliers(np.nan if unknown else float(outlying.mean()), rule, z, outlying)


def _each(values: npt.ArrayLike, name: str, count: int) -> Floats:
    return np.full(count, float(values)) if np.ndim(values) == 0 else column(values, name, count)  # type: ignore[arg-type]
