"""FeatureMetricCollection: several metrics, one forward pass for those that share a backbone."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities.distributed import gather_all_tensors

from torchmetrics_fmiqa.comparator import FeatureComparator, Images
from torchmetrics_fmiqa.features.image_checks import data_limits
from torchmetrics_fmiqa.features.reference_cache import References
from torchmetrics_fmiqa.metrics.equal_settings import check_equal_on_all_ranks
from torchmetrics_fmiqa.metrics.gradient import warn_of_lost_gradient
from torchmetrics_fmiqa.metrics.image_pair_metric import Measured, PairMetric, finite_positions, select_finite, served
from torchmetrics_fmiqa.metrics.synced_state import StatefulMetric, whole_numbers, will_sync
from torchmetrics_fmiqa.misuse import WarnOnce


class FeatureMetricCollection(MetricCollection):
    """A ``MetricCollection`` whose members of one backbone share one forward pass.

    These are :class:`FeatureDistance`, :class:`ScenePerceivedImagePerceptualScore`, :class:`FrechetFeatureDistance` and
    :class:`KernelFeatureDistance`, in any mixture, if they have equal backbone, weights, normalisation, resolution,
    pooling, data range, border, precision, ``tile_batch``, ``validate`` and ``nan_strategy``; taps, distances, tokens,
    heads and reductions may differ. Other metrics (PSNR, SSIM, metrics of clips) are members as usual. A plain
    ``MetricCollection`` gives the same numbers, with one forward pass for each member.

    As input to ``forward`` and ``update`` the collection accepts what its members do: ``preds`` and ``target``
    ``(N, 3, H, W)`` and, by keyword, ``mask`` and ``sample_ids``. As output of ``forward`` and ``compute`` it returns a
    dict by name.

    Args:
        metrics: as for ``torchmetrics.MetricCollection``.
        additional_metrics: likewise.
        prefix: in front of each name in the output.
        postfix: behind each name in the output.

    Raises:
        ValueError: as its members do; and on every rank, if ranks have other members or members with other settings.

    >>> from torchmetrics.image import PeakSignalNoiseRatio
    >>> from torchmetrics_fmiqa import FeatureDistance, FeatureMetricCollection
    >>> metrics = FeatureMetricCollection({
    ...     "early": FeatureDistance(taps=[0, 1]),
    ...     "late_l2": FeatureDistance(taps=[2], distance="l2"),
    ...     "psnr": PeakSignalNoiseRatio(data_range=1.0),
    ... })
    >>> target = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    >>> sorted(metrics(0.9 * target, target))
    ['early', 'late_l2', 'psnr']
    """

    def __init__(
        self,
        metrics: Metric | Sequence[Metric] | dict[str, Metric],
        *additional_metrics: Metric,
        prefix: str | None = None,
        postfix: str | None = None,
    ) -> None:
        super().__init__(metrics, *additional_metrics, prefix=prefix, postfix=postfix, compute_groups=False)  # type: ignore[arg-type]
        self._shared: dict[tuple[Any, ...], FeatureComparator] = {}
        self._last = _LastBatch()
        self._warn = WarnOnce()

    def update(  # type: ignore[override]
        self, preds: Images, target: Images, references: References | None = None, **kwargs: Any
    ) -> None:
        """Update every member, with one forward pass for each backbone.

        With ``references`` the targets' features are looked up and kept, see
        :class:`~torchmetrics_fmiqa.features.reference_cache.References`.
        """
        with self._serving(preds, target, kwargs, references):
            super().update(preds, target, **kwargs)

    def forward(self, preds: Images, target: Images, **kwargs: Any) -> dict[str, Any]:
        """Update every member, with one forward pass for each backbone, and return the batch's own results."""
        warn_of_lost_gradient(self._warn, preds, target)
        with self._serving(preds, target, kwargs):
            return super().forward(preds, target, **kwargs)

    def compute(self) -> dict[str, Any]:
        """Return every member's result by name, over all ranks.

        Raises:
            ValueError: on every rank, if one of them has other members or members with other settings.
        """
        self._check_ranks()
        return super().compute()

    def _check_ranks(self) -> None:
        members = self.values(copy_state=False)
        first = next((metric for metric in members if will_sync(metric)), None)
        if first is None:
            return
        gather = first.dist_sync_fn or gather_all_tensors
        check_equal_on_all_ranks(self.settings(), lambda one: gather(one, group=first.process_group), first.device)

    def settings(self) -> dict[str, Any]:
        """What fixes the members' numbers, by name, as plain values.

        Of others' metrics only the class: their attributes may differ from rank to rank for good reasons.
        """
        members = dict(self.items(keep_base=True, copy_state=False))
        found: dict[str, Any] = {"members": ", ".join(members)}
        for name, metric in members.items():
            own = metric.settings() if isinstance(metric, StatefulMetric) else {"metric": type(metric).__qualname__}
            found.update({f"{name}: {key}": value for key, value in own.items()})
        return found

    def last_scores(self, name: str) -> Tensor | None:
        """What each image of this thread's last batch scored by a member, ``(N,)``.

        ``None`` of a member that shares nothing, or is of whole sets.
        """
        if name not in self._last.measured:
            return None
        metric = dict(self.items(keep_base=True, copy_state=False))[name]
        if not isinstance(metric, PairMetric) or not metric.scores_images:
            return None
        return metric.scores_of(self._last.measured[name])

    @contextmanager
    def _serving(
        self, preds: Images, target: Images, others: dict[str, Any], references: References | None = None
    ) -> Iterator[None]:
        """Hand every member of a group its share of one measurement, until the block ends."""
        mask, sample_ids = others.get("mask"), others.get("sample_ids")
        groups: dict[tuple[Any, ...], list[tuple[str, PairMetric]]] = {}
        measured_of: dict[int, Measured] = {}
        self._last.measured = {}
        for name, metric in self.items(keep_base=True, copy_state=False):
            if isinstance(metric, PairMetric) and not metric.takes_clips:
                groups.setdefault(_forward_pass(metric), []).append((name, metric))
                if sample_ids is not None:  # wrong ones must fail before any member has counted the batch
                    whole_numbers(sample_ids, "sample_ids", len(preds), metric.device)
        warns = any(metric.nan_strategy == "warn" for members in groups.values() for _, metric in members)

        @functools.cache  # one look at the predictions and one warning, however many members
        def finite() -> list[int] | None:
            return finite_positions(preds, "warn" if warns else "ignore")

        for members in groups.values():
            first = members[0][1]
            batch, known = (preds, target, mask), references
            kept = None if first.nan_strategy == "error" else finite()
            if kept == []:
                measured_of.update({id(metric): Measured(kept, None) for _, metric in members})
                continue
            if kept is not None:
                batch = select_finite(kept, *batch)
                known = None if references is None else references.select(kept)
            with torch.no_grad():
                measured = self._comparator([metric for _, metric in members])(
                    *batch, first.data_range, first.crop_border, first.validate, known
                )
            for (name, metric), result in zip(members, measured, strict=True):
                measured_of[id(metric)], self._last.measured[name] = Measured(kept, result), result
        token = served.set({**served.get(), **measured_of})
        try:
            yield
        finally:
            served.reset(token)

    def _comparator(self, members: list[PairMetric]) -> FeatureComparator:
        first = members[0].comparator
        if len(members) == 1:
            return first
        requests = tuple(request for metric in members for request in metric.comparator.requests)
        key = (requests, first.precision, first.tile_batch)
        if key not in self._shared:
            self._shared[key] = FeatureComparator(requests, precision=first.precision, tile_batch=first.tile_batch)
        return self._shared[key]


class _LastBatch(threading.local):
    """What a thread's last batch measured, by name of the member. Copies start without one."""

    def __init__(self) -> None:
        self.measured: dict[str, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _LastBatch, ()


def _forward_pass(metric: PairMetric) -> tuple[Any, ...]:
    """What members must have in common for one forward pass to serve them."""
    comparator = metric.comparator
    images = (data_limits(metric.data_range), metric.crop_border, metric.validate)
    return (comparator.recipes[0].trunk, comparator.precision, comparator.tile_batch, metric.nan_strategy, *images)
