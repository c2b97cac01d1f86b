"""Subclasses of ``torchmetrics.Metric``; the arithmetic is in ``comparator``, ``spips_model`` and ``statistics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmetrics_fmiqa.lazy_names import lazy_names

if TYPE_CHECKING:
    from torchmetrics_fmiqa.metrics.collection import FeatureMetricCollection
    from torchmetrics_fmiqa.metrics.feature_distance import FeatureDistance
    from torchmetrics_fmiqa.metrics.frechet_feature_distance import FrechetFeatureDistance
    from torchmetrics_fmiqa.metrics.grid_artifact import GridArtifact
    from torchmetrics_fmiqa.metrics.human_agreement import HumanAgreement
    from torchmetrics_fmiqa.metrics.kernel_feature_distance import KernelFeatureDistance
    from torchmetrics_fmiqa.metrics.mean_frechet_ratio import MeanFrechetRatio
    from torchmetrics_fmiqa.metrics.spips import SPIPS, ScenePerceivedImagePerceptualScore
    from torchmetrics_fmiqa.metrics.video_distance import VideoFeatureDistance

__all__ = [
    "SPIPS",
    "FeatureDistance",
    "FeatureMetricCollection",
    "FrechetFeatureDistance",
    "GridArtifact",
    "HumanAgreement",
    "KernelFeatureDistance",
    "MeanFrechetRatio",
    "ScenePerceivedImagePerceptualScore",
    "VideoFeatureDistance",
]

__getattr__ = lazy_names(
    __name__,
    {
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
    },
)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
