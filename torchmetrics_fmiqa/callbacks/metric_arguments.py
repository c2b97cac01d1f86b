"""The metrics of a monitor, in whatever form they were given, and which of them ranks and draws images."""

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

#: A metric, a collection, the name of a recipe, or several of these. A text comes late: jsonargparse, which reads and
#: writes the configuration of LightningCLI, takes the first that fits, and anything fits a text.
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
    """Return copies of the metrics as one collection.

    Args:
        metrics: what the monitor was given.
        data_range: range of images, for the metrics that are made here from the name of a recipe.

    Raises:
        ValueError: for what is no metric, and for two metrics of one name.
    """
    if isinstance(metrics, MetricCollection):
        members = dict(metrics.clone().items(keep_base=True, copy_state=False))
        return FeatureMetricCollection(members, prefix=metrics.prefix, postfix=metrics.postfix)
    if isinstance(metrics, Mapping):
        named: dict[str, Any] = {str(name): metric for name, metric in metrics.items()}
    else:
        several = isinstance(metrics, Sequence) and not isinstance(metrics, str)
        given = list(metrics) if several else [metrics]  # type: ignore[arg-type]
        named = {_name(metric): metric for metric in given}
        if len(named) < len(given):
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


def ranking_metric(members: Mapping[str, Metric], wanted: str | None, needed: bool) -> str:
    """Name of the metric that says which images are worst.

    Args:
        members: the metrics by name.
        wanted: the user's choice; ``None`` for the first that measures features, else the first with a direction.
        needed: whether any images are shown.

    Raises:
        ValueError: if the choice is no metric or does not know its direction, or if one is needed and none does.
    """
    if wanted is not None:
        if wanted not in members:
            raise ValueError(f"`worst_by={wanted!r}` is no metric: take one of {', '.join(members)}")
        if members[wanted].higher_is_better is None:
            raise ValueError(f"`worst_by={wanted!r}` does not say whether higher is better: take another metric")
        return wanted
    known = [name for name, metric in members.items() if metric.higher_is_better is not None]
    features = [name for name in known if isinstance(members[name], PairMetric)]
    if needed and not known:
        raise ValueError("no metric says whether higher is better, so no images are worst: give worst=0")
    return (features or known or list(members))[0]


def drawing_metric(members: Mapping[str, Metric], ranking: str) -> FeatureDistance | None:
    """The metric whose maps are drawn: the one that ranks, or the first that has maps."""
    metrics = [members[ranking], *members.values()]
    return next((m for m in metrics if isinstance(m, FeatureDistance) and m.comparator.has_maps), None)
