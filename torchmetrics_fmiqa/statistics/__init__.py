"""Agreement of metric scores with human opinion.

This room uses numpy and scipy, no torch. Scores are columns ``(n,)`` or tables ``(n, M)``, a row for each image.
Opinions are ``(n,)``; references and types are ids ``(n,)``. Correlations are positive for a metric that agrees, once
scores and opinions have the same direction (:func:`aligned`, or the arguments of :func:`agreement`).
"""

from __future__ import annotations

from torchmetrics_fmiqa.statistics.bootstrap import Resamples, interval, resample
from torchmetrics_fmiqa.statistics.correlation import Correlation, krcc, plcc, srcc, srcc_by_group
from torchmetrics_fmiqa.statistics.direction import Direction, aligned, infer_direction
from torchmetrics_fmiqa.statistics.logistic import LogisticFit, fit_logistic, logistic_curve
from torchmetrics_fmiqa.statistics.outliers import Outliers, find_outliers
from torchmetrics_fmiqa.statistics.preference import jnd_map, two_afc
from torchmetrics_fmiqa.statistics.significance import Comparison, compare, holm, steiger_z
from torchmetrics_fmiqa.statistics.summary import Agreement, agreement

__all__ = [
    "Agreement",
    "Comparison",
    "Correlation",
    "Direction",
    "LogisticFit",
    "Outliers",
    "Resamples",
    "agreement",
    "aligned",
    "compare",
    "find_outliers",
    "fit_logistic",
    "holm",
    "infer_direction",
    "interval",
    "jnd_map",
    "krcc",
    "logistic_curve",
    "plcc",
    "resample",
    "srcc",
    "srcc_by_group",
    "steiger_z",
    "two_afc",
]
