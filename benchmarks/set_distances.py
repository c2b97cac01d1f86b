"""How far off distances between sets of few images are, on real crops; and whether their intervals hold the truth.

    python benchmarks/set_distances.py bias        # random halves of crops of BSD100 and Kodak: the truth is 0
    python benchmarks/set_distances.py coverage    # Gaussians, whose distance is known

Needs the assets (FMIQA_ASSETS); ``coverage`` does not.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from common import ASSETS, SQUEEZENET, VIT_TINY
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from torchmetrics_fmiqa import FeatureComparator
from torchmetrics_fmiqa.comparator.one_side import pooled_features
from torchmetrics_fmiqa.comparator.pooled_features import PooledRequest
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.distances.frechet import moments
from torchmetrics_fmiqa.distances.kernel import Kernel
from torchmetrics_fmiqa.distances.set_figures import FOLDS, SetFigure, fold_of, frechet_figure, kernel_figure
from torchmetrics_fmiqa.recipes import as_recipe

NETWORKS = {"vit-tiny": ("vit_tiny_patch16_224", VIT_TINY), "squeezenet": ("torchvision/squeezenet1_1", SQUEEZENET)}


def crops(side: int) -> Tensor:
    """Crops that do not overlap, of all images of BSD100 and Kodak."""
    found = []
    for path in sorted(path for name in ("bsd100", "kodak") for path in (ASSETS / "images" / name).iterdir()):
        image = read_image(path)
        tiles = image.unfold(1, side, side).unfold(2, side, side)
        found.append(tiles.flatten(1, 2).transpose(0, 1))
    return torch.cat(found)


def frechet(preds: Tensor, target: Tensor) -> SetFigure:
    sides = [moments(side, fold_of(len(side)), FOLDS) for side in (preds, target)]
    return frechet_figure(*sides)


def mean_and_spread(values: Sequence[float]) -> str:
    tensor = torch.tensor(values, dtype=torch.float64)
    return f"{tensor.mean():.4g} ± {tensor.std():.2g}"


def bias(options: argparse.Namespace) -> None:
    images = crops(options.side)
    blurred = gaussian_blur(images, 5, 1.0)
    print(f"{len(images)} crops of {options.side} x {options.side}; mean ± spread over {options.repeats} draws\n")
    for name, (backbone, weights) in NETWORKS.items():
        taps = as_recipe(name).taps
        comparator = FeatureComparator(
            PooledRequest(as_recipe(name, backbone=backbone, weights=str(weights), taps=taps))
        )
        plain, other = (
            torch.cat([pooled_features(comparator, batch)[0] for batch in side.split(256)])
            for side in (images, blurred)
        )
        print(f"{name}, {plain.shape[1]} channels")
        print("| images a side | Fréchet | extrapolated | of blurred ones | extrapolated | kernel | of blurred ones |")
        print("|---|---|---|---|---|---|---|")
        generator = torch.Generator().manual_seed(0)
        for count in options.counts:
            figures: dict[str, list[float]] = {key: [] for key in ("f", "fx", "b", "bx", "k", "kb")}
            for _ in range(options.repeats):
                order = torch.randperm(len(images), generator=generator)
                first, second = order[:count], order[count : 2 * count]
                for key, preds in (("f", plain[second]), ("b", other[second])):
                    found = frechet(preds, plain[first])
                    figures[key].append(found.value)
                    figures[f"{key}x"].append(found.extrapolated)
                for key, preds in (("k", plain[second]), ("kb", other[second])):
                    figures[key].append(kernel_figure(preds, plain[first], Kernel(), interval=False).value)
            print(f"| {count} | {' | '.join(map(mean_and_spread, figures.values()))} |", flush=True)
        print()


def coverage(options: argparse.Namespace) -> None:
    print("| channels | images a side | truth | Fréchet | extrapolated | interval holds the truth |")
    print("|---|---|---|---|---|---|")
    for channels, count in ((16, 64), (16, 160), (64, 128), (64, 320)):
        for shift, scale in ((0.0, 1.0), (0.1, 1.3)):
            spread = torch.arange(1, channels + 1, dtype=torch.float64).rsqrt()
            truth = float((shift * spread).square().sum() + (scale * spread - spread).square().sum())
            values, extrapolated, held = [], [], 0
            for seed in range(options.repeats):
                generator = torch.Generator().manual_seed(seed)
                one, two = torch.randn(2, count, channels, generator=generator, dtype=torch.float64)
                found = frechet(shift * spread + scale * spread * one, spread * two)
                values.append(found.value)
                extrapolated.append(found.extrapolated)
                held += found.low <= truth <= found.high
            figures = f"{truth:.3f} | {mean_and_spread(values)} | {mean_and_spread(extrapolated)}"
            print(f"| {channels} | {count} | {figures} | {100 * held / options.repeats:.0f} % |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["bias", "coverage"])
    parser.add_argument("--side", type=int, default=96, help="of the crops")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 100, 200, 400, 800, 1200])
    options = parser.parse_args()
    {"bias": bias, "coverage": coverage}[options.what](options)


if __name__ == "__main__":
    main()
