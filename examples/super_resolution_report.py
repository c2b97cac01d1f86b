"""What came out of the super-resolution example: a table over the validation images, and a figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from super_resolution_data import SCALE, InputError, Photograph, enlarge, local_recipe, shrink
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from torchmetrics_fmiqa import FeatureComparator, WeightsUnavailableError, grid_artifact
from torchmetrics_fmiqa.benchmark.metrics.network_baselines import lpips_network
from torchmetrics_fmiqa.data.tables import write_table
from torchmetrics_fmiqa.features.image_checks import crop
from torchmetrics_fmiqa.plotting import new_figure, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Upscaler = Callable[[Tensor], Tensor]
Region = tuple[Photograph, tuple[int, int]]  # and the top left corner of what is shown of it

# The measures, what they are called in the table, and whether more is better
MEASURES = {
    "psnr": ("PSNR (dB)", True),
    "ssim": ("SSIM", True),
    "lpips_squeeze": ("LPIPS-squeeze", False),
    "squeezenet": ("SqueezeNet distance", False),
    "vit-tiny": ("ViT-Tiny distance", False),
    "embedded": ("embedded distance", False),
    "grid": (f"grid of {SCALE} pixels (grey levels)", False),
}
_Judge = TypeVar("_Judge")
_DEEP = ("squeezenet", "vit-tiny", "embedded")
METHODS = {
    "bicubic": "bicubic",
    "l1": "L1",
    "perceptual": "L1 + perceptual",
    "perceptual+grid": "L1 + perceptual + grid",
}
SHOWN = 120  # side of the regions in the figure, in pixels

# Free photographs that come with scikit-image, and the top left corner of what is shown of each
FREE = {"chelsea": (10, 130), "coffee": (195, 320), "astronaut": (20, 150), "rocket": (290, 240)}


def available(name: str, make: Callable[[], _Judge]) -> _Judge | None:
    """What ``make`` gives, or None and a line that says why where its weights are not to be had."""
    try:
        return make()
    except WeightsUnavailableError as error:
        print(f"not measured: {name}: {error}")
        return None


class Judges:
    """Measures pairs ``(1, 3, H, W)`` in [0, 1]. What has no weights here is left out, and said so.

    Args:
        loss: the recipe of the loss, which is no judge of its own work.
    """

    def __init__(self, loss: str) -> None:
        self.loss = loss
        made = {name: available(name, partial(FeatureComparator, local_recipe(name))) for name in _DEEP}
        self.features = {name: judge for name, judge in made.items() if judge is not None}
        self.lpips = available("LPIPS-squeeze", partial(lpips_network, "squeeze"))

    @torch.inference_mode()
    def measure(self, preds: Tensor, target: Tensor) -> dict[str, float]:
        """All measures of one pair, a border of the scale cut off as super-resolution papers do."""
        preds, target = crop(preds, SCALE), crop(target, SCALE)
        distances = {
            name: next(iter(judge(preds, target)[0].scores().values())) for name, judge in self.features.items()
        }
        values = {
            "psnr": peak_signal_noise_ratio(preds, target, data_range=1.0),
            "ssim": structural_similarity_index_measure(preds, target, data_range=1.0),
            **({} if self.lpips is None else {"lpips_squeeze": self.lpips(preds, target, normalize=True)}),
            **distances,
            "grid": grid_artifact(preds, target, periods=[SCALE]),
        }
        return {name: float(value) for name, value in values.items()}


@torch.inference_mode()
def restore(upscaler: Upscaler, target: Tensor) -> Tensor:
    """Shrink an image and enlarge it again, clamped to [0, 1] as an image file would be."""
    return upscaler(shrink(target)).clamp(0, 1)


def report(trained: dict[str, Upscaler], val: list[Photograph], judges: Judges, out: Path, show: str) -> None:
    """Measure, write table.csv and table.md, print the table, draw figure.png. The networks go by the stage's name."""
    upscalers = {"bicubic": enlarge, **trained}
    rows = []
    for photograph in track(val, "measuring", transient=True):
        target = photograph.pixels[None].float() / 255
        write_image(out, "reference", photograph.name, target)
        write_image(out, "lanczos", photograph.name, restore(lanczos, target))
        for method, upscaler in upscalers.items():
            restored = restore(upscaler, target)
            write_image(out, method, photograph.name, restored)
            values = judges.measure(restored, target)
            rows.append({"image": photograph.name, "method": method, **values})
    write_table(out / "table.csv", rows, list(rows[0]))

    header, lines = table_of(rows, judges.loss)
    note = (
        f"Means of {len(val)} validation images, x{SCALE}, RGB, predictions clamped to [0, 1], {SCALE} pixels cut off "
        "each side. The distances are FeatureDistance. *The loss's own network; no other was in the loss."
    )
    table = Table(*header, box=None, pad_edge=False)
    for line in lines:
        table.add_row(*line)
    console = Console()
    console.print(table)
    console.print(note, highlight=False)
    ruled = [header, ["---"] * len(header), *lines]
    (out / "table.md").write_text("".join(f"| {' | '.join(cells)} |\n" for cells in ruled) + f"\n{note}\n")

    draw(upscalers, free_photographs() if show == "skimage" else textured(val), judges).savefig(
        out / "figure.png", dpi=110
    )
    print(f"written: {out / 'table.md'}, {out / 'table.csv'}, {out / 'figure.png'}, {out / 'images'}")


