"""How much of a distance hangs on few places: the share of it in the 1 % of pixels where the map is highest.

`FMIQA_ASSETS=... python benchmarks/heavy_tokens.py` goes over every sixth pair of live58.
"""

from __future__ import annotations

import torch
from common import ASSETS, SQUEEZENET, VIT_TINY

from torchmetrics_fmiqa import FeatureComparator, Recipe
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading
from torchmetrics_fmiqa.data.rated_csv import read_rated_csv

NETWORKS = {
    "ViT-Tiny": Recipe("vit_tiny_patch16_224", weights=str(VIT_TINY)),
    "SqueezeNet": Recipe("torchvision/squeezenet1_1", weights=str(SQUEEZENET)),
}


def share(heat: torch.Tensor) -> float:
    values = heat.flatten().sort(descending=True).values
    return float(values[: len(values) // 100].sum() / values.sum())


if __name__ == "__main__":
    pairs = read_rated_csv(ASSETS / "iqa" / "live58" / "pairs.csv").pairs[::6]
    for network, recipe in NETWORKS.items():
        for normalization in ("model", "none"):
            both = recipe.replace(distance=["cosine", "l2"], normalization=normalization)
            comparator = FeatureComparator(both)
            found: dict[str, list[float]] = {}
            for pair in pairs:
                preds, target = Reading()(pair)
                with torch.no_grad():
                    for distance, maps in comparator.maps(preds[None], target[None]).items():
                        found.setdefault(distance, []).append(share(maps["score"]))
            said = ", ".join(f"{distance} {sum(shares) / len(shares):.1%}" for distance, shares in found.items())
            print(f"{network}, normalization {normalization}: {said}")
