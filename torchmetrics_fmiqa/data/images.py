"""Image files as tensors: 8 and 16 bits, nothing converted in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from torchmetrics_fmiqa.data.decoding import decode, size
from torchmetrics_fmiqa.data.formats import missing_plugin
from torchmetrics_fmiqa.data.opening import open_file

#: What to do with a pair of two sizes: cut both to the common top left part, or resize the image under test.
Match = Literal["crop", "resize"]


def read_image(path: str | Path, to_rgb: bool = False) -> Tensor:
    """Read an image file as ``(3, H, W)``, uint8 or uint16 as it is stored, turned as its EXIF orientation says.

    The format is known by the content, not by the name. A palette is looked up; values of 9 to 15 bits are scaled to
    16; colour profiles are not applied.

    Args:
        path: PNG, JPEG, WebP, BMP, GIF, TIFF, PPM (PGM, PBM), AVIF, JPEG 2000, TGA or QOI; HEIC with pillow-heif and
            JPEG XL with pillow-jxl-plugin installed.
        to_rgb: repeat the channel of a grey image, drop an alpha channel that is opaque everywhere, and convert CMYK
            (without a colour profile) and Lab.

    Raises:
        ValueError: if there is no such file, it is no regular file, it is broken, has several frames or values that
            neither 8 nor 16 bits hold, or it is not RGB and ``to_rgb`` does not help; naming the file and the reason.
    """
    path = Path(path)
    with open_file(path) as file:
        try:
            decoded = decode(file)
        except Exception as error:  # decoders raise all sorts; a broken file must not end a long run
            raise ValueError(f"cannot read the image {str(path)!r}: {_reason(path, error)}") from error
    # A tensor of its own: Pillow's arrays cannot be written to.
    image = torch.from_numpy(decoded.values.transpose(2, 0, 1).copy())
    if decoded.kind == "RGB":
        return image
    if not to_rgb:
        raise ValueError(
            f"{str(path)!r} is {decoded.kind}: save it as RGB, or convert it on the way (--to-rgb, to_rgb=True)"
        )
    if image.shape[0] in (2, 4):
        if int(image[-1].int().min()) < (255 if image.dtype == torch.uint8 else 65535):
            raise ValueError(
                f"{str(path)!r} is {decoded.kind} and not opaque: composite it on the background of your choice"
            )
        image = image[:-1]
    return image.expand(3, -1, -1).contiguous()


def image_size(path: str | Path) -> tuple[int, int]:
    """``(H, W)`` of an image file, from its head alone.

    Raises:
        ValueError: if it cannot be read.
    """
    with open_file(path) as file:
        try:
            return size(file)
        except Exception as error:
            raise ValueError(f"cannot read the image {str(path)!r}: {_reason(Path(path), error)}") from error


def _reason(path: Path, error: Exception) -> str:
    """Why a file cannot be read, in one line."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        plugin = missing_plugin(path)
        return f"`pip install {plugin}` reads it" if plugin else "it is broken, or no image of a format that is read"
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        return f"it says that it has more than {most:.0f} megapixels (if it has, raise PIL.Image.MAX_IMAGE_PIXELS)"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__


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
