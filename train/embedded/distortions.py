"""Distortions in severities: 1 is hardly seen, 5 spoils the image, and a higher one is always plainly worse.

Severities between the five are interpolated. Distortions that are *comparable* have levels set by eye to be about as
bad as those of the others, so that two severities further apart are plainly worse whatever the distortions. *Lenient*
ones are changes of light and colour, of which people think little: a comparable distortion two severities above is
plainly worse, and nothing is known the other way about. The rest are in order only among themselves.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

#: ``(image, level, generator)``: ``(1, 3, H, W)`` in [0, 1] to the same shape, not yet clamped.
Distort = Callable[[Tensor, float, Generator], Tensor]

#: The mildest and the worst severity that there are levels for.
SEVERITIES = (1.0, 5.0)


@dataclass(frozen=True)
class Distortion:
    """A distortion and its levels at the severities 1 to 5.

    Args:
        name: what it is called.
        levels: for the severities 1, 2, 3, 4 and 5.
        unit: what a level is, in words.
        distort: the function.
        comparable: whether its severities mean the same as those of other comparable distortions.
        lenient: whether a comparable distortion of a severity well above is worse.
        geometric: interpolate the logarithm of the levels, not the levels.
        whole: round levels to whole numbers: to all, or to odd ones.
    """

    name: str
    levels: tuple[float, float, float, float, float]
    unit: str
    distort: Distort = field(repr=False, compare=False)
    comparable: bool = True
    lenient: bool = False
    geometric: bool = True
    whole: int = 0

    def level(self, severity: float) -> float:
        """The level of a severity in [1, 5].

        Raises:
            ValueError: for another severity.
        """
        if not SEVERITIES[0] <= severity <= SEVERITIES[1]:
            raise ValueError(f"`severity` must lie in [1, 5], got {severity:g}")
        levels = np.log(self.levels) if self.geometric else np.array(self.levels)
        found = float(np.interp(severity, [1, 2, 3, 4, 5], levels))
        found = math.exp(found) if self.geometric else found
        if self.whole == 2:
            return 2 * round((found - 1) / 2) + 1
        return round(found) if self.whole else found

    def __call__(self, image: Tensor, severity: float, generator: Generator) -> Tensor:
        """Distort ``(1, 3, H, W)`` in [0, 1]; the result is in [0, 1] too.

        What is random depends on the generator alone: of one state of it, every severity is the same, only stronger.

        Raises:
            ValueError: for another shape or severity.
        """
        if image.ndim != 4 or image.shape[:2] != (1, 3) or not image.is_floating_point():
            raise ValueError(f"`image` must be (1, 3, H, W) and floating point, got {image.dtype} {tuple(image.shape)}")
        return self.distort(image, self.level(severity), generator).clamp(0, 1)


def _blur(image: Tensor, level: float, generator: Generator) -> Tensor:
    from kornia.filters import gaussian_blur2d

    radius = min(math.ceil(3 * level), min(image.shape[-2:]) - 1)
    return torch.as_tensor(gaussian_blur2d(image, 2 * radius + 1, (level, level)))


def _disc(image: Tensor, level: float, generator: Generator) -> Tensor:
    from kornia.filters import filter2d

    radius = math.ceil(level)
    steps = torch.arange(-radius, radius + 1, dtype=image.dtype)
    kernel = (level + 0.5 - (steps[:, None].square() + steps.square()).sqrt()).clamp(0, 1)
    return torch.as_tensor(filter2d(image, kernel[None], normalized=True))


def _motion(image: Tensor, level: float, generator: Generator) -> Tensor:
    from kornia.filters import motion_blur

    angle = float(torch.rand((), generator=generator)) * 360
    return torch.as_tensor(motion_blur(image, int(level), angle, 0.0, border_type="replicate"))


def _noise(image: Tensor, level: float, generator: Generator) -> Tensor:
    return image + level / 255 * torch.randn(image.shape, generator=generator)


def _grain(image: Tensor, level: float, generator: Generator) -> Tensor:
    grains = F.avg_pool2d(torch.randn((1, 1, *image.shape[2:]), generator=generator), 3, 1, 1)
    return image + level / 255 * grains * 3


def _chroma_noise(image: Tensor, level: float, generator: Generator) -> Tensor:
    noise = F.avg_pool2d(torch.randn(image.shape, generator=generator), 3, 1, 1) * 3
    return image + level / 255 * (noise - noise.mean(1, keepdim=True))


def _impulses(image: Tensor, level: float, generator: Generator) -> Tensor:
    place = torch.rand(image.shape, generator=generator)
    salt = (torch.rand(image.shape, generator=generator) < 0.5).to(image)
    return torch.where(place < level, salt, image)


def _jpeg(image: Tensor, level: float, generator: Generator) -> Tensor:
    from torchvision.io import decode_jpeg, encode_jpeg

    pixels = (image[0] * 255).round().to(torch.uint8)
    return decode_jpeg(encode_jpeg(pixels, quality=int(level)))[None].to(image) / 255


def _smaller(image: Tensor, factor: float) -> Tensor:
    size = [max(1, round(side / factor)) for side in image.shape[2:]]
    return F.interpolate(image, size, mode="bicubic", antialias=True)


def _resample(image: Tensor, level: float, generator: Generator) -> Tensor:
    return F.interpolate(_smaller(image, level), image.shape[2:], mode="bicubic")


def _pixelate(image: Tensor, level: float, generator: Generator) -> Tensor:
    size = [max(1, round(side / level)) for side in image.shape[2:]]
    return F.interpolate(F.interpolate(image, size, mode="area"), image.shape[2:], mode="nearest-exact")


def _super_resolve(image: Tensor, level: float, generator: Generator) -> Tensor:
    """What enlarging networks leave: edges too sharp, fine texture gone and replaced by made-up strokes."""
    enlarged = F.interpolate(_smaller(image, level), image.shape[2:], mode="bicubic")
    soft = _blur(enlarged, 0.6 * level, generator)
    edges = enlarged - soft
    strokes = F.avg_pool2d(torch.randn((1, 1, *image.shape[2:]), generator=generator), 3, 1, 1) * 3
    return enlarged + 0.8 * edges + 0.25 * strokes * edges.abs().mean(1, keepdim=True)


def _ringing(image: Tensor, level: float, generator: Generator) -> Tensor:
    """A low-pass with a hard edge at a share of the Nyquist frequency; mirrored, so that borders do not ring."""
    mirrored = torch.cat([image, image.flip(2)], 2)
    mirrored = torch.cat([mirrored, mirrored.flip(3)], 3)
    height, width = mirrored.shape[2:]
    rows, columns = torch.fft.fftfreq(height)[:, None] * 2, torch.fft.rfftfreq(width)[None] * 2
    keep = 1 / (1 + ((rows.square() + columns.square()).sqrt() / level) ** 16)
    filtered = torch.fft.irfft2(torch.fft.rfft2(mirrored) * keep, (height, width))
    return filtered[..., : image.shape[2], : image.shape[3]]


def _sharpen(image: Tensor, level: float, generator: Generator) -> Tensor:
    return image + level * (image - _blur(image, 1.0, generator))


def _median(image: Tensor, level: float, generator: Generator) -> Tensor:
    from PIL import Image, ImageFilter

    picture = Image.fromarray((image[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
    found = np.asarray(picture.filter(ImageFilter.MedianFilter(int(level))))
    return torch.from_numpy(found.transpose(2, 0, 1).copy())[None].to(image) / 255


def _webp(image: Tensor, level: float, generator: Generator) -> Tensor:
    from PIL import Image

    file = io.BytesIO()
    picture = Image.fromarray((image[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
    picture.save(file, "WEBP", quality=int(level), method=2)
    found = np.asarray(Image.open(file).convert("RGB"))
    return torch.from_numpy(found.transpose(2, 0, 1).copy())[None].to(image) / 255


def _quantise(image: Tensor, level: float, generator: Generator) -> Tensor:
    return (image * (level - 1)).round() / (level - 1)


def _contrast(image: Tensor, level: float, generator: Generator) -> Tensor:
    mean = image.mean()
    return mean + level * (image - mean)


def _darken(image: Tensor, level: float, generator: Generator) -> Tensor:
    return image.clamp_min(0) ** level


def _fade(image: Tensor, level: float, generator: Generator) -> Tensor:
    grey = image.mean(1, keepdim=True)
    return grey + level * (image - grey)


def _tint(image: Tensor, level: float, generator: Generator) -> Tensor:
    direction = torch.randn((1, 3, 1, 1), generator=generator)
    direction = direction - direction.mean()
    return image + level * direction / direction.square().mean().sqrt().clamp_min(1e-6)


def _warp(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Move pixels about by a smooth field whose deviation is the level."""
    height, width = image.shape[2:]
    coarse = torch.randn((1, 2, height // 12 + 4, width // 12 + 4), generator=generator)
    offsets = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True) * level
    return _moved(image, offsets[:, 0], offsets[:, 1])


def _misregister(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Move the red one way and the blue the other."""
    angle = float(torch.rand((), generator=generator)) * 2 * math.pi
    down, across = level / 2 * math.sin(angle), level / 2 * math.cos(angle)
    red, blue = shifted(image[:, :1], down, across), shifted(image[:, 2:], -down, -across)
    return torch.cat([red, image[:, 1:2], blue], 1)


def shifted(image: Tensor, down: float, across: float) -> Tensor:
    """Move ``(N, C, H, W)`` by parts of pixels, mirrored at the border."""
    zeros = image.new_zeros(1, *image.shape[2:])
    return _moved(image, zeros - down, zeros - across)


def turned(image: Tensor, degrees: float) -> Tensor:
    """Turn ``(N, C, H, W)`` about its centre, mirrored at the border."""
    height, width = image.shape[2:]
    rows = (torch.arange(height, dtype=image.dtype) - (height - 1) / 2)[:, None]
    columns = torch.arange(width, dtype=image.dtype) - (width - 1) / 2
    angle = math.radians(degrees)
    down = math.cos(angle) * rows + math.sin(angle) * columns - rows
    across = math.cos(angle) * columns - math.sin(angle) * rows - columns
    return _moved(image, down[None], across[None])


def slightly_moved(image: Tensor, draw: random.Random, farthest: float, degrees: float) -> Tensor:
    """Move ``(N, C, H, W)`` by up to ``farthest`` pixels, by little more often, or turn it by up to ``degrees``."""
    if draw.random() < 0.2:
        return turned(image, draw.uniform(-degrees, degrees)).clamp(0, 1)
    far, angle = math.exp(draw.uniform(math.log(0.3), math.log(farthest))), draw.uniform(0, 2 * math.pi)
    down, across = far * math.sin(angle), far * math.cos(angle)
    if far >= 1 and draw.random() < 0.5:  # whole pixels: nothing is interpolated
        down, across = float(round(down)), float(round(across))
    return shifted(image, down, across).clamp(0, 1)


def _moved(image: Tensor, down: Tensor, across: Tensor) -> Tensor:
    height, width = image.shape[2:]
    rows = torch.arange(height, dtype=image.dtype)[:, None] + down
    columns = torch.arange(width, dtype=image.dtype) + across
    places = torch.stack([columns * 2 / max(width - 1, 1) - 1, rows * 2 / max(height - 1, 1) - 1], -1)
    return F.grid_sample(
        image, places.expand(len(image), -1, -1, -1), "bicubic", padding_mode="reflection", align_corners=True
    )


def _by_name(*distortions: Distortion) -> dict[str, Distortion]:
    return {one.name: one for one in distortions}


#: What a network is trained on.
TRAINED = _by_name(
    Distortion("blur", (0.55, 0.9, 1.5, 2.5, 4.2), "standard deviation of a Gaussian, pixels", _blur),
    Distortion("defocus", (0.9, 1.5, 2.4, 4.0, 6.5), "radius of a disc, pixels", _disc),
    Distortion("noise", (3, 8, 17, 32, 60), "standard deviation, 1/255", _noise),
    Distortion("grain", (3, 6, 12, 22, 38), "standard deviation, 1/255, grey, 3 x 3 pixels", _grain),
    Distortion("jpeg", (75, 45, 25, 13, 6), "quality of libjpeg", _jpeg, whole=1),
    Distortion("resample", (1.4, 2, 3, 4.5, 7), "factor, bicubic down and up", _resample),
    Distortion("pixelate", (1.3, 1.8, 2.5, 3.6, 5.5), "side of the blocks, pixels", _pixelate),
    Distortion("super_resolve", (1.5, 2, 3, 4.2, 6), "factor", _super_resolve),
    Distortion("ringing", (0.75, 0.5, 0.33, 0.22, 0.14), "cut-off, of the Nyquist frequency", _ringing),
    Distortion("quantise", (26, 15, 10, 6.5, 4), "steps a channel", _quantise),
    Distortion("sharpen", (0.5, 1.0, 2.0, 4.0, 7.0), "amount of the unsharp mask", _sharpen, comparable=False),
    Distortion("chroma_noise", (5, 10, 20, 35, 60), "standard deviation, 1/255", _chroma_noise, comparable=False),
    Distortion("contrast", (0.85, 0.7, 0.55, 0.4, 0.28), "share kept", _contrast, comparable=False, lenient=True),
    Distortion("darken", (1.15, 1.35, 1.7, 2.2, 3.0), "exponent", _darken, comparable=False, lenient=True),
    Distortion(
        "fade",
        (0.8, 0.6, 0.4, 0.2, 0.0),
        "share of colour kept",
        _fade,
        comparable=False,
        lenient=True,
        geometric=False,
    ),
    Distortion("tint", (0.025, 0.05, 0.09, 0.15, 0.25), "colour added", _tint, comparable=False, lenient=True),
    Distortion("warp", (0.5, 1.0, 1.8, 3.0, 5.0), "pixels", _warp, comparable=False),
    Distortion("misregister", (1, 2, 3.5, 6, 10), "pixels between red and blue", _misregister, comparable=False),
)

#: What it never sees in training: whether it learned more than what it was shown.
HELD_OUT = _by_name(
    Distortion("motion", (3, 5, 9, 15, 25), "length, pixels", _motion, whole=2),
    Distortion("impulses", (0.002, 0.006, 0.018, 0.05, 0.12), "share of values", _impulses),
    Distortion("median", (3, 5, 7, 11, 17), "side of the window, pixels", _median, whole=2),
    # its worst is no worse than a 4
    Distortion("webp", (60, 30, 14, 5, 1), "quality of libwebp", _webp, comparable=False, whole=1),
)
