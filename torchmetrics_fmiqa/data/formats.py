"""The supported image formats, and the endings of their file names."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import PurePath

#: File name endings that count as images when a folder is searched.
SUFFIXES = frozenset(
    f".{ending}"
    for endings in (
        ("png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "dib", "gif", "tif", "tiff", "tga", "qoi"),
        ("ppm", "pgm", "pbm", "pnm", "avif", "avifs", "jp2", "j2k", "j2c", "jpc", "jpf", "jpx"),
        ("heic", "heif", "heics", "heifs", "hif", "jxl"),
    )
    for ending in endings
)

# Pillow's names of the supported formats. Others are left out: some start programs (EPS), some hold no photographs.
_FORMATS = (
    *("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA", "QOI"),
    *("HEIF", "JXL"),
)

# Endings of image formats that are not supported. A folder search reports such files.
_UNREAD = frozenset(
    f".{ending}"
    for endings in (
        (
            "exr",
            "hdr",
            "pfm",
            "dpx",
            "cin",
            "psd",
            "xcf",
            "ora",
            "svg",
            "eps",
            "ico",
            "icns",
            "dds",
            "ktx",
            "sgi",
            "pcx",
        ),
        ("dng", "cr2", "cr3", "nef", "arw", "raf", "rw2", "orf", "pef", "raw"),
        ("jxr", "wdp", "hdp", "bpg", "flif", "fits", "fit", "nii", "dcm"),
    )
    for ending in endings
)

_PLUGINS = {"pillow-heif": ("heic", "heif", "heics", "heifs", "hif"), "pillow-jxl-plugin": ("jxl",)}


def is_image_name(name: str | PurePath) -> bool:
    """Whether a file name has the ending of a supported format.

    >>> is_image_name("a.JPE"), is_image_name("notes.txt")
    (True, False)
    """
    return PurePath(name).suffix.lower() in SUFFIXES


def is_unread_image_name(name: str | PurePath) -> bool:
    """Whether a file name has the ending of an image format that is not supported, such as OpenEXR."""
    return PurePath(name).suffix.lower() in _UNREAD


def missing_plugin(name: str | PurePath) -> str:
    """The package to install to read a file of this name; empty if none is missing.

    Pillow reads HEIC and JPEG XL by plugins. They are loaded here if they are installed.
    """
    ending = PurePath(name).suffix.lower().removeprefix(".")
    return next((plugin for plugin, endings in _PLUGINS.items() if ending in endings and not _load(plugin)), "")


@cache
def readable_formats() -> tuple[str, ...]:
    """Pillow's names of the supported formats, including those of installed plugins."""
    from PIL import Image

    Image.init()
    for plugin in _PLUGINS:
        _load(plugin)
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@cache
def _load(plugin: str) -> bool:
    try:
        if plugin == "pillow-heif":
            importlib.import_module("pillow_heif").register_heif_opener()
        else:
            importlib.import_module("pillow_jxl")  # registers itself
    except ImportError:
        return False
    return True
