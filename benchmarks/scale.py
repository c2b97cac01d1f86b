"""What the numbers of the default recipe look like, and how large its gradient is beside those of LPIPS and L1.

    FMIQA_ASSETS=FOLDER python benchmarks/scale.py docs/scale.png

Crops of photographs of scikit-image are damaged until the default distance is .01, .05, .1, .2 and .4, by bisection
over the severity. Printed are the medians over the photographs: PSNR and LPIPS-squeeze there, and how long (L2) the
gradient of the distance to the image is beside those of LPIPS and L1, which says what weights are alike.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import kornia
import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import skimage.data
import torch
from common import lpips_squeeze
from torch import Tensor

from torchmetrics_fmiqa import FeatureDistanceLoss

ANCHORS = (0.01, 0.05, 0.1, 0.2, 0.4)
PHOTOGRAPHS = ("coffee", "astronaut", "chelsea", "rocket")
SIDE = 256


def photograph(name: str) -> Tensor:
    """The middle of a photograph, ``(1, 3, 256, 256)`` in [0, 1]."""
    image = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1)[None].float() / 255
    top, left = ((side - SIDE) // 2 for side in image.shape[2:])
    return image[..., top : top + SIDE, left : left + SIDE]


def blur(image: Tensor, amount: float) -> Tensor:
    """Gaussian blur with a standard deviation of 0.2 to 12 pixels."""
    sigma = 0.2 * 60**amount
    size = 2 * int(3 * sigma + 1) + 1
    return kornia.filters.gaussian_blur2d(image, (size, size), (sigma, sigma))


def noise(image: Tensor, amount: float) -> Tensor:
    """Gaussian noise with a standard deviation of 0.002 to 0.6."""
    grain = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    return (image + 0.002 * 300**amount * grain).clamp(0, 1)


def jpeg(image: Tensor, amount: float) -> Tensor:
    """JPEG at a quality of 99 to 1."""
    height, width = image.shape[2:]
    padded = torch.nn.functional.pad(image, (0, -width % 16, 0, -height % 16), mode="replicate")
    quality = torch.tensor([99 * 99**-amount])
    return kornia.enhance.jpeg_codec_differentiable(padded, quality)[..., :height, :width].detach()


DAMAGE: dict[str, Callable[[Tensor, float], Tensor]] = {"blur": blur, "noise": noise, "JPEG": jpeg}


def at_distance(
    image: Tensor, damage: Callable[[Tensor, float], Tensor], loss: FeatureDistanceLoss, wanted: float
) -> Tensor | None:
    """The image damaged until its distance is as wanted; ``None`` where the damage does not reach it."""
    low, high = 0.0, 1.0
    if float(loss(damage(image, high), image)) < wanted or float(loss(damage(image, low), image)) > wanted:
        return None
    for _ in range(10):
        middle = (low + high) / 2
        low, high = (middle, high) if float(loss(damage(image, middle), image)) < wanted else (low, middle)
    return damage(image, high)


def slope(measure: Callable[[Tensor, Tensor], Tensor], preds: Tensor, target: Tensor) -> tuple[float, float]:
    """A measure's value, and the length of its gradient to the predictions."""
    preds = preds.clone().requires_grad_()
    value = measure(preds, target)
    (gradient,) = torch.autograd.grad(value, preds)
    return float(value.detach()), float(gradient.norm())


def main(path: Path) -> None:
    loss = FeatureDistanceLoss()
    lpips = lpips_squeeze()
    measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "ours": loss,
        "LPIPS": lambda preds, target: lpips(2 * preds - 1, 2 * target - 1).mean(),
        "L1": lambda preds, target: (preds - target).abs().mean(),
    }
    figure, panels = plt.subplots(3, 1 + len(ANCHORS), figsize=(13.2, 7.6), layout="constrained")
    print("damage  distance  PSNR   LPIPS-squeeze  gradients: ours/LPIPS  ours/L1   photographs")
    for row, (kind, damage) in zip(panels, DAMAGE.items(), strict=True):
        for axes, wanted in zip(row[1:], ANCHORS, strict=True):
            found = []
            for name in PHOTOGRAPHS:
                target = photograph(name)
                with torch.no_grad():
                    preds = at_distance(target, damage, loss, wanted)
                if preds is None:
                    continue
                psnr = float(-10 * (preds - target).square().mean().log10())
                slopes = {key: slope(measure, preds, target) for key, measure in measures.items()}
                lengths = {key: length for key, (_, length) in slopes.items()}
                found.append(
                    (psnr, slopes["LPIPS"][0], lengths["ours"] / lengths["LPIPS"], lengths["ours"] / lengths["L1"])
                )
                if name == PHOTOGRAPHS[0]:
                    show(axes, preds, f"PSNR {psnr:.1f}   LPIPS {slopes['LPIPS'][0]:.3f}")
            if kind == "blur":
                axes.set_title(f"{wanted:g}", fontsize=15, fontweight="bold", pad=8)
            middle = torch.tensor(found).median(0).values.tolist() if found else [float("nan")] * 4
            psnr, lpips_there, to_lpips, to_l1 = middle
            row_of = f"{psnr:5.1f}  {lpips_there:<13.3f}  {to_lpips:<21.2f}  {to_l1:<8.2f}  {len(found)}"
            print(f"{kind:6}  {wanted:<8g}  {row_of}", flush=True)
        show(row[0], photograph(PHOTOGRAPHS[0]), "")
        row[0].set_ylabel(kind, fontsize=14)
    panels[0, 0].set_title("reference", fontsize=13, pad=8)
    figure.savefig(path, dpi=110, facecolor="white")


def show(axes: plt.Axes, image: Tensor, below: str) -> None:
    axes.imshow(image[0].permute(1, 2, 0).clamp(0, 1))
    axes.set_xlabel(below, fontsize=10.5)
    axes.set_xticks([])
    axes.set_yticks([])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
