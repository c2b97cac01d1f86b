"""Which types of distortion a metric misjudges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmetrics_fmiqa.benchmark.analysis.outliers import OutlierFinding
from torchmetrics_fmiqa.benchmark.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_outliers(finding: OutlierFinding, ax: Axes | None = None) -> Axes:
    """Draw the share of outliers among the images of each type, the highest at the top, and that among all images.

    Args:
        finding: of one metric, on a table with types.
        ax: axes to draw into; by default those of a new figure.

    Raises:
        ValueError: without types.
        ModuleNotFoundError: without matplotlib.

    >>> finding = OutlierFinding("ours", "|z| > 2", 6, 100, {"blur": (1, 50), "blocks": (5, 50)}, (), (), ())
    >>> ax = plot_outliers(finding)
    >>> [label.get_text() for label in ax.get_yticklabels()], [float(bar.get_width()) for bar in ax.patches]
    (['blocks', 'blur'], [10.0, 2.0])
    """
    if not finding.by_type:
        raise ValueError(
            "there are no types to tell apart: read the table with `type` or `type_from`, and analyse() it"
        )
    share = {name: 100 * outliers / images for name, (outliers, images) in finding.by_type.items()}
    names = sorted(share, key=share.__getitem__, reverse=True)
    ax = style.axes(ax, 7.0, style.rows_height(len(names)))
    ax.barh(range(len(names)), [share[name] for name in names], height=0.65, color=style.ACCENT)
    for row, name in enumerate(names):
        style.write_beside(ax, row, "{} of {}".format(*finding.by_type[name]))
    overall = 100 * finding.count / finding.n
    ax.axvline(overall, color=style.DARK, linestyle="--", linewidth=1, label=f"all images: {overall:.1f} %", gid="all")
    style.name_rows(ax, names)
    ax.set_xlim(left=0)
    label = "images that the metric misjudges, in per cent of their type (lower is better)"
    ax.set_xlabel(label, fontsize=style.NORMAL)
    title = f"{finding.metric}: {finding.count} outliers among {finding.n} images"
    style.heading(ax, title, f"outlier: {finding.rule}")
    style.legend_at_bottom(ax)
    return ax
