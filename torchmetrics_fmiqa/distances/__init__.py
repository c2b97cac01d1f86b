"""Distances between two sets of tokens: pure functions ``(N, T, C), (N, T, C) -> (N,)``, zero for equal inputs.

*Pointwise* distances compare position by position and have a map ``(N, T)``; *distribution* distances compare each
channel's values over positions, wherever in the image they are. All are non-negative, have finite gradients everywhere
and expect at least float32 (the comparator raises half types).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from torchmetrics_fmiqa.distances.divergence import jensen_shannon, symmetric_kl
from torchmetrics_fmiqa.distances.pointwise import angular_map, cosine_map, l2_map, mean_over_positions
from torchmetrics_fmiqa.distances.transport import sliced_wasserstein, wasserstein

#: The signature of a distance; a user's own callable has the same.
Distance = Callable[[Tensor, Tensor], Tensor]

#: Distances that compare position by position, as maps ``(N, T)``.
POINTWISE: dict[str, Distance] = {"l2": l2_map, "cosine": cosine_map, "angular": angular_map}

#: Distances that compare distributions over positions, ``(N,)``.
DISTRIBUTION: dict[str, Distance] = {
    "wasserstein": wasserstein,
    "sliced_wasserstein": sliced_wasserstein,
    "jensen_shannon": jensen_shannon,
    "symmetric_kl": symmetric_kl,
}

l2 = mean_over_positions(l2_map, "l2")
cosine = mean_over_positions(cosine_map, "cosine")
angular = mean_over_positions(angular_map, "angular")

__all__ = [
    "DISTRIBUTION",
    "POINTWISE",
    "Distance",
    "angular",
    "angular_map",
    "cosine",
    "cosine_map",
    "jensen_shannon",
    "l2",
    "l2_map",
    "sliced_wasserstein",
    "symmetric_kl",
    "wasserstein",
]
