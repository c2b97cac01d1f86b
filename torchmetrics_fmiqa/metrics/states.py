"""StatefulMetric: states that keep their digits, and gather where a rank has none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class StatefulMetric(Metric):
    """A metric whose states are float64 (float32 on MPS, which has no more) or whole numbers, whatever is cast."""

    @property
    def _integer_lists(self) -> Collection[str]:
        """Names of the list states that hold whole numbers."""
        return ()

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

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Any:
        """Follow moves between devices, not casts."""
        super()._apply(fn, exclude_state=[*self._defaults, *exclude_state])

        def move(state: Any) -> Any:
            if isinstance(state, Tensor):
                return (state.to(self._state_dtype) if state.is_floating_point() else state).to(self.device)
            return [move(part) for part in state]

        for name in self._defaults:
            self._defaults[name] = move(self._defaults[name])
            setattr(self, name, move(getattr(self, name)))
        self._computed = None
        return self

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        """Gather the states. An empty rank needs an empty tensor of the right dtype: gloo aborts on the default one."""
        for name, default in self._defaults.items():
            if isinstance(default, list) and len(getattr(self, name)) == 0:
                setattr(self, name, [self._empty(name)])
        super()._sync_dist(*args, **kwargs)


def whole_numbers(values: Tensor | Sequence[int], name: str, count: int, device: torch.device) -> Tensor:
    """Return ``(count,)`` whole numbers of at least 0 as int64.

    Raises:
        ValueError: if they are something else, or another number of them.
    """
    numbers = torch.as_tensor(values, device=device)
    if numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool or numbers.shape != (count,):
        raise ValueError(f"`{name}` must be {count} whole numbers, got {numbers.dtype} of shape {tuple(numbers.shape)}")
    if count and int(numbers.min()) < 0:
        raise ValueError(f"`{name}` must be at least 0, got {int(numbers.min())}")
    return numbers.to(torch.int64)
