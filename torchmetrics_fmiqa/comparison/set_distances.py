"""Distances between the set of each method's images and the set of the references: a figure a method, not an image."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading
from torchmetrics_fmiqa.comparator import Precision
from torchmetrics_fmiqa.comparison.score_methods import load_image
from torchmetrics_fmiqa.comparison.scores import ComparedImage
from torchmetrics_fmiqa.comparison.set_rows import SetDistances, SetRow
from torchmetrics_fmiqa.distances.set_figures import few_images
from torchmetrics_fmiqa.features.weights import WeightsUnavailableError
from torchmetrics_fmiqa.metrics import FrechetFeatureDistance, KernelFeatureDistance
from torchmetrics_fmiqa.metrics.set_distance import SetDistance
from torchmetrics_fmiqa.recipes import as_recipe
from torchmetrics_fmiqa.scoring import read_ahead

#: What can be named; the first two take ``:RECIPE`` behind them.
SET_DISTANCES = ("frechet", "kernel", "fd-dinov2", "cmmd")
# Images that are read before they go through the networks together.
_BATCH = 8


@dataclass(frozen=True)
class SetMetrics:
    """The metrics of sets by name, and those that cannot run here."""

    metrics: Mapping[str, SetDistance]
    skipped: Mapping[str, str] = field(default_factory=dict)


def read_set_distances(names: Sequence[str], precision: Precision = "float32") -> SetMetrics:
    """Make the metrics that names stand for.

    Args:
        names: ``frechet`` and ``kernel``, on the default recipe or on another one as in ``frechet:vit-tiny``;
            ``fd-dinov2`` and ``cmmd``, as published.
        precision: of the networks.

    Raises:
        ValueError: for a name that is unknown or comes twice, and for an unknown recipe.

    >>> list(read_set_distances(["frechet", "kernel:embedded"]).metrics)
    ['frechet', 'kernel:embedded']
    """
    metrics, skipped = {}, {}
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the set distance {name!r} is named twice")
        try:
            metrics[name] = _metric(name, precision)
        except WeightsUnavailableError as error:
            skipped[name] = str(error)
    return SetMetrics(metrics, skipped)


def _metric(name: str, precision: Precision) -> SetDistance:
    kind, _, recipe = name.partition(":")
    options: dict[str, Any] = {"interval": True, "precision": precision}
    if kind not in SET_DISTANCES or (recipe and kind not in SET_DISTANCES[:2]):
        raise ValueError(
            f"there is no set distance {name!r}: take {', '.join(SET_DISTANCES)}, or frechet:RECIPE, kernel:RECIPE"
        )
    if kind == "fd-dinov2":
        return FrechetFeatureDistance.fd_dinov2(**options)
    if kind == "cmmd":
        return KernelFeatureDistance.cmmd(**options)
    metric = FrechetFeatureDistance if kind == "frechet" else KernelFeatureDistance
    return metric(as_recipe(recipe or "default"), **options)


def measure_sets(
    images: Sequence[ComparedImage],
    methods: Sequence[str],
    sets: SetMetrics,
    reading: Reading,
    device: torch.device | str = "cpu",
) -> SetDistances:
    """Read all images once more, and measure each method's set against that of the references.

    Args:
        images: those that all methods have.
        methods: names.
        sets: what is measured.
        reading: how files are read.
        device: where to measure.

    Raises:
        ValueError: for an image that cannot be read any more.
    """
    references = {name: metric.clone().to(device) for name, metric in sets.metrics.items()}
    own = {(name, method): metric.clone() for name, metric in references.items() for method in methods}
    loaded = read_ahead(images, partial(load_image, reading=reading))
    while batch := list(itertools.islice(loaded, _BATCH)):
        for one in batch:
            if one.broken is not None:
                raise ValueError(f"{one.broken.name} could be read before, and cannot now: {one.broken.reason}")
        targets = [one.target.to(device) for one in batch if one.target is not None]
        for metric in references.values():
            metric.update(targets, real=True)
        for place, method in enumerate(methods):
            preds = [one.preds[place].to(device) for one in batch]
            for name in references:
                own[name, method].update(preds, real=False)
    rows = []
    for (name, method), metric in own.items():
        metric.merge_state(references[name])
        with warnings.catch_warnings():  # said once, in the result
            warnings.filterwarnings("ignore", "figures of .* images a side", UserWarning)
            found = {key: float(value) for key, value in metric.compute().items()}
        extrapolated = found.get("extrapolated", found["value"])  # a kernel's estimate has no bias
        rows.append(SetRow(name, method, len(images), found["value"], extrapolated, found["low"], found["high"]))
    identities = {name: f"{metric.request.digest} {type(metric).__name__}" for name, metric in sets.metrics.items()}
    return SetDistances(tuple(rows), few_images(len(images)), identities, sets.skipped)
