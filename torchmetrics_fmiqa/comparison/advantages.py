"""What pictures of a comparison are drawn from: advantages image by image, and the two metrics of the plane."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.comparison.scores import MethodScores
from torchmetrics_fmiqa.statistics.inputs import Floats


def advantages(scores: MethodScores, first: int, second: int, metric: int) -> Floats:
    """How much better the first method is than the second on each image, in the metric's unit.

    Args:
        scores: of all images.
        first: place of a method.
        second: place of another one.
        metric: place of the metric.

    Returns:
        ``(n,)``, positive where the first is better, of the images that all methods have a score of: the images that
        the statistics are of.
    """
    known = scores.values[:, metric][:, scored_images(scores, metric)]
    difference: Floats = known[first] - known[second]
    return difference if scores.metrics[metric] in scores.qualities else -difference


def scored_images(scores: MethodScores, metric: int) -> npt.NDArray[np.int64]:
    """Places of the images that all methods have a finite score of, by a metric."""
    return np.flatnonzero(np.isfinite(scores.values[:, metric]).all(0))


def plane_metrics(scores: MethodScores) -> tuple[int, int] | None:
    """Places of the two metrics of the perception-distortion plane; ``None`` without a quality and a distance.

    Across goes PSNR, or else the first quality. Upwards goes the first metric, or the first distance if that is a
    quality.

    >>> names = ("default", "ssim", "psnr_y")
    >>> plane_metrics(MethodScores(("a", "b"), names, frozenset(names[1:]), (), np.empty((2, 3, 0))))
    (2, 0)
    """
    qualities = [place for place, name in enumerate(scores.metrics) if name in scores.qualities]
    distances = [place for place, name in enumerate(scores.metrics) if name not in scores.qualities]
    if not qualities or not distances:
        return None
    psnr = [place for place in qualities if scores.metrics[place].startswith("psnr")]
    return (psnr or qualities)[0], distances[0]
