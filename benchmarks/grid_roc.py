"""How well `GridArtifact` tells grids from harmless processing: detection rates at 1 % false alarms.

    python benchmarks/grid_roc.py                  # the table of docs/how-to/grid-artifacts.md
    python benchmarks/grid_roc.py --rms 0.25       # fainter grids
    python benchmarks/grid_roc.py --pairs 100      # so many at random, to look quickly
    python benchmarks/grid_roc.py --texture-periods 3 5 6.4 9.7 12.3 20    # textures that nothing was chosen by

Positives are Kodak's photographs with a grid of each period and of 0.5/255 RMS: random, lines or points, grey or
coloured, at a random offset, upon the photograph or upon a processed one (bicubic x4, noise, blur), rounded to 8 bits.
Negatives are without a grid: Kodak's and BSD100's photographs and made textures of whole and broken periods (stripes,
bricks, weaves, checks; alone, or as a wall in a photograph), each under harmless processing. JPEG is listed alone: its
blocks of 8 pixels are a grid of a kind, and count neither as positive nor as negative.
"""

from __future__ import annotations

import argparse
import io
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from common import ASSETS
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from rich.progress import track

from torchmetrics_fmiqa.grid.frequencies import PERIODS
from torchmetrics_fmiqa.grid.meter import GridMeter

Pixels = NDArray[np.float64]  # (H, W, 3), grey levels
SHAPES = ("random", "lines", "points")
TEXTURES = ("stripes", "bricks", "weave", "checks")
TEXTURE_PERIODS = (2, 4, 8, 16, 3.7, 5.3, 7.1, 11.3, 16.6)
FALSE_ALARMS = 0.01
LEVELS = (0.1, 0.2)  # grey levels, to choose `alarm_above` by
METER = GridMeter()


@dataclass(frozen=True)
class Pair:
    """A pair to measure: what it is called by in the tables, whether it has a grid, and how to make it."""

    group: str
    has_grid: bool
    make: Callable[[], tuple[Pixels, Pixels]]
    period: int = 0


def rounded(pixels: Pixels) -> Pixels:
    return pixels.round().clip(0, 255)


def read(path: Path) -> Pixels:
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.float64)


def by_pillow(change: Callable[[Image.Image], Image.Image]) -> Callable[[Pixels, np.random.Generator], Pixels]:
    def apply(pixels: Pixels, draw: np.random.Generator) -> Pixels:
        return np.asarray(change(Image.fromarray(rounded(pixels).astype(np.uint8))), dtype=np.float64)

    return apply


def resized(factor: float, method: Image.Resampling) -> Callable[[Pixels, np.random.Generator], Pixels]:
    def change(image: Image.Image) -> Image.Image:
        small = round(image.width / factor), round(image.height / factor)
        return image.resize(small, method).resize(image.size, method)

    return by_pillow(change)


def jpeg(quality: int) -> Callable[[Pixels, np.random.Generator], Pixels]:
    def change(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer).convert("RGB")

    return by_pillow(change)


HARMLESS: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "blur 1": by_pillow(lambda image: image.filter(ImageFilter.GaussianBlur(1))),
    "blur 3": by_pillow(lambda image: image.filter(ImageFilter.GaussianBlur(3))),
    "box blur 5": by_pillow(lambda image: image.filter(ImageFilter.BoxBlur(2))),
    "sharpened": by_pillow(lambda image: image.filter(ImageFilter.UnsharpMask(2, 100, 0))),
    "bicubic x4": resized(4, Image.Resampling.BICUBIC),
    "Lanczos x2": resized(2, Image.Resampling.LANCZOS),
    "Lanczos x3": resized(3, Image.Resampling.LANCZOS),
    "bilinear x1.7": resized(1.7, Image.Resampling.BILINEAR),
    "noise 10": lambda pixels, draw: rounded(pixels + 10 * draw.normal(size=pixels.shape)),
    "contrast 0.85": lambda pixels, draw: rounded(0.85 * (pixels - 128) + 128),
    "contrast 1.3": lambda pixels, draw: rounded(1.3 * (pixels - 128) + 128),
    "gamma 1.2": lambda pixels, draw: rounded(255 * (pixels / 255) ** 1.2),
    "median 5": by_pillow(lambda image: image.filter(ImageFilter.MedianFilter(5))),
}
#: What else is done to images with grids.
BASES = ("as it is", "bicubic x4", "noise 10", "blur 1")


