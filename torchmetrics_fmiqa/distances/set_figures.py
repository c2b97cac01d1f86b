"""A distance between two sets of images with what its number of images leaves open: its bias, and its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torchmetrics_fmiqa.distances.frechet import Moments, frechet_distance
from torchmetrics_fmiqa.distances.kernel import Kernel, kernel_sums
from torchmetrics_fmiqa.statistics.jackknife import grouped_jackknife

#: With fewer images a side, figures of sets are mostly noise.
FEW = 2000
#: Folds that are left out in turn for an interval.
FOLDS = 10
#: A Fréchet distance is extrapolated from so many images a channel on: with fewer, its bias does not fall as 1 / n.
IMAGES_A_CHANNEL = 2


@dataclass(frozen=True)
class SetFigure:
    """A distance between two sets of images.

    Args:
        value: of the images that are there.
        extrapolated: what it would be of infinitely many images: for an unbiased estimate the value itself; NaN where
            nothing can be said.
        low: lower limit of its 95 % interval; NaN where nothing can be said, or nobody asked.
        high: upper limit.
    """

    value: float
    extrapolated: float = math.nan
    low: float = math.nan
    high: float = math.nan


def few_images(count: int) -> str:
    """A warning, with the number in it, of sets that are too small for a figure to mean much; empty for others.

    >>> few_images(200)[:47], few_images(2000)
    ('figures of 200 images a side are mostly noise: ', '')
    """
    if count >= FEW:
        return ""
    return (
        f"figures of {count:,} images a side are mostly noise: from {FEW:,} on distances between sets begin to tell "
        "models apart; compare images one by one with their references instead"
    )


def fold_of(count: int, start: int = 0) -> Tensor:
    """The fold of each of ``count`` images, in turn; ``start`` images came before them."""
    return (torch.arange(count) + start) % FOLDS


def frechet_figure(preds: Moments, target: Moments) -> SetFigure:
    """Fréchet distance of two sets, and with folds its extrapolation to infinitely many images with an interval.

    Its bias is ``b / n`` where there are many more images than channels (Chong and Forsyth, "Effectively unbiased FID",
    CVPR 2020), and the grouped jackknife takes that part off. Below 2 images a channel it is another law, and both are
    NaN. The lower limit is at least 0, as the distance is.

    Args:
        preds: moments of each fold; a single one gives the value alone.
        target: likewise. A single one beside several is taken as certain: its images' share of bias and error stays.

    >>> from torchmetrics_fmiqa.distances.frechet import moments
    >>> preds, target = torch.randn(2, 4000, 3, generator=torch.Generator().manual_seed(0))
    >>> found = frechet_figure(*(moments(side, fold_of(4000), FOLDS) for side in (preds + 1, target)))
    >>> found.low < 3 < found.high < 3.5  # what it is between the Gaussians that they were drawn from
    True
    """
    wholes = preds.joined(), target.joined()
    if min(float(whole.size) for whole in wholes) < 2:
        return SetFigure(math.nan)
    value = float(frechet_distance(*wholes))
    folds, channels = len(preds.size), preds.mean.shape[-1]
    fewest = min(float(whole.size) for whole in wholes)
    if folds == 1 or fewest < max(IMAGES_A_CHANNEL * channels, 2 * folds):
        return SetFigure(value)
    paired = len(target.size) == folds  # images of one fold may be pairs: they are left out together
    without = [
        float(frechet_distance(preds.without(fold), target.without(fold) if paired else wholes[1]))
        for fold in range(folds)
    ]
    found = grouped_jackknife(value, without)
    low, high = found.extrapolated - found.margin, found.extrapolated + found.margin
    return SetFigure(value, found.extrapolated, max(low, 0.0), max(high, 0.0))


def kernel_figure(
    preds: Tensor,
    target: Tensor,
    kernel: Kernel,
    unbiased: bool = True,
    interval: bool = True,
    folds: tuple[Tensor, Tensor] | None = None,
) -> SetFigure:
    """Squared MMD of two sets, and its interval by the grouped jackknife.

    Args:
        preds: features ``(N, C)``.
        target: features ``(M, C)``.
        kernel: the kernel.
        unbiased: whether an image is not counted with itself. The biased estimate has no interval.
        interval: whether the interval is wanted.
        folds: the fold of each image; ``None`` for :func:`fold_of`. Images of one fold may be pairs.

    >>> sides = torch.randn(2, 300, 3, generator=torch.Generator().manual_seed(0)).unbind()
    >>> found = kernel_figure(*sides, Kernel("rbf", sigma=1.0))
    >>> found.low < 0 < found.high
    True
    """
    if min(len(preds), len(target)) < 2:
        return SetFigure(math.nan)
    interval = interval and unbiased and min(len(preds), len(target)) >= 2 * FOLDS
    if not interval:
        alone = preds.new_zeros(len(preds), dtype=torch.long), target.new_zeros(len(target), dtype=torch.long)
        value = float(kernel_sums(preds, target, kernel, alone, 1).mmd(unbiased))
        return SetFigure(value, value if unbiased else math.nan)
    given = folds or (fold_of(len(preds)), fold_of(len(target)))
    places = given[0].to(preds.device), given[1].to(target.device)
    sums = kernel_sums(preds, target, kernel, places, FOLDS)
    value = float(sums.mmd())
    margin = grouped_jackknife(value, np.asarray(sums.mmd_without().tolist())).margin
    return SetFigure(value, value, value - margin, value + margin)
