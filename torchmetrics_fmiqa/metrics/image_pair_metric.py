"""PairMetric: what every metric of pairs of images does with its states, whatever it measures."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torchmetrics.utilities import rank_zero_warn

from torchmetrics_fmiqa.arguments import whole_number
from torchmetrics_fmiqa.comparator import FeatureComparator, Images
from torchmetrics_fmiqa.features.image_checks import DataRange, as_data_range, data_limits, finite_images, select_images
from torchmetrics_fmiqa.metrics.gradient import warn_of_lost_gradient
from torchmetrics_fmiqa.metrics.synced_state import StatefulMetric, whole_numbers
from torchmetrics_fmiqa.misuse import WarnOnce
from torchmetrics_fmiqa.reduction import Reduction, check_reduction


class Measured(NamedTuple):
    """What was measured of a batch.

    Args:
        kept: positions of the images that count, ``None`` for all of them.
        result: what the comparator says of them, ``None`` where no image is left.
    """

    kept: list[int] | None
    result: Any


#: What a :class:`FeatureMetricCollection` has measured for its members in the call that is running, by their ``id``.
served: ContextVar[Mapping[int, Measured]] = ContextVar("served", default=MappingProxyType({}))


class ImagePairMetric(StatefulMetric):
    """A metric of pairs of images, whatever measures them.

    A subclass calls :meth:`_add_columns`, and says how a batch is measured (:meth:`_result_of`), what its columns are
    (:meth:`_columns`) and what the metric's result is made of (:meth:`_combined`). Its ``update`` calls :meth:`_add`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        data_range: range of floating point images.
        crop_border: pixels to cut off each side first.
        validate: look at the values of images too.
        nan_strategy: what to do with predictions that are not finite.
        options: of ``torchmetrics.Metric``.

    Raises:
        ValueError: for arguments that do not fit.
    """

    is_differentiable = False
    full_state_update = False
    #: Whether each image has a score of its own.
    scores_images = True

    def __init__(
        self,
        reduction: Reduction,
        data_range: DataRange,
        crop_border: int,
        validate: bool,
        nan_strategy: NanStrategy,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.reduction = check_reduction(reduction)
        self.data_range = as_data_range(data_range)
        self.crop_border = whole_number(crop_border, "crop_border", 0, "a whole number of pixels")
        self.validate = validate
        self._warn = WarnOnce()
        self.nan_strategy = check_nan_strategy(nan_strategy)

    def _add_columns(self, identity: str, widths: Mapping[str, int]) -> None:
        """Add the states.

        Args:
            identity: what the numbers depend on.
            widths: how many numbers an image has under each name.
        """
        # The digest in the names keeps a MetricCollection from merging states of metrics that measure differently.
        # "none" keeps values where "mean" and "sum" add up, so it is told apart too.
        kind = "values" if self.reduction == "none" else "sums"
        images = f"{data_limits(self.data_range)}|{self.crop_border}"
        what = f"{identity}|{images}|{kind}|{self.nan_strategy}"
        digest = hashlib.sha256(what.encode()).hexdigest()[:12]
        self._count, self._ids = f"count_{digest}", f"ids_{digest}"
        self._names = {name: f"{name}_{digest}" for name in widths}
        self._widths = dict(widths)
        zeros = functools.partial(torch.zeros, dtype=self._state_dtype, device=self.device)
        self.add_state(self._count, zeros(()), dist_reduce_fx="sum")
        self.add_state(self._ids, [], dist_reduce_fx="cat")
        for name, width in widths.items():
            self.add_state(f"sum_{self._names[name]}", zeros(width), dist_reduce_fx="sum")
            self.add_state(f"values_{self._names[name]}", [], dist_reduce_fx="cat")

    def settings(self) -> dict[str, Any]:
        """What fixes the metric's number, by name, as plain values."""
        return {
            "metric": type(self).__qualname__,
            "data_range": list(data_limits(self.data_range)),
            "crop_border": self.crop_border,
            "reduction": self.reduction,
            "nan_strategy": self.nan_strategy,
        }

    def _result_of(self, preds: Images, target: Images, mask: Images | None) -> Any:
        """What is measured of a batch."""
        raise NotImplementedError

    def _columns(self, result: Any) -> Mapping[str, Tensor]:
        """What counts of it: ``(N, L)`` by name."""
        raise NotImplementedError

    def _combined(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """The results by name, of columns ``(..., L)`` that are reduced already."""
        raise NotImplementedError

    def _add(
        self, preds: Images, target: Images, mask: Images | None, sample_ids: Tensor | Sequence[int] | None
    ) -> None:
        """Measure a batch of pairs and add it to the state."""
        ids = None if sample_ids is None else whole_numbers(sample_ids, "sample_ids", len(preds), self.device)
        if ids is not None and len(ids.unique()) < len(ids):  # no sampler of torch deals such a batch
            self._warn(
                "sample_ids",
                "`sample_ids` has an id twice in one batch, and each sample counts once. BootStrapper repeats samples "
                "on purpose: leave sample_ids out of the update under it",
            )
        kept, result = served.get().get(id(self)) or self._measure(preds, target, mask)
        if result is None:
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
        for name, values in self._columns(result).items():
            state = f"{'values' if per_image else 'sum'}_{self._names[name]}"
            values = values.detach().to(self.device, self._state_dtype)
            # One-dimensional lists: torchmetrics cannot gather others where a rank is empty.
            added = [*getattr(self, state), values.flatten()] if per_image else getattr(self, state) + values.sum(0)
            setattr(self, state, added)

    def compute(self) -> Tensor | dict[str, Tensor]:
        """Return the result over all images seen, see the class."""
        dtype = self.dtype if self.dtype == torch.float64 else torch.float32
        kept = _first_of_each(self._joined(self._ids))
        columns: dict[str, Tensor] = {}
        for name, width in self._widths.items():
            values = self._joined(f"values_{self._names[name]}")
            values = values.unflatten(0, (-1, width))[kept] if len(values) else values.new_zeros(0, width)
            if self.reduction != "none":
                values = getattr(self, f"sum_{self._names[name]}") + values.sum(0)
                if self.reduction == "mean":
                    values = values / self._seen()
            columns[name] = values
        result = {name: value.to(dtype) for name, value in self._combined(columns).items()}
        return result if self._keeps_names or len(result) > 1 else next(iter(result.values()))

    def _seen(self) -> Tensor:
        """How many images count."""
        count: Tensor = getattr(self, self._count)
        return count + len(_first_of_each(self._joined(self._ids)))

    @property
    def _keeps_names(self) -> bool:
        """Whether a single result comes in a dict too."""
        return False

    @torch.jit.unused
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch to the state and return the batch's own result. An error leaves the state as it was."""
        if id(self) not in served.get():  # a collection warns for its members
            warn_of_lost_gradient(self._warn, *args, **kwargs)
        return super().forward(*args, **kwargs)

    def _measure(self, preds: Images, target: Images, mask: Images | None) -> Measured:
        kept = finite_positions(preds, self.nan_strategy)
        if kept is not None:
            if not kept:
                return Measured(kept, None)
            preds, target, mask = select_finite(kept, preds, target, mask)
        with torch.no_grad():
            return Measured(kept, self._result_of(preds, target, mask))

    @property
    def _integer_lists(self) -> tuple[str, ...]:
        return (self._ids,)

    @property
    def _gives_lists(self) -> bool:
        return self.reduction == "none"


class PairMetric(ImagePairMetric):
    """A metric of pairs that one :class:`~torchmetrics_fmiqa.FeatureComparator` measures, which a subclass sets."""

    if TYPE_CHECKING:  # TorchScript does not know these types
        #: What is measured, and what measures it. Frozen and shared by copies.
        recipe: Any
        comparator: FeatureComparator

    #: Whether a :class:`FeatureMetricCollection` may measure for it, in one forward pass with other members.
    shares_forward_pass = True

    def __repr__(self) -> str:
        """Show the recipe when the metric is printed."""
        return f"{type(self).__name__}({self.recipe}, reduction={self.reduction!r})"

    def _add_columns(self, identity: str, widths: Mapping[str, int]) -> None:
        super()._add_columns(f"{identity}|{self.comparator.precision}", widths)

    def settings(self) -> dict[str, Any]:
        """What fixes the metric's number, by name, as plain values."""
        return {**super().settings(), **self.recipe.identity, "precision": self.comparator.precision}

    def scores_of(self, result: Any) -> Tensor:
        """What each image of a comparator's result scores, ``(N,)``, in the direction of the metric."""
        raise NotImplementedError

    def update(
        self,
        preds: Images,
        target: Images,
        mask: Images | None = None,
        sample_ids: Tensor | Sequence[int] | None = None,
    ) -> None:
        """Measure a batch of pairs and add it to the state."""
        self._add(preds, target, mask, sample_ids)

    def _result_of(self, preds: Images, target: Images, mask: Images | None) -> Any:
        (result,) = self.comparator(preds, target, mask, self.data_range, self.crop_border, self.validate)
        return result


def _first_of_each(ids: Tensor) -> Tensor:
    """Places of the values to count: those without an id as they came, then the first of each id, in their order."""
    free = (ids < 0).nonzero().flatten()
    order = ids.argsort(stable=True)
    ordered = ids[order]
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return torch.cat([free, order[new & (ordered >= 0)]])


#: An error, or leave them out with a warning, or leave them out.
NanStrategy = Literal["error", "warn", "ignore"]


def check_nan_strategy(nan_strategy: str) -> NanStrategy:
    """Return the strategy.

    Raises:
        ValueError: if it is none of the three.
    """
    if nan_strategy not in get_args(NanStrategy):
        raise ValueError(f"`nan_strategy` must be one of {', '.join(get_args(NanStrategy))}; got {nan_strategy!r}")
    return nan_strategy  # type: ignore[return-value]


def finite_positions(preds: Images, nan_strategy: NanStrategy) -> list[int] | None:
    """Positions of the images to count, or ``None`` for all of them."""
    if nan_strategy == "error":
        return None  # the comparator looks for itself
    kept, count = finite_images(preds), len(preds)
    if len(kept) == count:
        return None
    if nan_strategy == "warn":
        rank_zero_warn(f"{count - len(kept)} of {count} predictions hold NaN or infinite values and are left out")
    return kept


def select_finite(
    kept: list[int], preds: Images, target: Images, mask: Images | None
) -> tuple[Images, Images, Images | None]:
    """The images to count of a batch.

    Raises:
        ValueError: if the sides differ in length, which a selection would hide.
    """
    sides = (preds, target, mask)
    lengths = {
        name: len(side) for name, side in zip(("preds", "target", "mask"), sides, strict=True) if side is not None
    }
    if len(set(lengths.values())) > 1:
        raise ValueError(f"`preds`, `target` and `mask` must hold equally many images, got {lengths}")
    preds, target, mask = (None if images is None else select_images(images, kept) for images in sides)  # type: ignore[assignment]
    return preds, target, mask
