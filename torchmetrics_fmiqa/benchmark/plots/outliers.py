"""Images that a metric misjudges: their types, and what sets them apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torchmetrics_fmiqa.benchmark.analysis.outliers import FeatureTest, OutlierFinding
from torchmetrics_fmiqa.benchmark.plots.style import (
    ACCENT,
    DARK,
    GREY,
    PALETTE,
    axes,
    beside,
    heading,
    legend_at_bottom,
    name_rows,
    p_value,
    rows_height,
)

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
    share = {name: 100 * out / count for name, (out, count) in finding.by_type.items()}
    names = sorted(share, key=lambda name: share[name], reverse=True)
    ax = axes(ax, 7.0, rows_height(len(names)))
    ax.barh(range(len(names)), [share[name] for name in names], height=0.65, color=ACCENT)
    for place, name in enumerate(names):
        out, count = finding.by_type[name]
        beside(ax, place, f"{out} of {count}")
    all_images = 100 * finding.count / finding.n
    ax.axvline(all_images, color=DARK, linestyle="--", linewidth=1, label=f"all images: {all_images:.1f} %", gid="all")
    name_rows(ax, names)
    ax.set_xlim(left=0)
    ax.set_xlabel("images that the metric misjudges, in per cent of their type (lower is better)", fontsize=9)
    heading(ax, f"{finding.metric}: {finding.count} outliers among {finding.n} images", f"outlier: {finding.rule}")
    legend_at_bottom(ax)
    return ax


def plot_outlier_features(finding: OutlierFinding, ax: Axes | None = None) -> Axes:
    """Draw whether outliers have more of a property than inliers: over all images, and within types.

    0.5 is no difference. Filled markers are those with a Holm-corrected p below 0.05, the one that takes
    references for independent where it is known, else the one that takes images for it.

    Args:
        finding: of one metric, with tests of properties.
        ax: axes to draw into; by default those of a new figure.

    Raises:
        ValueError: without tests.
        ModuleNotFoundError: without matplotlib.

    >>> test = FeatureTest("colourfulness", "reference", 0.8, 0.001, 0.002, 6, 94, 1)
    >>> ax = plot_outlier_features(OutlierFinding("ours", "|z| > 2", 6, 100, {}, (test,), (), ()))
    >>> [line.get_xdata().tolist() for line in ax.get_lines() if line.get_gid() == "pooled"]
    [[0.8]]
    """
    tests = {"pooled": finding.pooled, "stratified": finding.stratified}
    rows = list(dict.fromkeys((one.feature, one.side) for found in tests.values() for one in found))
    if not rows:
        raise ValueError("no property was tested: run outlier_finding() with the `features` of the images")
    ax = axes(ax, 8.2, rows_height(len(rows)))
    for kind, found in tests.items():
        marker, colour, aside = _LOOKS[kind]
        for one in found:
            place = rows.index((one.feature, one.side))
            face = colour if _p(one) < 0.05 else "white"
            ax.plot([one.effect], [place + aside], marker, color=colour, markerfacecolor=face, markersize=6, gid=kind)
    kinds = [kind for kind, found in tests.items() if found]
    for place, row in enumerate(rows):
        p = {kind: [_p(one) for one in tests[kind] if (one.feature, one.side) == row] for kind in kinds}
        beside(ax, place, ", ".join(p_value(p[kind][0]) if p[kind] else "—" for kind in kinds))
    ax.axvline(0.5, color=DARK, linestyle="--", linewidth=1, gid="none")
    name_rows(ax, [f"{feature}, {side}" for feature, side in rows])
    ax.set_xlim(0, 1)
    ax.set_xlabel("chance that an outlier has more of it than an inlier (0.5 is no difference)", fontsize=9)
    clustered = any(not math.isnan(one.p_clustered_holm) for found in tests.values() for one in found)
    independent = "references" if clustered else "images"
    below = f"p: {', '.join(_WORDS[kind] for kind in kinds)}; Holm-corrected, {independent} taken for independent"
    heading(ax, f"{finding.metric}: what sets its outliers apart", below)
    legend_at_bottom(ax, handles=_handles(kinds), ncols=3)
    return ax


#: Of each kind of test: marker, colour, how far it is drawn from the middle of its row.
_LOOKS = {"pooled": ("o", ACCENT, -0.15), "stratified": ("D", PALETTE[1], 0.15)}
_WORDS = {"pooled": "over all images", "stratified": "within types of distortion"}


def _p(one: FeatureTest) -> float:
    return one.p_holm if math.isnan(one.p_clustered_holm) else one.p_clustered_holm


def _handles(kinds: list[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    handles: list[Any] = [
        Line2D([], [], linestyle="none", marker=_LOOKS[kind][0], color=_LOOKS[kind][1], label=_WORDS[kind])
        for kind in kinds
    ]
    hollow: dict[str, Any] = {"linestyle": "none", "marker": "o", "color": GREY, "markerfacecolor": "white"}
    handles.append(Line2D([], [], **hollow, label="hollow: p of .05 or more"))
    return handles
