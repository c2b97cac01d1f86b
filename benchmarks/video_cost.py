"""What clips cost beside their frames as images: time and peak memory, of the distance and of a step of the loss.

    FMIQA_ASSETS=FOLDER python -m benchmarks.video_cost default squeezenet vit-tiny

A clip of 8 frames of 256 x 256 pixels. Ratios of the least times of calls that take turns in one run; memory is that of
the tensors that a call makes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.common import seconds_of
from benchmarks.video_orderings import options_of
from torchmetrics_fmiqa import (
    FeatureDistanceLoss,
    VideoFeatureDistanceLoss,
    feature_distance,
    video_feature_distance,
)
from torchmetrics_fmiqa.memory import peak_bytes

FRAMES, SIDE = 8, 256


def calls_of(recipe: str, preds: Tensor, target: Tensor) -> dict[str, Callable[[], object]]:
    """Frames as images and as a clip: their distance, and a step of its loss."""
    options = options_of(recipe)
    of_images, of_clips = FeatureDistanceLoss(recipe, **options), VideoFeatureDistanceLoss(recipe, **options)

    def step(loss: torch.nn.Module, preds: Tensor, target: Tensor) -> None:
        loss(preds.detach().requires_grad_(), target).backward()

    return {
        "images": lambda: feature_distance(preds, target, recipe, **options),
        "clip": lambda: video_feature_distance(preds[None], target[None], recipe, **options),
        "step of images": lambda: step(of_images, preds, target),
        "step of a clip": lambda: step(of_clips, preds[None], target[None]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recipes", nargs="*", default=["default"])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    target = torch.rand(FRAMES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    print("| recipe | distance: time | memory | step of the loss: time | memory |")
    print("|---|---|---|---|---|")
    for recipe in given.recipes:
        calls = calls_of(recipe, 0.9 * target, target)
        seconds = seconds_of(calls, given.repeats, "cpu")
        peaks = {name: peak_bytes(call) for name, call in calls.items()}
        pairs = (("images", "clip"), ("step of images", "step of a clip"))
        cells = (f"{found[clip] / found[images]:.2f}" for images, clip in pairs for found in (seconds, peaks))
        print("|", " | ".join([recipe, *cells]), "|", flush=True)


if __name__ == "__main__":
    main()
