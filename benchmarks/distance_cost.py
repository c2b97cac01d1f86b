"""What each distance costs beside the network: its time at all taps of SqueezeNet ÷ a forward pass of the pairs.

    OMP_NUM_THREADS=1 python benchmarks/distance_cost.py          # a minute

Distances and the forward pass take turns; the least of each counts. Random weights: time does not hang on them.
"""

from __future__ import annotations

import argparse

import torch
from common import seconds_of

from torchmetrics_fmiqa import FeatureComparator, Recipe
from torchmetrics_fmiqa.distances import DISTRIBUTION, MAPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="torchvision/squeezenet1_1")
    parser.add_argument("--batch", type=int, default=4, help="pairs")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(options.batch, 3, options.size, options.size, generator=generator)
    preds = (target + 0.05 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    both = torch.cat([preds, target]).to(options.device)
    backbone = FeatureComparator(Recipe(options.backbone, weights="random:0")).backbone
    with torch.no_grad():
        sides = [tokens.chunk() for tokens in backbone(both)]
        taps = [(one.select("patch"), other.select("patch")) for one, other in sides]
        calls = {"forward": lambda: backbone(both)}
        for name, distance in {**DISTRIBUTION, **MAPS}.items():
            calls[name] = lambda distance=distance: [distance(*pair) for pair in taps]
        seconds = seconds_of(calls, options.repeats, options.device)
    print(f"{options.backbone}, {options.batch} pairs of {options.size}², {len(taps)} taps, {options.device}")
    for name, one in seconds.items():
        print(f"{name:20s} {1e3 * one:8.1f} ms {one / seconds['forward']:6.3f}")


if __name__ == "__main__":
    main()
