"""Stages of a convolutional trunk: antialiased halving, 3 x 3 convolutions, and divisive normalisation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

# Images of more pixels go through the first stages in strips of so many rows: there features take the most memory.
_WHOLE = 2**21
_STRIP = 256

# Windows of the local mean, positions, and the light that is added to it.
_MEAN = 17
_DARK = 0.1


class Stage(nn.Module):
    """Halve the image, then convolve."""

    def __init__(
        self, before: int, channels: int, layers: int, generator: Generator, contrast: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        self.blur = BlurPool(before)
        widths = [before, *[channels] * layers]
        self.layers = nn.Sequential(
            *(Layer(one, other, generator, contrast) for one, other in itertools.pairwise(widths))
        )

    def forward(self, values: Tensor) -> Tensor:
        """Images or features ``(N, C, H, W)``, at half their size."""
        result: Tensor = self.layers(self.blur(values))
        return result


class Layer(nn.Module):
    """A 3 x 3 convolution, what exceeds a threshold, and divisive normalisation (``contrast``) of that."""

    def __init__(self, before: int, channels: int, generator: Generator, contrast: Callable[[int], nn.Module]) -> None:
        super().__init__()
        scale = math.sqrt(2 / (9 * before))
        self.weight = nn.Parameter(torch.randn(channels, before, 3, 3, generator=generator) * scale)
        # not 0: an evenly grey image would have no features at all, and no direction to compare
        self.bias = nn.Parameter(torch.randn(channels, generator=generator) * 0.02)
        self.contrast = contrast(channels)

    def forward(self, values: Tensor) -> Tensor:
        """Features ``(N, C, H, W)`` of as many positions."""
        values = F.conv2d(_replicated(values, 1, 1, 1, 1), self.weight, self.bias)
        result: Tensor = self.contrast(F.relu(values, inplace=True))
        return result


class Divisive(nn.Module):
    """Divide by the local size of all channels, as cells in the visual cortex do: what is beside much counts less.

    The size is the root of the mean square over channels and 5 x 5 positions; sizes far below a learned floor are not
    raised. Each channel by its own size makes a better untrained network, but one that cannot be trained: it amplifies
    what hardly exists, and after ten layers gradients of two batches have nothing in common.
    """

    # Where it starts, before training.
    _FLOOR = 0.05

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.floor = nn.Parameter(torch.full((channels,), math.log(self._FLOOR)))

    def forward(self, values: Tensor) -> Tensor:
        """The values ``(N, C, H, W)``, each divided; they are overwritten where no gradient is asked for."""
        energy = _local_mean(self._energy(values), 5, 5)
        size = energy + (2 * self.floor).exp()[:, None, None]
        if torch.is_grad_enabled() or size.dtype != values.dtype:  # under autocast the result is more exact than they
            return values * torch.rsqrt(size)
        return values.mul_(size.rsqrt_())

    def _energy(self, values: Tensor) -> Tensor:
        return values.square().mean(1, keepdim=True)


class OwnSize(Divisive):
    """Divide each channel by its own local size."""

    _FLOOR = 0.1

    def _energy(self, values: Tensor) -> Tensor:
        return values.square()


class LocalContrast(nn.Module):
    """By what share an image differs from its local mean, over 17 x 17 positions: Weber's contrast."""

    def forward(self, values: Tensor) -> Tensor:
        """Contrast of images ``(N, C, H, W)`` in [0, 1]."""
        # In at least float32, under autocast too: half the precision is too little for what divides by small numbers,
        # and convolutions of long kernels in bfloat16 take minutes on some CPUs.
        with torch.autocast(values.device.type, enabled=False):
            exact = values.to(torch.promote_types(values.dtype, torch.float32))
            mean = _local_mean(_local_mean(exact, _MEAN, 1), 1, _MEAN)
            return ((exact - mean) / (mean + _DARK)).to(values.dtype)


class BlurPool(nn.Module):
    """Half the size without aliasing: the binomial filter 1 3 3 1, centred between pixels, then every second one."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        kernel = (row[:, None] * row).expand(channels, 1, 4, 4).clone()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """The values ``(N, C, H, W)``, at half their size."""
        height, width = values.shape[-2:]
        padded = _replicated(values, 1, 1 + height % 2, 1, 1 + width % 2)
        return F.conv2d(padded, self.kernel, stride=2, groups=values.shape[1])


def in_strips(run: Callable[[Tensor], Tensor], images: Tensor, stride: int, margin: int) -> Tensor:
    """What some stages give for images ``(N, C, H, W)``; for large ones strip by strip, the same but for rounding.

    Args:
        run: the stages.
        images: what they take.
        stride: how much they reduce the image; it divides the margin.
        margin: rows to each side that a position depends on.
    """
    height, width = images.shape[-2:]
    if height * width <= _WHOLE or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return run(images)
    parts = []
    for start in range(0, height, _STRIP):
        before = min(start, margin)
        strip = run(images[:, :, start - before : start + _STRIP + margin])
        parts.append(strip[:, :, before // stride : (before + _STRIP) // stride])
    return torch.cat(parts, 2)


def _local_mean(values: Tensor, height: int, width: int) -> Tensor:
    """Mean of each channel over windows of odd sides; ten times as fast on a CPU as ``avg_pool2d``."""
    kernel = values.new_full((values.shape[1], 1, height, width), 1 / (height * width))
    padded = _replicated(values, height // 2, height // 2, width // 2, width // 2)
    return F.conv2d(padded, kernel, groups=values.shape[1])


def _replicated(values: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
    """Repeat the outermost pixels."""
    return F.pad(values, (left, right, top, bottom), mode="replicate")
