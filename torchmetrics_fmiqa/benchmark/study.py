"""All that a benchmark found, in one place: what the reports and plots read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.benchmark.analysis.agreement import Analysis
from torchmetrics_fmiqa.benchmark.analysis.attacks import AttackResult
from torchmetrics_fmiqa.benchmark.analysis.cost import Cost
from torchmetrics_fmiqa.benchmark.analysis.desirability import Desirability
from torchmetrics_fmiqa.benchmark.analysis.imagenet_accuracy import AccuracyFinding
from torchmetrics_fmiqa.benchmark.analysis.layers import LayerCurve
from torchmetrics_fmiqa.benchmark.analysis.loss_suitability import LossSuitability
from torchmetrics_fmiqa.benchmark.analysis.outliers import OutlierFinding, WorstCase
from torchmetrics_fmiqa.benchmark.metrics.metric import Skipped
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
from torchmetrics_fmiqa.data.pairs import Problem


@dataclass(frozen=True)
class GalleryItem:
    """A misjudged image, to be shown.

    Args:
        case: what is known of it.
        reference: ``(h, w, 3)`` uint8, and so is ``distorted``.
        heat: ``(h, w)`` distances where they differ, or ``None`` without a metric that has a map.
        heat_of: the metric whose map that is.
    """

    case: WorstCase
    reference: npt.NDArray[np.uint8]
    distorted: npt.NDArray[np.uint8]
    heat: npt.NDArray[np.float32] | None
    heat_of: str = ""


@dataclass(frozen=True)
class Study:
    """A benchmark's findings. Whatever was not asked for or cannot be told is empty or ``None``.

    Args:
        title: what was analysed.
        command: the command that made it.
        table: the scores.
        analysis: agreement, robustness, which metric beats which.
        layers: agreement against depth, a curve for each feature metric.
        attacks: what attacks do.
        loss_suitability: of each metric.
        cost: of each metric.
        desirability: the aggregate.
        accuracy: agreement against ImageNet accuracy.
        outliers: of the best metric, and of others that are of interest.
        gallery: the worst images of the best metric.
        skipped: metrics that could not run.
        missing: files that are absent or broken, and pairs that could not be scored.
        folder: where the images are, if there are any.
    """

    title: str
    command: str
    table: ScoredTable
    analysis: Analysis
    layers: tuple[LayerCurve, ...] = ()
    attacks: tuple[AttackResult, ...] = ()
    loss_suitability: tuple[LossSuitability, ...] = ()
    cost: tuple[Cost, ...] = ()
    desirability: Desirability | None = None
    accuracy: tuple[AccuracyFinding, ...] = ()
    outliers: tuple[OutlierFinding, ...] = ()
    gallery: tuple[GalleryItem, ...] = field(default=(), repr=False)
    skipped: tuple[Skipped, ...] = ()
    missing: tuple[Problem, ...] = ()
    folder: Path | None = None
