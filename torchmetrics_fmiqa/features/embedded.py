"""The embedded network: small, of our own, taught to see what a network sees that knows photographs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from torchmetrics_fmiqa.data.opening import check_file
from torchmetrics_fmiqa.features.transforms import channels_last
from torchmetrics_fmiqa.features.weights import strict_load

#: What recipes call it.
EMBEDDED = "fmiqa/embedded"
#: Its weights: half-precision safetensors whose metadata tell the command and the commit that made them.
WEIGHTS = Path(__file__).with_name("embedded.safetensors")
#: Channels at half the size of the image, and of the three stages after it.
CHANNELS = (64, 128, 256, 384)
#: Channels that a block of each stage squeezes its input to.
SQUEEZED = (24, 40, 56)
# Blocks of each stage.
_BLOCKS = (2, 2, 1)
#: What its input is shifted and scaled by.
MEAN, STD = 0.45, 0.25


class EmbeddedNetwork(nn.Module):
    """A convolutional trunk: one layer at half the size of the image, then stages that halve it once more.

    Each stage is built of blocks of SqueezeNet's kind (Iandola et al., 2016): few channels are seen by wide layers.
    Its taps ``stages.0``, ``stages.1`` and ``stages.2`` see images, whose sides are multiples of 16, at a quarter, an
    eighth and a sixteenth of their size: ``(N, 128, H / 4, W / 4)`` and so on. Values are never negative. As the
    backbone of a recipe it sees images of any size from 1 x 1, mirrored up to the next multiple of 16.

    Args:
        seed: of the random weights that it starts with.
        channels: of the first layer and of each stage; those of stages are even.
        squeezed: channels that the blocks of each stage squeeze their input to.

    Raises:
        ValueError: if there are no stages or more than three, one has no channels, or their numbers differ.

    >>> network = EmbeddedNetwork(seed=0)
    >>> [tuple(tap.shape) for tap in network.features(torch.rand(1, 3, 48, 64))]
    [(1, 128, 12, 16), (1, 256, 6, 8), (1, 384, 3, 4)]
    """

    def __init__(self, seed: int = 0, channels: Sequence[int] = CHANNELS, squeezed: Sequence[int] = SQUEEZED) -> None:
        super().__init__()
        stages = len(channels) - 1
        if not 1 <= stages <= len(_BLOCKS) or min(channels) < 1 or any(width % 2 for width in channels[1:]):
            raise ValueError(
                f"`channels` must be those of the first layer and of 1 to {len(_BLOCKS)} stages, even ones there, "
                f"got {channels!r}"
            )
        if len(squeezed) != stages or min(squeezed) < 1:
            raise ValueError(f"`squeezed` must be {stages} numbers of at least 1, got {squeezed!r}")
        generator = torch.Generator().manual_seed(seed)
        self.stem = Layer(3, channels[0], 4, generator)
        self.stages = nn.ModuleList(
            Stage(one, between, other, blocks, generator)
            for one, between, other, blocks in zip(channels, squeezed, channels[1:], _BLOCKS, strict=False)
        )
        # What timm's networks say of themselves, so that taps="all" and normalization="model" work.
        self.feature_info = [{"module": f"stages.{i}", "reduction": 2 ** (i + 2)} for i in range(stages)]
        self.pretrained_cfg = {"mean": (MEAN,) * 3, "std": (STD,) * 3}

    def features(self, images: Tensor) -> list[Tensor]:
        """What each tap gives for normalised images ``(N, 3, H, W)``, shallow to deep."""
        # Channels last: convolutions of few channels over many pixels are a third faster on a CPU.
        values, found = self.stem(channels_last(images)), []
        for stage in self.stages:
            values = stage(F.max_pool2d(values, 2))
            found.append(values)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """The deepest tap, ``(N, C, H / 16, W / 16)``."""
        return self.features(images)[-1]


def load_embedded(path: Path = WEIGHTS) -> EmbeddedNetwork:
    """Return the network with the weights of a file, in float32: without one, those that the package brings.

    Raises:
        ValueError: if there is no such file to read, or it holds another network's weights.

    >>> sum(parameter.numel() for parameter in load_embedded().parameters())
    279416
    """
    from safetensors.torch import load_file

    check_file(path, "weights file")
    return network_of(load_file(path), str(path))


def network_of(weights: Mapping[str, Tensor], source: str) -> EmbeddedNetwork:
    """Return the network that these weights are of: they tell how many channels each stage has.

    Raises:
        ValueError: if they are another network's, naming ``source``.
    """
    stages = range(sum(f"stages.{number}.layers.0.bias" in weights for number in range(len(_BLOCKS))))
    squeezed = [len(weights[f"stages.{number}.layers.0.bias"]) for number in stages]
    try:
        channels = [2 * len(weights[f"stages.{number}.layers.2.bias"]) for number in stages]
        network = EmbeddedNetwork(0, [len(weights["stem.bias"]), *channels], squeezed)
    except (KeyError, ValueError):
        network = EmbeddedNetwork()
    strict_load(network, weights, source)
    return network


class Stage(nn.Module):
    """Blocks that squeeze the channels, then widen them: half of the result sees a position, half of it 3 x 3.

    ``layers`` holds three of each block in turn: what squeezes, what sees a position, and what sees 3 x 3 of them.
    """

    def __init__(self, before: int, squeezed: int, channels: int, blocks: int, generator: Generator) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for number in range(blocks):
            self.layers.append(Layer(channels if number else before, squeezed, 1, generator))
            self.layers.extend(Layer(squeezed, channels // 2, kernel, generator) for kernel in (1, 3))

    def forward(self, values: Tensor) -> Tensor:
        """What the last block gives."""
        return self.blocks(values)[-1]

    def blocks(self, values: Tensor) -> list[Tensor]:
        """What each block gives."""
        layers, found = iter(self.layers), []
        for squeeze, narrow, wide in zip(layers, layers, layers, strict=True):
            values = squeeze(values)
            values = torch.cat([narrow(values), wide(values)], 1)
            found.append(values)
        return found


class Layer(nn.Module):
    """A convolution and what exceeds zero; a kernel of four halves the image. Edges repeat the outermost pixels."""

    def __init__(self, before: int, channels: int, kernel: int, generator: Generator) -> None:
        super().__init__()
        scale = math.sqrt(2 / (kernel**2 * before))
        self.weight = nn.Parameter(torch.randn(channels, before, kernel, kernel, generator=generator) * scale)
        self.bias = nn.Parameter(torch.randn(channels, generator=generator) * 0.02)

    def forward(self, values: Tensor) -> Tensor:
        """Features ``(N, C, H, W)``, or half as many rows and columns."""
        return F.relu(self.convolve(values), inplace=True)

    def convolve(self, values: Tensor) -> Tensor:
        """What is left of them before the threshold."""
        kernel = self.weight.shape[-1]
        if kernel > 1:
            values = _with_edges(values)
        return F.conv2d(values, self.weight, self.bias, stride=2 if kernel == 4 else 1)


def _with_edges(values: Tensor) -> Tensor:
    """Features with one pixel more on each side, that repeats the outermost one."""
    if not torch.compiler.is_dynamo_compiling():
        return F.pad(values, (1, 1, 1, 1), mode="replicate")
    # Inductor takes the gradient of that padding to lie in memory otherwise than it does, and stops.
    values = torch.cat([values[:, :, :1], values, values[:, :, -1:]], 2)
    return torch.cat([values[..., :1], values, values[..., -1:]], 3)
