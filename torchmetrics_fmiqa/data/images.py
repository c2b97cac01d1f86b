"""Image files as tensors: 8 and 16 bits, nothing converted in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from torchmetrics_fmiqa.data.opening import check_file

#: File name endings that are taken for images when a folder is searched.
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}

#: What to do with a pair of two sizes: cut both to the common top left part, or resize the image under test.
Match = Literal["crop", "resize"]


def read_image(path: str | Path, to_rgb: bool = False) -> Tensor:
    """Read an image file as ``(3, H, W)``, uint8 or uint16 as it is stored.

    Args:
        path: PNG, JPEG, WebP, BMP, TIFF or PPM.
        to_rgb: repeat the channel of a grey image, and drop an alpha channel that is opaque everywhere.

    Raises:
        ValueError: if there is no such file, it cannot be read, or it is not RGB and ``to_rgb`` does not help.
    """
    path = Path(path)
    check_file(path)
    try:
        image = _decode(path)
    except Exception as error:  # decoders raise all sorts; a broken file must not end a long run
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        reason = reason.split(".cpp:", 1)[-1].partition(", ")[2] if ".cpp:" in reason else reason
        raise ValueError(f"cannot read the image {str(path)!r}: {reason}") from error
    if image.ndim != 3:
        raise ValueError(f"{str(path)!r} holds {image.shape[0]} frames: save the one to score")
    if image.shape[0] == 3:
        return image
    kind = {1: "grey", 2: "grey with alpha", 4: "RGB with alpha"}.get(image.shape[0], f"{image.shape[0]}-channel")
    if not to_rgb:
        raise ValueError(f"{str(path)!r} is {kind}: save it as RGB, or convert it on the way (--to-rgb, to_rgb=True)")
    if image.shape[0] in (2, 4):
        if int(image[-1].int().min()) < (255 if image.dtype == torch.uint8 else 65535):
            raise ValueError(f"{str(path)!r} is {kind} and not opaque: composite it on the background of your choice")
        image = image[:-1]
    return image.expand(3, -1, -1).contiguous()


def _decode(path: Path) -> Tensor:
    from torchvision.io import ImageReadMode, decode_image

    if path.suffix.lower() in {".png", ".jpg", ".jpeg", ".webp", ".gif"} and not _has_palette(path):
        image: Tensor = decode_image(str(path), ImageReadMode.UNCHANGED)
        return image
    from PIL import Image

    with Image.open(path) as picture:
        frames = getattr(picture, "n_frames", 1)
        if frames > 1:
            raise ValueError(f"it holds {frames} frames: save the one to score")
        mode = {"1": "L", "CMYK": "RGB", "P": "RGBA" if "transparency" in picture.info else "RGB"}.get(picture.mode)
        array = np.array(picture.convert(mode) if mode else picture)
    if array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{array.dtype} values: save it with 8 or 16 bits")
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def _has_palette(path: Path) -> bool:
    """Whether a PNG holds colour numbers, which torchvision gives as they stand, without the palette."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[:8] == b"\x89PNG\r\n\x1a\n" and head[25:26] == b"\x03"


def match_sizes(preds: Tensor, target: Tensor, match: Match | None) -> tuple[Tensor, Tensor]:
    """Bring a pair ``(3, H, W)`` to one size, if it was asked for.

    ``"crop"`` keeps the top left part that both have: super-resolved images lack the rows and columns at the end that
    their factor does not divide. ``"resize"`` resizes ``preds`` to the size of ``target`` (antialiased bicubic), which
    gives float32 in [0, 1] and may leave that range a little.

    Raises:
        ValueError: if sizes differ and ``match`` is ``None``, naming both.
    """
    if preds.shape[1:] == target.shape[1:]:
        return preds, target
    if match == "crop":
        height, width = (min(one, other) for one, other in zip(preds.shape[1:], target.shape[1:], strict=True))
        return preds[:, :height, :width], target[:, :height, :width]
    if match == "resize":
        unit = preds.float() / (255 if preds.dtype == torch.uint8 else 65535)
        resized = F.interpolate(unit[None], target.shape[1:], mode="bicubic", antialias=True, align_corners=False)
        return resized[0], target
    sizes = " and ".join(f"{image.shape[1]}x{image.shape[2]}" for image in (target, preds))
    raise ValueError(f"reference and distorted image differ in size, {sizes} (H x W): give --match crop or resize")
