"""Bind a monitor to a single trainer, and keep several monitors of a trainer from logging the same name."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

# Shared by all monitors, because a lock in a monitor would not pickle.
_lock = threading.Lock()


class TrainerBinding:
    """The trainer that a monitor is bound to; a copy of the monitor is free for another trainer."""

    def __init__(self) -> None:
        self._trainer: weakref.ref[Any] | None = None  # the last trainer
        self._busy = False

    def bind(self, trainer: Any) -> bool:
        """Bind the monitor to a trainer; return whether it was bound to another trainer before.

        Raises:
            ValueError: if another trainer runs with the monitor.
        """
        with _lock:
            had_trainer = self._trainer is not None
            previous = self._trainer() if self._trainer is not None else None
            if self._busy and previous is not None and previous is not trainer:
                raise ValueError(
                    "this ImageQualityMonitor serves another Trainer that runs now: give each Trainer its own, such as "
                    "copy.deepcopy(monitor)"
                )
            self._trainer, self._busy = weakref.ref(trainer), True
            return had_trainer and previous is not trainer

    def release(self, trainer: Any) -> bool:
        """Release a trainer; return whether the monitor was bound to it."""
        if self._trainer is None or self._trainer() is not trainer:
            return False
        self._busy = False
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {"_trainer": None, "_busy": False}

    def __deepcopy__(self, memo: dict[int, Any]) -> TrainerBinding:
        return TrainerBinding()


def names_of_others(monitor: Any, monitors: Sequence[Any]) -> dict[str, set[str]]:
    """The shares that other monitors of the same trainer log, by stage.

    Of monitors with the same prefix, the first logs the share.

    Raises:
        ValueError: if two monitors log a metric under the same name.
    """
    shares: dict[str, set[str]] = {}
    for stage in monitor.stages:
        others = [other for other in monitors if other is not monitor and stage in other.stages]
        for other in others:
            duplicates = set(monitor.names(stage)) & set(other.names(stage))
            if duplicates:
                raise ValueError(f"two monitors log {min(duplicates)!r}: give one of them another prefix=")
        earlier = monitors[: monitors.index(monitor)]
        same_prefix = [m for m in earlier if m in others and m.prefix_of(stage) == monitor.prefix_of(stage)]
        shares[stage] = {share for other in same_prefix for share in other.shares()}
    return shares
