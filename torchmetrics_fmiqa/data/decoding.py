"""Decode an image file to the values that it stores, by the same rules for all formats.

Pillow decodes every format. It raises for a broken file, where decoders of other libraries crash the process.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.data.depth import avif_bits, jpeg2000_bits, jpegxl_bits
from torchmetrics_fmiqa.data.formats import readable_formats
from torchmetrics_fmiqa.data.wide import is_netpbm_scaled, is_wide, read_netpbm, read_wide

_ORIENTATION = 0x0112  # the tag of EXIF
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 258, 262, 284, 338, 339  # tags of TIFF
_SIGNED = 2  # a sample format of TIFF
_DEPTHS = {"AVIF": avif_bits, "JPEG2000": jpeg2000_bits, "JXL": jpegxl_bits}
_GREY16 = ("I;16", "I;16B", "I;16L", "I;16N")

# Pillow mode -> (mode that holds the same values without loss, name for messages)
_MODES = {
    "1": ("L", "grey"),
    "L": ("L", "grey"),
    "LA": ("LA", "grey with alpha"),
    "La": ("LA", "grey with alpha"),
    "P": ("RGB", "RGB"),
    "PA": ("RGBA", "RGB with alpha"),
    "RGB": ("RGB", "RGB"),
    "RGBA": ("RGBA", "RGB with alpha"),
    "RGBa": ("RGBA", "RGB with alpha"),
    "YCbCr": ("RGB", "RGB"),  # the form in which JPEG stores RGB
    "CMYK": ("RGB", "CMYK"),
    "LAB": ("RGB", "Lab"),
}


@dataclass(frozen=True)
class Decoded:
    """The decoded content of an image file.

    Args:
        values: ``(H, W, C)``, uint8 or uint16; CMYK and Lab are converted to RGB.
        kind: colour model of the file: RGB, grey, RGB with alpha, grey with alpha, CMYK or Lab.
    """

    values: npt.NDArray[Any]
    kind: str


def decoded_pixels(values: npt.NDArray[Any]) -> Decoded:
    """Pixels that somebody else has decoded, ``(H, W)`` or ``(H, W, C)``; their channels tell the colour model.

    Raises:
        ValueError: for pixels of another shape or type, naming it.
    """
    values = values[..., None] if values.ndim == 2 else values
    kinds = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGB with alpha"}
    if values.ndim != 3 or values.shape[2] not in kinds or values.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"pixels are (H, W, C) with 1 to 4 channels, uint8 or uint16; got {values.dtype} of shape {values.shape}"
        )
    return Decoded(values, kinds[values.shape[2]])


def decode(file: BinaryIO) -> Decoded:
    """Decode an image file, with its orientation applied.

    Raises:
        ValueError: for a kind of image that is not supported; the message names it.
        Exception: whatever the decoder raises for a broken file.
    """
    picture = _open(file)
    if picture.format == "PNG":
        picture.verify()  # checks the checksums of the chunks, which decoding ignores
        picture = _open(file)
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":  # MPO is a photograph with its previews
        raise ValueError(f"it holds {frames} frames: save the one to score")
    _check_depth(file, picture)
    if is_netpbm_scaled(picture):
        values, mode = read_netpbm(file, picture), "RGB" if picture.mode == "RGB" else "L"
    elif is_wide(picture):
        halves = read_wide(file, picture)
        orientation = orientation_of(halves[0])
        high, low = (np.asarray(_turned(half, orientation)) for half in halves)
        values = high.astype(np.uint16) << 8 | low
        mode = {2: "LA", 3: "RGB", 4: "RGBA"}[values.shape[2]]
        values, mode = _with_alpha(values, mode, picture.info.get("transparency"))
    else:
        values, mode = _plain(picture)
    return Decoded(values[..., None] if values.ndim == 2 else values, _MODES[mode][1])


def size(file: BinaryIO) -> tuple[int, int]:
    """``(H, W)`` of an image file as :func:`decode` turns it, without decoding it."""
    picture = _open(file)
    height, width = picture.height, picture.width
    if picture.format == "PNG" and "exif" not in picture.info and not _has_orientation_after_pixels(file):
        return height, width  # Pillow would decode the image to look for EXIF after the pixels
    transposed = picture.format != "TIFF" and orientation_of(picture) in (5, 6, 7, 8)  # Pillow itself turns TIFF
    return (width, height) if transposed else (height, width)


def _has_orientation_after_pixels(file: BinaryIO) -> bool:
    """Whether a PNG has an EXIF or orientation chunk near its end."""
    file.seek(0, 2)
    file.seek(max(0, file.tell() - (1 << 16)))
    tail = file.read()
    file.seek(0)
    return b"eXIf" in tail or b"Orientation" in tail


def _open(file: BinaryIO) -> Any:
    from PIL import Image, ImageFile

    if ImageFile.LOAD_TRUNCATED_IMAGES:
        warnings.warn(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set: cut files are read with grey areas, and scored like others. "
            "Set it to False to have them named.",
            stacklevel=2,
        )
    file.seek(0)
    picture = Image.open(file, formats=readable_formats())
    if 0 in picture.size:
        raise ValueError(f"it has no pixels: {picture.height}x{picture.width} (H x W)")
    return picture


def orientation_of(picture: Any) -> int:
    """EXIF orientation of an image; 1 is upright.

    Formats that Pillow turns while loading count as upright.
    """
    if picture.format == "TIFF" or (picture.format == "JXL" and not getattr(picture, "jpeg", False)):
        return 1
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF raises any exception, and the pixels may still be intact
        return 1


def _turned(picture: Any, orientation: int) -> Any:
    from PIL.Image import Transpose

    transposes = (
        *(Transpose.FLIP_LEFT_RIGHT, Transpose.ROTATE_180, Transpose.FLIP_TOP_BOTTOM, Transpose.TRANSPOSE),
        *(Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90),
    )
    return picture.transpose(transposes[orientation - 2]) if 2 <= orientation <= 8 else picture


def _plain(picture: Any) -> tuple[npt.NDArray[Any], str]:
    """The values of an image that Pillow decodes without loss, and its mode."""
    tags = dict(getattr(picture, "tag_v2", {}))  # TIFF only
    step = _png_step(picture)
    picture.load()
    picture = _turned(picture, orientation_of(picture))
    mode, transparent = picture.mode, picture.info.get("transparency")
    if mode in _GREY16:
        return _with_alpha(_grey16(np.array(picture), tags), "L", transparent)
    if mode == "I" and picture.format == "PPM":
        return np.asarray(picture).astype(np.uint16), "L"
    if mode not in _MODES or _SIGNED in tags.get(_SAMPLE_FORMAT, ()):
        raise ValueError(_refusal(mode, tags))
    if mode == "P":
        mode = "PA" if transparent is not None else "P"
        return np.asarray(picture.convert(_MODES[mode][0])), mode
    if mode == "LAB":
        return np.asarray(_lab_to_rgb(picture)), mode
    lossless_mode = _MODES[mode][0]
    values = np.asarray(picture if lossless_mode == mode else picture.convert(lossless_mode))
    return _with_alpha(values, mode, transparent if mode == "RGB" or transparent is None else transparent * step)


def _png_step(picture: Any) -> int:
    """Factor by which Pillow scales a grey PNG's stored values to 8 bits: 17 for 4 bits."""
    args = picture.tile[0][3] if picture.format == "PNG" and picture.tile else ""
    return {"L;2": 85, "L;4": 17}.get(args if isinstance(args, str) else "", 1)


