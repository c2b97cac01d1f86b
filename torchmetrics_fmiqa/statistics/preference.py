"""Agreement with human choices: the two tests of BAPPS (Zhang et al., CVPR 2018)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.statistics.inputs import Floats, column


def two_afc(distance_0: npt.ArrayLike, distance_1: npt.ArrayLike, preferred_1: npt.ArrayLike) -> float:
    """Two-alternative forced choice: the mean share of people who choose as the metric does, in [0, 1].

    The metric chooses the image with the smaller distance from the reference. It scores the share of people who chose
    the same image; equal distances score one half. People disagree, so a perfect metric stays below 1.

    Args:
        distance_0: ``(n,)`` distances of image 0 from the reference, lower is closer.
        distance_1: ``(n,)`` distances of image 1.
        preferred_1: ``(n,)`` share of people who judged image 1 closer, in [0, 1].

    Raises:
        ValueError: if the columns differ in length or are empty, distances are NaN, or shares leave [0, 1].

    >>> two_afc([0.1, 0.5, 0.3], [0.2, 0.4, 0.3], [0.0, 0.8, 1.0]).__round__(4)
    0.7667
    """
    first = _distances(distance_0, "distance_0")
    second = _distances(distance_1, "distance_1", len(first))
    share = _shares(preferred_1, "preferred_1", len(first))
    return float(np.where(first < second, 1 - share, np.where(second < first, share, 0.5)).mean())


def jnd_map(distances: npt.ArrayLike, same: npt.ArrayLike) -> float:
    """Just noticeable differences: the area under precision and recall of "people see no difference", in [0, 1].

    This follows the LPIPS code. The pairs are sorted by distance, with recall and precision after each. Precision is
    made non-increasing, and the area is summed exactly. Unlike there, pairs of equal distance enter together, so their
    order does not matter.

    Args:
        distances: ``(n,)`` distances between the two images of each pair.
        same: ``(n,)`` share of people who took them for the same, in [0, 1].

    Raises:
        ValueError: if the columns differ in length or are empty, distances are NaN, shares leave [0, 1] or are all 0.

    >>> jnd_map([0.1, 0.2, 0.3, 0.4], [1.0, 0.0, 1.0, 0.0]).__round__(4)
    0.8333
    """
    distance = _distances(distances, "distances")
    share = _shares(same, "same", len(distance))
    if not share.any():
        raise ValueError("`same` is 0 for all pairs: without a pair that someone took for the same there is no recall")
    order = np.argsort(distance, kind="stable")
    last = np.append(np.diff(distance[order]) > 0, True)
    hits = np.cumsum(share[order])[last]
    seen = (np.flatnonzero(last) + 1).astype(np.float64)
    precision = np.maximum.accumulate((hits / seen)[::-1])[::-1]
    return float((np.diff(hits / hits[-1], prepend=0.0) * precision).sum())


def _distances(values: npt.ArrayLike, name: str, count: int | None = None) -> Floats:
    array = column(values, name, count)
    if len(array) == 0 or np.isnan(array).any():
        raise ValueError(f"`{name}` must hold numbers, got {'none' if len(array) == 0 else 'NaN'}")
    return array


def _shares(values: npt.ArrayLike, name: str, count: int) -> Floats:
    array = column(values, name, count)
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"`{name}` must be shares of people in [0, 1], got {array[~((array >= 0) & (array <= 1))][0]}")
    return array
