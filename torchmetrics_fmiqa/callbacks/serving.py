"""One monitor serves one trainer at a time; several monitors of one trainer do not log one name."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

# One for all monitors, so that monitors pickle; held only while a monitor is taken.
_taking = threading.Lock()


class OneTrainer:
    """Which trainer a monitor serves. A copy is free for another trainer."""

    def __init__(self) -> None:
        self._trainer: weakref.ref[Any] | None = None  # the last one
        self._busy = False

    def take(self, trainer: Any) -> bool:
        """Take the monitor for a trainer, and say whether it served another one before.

        Raises:
            ValueError: if another trainer runs with the monitor.
        """
        with _taking:
            known = self._trainer is not None
            before = self._trainer() if self._trainer is not None else None
            if self._busy and before is not None and before is not trainer:
                raise ValueError(
                    "this ImageQualityMonitor serves another Trainer that runs now: give each Trainer its own, such as "
                    "copy.deepcopy(monitor)"
                )
            self._trainer, self._busy = weakref.ref(trainer), True
            return known and before is not trainer

    def release(self, trainer: Any) -> bool:
        """Let go of a trainer, and say whether it was the one served."""
        if self._trainer is None or self._trainer() is not trainer:
            return False
        self._busy = False
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {"_trainer": None, "_busy": False}

    def __deepcopy__(self, memo: dict[int, Any]) -> OneTrainer:
        return OneTrainer()


def names_of_others(monitor: Any, monitors: Sequence[Any]) -> dict[str, set[str]]:
    """The shares that other monitors of one trainer log, by stage: of monitors with one prefix the first that has one.

    Raises:
        ValueError: if two monitors log a metric under one name.
    """
    found: dict[str, set[str]] = {}
    for stage in monitor.stages:
        others = [other for other in monitors if other is not monitor and stage in other.stages]
        for other in others:
            both = set(monitor.names(stage)) & set(other.names(stage))
            if both:
                raise ValueError(f"two monitors log {min(both)!r}: give one of them another prefix=")
        before = monitors[: monitors.index(monitor)]
        rivals = [one for one in before if one in others and one.prefix_of(stage) == monitor.prefix_of(stage)]
        found[stage] = {share for rival in rivals for share in rival.shares()}
    return found
