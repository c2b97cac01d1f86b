"""All statistics of the agreement of metrics with human opinion, in a single call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.statistics.bootstrap import Resamples, interval, resample
from torchmetrics_fmiqa.statistics.correlation import krcc, plcc, srcc, srcc_by_group
from torchmetrics_fmiqa.statistics.direction import aligned
from torchmetrics_fmiqa.statistics.inputs import Floats, groups, opinions, table
from torchmetrics_fmiqa.statistics.logistic import LogisticFit, fit_logistic
from torchmetrics_fmiqa.statistics.outliers import Outliers, find_outliers


@dataclass(frozen=True)
class Agreement:
    """How well a metric agrees with people. NaN always has its reason in ``notes``.

    Args:
        metric: name of the metric.
        n: number of images.
        srcc: Spearman's rank correlation, in [-1, 1].
        krcc: Kendall's tau-b, in [-1, 1].
        plcc: Pearson's correlation after the logistic fit with 4 parameters.
        plcc_raw: Pearson's correlation of the raw scores.
        rmse: root of the mean squared residual of the fit with 4 parameters, in the opinion's units.
        outlier_ratio: share of images whose residual is too large, in [0, 1].
        outlier_rule: the rule that makes a residual too large.
        within_reference: mean over references of the SRCC within each; NaN without references.
        within_counted: number of references in that mean.
        within_skipped: number of references with fewer than 3 distinct scores or opinions.
        by_type: SRCC of the images of each type; NaN for fewer than 3 distinct values.
        worst_type: the type of the lowest SRCC; empty without types.
        intervals: bootstrap intervals over references of ``srcc``, ``plcc`` (with a fixed fit), ``plcc_raw`` and
            ``within_reference``; empty for ``resamples=0``.
        notes: reasons and warnings.
        fit: the logistic fit with 4 parameters.
        outliers: the residuals as z, and the outliers among the images.
    """

    metric: str
    n: int
    srcc: float
    krcc: float
    plcc: float
    plcc_raw: float
    rmse: float
    outlier_ratio: float
    outlier_rule: str
    within_reference: float
    within_counted: int
    within_skipped: int
    by_type: dict[str, float]
    worst_type: str
    intervals: dict[str, tuple[float, float]]
    notes: tuple[str, ...]
    fit: LogisticFit = field(repr=False, compare=False)
    outliers: Outliers = field(repr=False, compare=False)

    @property
    def srcc_interval(self) -> tuple[float, float]:
        """The bootstrap interval of ``srcc``; NaN where there is none."""
        return self.intervals.get("srcc", (np.nan, np.nan))


def agreement(
    scores: Mapping[str, npt.ArrayLike] | npt.ArrayLike,
    opinion: npt.ArrayLike,
    reference: npt.ArrayLike | None = None,
    type: npt.ArrayLike | None = None,
    std: npt.ArrayLike | None = None,
    votes: npt.ArrayLike | None = None,
    scores_higher_is_better: bool | Sequence[bool] = True,
    opinion_higher_is_better: bool = True,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    drawn: Resamples | None = None,
) -> list[Agreement]:
    """Agreement of metrics with human opinion on the same images, a result for each metric.

    Args:
        scores: ``{name: (n,)}``, or ``(n, M)`` for metrics without names.
        opinion: ``(n,)`` MOS or DMOS: finite, at least 3, not all equal.
        reference: ``(n,)`` ids of the references, numbers or names, for the within-reference SRCC and the intervals.
        type: ``(n,)`` ids of the distortions' types.
        std: standard deviations of the votes, ``(n,)`` or one for all, for the outlier ratio.
        votes: numbers of votes, ``(n,)`` or one for all; see :func:`find_outliers`.
        scores_higher_is_better: direction of all metrics, or of each; correlations are positive for a metric that
            agrees with people.
        opinion_higher_is_better: direction of the opinions.
        resamples: resamples of the bootstrap over references, or over images without references; 0 for no intervals.
        seed: seed of the bootstrap.
        level: level of the intervals.
        drawn: existing resamples of the same scores, to reuse; see :func:`resample`.

    Returns:
        The results, in the order of the metrics. A metric with NaN or constant scores, or with a failed fit, has NaN
        and the reason in ``notes``; other metrics are not affected.

    Raises:
        ValueError: if opinions are bad, or columns differ in length.

    >>> rng = np.random.default_rng(0)
    >>> mos, reference = rng.uniform(1, 5, size=120), np.arange(120) // 6
    >>> scores = {"distance": 5 - mos + 0.3 * rng.normal(size=120), "constant": np.zeros(120)}
    >>> good, bad = agreement(scores, mos, reference, scores_higher_is_better=False, resamples=200)
    >>> good.srcc > 0.95, good.intervals["srcc"][0] < good.srcc < good.intervals["srcc"][1]
    (True, True)
    >>> bad.srcc, bad.notes
    (nan, ('is constant',))
    """
    y = opinions(opinion)
    metrics, columns = table(scores, len(y))
    columns, y = aligned(columns, y, scores_higher_is_better, opinion_higher_is_better)
    within = _within(columns, y, reference)
    types, srcc_by_type = _by_type(columns, y, type)
    fits = [fit_logistic(column, y, 4) for column in columns.T]
    intervals, interval_notes = _intervals(columns, y, reference, fits, resamples, seed, level, drawn)
    results = []
    for index, (name, column) in enumerate(zip(metrics, columns.T, strict=True)):
        spearman, kendall, pearson = srcc(column, y), krcc(column, y), plcc(column, y)
        fit = fits[index]
        outliers = find_outliers(fit.residuals, std, votes)
        srcc_within = within[:, index]
        by_type = dict(zip(types, (float(value) for value in srcc_by_type[:, index]), strict=True))
        known = {label: value for label, value in by_type.items() if not np.isnan(value)}
        notes = [spearman.reason, pearson.reason]
        if fit.reason and not pearson.reason:
            notes.append(f"fit with {fit.form} parameters: {fit.reason}")
        if spearman.value < 0:
            notes.append(f"ranks images against the opinion (SRCC {spearman.value:.3f}): is a direction wrong?")
        if not spearman.reason:
            notes += [f"type {label!r} has fewer than 3 distinct values" for label in by_type if label not in known]
            notes += interval_notes
        counted = int((~np.isnan(srcc_within)).sum())
        results.append(
            Agreement(
                metric=name,
                n=len(y),
                srcc=spearman.value,
                krcc=kendall.value,
                plcc=fit.plcc,
                plcc_raw=pearson.value,
                rmse=fit.rmse,
                outlier_ratio=outliers.ratio,
                outlier_rule=outliers.rule,
                within_reference=float(np.nanmean(srcc_within)) if counted else np.nan,
                within_counted=counted,
                within_skipped=len(srcc_within) - counted,
                by_type=by_type,
                worst_type=min(known, key=lambda label: known[label], default=""),
                intervals={label: (float(low[index]), float(high[index])) for label, (low, high) in intervals.items()},
                notes=tuple(dict.fromkeys(note for note in notes if note)),
                fit=fit,
                outliers=outliers,
            )
        )
    return results


def _within(columns: Floats, opinion: Floats, reference: npt.ArrayLike | None) -> Floats:
    """SRCC within each reference, ``(references, M)``; no rows without references."""
    if reference is None:
        return np.empty((0, columns.shape[1]))
    names, group = groups(reference, "reference", len(opinion))
    return srcc_by_group(columns, opinion, group, len(names))


def _by_type(columns: Floats, opinion: Floats, type_: npt.ArrayLike | None) -> tuple[list[str], Floats]:
    if type_ is None:
        return [], np.empty((0, columns.shape[1]))
    names, group = groups(type_, "type", len(opinion))
    return names, srcc_by_group(columns, opinion, group, len(names))


def _intervals(
    columns: Floats,
    opinion: Floats,
    reference: npt.ArrayLike | None,
    fits: list[LogisticFit],
    resamples: int,
    seed: int,
    level: float,
    drawn: Resamples | None,
) -> tuple[dict[str, tuple[Floats, Floats]], list[str]]:
    """Limits by coefficient, and notes about them."""
    if drawn is None:
        if resamples == 0:
            return {}, []
        if reference is not None and len(np.unique(np.asarray(reference))) < 2:
            return {}, ["no intervals: there is one reference only"]
        fitted = np.stack([fit.fitted for fit in fits], axis=1)
        drawn = resample(columns, opinion, reference, fitted, resamples, seed)
    elif drawn.srcc.shape[1] != columns.shape[1]:
        raise ValueError(f"`drawn` must hold the same {columns.shape[1]} metrics, got {drawn.srcc.shape[1]}")
    limits = {
        "srcc": interval(drawn.srcc, level),
        "plcc": interval(drawn.plcc, level),
        "plcc_raw": interval(drawn.plcc_raw, level),
        "within_reference": interval(drawn.within_reference, level),
    }
    return limits, ["intervals without references: images were drawn one by one"] if reference is None else []
