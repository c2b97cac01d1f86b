"""Perceptual image similarity from the intermediate features of frozen foundation models.

Names are loaded at first use, so that importing the package is cheap.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from torchmetrics_fmiqa.lazy_names import lazy_names
from torchmetrics_fmiqa.moved_modules import MovedModules

__version__ = "0.2.0"

if TYPE_CHECKING:
    from torchmetrics_fmiqa.callbacks.monitor import ImageQualityMonitor
    from torchmetrics_fmiqa.comparator import FeatureComparator
    from torchmetrics_fmiqa.comparison.compare_methods import compare
    from torchmetrics_fmiqa.features.weights import WeightsUnavailableError
    from torchmetrics_fmiqa.functional import (
        feature_distance,
        feature_distance_map,
        grid_artifact,
        spips,
        video_feature_distance,
    )
    from torchmetrics_fmiqa.losses import FeatureDistanceLoss, GridArtifactLoss, SpipsLoss
    from torchmetrics_fmiqa.metrics.collection import FeatureMetricCollection
    from torchmetrics_fmiqa.metrics.feature_distance import FeatureDistance
    from torchmetrics_fmiqa.metrics.frechet_feature_distance import FrechetFeatureDistance
    from torchmetrics_fmiqa.metrics.grid_artifact import GridArtifact
    from torchmetrics_fmiqa.metrics.human_agreement import HumanAgreement
    from torchmetrics_fmiqa.metrics.kernel_feature_distance import KernelFeatureDistance
    from torchmetrics_fmiqa.metrics.mean_frechet_ratio import MeanFrechetRatio
    from torchmetrics_fmiqa.metrics.spips import SPIPS, ScenePerceivedImagePerceptualScore
    from torchmetrics_fmiqa.metrics.video_distance import VideoFeatureDistance
    from torchmetrics_fmiqa.monitoring.monitor import QualityMonitor
    from torchmetrics_fmiqa.recipes import RECIPES, Recipe
    from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe
    from torchmetrics_fmiqa.video_loss import VideoFeatureDistanceLoss

_HOMES = {
    "FeatureDistance": "metrics.feature_distance",
    "FeatureMetricCollection": "metrics.collection",
    "GridArtifact": "metrics.grid_artifact",
    "FrechetFeatureDistance": "metrics.frechet_feature_distance",
    "HumanAgreement": "metrics.human_agreement",
    "KernelFeatureDistance": "metrics.kernel_feature_distance",
    "MeanFrechetRatio": "metrics.mean_frechet_ratio",
    "ScenePerceivedImagePerceptualScore": "metrics.spips",
    "SPIPS": "metrics.spips",
    "VideoFeatureDistance": "metrics.video_distance",
    "FeatureDistanceLoss": "losses",
    "GridArtifactLoss": "losses",
    "SpipsLoss": "losses",
    "VideoFeatureDistanceLoss": "video_loss",
    "ImageQualityMonitor": "callbacks.monitor",
    "QualityMonitor": "monitoring.monitor",
    "FeatureComparator": "comparator",
    "compare": "comparison.compare_methods",
    "Recipe": "recipes",
    "SpipsRecipe": "spips_model.recipe",
    "RECIPES": "recipes",
    "WeightsUnavailableError": "features.weights",
    "feature_distance": "functional",
    "feature_distance_map": "functional",
    "grid_artifact": "functional",
    "spips": "functional",
    "video_feature_distance": "functional",
}

__all__ = [
    "RECIPES",
    "SPIPS",
    "FeatureComparator",
    "FeatureDistance",
    "FeatureDistanceLoss",
    "FeatureMetricCollection",
    "FrechetFeatureDistance",
    "GridArtifact",
    "GridArtifactLoss",
    "HumanAgreement",
    "ImageQualityMonitor",
    "KernelFeatureDistance",
    "MeanFrechetRatio",
    "QualityMonitor",
    "Recipe",
    "ScenePerceivedImagePerceptualScore",
    "SpipsLoss",
    "SpipsRecipe",
    "VideoFeatureDistance",
    "VideoFeatureDistanceLoss",
    "WeightsUnavailableError",
    "compare",
    "feature_distance",
    "feature_distance_map",
    "grid_artifact",
    "spips",
    "video_feature_distance",
]


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


sys.meta_path.append(MovedModules())
