"""The state of a monitor for one dataloader and one epoch: metrics, worst images, counts of samples left out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.aggregation import MeanMetric, SumMetric

from torchmetrics_fmiqa.callbacks.distributed_samples import DistributedSamples
from torchmetrics_fmiqa.callbacks.worst_images import WorstImages
from torchmetrics_fmiqa.comparator import Images
from torchmetrics_fmiqa.features.image_checks import (
    DataRange,
    check_lists,
    check_pair,
    crop,
    finite_images,
    group_by_size,
    select_images,
    share_outside,
    to_unit,
)
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache, References
from torchmetrics_fmiqa.metrics.collection import FeatureMetricCollection
from torchmetrics_fmiqa.metrics.image_pair_metric import NanStrategy


class DataloaderEvaluation:
    """Measures the pairs of one dataloader.

    Args:
        metrics: the metrics to update; they must not be shared.
        worst: collector of the worst images.
        worst_by: name of the metric that ranks the images.
        data_range: range of floating point images.
        crop_border: pixels to cut off each side first.
        nan_strategy: treatment of predictions that are not finite.
        cache: features of references, or ``None``.
        version: version that names a reference in the cache, with its dataloader and index; ``None`` to look up by
            pixels.
        place: stage and index of the dataloader, which name its samples in the cache.
    """

    def __init__(
        self,
        metrics: FeatureMetricCollection,
        worst: WorstImages,
        worst_by: str,
        data_range: DataRange,
        crop_border: int,
        nan_strategy: NanStrategy,
        cache: ReferenceCache | None,
        version: str | None,
        place: tuple[str, int],
    ) -> None:
        self.metrics, self.worst, self.worst_by = metrics, worst, worst_by
        self.data_range, self.crop_border, self.nan_strategy = data_range, crop_border, nan_strategy
        self.cache, self.version, self.place = cache, version, place
        self.count, self.left_out, self.outside = SumMetric(), SumMetric(), MeanMetric()
        self.samples = DistributedSamples(None, 1)  # replaced by start()
        self._probe: Metric | None = None  # copy of the ranking metric that measures single images

    def start(self, samples: DistributedSamples, device: torch.device) -> None:
        """Start an epoch."""
        self.samples = samples
        self.worst.clear()
        # Inference tensors could not be updated in a later epoch outside inference mode.
        with torch.inference_mode(False):
            for metric in self._all():
                metric.to(device)
                metric.reset()

    def _all(self) -> Iterator[Metric]:
        yield from self.metrics.values(copy_state=False)
        yield from (self.count, self.left_out, self.outside)

    @torch.no_grad()
    def add(self, preds: Images, target: Images, batch_idx: int) -> None:
        """Measure the samples of a batch that are neither padding nor left out as not finite."""
        count, indices = self.samples.real_samples(batch_idx, len(preds))
        if count == 0:
            return
        names: list[Any] = list(indices) if indices is not None else [f"{batch_idx}-{i}" for i in range(count)]
        preds, target = preds[:count], target[:count]
        kept = self._finite(preds, names)
        self.left_out.update(count - len(kept))
        if not kept:
            return
        if len(kept) < count:
            preds, target = select_images(preds, kept), select_images(target, kept)
            names = [names[index] for index in kept]
        for group_preds, group_target, group in _tensors(preds, target):
            self._measure(group_preds, group_target, [names[index] for index in group], indices is not None)

    @torch.no_grad()
    def rehearse(self, target: Images, device: torch.device) -> None:
        """Measure references against themselves, to find invalid images and options before training."""
        self.start(DistributedSamples(None, 1), device)
        for images, _, group in _tensors(target, target):
            self._measure(images, images, list(group), indexed=False)

    def _finite(self, preds: Images, names: list[Any]) -> list[int]:
        """Indices of the finite predictions. This is checked here because not every metric rejects NaN."""
        kept = finite_images(preds)
        if len(kept) < len(preds):
            bad = [name for index, name in enumerate(names) if index not in set(kept)]
            error = f"{len(bad)} of {len(names)} predictions of a batch hold NaN or infinite values (samples {bad[:8]})"
            if self.nan_strategy == "error":
                raise ValueError(
                    f"{error}: the network diverged or divides by zero; nan_strategy='warn' leaves them out and goes on"
                )
            if self.nan_strategy == "warn":
                warnings.warn(f"{error}; they are left out", stacklevel=2)
        return kept

    def _measure(self, preds: Tensor, target: Tensor, names: list[Any], indexed: bool) -> None:
        preds, target = crop(preds, self.crop_border), crop(target, self.crop_border)
        references = None
        if self.cache is not None:
            by_name = indexed and self.version is not None
            ids = tuple((self.version, self.place, name) for name in names) if by_name else None
            references = References(self.cache, ids)
        self.metrics.update(preds, target, references=references)
        self.count.update(len(preds))
        self.outside.update(share_outside(preds, self.data_range), weight=preds.numel())
        if self.worst.count:
            unit_images = [to_unit(images, self.data_range, torch.float32, "images") for images in (preds, target)]
            kind = "index" if indexed else "batch"
            scores = self._scores(preds, target)
            for score, name, pred, reference in zip(scores, names, *unit_images, strict=True):
                self.worst.add(score, f"{kind} {name}", pred, reference)

    def _scores(self, preds: Tensor, target: Tensor) -> list[float]:
        """The score of each image by the ranking metric."""
        shared = self.metrics.last_scores(self.worst_by)
        if shared is not None:
            return shared.tolist()
        if self._probe is None:
            self._probe = dict(self.metrics.items(keep_base=True, copy_state=False))[self.worst_by].clone()
            self._probe.distributed_available_fn = lambda: False  # no synchronisation: ranks have different images
        scores: list[float] = []
        for pred, reference in zip(preds, target, strict=True):
            self._probe.reset()
            self._probe.update(pred[None], reference[None])
            scores.append(float(self._probe.compute()))
        return scores

    def values(self) -> dict[str, Any]:
        """Name -> result of the epoch over all ranks; empty if no sample was measured. Every rank must call this."""
        with warnings.catch_warnings():
            # A rank without samples is normal.
            warnings.filterwarnings("ignore", ".*was called before the ``update`` method.*")
            count, left_out, outside = self.count.compute(), self.left_out.compute(), self.outside.compute()
            if count + left_out == 0:
                return {}
            results: dict[str, Any] = {}
            for name, metric in self.metrics.items(copy_state=False) if count else ():
                result = metric.compute()
                several = isinstance(result, dict)
                results.update({f"{name}/{key}": value for key, value in result.items()} if several else {name: result})
        shares: dict[str, Any] = {"share_outside": outside} if count else {}
        if self.nan_strategy != "error":
            shares["share_not_finite"] = left_out / (count + left_out)
        return {**results, **shares}


def _tensors(preds: Images, target: Images) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """Batches of images of equal size and dtype (at least float32 if floating point), with the images' indices."""
    if isinstance(preds, Tensor) and isinstance(target, Tensor):
        groups = [list(range(len(preds)))]
    else:
        check_lists(preds, target, None)
        groups = group_by_size(list(preds), list(target))
    for group in groups:
        group_preds, group_target = (
            images if isinstance(images, Tensor) else torch.stack([images[index] for index in group])
            for images in (preds, target)
        )
        check_pair(group_preds, group_target)
        if group_preds.is_floating_point() and group_target.is_floating_point():
            dtype = torch.promote_types(torch.promote_types(group_preds.dtype, group_target.dtype), torch.float32)
            group_preds, group_target = group_preds.to(dtype), group_target.to(dtype)
        yield group_preds, group_target, group
