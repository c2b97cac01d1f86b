"""Score real photographs and distorted copies of them; print a table and draw where they differ.

    python examples/demo.py [FOLDER]        # writes demo.png and a picture for each distortion of one photograph

The photographs come with scikit-image (public domain and CC0), the network with this package: nothing is downloaded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import kornia
import skimage.data
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from torchmetrics_fmiqa import FeatureComparator
from torchmetrics_fmiqa.plotting import comparison_figure, new_figure, show_heat, show_image
from torchmetrics_fmiqa.recipes import as_recipe

PHOTOGRAPHS = ("chelsea", "coffee", "astronaut")


def distort(image: Tensor) -> dict[str, Tensor]:
    """The usual damage, mild and strong, of ``(1, 3, H, W)`` in [0, 1]."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    height, width = image.shape[2:]
    small = torch.nn.functional.interpolate(image, (height // 4, width // 4), mode="bicubic", antialias=True)
    copies = {
        "itself": image,
        "1 px shift": image.roll(1, 3),
        "blur, sigma 1": kornia.filters.gaussian_blur2d(image, (9, 9), (1.0, 1.0)),
        "blur, sigma 3": kornia.filters.gaussian_blur2d(image, (19, 19), (3.0, 3.0)),
        "noise, sigma 0.02": image + 0.02 * noise,
        "noise, sigma 0.1": image + 0.1 * noise,
        "JPEG, quality 50": jpeg(image, 50),
        "JPEG, quality 10": jpeg(image, 10),
        "bicubic x4": torch.nn.functional.interpolate(small, (height, width), mode="bicubic"),
        "contrast x0.8": 0.5 + 0.8 * (image - 0.5),
    }
    return {name: copy.clamp(0, 1) for name, copy in copies.items()}


def jpeg(image: Tensor, quality: float) -> Tensor:
    """JPEG of an image whose sides a multiple of 16 need not divide."""
    height, width = image.shape[2:]
    padded = torch.nn.functional.pad(image, (0, -width % 16, 0, -height % 16), mode="replicate")
    return kornia.enhance.jpeg_codec_differentiable(padded, torch.tensor([quality]))[..., :height, :width]


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    comparator = FeatureComparator(as_recipe("embedded"))
    ours: dict[str, list[float]] = {}
    usual: dict[str, list[tuple[float, float]]] = {}
    for name in PHOTOGRAPHS:
        target = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1)[None].float() / 255
        copies = distort(target)
        for kind, preds in copies.items():
            ours.setdefault(kind, []).append(float(next(iter(comparator(preds, target)[0].scores().values()))))
            psnr = float(peak_signal_noise_ratio(preds, target, data_range=1.0))
            ssim = float(structural_similarity_index_measure(preds, target, data_range=1.0))
            usual.setdefault(kind, []).append((psnr, ssim))
        if name == PHOTOGRAPHS[0]:
            draw(comparator, target, copies, folder)
    table = Table("distortion", *PHOTOGRAPHS, "mean PSNR", "mean SSIM", box=None, pad_edge=False)
    for kind, scores in ours.items():
        psnr, ssim = (sum(values) / len(values) for values in zip(*usual[kind], strict=True))
        table.add_row(kind, *(f"{score:.4f}" for score in scores), f"{psnr:.1f}", f"{ssim:.3f}")
    console.print("Perceptual distance (by the embedded network's features): lower is closer, 0 is equal.")
    console.print(table)
    console.print(f"pictures: {folder}/demo.png, {folder}/jpeg.png", highlight=False)


def draw(comparator: FeatureComparator, target: Tensor, copies: dict[str, Tensor], folder: Path) -> None:
    """One picture of four distortions on one scale, and one with all taps of the strongest blur."""
    shown = ("blur, sigma 1", "noise, sigma 0.1", "JPEG, quality 10", "bicubic x4")
    maps = {kind: next(iter(comparator.maps(copies[kind], target, per_layer=True).values())) for kind in shown}
    top = max(float(torch.quantile(heats["score"].flatten(), 0.995)) for heats in maps.values())
    figure = new_figure(15.2, 4.5)
    grid = figure.subplots(2, 5)
    show_image(grid[0, 0], target[0], "reference")
    grid[1, 0].set_axis_off()
    for column, (kind, heats) in enumerate(maps.items(), 1):
        show_image(grid[0, column], copies[kind][0], kind)
        title = f"distance {float(heats['score'].mean()):.3f}"
        shades = show_heat(grid[1, column], copies[kind][0], heats["score"][0, 0], title, top)
    bar = grid[1, 0].inset_axes((0.72, 0.0, 0.06, 1.0))
    figure.colorbar(shades, cax=bar, label="distance").ax.yaxis.set_ticks_position("left")
    bar.yaxis.set_label_position("left")
    figure.savefig(folder / "demo.png", dpi=110)
    heats = dict(maps["JPEG, quality 10"])
    score = heats.pop("score")
    per_tap = {tap: float(heat.mean()) for tap, heat in heats.items()}
    comparison_figure(
        target[0],
        copies["JPEG, quality 10"][0],
        score[0, 0],
        per_tap,
        float(score.mean()),
        "JPEG at quality 10 (embedded)",
        "distance",
    ).savefig(folder / "jpeg.png", dpi=110)


if __name__ == "__main__":
    main()
