"""A panel from the names that a user gives."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from torchmetrics_fmiqa.benchmark.metrics.baselines import baseline_names, baselines
from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
from torchmetrics_fmiqa.benchmark.metrics.spec import parse_metrics
from torchmetrics_fmiqa.comparator import Precision


def read_panel(names: Sequence[str], device: str | torch.device = "cpu", precision: Precision = "float32") -> Panel:
    """Make the metrics that names stand for, see :func:`~torchmetrics_fmiqa.benchmark.metrics.spec.parse_metrics`.

    Those that cannot run here, for a package or weights that are missing, are in the panel's ``skipped``; the others
    are in its ``order`` as they were given.

    Raises:
        ValueError: for a name that is unknown or comes twice, and for a recipe that does not fit its backbone.

    >>> panel = read_panel(["psnr", "embedded"])
    >>> panel.names, panel.order
    (('embedded', 'psnr'), ('psnr', 'embedded'))
    """
    specs = parse_metrics(names, (*baseline_names(), "lpips-alex"))
    metrics, skipped = baselines([spec for spec in specs.values() if isinstance(spec, str)], device)
    panel = Panel({name: spec for name, spec in specs.items() if not isinstance(spec, str)}, metrics, precision)
    panel.skipped += skipped
    # Distances of one recipe are called recipe/distance.
    given = {
        name: next(place for place, one in enumerate(specs) if f"{name}/".startswith(f"{one}/")) for name in panel.names
    }
    panel.order = tuple(sorted(panel.names, key=given.__getitem__))
    return panel
