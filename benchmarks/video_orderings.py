"""What goes wrong in time against noise that is as bad frame by frame: how many times as much it costs.

    FMIQA_ASSETS=FOLDER python -m benchmarks.video_orderings --stills 6 default squeezenet

Clips of 8 frames of 96 x 96 pixels are made from Kodak's photographs: they pan, zoom and turn. Noise is fresh in every
frame, or the same in all, and as strong that the mean distance of frames is that of the fault. Prints the smallest and
the middle ratio of the temporal distances over all clips, and the share of clips in which the fault costs more.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.common import ASSETS, SQUEEZENET, VIT_TINY
from tests.made_clips import FAULTS, MOTIONS, moving, noisy_to
from torchmetrics_fmiqa import feature_distance, video_feature_distance

WEIGHTS = {"squeezenet": SQUEEZENET, "vit-tiny": VIT_TINY}


def read(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255


def ratio(recipe: str, target: Tensor, preds: Tensor, same: bool) -> float:
    options = {"weights": str(WEIGHTS[recipe])} if recipe in WEIGHTS else {}
    fault = video_feature_distance(preds[None], target[None], recipe, **options)

    def of_frames(clip: Tensor) -> float:
        return float(feature_distance(clip, target, recipe, **options))

    noisy = noisy_to(target, of_frames, float(fault["frames"]), same)
    return float(fault["temporal"] / video_feature_distance(noisy[None], target[None], recipe, **options)["temporal"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recipes", nargs="*", default=["default"])
    parser.add_argument("--stills", type=int, default=6)
    given = parser.parse_args()
    stills = [read(path) for path in sorted((ASSETS / "images/kodak").glob("*.png"))[: given.stills]]
    print("| recipe | fault | fresh noise: smallest, middle | the same noise: smallest, middle | more, of all |")
    print("|---|---|---|---|---|")
    for recipe in given.recipes:
        for name, fault in FAULTS.items():
            ratios: dict[bool, list[float]] = {False: [], True: []}
            for still in stills:
                for motion in MOTIONS:
                    target = moving(still, motion)
                    for same in ratios:
                        ratios[same].append(ratio(recipe, target, fault(target), same))
            cells = (f"{min(values):.2f}, {statistics.median(values):.2f}" for values in ratios.values())
            every = [value for values in ratios.values() for value in values]
            share = f"{sum(value > 1 for value in every)} of {len(every)}"
            print("|", " | ".join([recipe, name, *cells, share]), "|", flush=True)


if __name__ == "__main__":
    main()
