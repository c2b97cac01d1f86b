"""Lightning callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmetrics_fmiqa.lazy_names import lazy_names

if TYPE_CHECKING:
    from torchmetrics_fmiqa.callbacks.monitor import ImageQualityMonitor

__all__ = ["ImageQualityMonitor"]

__getattr__ = lazy_names(__name__, {"ImageQualityMonitor": "callbacks.monitor"})


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
