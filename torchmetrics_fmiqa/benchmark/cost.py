"""What a metric costs: time for a megapixel, and parameters."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Cost of a metric, alone, on one pair.

    Args:
        metric: the metric.
        seconds_per_megapixel: median over repeats, of a pair, on this machine: compare within one table only.
        parameters: of its network, in millions.
    """

    metric: str
    seconds_per_megapixel: float
    parameters: float
