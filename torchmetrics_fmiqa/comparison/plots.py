"""Pictures of a comparison for papers: the perception-distortion plane, and paired differences image by image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchmetrics_fmiqa.benchmark.plots import style
from torchmetrics_fmiqa.comparison.advantages import advantages, plane_metrics
from torchmetrics_fmiqa.comparison.scores import MethodScores
from torchmetrics_fmiqa.report.numbers import counted, percent
from torchmetrics_fmiqa.report.svg import MOST_BARS
from torchmetrics_fmiqa.statistics.paired import PairedStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_plane(
    scores: MethodScores,
    statistics: PairedStatistics,
    quality: str | None = None,
    distance: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the methods' means by two metrics, with their intervals.

    Args:
        scores: of all images.
        statistics: of the scores.
        quality: the metric across; by default PSNR, or else the first quality.
        distance: the metric upwards; by default the first distance.
        ax: axes to draw into; by default those of a new figure.

    Raises:
        ValueError: for a metric that there is not, or without a quality and a distance to choose by default.
        ModuleNotFoundError: without matplotlib.
    """
    default = plane_metrics(scores)
    if default is None and (quality is None or distance is None):
        raise ValueError(f"the plane needs a quality such as psnr and a distance: there is {', '.join(scores.metrics)}")
    across, up = (
        default[place] if name is None and default else _place(name or "", scores.metrics, "metric")
        for place, name in enumerate((quality, distance))
    )
    ax = style.axes(ax, 6.4, 4.4)
    for method, name in enumerate(scores.methods):
        x, y = (float(statistics.mean[method, k]) for k in (across, up))
        below, above = statistics.mean - statistics.low, statistics.high - statistics.mean
        errors = [[[float(side[method, k])] for side in (below, above)] for k in (across, up)]
        colour = style.PALETTE[method % len(style.PALETTE)]
        marker = style.MARKERS[method % len(style.MARKERS)]
        ax.errorbar(x, y, errors[1], errors[0], fmt=marker, color=colour, elinewidth=0.8, markersize=6)
        style.annotate(ax, name, (x, y), (6, 5), color=colour)
    for axis, place in ((ax.set_xlabel, across), (ax.set_ylabel, up)):
        direction = "higher" if scores.metrics[place] in scores.qualities else "lower"
        axis(f"{scores.metrics[place]} ({direction} is better)", fontsize=style.NORMAL, parse_math=False)
    images = counted(int(min(statistics.images[across], statistics.images[up])), "image")
    style.heading(ax, f"{scores.metrics[up]} against {scores.metrics[across]}", f"means of {images}, 95 % intervals")
    style.open_frame(ax)
    return ax


def plot_differences(
    scores: MethodScores,
    statistics: PairedStatistics,
    first: str,
    second: str,
    metric: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how much better one method is than another on each image, from its greatest gain to its greatest loss.

    Of more than 200 images quantiles are drawn.

    Args:
        scores: of all images.
        statistics: of the scores.
        first: a method; above zero it is better.
        second: another method.
        metric: by default the first.
        ax: axes to draw into; by default those of a new figure.

    Raises:
        ValueError: for a method or metric that there is not, and where no image has a score by all methods.
        ModuleNotFoundError: without matplotlib.
    """
    one, other = (_place(name, scores.methods, "method") for name in (first, second))
    k = _place(scores.metrics[0] if metric is None else metric, scores.metrics, "metric")
    gained = np.sort(advantages(scores, one, other, k))[::-1]
    if not len(gained):
        raise ValueError(f"no image has a score by {scores.metrics[k]!r} of all methods")
    count = len(gained)
    shown = gained if count <= MOST_BARS else np.quantile(gained, np.linspace(1, 0, MOST_BARS))
    ax = style.axes(ax, 6.4, 3.2)
    colours = np.where(shown > 0, style.ACCENT, style.GREY)
    ax.bar((np.arange(len(shown)) + 0.5) / len(shown) * count, shown, 0.9 * count / len(shown), color=list(colours))
    ax.axhline(0, color="black", linewidth=0.8)
    ax.locator_params(axis="x", integer=True)
    ax.set_xlabel("images, sorted", fontsize=style.NORMAL)
    ax.set_ylabel(f"gain by {scores.metrics[k]}", fontsize=style.NORMAL, parse_math=False)
    won, settled = float(statistics.won[one, other, k]), int(statistics.settled[one, other, k])
    verdict = "tied" if not settled else f"{first if settled > 0 else second} is better"
    style.heading(
        ax,
        f"{first} against {second}",
        f"better on {percent(won)} of {counted(count, 'image')}; in the mean: {verdict}",
    )
    style.open_frame(ax)
    return ax


def _place(name: str, known: tuple[str, ...], what: str) -> int:
    if name not in known:
        raise ValueError(f"there is no {what} {name!r}: there is {', '.join(known)}")
    return known.index(name)
