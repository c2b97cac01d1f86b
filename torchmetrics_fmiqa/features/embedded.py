"""The embedded network: small, of our own, made to measure how different two images look."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from torchmetrics_fmiqa.features.weights import strict_load

#: What recipes call it.
EMBEDDED = "fmiqa/embedded"
#: Its weights: half-precision safetensors whose metadata tell the command and the commit that made them.
WEIGHTS = Path(__file__).with_name("embedded.safetensors")
#: Channels of the five stages; each halves the image once more.
CHANNELS = (24, 48, 64, 96, 128)
# Channels of the one layer at full resolution.
_STEM = 16
# Where divisive normalisation starts.
_FLOOR = 0.05
# Size of the constant beside the channels, of the size 1: untrained, a mild distortion then lies near 0.05.
_CONSTANT = 1.5
# How much light counts, of the size of that constant: trained, black lies 0.66 from white.
_LIGHT = 0.35


class EmbeddedNetwork(nn.Module):
    """A convolutional trunk of five stages with divisive normalisation and antialiased downsampling.

    It takes raw RGB in [0, 1] of any size from 1 x 1; stage ``i`` (from 1) gives ``(N, C_i + 3, ceil(H / 2**i),
    ceil(W / 2**i))``, seen through a layer of its own. As the backbone of a recipe its taps are ``"all"``, the stages'
    indices, or ``heads.0`` ... ``heads.4``.

    Args:
        seed: of the random weights that it starts with.
        channels: of each stage.
        normalized: divide by local contrast; without, nothing bounds the activations (for comparison).

    Raises:
        ValueError: if there are no stages, or one has no channels.

    >>> network = EmbeddedNetwork(seed=0)
    >>> [tuple(stage.shape) for stage in network.features(torch.rand(1, 3, 33, 64))][:2]
    [(1, 27, 17, 32), (1, 51, 9, 16)]
    >>> sum(parameter.numel() for parameter in network.parameters()) < 1_500_000
    True
    """

    def __init__(self, seed: int = 0, channels: Sequence[int] = CHANNELS, normalized: bool = True) -> None:
        super().__init__()
        if not channels or min(channels) < 1:
            raise ValueError(f"`channels` must name one or more stages of at least 1 channel each, got {channels!r}")
        generator = torch.Generator().manual_seed(seed)
        before = (_STEM, *channels[:-1])
        # At full resolution normalisation would cost as much as the convolution, and untrained it does not help.
        self.stem = _Layer(3, _STEM, generator, normalized=False)
        self.stages = nn.ModuleList(
            # The first stage has one layer: at half resolution a second would cost as much as all that follow.
            _Stage(one, other, 1 if number == 0 else 2, generator, normalized)
            for number, (one, other) in enumerate(zip(before, channels, strict=True))
        )
        self.heads = nn.ModuleList(_Head(one, generator) for one in channels)
        # What timm's networks say of themselves, so that taps="all" and normalization="model" work.
        self.feature_info = [{"module": f"heads.{i}", "reduction": 2 ** (i + 1)} for i in range(len(channels))]
        self.pretrained_cfg = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}

    def features(self, images: Tensor) -> list[Tensor]:
        """What each stage gives for images ``(N, 3, H, W)``, shallow to deep."""
        # Channels last: convolutions of few channels over many pixels are a third faster on a CPU.
        found, light = [], images.contiguous(memory_format=torch.channels_last) - 0.5
        values = self.stem(light)
        for stage, head in zip(self.stages, self.heads, strict=True):
            values, light = stage(values), F.avg_pool2d(light, 2, ceil_mode=True)
            found.append(head(values, light))
        return found

    def forward(self, images: Tensor) -> Tensor:
        """The deepest stage, ``(N, C, h, w)``."""
        return self.features(images)[-1]


def load_embedded(path: Path = WEIGHTS) -> EmbeddedNetwork:
    """Return the network with the weights of a file, in float32: without one, those that the package brings.

    Raises:
        ValueError: if there is no such file, or it holds another network's weights.

    >>> sum(parameter.numel() for parameter in load_embedded().parameters())
    530136
    """
    from safetensors.torch import load_file

    if not path.is_file():
        raise ValueError(f"there are no weights {str(path)!r}: install the package again, or give a file of yours")
    return network_of(load_file(path), str(path))


def network_of(weights: Mapping[str, Tensor], source: str) -> EmbeddedNetwork:
    """Return the network that these weights are of: they tell how many channels each stage has.

    Raises:
        ValueError: if they are another network's, naming ``source``.
    """
    names = itertools.takewhile(weights.__contains__, (f"heads.{stage}.bias" for stage in itertools.count()))
    network = EmbeddedNetwork(channels=[len(weights[name]) for name in names] or CHANNELS)
    strict_load(network, weights, source)
    return network


class _Head(nn.Module):
    """What a stage is compared by: a linear map of its channels, beside a constant.

    The constant sets how much a difference counts in the cosine. Without a layer of its own a stage could only have it
    at the cost of its channels: in training most of them died. Three channels more hold the light of the place, since
    stages see contrast alone: to them a black image is a white one.
    """

    def __init__(self, channels: int, generator: Generator) -> None:
        super().__init__()
        weight = torch.randn(channels, channels, 1, 1, generator=generator) / math.sqrt(channels)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.randn(channels, generator=generator) * _CONSTANT)

    def forward(self, values: Tensor, light: Tensor) -> Tensor:
        gain = _LIGHT * self.bias.norm()
        return torch.cat([F.conv2d(values, self.weight, self.bias), gain * light.to(values.dtype)], 1)


class _Stage(nn.Module):
    """Halve the image, then convolve."""

    def __init__(self, before: int, channels: int, layers: int, generator: Generator, normalized: bool) -> None:
        super().__init__()
        self.blur = _BlurPool(before)
        widths = [before, *[channels] * layers]
        self.layers = nn.Sequential(
            *(_Layer(one, other, generator, normalized) for one, other in itertools.pairwise(widths))
        )

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = self.layers(self.blur(values))
        return result


class _Layer(nn.Module):
    """A 3 x 3 convolution, what exceeds a threshold, and divisive normalisation of that."""

    def __init__(self, before: int, channels: int, generator: Generator, normalized: bool) -> None:
        super().__init__()
        scale = math.sqrt(2 / (9 * before))
        self.weight = nn.Parameter(torch.randn(channels, before, 3, 3, generator=generator) * scale)
        # not 0: an evenly grey image would have no features at all, and no direction to compare
        self.bias = nn.Parameter(torch.randn(channels, generator=generator) * 0.02)
        self.contrast = _Divisive(channels) if normalized else nn.Identity()

    def forward(self, values: Tensor) -> Tensor:
        values = F.conv2d(_replicated(values, 1, 1, 1, 1), self.weight, self.bias)
        result: Tensor = self.contrast(F.relu(values, inplace=True))
        return result


class _Divisive(nn.Module):
    """Divide by the local size of all channels, as cells in the visual cortex do: what is beside much counts less.

    The size is the root of the mean square over channels and 5 x 5 positions; sizes far below a learned floor are not
    raised. Each channel by its own size makes a better untrained network, but one that cannot be trained: it amplifies
    what hardly exists, and after ten layers gradients of two batches have nothing in common.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.floor = nn.Parameter(torch.full((channels,), math.log(_FLOOR)))

    def forward(self, values: Tensor) -> Tensor:
        energy = F.avg_pool2d(_replicated(values.square().mean(1, keepdim=True), 2, 2, 2, 2), 5, 1)
        return values * torch.rsqrt(energy + (2 * self.floor).exp()[:, None, None])


class _BlurPool(nn.Module):
    """Half the size without aliasing: the binomial filter 1 3 3 1, centred between pixels, then every second one."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        kernel = (row[:, None] * row).expand(channels, 1, 4, 4).clone()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        height, width = values.shape[-2:]
        padded = _replicated(values, 1, 1 + height % 2, 1, 1 + width % 2)
        return F.conv2d(padded, self.kernel, stride=2, groups=values.shape[1])


def _replicated(values: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
    """Repeat the outermost pixels."""
    return F.pad(values, (left, right, top, bottom), mode="replicate")
