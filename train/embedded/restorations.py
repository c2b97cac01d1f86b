"""What cameras, codecs and restoration make of a picture, alone and in chains: what the network is taught on.

Each takes pixels ``(H, W, 3)`` uint8 and a generator of random numbers, and gives pixels of the same size.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch.nn import functional as F

from train.embedded.photographs import Pixels

Random = np.random.Generator
Change = Callable[[Pixels, Random], Pixels]

_SMOOTH = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
_SHRINK = (*_SMOOTH, Image.Resampling.BOX)
_ENLARGE = (*_SMOOTH, *_SMOOTH, Image.Resampling.NEAREST)


def enlarged(pixels: Pixels, rng: Random) -> Pixels:
    """Super-resolution by interpolation, at times sharpened: shrunk 1.3 to 8 times, then enlarged."""
    image, factor = Image.fromarray(pixels), _between(rng, 1.3, 8)
    size = [max(4, round(side / factor)) for side in image.size]
    small = image.resize((size[0], size[1]), _SHRINK[rng.integers(len(_SHRINK))])
    result = np.asarray(small.resize(image.size, _ENLARGE[rng.integers(len(_ENLARGE))]))
    return sharpened(result, rng) if rng.random() < 0.4 else result


def sharpened(pixels: Pixels, rng: Random) -> Pixels:
    """Unsharp masking, to the point of ringing."""
    mask = ImageFilter.UnsharpMask(_between(rng, 0.7, 3), int(_between(rng, 30, 250)), 0)
    return np.asarray(Image.fromarray(pixels).filter(mask))


def compressed(pixels: Pixels, rng: Random) -> Pixels:
    """JPEG, JPEG 2000 or WebP."""
    kind, options = (
        ("JPEG", {"quality": int(_between(rng, 5, 80))}),
        ("JPEG", {"quality": int(_between(rng, 5, 80))}),
        ("JPEG2000", {"quality_mode": "rates", "quality_layers": [_between(rng, 8, 150)], "irreversible": True}),
        ("WEBP", {"quality": int(_between(rng, 2, 60))}),
    )[rng.integers(4)]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return np.asarray(Image.open(file).convert("RGB"))


def noisy(pixels: Pixels, rng: Random) -> Pixels:
    """Noise: of each value, of the light alone, in grains of some pixels, or only where there is texture."""
    kind, size = rng.integers(5), _between(rng, 2, 50)
    noise = rng.standard_normal((*pixels.shape[:2], 1 if kind in (1, 3) else 3), dtype=np.float32)
    if kind == 2:
        spread = F.avg_pool2d(torch.from_numpy(noise).permute(2, 0, 1)[None], 3, 1, 1, count_include_pad=False)
        noise = 3 * spread[0].permute(1, 2, 0).numpy()
    if kind == 3:
        light = pixels.mean(2)
        detail = np.abs(light - _softened(pixels, 3).mean(2))
        noise = noise * (detail / (detail.mean() + 1))[..., None]
    return np.clip(pixels + size * noise, 0, 255).astype(np.uint8)


def denoised(pixels: Pixels, rng: Random) -> Pixels:
    """Noise, and what a filter leaves of it."""
    found = np.clip(pixels + rng.normal(0, _between(rng, 4, 40), pixels.shape), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        return np.asarray(Image.fromarray(found).filter(ImageFilter.MedianFilter(3)))
    return _softened(found, _between(rng, 0.5, 1.5))


def blurred(pixels: Pixels, rng: Random) -> Pixels:
    """Out of focus, or smoothed by a median."""
    if rng.random() < 0.2:
        return np.asarray(Image.fromarray(pixels).filter(ImageFilter.MedianFilter((3, 5, 7)[rng.integers(3)])))
    return _softened(pixels, _between(rng, 0.4, 6))


def deblocked(pixels: Pixels, rng: Random) -> Pixels:
    """JPEG, smoothed."""
    return _softened(compressed(pixels, rng), _between(rng, 0.4, 1.5))


def toned(pixels: Pixels, rng: Random) -> Pixels:
    """Other light, contrast, tone curve or colour."""
    value = pixels.astype(np.float32) / 255
    kind = rng.integers(4)
    if kind == 0:
        value = value * rng.uniform(0.6, 1.3)
    elif kind == 1:
        value = 0.5 + (value - 0.5) * rng.uniform(0.5, 1.5)
    elif kind == 2:
        value = value ** rng.uniform(0.6, 1.6)
    else:
        grey = value.mean(2, keepdims=True)
        value = grey + (value - grey) * rng.uniform(0, 1.6)
    return (np.clip(value, 0, 1) * 255).astype(np.uint8)


def moved(pixels: Pixels, rng: Random) -> Pixels:
    """Moved by up to two pixels."""
    height, width = pixels.shape[:2]
    right, down = rng.uniform(-2, 2, 2)
    turn = torch.tensor([[[1, 0, 2 * right / width], [0, 1, 2 * down / height]]], dtype=torch.float32)
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
    grid = F.affine_grid(turn, list(image.shape), align_corners=False)
    found = F.grid_sample(image, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return found[0].permute(1, 2, 0).clamp(0, 255).byte().numpy()


#: How often each is drawn.
CHANGES: dict[Change, int] = {
    enlarged: 4,
    compressed: 3,
    noisy: 2,
    blurred: 2,
    sharpened: 1,
    denoised: 1,
    toned: 1,
    deblocked: 1,
}


def changed(pixels: Pixels, rng: Random) -> Pixels:
    """One change or a chain of two, at times moved."""
    kinds, often = list(CHANGES), np.array(list(CHANGES.values()), dtype=float)
    for kind in rng.choice(len(kinds), 2 if rng.random() < 0.3 else 1, p=often / often.sum()):
        pixels = kinds[kind](pixels, rng)
    return moved(pixels, rng) if rng.random() < 0.1 else pixels


def _softened(pixels: Pixels, radius: float) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _between(rng: Random, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))
