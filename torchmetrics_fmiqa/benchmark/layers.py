"""Agreement against depth: intermediate features or the final ones, the heart of ZS-IQA."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerCurve:
    """SRCC of each tap of a metric with human opinion.

    Args:
        metric: the metric.
        taps: names of the taps, shallow to deep.
        srcc: of each tap alone.
        low: lower ends of the 95 % intervals (bootstrap over references).
        high: upper ends.
        joined: SRCC of the metric itself, all taps joined.
        final_p: Holm-corrected paired p-value of the metric against its last tap; NaN where that cannot be told.
    """

    metric: str
    taps: tuple[str, ...]
    srcc: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    joined: float
    final_p: float
