"""Score live58 and sr4kiqa_dev with every choice that a recipe has, to choose the defaults of each backbone.

`python benchmarks/defaults.py score FOLDER` takes hours on two cores and goes on where it was interrupted;
`python benchmarks/defaults.py choose FOLDER` tells what is best.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from common import ASSETS, SQUEEZENET, VIT_TINY
from rich.progress import track
from torch import Tensor

from torchmetrics_fmiqa import Recipe
from torchmetrics_fmiqa.benchmark.panel import Panel
from torchmetrics_fmiqa.benchmark.scores import Reading, ScoreRun
from torchmetrics_fmiqa.data.rated import read_rated_csv

POINTWISE = ["cosine", "l2", "angular"]
DISTANCES = [*POINTWISE, "wasserstein", "sliced_wasserstein", "jensen_shannon", "symmetric_kl"]
NETWORKS = {
    "vit": Recipe("vit_tiny_patch16_224", weights=str(VIT_TINY)),
    "squeeze": Recipe("torchvision/squeezenet1_1", weights=str(SQUEEZENET)),
}
READING = {"live58": Reading(), "sr4kiqa_dev": Reading(match="crop", max_side=960)}


def pooled_cosine(preds: Tensor, target: Tensor) -> Tensor:
    """Cosine distance of features averaged over positions: a network's embedding."""
    return 1 - torch.nn.functional.cosine_similarity(preds.mean(1).double(), target.mean(1).double())


def recipes(network: str) -> dict[str, Recipe]:
    """Every choice: input, resolution, tokens, distance; taps are told apart afterwards."""
    found = {}
    for normalization in ("model", "none"):
        for resolution in ("tile", "native", "resize"):
            base = NETWORKS[network].replace(normalization=normalization, resolution=resolution)
            name = f"{network}/{normalization}/{resolution}"
            for tokens in ("patch", "all", "prefix") if network == "vit" else ("patch",):
                # Distributions of a CNN's tiles cost most of the time, and CLS is one of 197 values in "all".
                some = tokens != "patch" or (network == "squeeze" and resolution == "tile")
                distances = POINTWISE if some else DISTANCES
                found[f"{name}/{tokens}"] = base.replace(tokens=tokens, distance=distances)
            if network == "vit":
                for tokens in ("patch", "prefix"):
                    found[f"{name}/final-{tokens}"] = base.replace(
                        taps=["norm"], tokens=tokens, distance=["cosine", "l2"]
                    )
            found[f"{name}/final-pooled"] = base.replace(
                taps=["norm"] if network == "vit" else [-1], distance=pooled_cosine
            )
    return found


def score(folder: Path, dataset: str, network: str) -> None:
    rated = read_rated_csv(ASSETS / "iqa" / dataset / "pairs.csv")
    run = ScoreRun(rated, Panel(recipes(network)), folder / f"{dataset}-{network}", READING[dataset], batch=2)
    done = 0
    for now in track(run, f"{dataset} {network}", total=-(-len(rated) // run.batch)):
        done = now
    print(dataset, network, done, run.unscored())


if __name__ == "__main__":
    what, folder, *chosen = sys.argv[1:]
    for dataset in READING:
        for network in NETWORKS:
            if not chosen or f"{dataset}-{network}" in chosen:
                score(Path(folder), dataset, network)
