"""Is a good classifier a good judge of images?"""

from __future__ import annotations

import math
from textwrap import fill
from typing import TYPE_CHECKING

from torchmetrics_fmiqa.benchmark.analysis.imagenet_accuracy import AccuracyFinding
from torchmetrics_fmiqa.benchmark.plots.labels import place_labels
from torchmetrics_fmiqa.benchmark.plots.style import (
    MARKERS,
    PALETTE,
    SMALL,
    axes,
    for_legend,
    heading,
    legend_at_right,
    number,
    open_frame,
    p_value,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    known = [
        place
        for place, (x, y) in enumerate(zip(finding.top1, finding.values, strict=True))
        if math.isfinite(x) and math.isfinite(y)
    ]
    if not known:
        raise ValueError("there is no backbone to draw: run accuracy_finding() on metrics whose top-1 is known")
    x, y = [finding.top1[place] for place in known], [finding.values[place] for place in known]
    ax = axes(ax, 7.2, 5.2)
    kinds = [finding.kinds[place] for place in known] if finding.kinds else ["backbone"] * len(known)
    for at, kind in enumerate(sorted(set(kinds))):
        mine = [place for place, other in enumerate(kinds) if other == kind]
        ax.plot(
            [x[place] for place in mine],
            [y[place] for place in mine],
            linestyle="none",
            marker=MARKERS[at],
            color=PALETTE[at],
            markersize=6,
            label=for_legend(kind),
            gid="backbones",
        )
    ax.margins(0.12)
    sure = "too few backbones for rho"
    below = f"{len(known)} backbones, each by its best metric"
    if not math.isnan(finding.rho):
        sure = f"rho = {number(finding.rho, 2)}, {p_value(finding.p)}"
        if not math.isnan(finding.interval[0]):
            below += f"; 95 % interval of rho [{number(finding.interval[0], 2)}, {number(finding.interval[1], 2)}]"
    if len(known) < len(finding.backbones):
        below += f"; {len(finding.backbones) - len(known)} without a value not shown"
    heading(ax, f"{finding.what} against ImageNet accuracy: {sure}", below)
    note = f"\n{fill(finding.note, 110)}" if finding.note else ""
    ax.set_xlabel(f"ImageNet top-1 accuracy in per cent (higher is better){note}", fontsize=SMALL, parse_math=False)
    ax.set_ylabel(f"{finding.what} (higher is better)", fontsize=9, parse_math=False)
    open_frame(ax)
    if finding.kinds:
        legend_at_right(ax, title="top-1 by", title_fontsize=SMALL)
    place_labels(ax, x, y, [shorten(finding.backbones[place], 32) for place in known])
    return ax
