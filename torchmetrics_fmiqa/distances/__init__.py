"""Distances between two sets of tokens: pure functions ``(N, T, C), (N, T, C) -> (N,)``, zero for equal inputs.

*Pointwise* distances compare position by position; *distribution* distances compare each channel's values over
positions. Pointwise ones and the divergences among the others have a map ``(N, T)``, whose mean is the distance.
The Wasserstein distances have none: they compare sorted values, and a value that has been sorted has lost its place.
All are non-negative, have finite gradients everywhere and expect at least float32 (the comparator raises half types).
Distances between two sets of images, a vector an image, are in ``frechet``, ``kernel`` and ``set_figures``.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from torchmetrics_fmiqa.distances.divergence import (
    jensen_shannon,
    jensen_shannon_map,
    symmetric_kl,
    symmetric_kl_map,
)
from torchmetrics_fmiqa.distances.pointwise import (
    angular_map,
    cosine_map,
    l2_map,
    mean_over_positions,
    normalized_l2_map,
)
from torchmetrics_fmiqa.distances.transport import sliced_wasserstein, wasserstein

#: The signature of a distance; a user's own callable has the same.
Distance = Callable[[Tensor, Tensor], Tensor]

#: Distances that compare position by position, as maps ``(N, T)``; they take weights of the channels too.
POINTWISE: dict[str, Callable[..., Tensor]] = {
    "l2": l2_map,
    "cosine": cosine_map,
    "angular": angular_map,
    "normalized_l2": normalized_l2_map,
}

#: Distances that compare distributions over positions, ``(N,)``.
DISTRIBUTION: dict[str, Distance] = {
    "wasserstein": wasserstein,
    "sliced_wasserstein": sliced_wasserstein,
    "jensen_shannon": jensen_shannon,
    "symmetric_kl": symmetric_kl,
}

#: Maps ``(N, T)`` of distributions over positions: each position's term times ``T``.
DIVERGENCES: dict[str, Callable[..., Tensor]] = {
    "jensen_shannon": jensen_shannon_map,
    "symmetric_kl": symmetric_kl_map,
}

#: Every distance that has a map, as its map ``(N, T)``; the mean of it is the distance.
MAPS: dict[str, Callable[..., Tensor]] = {**POINTWISE, **DIVERGENCES}


l2 = mean_over_positions(l2_map, "l2")
cosine = mean_over_positions(cosine_map, "cosine")
angular = mean_over_positions(angular_map, "angular")
normalized_l2 = mean_over_positions(normalized_l2_map, "normalized_l2")


def alternatives_to(distance: str | Distance, protocol: str) -> str:
    """What to take instead of a distance without a map, and why it has none: the end of an error message.

    >>> alternatives_to("wasserstein", "fmiqa").partition(" or 'symmetric_kl' ")[2]
    '(it compares sorted values, and a sorted value has lost its place)'
    """
    if protocol != "fmiqa":
        why = "the published distances are kept as they are"
    elif isinstance(distance, str):
        why = "it compares sorted values, and a sorted value has lost its place"
    else:
        why = "a callable gives one number an image"
    return f"take distance={' or '.join(map(repr, MAPS))} ({why})"


__all__ = [
    "DISTRIBUTION",
    "DIVERGENCES",
    "MAPS",
    "POINTWISE",
    "Distance",
    "alternatives_to",
    "angular",
    "angular_map",
    "cosine",
    "cosine_map",
    "jensen_shannon",
    "jensen_shannon_map",
    "l2",
    "l2_map",
    "normalized_l2",
    "normalized_l2_map",
    "sliced_wasserstein",
    "symmetric_kl",
    "symmetric_kl_map",
    "wasserstein",
]
