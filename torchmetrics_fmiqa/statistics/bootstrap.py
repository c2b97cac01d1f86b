"""Bootstrap over references: the uncertainty of correlations, of many metrics at once, with exact ties.

Images of the same reference resemble each other. So references are drawn with replacement, with all their images. A
resample then gives each image an integer weight: how often its reference was drawn. Nothing is copied or sorted again:
the mean rank of tied images is a cumulative sum of these weights over the sorted images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.statistics.correlation import srcc_by_group
from torchmetrics_fmiqa.statistics.inputs import Floats, Integers, groups, not_finite, opinions, table, unusable

# Size of each working array of a chunk of resamples, in numbers.
_CHUNK = 400_000


@dataclass(frozen=True)
class Resamples:
    """Correlations of ``M`` metrics in each of ``B`` resamples, all ``(B, M)``; NaN where there is none.

    Args:
        metrics: names of the columns.
        references: number of references to draw from.
        srcc: Spearman's correlation.
        plcc_raw: Pearson's correlation of the raw scores.
        plcc: Pearson's correlation of the fitted values. Every resample uses the fit to all images, so the uncertainty
            of the fit is not included.
        within_reference: mean over the drawn references of the SRCC within each.
    """

    metrics: tuple[str, ...]
    references: int
    srcc: Floats = field(repr=False)
    plcc_raw: Floats = field(repr=False)
    plcc: Floats = field(repr=False)
    within_reference: Floats = field(repr=False)


def resample(
    scores: Mapping[str, npt.ArrayLike] | npt.ArrayLike,
    opinion: npt.ArrayLike,
    reference: npt.ArrayLike | None = None,
    fitted: npt.ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Resamples:
    """Correlate metrics with opinion in bootstrap resamples of the references.

    All metrics use the same resamples. Another call with the same references and seed uses them too. So differences
    between metrics can be computed resample by resample.

    Args:
        scores: ``{name: (n,)}`` or ``(n, M)``.
        opinion: ``(n,)``.
        reference: ``(n,)`` ids, numbers or names; without them images are drawn one by one.
        fitted: ``(n, M)`` opinions predicted by a fit to all images, for ``plcc``.
        resamples: number of resamples.
        seed: seed of the draws.

    Raises:
        ValueError: for fewer than 2 references or 1 resample, bad opinions, or columns of different lengths.

    >>> rng = np.random.default_rng(0)
    >>> opinion, reference = rng.normal(size=60), np.arange(60) // 6
    >>> drawn = resample(opinion + 0.1 * rng.normal(size=60), opinion, reference, resamples=200)
    >>> drawn.references, drawn.srcc.shape, bool((drawn.srcc > 0.9).all())
    (10, (200, 1), True)
    """
    y = opinions(opinion)
    metrics, columns = table(scores, len(y))
    if resamples < 1:
        raise ValueError(f"`resamples` must be at least 1, got {resamples}")
    if reference is None:
        count, group = len(y), np.arange(len(y))
    else:
        names, group = groups(reference, "reference", len(y))
        count = len(names)
    if count < 2:
        raise ValueError("`reference` names one reference only: there is nothing to draw from; give image ids instead")
    fits = np.full_like(columns, np.nan) if fitted is None else table(fitted, len(y))[1]
    if fits.shape != columns.shape:
        raise ValueError(f"`fitted` must have one column for each metric, {columns.shape}, got {fits.shape}")
    ranking = _Ranking(columns, y, group, count)
    raw_moments, fitted_moments = _Moments(columns, y, group, count), _Moments(fits, y, group, count)
    # Without references there are no groups to correlate within.
    within = np.full((count, len(metrics)), np.nan) if reference is None else srcc_by_group(columns, y, group, count)
    chunk = max(1, _CHUNK // max(len(y), count))
    parts = [
        (ranking.srcc(drawn), raw_moments.plcc(drawn), fitted_moments.plcc(drawn), _mean_of_drawn(within, drawn))
        for drawn in draws(count, resamples, seed, chunk)
    ]
    joined = [np.concatenate(chunks) for chunks in zip(*parts, strict=True)]
    return Resamples(tuple(metrics), count, *joined)


def interval(values: npt.ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Percentile interval over resamples, ``(B, ...) -> ((...), (...))``: lower and upper limit.

    NaN resamples are left out; if all are NaN, so are the limits.

    Raises:
        ValueError: if the level is not between 0 and 1.

    >>> low, high = interval(np.arange(1001.0), level=0.9)
    >>> round(float(low), 6), round(float(high), 6)
    (50.0, 950.0)
    """
    if not 0 < level < 1:
        raise ValueError(f"`level` must be between 0 and 1, such as 0.95, got {level}")
    array = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(array).all(0)
    limits = np.full((2, *array.shape[1:]), np.nan)
    limits[:, known] = np.nanquantile(array[:, known], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return limits[0], limits[1]


def draws(count: int, resamples: int, seed: int, chunk: int) -> Iterator[Floats]:
    """Yield how often each of ``count`` references is drawn, ``(count, B)``, in chunks of resamples.

    The size of the chunks does not change the draws.

    >>> [drawn.sum(0) for drawn in draws(5, resamples=3, seed=0, chunk=2)]
    [array([5., 5.]), array([5.])]
    """
    generator = np.random.default_rng(seed)
    chances = np.full(count, 1 / count)
    for start in range(0, resamples, chunk):
        drawn = generator.multinomial(count, chances, size=min(chunk, resamples - start))
        yield np.ascontiguousarray(drawn.T, dtype=np.float64)


class _Order(NamedTuple):
    """The sorted order of a column.

    Args:
        rows: ``(n,)`` rows of the images, from the lowest value to the highest.
        group: ``(n,)`` their references.
        starts: index at which each set of ties starts; ``None`` if there are no ties.
    """

    rows: Integers
    group: Integers
    starts: Integers | None

    @classmethod
    def of(cls, values: Floats, group: Integers) -> _Order:
        rows = np.argsort(values, kind="stable")
        ordered = values[rows]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        return cls(rows, group[rows], starts if len(starts) < len(rows) else None)

    def sum_ties(self, values: Floats) -> Floats:
        """Sum ``(n, B)`` values over each set of ties, to ``(k, B)``."""
        return values if self.starts is None else np.add.reduceat(values, self.starts, axis=0)

    def spread_ties(self, values: Floats) -> Floats:
        """Repeat the value of each set of ties ``(k, B)`` for its images, to ``(n, B)``."""
        if self.starts is None:
            return values
        return np.repeat(values, np.diff(self.starts, append=len(self.rows)), axis=0)


class _Ranking:
    """Weighted SRCC. Doubled ranks are integers below 2^53 / n^2, so all sums are exact."""

    def __init__(self, scores: Floats, opinion: Floats, group: Integers, count: int) -> None:
        self.sizes = np.bincount(group, minlength=count).astype(np.float64)
        self.opinion = _Order.of(opinion, group)
        self.metrics = [None if unusable(column) else _Order.of(column, group) for column in scores.T]

    def srcc(self, drawn: Floats) -> Floats:
        """SRCC of all metrics, ``(B, M)``, for references drawn ``(count, B)`` times."""
        correlations = np.full((drawn.shape[1], len(self.metrics)), np.nan)
        images = self.sizes @ drawn
        weights = drawn[self.opinion.group]
        ranks, opinion_spread = self._centred(self.opinion, weights, images, drawn)
        weights *= self.opinion.spread_ties(ranks)
        opinion = np.empty_like(weights)
        opinion[self.opinion.rows] = weights
        for index, order in enumerate(self.metrics):
            if order is None:
                continue
            ranks, metric_spread = self._centred(order, drawn[order.group], images, drawn)
            covariance = np.einsum("kb,kb->b", ranks, order.sum_ties(opinion[order.rows]))
            with np.errstate(divide="ignore", invalid="ignore"):
                correlations[:, index] = covariance / np.sqrt(opinion_spread * metric_spread)
        return np.asarray(np.clip(correlations, -1, 1))

    def _centred(self, order: _Order, weights: Floats, images: Floats, drawn: Floats) -> tuple[Floats, Floats]:
        """Centred ranks ``(k, B)`` of each set of ties, and the sum ``(B,)`` of their squares over images."""
        tied = order.sum_ties(weights)
        # After W' images, w tied ones have the ranks W' + 1 ... W' + w and share their mean W' + (w + 1) / 2.
        ranks = np.cumsum(tied, axis=0)
        ranks -= 0.5 * tied
        ranks -= 0.5 * images
        cubes = self.sizes @ drawn**3 if order.starts is None else np.einsum("kb,kb,kb->b", tied, tied, tied)
        return ranks, (images**3 - cubes) / 12


class _Moments:
    """Weighted PLCC, from sums over each reference that are computed once."""

    def __init__(self, scores: Floats, opinion: Floats, group: Integers, count: int) -> None:
        usable = [not (unusable(column) or not_finite(column)) for column in scores.T]
        self.columns = np.flatnonzero(usable)
        self.width = scores.shape[1]
        x, y = _standardised(scores[:, self.columns]), _standardised(opinion[:, None])
        order = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[order], np.arange(count))
        # Every reference has an image, so no sum is empty.
        self.sums = [
            np.add.reduceat(term[order], starts, axis=0) for term in (np.ones_like(y), x, y, x * x, y * y, x * y)
        ]

    def plcc(self, drawn: Floats) -> Floats:
        """PLCC of all metrics, ``(B, M)``, for references drawn ``(count, B)`` times."""
        images, x, y, xx, yy, xy = (drawn.T @ sums for sums in self.sums)
        spread_x, spread_y = xx / images - (x / images) ** 2, yy / images - (y / images) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            value = (xy / images - x * y / images**2) / np.sqrt(spread_x * spread_y)
        # In a resample where a column is constant, the spread is rounding error.
        value[(spread_x <= 1e-14 * xx / images) | np.broadcast_to(spread_y <= 1e-14 * yy / images, x.shape)] = np.nan
        correlations = np.full((drawn.shape[1], self.width), np.nan)
        correlations[:, self.columns] = np.clip(value, -1, 1)
        return correlations


def _standardised(values: Floats) -> Floats:
    centred = values - values.mean(0)
    return np.asarray(centred / np.abs(centred).max(0, initial=np.finfo(np.float64).tiny))


def _mean_of_drawn(values: Floats, drawn: Floats) -> Floats:
    """Mean of the ``(count, M)`` values that are not NaN over references drawn ``(count, B)`` times: ``(B, M)``."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray((drawn.T @ np.where(known, values, 0.0)) / (drawn.T @ known.astype(np.float64)))
