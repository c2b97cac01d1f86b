"""Pictures of a benchmark for a notebook or a paper (needs matplotlib).

Each function takes what was found and optionally axes to draw into, and returns the axes. Without ``ax`` it makes a
figure of fitting size that belongs to no window: ``ax.figure.savefig("agreement.png")``. The report of
``fmiqa benchmark`` draws all its findings by itself, without matplotlib.
"""

from __future__ import annotations

from torchmetrics_fmiqa.benchmark.plots.agreement import plot_agreement
from torchmetrics_fmiqa.benchmark.plots.layers import plot_layers
from torchmetrics_fmiqa.benchmark.plots.scatter import plot_scatter

__all__ = ["plot_agreement", "plot_layers", "plot_scatter"]
