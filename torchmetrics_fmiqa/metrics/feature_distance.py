"""FeatureDistance: the corridor as a ``torchmetrics.Metric``."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning_utilities import apply_to_collection
from torch import Tensor
from torchmetrics.wrappers import BootStrapper

from torchmetrics_fmiqa.comparator import FeatureComparator, Images, Precision
from torchmetrics_fmiqa.features.images import DataRange, data_limits
from torchmetrics_fmiqa.functional import Reduction, check_reduction
from torchmetrics_fmiqa.jobs import Distances, column_name, combine
from torchmetrics_fmiqa.metrics.finite import NanStrategy, check_nan_strategy, finite_positions, select_finite
from torchmetrics_fmiqa.metrics.states import StatefulMetric, whole_numbers
from torchmetrics_fmiqa.recipes import Recipe, as_recipe

# What torchmetrics.Metric takes; every other keyword is a field of the recipe.
_METRIC_OPTIONS = {
    "compute_on_cpu",
    "dist_sync_on_step",
    "process_group",
    "dist_sync_fn",
    "distributed_available_fn",
    "sync_on_compute",
    "compute_with_cache",
}


class Measured(NamedTuple):
    """What was measured of a batch.

    Args:
        kept: positions of the images that count, ``None`` for all of them.
        distances: theirs, ``None`` where no image is left.
    """

    kept: list[int] | None
    distances: Distances | None


class FeatureDistance(StatefulMetric):
    r"""Perceptual distance between images: how far apart a frozen network's *intermediate* features are.

    The zero-shot full-reference measure of ZS-IQA (Ghildyal, Barman and Zadtootaghaj, ICASSP 2025), done right by
    default: the network's own input normalisation, cosine over channels at every stage, evenly spaced tiles of any
    resolution, mean over taps and pixels. **Lower is better; 0 for equal images.**

    As input to ``forward`` and ``update`` the metric accepts

    - ``preds``: images under test, ``(N, 3, H, W)``, floating point in ``data_range`` (they may leave it a little, as
      the output of a network does), uint8 or uint16; or a list of ``(3, H, W)``, each of its own size
    - ``target``: the pristine references, likewise, within ``data_range``
    - ``mask``: optional ``(N, 1, H, W)`` weights of pixels, at least 0, for pointwise distances
    - ``sample_ids``: optional ``(N,)`` whole numbers of at least 0. A sample is counted once however often it comes,
      over all ranks: the padding of a ``DistributedSampler`` then does no harm

    As output of ``forward`` and ``compute`` the metric returns

    - a 0-dim tensor, or with ``reduction="none"`` the ``(N,)`` values: in the order of ``sample_ids`` where they were
      given, else as they came, rank by rank
    - with ``per_layer`` a dict of these by tap, with several distances by distance, with both by ``"distance/tap"``

    The backbone is no submodule: it is in no ``state_dict`` and no checkpoint, is not trained, averaged or moved, and
    copies of the metric share it.

    Args:
        recipe: name of a recipe (``fmiqa recipes`` lists them), a :class:`~torchmetrics_fmiqa.Recipe` or a YAML file.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        per_layer: return each tap's distance instead of the score.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first, super-resolution's convention.
        precision: ``"float32"``; ``"bfloat16"`` and ``"float16"`` are faster and wrong at small distances.
        tile_batch: tiles a side of the pair that go through the network at once; less takes less memory.
        validate: look at the values of images too (on a GPU this waits for the device).
        nan_strategy: what to do with predictions that hold NaN or infinite values. ``"error"`` raises before anything
            is counted (where ``validate`` looks), ``"warn"`` leaves those images out and says how many, ``"ignore"``
            leaves them out. The references must be finite.
        kwargs: fields of the recipe to override (``backbone=``, ``weights=``, ``distance=`` ...) and options of
            ``torchmetrics.Metric``.

    Raises:
        ValueError: for arguments, images or weights that do not fit, naming the value and the fix.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.

    >>> from torchmetrics_fmiqa import FeatureDistance
    >>> metric = FeatureDistance(backbone="vit_tiny_patch16_224", weights="random:0", taps=[0, 1])
    >>> target = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> metric.update(0.8 * target, target)
    >>> metric.compute().shape, bool(metric.compute() > 0), float(metric(target, target))
    (torch.Size([]), True, 0.0)
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    plot_lower_bound = 0.0
    plot_legend_name = "Tap"

    def __init__(
        self,
        recipe: str | Path | Recipe = "default",
        reduction: Reduction = "mean",
        per_layer: bool = False,
        data_range: DataRange = 1.0,
        crop_border: int = 0,
        precision: Precision = "float32",
        tile_batch: int = 32,
        validate: bool = True,
        nan_strategy: NanStrategy = "error",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{name: kwargs.pop(name) for name in _METRIC_OPTIONS & kwargs.keys()})
        self.reduction = check_reduction(reduction)
        data_limits(data_range)
        if not isinstance(crop_border, int) or crop_border < 0:
            raise ValueError(f"`crop_border` must be a whole number of pixels of at least 0, got {crop_border!r}")
        self.recipe = as_recipe(recipe, **kwargs)
        self.per_layer = per_layer
        self.data_range = data_range
        self.crop_border = crop_border
        self.validate = validate
        self.nan_strategy = check_nan_strategy(nan_strategy)
        self.comparator = FeatureComparator(self.recipe, precision=precision, tile_batch=tile_batch)
        #: What a :class:`FeatureMetricCollection` has just measured of this batch for several metrics at once.
        self._served: Measured | None = None
        # The digest in the names keeps a MetricCollection from merging states of metrics that measure differently.
        # "none" keeps values where "mean" and "sum" add up, so it is told apart too.
        kind = "values" if self.reduction == "none" else "sums"
        what = f"{self.recipe.digest}|{data_limits(data_range)}|{crop_border}|{precision}|{kind}|{nan_strategy}"
        digest = hashlib.sha256(what.encode()).hexdigest()[:12]
        self._count, self._ids = f"count_{digest}", f"ids_{digest}"
        self._names = {name: f"{name}_{digest}" for name in self.comparator.labels()}
        zeros = functools.partial(torch.zeros, dtype=torch.float64, device="cpu")
        self.add_state(self._count, zeros(()), dist_reduce_fx="sum")
        self.add_state(self._ids, [], dist_reduce_fx="cat")
        for name, labels in self.comparator.labels().items():
            self.add_state(f"sum_{self._names[name]}", zeros(len(labels)), dist_reduce_fx="sum")
            self.add_state(f"values_{self._names[name]}", [], dist_reduce_fx="cat")

    def update(
        self,
        preds: Images,
        target: Images,
        mask: Images | None = None,
        sample_ids: Tensor | Sequence[int] | None = None,
    ) -> None:
        """Measure a batch of pairs and add it to the state."""
        ids = None if sample_ids is None else check_ids(sample_ids, len(preds), self.device)
        kept, measured = self._served or self._measure(preds, target, mask)
        if measured is None:
            return
        count = len(preds) if kept is None else len(kept)
        ids = ids if ids is None or kept is None else ids[kept]
        per_image = ids is not None or self.reduction == "none"
        if per_image:
            # Images without an id count however often they come; -1 stands for them.
            ids = torch.full((count,), -1, device=self.device) if ids is None else ids
            setattr(self, self._ids, [*getattr(self, self._ids), ids])
        else:
            setattr(self, self._count, getattr(self, self._count) + count)
        for name, values in measured.per_tap.items():
            state = f"{'values' if per_image else 'sum'}_{self._names[name]}"
            values = values.detach().to(self.device, self._state_dtype)
            # One-dimensional lists: torchmetrics cannot gather others where a rank is empty.
            added = [*getattr(self, state), values.flatten()] if per_image else getattr(self, state) + values.sum(0)
            setattr(self, state, added)

    def compute(self) -> Tensor | dict[str, Tensor]:
        """Return the result over all images seen, see the class."""
        dtype = self.dtype if self.dtype == torch.float64 else torch.float32
        kept = _first_of_each(self._joined(self._ids))
        result: dict[str, Tensor] = {}
        weights = self.comparator.weights()
        for name, labels in self.comparator.labels().items():
            values = self._joined(f"values_{self._names[name]}")
            values = values.unflatten(0, (-1, len(labels)))[kept] if len(values) else values.new_zeros(0, len(labels))
            if self.reduction != "none":
                values = getattr(self, f"sum_{self._names[name]}") + values.sum(0)
                if self.reduction == "mean":
                    values = values / (getattr(self, self._count) + len(kept))
            if self.per_layer:
                taps = {label: values[..., column] for column, label in enumerate(labels)}
                several = len(self._names) > 1
                result.update({column_name(name, label, several): value for label, value in taps.items()})
            else:
                result[name] = combine(values, weights[name])
        result = {name: value.to(dtype) for name, value in result.items()}
        return result if self.per_layer or len(result) > 1 else next(iter(result.values()))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch to the state and return the batch's own result. An error leaves the state as it was."""
        state = {name: getattr(self, name) for name in self._defaults}
        count, on_cpu = self._update_count, self.compute_on_cpu
        try:
            return super().forward(*args, **kwargs)
        except Exception:
            for name, value in state.items():
                setattr(self, name, value)
            self._update_count, self.compute_on_cpu, self._computed = count, on_cpu, None
            self._to_sync, self._should_unsync, self._enable_grad = self.sync_on_compute, True, False
            raise

    def reset(self) -> None:
        """Forget all images. Lists are replaced, not emptied: ``forward`` and ``Running`` hold on to them."""
        for name, default in self._defaults.items():
            if isinstance(default, list):
                setattr(self, name, [])
        super().reset()

    def _measure(self, preds: Images, target: Images, mask: Images | None) -> Measured:
        kept = finite_positions(preds, self.nan_strategy)
        if kept is not None:
            if not kept:
                return Measured(kept, None)
            preds, target, mask = select_finite(kept, preds, target, mask)
        with torch.no_grad():
            (distances,) = self.comparator(preds, target, mask, self.data_range, self.crop_border, self.validate)
        return Measured(kept, distances)

    @property
    def _integer_lists(self) -> tuple[str, ...]:
        return (self._ids,)

    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Keep ``reduction="none"`` one-dimensional for a single image too, which torchmetrics squeezes."""
        wrapped = super()._wrap_compute(compute)

        @functools.wraps(compute)
        def shaped(*args: Any, **kwargs: Any) -> Any:
            value = wrapped(*args, **kwargs)
            return apply_to_collection(value, Tensor, lambda v: v.reshape(-1)) if self.reduction == "none" else value

        return shaped


def _first_of_each(ids: Tensor) -> Tensor:
    """Places of the values to count: those without an id as they came, then the first of each id, in their order."""
    free = (ids < 0).nonzero().flatten()
    order = ids.argsort(stable=True)
    ordered = ids[order]
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return torch.cat([free, order[new & (ordered >= 0)]])


def check_ids(sample_ids: Tensor | Sequence[int], count: int, device: torch.device) -> Tensor:
    """Return ``(N,)`` sample ids as int64.

    Raises:
        ValueError: for ids that are no whole numbers of at least 0, of another count, or resampled by a bootstrap.
    """
    ids = whole_numbers(sample_ids, "sample_ids", count, device)
    if _called_by_bootstrapper():
        raise ValueError(
            "`sample_ids` count a repeated sample once, but BootStrapper repeats samples on purpose: "
            "leave sample_ids out of the update"
        )
    return ids


def _called_by_bootstrapper() -> bool:
    """Whether a ``BootStrapper`` is among the callers: nothing in the arguments it resampled tells."""
    frame = inspect.currentframe()
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), BootStrapper):
            return True
        frame = frame.f_back
    return False
