"""Draw a comparison with matplotlib: reference, image under test, heat map, and the distance at each tap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.safe_write import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """Make a figure without a window.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "pictures need matplotlib: pip install 'torchmetrics-fmiqa[plot]'", name="matplotlib"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def comparison_figure(
    target: Tensor, preds: Tensor, heat: Tensor, per_tap: Mapping[str, float], score: float, title: str, unit: str
) -> Figure:
    """Draw reference, image under test, the heat map over it, and the distance of each tap.

    Args:
        target: reference ``(3, H, W)`` in [0, 1].
        preds: image under test ``(3, H, W)`` in [0, 1].
        heat: map of distances ``(H, W)``, at least 0.
        per_tap: distance of each tap, in order of depth.
        score: score of the pair.
        title: title of the figure.
        unit: name of the distance, for the axes.
    """
    height, width = target.shape[1:]
    panel = 4.2
    figure = new_figure(3 * panel + 0.8, panel * max(0.45, min(1.4, height / width)) + 2.9)
    figure.suptitle(printable(title), fontsize=12, parse_math=False)
    rows = figure.add_gridspec(2, 3, height_ratios=[panel * max(0.45, min(1.4, height / width)), 1.9])
    images = [figure.add_subplot(rows[0, column]) for column in range(3)]
    show_image(images[0], target, "reference")
    show_image(images[1], preds, f"distorted: {unit} distance {score:.4g}")
    shades = show_heat(images[2], preds, heat, "where they differ")
    figure.colorbar(shades, ax=images[2], shrink=0.85, label=_no_formula(f"{unit} distance"))
    bars = figure.add_subplot(rows[1, :])
    draw_taps(bars, per_tap, unit)
    return figure


def show_image(axis: Any, image: Tensor, title: str) -> None:
    """Show an image ``(3, H, W)`` in [0, 1]."""
    axis.imshow(image.detach().clamp(0, 1).permute(1, 2, 0).cpu().numpy())
    axis.set_title(printable(title), fontsize=10, parse_math=False)
    axis.set_axis_off()


def show_heat(axis: Any, image: Tensor, heat: Tensor, title: str, top: float | None = None) -> Any:
    """Show a map ``(H, W)`` over a grey image, on a scale from 0 to ``top``, by default its 99.5th percentile."""
    grey = image.detach().clamp(0, 1).mean(0).cpu()
    values = heat.detach().cpu()
    if top is None:
        top = float(torch.quantile(values.flatten()[:: max(1, values.numel() // 1_000_000)].double(), 0.995))
    axis.imshow(grey.numpy(), cmap="gray", vmin=0, vmax=1)
    shades = axis.imshow(values.numpy(), cmap="inferno", alpha=0.72, vmin=0, vmax=max(top, 1e-12))
    axis.set_title(printable(title), fontsize=10, parse_math=False)
    axis.set_axis_off()
    return shades


def draw_taps(axis: Any, per_tap: Mapping[str, float], unit: str) -> None:
    """Draw a bar for each tap, shallow to deep."""
    axis.bar(range(len(per_tap)), list(per_tap.values()), color="#4c6fa5")
    axis.set_xticks(
        range(len(per_tap)), list(per_tap), rotation=30 if len(per_tap) > 6 else 0, fontsize=8, parse_math=False
    )
    axis.set_ylabel(f"{unit} distance", fontsize=9, parse_math=False)
    axis.set_title("distance at each tap, shallow to deep", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)


def _no_formula(text: str) -> str:
    """Escape dollar signs in a label, for functions without ``parse_math``."""
    return printable(text).replace("$", r"\$")