def lanczos(images: Tensor) -> Tensor:
    """Pillow's Lanczos enlargement of ``(1, 3, H, W)``, for `fmiqa compare` alone."""
    small = Image.fromarray(to_bytes(images))
    large = small.resize((small.width * SCALE, small.height * SCALE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(large)).permute(2, 0, 1)[None] / 255


def to_bytes(images: Tensor) -> NDArray[np.uint8]:
    """``(1, 3, H, W)`` in [0, 1] as the pixels of a file, ``(H, W, 3)``."""
    return images[0].mul(255).round().byte().permute(1, 2, 0).numpy()


def write_image(out: Path, method: str, name: str, images: Tensor) -> None:
    """Keep an image as OUT/images/METHOD/NAME.png, for `fmiqa compare`."""
    path = out / "images" / method / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(to_bytes(images)).save(path)


def table_of(rows: Sequence[Mapping[str, Any]], loss: str) -> tuple[list[str], list[list[str]]]:
    """One line a measure: the mean of each method, and how those beyond L1 differ from L1 image by image."""
    methods = [method for method in METHODS if any(row["method"] == method for row in rows)]
    beyond = [method for method in methods if method.startswith("perceptual")]
    header = ["measure", *(METHODS[m] for m in methods), *(f"{METHODS[m]}, change from L1" for m in beyond)]
    lines = []
    for name, (label, more_is_better) in MEASURES.items():
        if name not in rows[0]:
            continue
        of = {method: [row[name] for row in rows if row["method"] == method] for method in methods}
        digits = 2 if name == "psnr" else 4
        arrow = "↑" if more_is_better else "↓"
        means = [f"{mean(values):.{digits}f}" for values in of.values()]
        changes = []
        for method in beyond:
            differences = [one - other for one, other in zip(of[method], of["l1"], strict=True)]
            better = sum((difference > 0) == more_is_better and difference != 0 for difference in differences)
            changes.append(f"{mean(differences):+.{digits}f}, better in {better} of {len(differences)}")
        star = "*" if name == loss else ""
        lines.append([f"{label}{star} {arrow}", *means, *changes])
    return header, lines


def free_photographs() -> list[Region]:
    """Public domain and CC0 photographs of scikit-image: none was trained on."""
    try:
        import skimage.data
    except ModuleNotFoundError:
        raise InputError(
            "figure.png shows photographs of scikit-image: pip install scikit-image, or --show val"
        ) from None
    found = []
    for name, corner in FREE.items():
        pixels = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1)
        height, width = (length - length % SCALE for length in pixels.shape[1:])
        found.append((Photograph(name, pixels[:, :height, :width]), corner))
    return found


def textured(photographs: list[Photograph]) -> list[Region]:
    """Four photographs, evenly spaced, and the region of each with the strongest edges."""
    found = []
    for position in range(0, len(photographs), max(1, len(photographs) // 4)):
        photograph = photographs[position]
        grey = photograph.pixels.float().mean(0, keepdim=True)[None]
        edges = grey.diff(dim=2)[..., :-1].abs() + grey.diff(dim=3)[..., :-1, :].abs()
        side = min(SHOWN, *edges.shape[2:])
        sums = torch.nn.functional.avg_pool2d(edges, side, stride=1)[0, 0]
        top, left = divmod(int(sums.argmax()), sums.shape[1])
        found.append((photograph, (top, left)))
    return found[:4]


def draw(upscalers: dict[str, Upscaler], shown: list[Region], judges: Judges) -> Figure:
    """A row for each photograph: the same region by each method, with its LPIPS and grid, and of the original."""
    columns = len(upscalers) + 1
    figure = new_figure(columns * 2.9, len(shown) * 3.2)
    grid = figure.subplots(len(shown), columns, squeeze=False)
    for axes, (photograph, (top, left)) in zip(grid, shown, strict=True):
        target = photograph.pixels[None].float() / 255
        region = (..., slice(top, top + SHOWN), slice(left, left + SHOWN))
        for axis, (method, upscaler) in zip(axes, upscalers.items(), strict=False):
            preds = restore(upscaler, target)[region]
            found = judges.measure(preds, target[region])
            measure = next(name for name in ("lpips_squeeze", *_DEEP) if name in found)
            label = "LPIPS" if measure == "lpips_squeeze" else MEASURES[measure][0]
            show_image(axis, preds[0], "")
            axis.set_title(f"{METHODS[method]}\n{label} {found[measure]:.3f}, grid {found['grid']:.2f}", fontsize=10)
        show_image(axes[-1], target[region][0], "original")
    return figure
