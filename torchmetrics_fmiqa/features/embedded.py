"""The embedded network: a small backbone with our own weights, distilled from a network that knows photographs."""

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

#: Its name in recipes.
EMBEDDED = "fmiqa/embedded"
#: Its weights: half-precision safetensors. Their metadata have the command and the commit that made them.
WEIGHTS = Path(__file__).with_name("embedded.safetensors")
#: Channels of the first layer, at half the size of the image, and of the three stages after it.
CHANNELS = (64, 128, 256, 384)
#: Squeezed channels of the blocks of each stage.
SQUEEZED = (24, 40, 56)
# Number of blocks of each stage.
_BLOCKS = (2, 2, 1)
#: Mean and standard deviation of its input normalisation.
MEAN, STD = 0.45, 0.25


class EmbeddedNetwork(nn.Module):
    """A convolutional network: a layer at half the size of the image, then stages that halve it once more each.

    Each stage has blocks as in SqueezeNet (Iandola et al., 2016), which squeeze the channels and expand them. The taps
    ``stages.0``, ``stages.1`` and ``stages.2`` have a quarter, an eighth and a sixteenth of the size of the image:
    ``(N, 128, H / 4, W / 4)`` and so on, with values of at least 0. The sides of the image must be multiples of 16. As
    the backbone of a recipe it takes images of any size from 1 x 1, mirrored up to the next multiple of 16.

    Args:
        seed: seed of the initial random weights.
        channels: channels of the first layer and of each stage; those of stages are even.
        squeezed: squeezed channels of the blocks of each stage.

    Raises:
        ValueError: if there are no stages or more than three, a stage has no channels, or the lengths differ.

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
            Stage(channels_in, squeezed_channels, channels_out, blocks, generator)
            for channels_in, squeezed_channels, channels_out, blocks in zip(
                channels, squeezed, channels[1:], _BLOCKS, strict=False
            )
        )
        # The attributes of timm's networks that taps="all" and normalization="model" use.
        self.feature_info = [{"module": f"stages.{i}", "reduction": 2 ** (i + 2)} for i in range(stages)]
        self.pretrained_cfg = {"mean": (MEAN,) * 3, "std": (STD,) * 3}

    def features(self, images: Tensor) -> list[Tensor]:
        """The features at each tap for normalised images ``(N, 3, H, W)``, shallow to deep."""
        # Channels last: on a CPU, convolutions of few channels over many pixels are a third faster.
        values, taps = self.stem(channels_last(images)), []
        for stage in self.stages:
            values = stage(F.max_pool2d(values, 2))
            taps.append(values)
        return taps

    def forward(self, images: Tensor) -> Tensor:
        """The features at the deepest tap, ``(N, C, H / 16, W / 16)``."""
        return self.features(images)[-1]


def load_embedded(path: Path = WEIGHTS) -> EmbeddedNetwork:
    """Return the network with the weights of a file, by default of the package's file, in float32.

    Raises:
        ValueError: if the file cannot be read, or has the weights of another network.

    >>> sum(parameter.numel() for parameter in load_embedded().parameters())
    279416
    """
    from safetensors.torch import load_file

    check_file(path, "weights file")
    return network_of(load_file(path), str(path))


def network_of(weights: Mapping[str, Tensor], source: str) -> EmbeddedNetwork:
    """Return the network with these weights; their shapes determine the number of stages and channels.

    Raises:
        ValueError: if they belong to another network; the message names ``source``.
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
    """Blocks that squeeze the channels and expand them: half of the output by a 1 x 1 kernel, half by 3 x 3.

    ``layers`` has three layers for each block: squeeze, expand 1 x 1, expand 3 x 3.
    """

    def __init__(self, channels_in: int, squeezed: int, channels: int, blocks: int, generator: Generator) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for number in range(blocks):
            self.layers.append(Layer(channels if number else channels_in, squeezed, 1, generator))
            self.layers.extend(Layer(squeezed, channels // 2, kernel, generator) for kernel in (1, 3))

    def forward(self, values: Tensor) -> Tensor:
        """The output of the last block."""
        return self.blocks(values)[-1]

    def blocks(self, values: Tensor) -> list[Tensor]:
        """The output of each block."""
        layers, outputs = iter(self.layers), []
        for squeeze, expand_1x1, expand_3x3 in zip(layers, layers, layers, strict=True):
            values = squeeze(values)
            values = torch.cat([expand_1x1(values), expand_3x3(values)], 1)
            outputs.append(values)
        return outputs


class Layer(nn.Module):
    """A convolution with replicate padding and ReLU; a kernel of four halves the image."""

    def __init__(self, channels_in: int, channels: int, kernel: int, generator: Generator) -> None:
        super().__init__()
        scale = math.sqrt(2 / (kernel**2 * channels_in))
        self.weight = nn.Parameter(torch.randn(channels, channels_in, kernel, kernel, generator=generator) * scale)
        self.bias = nn.Parameter(torch.randn(channels, generator=generator) * 0.02)

    def forward(self, values: Tensor) -> Tensor:
        """Features ``(N, C, H, W)``, or half as many rows and columns."""
        return F.relu(self.convolve(values), inplace=True)

    def convolve(self, values: Tensor) -> Tensor:
        """The features before the ReLU."""
        kernel = self.weight.shape[-1]
        if kernel > 1:
            values = _with_edges(values)
        return F.conv2d(values, self.weight, self.bias, stride=2 if kernel == 4 else 1)


def _with_edges(values: Tensor) -> Tensor:
    """Pad features by one pixel on each side, replicating the border."""
    if not torch.compiler.is_dynamo_compiling():
        return F.pad(values, (1, 1, 1, 1), mode="replicate")
    # Inductor assumes another memory layout for the gradient of replicate padding, and fails.
    values = torch.cat([values[:, :, :1], values, values[:, :, -1:]], 2)
    return torch.cat([values[..., :1], values, values[..., -1:]], 3)
