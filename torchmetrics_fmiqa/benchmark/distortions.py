"""Distortions of images that a benchmark makes itself: in levels, and so slight that people hardly see them.

:data:`GRADED` are distortions in levels, each plainly worse than the one before: a metric must put them in order.
:data:`CHANGES` are slight changes of the image under test (a shift by a pixel, a small turn): they should move a score
little.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from torchmetrics_fmiqa.features.tiles import mirror_index

#: ``(images, level, generator)``, images ``(N, 3, H, W)`` floating point in [0, 1], to images of the same shape.
Distort = Callable[[Tensor, float, Generator], Tensor]


@dataclass(frozen=True)
class GradedDistortion:
    """A distortion and its levels; call it with images."""

    levels: tuple[float, ...]  #: from the mildest to the worst
    distort: Distort = field(repr=False, compare=False)  #: pure but for the generator, which lives on the CPU

    def __call__(self, preds: Tensor, level: float, generator: Generator) -> Tensor:
        """Distort images ``(N, 3, H, W)``, floating point in [0, 1], by one of the levels, or by another.

        Raises:
            ValueError: for images too small for the level.

        >>> blur = GRADED["blur"]
        >>> dot = torch.zeros(1, 3, 9, 9)
        >>> dot[..., 4, 4] = 1
        >>> round(blur(dot, 0.5, torch.Generator())[0, 0, 4, 4].item(), 4)
        0.6187
        """
        return self.distort(preds, level, generator)

    def series(self, images: Tensor, seed: int = 0) -> list[Tensor]:
        """The images at every level, mildest first; whatever is random is the same at all levels, only stronger.

        Raises:
            ValueError: for images too small for a level.

        >>> [round(version.std().item(), 2) for version in GRADED["noise"].series(torch.full((1, 3, 64, 64), 0.5))]
        [0.01, 0.02, 0.04, 0.08, 0.16]
        """
        return [self(images, level, torch.Generator().manual_seed(seed)) for level in self.levels]


def _blur(images: Tensor, level: float, generator: Generator) -> Tensor:
    from kornia.filters import gaussian_blur2d

    radius = math.ceil(4 * level)
    if radius >= min(images.shape[-2:]):
        raise ValueError(f"a blur of {level:g} pixels needs images of {radius + 1} pixels a side, got {_size(images)}")
    return torch.as_tensor(gaussian_blur2d(images, 2 * radius + 1, (level, level), border_type="reflect"))


def _noise(images: Tensor, level: float, generator: Generator) -> Tensor:
    field = torch.randn(images.shape, generator=generator, dtype=images.dtype).to(images.device)
    # An image cannot leave its range, so neither does a noisy one.
    return (images + level / 255 * field).clamp(0, 1)


def _jpeg(images: Tensor, level: float, generator: Generator) -> Tensor:
    from torchvision.io import decode_jpeg, encode_jpeg

    # One encoder everywhere: that of a GPU rounds otherwise than libjpeg.
    pixels = (images.detach() * 255).round().to("cpu", torch.uint8)
    coded = torch.stack([decode_jpeg(encode_jpeg(image, quality=int(level))) for image in pixels])
    return coded.to(images) / 255


def _contrast(images: Tensor, level: float, generator: Generator) -> Tensor:
    from torchvision.transforms.v2.functional import adjust_contrast

    return torch.as_tensor(adjust_contrast(images, level))


def _pixelate(images: Tensor, level: float, generator: Generator) -> Tensor:
    side = int(level)
    if side > min(images.shape[-2:]):
        raise ValueError(f"blocks of {side} pixels need images as large, got {_size(images)}")
    # Blocks cut by the border are the mean of what is left of them.
    blocks = F.avg_pool2d(images, side, ceil_mode=True, count_include_pad=False)
    spread = blocks.repeat_interleave(side, dim=-2).repeat_interleave(side, dim=-1)
    return spread[..., : images.shape[-2], : images.shape[-1]]


def _size(images: Tensor) -> str:
    return f"{images.shape[-2]} x {images.shape[-1]}"


#: The distortions by name. Levels are: of blur the standard deviation of a Gaussian, in pixels; of noise the standard
#: deviation in 1/255, clipped to [0, 1]; of JPEG the quality of libjpeg, without a gradient; of contrast the share that
#: is kept, around the mean of the grey image; of pixelation the side of the square blocks, in pixels.
GRADED: dict[str, GradedDistortion] = {
    "blur": GradedDistortion((0.5, 1, 2, 4), _blur),
    "noise": GradedDistortion((2, 5, 10, 20, 40), _noise),
    "jpeg": GradedDistortion((90, 70, 50, 30, 10), _jpeg),
    "contrast": GradedDistortion((0.9, 0.8, 0.7, 0.6, 0.5), _contrast),
    "pixelation": GradedDistortion((2, 3, 4), _pixelate),
}

#: Images ``(N, 3, H, W)``, floating point in [0, 1], to as many of the same size and type.
Change = Callable[[Tensor], Tensor]


def _shift(preds: Tensor, pixels: int | None) -> Tensor:
    """Move to the right by exact copies; ``None`` stands for 1 % of the width, rounded up."""
    width = preds.shape[3]
    by = -(-width // 100) if pixels is None else pixels  # whole numbers: ceil(0.01 * 700) is 8
    return preds.index_select(3, mirror_index(width, width, preds.device, -by))


def _transform(preds: Tensor, name: str, value: float) -> Tensor:
    """Enlarge ("scale") or turn ("rotate", counter-clockwise) about the centre, and keep the size."""
    from kornia.geometry import transform

    # At least float32: places in an image need more digits than half types have.
    images = preds.to(torch.promote_types(preds.dtype, torch.float32))
    amount = images.new_full((1, 2) if name == "scale" else (1,), value)
    # With `align_corners` kornia mirrors about pixels, not about their edges.
    changed = getattr(transform, name)(images, amount, padding_mode="reflection", align_corners=True)
    # Interpolation stays between the values it mixes; the clamp only takes back rounding, such as 1.0000001.
    return torch.as_tensor(changed.clamp(0, 1).to(preds.dtype))


#: The changes by name: to the right by a pixel, to the right by 1 % of the width, larger by 1 %, turned clockwise by a
#: quarter of a degree and by a degree. The size stays and borders are mirrored; shifts copy, the others are bilinear.
#: Columns and options call them so: the names are without spaces.
CHANGES: dict[str, Change] = {
    "shift-1px": partial(_shift, pixels=1),
    "shift-1%": partial(_shift, pixels=None),
    "scale-1%": partial(_transform, name="scale", value=1.01),
    "rotate-0.25": partial(_transform, name="rotate", value=-0.25),
    "rotate-1": partial(_transform, name="rotate", value=-1.0),
}


def parse_changes(text: str) -> dict[str, Change]:
    """Changes that an option names, by name: ``"all"``, ``"none"``, or names with commas between.

    Raises:
        ValueError: for names that are unknown or come twice, naming those that are known.

    >>> ramp = torch.tensor([0.0, 0.2, 0.4, 0.6]).expand(1, 3, 2, 4)
    >>> parse_changes("shift-1px,rotate-1")["shift-1px"](ramp)[0, 0, 0]
    tensor([0.2000, 0.0000, 0.2000, 0.4000])
    >>> len(parse_changes("all")), parse_changes("none")
    (5, {})
    """
    if text.strip() == "all":
        return CHANGES
    if text.strip() == "none":
        return {}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in CHANGES:
            raise ValueError(f"there is no change {name!r}: give 'all', 'none', or some of {', '.join(CHANGES)}")
        if names.count(name) > 1:
            raise ValueError(f"the change {name!r} is named twice in {text!r}: name it once")
    return {name: CHANGES[name] for name in names}