def _grey16(values: npt.NDArray[Any], tags: dict[int, Any]) -> npt.NDArray[Any]:
    """Scale grey values to the full range of 16 bits, with 0 as black."""
    values = values.astype(np.uint16)
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    if bits < 16:
        values = _scaled_to_16_bits(values, bits)
    return 65535 - values if tags.get(_PHOTOMETRIC) == 0 else values  # stored with 0 as white


def _scaled_to_16_bits(values: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    """Scale values of ``bits`` bits to the range of 16 bits."""
    largest = (1 << bits) - 1
    return ((values.astype(np.uint32) * 65535 + largest // 2) // largest).astype(np.uint16)


def _with_alpha(values: npt.NDArray[Any], mode: str, transparent: Any) -> tuple[npt.NDArray[Any], str]:
    """Add an alpha channel to a grey or RGB image with a transparent colour (tRNS of PNG)."""
    if transparent is None or mode not in ("1", "L", "RGB"):
        return values, mode
    if mode == "RGB":
        is_transparent = (values == np.array(transparent, dtype=np.int64)).all(2)
    else:
        values, mode = values.reshape(*values.shape[:2], 1), "L"
        is_transparent = values[..., 0] == transparent
    alpha = np.where(is_transparent, 0, np.iinfo(values.dtype).max).astype(values.dtype)
    return np.dstack([values, alpha]), f"{mode}A"


def _lab_to_rgb(picture: Any) -> Any:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")


def _refusal(mode: str, tags: dict[int, Any]) -> str:
    if mode == "F":
        return "it holds floating-point values: save it with 8 or 16 bits"
    signed = _SIGNED in tags.get(_SAMPLE_FORMAT, ())
    if mode == "I" or signed:
        bits = tags.get(_BITS_PER_SAMPLE, (32,))[0]
        return f"it holds {'signed ' if signed else ''}integers of {bits} bits: save it with 8 or 16 bits, unsigned"
    if mode == "RGBX":
        return "it is RGB with a fourth channel of unknown meaning: save it as RGB"
    return f"it is of the mode {mode}: save it as RGB"


def _check_depth(file: BinaryIO, picture: Any) -> None:
    """Refuse bit depths and channels that Pillow would silently drop.

    Raises:
        ValueError: naming the depth or the channel.
    """
    bits = 8
    if picture.format in _DEPTHS:
        position = file.tell()
        file.seek(0)
        bits = _DEPTHS[picture.format](file.read(1 << 20))
        file.seek(position)
    elif picture.format == "HEIF":
        bits = int(picture.info.get("bit_depth", 8))
    elif picture.format == "TIFF":
        tags = picture.tag_v2
        bits = max(tags.get(_BITS_PER_SAMPLE, (1,)))
        if bits > 8 and tags.get(_PLANAR) == 2 and len(picture.getbands()) > 1:
            raise ValueError(f"it has {bits} bits a channel, each channel on its own: save it with channels together")
        if 0 in tags.get(_EXTRA_SAMPLES, ()):
            raise ValueError("it has a channel of unknown meaning beside its colours: save it without")
        if is_wide(picture) or picture.mode in (*_GREY16, "I", "F"):
            return
    if bits > 8 and (picture.mode not in _GREY16 or bits != 16):
        raise ValueError(f"it has {bits} bits a channel, of which 8 would be read: decode it to a 16-bit PNG first")
