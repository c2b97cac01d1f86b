"""Pictures of an image beside its reference and its heat map, as bytes and data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_CAPTION = 22  # pixels for the line of text above a panel
_GAP = 4


def side_by_side(panels: Mapping[str, Tensor], side: int) -> np.ndarray[Any, Any]:
    """Draw images ``(3, H, W)``, uint8 and of one size, side by side, each with its name above it: ``(h, w, 3)`` uint8.

    ``side`` is the longest side of a panel in pixels; larger images are shrunk.
    """
    from PIL import Image, ImageDraw, ImageFont

    pictures = [Image.fromarray(panel.permute(1, 2, 0).numpy()) for panel in panels.values()]
    scale = min(1.0, side / max(pictures[0].size))
    width, height = (max(1, round(length * scale)) for length in pictures[0].size)
    step = max(width, 110) + _GAP  # a caption needs room above the smallest image too
    canvas = Image.new("RGB", (step * len(pictures) - _GAP, height + _CAPTION), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for column, (caption, picture) in enumerate(zip(panels, pictures, strict=True)):
        shown = picture.resize((width, height), Image.Resampling.LANCZOS) if scale < 1 else picture
        canvas.paste(shown, (column * step, _CAPTION))
        draw.text((column * step + 2, 3), caption, fill="black", font=font)
    return np.asarray(canvas)


def heat_over(image: Tensor, heat: Tensor, top: float) -> Tensor:
    """Colour a map ``(H, W)``, brightest for ``top``, over a grey copy of its image ``(3, H, W)``, both uint8."""
    grey = image.float().mean(0, keepdim=True)
    blended: Tensor = 0.3 * grey + 0.7 * coloured(heat, top)
    return blended.round().to(torch.uint8)


def coloured(heat: Tensor, top: float) -> Tensor:
    """Colours of a map ``(H, W)``, dark for 0 and bright for ``top``: ``(3, H, W)`` uint8."""
    from kornia.color import ColorMap, apply_colormap

    shades = (heat.float() / max(top, 1e-12)).clamp(0, 1)[None, None]
    colours: Tensor = apply_colormap((shades * 255).round().to(torch.uint8), ColorMap("plasma", 256))[0]
    return (colours * 255).round().to(torch.uint8)


def png(picture: np.ndarray[Any, Any]) -> bytes:
    """A picture ``(h, w, 3)`` uint8 as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def webp(picture: np.ndarray[Any, Any], lossless: bool = True) -> bytes:
    """A picture ``(h, w, 3)`` uint8 as a WebP file, or ``(h, w, 4)`` with alpha; with loss, of quality 90."""
    from PIL import Image

    file = io.BytesIO()
    # Without loss, quality is effort: more of it takes three times as long and saves less than 1 % of a photograph.
    Image.fromarray(picture).save(file, "WEBP", lossless=lossless, quality=0 if lossless else 90, method=2)
    return file.getvalue()


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """Content of a file as an address that a page holds in itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
