"""The aggregate of all that one wants from a metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Factor:
    """One thing that one wants from a metric.

    Args:
        name: column name, such as ``"rank_agreement"``.
        label: the name in reports.
        weight: its default weight; all are divided by the sum of those that a metric has.
        meaning: how its value in [0, 1] is made, in words.
    """

    name: str
    label: str
    weight: float
    meaning: str


@dataclass(frozen=True)
class Desirability:
    """The factors of metrics, condensed.

    Args:
        metrics: ``M`` names, by group and falling aggregate.
        factors: ``F`` factors that at least one metric has.
        values: ``(M, F)`` in [0, 1], NaN where missing.
        aggregate: ``(M,)`` in [0.01, 1].
        group: ``(M,)`` number of the set of factors that a metric has, 0 for the largest group; only metrics of one
            group are ranked together.
        rank: ``(M,)`` place within the group, from 1; ties share the better place.
        without: ``(M, F)`` the same with one factor left out.
        rank_interval: ``(M, 2)`` 95 % of the places under random weights.
        first_share: ``(M,)`` share of random weights under which the metric comes first in its group.
        draws: number of random weights.
    """

    metrics: tuple[str, ...]
    factors: tuple[Factor, ...]
    values: npt.NDArray[np.float64]
    aggregate: npt.NDArray[np.float64]
    group: npt.NDArray[np.int64]
    rank: npt.NDArray[np.int64]
    without: npt.NDArray[np.int64]
    rank_interval: npt.NDArray[np.float64]
    first_share: npt.NDArray[np.float64]
    draws: int
