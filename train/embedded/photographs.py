"""Photographs to train on: BSD100, Set5 and Set14 of the assets, and some that scikit-image brings.

Kodak's stay out: LIVE's references are the same pictures, and LIVE's opinions judge the network.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

ASSETS = Path(os.environ.get("FMIQA_ASSETS", Path(__file__).parents[2] / ".." / "shared" / "assets"))
_FOLDERS = ("bsd100", "set5", "set14")
_OF_SCIKIT_IMAGE = ("astronaut", "chelsea", "coffee", "rocket")


def photographs(least: int) -> list[Pixels]:
    """All of them, ``(H, W, 3)``, that have at least so many rows and columns; always in the same order.

    Raises:
        ValueError: if the assets are not there.
    """
    files = [file for name in _FOLDERS for file in sorted((ASSETS / "images" / name).glob("*.png"))]
    if not files:
        raise ValueError(f"no photographs in {ASSETS / 'images'}: let FMIQA_ASSETS name the folder of the assets")
    found = [np.asarray(Image.open(file).convert("RGB")) for file in files] + _of_scikit_image()
    return [image for image in found if min(image.shape[:2]) >= least]


def _of_scikit_image() -> list[Pixels]:
    from skimage import data

    return [np.asarray(getattr(data, name)()) for name in _OF_SCIKIT_IMAGE]
