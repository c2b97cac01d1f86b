"""Made images: several kinds of procedural pictures, taken as if by a camera. No photograph, no data set.

Look at some of them, and at their statistics::

    python -m train.embedded.images --sheet sheet.png
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from train.embedded.fields import Floats, Random, ramp, softened, spectral
from train.embedded.pictures import PICTURES, Picture

#: Pictures by name.
KINDS: dict[str, Picture] = {picture.__name__: picture for picture in PICTURES}


def make_image(seed: int, side: int = 256, kind: str | None = None) -> Tensor:
    """Make an image, the same for the same arguments.

    Args:
        seed: which one.
        side: rows and columns, at least 32.
        kind: one of :data:`KINDS`, by default drawn by their shares.

    Returns:
        ``(3, side, side)`` uint8.

    Raises:
        ValueError: for a smaller side or an unknown kind.
    """
    if side < 32:
        raise ValueError(f"`side` must be at least 32 pixels, got {side}")
    if kind is not None and kind not in KINDS:
        raise ValueError(f"there is no kind {kind!r} of images: give one of {', '.join(KINDS)}")
    rng = np.random.default_rng([seed, side])
    shares = np.array(list(PICTURES.values()))
    drawn = list(KINDS)[int(rng.choice(len(shares), p=shares / shares.sum()))]
    picture = KINDS[kind or drawn](rng, side)
    pixels = np.rint(np.clip(_taken(rng, picture), 0, 1) * 255).astype(np.uint8)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def make_images(seeds: range, side: int = 256) -> Tensor:
    """Make images ``(N, 3, side, side)`` uint8, one for each seed."""
    return torch.stack([make_image(seed, side) for seed in seeds])


def _taken(rng: Random, picture: Floats) -> Floats:
    """What a camera makes of it: light that is not even, focus, exposure, white balance, tone, lens and grain."""
    side = picture.shape[0]
    picture = np.maximum(picture, 0)
    if rng.uniform() < 0.5:
        picture = picture * np.exp(rng.uniform(0.1, 0.5) * spectral(rng, side, 2.0))[..., None]
    if rng.uniform() < 0.3:  # part of it out of focus
        far = np.clip(ramp(rng, side) * 3 - rng.uniform(0.5, 2), 0, 1)[..., None]
        picture = picture + far * (softened(picture, rng.uniform(1, 5)) - picture)
    if rng.uniform() < 0.2:  # mist takes contrast, more of it far away
        mist = rng.uniform(0.2, 0.8) * ramp(rng, side)[..., None]
        picture = picture + mist * (rng.uniform(0.5, 1) - picture)
    low, high = np.quantile(picture[::4, ::4], [rng.uniform(0.0, 0.03), rng.uniform(0.97, 1.0)])
    dark, bright = rng.uniform(0, 0.12), rng.uniform(0.75, 1.05)
    if high - low > 0.05:
        picture = (picture - low) / (high - low) * (bright - dark) + dark
    picture = np.clip(picture, 0, 1) ** np.float32(np.exp(rng.normal(-0.12, 0.3)))
    grey = picture.mean(2, keepdims=True)
    picture = grey + rng.uniform(0.4, 1.1) * (picture - grey)
    picture = picture * np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    picture = softened(picture, rng.uniform(0.3, 0.6))
    grain = rng.exponential(0.6) / 255
    return (picture + grain * rng.standard_normal(picture.shape, dtype=np.float32)).astype(np.float32)


def spectrum_slope(images: Tensor) -> Tensor:
    """How fast amplitude falls with frequency, ``frequency ** -slope``, of ``(N, 3, S, S)`` uint8: ``(N,)``.

    Photographs have about 1.2, from 0.8 to 1.6 (Tolhurst, Tadmor and Chao, 1992).
    """
    grey = images.double().mean(1)
    side = grey.shape[-1]
    window = torch.hann_window(side, periodic=False, dtype=torch.float64)
    centred = (grey - grey.mean((1, 2), keepdim=True)) * window[:, None] * window
    power = torch.fft.fft2(centred).abs().square()
    rows = torch.fft.fftfreq(side, dtype=torch.float64)
    radius = (rows[:, None].square() + rows.square()).sqrt() * side
    shells = [(radius >= low) & (radius < low * 1.3) for low in _shells(side)]
    amplitude = torch.stack([power[:, shell].mean(1).clamp_min(1e-9).sqrt().log() for shell in shells], 1)
    places = torch.tensor(_shells(side), dtype=torch.float64).log()
    places = places - places.mean()
    return -(amplitude * places).sum(1) / places.square().sum()


def _shells(side: int) -> list[float]:
    found, low = [], 3.0
    while low * 1.3 < side / 3:
        found.append(low)
        low *= 1.3
    return found


def statistics(images: Tensor) -> dict[str, float]:
    """Means over images ``(N, 3, S, S)`` uint8 that say how like photographs they are."""
    unit = images.double() / 255
    grey = unit.mean(1)
    steps = torch.cat([grey.diff(dim=1).flatten(1), grey.diff(dim=2).flatten(1)], 1)
    slopes = spectrum_slope(images)
    kurtosis = steps.pow(4).mean(1) / steps.square().mean(1).clamp_min(1e-12).square()
    return {
        "slope": float(slopes.mean()),
        "slope, 10 %": float(slopes.quantile(0.1)),
        "slope, 90 %": float(slopes.quantile(0.9)),
        "mean": float(grey.mean()),
        "contrast": float(grey.flatten(1).std(1).mean()),
        "step": float(steps.abs().mean()),
        "kurtosis of steps, median": float(kurtosis.median()),
        "flat (step < 1/255)": float((steps.abs() < 1 / 255).double().mean()),
        "colour": float((unit - unit.mean(1, keepdim=True)).square().mean((1, 2, 3)).sqrt().mean()),
    }


def sheet(images: Tensor, columns: int) -> Tensor:
    """Lay out ``(N, 3, S, S)`` in rows of ``columns``: ``(3, H, W)``."""
    from torchvision.utils import make_grid

    grid: Tensor = make_grid(images, columns, padding=2)
    return grid


def main() -> None:
    """Write a contact sheet and print speed and statistics, beside those of photographs where a folder is given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sheet", type=Path, default=Path("sheet.png"), help="PNG to write")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--kinds", action="store_true", help="a row of each kind instead of the mix")
    parser.add_argument("--photographs", type=Path, help="folder to compare the statistics with")
    given = parser.parse_args()
    from torchvision.io import write_png

    seeds = range(given.first, given.first + given.count)
    if given.kinds:
        images = torch.stack([make_image(seed, given.side, kind) for kind in KINDS for seed in seeds[:8]])
        columns = 8
        for number, kind in enumerate(KINDS):
            start = time.perf_counter()
            make_image(0, given.side, kind)
            slope = float(spectrum_slope(images[8 * number : 8 * number + 8]).mean())
            print(f"{kind:14s} {1000 * (time.perf_counter() - start):5.0f} ms  slope {slope:.2f}")
    else:
        start = time.perf_counter()
        images, columns = make_images(seeds, given.side), 10
        print(f"{given.count / (time.perf_counter() - start):.1f} images/s at {given.side} x {given.side}")
    write_png(sheet(images, columns), str(given.sheet))
    rows = {"made": images}
    if given.photographs:
        from torchmetrics_fmiqa.data.images import read_image

        files = sorted(given.photographs.glob("*.png"))[:60]
        rows["photographs"] = torch.stack([read_image(file)[:, : given.side, : given.side] for file in files])
    for name, found in rows.items():
        print(name, *(f"{key} {value:.3f}" for key, value in statistics(found).items()), sep=" | ")


if __name__ == "__main__":
    main()
