"""Images that a metric misjudges, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from torchmetrics_fmiqa.benchmark.plots.style import DARK, GREY, NORMAL, SMALL, axes, number, shorten
from torchmetrics_fmiqa.benchmark.study import GalleryItem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# In widths of a panel: between panels, and above a row of them, where its words are.
_GAP, _WORDS = 0.04, 0.15


def plot_gallery(items: Sequence[GalleryItem], ax: Axes | None = None) -> Axes:
    """Show references, images under test, where the metric sees them differ, and what people said against it.

    All maps share one scale, from 0 to the 99.5th percentile of them all.

    Args:
        items: the images, one row each.
        ax: axes to draw into; by default those of a new figure.

    Raises:
        ValueError: without an image.
        ModuleNotFoundError: without matplotlib.

    >>> import numpy as np
    >>> from torchmetrics_fmiqa.benchmark.analysis.outliers import WorstCase
    >>> case = WorstCase(0, "lake.png", "lake_blur.png", "blur", 4.1, 2.3, 3.2)
    >>> grey = np.full((8, 12, 3), 128, dtype=np.uint8)
    >>> ax = plot_gallery([GalleryItem(case, grey, grey, None)])
    >>> ax.texts[-1].get_text()
    '1. lake_blur.png (blur): people say 4.1, the metric predicts 2.3 (z = 3.2)'
    """
    if not items:
        raise ValueError("there is no image to show: run gallery() on an outlier_finding() that has outliers")
    heights = [max(image.shape[0] / image.shape[1] for image in (one.reference, one.distorted)) for one in items]
    total = sum(heights) + _WORDS * len(items)
    wide = 3 + 2 * _GAP
    inch = 3.0
    ax = axes(ax, inch * wide + 1.0, inch * total + 0.5)
    maps = [one.heat for one in items if one.heat is not None]
    top = max(float(np.quantile(np.concatenate([heat.ravel() for heat in maps]), 0.995)), 1e-12) if maps else 1.0
    for column, name in enumerate(("reference", "distorted", "where the metric sees them differ")):
        ax.text(column * (1 + _GAP) + 0.5, 0.01, name, ha="center", va="bottom", fontsize=NORMAL, zorder=3)
    shades = None
    above = 0.0
    for count, (one, height) in enumerate(zip(items, heights, strict=True), 1):
        start = above + _WORDS
        for column, image in enumerate((one.reference, one.distorted)):
            ax.imshow(image, extent=_place(column, start, image.shape))
        place = _place(2, start, one.distorted.shape)
        if one.heat is None:
            ax.text(
                2.5 + 2 * _GAP, start + height / 2, "this metric has no map", ha="center", color=GREY, fontsize=SMALL
            )
        else:
            ax.imshow(one.distorted.mean(-1), extent=place, cmap="gray", vmin=0, vmax=255)
            shades = ax.imshow(one.heat, extent=place, cmap="inferno", alpha=0.72, vmin=0, vmax=top)
        kind = f" ({shorten(one.case.type, 24)})" if one.case.type else ""
        words = (
            f"{count}. {shorten(one.case.dist, 36)}{kind}: people say {one.case.opinion:.3g}, "
            f"the metric predicts {one.case.predicted:.3g} (z = {number(one.case.z, 1)})"
        )
        ax.text(0, start - 0.025, words, fontsize=SMALL + 0.5, color=DARK, va="bottom", parse_math=False)
        above = start + height
    ax.set_xlim(0, wide)
    ax.set_ylim(above, -0.08)
    ax.set_aspect("equal")
    ax.set_axis_off()
    if shades is not None:
        bar = ax.figure.colorbar(
            shades, ax=ax, fraction=0.03, pad=0.02, aspect=12, shrink=min(1.0, heights[0] / total), anchor=(0, 1)
        )
        bar.set_label("distance (lower is closer)", fontsize=SMALL)
        bar.ax.tick_params(labelsize=SMALL)
    return ax


def _place(column: int, top: float, shape: Sequence[int]) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of an image that is one wide."""
    left = column * (1 + _GAP)
    return left, left + 1, top + shape[0] / shape[1], top
