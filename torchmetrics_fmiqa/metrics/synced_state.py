"""StatefulMetric: states that keep their digits and sync over ranks, also from ranks that have none; states joined."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import torch
from lightning_utilities import apply_to_collection
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat
from torchmetrics.utilities.distributed import gather_all_tensors

from torchmetrics_fmiqa.arguments import as_python, short_repr
from torchmetrics_fmiqa.locks import CopiedLock
from torchmetrics_fmiqa.metrics.equal_settings import check_equal_on_all_ranks, check_equal_settings


class StatefulMetric(Metric):
    """A metric whose states are float64 (float32 on MPS, which has no more) or whole numbers, whatever is cast.

    States of metrics with other settings are never joined: not over ranks, and not by ``merge_state``. Threads may
    share a metric: their updates wait for each other, so that none is lost.

    What torchmetrics' public names cannot do is in this file alone, tried with 1.8.1 and 1.9.0: states that no cast
    reaches (``_apply``), locks around ``update`` and ``compute`` (``_wrap_update``, ``_wrap_compute``), an error in
    ``forward`` that leaves the state as it was, typed empty lists before a sync (``_sync_dist``), whether a
    ``compute`` will sync (:func:`will_sync`), and how states are joined (:func:`joined`).
    """

    # TorchScript compiles what is not listed or marked here; torchmetrics' own metrics can be scripted too.
    __jit_unused_properties__ = [  # noqa: RUF012 (torchmetrics declares a list)
        *Metric.__jit_unused_properties__,
        "_gives_lists",
        "_integer_lists",
        "_keeps_names",
        "_state_dtype",
    ]

    def __init__(self, **options: Any) -> None:
        self._lock = CopiedLock()
        super().__init__(**options)
        self._device = torch.get_default_device()  # torchmetrics before 1.9 says it is the CPU

    def settings(self) -> dict[str, Any]:
        """What fixes the metric's number, by name, as plain values. The states of metrics that differ do not add up."""
        raise NotImplementedError

    @property
    def _integer_lists(self) -> Collection[str]:
        """Names of the list states that hold whole numbers."""
        return ()

    @property
    def _gives_lists(self) -> bool:
        """Whether results are one-dimensional, of a single image too, which torchmetrics would squeeze."""
        return False

    @property
    def _state_dtype(self) -> torch.dtype:
        return torch.float32 if self.device.type == "mps" else torch.float64

    def _empty(self, name: str) -> Tensor:
        """What a list state without entries is, as a tensor."""
        dtype = torch.int64 if name in self._integer_lists else self._state_dtype
        return torch.empty(0, dtype=dtype, device=self.device)

    def _joined(self, name: str) -> Tensor:
        """One tensor of a list state, which is a tensor already after a sync and may live on the CPU."""
        state = getattr(self, name)
        parts = [state] if isinstance(state, Tensor) else state
        return torch.cat([part.reshape(-1).to(self.device) for part in parts]) if parts else self._empty(name)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Plot one or several results of the metric (needs matplotlib).

        Args:
            val: a result of ``compute`` or ``forward``, or a list of them; the current result if ``None``.
            ax: matplotlib axis to draw on.

        Returns:
            Figure and axis.
        """
        return self._plot(val, ax)

    def _wrap_update(self, update: Callable[..., Any]) -> Callable[..., Any]:
        wrapped = super()._wrap_update(update)

        @functools.wraps(update)
        def held(*args: Any, **kwargs: Any) -> Any:
            if self.device.type == "meta":
                raise ValueError(
                    "this metric is on the meta device, which holds no numbers: move it to the device of the images "
                    "first, such as metric.to('cpu')"
                )
            return wrapped(*args, **kwargs)

        return self._alone(held)

    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        wrapped = self._alone(super()._wrap_compute(compute))

        @functools.wraps(compute)
        def shaped(*args: Any, **kwargs: Any) -> Any:
            value = wrapped(*args, **kwargs)
            return apply_to_collection(value, Tensor, lambda one: one.reshape(-1)) if self._gives_lists else value

        return shaped

    def _alone(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Run a method while no other thread runs one."""

        @functools.wraps(method)
        def alone(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                return method(*args, **kwargs)

        return alone

    def _apply(  # type: ignore[override]  # torchmetrics' has another second parameter
        self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "", recurse: bool = True
    ) -> Any:
        """Follow moves between devices, not casts. ``to_empty`` says ``recurse``, which torchmetrics does not take."""
        if self.device.type == "meta":
            try:
                fn(torch.zeros(1, device="meta"))
            except NotImplementedError:  # ``to`` copies no meta tensor, but this metric has nothing to copy
                self._device = torch.device("cpu")
        super()._apply(fn, exclude_state=[*self._defaults, *exclude_state])

        def move(state: Any) -> Any:
            if isinstance(state, Tensor):
                state = state.to(self._state_dtype) if state.is_floating_point() else state
                # A metric that was built on the meta device starts with zeros where it goes.
                return torch.zeros_like(state, device=self.device) if state.is_meta else state.to(self.device)
            return [move(part) for part in state]

        for name in self._defaults:
            self._defaults[name] = move(self._defaults[name])
            setattr(self, name, move(getattr(self, name)))
        self._computed = None
        return self

    @torch.jit.unused
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch to the state and return the batch's own result. An error leaves the state as it was."""
        with self._lock:
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
        with self._lock:
            for name, default in self._defaults.items():
                if isinstance(default, list):
                    setattr(self, name, [])
            super().reset()

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add what another metric, or its ``metric_state``, has seen.

        Raises:
            ValueError: if the other one has other settings, naming both.
        """
        if isinstance(incoming_state, StatefulMetric):
            both = {"this metric": self.settings(), "the incoming one": incoming_state.settings()}
            check_equal_settings(both, "Merge only metrics that were built alike.")
            count = incoming_state.update_count
            incoming_state = incoming_state.metric_state
        else:
            count = 1
        if isinstance(incoming_state, dict):
            missing = [name for name in self._defaults if name not in incoming_state]
            if missing:
                raise ValueError(
                    f"the state to merge lacks {', '.join(missing)}: it is of a metric with another class or settings"
                )
            incoming_state = {name: self._as_own(name, incoming_state[name]) for name in self._defaults}
        with self._lock:
            super().merge_state(incoming_state)
            self._computed = None  # which torchmetrics keeps
            self._update_count += count

    def _as_own(self, name: str, state: Any) -> Any:
        """A state of another metric on this one's device; a list where this one has a list."""
        if not isinstance(self._defaults[name], list):
            return state.to(self.device)
        return [part.to(self.device) for part in ([state] if isinstance(state, Tensor) else state)]

    def _sync_dist(self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any = None) -> None:
        """Gather the states, if all ranks have equal settings.

        An empty rank needs an empty tensor of the right dtype: gloo aborts on the default one.
        """
        group = process_group or self.process_group
        check_equal_on_all_ranks(self.settings(), lambda values: dist_sync_fn(values, group=group), self.device)
        for name, default in self._defaults.items():
            if isinstance(default, list) and len(getattr(self, name)) == 0:
                setattr(self, name, [self._empty(name)])
        super()._sync_dist(dist_sync_fn, process_group)


def will_sync(metric: Metric) -> bool:
    """Whether the next ``compute`` of any metric gathers states from other ranks."""
    if metric._computed is not None or metric._is_synced or not metric._to_sync:
        return False
    return bool(metric.distributed_available_fn and metric.distributed_available_fn())


#: The states of a metric, and of the metrics inside it, such as a wrapper's: by name of the module, then of the state.
States = dict[str, dict[str, Any]]


def states_of(metric: Metric) -> States:
    """The states of a metric as they are now; a later update or reset does not change them."""
    return {
        name: {state: list(value) if isinstance(value, list) else value for state, value in part.metric_state.items()}
        for name, part in _metrics_in(metric)
    }


def has_seen(metric: Metric) -> bool:
    """Whether a metric was updated; a wrapper does not count its updates, and the metrics inside it do."""
    return any(part.update_count for _, part in _metrics_in(metric))


def unsynced(metric: Metric) -> Metric:
    """A copy of a metric that has seen nothing and never syncs. Networks in it are shared, not copied."""
    copied = copy.deepcopy(metric, {id(one): one for one in (*metric.parameters(), *metric.buffers())})
    copied.reset()
    for _, part in _metrics_in(copied):
        part.distributed_available_fn = _never
    return copied


def _never() -> bool:
    return False


def joined(metric: Metric, parts: Sequence[States]) -> Metric:
    """A copy of a metric that has seen what all the parts have, as if each part were on a rank of its own.

    So a metric that is right over ranks is right here, whatever it adds up, joins or keeps. The copy never syncs.

    Args:
        metric: the metric, on the device where the copy computes.
        parts: at least one.
    """
    whole = unsynced(metric)
    for name, part in _metrics_in(whole):
        for state, reduce in part._reductions.items():
            values = apply_to_collection([one[name][state] for one in parts], Tensor, lambda one: one.to(metric.device))
            setattr(part, state, _reduced(values, reduce))  # type: ignore[arg-type]  # callable since add_state
        part._update_count = 1
    return whole


def _metrics_in(metric: Metric) -> list[tuple[str, Metric]]:
    return [(name, part) for name, part in metric.named_modules() if isinstance(part, Metric)]


def _reduced(values: list[Any], reduce: Callable[..., Any] | None) -> Any:
    """The states of several ranks as one, as torchmetrics' own sync makes it."""
    if isinstance(values[0], list):
        entries = [entry for value in values for entry in value]
        return entries if reduce is None or reduce is dim_zero_cat else reduce(entries)
    if len(values) == 1:
        return values[0]
    stacked = torch.stack(values)
    return stacked if reduce is None else reduce(stacked)


def whole_numbers(values: Tensor | Sequence[int], name: str, count: int, device: torch.device) -> Tensor:
    """Return ``(count,)`` whole numbers of at least 0 as int64, of any integer kind of Python, NumPy or PyTorch.

    >>> whole_numbers(np.array([3, 1], dtype=np.uint64), "sample_ids", 2, torch.device("cpu"))
    tensor([3, 1])

    Raises:
        ValueError: if they are something else, or another number of them.
    """
    if isinstance(values, Tensor):
        integers = not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)
        shape, kind, given = tuple(values.shape), str(values.dtype), values
    else:
        try:
            array = np.asarray([as_python(value) for value in values] if isinstance(values, (list, tuple)) else values)
        except (TypeError, ValueError):  # lists of several lengths
            array = np.asarray(None)
        integers, shape, kind = array.dtype.kind in "iu", array.shape, str(array.dtype)
        given = torch.from_numpy(array.astype(np.int64)) if integers else torch.empty(0)
    if not integers or shape != (count,):
        raise ValueError(f"`{name}` must be {count} whole numbers, got {kind} of shape {shape}")
    numbers = given.to(device).to(torch.int64)
    if count and int(numbers.min()) < 0:
        if "uint64" in kind:  # what is above 2^63 - 1 became negative
            raise ValueError(f"`{name}` must be at most 2^63 - 1, got {short_repr(values)}")
        raise ValueError(f"`{name}` must be at least 0, got {int(numbers.min())}")
    return numbers
