"""What untrained networks say of a pair: a label that knows other things than formulas do.

A trunk with random weights whose channels are divided by their own local size follows people about as well as the
better formulas, and errs elsewhere: its ranks and theirs have a correlation of 0.6 only, and together they follow
severities better than either (README.md). Such a trunk cannot be trained itself, but it can teach.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from train.embedded.objectives import distances

#: Channels of the stages; each halves the image once more, then convolves twice.
CHANNELS = (32, 64, 96, 128)
#: Seeds of the networks that are asked.
SEEDS = (0, 1, 2, 3)
# Beside this size, local contrast counts little.
_FLOOR = 0.03
# Below this a distance is none, and its logarithm would rule the mean.
_NEAREST = 1e-6


class UntrainedTrunk:
    """A convolutional trunk with random weights, no biases, and divisive normalisation of each channel by itself.

    Args:
        seed: of its weights.
    """

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        widths = (3, *CHANNELS)
        self._weights = [
            tuple(_random(channels, before, generator) for before in (widths[stage], channels))
            for stage, channels in enumerate(CHANNELS)
        ]

    def __call__(self, images: Tensor) -> Tensor:
        """What the deepest stage gives for images ``(N, 3, H, W)`` in [0, 1]."""
        values = (images - 0.5).contiguous(memory_format=torch.channels_last)
        for stage in self._weights:
            values = _halved(values)
            for weight in stage:
                values = F.relu(F.conv2d(F.pad(values, (1, 1, 1, 1), mode="replicate"), weight), inplace=True)
            size = F.avg_pool2d(F.pad(values.square(), (2, 2, 2, 2), mode="replicate"), 5, 1).sqrt()
            values = values / (size + _FLOOR)
        return values


@torch.no_grad()
def untrained_verdicts(preds: Tensor, target: Tensor, reference: Tensor, seeds: Sequence[int] = SEEDS) -> Tensor:
    """How far untrained networks find copies from their references: the mean logarithm of their distances.

    Args:
        preds: copies ``(M, 3, H, W)`` in [0, 1].
        target: references ``(R, 3, H, W)``.
        reference: ``(M,)``: which reference each is a copy of.
        seeds: of the networks.
    """
    logs = []
    for seed in seeds:
        features = UntrainedTrunk(seed)(torch.cat([target, preds]))
        found = distances([features[: len(target)][reference]], [features[len(target) :]])
        logs.append(found[:, 0].clamp_min(_NEAREST).log())
    return torch.stack(logs).mean(0)


def _random(channels: int, before: int, generator: Generator) -> Tensor:
    weight = torch.randn(channels, before, 3, 3, generator=generator) * math.sqrt(2 / (9 * before))
    return weight.contiguous(memory_format=torch.channels_last)


def _halved(values: Tensor) -> Tensor:
    row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = (row[:, None] * row).expand(values.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(values, (1, 2, 1, 2), mode="replicate"), kernel, stride=2, groups=values.shape[1])
