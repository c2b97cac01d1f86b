"""What the monitor's cache of references saves: an epoch of validation with its references known, over the first one.

    FMIQA_ASSETS=... python benchmarks/reference_cache.py [--device cuda]        # five minutes on two cores

ViT-B/16 with random weights (its cost does not depend on them), all 12 taps, 24 crops of 224 x 224 of Kodak
photographs with a little noise, float32. The first epoch fills the cache; results are compared with a run without one.
"""

from __future__ import annotations

import sys

import torch
from common import ASSETS, seconds_of
from torch import Tensor

from torchmetrics_fmiqa import FeatureDistance, FeatureMetricCollection
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache, References


def main() -> None:
    device = "cuda" if "cuda" in sys.argv else "cpu"
    paths = sorted((ASSETS / "images" / "kodak").glob("*.png"))[:24]
    target = torch.stack([read_image(path)[:, 100:324, 100:324] for path in paths]).float().to(device) / 255
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0)).to(device)
    preds = (target + 0.05 * noise).clamp(0, 1)
    vit = FeatureDistance(backbone="vit_base_patch16_224", weights="random:0").to(device)
    metrics = FeatureMetricCollection({"vit": vit}).to(device)
    known = ReferenceCache("8GiB", device=device)

    def epoch(cache: ReferenceCache | None) -> Tensor:
        metrics.reset()
        if cache is not None:
            cache.start_epoch()
        for one, other in zip(preds.split(8), target.split(8), strict=True):
            metrics.update(one, other, references=None if cache is None else References(cache))
        result: Tensor = metrics.compute()["vit"]
        return result

    plain, first, second = epoch(None), epoch(known), epoch(known)
    report = known.report()
    seconds = seconds_of(
        {
            "no cache": lambda: epoch(None),
            "first epoch": lambda: epoch(ReferenceCache("8GiB", device=device)),
            "second epoch": lambda: epoch(known),
        },
        repeats=3,
        device=device,
    )
    for name, value in seconds.items():
        print(f"{name:14s} {value:8.3f} s   {value / seconds['first epoch']:.3f} of the first epoch")
    print(f"hit rate {report['hit_rate']:.0%}, {report['wanted_bytes'] / len(paths) / 1e6:.2f} MB a tile")
    print(f"results differ by {float((first - plain).abs()):.1e} and {float((second - plain).abs()):.1e}")


if __name__ == "__main__":
    main()
