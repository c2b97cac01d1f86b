"""How wrong half precision is: the relative error of the score against float32, by the strength of the noise.

    FMIQA_ASSETS=... python benchmarks/precision.py [--device cuda]      # about a minute on two cores

ViT-Tiny with its real weights, all taps, 8 crops of 224 x 224 of Kodak photographs.
"""

from __future__ import annotations

import sys

import torch
from common import ASSETS, VIT_TINY

from torchmetrics_fmiqa import FeatureComparator, Recipe
from torchmetrics_fmiqa.data.images import read_image


def main() -> None:
    device = "cuda" if "cuda" in sys.argv else "cpu"
    paths = sorted((ASSETS / "images" / "kodak").glob("*.png"))[:8]
    target = torch.stack([read_image(path)[:, 100:324, 100:324] for path in paths]).float().to(device) / 255
    recipe = Recipe("vit_tiny_patch16_224", weights=str(VIT_TINY), distance=["cosine", "l2"])
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0)).to(device)
    kinds = ("float32", "bfloat16", "float16")
    exact, *halves = (FeatureComparator(recipe, precision=kind) for kind in kinds)  # type: ignore[arg-type]
    print("noise of   distance   score      " + "   ".join(f"{kind} off by" for kind in kinds[1:]))
    for strength in (0.25, 1, 5, 25):
        preds = (target + noise * strength / 255).clamp(0, 1)
        right = exact(preds, target)[0].scores()
        wrong = [half(preds, target)[0].scores() for half in halves]
        for name, values in right.items():
            errors = "   ".join(f"{float(((w[name] - values).abs() / values).mean()):15.2%}" for w in wrong)
            print(f"{strength:5}/255  {name:8s} {float(values.mean()):10.3g} {errors}")


if __name__ == "__main__":
    main()
