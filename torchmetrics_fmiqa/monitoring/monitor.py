"""QualityMonitor: image quality over a validation set, in any loop."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.arguments import as_bool, whole_number
from torchmetrics_fmiqa.comparator import Images
from torchmetrics_fmiqa.features.image_checks import DataRange, data_limits
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache
from torchmetrics_fmiqa.metrics.gradient import requires_grad
from torchmetrics_fmiqa.metrics.image_pair_metric import NanStrategy, PairMetric, check_nan_strategy
from torchmetrics_fmiqa.misuse import WarnOnce
from torchmetrics_fmiqa.monitoring.batch import Batch, as_pair
from torchmetrics_fmiqa.monitoring.evaluation import Evaluation, single_number
from torchmetrics_fmiqa.monitoring.metric_arguments import Metrics, as_collection, drawing_metric, ranking_metric
from torchmetrics_fmiqa.monitoring.options import EvaluationOptions, check_device, check_dtype, check_text
from torchmetrics_fmiqa.monitoring.ranks import own_rank, several_ranks
from torchmetrics_fmiqa.monitoring.report import QualityReport
from torchmetrics_fmiqa.monitoring.samples import as_ids
from torchmetrics_fmiqa.monitoring.worst_images import gather_worst


class QualityMonitor:
    """Measure image quality over a validation set in any loop: ``step`` for each batch, ``report`` at the end.

    It needs no framework. Under ``torch.distributed``, however it was started (torchrun, accelerate, Slurm), each rank
    steps with its own samples, and ``report`` is over all ranks.

    **Each id counts once**, over all ranks, so that the padding of a sampler does no harm: the numbers are those of one
    process over the samples, whatever rank and batch they came in. Without ids every sample counts, padding too.
    Distances between sets keep no samples apart: one that several ranks have counts on each, with a warning.
    In Lightning :class:`~torchmetrics_fmiqa.ImageQualityMonitor` does all this by itself.

    Args:
        metrics: a ``torchmetrics.Metric`` of ``(preds, target)``, a ``MetricCollection``, the name of a recipe (or a
            :class:`~torchmetrics_fmiqa.Recipe`), a list of these, or a dict of them by name. Members with the same
            backbone share its forward pass. Copies are updated, not the metrics given.
        worst: number of worst images to keep, over all ranks.
        worst_by: name of the metric that ranks the images; by default the first of this package, else the first that
            says whether higher is better.
        maps: draw a heat map of each of the worst images, where a metric has maps.
        crop_border: pixels to cut off each side before measuring, as is usual in super-resolution.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``. Metrics
            that are given as objects have a range of their own.
        nan_strategy: treatment of predictions with NaN or infinite values: ``"error"``, or ``"warn"`` or ``"ignore"``
            to leave them out and report ``share_not_finite``.
        cache_references: memory for features of references, such as ``"8GiB"``, which saves half of the network's work
            from the second validation on; ``None`` for no cache.
        cache_device: device that keeps these features.
        cache_dtype: ``"float16"`` or ``"bfloat16"`` halve that memory and round the features; ``None`` is exact.
        reference_version: a text that names the current state of the references. With it, features are looked up by id
            and version, without reading the pixels. Use it on a GPU, and change it whenever a reference or its
            preparation changes. Without it the look-up is by pixels, so that no change is missed.

    Raises:
        ValueError: for invalid arguments.

    >>> from torchmetrics.image import PeakSignalNoiseRatio
    >>> from torchmetrics_fmiqa import FeatureDistance, QualityMonitor
    >>> monitor = QualityMonitor({"distance": FeatureDistance(), "psnr": PeakSignalNoiseRatio(data_range=1.0)})
    >>> target = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    >>> monitor.step(0.9 * target, target, ids=[0, 1, 2])
    >>> monitor.step(0.9 * target[:1], target[:1], ids=[0])  # the padding of a sampler
    >>> report = monitor.report()
    >>> report.samples, report.repeated, sorted(report.numbers), len(report.worst)
    (3, 1, ['distance', 'psnr', 'share_outside'], 3)
    >>> monitor.reset()
    """

    def __init__(
        self,
        metrics: Metrics = "default",
        worst: int = 8,
        worst_by: str | None = None,
        maps: bool = True,
        crop_border: int = 0,
        data_range: DataRange = 1.0,
        nan_strategy: NanStrategy = "error",
        cache_references: int | str | None = None,
        cache_device: torch.device | str = "cpu",
        cache_dtype: torch.dtype | str | None = None,
        reference_version: str | None = None,
    ) -> None:
        limits = data_limits(data_range)
        collection = as_collection(metrics, data_range)
        worst = whole_number(worst, "worst", 0)
        crop_border = whole_number(crop_border, "crop_border", 0)
        maps = as_bool(maps, "maps")
        members = dict(collection.items(keep_base=True, copy_state=False))
        ranking = ranking_metric(members, worst_by, worst > 0)
        drawer = drawing_metric(members, ranking) if maps and worst else None
        strategy = check_nan_strategy(nan_strategy)
        #: What is measured, and how.
        self.options = EvaluationOptions(collection, worst, ranking, drawer, crop_border, limits, strategy)
        #: Features of references, or ``None``.
        self.cache: ReferenceCache | None = None
        if cache_references is not None:
            self.cache = ReferenceCache(cache_references, check_device(cache_device), check_dtype(cache_dtype))
            if not any(isinstance(metric, PairMetric) for metric in members.values()):
                raise ValueError("`cache_references` keeps features, but no metric has any: leave it out")
        elif reference_version is not None or cache_dtype is not None:
            raise ValueError("`reference_version` and `cache_dtype` belong to `cache_references`, which is None")
        self.reference_version = (
            None if reference_version is None else check_text(reference_version, "reference_version")
        )
        self._warn = WarnOnce()
        self._steps = 0

    @functools.cached_property
    def _evaluation(self) -> Evaluation:
        return Evaluation(self.options, self.cache)

    def step(self, preds: Images, target: Images, ids: Tensor | Sequence[int] | Sequence[str] | None = None) -> None:
        """Measure a batch. This does not communicate: ranks may take different numbers of steps, or none.

        Args:
            preds: the images under test, ``(N, 3, H, W)``, or a list of ``(3, H, W)``: floating point in ``data_range``
                (half types are raised to float32), uint8 or uint16.
            target: the references, likewise.
            ids: what names each sample in the whole set: ``N`` whole numbers of at least 0, such as the index in the
                dataset, or ``N`` texts, such as file names. Of each id only the first sample counts.

        Raises:
            ValueError: for images or ids that are invalid, and with ``nan_strategy="error"`` for predictions with NaN
                or infinite values.
        """
        if not (isinstance(preds, (Tensor, list, tuple)) and isinstance(target, (Tensor, list, tuple))):
            kinds = f"{type(preds).__name__} and {type(target).__name__}"
            raise ValueError(f"`preds` and `target` must be tensors (N, 3, H, W) or lists of (3, H, W), got {kinds}")
        if requires_grad(target) and not requires_grad(preds):
            self._warn("order", "`target` requires a gradient and `preds` does not: is the order (preds, target)?")
        preds, target = as_pair(preds, target)
        device, evaluation = preds[0].device, self._evaluation
        if device != evaluation.device:
            evaluation.move(device)
        # States that are made in inference mode could not be updated in a later step outside it.
        with torch.inference_mode(False):
            evaluation.add(preds, target, self._named(len(preds), ids))
        self._steps += 1

    def _named(self, count: int, ids: Any) -> Batch:
        if ids is None:
            place = f"rank {own_rank()} step" if several_ranks() else "step"
            names = [f"{place} {self._steps}-{i}" for i in range(count)]
            return Batch(names, names)
        labels = as_ids(ids, count)
        keys = None if self.reference_version is None else [(self.reference_version, label) for label in labels]
        return Batch(labels, labels, labels, keys)

    def report(self) -> QualityReport:
        """What was measured since the start or the last :meth:`reset`, over all ranks. Every rank must call this.

        Nothing is reset: later steps add to it. Without a sample on any rank the report is empty, with a warning.

        Raises:
            ValueError: on every rank, if ranks measure differently.
        """
        results = self._evaluation.results()
        worst = self.options.worst_by
        images = []
        if self.options.worst:
            images = gather_worst(self._evaluation.worst, self.options.drawer, self._evaluation.device, self._warn)
        if own_rank() == 0:
            self._advise(results.samples, results.anonymous, results.ambiguous)
        numbers = {}
        for name, value in results.values.items():
            number = single_number(value)
            if number is None:
                self._warn(name, f"{name!r} is no single number but {shape_of(value)}, and is left out of the report")
            else:
                numbers[name] = number
        if self.cache is not None and self.cache.full:
            self._warn("cache", f"the references' features do not all fit: {self.cache.describe()}")
        return QualityReport(numbers, tuple(images), worst, results.samples, results.repeated, results.scores)

    def _advise(self, samples: int, anonymous: int, ambiguous: Sequence[Any]) -> None:
        if not samples:
            self._warn("empty", "a report without a sample: `step` measured none on any rank")
        if ambiguous:
            self._warn(
                "ids",
                f"{len(ambiguous)} ids came with several references, and only the first of each counts (such as "
                f"{ambiguous[0]!r}): an id must name the sample in the whole set, not its place in the batch",
            )
        if anonymous and anonymous < samples:
            self._warn(
                "anonymous",
                f"{anonymous} samples came without an id and others with one: of those without one, repeats count",
            )
        world = os.environ.get("WORLD_SIZE", "1")
        if world != "1" and not several_ranks():
            self._warn(
                "ranks",
                f"WORLD_SIZE is {world} but torch.distributed is not initialized: this report is of this process alone",
            )

    def reset(self) -> None:
        """Forget all samples; features of references stay in the cache."""
        self._evaluation.start(self._evaluation.device)
        self._steps = 0
        if self.cache is not None:
            self.cache.start_epoch()


def shape_of(value: Any) -> str:
    """The shape of a result that is no single number, for a message."""
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
