"""Is a good classifier a good judge of images?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

from torchmetrics_fmiqa.benchmark.analysis.imagenet_accuracy import AccuracyFinding
from torchmetrics_fmiqa.benchmark.plots import style
from torchmetrics_fmiqa.report.numbers import number, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
# From a point's middle to the near edge of its label, in points. From _FAR on a line tells whose label it is.
_REACHES = (7, 11, 16, 24, 34, 46, 60)
_FAR = 11


def plot_accuracy(finding: AccuracyFinding, ax: Axes | None = None) -> Axes:
    """Draw a figure of each backbone's best metric against the backbone's ImageNet top-1 accuracy.

    Points have the colour and shape of the kind of their accuracy: kinds are not one scale.

    Args:
        finding: of :func:`~torchmetrics_fmiqa.benchmark.analysis.imagenet_accuracy.accuracy_finding`.
        ax: axes to draw into; by default those of a new figure.

    Raises:
        ValueError: without a backbone.
        ModuleNotFoundError: without matplotlib.

    >>> finding = AccuracyFinding(
    ...     "SRCC", ("a", "b", "c", "d"), ("a_l2", "b_l2", "c_l2", "d_l2"), (60.0, 70.0, 75.0, 80.0),
    ...     (0.7, 0.9, 0.8, 0.85), 0.4, 0.75, (-1.0, 1.0), "4 backbones only"
    ... )
    >>> plot_accuracy(finding).get_title(loc="left")
    'SRCC against ImageNet accuracy: rho = .40, p = .750'
    """
    kinds = finding.kinds or ("backbone",) * len(finding.backbones)
    every = zip(finding.top1, finding.values, kinds, finding.backbones, strict=True)
    points = [point for point in every if math.isfinite(point[0]) and math.isfinite(point[1])]
    if not points:
        raise ValueError("there is no backbone to draw: run accuracy_finding() on metrics whose top-1 is known")
    ax = style.axes(ax, 7.2, 5.2)
    for place, kind in enumerate(sorted({point[2] for point in points})):
        xs, ys = zip(*(point[:2] for point in points if point[2] == kind), strict=True)
        look = {"marker": style.MARKERS[place], "color": style.PALETTE[place], "markersize": 6, "gid": "backbones"}
        ax.plot(xs, ys, linestyle="none", label=style.for_legend(kind), **look)  # type: ignore[arg-type]
    ax.margins(0.12)
    relation = "too few backbones for rho"
    subtitle = f"{len(points)} backbones, each by its best metric"
    if not math.isnan(finding.rho):
        relation = f"rho = {number(finding.rho, 2)}, {style.p_value(finding.p)}"
        interval = span(*finding.interval, 2)
        subtitle += f"; 95 % interval of rho {interval}" if interval else ""
    if len(points) < len(finding.backbones):
        subtitle += f"; {len(finding.backbones) - len(points)} without a value not shown"
    style.heading(ax, f"{finding.what} against ImageNet accuracy: {relation}", subtitle)
    note = f"\n{fill(finding.note, 110)}" if finding.note else ""
    label = f"ImageNet top-1 accuracy in per cent (higher is better){note}"
    ax.set_xlabel(label, fontsize=style.SMALL, parse_math=False)
    ax.set_ylabel(f"{finding.what} (higher is better)", fontsize=style.NORMAL, parse_math=False)
    style.open_frame(ax)
    if finding.kinds:
        style.legend_at_right(ax, title="top-1 by", title_fontsize=style.SMALL)
    _write_labels(ax, [(x, y) for x, y, *_ in points], [style.shorten(point[3], 32) for point in points])
    return ax


class _Box(NamedTuple):
    """A rectangle on the page, in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> _Box:
        return cls(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    def shared(self, other: _Box) -> float:
        """Area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)


def _write_labels(ax: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str]) -> None:
    """Write each text near its point, at the nearest place that is free, with a line to it where that is far.

    The limits of the axes must be settled: later changes move points under labels.
    """
    figure = ax.figure.figure  # the page, not a subfigure
    figure.draw_without_rendering()  # only a layout tells where points are on it
    places = [(float(x), float(y)) for x, y in ax.transData.transform(points)]
    pixel = figure.dpi / 72
    page = _Box(*ax.get_window_extent().extents)
    taken = [_Box.around(x, y, 8 * pixel, 8 * pixel) for x, y in places]
    for index, ((x, y), point, text) in enumerate(zip(places, points, texts, strict=True)):
        label = style.annotate(ax, text, point, (0, 0), ha="center", va="center")
        size = label.get_window_extent()
        others = taken[:index] + taken[index + 1 :]

        def hidden(box: _Box, others: list[_Box] = others) -> float:
            return sum(map(box.shared, others)) + box.shared(box) - box.shared(page)

        steps = [(reach * pixel, *direction) for reach in _REACHES for direction in _DIRECTIONS]
        offsets = [(right * (r + size.width / 2), up * (r + size.height / 2)) for r, right, up in steps]
        # The first of those that hide least, so the nearest.
        right, up = min(offsets, key=lambda o: hidden(_Box.around(x + o[0], y + o[1], size.width, size.height)))
        taken.append(_Box.around(x + right, y + up, size.width, size.height))
        label.set_position((right / pixel, up / pixel))
        if max(abs(right) - size.width / 2, abs(up) - size.height / 2) > (_FAR + 0.5) * pixel:
            line = {"arrowstyle": "-", "color": style.GREY, "linewidth": 0.5, "shrinkA": 6, "shrinkB": 3}
            style.annotate(ax, "", point, (right / pixel, up / pixel), arrowprops=line)
