"""Reference, prediction and heat map side by side, as one picture for an image logger."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchmetrics_fmiqa.callbacks.worst import WorstImage

_CAPTION = 22  # pixels for the line of text above a panel
_GAP = 4


def side_by_side(image: WorstImage, side: int, top: float) -> np.ndarray[Any, Any]:
    """Draw one of the worst images.

    Args:
        image: what to draw.
        side: the longest side of a panel in pixels; larger images are shrunk.
        top: what the brightest colour of the heat map stands for.

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
    step = max(width, 110) + _GAP  # a caption needs room above the smallest image too
    canvas = Image.new("RGB", (step * len(pictures) - _GAP, height + _CAPTION), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for column, (caption, picture) in enumerate(zip(panels, pictures, strict=True)):
        if scale < 1:
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        canvas.paste(picture, (column * step, _CAPTION))
        draw.text((column * step + 2, 3), caption, fill="black", font=font)
    return np.asarray(canvas)


def heat_over(image: Tensor, heat: Tensor, top: float) -> Tensor:
    """Colour a map ``(H, W)`` over a grey copy of its image ``(3, H, W)``, uint8 as the image."""
    from kornia.color import ColorMap, apply_colormap

    grey = image.float().mean(0, keepdim=True) / 255
    shades = (heat.float() / max(top, 1e-12)).clamp(0, 1)[None, None]
    colours = apply_colormap((shades * 255).round().to(torch.uint8), ColorMap("plasma", 256))[0]
    blended: Tensor = (0.3 * grey + 0.7 * colours) * 255
    return blended.round().to(torch.uint8)


def common_top(images: list[WorstImage]) -> float:
    """One scale for all heat maps of an epoch: the highest of their 99.5th percentiles."""
    heats = [image.heat.float().flatten() for image in images if image.heat is not None]
    # torch.quantile takes no more than 16 million values.
    return max((float(torch.quantile(heat[:: heat.numel() // 1_000_000 + 1], 0.995)) for heat in heats), default=0.0)
