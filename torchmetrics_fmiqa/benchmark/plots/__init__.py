"""Pictures of a benchmark (needs matplotlib): each takes what was found and an ``ax``, and returns the axes.

Without ``ax`` a figure of fitting size is made that belongs to no window: ``ax.figure.savefig("agreement.png")``.
"""

from __future__ import annotations

from torchmetrics_fmiqa.benchmark.plots.accuracy import plot_accuracy
from torchmetrics_fmiqa.benchmark.plots.agreement import plot_agreement
from torchmetrics_fmiqa.benchmark.plots.attacks import plot_attacks
from torchmetrics_fmiqa.benchmark.plots.beats import plot_beats
from torchmetrics_fmiqa.benchmark.plots.by_type import plot_types
from torchmetrics_fmiqa.benchmark.plots.cost import plot_cost
from torchmetrics_fmiqa.benchmark.plots.desirability import plot_desirability
from torchmetrics_fmiqa.benchmark.plots.gallery import plot_gallery
from torchmetrics_fmiqa.benchmark.plots.layers import plot_layers
from torchmetrics_fmiqa.benchmark.plots.outliers import plot_outlier_features, plot_outliers
from torchmetrics_fmiqa.benchmark.plots.robustness import plot_robustness
from torchmetrics_fmiqa.benchmark.plots.scatter import plot_scatter
from torchmetrics_fmiqa.benchmark.plots.stability import plot_stability

__all__ = [
    "plot_accuracy",
    "plot_agreement",
    "plot_attacks",
    "plot_beats",
    "plot_cost",
    "plot_desirability",
    "plot_gallery",
    "plot_layers",
    "plot_outlier_features",
    "plot_outliers",
    "plot_robustness",
    "plot_scatter",
    "plot_stability",
    "plot_types",
]
