"""Read image files as tensors of 8 or 16 bits; every conversion is explicit."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from torchmetrics_fmiqa.data.decoding import decode, decoded_pixels, size
from torchmetrics_fmiqa.data.formats import missing_plugin
from torchmetrics_fmiqa.data.opening import open_file
from torchmetrics_fmiqa.data.remote import as_place

#: How a pair that differs in size is matched: both are cut to the common top left part, or ``preds`` is resized.
Match = Literal["crop", "resize"]


#: An image as a table may hold it: the path of a file, the bytes of a file, or its pixels ``(H, W, C)``.
StoredImage = str | Path | bytes | npt.NDArray[Any]


def read_image(image: StoredImage | None, to_rgb: bool = False) -> Tensor:
    """Read an image as ``(3, H, W)``, uint8 or uint16 as stored, with its EXIF orientation applied.

    The content decides the format, not the name. Palettes are looked up. Values of 9 to 15 bits are scaled to 16 bits.
    Colour profiles are not applied.

    Args:
        image: path, URL or bytes of a file, or its pixels ``(H, W, C)`` or ``(H, W)``, uint8 or uint16. Files are PNG,
            JPEG, WebP, BMP, GIF, TIFF, PPM (PGM, PBM), AVIF, JPEG 2000, TGA or QOI; HEIC with pillow-heif and JPEG XL
            with pillow-jxl-plugin installed.
        to_rgb: repeat the channel of a grey image, drop an alpha channel that is opaque everywhere, and convert CMYK
            (without a colour profile) and Lab.

    Raises:
        ValueError: if the file is absent, not a regular file or broken; if it has several frames or values that fit
            neither 8 nor 16 bits; if it is not RGB and ``to_rgb`` does not help. The message names file and reason.
    """
    if not isinstance(image, (str, Path, bytes, np.ndarray)):
        kind = "nothing" if image is None else f"a {type(image).__name__}"
        raise ValueError(f"an image is a path, the bytes of a file, or an array of pixels; got {kind}")
    if isinstance(image, np.ndarray):
        name, decoded = "an image", decoded_pixels(image)
    else:
        name, path = ("an image", Path()) if isinstance(image, bytes) else (repr(str(image)), Path(image))
        with io.BytesIO(image) if isinstance(image, bytes) else open_file(as_place(str(image))) as file:
            try:
                decoded = decode(file)
            except Exception as error:  # decoders raise any exception; a broken file must not end a long run
                what = f"of {len(image)} bytes" if isinstance(image, bytes) else name
                raise ValueError(f"cannot read the image {what}: {_reason(path, error)}") from error
    # Copied, because Pillow's arrays are read-only.
    pixels = torch.from_numpy(decoded.values.transpose(2, 0, 1).copy())
    if decoded.kind == "RGB":
        return pixels
    if not to_rgb:
        raise ValueError(f"{name} is {decoded.kind}: save it as RGB, or convert it on the way (--to-rgb, to_rgb=True)")
    if pixels.shape[0] in (2, 4):
        if int(pixels[-1].int().min()) < (255 if pixels.dtype == torch.uint8 else 65535):
            raise ValueError(f"{name} is {decoded.kind} and not opaque: composite it on the background of your choice")
        pixels = pixels[:-1]
    return pixels.expand(3, -1, -1).contiguous()


def image_size(path: str | Path) -> tuple[int, int]:
    """``(H, W)`` of an image file, read from its header alone.

    Raises:
        ValueError: if the file cannot be read.
    """
    with open_file(path) as file:
        try:
            return size(file)
        except Exception as error:
            raise ValueError(f"cannot read the image {str(path)!r}: {_reason(Path(path), error)}") from error


def _reason(path: Path, error: Exception) -> str:
    """Reason in one line why a file cannot be read."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        plugin = missing_plugin(path)
        return f"`pip install {plugin}` reads it" if plugin else "it is broken, or no image of a format that is read"
    if isinstance(error, Image.DecompressionBombError):
        megapixels = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        return (
            f"it says that it has more than {megapixels:.0f} megapixels (if it has, raise PIL.Image.MAX_IMAGE_PIXELS)"
        )
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__


def match_sizes(preds: Tensor, target: Tensor, match: Match | None) -> tuple[Tensor, Tensor]:
    """Bring a pair of images ``(3, H, W)`` to the same size.

    ``"crop"`` keeps the top left part that both have. This suits super-resolved images: they lack the last rows and
    columns, which their factor does not divide. ``"resize"`` resizes ``preds`` to the size of ``target`` by antialiased
    bicubic interpolation. The result is float32 in [0, 1] and may overshoot that range a little.

    Raises:
        ValueError: if the sizes differ and ``match`` is ``None``.
    """
    if preds.shape[1:] == target.shape[1:]:
        return preds, target
    if match == "crop":
        height, width = (min(sides) for sides in zip(preds.shape[1:], target.shape[1:], strict=True))
        return preds[:, :height, :width], target[:, :height, :width]
    if match == "resize":
        unit = preds.float() / (255 if preds.dtype == torch.uint8 else 65535)
        resized = F.interpolate(unit[None], target.shape[1:], mode="bicubic", antialias=True, align_corners=False)
        return resized[0], target
    sizes = " and ".join(f"{image.shape[1]}x{image.shape[2]}" for image in (target, preds))
    raise ValueError(f"reference and distorted image differ in size, {sizes} (H x W): give --match crop or resize")
