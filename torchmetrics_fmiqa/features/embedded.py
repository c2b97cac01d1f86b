"""The embedded network: small, of our own, made to measure how different two images look."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from torchmetrics_fmiqa.data.opening import check_file
from torchmetrics_fmiqa.features.block_means import block_means
from torchmetrics_fmiqa.features.stages import BlurPool, Divisive, Layer, LocalContrast, OwnSize, Stage, in_strips
from torchmetrics_fmiqa.features.transforms import channels_last
from torchmetrics_fmiqa.features.weights import strict_load

#: What recipes call it.
EMBEDDED = "fmiqa/embedded"
#: Its weights: half-precision safetensors whose metadata tell the command and the commit that made them.
WEIGHTS = Path(__file__).with_name("embedded.safetensors")
#: Channels of the five stages; each halves the image once more.
CHANNELS = (24, 48, 64, 96, 128)
# Channels of the one layer at full resolution.
_STEM = 16
# Channels of the stages that stay untrained.
_UNTRAINED = (16, 32, 64, 128)
# How much of their mean is taken from them. With all of it, a place like the mean would have no direction to compare.
_CENTRED = 0.8
# Size of the constant beside the channels, of the size 1: untrained, a mild distortion then lies near 0.05.
_CONSTANT = 1.5
# How much light counts, of the size of that constant: trained, black lies 0.66 from white in the two deep taps.
_LIGHT = 0.35
# Counted by benchmarks/recipe_costs.py.
_BYTES_PER_PIXEL = 214


class EmbeddedNetwork(nn.Module):
    """A convolutional trunk of five stages with divisive normalisation and antialiased downsampling.

    It takes raw RGB in [0, 1] of any size from 1 x 1; stage ``i`` (from 1) gives ``(N, C_i + 3, ceil(H / 2**i),
    ceil(W / 2**i))``, seen through a layer of its own. Beside it stands a smaller trunk that keeps its random weights
    and gives ``(N, 128, ceil(H / 16), ceil(W / 16))``. As the backbone of a recipe its taps are ``"all"``, indices
    (the untrained trunk is the last), or ``heads.0`` ... ``heads.4`` and ``untrained``.

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
        contrast = Divisive if normalized else nn.Identity
        # At full resolution normalisation would cost as much as the convolution, and untrained it does not help.
        self.stem = Layer(3, _STEM, generator, nn.Identity)
        self.stages = nn.ModuleList(
            # The first stage has one layer: at half resolution a second would cost as much as all that follow.
            Stage(one, other, 1 if number == 0 else 2, generator, contrast)
            for number, (one, other) in enumerate(zip(before, channels, strict=True))
        )
        self.heads = nn.ModuleList(_Head(one, generator) for one in channels)
        self.untrained = _Untrained(generator)
        # What timm's networks say of themselves, so that taps="all" and normalization="model" work.
        self.feature_info = [
            *({"module": f"heads.{i}", "reduction": 2 ** (i + 1)} for i in range(len(channels))),
            {"module": "untrained", "reduction": 2 ** len(_UNTRAINED)},
        ]
        self.pretrained_cfg = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
        # Of a pair of images that go through the first stages in strips.
        self.bytes_per_pixel = _BYTES_PER_PIXEL

    def features(self, images: Tensor) -> list[Tensor]:
        """What each stage gives for images ``(N, 3, H, W)``, shallow to deep, and then the untrained trunk."""
        # Channels last: convolutions of few channels over many pixels are a third faster on a CPU.
        images = channels_last(images)
        return [*self.trained_features(images), self.untrained(images)]

    def trained_features(self, images: Tensor) -> list[Tensor]:
        """What each trained stage gives, shallow to deep."""
        return list(self._each_stage(images))

    def _each_stage(self, images: Tensor) -> Iterator[Tensor]:
        light = channels_last(images) - 0.5
        values = in_strips(self._first, light, stride=2, margin=16)
        for number, (stage, head) in enumerate(zip(self.stages, self.heads, strict=True)):
            values, light = stage(values) if number else values, block_means(light, 2)
            yield head(values, light)

    def _first(self, light: Tensor) -> Tensor:
        result: Tensor = self.stages[0](self.stem(light))
        return result

    def forward(self, images: Tensor) -> Tensor:
        """The deepest stage, ``(N, C, h, w)``."""
        images = channels_last(images)
        stages = self._each_stage(images)
        for _ in self.stages[1:]:
            next(stages)  # let go of at once: it has been read where there is a tap
        deepest = next(stages)
        self.untrained(images)
        return deepest


def load_embedded(path: Path = WEIGHTS) -> EmbeddedNetwork:
    """Return the network with the weights of a file, in float32: without one, those that the package brings.

    Raises:
        ValueError: if there is no such file to read, or it holds another network's weights.

    >>> sum(parameter.numel() for parameter in load_embedded().parameters())
    627816
    """
    from safetensors.torch import load_file

    check_file(path, "weights file")
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


class _Untrained(nn.Module):
    """Four small stages that keep their random weights, each channel divided by its own local size.

    What they find different is no formula's doing and nobody's training: they err elsewhere than the trained stages,
    so that the two together are better than either (docs/embedded.md). They see contrast, not light: left to
    themselves they would find an image that is a little brighter farther than a noisy one.

    Args:
        generator: of its weights.
    """

    centre: Tensor

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        first, *others = _UNTRAINED
        self.stages = nn.Sequential(
            BlurPool(3),
            LocalContrast(),
            Layer(3, first, generator, OwnSize),
            *(Stage(one, other, 1, generator, OwnSize) for one, other in itertools.pairwise((first, *others))),
        )
        self.requires_grad_(False)
        self.register_buffer("centre", torch.zeros(_UNTRAINED[-1]))

    @torch.no_grad()
    def centre_on(self, images: Tensor) -> None:
        """Take most of their mean off the features: what all images share makes all distances small.

        Args:
            images: ``(N, 3, H, W)`` in [0, 1], of many kinds.
        """
        self.centre.copy_(_CENTRED * self.stages(images).mean((0, 2, 3)))

    def forward(self, images: Tensor) -> Tensor:
        """What the deepest stage gives for images ``(N, 3, H, W)`` in [0, 1]."""
        values: Tensor = self.stages[3:](in_strips(self.stages[:3], images, stride=2, margin=32))
        return values - self.centre[:, None, None].to(values.dtype)


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
