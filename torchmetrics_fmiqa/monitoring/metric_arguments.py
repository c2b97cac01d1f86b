"""Turn a monitor's `metrics` argument into a collection, and choose the metrics that rank and draw images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchmetrics import Metric, MetricCollection

from torchmetrics_fmiqa.features.image_checks import DataRange
from torchmetrics_fmiqa.metrics.collection import FeatureMetricCollection
from torchmetrics_fmiqa.metrics.feature_distance import FeatureDistance
from torchmetrics_fmiqa.metrics.image_pair_metric import PairMetric
from torchmetrics_fmiqa.recipes import Recipe

#: A metric, a collection, the name of a recipe, or several of these. ``str`` comes last, because jsonargparse (the
#: parser of LightningCLI) takes the first type that fits, and any value fits ``str``.
Metrics = (
    Metric
    | MetricCollection
    | Recipe
    | Mapping[str, Metric | Recipe | str]
    | Sequence[Metric | Recipe | str]
    | str
    | Path
)


def as_collection(metrics: Metrics, data_range: DataRange) -> FeatureMetricCollection:
    """Return copies of the metrics as a single collection.

    Args:
        metrics: the monitor's argument.
        data_range: range of images, for the metrics that are built here from the name of a recipe.

    Raises:
        ValueError: for an object that is not a metric, a metric of clips, and for two metrics of the same name.
    """
    collection = _collection(metrics, data_range)
    for name, metric in collection.items(keep_base=True, copy_state=False):
        if getattr(metric, "takes_clips", False):
            raise ValueError(
                f"`metrics` holds {name!r}, a {type(metric).__name__}: it takes clips, and a monitor takes images. "
                "Update it in a loop of yours, or take FeatureDistance for the frames"
            )
    return collection


def _collection(metrics: Metrics, data_range: DataRange) -> FeatureMetricCollection:
    if isinstance(metrics, MetricCollection):
        members = dict(metrics.clone().items(keep_base=True, copy_state=False))
        return FeatureMetricCollection(members, prefix=metrics.prefix, postfix=metrics.postfix)
    if isinstance(metrics, Mapping):
        named: dict[str, Any] = {str(name): metric for name, metric in metrics.items()}
    else:
        several = isinstance(metrics, Sequence) and not isinstance(metrics, str)
        unnamed = list(metrics) if several else [metrics]  # type: ignore[arg-type]
        named = {_name(metric): metric for metric in unnamed}
        if len(named) < len(unnamed):
            raise ValueError(f"two metrics have one name ({', '.join(named)}): give a dict with a name for each")
    if not named:
        raise ValueError("`metrics` is empty: give a metric or the name of a recipe")
    return FeatureMetricCollection({name: _as_metric(metric, data_range) for name, metric in named.items()})


def _name(metric: Any) -> str:
    if isinstance(metric, (str, Path)):
        return Path(metric).stem
    return type(metric).__name__


def _as_metric(metric: Any, data_range: DataRange) -> Metric:
    if isinstance(metric, Metric):
        return metric.clone()
    if isinstance(metric, (str, Path, Recipe)):
        return FeatureDistance(metric, data_range=data_range)
    raise ValueError(f"a metric must be a torchmetrics.Metric or the name of a recipe, got {metric!r}")


def ranking_metric(members: Mapping[str, Metric], worst_by: str | None, needed: bool) -> str:
    """Name of the metric that ranks the images.

    Args:
        members: the metrics by name.
        worst_by: the user's choice; ``None`` for the first that measures features, else the first with a direction.
        needed: whether any images are shown.

    Raises:
        ValueError: if the choice is not a metric, has no direction or scores no images, or if a ranking is needed and
            no metric has a direction.
    """
    if worst_by is not None:
        if worst_by not in members:
            raise ValueError(f"`worst_by={worst_by!r}` is no metric: take one of {', '.join(members)}")
        if not getattr(members[worst_by], "scores_images", True):
            raise ValueError(f"`worst_by={worst_by!r}` is of whole sets and scores no image: take another metric")
        if members[worst_by].higher_is_better is None:
            raise ValueError(f"`worst_by={worst_by!r}` does not say whether higher is better: take another metric")
        return worst_by
    with_direction = [
        name
        for name, metric in members.items()
        if metric.higher_is_better is not None and getattr(metric, "scores_images", True)
    ]
    measuring_features = [name for name in with_direction if isinstance(members[name], PairMetric)]
    if needed and not with_direction:
        raise ValueError("no metric says whether higher is better, so no images are worst: give worst=0")
    return (measuring_features or with_direction or list(members))[0]


def drawing_metric(members: Mapping[str, Metric], ranking: str) -> FeatureDistance | None:
    """The metric whose maps are drawn: the ranking metric if it has maps, else the first that has."""
    metrics = [members[ranking], *members.values()]
    return next((m for m in metrics if isinstance(m, FeatureDistance) and m.comparator.has_maps), None)
