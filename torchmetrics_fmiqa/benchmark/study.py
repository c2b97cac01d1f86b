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
    """A misjudged image, to be shown."""

    case: WorstCase  #: what is known of it
    reference: npt.NDArray[np.uint8]  #: ``(h, w, 3)`` uint8, and so is ``distorted``
    distorted: npt.NDArray[np.uint8]
    #: ``(h, w)`` distances where they differ, or ``None`` without a metric that has a map.
    heat: npt.NDArray[np.float32] | None
    heat_of: str = ""  #: the metric whose map that is


@dataclass(frozen=True)
class Study:
    """A benchmark's findings. Whatever was not asked for or cannot be told is empty or ``None``."""

    title: str  #: what was analysed
    command: str  #: the command that made it
    table: ScoredTable  #: the scores
    analysis: Analysis  #: agreement, robustness, which metric beats which
    layers: tuple[LayerCurve, ...] = ()  #: agreement against depth, a curve for each feature metric
    attacks: tuple[AttackResult, ...] = ()  #: what attacks do
    loss_suitability: tuple[LossSuitability, ...] = ()  #: of each metric
    cost: tuple[Cost, ...] = ()  #: of each metric
    desirability: Desirability | None = None  #: the aggregate
    accuracy: tuple[AccuracyFinding, ...] = ()  #: agreement against ImageNet accuracy
    outliers: tuple[OutlierFinding, ...] = ()  #: of the best metric, and of others that are of interest
    gallery: tuple[GalleryItem, ...] = field(default=(), repr=False)  #: the worst images of the best metric
    skipped: tuple[Skipped, ...] = ()  #: metrics that could not run
    missing: tuple[Problem, ...] = ()  #: files that are absent or broken, and pairs that could not be scored
    folder: Path | None = None  #: where the images are, if there are any
