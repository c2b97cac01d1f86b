"""What the embedded network says of a few images: the only fixed numbers of the tests that hang on its weights.

After its weights or its default recipe changed, write them again::

    python -m tests.embedded_numbers
"""

from __future__ import annotations

import json
from pathlib import Path

import skimage.data
import torch
from torch import Tensor

from torchmetrics_fmiqa import SPIPS, feature_distance

FILE = Path(__file__).with_suffix(".json")


def photograph() -> Tensor:
    """A photograph of scikit-image, ``(1, 3, 300, 451)`` in [0, 1]."""
    return torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1)[None].float() / 255


def noisy(image: Tensor) -> Tensor:
    return (image + 0.1 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def darker(image: Tensor) -> Tensor:
    return 0.7 * image


def blurred(image: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(image, 5, 1, 2)


def numbers() -> dict[str, float]:
    """By what was done to the photograph."""
    image = photograph()
    found = {change.__name__: float(feature_distance(change(image), image)) for change in (noisy, darker, blurred)}
    found |= {f"{tap}, noisy": float(feature_distance(noisy(image), image, taps=[tap])) for tap in (0, 1, 2)}
    return {**found, "spips, noisy": float(SPIPS()(noisy(image), image))}


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: round(value, 6) for name, value in numbers().items()}, indent=1) + "\n")
