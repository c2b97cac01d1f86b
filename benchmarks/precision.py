"""How wrong half precision is, against float32, by the strength of the noise: the score, and the loss's gradient.

    FMIQA_ASSETS=... python benchmarks/precision.py [--device cuda]      # four minutes on two cores

ViT-Tiny with its real weights, all taps, 8 crops of 224 x 224 of Kodak photographs.
"""

from __future__ import annotations

import sys

import torch
from common import ASSETS, VIT_TINY
from torch import Tensor

from torchmetrics_fmiqa import FeatureComparator, FeatureDistanceLoss, Recipe
from torchmetrics_fmiqa.data.images import read_image

#: What the backbone computes in, and what the loss is multiplied by before the backward pass: ``GradScaler`` starts at
#: 65536, so that small gradients survive float16.
WAYS = (("bfloat16", torch.bfloat16, 1.0), ("float16", torch.float16, 65536.0), ("float16", torch.float16, 1.0))


def main() -> None:
    device = "cuda" if "cuda" in sys.argv else "cpu"
    paths = sorted((ASSETS / "images" / "kodak").glob("*.png"))[:8]
    target = torch.stack([read_image(path)[:, 100:324, 100:324] for path in paths]).float().to(device) / 255
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0)).to(device)
    recipe = Recipe("vit_tiny_patch16_224", weights=str(VIT_TINY), distance=["cosine", "l2"])
    scores(recipe, target, noise)
    gradients(recipe, target, noise)


def scores(recipe: Recipe, target: Tensor, noise: Tensor) -> None:
    kinds = ("float32", "bfloat16", "float16")
    exact, *halves = (FeatureComparator(recipe, precision=kind) for kind in kinds)  # type: ignore[arg-type]
    print("noise of   distance   score      " + "   ".join(f"{kind} off by" for kind in kinds[1:]))
    for strength in (0.25, 1, 5, 25):
        preds = (target + noise * strength / 255).clamp(0, 1)
        right = exact(preds, target)[0].scores()
        wrong = [half(preds, target)[0].scores() for half in halves]
        for name, values in right.items():
            errors = "   ".join(f"{relative(w[name], values):15.2%}" for w in wrong)
            print(f"{strength:5}/255  {name:8s} {float(values.mean()):10.3g} {errors}")


def gradients(recipe: Recipe, target: Tensor, noise: Tensor) -> None:
    """The loss as training calls it: under autocast, its mean scaled and run backwards to ``preds``."""
    print("\nnoise of   distance   autocast   loss scale   loss off by   gradient off by   cosine to its direction")
    for strength in (1, 5, 25):
        preds = (target + noise * strength / 255).clamp(0, 1)
        for distance in recipe.distances:
            loss = FeatureDistanceLoss(recipe.replace(distance=distance), reduction="none")
            value, gradient = step(loss, preds, target)
            for name, dtype, scale in WAYS:
                half, rough = step(loss, preds, target, dtype, scale)
                length = ((rough - gradient).norm(dim=1) / gradient.norm(dim=1)).mean()
                direction = torch.nn.functional.cosine_similarity(rough, gradient).mean()
                print(
                    f"{strength:5}/255  {distance:8s}   {name:8s} {scale:12g} {relative(half, value):13.2%} "
                    f"{float(length):17.2%} {float(direction):25.4f}"
                )


def step(
    loss: FeatureDistanceLoss, preds: Tensor, target: Tensor, dtype: torch.dtype | None = None, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The loss of each image and its gradient, flat; float32 throughout without a ``dtype``."""
    preds = preds.clone().requires_grad_()
    with torch.autocast(preds.device.type, dtype, enabled=dtype is not None):
        values = loss(preds, target)
    (gradient,) = torch.autograd.grad(scale * values.mean(), preds)
    return values.detach(), gradient.flatten(1) / scale


def relative(values: Tensor, right: Tensor) -> float:
    return float(((values - right).abs() / right).mean())


if __name__ == "__main__":
    main()
