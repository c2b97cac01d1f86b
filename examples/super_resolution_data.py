"""The images of the super-resolution example: where they come from, crops to train on, whole images to validate on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from torchmetrics_fmiqa import Recipe
from torchmetrics_fmiqa.data.formats import SUFFIXES
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.recipes import as_recipe

SCALE = 4
CROP = 96

# Weights that are taken from FMIQA_ASSETS where it has them; else each recipe downloads its own once
LOCAL_WEIGHTS = {"vit-tiny": "vit_tiny_patch16_224.safetensors", "squeezenet": "squeezenet1_1.safetensors"}


class InputError(Exception):
    """Something about the input that the user can put right, in one line."""


@dataclass(frozen=True)
class Photograph:
    """A photograph in memory: its name, and ``(3, H, W)`` in uint8."""

    name: str
    pixels: Tensor


def asset(name: str) -> Path | None:
    """A file or folder below FMIQA_ASSETS, or None where there is none of that name."""
    folder = os.environ.get("FMIQA_ASSETS")
    path = Path(folder or "", name)
    return path if folder and path.exists() else None


def local_recipe(name: str, **overrides: Any) -> Recipe:
    """A named recipe, with its weights from FMIQA_ASSETS where they are there.

    The judges keep every field that moved a number in docs/super-resolution.md: new defaults do not change them.
    """
    if name not in LOCAL_WEIGHTS:
        return as_recipe(name, **overrides)
    weights = asset(f"weights/{LOCAL_WEIGHTS[name]}")
    fields = {"distance": "cosine", "taps": "all", "normalization": "model", "pooling": "mean", **overrides}
    return as_recipe(name, **({} if weights is None else {"weights": str(weights)}), **fields)


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder, by name."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"no images ({', '.join(sorted(SUFFIXES))}) in {folder}")
    return files


def find_files(train: Path | None, val: Path | None) -> tuple[list[Path], list[Path]]:
    """The files to train on and to validate on: the given folders, else the usual sets in FMIQA_ASSETS."""
    if (train is None) != (val is None):
        raise InputError("give both --train and --val, or neither (the sets in FMIQA_ASSETS)")
    if train is not None and val is not None:
        return image_files(train), image_files(val)
    folder = asset("images")
    if folder is None:
        raise InputError("give --train FOLDER and --val FOLDER, or FMIQA_ASSETS with images/{bsd100,kodak,set5,set14}")
    kodak = image_files(folder / "kodak")
    # Kodak's last six photographs are never trained on
    return (
        image_files(folder / "bsd100") + kodak[:18],
        image_files(folder / "set5") + image_files(folder / "set14") + kodak[18:],
    )


def read(files: list[Path], least: int) -> list[Photograph]:
    """Decode images into memory, cut to a multiple of the scale. Grey ones become RGB, which the networks see."""
    photographs = []
    for file in track(files, f"reading {len(files)} images", transient=True):
        try:
            pixels = read_image(file, to_rgb=True)
        except ValueError as error:
            raise InputError(str(error)) from None
        if pixels.dtype != torch.uint8:
            raise InputError(f"{file} has 16 bits a channel, and the example takes 8")
        height, width = (length - length % SCALE for length in pixels.shape[1:])
        if min(height, width) < least:
            raise InputError(f"{file} is {width}x{height} pixels, and {least} are needed each way")
        photographs.append(Photograph(f"{file.parent.name}/{file.stem}", pixels[:, :height, :width].contiguous()))
    return photographs


def shrink(images: Tensor) -> Tensor:
    """Low resolution of ``(N, 3, H, W)`` in [0, 1]: antialiased bicubic, clamped and rounded to 8 bit like a file."""
    small = torch.nn.functional.interpolate(images, scale_factor=1 / SCALE, mode="bicubic", antialias=True)
    return small.clamp(0, 1).mul(255).round().div(255)


def enlarge(images: Tensor) -> Tensor:
    """Bicubic enlargement: what the network starts from, and what it has to beat."""
    return torch.nn.functional.interpolate(images, scale_factor=SCALE, mode="bicubic")


class Crops(Dataset[Tensor]):
    """Random crops, flipped and turned. Crop ``index`` depends on the seed and on ``index`` alone.

    So a run that was interrupted goes on with the crops it would have seen, and two runs with one seed see the same.
    """

    def __init__(self, photographs: list[Photograph], seed: int) -> None:
        self.photographs = photographs
        self.seed = seed

    def __getitem__(self, index: int) -> Tensor:
        draw = np.random.default_rng((self.seed, index))
        pixels = self.photographs[draw.integers(len(self.photographs))].pixels
        top, left = (int(draw.integers(length - CROP + 1)) for length in pixels.shape[1:])
        crop = pixels[:, top : top + CROP, left : left + CROP]
        crop = crop.flip(2) if draw.integers(2) else crop
        return torch.rot90(crop, int(draw.integers(4)), (1, 2))


class EpochOfCrops(Sampler[int]):
    """Indices of the crops of one epoch: epoch 0 has the first ``length``, epoch 1 the next, and so on."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:  # Lightning calls this before each epoch, also after a resume
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.epoch * self.length, (self.epoch + 1) * self.length))


class WholeImages(Dataset[Tensor]):
    """Whole images of sizes of their own, one to a batch."""

    def __init__(self, photographs: list[Photograph]) -> None:
        self.photographs = photographs

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, index: int) -> Tensor:
        return self.photographs[index].pixels
