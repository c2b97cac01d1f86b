"""Decode images that Pillow would cut to 8 bits: 16-bit RGB, 16-bit grey with alpha, and Netpbm of any maximum."""

from __future__ import annotations

import re
import struct
import sys
import zlib
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.data.formats import readable_formats

Pixels = npt.NDArray[Any]


def is_wide(picture: Any) -> bool:
    """Whether an image that is not loaded yet has 16 bits a value and several channels."""
    rawmode = _rawmode(picture)
    return ";16" in rawmode and not rawmode.startswith("I;")


def read_wide(file: BinaryIO, picture: Any) -> list[Any]:
    """The high and the low byte of each value, as two Pillow images.

    Pillow has no 16-bit colour. Its unpacker for big-endian values keeps the first byte of two, and the one for
    little-endian values the second. So the file is read once with each.

    Args:
        file: the image file.
        picture: the result of :func:`PIL.Image.open` for it, not loaded yet.

    Raises:
        ValueError: for channels that cannot be read at 16 bits.
    """
    from PIL import Image

    rawmode = _rawmode(picture)
    if rawmode == "LA;16B":  # a PNG, whose four bytes a pixel are laid out as in 8-bit RGBA
        file.seek(0)
        content = bytearray(file.read())
        content[24:26] = b"\x08\x06"  # bits a channel, and kind of pixels
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        channels = Image.open(BytesIO(content), formats=readable_formats()).split()
        return [Image.merge("LA", (channels[byte], channels[byte + 2])) for byte in (0, 1)]
    name, _, order = rawmode.partition(";")
    if name not in ("RGB", "RGBA"):
        raise ValueError(f"it is {name} of 16 bits a channel: save it as RGB")
    big_endian = order == "16B" or (order == "16N" and sys.byteorder == "big")
    halves = []
    for ending in ("16B", "16L") if big_endian else ("16L", "16B"):
        file.seek(0)
        half = Image.open(file, formats=readable_formats())
        half.tile = [_unpacked(tile, f"{name};{ending}") for tile in half.tile]
        half.load()
        halves.append(half)
    return halves


def _unpacked(tile: Any, rawmode: str) -> Any:
    """A copy of a tile with another raw mode."""
    return tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)


def _rawmode(picture: Any) -> str:
    """Pillow's raw mode of an image that is not loaded yet: how its values are packed."""
    args = picture.tile[0].args if picture.tile else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def is_netpbm_scaled(picture: Any) -> bool:
    """Whether an image is a PGM or PPM whose values Pillow would scale to 8 bits."""
    return bool(picture.format == "PPM" and picture.tile and picture.tile[0].codec_name.startswith("ppm"))


def read_netpbm(file: BinaryIO, picture: Any) -> Pixels:
    """The values of a PGM or PPM, ``(H, W)`` or ``(H, W, 3)``: uint8 if the file's maximum is up to 255, else uint16.

    They are scaled so that the maximum that the file declares becomes 255 or 65535.

    Raises:
        ValueError: if there are too few values, or a value exceeds the declared maximum.
    """
    decoder, _, offset, args = picture.tile[0]
    rawmode, largest = args if isinstance(args, tuple) and len(args) > 1 else (args, 1)
    if decoder == "ppm_plain" and picture.mode == "1":
        return np.asarray(picture.convert("L"))
    channels = 3 if str(rawmode).startswith("RGB") else 1
    count = picture.width * picture.height * channels
    file.seek(offset)
    if decoder == "ppm_plain":
        text = re.sub(rb"#[^\n\r]*", b"", file.read())
        values = np.array(text.split()[:count], dtype=np.int64)
    else:
        width = 2 if largest > 255 else 1
        content = file.read(count * width)
        values = np.frombuffer(content[: len(content) // width * width], ">u2" if width == 2 else np.uint8)
    if values.size < count:
        raise ValueError(f"image file is truncated: {values.size} of {count} values")
    if values.size and (values.max() > largest or values.min() < 0):
        raise ValueError(f"it holds the value {int(values.max())}, and says that {largest} is the largest")
    full = 255 if largest < 256 else 65535
    scaled = (values.astype(np.uint64) * full + largest // 2) // largest
    shape = (picture.height, picture.width, 3)[: 3 if channels == 3 else 2]
    pixels: Pixels = scaled.astype(np.uint8 if full == 255 else np.uint16).reshape(shape)
    return pixels