def grid(
    period: int, shape: str, coloured: bool, size: tuple[int, int], rms: float, draw: np.random.Generator
) -> Pixels:
    """A pattern ``(H, W, 3)`` without a mean, of the same RMS over all channels."""
    if shape == "random":
        cell = draw.normal(size=(period, period))
    else:
        cell = np.zeros((period, period))
        cell[0, 0] = 1
        if shape == "lines":
            cell[0], cell[:, 0] = 1, 1
    cell = np.roll(cell - cell.mean(), draw.integers(period, size=2), (0, 1))
    colour = draw.normal(size=3)
    colour = colour - colour.mean() if coloured else np.ones(3)  # a grey mean hides such a grid
    pattern = np.tile(cell, (size[0] // period + 1, size[1] // period + 1))[: size[0], : size[1], None] * colour
    return pattern * (rms / math.sqrt((cell**2).mean() * (colour**2).mean()))


def texture(kind: str, period: float, size: tuple[int, int]) -> Pixels:
    """A pattern ``(H, W)`` from -1 to 1 with period ``period`` along x; made at four times the size."""
    rows, columns = np.mgrid[: 4 * size[0], : 4 * size[1]] / 4
    x, y = (columns % period) / period, (rows % period) / period
    if kind == "stripes":
        fine = x < 0.5
    elif kind == "checks":
        fine = (x < 0.5) ^ (y < 0.5)
    elif kind == "weave":
        fine = np.sin(2 * np.pi * x) + np.sin(2 * np.pi * y) * np.cos(np.pi * columns / period) > 0
    else:
        shifted = ((columns + period / 2 * (rows // period % 2)) % period) / period
        fine = (shifted > 0.25) & (y > 0.25)
    return 2.0 * fine.reshape(size[0], 4, size[1], 4).mean((1, 3)) - 1


def textured(photograph: Pixels, kind: str, period: float, alone: bool) -> Pixels:
    """A texture alone, or as a wall over half of a photograph."""
    height, width = photograph.shape[:2]
    pattern = texture(kind, period, (height, width))[..., None] * (60, 45, 30)
    if alone:
        return rounded(128 + pattern)
    wall = photograph.copy()
    wall[:, : width // 2] = 0.5 * wall[:, : width // 2] + 64 + 0.5 * pattern[:, : width // 2]
    return rounded(wall)


def pairs(rms: float, texture_periods: Sequence[float] = TEXTURE_PERIODS) -> Iterator[Pair]:
    """All pairs; each is made from its own random numbers."""
    kodak = sorted((ASSETS / "images" / "kodak").glob("*.png"))
    number = 0

    def drawn(make: Callable[[np.random.Generator], tuple[Pixels, Pixels]]) -> Callable[[], tuple[Pixels, Pixels]]:
        nonlocal number
        number += 1
        return lambda seed=number: make(np.random.default_rng(seed))  # type: ignore[misc]

    combinations = list(product(SHAPES, (False, True), BASES))
    for position, path in enumerate(kodak):
        for place, period in enumerate(PERIODS):
            for turn in range(4):
                shape, coloured, base = combinations[(position * 4 + turn + place * 5) % len(combinations)]

                def with_grid(draw, path=path, period=period, shape=shape, coloured=coloured, base=base):
                    target = read(path)
                    preds = target if base == "as it is" else HARMLESS[base](target, draw)
                    pattern = grid(period, shape, coloured, target.shape[:2], rms, draw)
                    return rounded(preds + pattern), target

                yield Pair(f"{shape}, {'coloured' if coloured else 'grey'}, {base}", True, drawn(with_grid), period)
        for name, change in HARMLESS.items():
            yield Pair(f"Kodak, {name}", False, drawn(lambda draw, p=path, c=change: (c(read(p), draw), read(p))))
        for quality in (90, 70, 40):
            change = jpeg(quality)
            yield Pair(f"JPEG {quality}", False, drawn(lambda draw, p=path, c=change: (c(read(p), draw), read(p))))
    names = list(HARMLESS)
    for position, path in enumerate(sorted((ASSETS / "images" / "bsd100").glob("*.png"))):
        for turn in range(2):
            change = HARMLESS[names[(position + 5 * turn) % len(names)]]
            yield Pair("BSD100", False, drawn(lambda draw, p=path, c=change: (c(read(p), draw), read(p))))
    for position, (kind, period, alone) in enumerate(product(TEXTURES, texture_periods, (True, False))):
        for turn in range(3):
            name = names[(position + 4 * turn) % len(names)]

            def of_texture(draw, position=position, kind=kind, period=period, alone=alone, name=name):
                target = textured(read(kodak[position % len(kodak)]), kind, period, alone)
                return HARMLESS[name](target, draw), target

            yield Pair(f"{kind}, {'alone' if alone else 'wall'}", False, drawn(of_texture))


def measured(pair: Pair) -> NDArray[np.float64]:
    """All readings, in the order of ``METER.names``."""
    preds, target = (torch.from_numpy(side).permute(2, 0, 1)[None].float() for side in pair.make())
    return METER.rms(preds, target, data_range=255)[0].numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rms", type=float, default=0.5, help="RMS of the grids in grey levels")
    parser.add_argument("--texture-periods", type=float, nargs="+", default=TEXTURE_PERIODS, help="of drawn textures")
    parser.add_argument("--pairs", type=int, help="measure so many at random, and not all")
    parser.add_argument("--out", type=Path, help="keep all readings here (.npz)")
    given = parser.parse_args()
    every = list(pairs(given.rms, given.texture_periods))
    chosen = [every[place] for place in np.random.default_rng(0).permutation(len(every))[: given.pairs]]
    readings = np.stack([measured(pair) for pair in track(chosen, "measuring")])
    if given.out:
        np.savez(given.out, readings=readings, groups=[p.group for p in chosen], periods=[p.period for p in chosen])
    show(chosen, readings)


def show(chosen: list[Pair], readings: NDArray[np.float64]) -> None:
    """Print the thresholds, the detection rates and what false alarms come from."""
    total = readings[:, 0]
    has_grid = np.array([pair.has_grid for pair in chosen])
    made = np.array([pair.group.split(",")[0] in TEXTURES for pair in chosen])
    harmless = ~has_grid & np.array([not pair.group.startswith("JPEG") for pair in chosen])
    for name, negative in (("photographs", harmless & ~made), ("with textures", harmless)):
        threshold = float(np.quantile(total[negative], 1 - FALSE_ALARMS, method="higher"))
        print(f"{name}: {has_grid.sum()} with grids, {negative.sum()} without, 1 % of those above {threshold:.3f}")
        print_rates(chosen, total, threshold)
    for level in LEVELS:
        false = (total[harmless & ~made] > level).mean(), (total[harmless & made] > level).mean()
        print(f"above {level}: photographs {false[0]:.4f}, textures {false[1]:.4f}")
        print_rates(chosen, total, level)
    groups: dict[str, list[float]] = defaultdict(list)
    for pair, value in zip(chosen, total, strict=True):
        groups[pair.group].append(float(value))
    for group, values in groups.items():
        print(f"{group:32s} n={len(values):3d}, median {np.median(values):.3f}, most {max(values):.3f}")


def print_rates(chosen: list[Pair], total: NDArray[np.float64], threshold: float) -> None:
    """Print the share of grids that are found, by period and over all."""
    periods = np.array([pair.period for pair in chosen])
    for name, of in {**{str(period): periods == period for period in PERIODS}, "all": periods > 0}.items():
        print(f"| {name} | {of.sum()} | {(total[of] > threshold).mean():.3f} | {np.median(total[of]):.2f} |")


if __name__ == "__main__":
    main()
