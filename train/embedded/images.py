"""Made images: several kinds of procedural pictures, taken as if by a camera. No photograph, no data set.

Look at some of them::

    python -m train.embedded.images --sheet sheet.png
"""

from __future__ import annotations

import argparse
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


def main() -> None:
    """Write a contact sheet: a row of each kind."""
    from torchvision.io import write_png
    from torchvision.utils import make_grid

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sheet", type=Path, default=Path("sheet.png"), help="PNG to write")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--side", type=int, default=192)
    given = parser.parse_args()
    images = [make_image(given.first + seed, given.side, kind) for kind in KINDS for seed in range(8)]
    write_png(make_grid(torch.stack(images), 8, padding=2), str(given.sheet))


if __name__ == "__main__":
    main()
