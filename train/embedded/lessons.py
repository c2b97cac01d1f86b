"""Lessons: crops of pictures, and what restoration makes of them. They are made once and kept.

python -m train.embedded.lessons runs/lessons --count 1200
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from train.embedded.images import make_image
from train.embedded.photographs import Pixels, photographs
from train.embedded.restorations import changed

# Crops of a lesson, copies of each, and their side in pixels.
CROPS, COPIES, SIDE = 4, 3, 128
# How many of the crops are of made images, and how many are grey.
_MADE, _GREY = 0.15, 0.15


def make_lesson(pictures: list[Pixels], number: int) -> Tensor:
    """The lesson of a number, always the same: ``(CROPS, 1 + COPIES, 3, SIDE, SIDE)`` uint8, each crop first."""
    rng = np.random.default_rng([number, SIDE])
    rows = []
    for _ in range(CROPS):
        if rng.random() < _MADE:
            picture: Pixels = make_image(int(rng.integers(2**31)), 192).permute(1, 2, 0).numpy()
        else:
            picture = pictures[rng.integers(len(pictures))]
        crop = _crop(picture, rng)
        rows.append(np.stack([crop, *(changed(crop, rng) for _ in range(COPIES))]))
    return torch.from_numpy(np.stack(rows)).permute(0, 1, 4, 2, 3).contiguous()


def _crop(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """A part of a picture: at its own size or shrunk, mirrored, turned, grey."""
    shrink = float(np.exp(rng.uniform(0, np.log(2.5)))) if rng.random() < 0.5 else 1.0
    side = min(round(SIDE * shrink), *picture.shape[:2])
    top, left = (int(rng.integers(full - side + 1)) for full in picture.shape[:2])
    crop = picture[top : top + side, left : left + side]
    if side != SIDE:
        crop = np.asarray(Image.fromarray(crop).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if rng.random() < 0.3:
        crop = np.rot90(crop)
    if rng.random() < _GREY:
        crop = np.repeat(crop.mean(2, keepdims=True).astype(np.uint8), 3, 2)
    return np.ascontiguousarray(crop)


def main() -> None:
    """Make lessons that are not there yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=1200)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    pictures = photographs(SIDE)
    for number in range(given.count):
        path = given.folder / f"{number:05d}.npy"
        if not path.exists():
            fresh = path.with_suffix(".new")
            with fresh.open("wb") as file:
                np.save(file, make_lesson(pictures, number).numpy())
            fresh.replace(path)


if __name__ == "__main__":
    main()
