"""Names beside points, moved apart so that none hides another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from torchmetrics_fmiqa.benchmark.plots.style import DARK, GREY, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
# From a point's middle to the near edge of its label, in points.
_REACHES = (7, 11, 16, 24, 34, 46, 60)
# From here on a line is needed to tell whose label it is.
_FAR = 11


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

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.top - self.bottom)


def place_labels(ax: Axes, x: Sequence[float], y: Sequence[float], texts: Sequence[str], size: float = SMALL) -> None:
    """Write each text near its point, at the nearest place that is free, with a line to it where that is far.

    The limits of the axes must be settled: later changes move points under labels.
    """
    figure = ax.get_figure()
    while figure is not None and not hasattr(figure, "draw_without_rendering"):
        figure = figure.get_figure()  # a subfigure: the page is further up
    if figure is None:
        raise ValueError("`ax` belongs to no figure: take axes of a figure")
    # Only a layout tells where points are on the page.
    figure.draw_without_rendering()
    points = [(float(a), float(b)) for a, b in ax.transData.transform(list(zip(x, y, strict=True)))]
    pixel = figure.dpi / 72
    page = _Box(*ax.get_window_extent().extents)
    taken = [_Box.around(a, b, 8 * pixel, 8 * pixel) for a, b in points]
    for place, text in enumerate(texts):
        label = ax.annotate(
            text,
            (x[place], y[place]),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=size,
            color=DARK,
            parse_math=False,
        )
        extent = label.get_window_extent()
        middle = points[place]
        others = taken[:place] + taken[place + 1 :]
        box = min(
            (
                _Box.around(
                    middle[0] + right * (reach * pixel + extent.width / 2),
                    middle[1] + up * (reach * pixel + extent.height / 2),
                    extent.width,
                    extent.height,
                )
                for reach in _REACHES
                for right, up in _DIRECTIONS
            ),
            # The first of those that hide least, so the nearest.
            key=lambda box: sum(map(box.shared, others)) + box.area - box.shared(page),
        )
        taken.append(box)
        offset = ((box.left + box.right) / 2 - middle[0]) / pixel, ((box.bottom + box.top) / 2 - middle[1]) / pixel
        label.set_position(offset)
        gap = max(abs(offset[0]) - extent.width / pixel / 2, abs(offset[1]) - extent.height / pixel / 2)
        if gap > _FAR + 0.5:
            ax.annotate(
                "",
                (x[place], y[place]),
                xytext=offset,
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 6, "shrinkB": 3},
            )
