"""Can a metric serve as a loss? Finite gradients, zero for equal images, symmetry, order of distortion levels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Usefulness:
    """How a metric does as a loss, each in [0, 1].

    Args:
        metric: the metric.
        finite_gradient: share of trying pairs (equal, black, constant, natural) whose gradient with respect to
            ``preds`` is finite everywhere and, for unequal images, not zero everywhere; 0 if no gradient flows.
        identity: share of images for which the metric of the image with itself is its best value (and, for a
            distance, 0 to 1e-6 of its spread).
        symmetry: 1 - mean |d(x, y) - d(y, x)| / mean |d|, at least 0.
        monotone: share of graded distortion series (blur, noise, JPEG ...) in which the score falls or rises strictly
            with the level, by pairs of neighbouring levels.
    """

    metric: str
    finite_gradient: float
    identity: float
    symmetry: float
    monotone: float
