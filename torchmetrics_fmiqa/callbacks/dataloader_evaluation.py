"""What a monitor keeps of one dataloader during one epoch: the metrics, the worst images, what was left out."""

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
    """Counts the pairs of one dataloader.

    Args:
        metrics: what to measure; a copy of its own.
        worst: where the worst images go.
        worst_by: name of the metric that says which are the worst.
        data_range: range of floating point images.
        crop_border: pixels to cut off each side first.
        nan_strategy: what to do with predictions that are not finite.
        cache: features of references, or ``None``.
        version: what, with a sample's index, names a reference in the cache; ``None`` to go by the pixels.
        place: what tells the dataloader's samples from others': the stage and the dataloader's number.
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
        self.samples = DistributedSamples(None, 1)  # of no epoch yet
        self._probe: Metric | None = None  # measures images one by one

    def start(self, samples: DistributedSamples, device: torch.device) -> None:
        """Start an epoch."""
        self.samples = samples
        self.worst.clear()
        # Not inference tensors, which a later epoch in another mode could not add to.
        with torch.inference_mode(False):
            for metric in self._all():
                metric.to(device)
                metric.reset()

    def _all(self) -> Iterator[Metric]:
        yield from self.metrics.values(copy_state=False)
        yield from (self.count, self.left_out, self.outside)

    @torch.no_grad()
    def add(self, preds: Images, target: Images, batch_idx: int) -> None:
        """Count a batch: its real samples, and of these the finite ones."""
        count, indices = self.samples.take(batch_idx, len(preds))
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
            names = [names[place] for place in kept]
        for one, other, group in _tensors(preds, target):
            self._measure(one, other, [names[place] for place in group], indices is not None)

    @torch.no_grad()
    def rehearse(self, target: Images, device: torch.device) -> None:
        """Measure references against themselves: what is wrong with them or with an option shows before training."""
        self.start(DistributedSamples(None, 1), device)
        for images, _, group in _tensors(target, target):
            self._measure(images, images, list(group), indexed=False)

    def _finite(self, preds: Images, names: list[Any]) -> list[int]:
        """Positions of the predictions to count. Looked at here, for not every metric minds a NaN."""
        kept = finite_images(preds)
        if len(kept) < len(preds):
            bad = [name for place, name in enumerate(names) if place not in set(kept)]
            found = f"{len(bad)} of {len(names)} predictions of a batch hold NaN or infinite values (samples {bad[:8]})"
            if self.nan_strategy == "error":
                raise ValueError(
                    f"{found}: the network diverged or divides by zero; nan_strategy='warn' leaves them out and goes on"
                )
            if self.nan_strategy == "warn":
                warnings.warn(f"{found}; they are left out", stacklevel=2)
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
            shown = [to_unit(images, self.data_range, torch.float32, "images") for images in (preds, target)]
            kind = "index" if indexed else "batch"
            for score, name, one, other in zip(self._scores(preds, target), names, *shown, strict=True):
                self.worst.offer(score, f"{kind} {name}", one, other)

    def _scores(self, preds: Tensor, target: Tensor) -> list[float]:
        """The score of each image by the metric that ranks them."""
        shared = self.metrics.last_scores(self.worst_by)
        if shared is not None:
            return shared.tolist()
        if self._probe is None:
            self._probe = dict(self.metrics.items(keep_base=True, copy_state=False))[self.worst_by].clone()
            self._probe.distributed_available_fn = lambda: False  # each rank by itself: they hold different images
        scores: list[float] = []
        for one, other in zip(preds, target, strict=True):
            self._probe.reset()
            self._probe.update(one[None], other[None])
            scores.append(float(self._probe.compute()))
        return scores

    def values(self) -> dict[str, Any]:
        """The results of the epoch over all ranks by name, empty if no sample was counted. Every rank must call it."""
        with warnings.catch_warnings():
            # A rank that got no sample has nothing to be warned of.
            warnings.filterwarnings("ignore", ".*was called before the ``update`` method.*")
            count, left_out, outside = self.count.compute(), self.left_out.compute(), self.outside.compute()
            if count + left_out == 0:
                return {}
            results: dict[str, Any] = {}
            for name, metric in self.metrics.items(copy_state=False) if count else ():
                result = metric.compute()
                several = isinstance(result, dict)
                results.update({f"{name}/{key}": value for key, value in result.items()} if several else {name: result})
        own: dict[str, Any] = {"share_outside": outside} if count else {}
        if self.nan_strategy != "error":
            own["share_not_finite"] = left_out / (count + left_out)
        return {**results, **own}


def _tensors(preds: Images, target: Images) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """Batches of tensors in one floating point type, at least float32, with the positions of their images."""
    if isinstance(preds, Tensor) and isinstance(target, Tensor):
        groups = [list(range(len(preds)))]
    else:
        check_lists(preds, target, None)
        groups = group_by_size(list(preds), list(target))
    for group in groups:
        one, other = (
            images if isinstance(images, Tensor) else torch.stack([images[place] for place in group])
            for images in (preds, target)
        )
        check_pair(one, other)
        if one.is_floating_point() and other.is_floating_point():
            dtype = torch.promote_types(torch.promote_types(one.dtype, other.dtype), torch.float32)
            one, other = one.to(dtype), other.to(dtype)
        yield one, other, group
