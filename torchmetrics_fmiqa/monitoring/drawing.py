"""Draw the worst images side by side with their heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchmetrics_fmiqa.monitoring.worst_images import WorstImage

_CAPTION = 22  # pixels for the line of text above a panel
_GAP = 4


def side_by_side(image: WorstImage, side: int, top: float) -> np.ndarray[Any, Any]:
    """Draw one of the worst images.

    Args:
        image: what to draw.
        side: the longest side of a panel in pixels; larger images are shrunk.
        top: value of the brightest colour of the heat map.

    Returns:
        ``(h, w, 3)``, uint8.
    """
    from PIL import Image, ImageDraw, ImageFont

    panels = {"reference": image.target, f"{image.name}: {image.score:.4g}": image.preds}
    if image.heat is not None:
        panels[f"heat, 0 to {top:.3g}"] = heat_over(image.preds, image.heat, top)
    pictures = [Image.fromarray(panel.permute(1, 2, 0).numpy()) for panel in panels.values()]
    scale = min(1.0, side / max(pictures[0].size))
    width, height = (max(1, round(length * scale)) for length in pictures[0].size)
    step = max(width, 110) + _GAP  # at least the width of a caption
    canvas = Image.new("RGB", (step * len(pictures) - _GAP, height + _CAPTION), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for column, (caption, picture) in enumerate(zip(panels, pictures, strict=True)):
        if scale < 1:
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        canvas.paste(picture, (column * step, _CAPTION))
        draw.text((column * step + 2, 3), caption, fill="black", font=font)
    return np.asarray(canvas)


def heat_over(image: Tensor, heat: Tensor, top: float) -> Tensor:
    """Blend a coloured map ``(H, W)`` with a grey copy of its image ``(3, H, W)``; uint8."""
    from kornia.color import ColorMap, apply_colormap

    grey = image.float().mean(0, keepdim=True) / 255
    shades = (heat.float() / max(top, 1e-12)).clamp(0, 1)[None, None]
    colours = apply_colormap((shades * 255).round().to(torch.uint8), ColorMap("plasma", 256))[0]
    blended: Tensor = (0.3 * grey + 0.7 * colours) * 255
    return blended.round().to(torch.uint8)


def side_by_sides(images: Sequence[WorstImage], side: int) -> list[np.ndarray[Any, Any]]:
    """Draw images as :func:`side_by_side` does, with heat maps on one scale."""
    top = common_top(images)
    return [side_by_side(image, side, top) for image in images]


def common_top(images: Sequence[WorstImage]) -> float:
    """The common scale of an epoch's heat maps: the highest of their 99.5th percentiles."""
    heats = [image.heat.float().flatten() for image in images if image.heat is not None]
    # torch.quantile takes no more than 16 million values.
    return max((float(torch.quantile(heat[:: heat.numel() // 1_000_000 + 1], 0.995)) for heat in heats), default=0.0)
