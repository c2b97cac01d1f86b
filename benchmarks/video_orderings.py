"""What goes wrong in time against noise that is as bad frame by frame: how many times as much it costs.

    FMIQA_ASSETS=FOLDER python -m benchmarks.video_orderings --skip 6 --stills 6 default squeezenet

Clips of 8 frames of 96 x 96 pixels are made from Kodak's photographs: they pan, zoom and turn. Noise is fresh in every
frame, or the same in all, and as strong that the mean distance of frames is that of the fault. Prints the smallest and
the middle ratio of the temporal distances over all clips, and the share of clips in which the fault costs more.

`--temporal features` takes one part alone, how the features' difference changes, and `--temporal changes` the other,
the features of what changes. Their weights were chosen by the first six photographs; `--skip 6` leaves these out.
`--equal mse` takes noise of the fault's mean squared error.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.common import ASSETS, SQUEEZENET, VIT_TINY
from tests.made_clips import FAULTS, MOTIONS, moving, noisy_to
from torchmetrics_fmiqa import feature_distance, video_feature_distance
from torchmetrics_fmiqa.comparator.video import SHARE_OF_CHANGES

WEIGHTS = {"squeezenet": SQUEEZENET, "vit-tiny": VIT_TINY}


def read(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255


def options_of(recipe: str) -> dict[str, str]:
    """The weights of a recipe, if they are among the assets."""
    return {"weights": str(WEIGHTS[recipe])} if recipe in WEIGHTS else {}


def of_changes(preds: Tensor, target: Tensor, recipe: str, **options: str) -> float:
    """Mean distance of the features of what changes from frame to frame, shown as an image around grey."""
    shown = ((clip.diff(dim=0) / 2 + 0.5) for clip in (preds, target))
    return float(feature_distance(*shown, recipe, **options))


def ratios(recipe: str, target: Tensor, preds: Tensor, part: str, mse: bool) -> Iterator[float]:
    """How many times as much a fault costs in time as fresh noise, and as noise that is the same in all frames."""
    options = options_of(recipe)

    def frames(clip: Tensor) -> float:
        return float((clip - target).square().mean() if mse else feature_distance(clip, target, recipe, **options))

    def temporal(clip: Tensor) -> float:
        changes = 0.0 if part == "both" else of_changes(clip, target, recipe, **options)
        if part == "changes":
            return changes
        both = float(video_feature_distance(clip[None], target[None], recipe, **options)["temporal"])
        return both - SHARE_OF_CHANGES * changes

    for same in (False, True):
        yield temporal(preds) / temporal(noisy_to(target, frames, frames(preds), same))


def cells(by_motion: dict[str, list[tuple[float, ...]]]) -> list[str]:
    """A row of the table, of the ratios of each clip by the motion in it."""
    every = [pair for pairs in by_motion.values() for pair in pairs]
    more = {motion: sum(value > 1 for pair in pairs for value in pair) for motion, pairs in by_motion.items()}
    return [
        *(f"{min(values):.2f}, {statistics.median(values):.2f}" for values in zip(*every, strict=True)),
        f"{sum(more.values())} of {2 * len(every)}",
        ", ".join(f"{motion} {count}" for motion, count in more.items()),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recipes", nargs="*", default=["default"])
    parser.add_argument("--stills", type=int, default=6)
    parser.add_argument("--skip", type=int, default=0, help="leave out the first photographs")
    parser.add_argument("--temporal", choices=["both", "features", "changes"], default="both")
    parser.add_argument("--equal", choices=["distance", "mse"], default="distance")
    given = parser.parse_args()
    options = given.temporal, given.equal == "mse"
    stills = [read(path) for path in sorted((ASSETS / "images/kodak").glob("*.png"))[given.skip :][: given.stills]]
    if not stills:
        parser.error(f"no photographs in {ASSETS / 'images/kodak'} after the first {given.skip}: set FMIQA_ASSETS")
    print("| recipe | fault | fresh noise: smallest, middle | the same noise: smallest, middle | more | by motion |")
    print("|---|---|---|---|---|---|")
    for recipe in given.recipes:
        for name, fault in FAULTS.items():
            found: dict[str, list[tuple[float, ...]]] = {motion: [] for motion in MOTIONS}
            for still in stills:
                for motion, pairs in found.items():
                    target = moving(still, motion)
                    pairs.append(tuple(ratios(recipe, target, fault(target), *options)))
            print("|", " | ".join([recipe, name, *cells(found)]), "|", flush=True)


if __name__ == "__main__":
    main()
