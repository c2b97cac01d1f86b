"""Agreement with people (SRCC) on live58 and sr4kiqa_dev: ours, random weights, and the usual metrics beside.

    FMIQA_ASSETS=... python benchmarks/agreement.py            # about 25 minutes on two cores
    FMIQA_ASSETS=... python benchmarks/agreement.py live58     # about 5

Pairs of two sizes are cropped to the common top left part; sr4kiqa_dev is shrunk to a long side of 960 (antialiased
bicubic) for every metric alike.
"""

from __future__ import annotations

import csv
import sys

import torch
from common import ASSETS, VIT_TINY, lpips_squeeze
from rich.progress import track
from scipy.stats import spearmanr
from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from torchmetrics_fmiqa import FeatureComparator, Recipe
from torchmetrics_fmiqa.data.images import match_sizes, read_image
from torchmetrics_fmiqa.data.pairs import read_pairs

OPINIONS = {"live58": "dmos", "sr4kiqa_dev": "mos"}
LONG_SIDE = 960


def comparators() -> dict[str, FeatureComparator]:
    own = Recipe("vit_tiny_patch16_224", weights=str(VIT_TINY), distance=["cosine", "l2"])
    recipes = {
        "ViT-Tiny": own,
        "ViT-Tiny raw input": own.replace(normalization="none"),
        "ViT-Tiny random weights": own.replace(weights="random:0"),
    }
    return {name: FeatureComparator(recipe) for name, recipe in recipes.items()}


def usual(preds: Tensor, target: Tensor, lpips: torch.nn.Module) -> dict[str, float]:
    with torch.no_grad():
        return {
            "PSNR": -float(peak_signal_noise_ratio(preds, target, data_range=1.0)),
            "SSIM": -float(structural_similarity_index_measure(preds, target, data_range=1.0)),
            "MS-SSIM": -float(multiscale_structural_similarity_index_measure(preds, target, data_range=1.0)),
            "LPIPS-squeeze": float(lpips(preds * 2 - 1, target * 2 - 1)),
        }


def shrunk(image: Tensor) -> Tensor:
    image = image[None].float() / 255
    factor = LONG_SIDE / max(image.shape[2:])
    if factor >= 1:
        return image
    size = [round(side * factor) for side in image.shape[2:]]
    return torch.nn.functional.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)


def run(dataset: str) -> None:
    folder = ASSETS / "iqa" / dataset
    with (folder / "pairs.csv").open() as file:
        opinions = [float(row[OPINIONS[dataset]]) for row in csv.DictReader(file)]
    measures, lpips = comparators(), lpips_squeeze()
    scores: dict[str, list[float]] = {}
    for pair in track(read_pairs(folder / "pairs.csv"), dataset):
        sides = match_sizes(read_image(pair.dist_path), read_image(pair.ref_path), "crop")
        preds, target = (shrunk(side) for side in sides)
        found = usual(preds, target, lpips)
        for name, comparator in measures.items():
            for distance, value in comparator(preds, target)[0].scores().items():
                found[f"{name}, {distance}"] = float(value)
        for name, value in found.items():
            scores.setdefault(name, []).append(value)
    for name, values in scores.items():
        print(f"{dataset:12s} {name:32s} SRCC {abs(spearmanr(values, opinions).statistic):.4f}", flush=True)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or OPINIONS:
        run(chosen)
