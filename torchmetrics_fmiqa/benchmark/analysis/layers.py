"""Agreement against depth: intermediate features or the final ones, the heart of ZS-IQA (ICASSP 2025)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
from torchmetrics_fmiqa.statistics import aligned, compare, holm, interval, resample, srcc


@dataclass(frozen=True)
class LayerCurve:
    """SRCC of each tap of a metric with human opinion."""

    metric: str
    taps: tuple[str, ...]  #: names of the taps, shallow to deep
    #: Of each tap alone; ``low`` and ``high`` are the ends of its 95 % interval (bootstrap over references).
    srcc: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    joined: float  #: SRCC of the metric itself, all taps joined
    #: Paired p-value of the metric against its last tap, Holm-corrected for the table's metrics; NaN where that cannot
    #: be told.
    final_p: float


def layer_curves(
    table: ScoredTable, opinion_higher_is_better: bool, resamples: int = 1000, seed: int = 0
) -> tuple[LayerCurve, ...]:
    """Tell the agreement of every tap of the table's metrics, which are distances; those without taps are left out."""
    curves = [
        _curve(table, metric, opinion_higher_is_better, resamples, seed)
        for metric in table.taps
        if metric in table.scores
    ]
    corrected = holm([curve.final_p for curve in curves])
    return tuple(replace(curve, final_p=float(p)) for curve, p in zip(curves, corrected, strict=True))


def _curve(table: ScoredTable, metric: str, higher_is_better: bool, resamples: int, seed: int) -> LayerCurve:
    taps = table.taps[metric]
    columns = np.stack([table.scores[metric], *taps.values()], axis=1)
    columns, opinion = aligned(columns, table.opinion, False, higher_is_better)
    joined, *alone = (srcc(column, opinion).value for column in columns.T)
    low = high = np.full(len(taps), math.nan)
    p = math.nan
    if len(set(table.reference.tolist())) > 1 and not np.isnan([joined, *alone]).any():
        drawn = resample(columns[:, 1:], opinion, table.reference, resamples=resamples, seed=seed)
        low, high = interval(drawn.srcc)
        ends = {"joined": columns[:, 0], "last": columns[:, -1]}
        p = float(compare(ends, opinion, table.reference, resamples=resamples, seed=seed).p[0, 1])
    return LayerCurve(metric, tuple(taps), tuple(alone), tuple(low.tolist()), tuple(high.tolist()), joined, p)
