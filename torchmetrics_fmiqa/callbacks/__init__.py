"""Lightning callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmetrics_fmiqa.lazy_names import lazy_names

if TYPE_CHECKING:
    from torchmetrics_fmiqa.callbacks.monitor import ImageQualityMonitor
    from torchmetrics_fmiqa.callbacks.pair_score_writer import PairScoreWriter

__all__ = ["ImageQualityMonitor", "PairScoreWriter"]

_HOMES = {"ImageQualityMonitor": "callbacks.monitor", "PairScoreWriter": "callbacks.pair_score_writer"}

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
