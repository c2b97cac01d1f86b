"""What a gate catches, and what it lets pass, beside the same gate run with PSNR, SSIM and LPIPS-squeeze.

    FMIQA_ASSETS=... python benchmarks/gate_power.py              # kodak and every fourth image of bsd100, minutes
    FMIQA_ASSETS=... python benchmarks/gate_power.py --images 8

Each image is cropped to 256 x 256. Ours has the bounds that `fmiqa gate record` sets, by several margins. Each of the
others has the best single threshold that it could have: the strictest that lets 999 of 1,000 harmless changes pass,
over all images. The rule for the default margin, written before it was looked at: the smallest of these by which at
most one of 1,000 harmless changes of Kodak's images fails. BSD100's are for the table alone.
Harmless are noise of up to 1/255 (other draws than the one that bounds are measured with), JPEG of quality 95 and 96, a
shift by a pixel (undone first for all metrics alike), and nothing.
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from common import lpips_squeeze
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

from torchmetrics_fmiqa import RECIPES
from torchmetrics_fmiqa.gate.check import compare, floor_of, gate_comparator
from torchmetrics_fmiqa.gate.differences import aligned
from torchmetrics_fmiqa.gate.golden import Golden, GoldenImage

Values = dict[str, list[float]]  # change -> a value for each image
SIDE = 256
KODAK = 24
MARGINS = (1.5, 1.75, 2.0, 2.5)
DRAWS = 20  # of the noise, for each image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, help="so many images alone")
    options = parser.parse_args()
    torch.manual_seed(0)
    images = [crop(path) for path in paths()[: options.images]]
    recipe = RECIPES["default"].recipe
    golden = Golden(Path(), recipe, ("noise", "jpeg", "shift"), margin=1.0)
    comparator, lpips = gate_comparator(recipe), lpips_squeeze()
    ours: dict[str, list[float]] = {}  # the largest difference, as a multiple of what harmless changes do
    others: dict[str, dict[str, list[float]]] = {"PSNR": {}, "SSIM": {}, "LPIPS-squeeze": {}}
    for place, image in enumerate(images):
        floor = floor_of(golden, image)
        bounds = golden.bounds(GoldenImage("", "", floor))
        for name, changed in changes(image, place).items():
            differences, *_ = compare(comparator, changed, image, golden.shift)
            ours.setdefault(name, []).append(max(value / bounds[key] for key, value in differences.items().items()))
            output, target = aligned(changed, image, golden.shift)
            with torch.no_grad():
                error = float((output - target).square().mean())
                values = {
                    "PSNR": error,  # as monotone, and finite for equal images
                    "SSIM": 1 - float(ssim(output[None], target[None], data_range=1.0)),
                    "LPIPS-squeeze": float(lpips(output[None] * 2 - 1, target[None] * 2 - 1)),
                }
            for metric, value in values.items():
                others[metric].setdefault(name, []).append(value)
        print(f"{place + 1} of {len(images)}", flush=True)
    for title, places in (("Kodak", range(KODAK)), ("BSD100", range(KODAK, len(images)))):
        report(title, ours, others, [place for place in places if place < len(images)])


def report(title: str, ours: Values, others: dict[str, Values], places: Sequence[int]) -> None:
    """Print the share that is caught of some images; thresholds of the other metrics are of these images too."""
    if not places:
        return
    kinds = list(dict.fromkeys(name.partition("#")[0] for name in ours))

    def values_of(values: Values, kind: str) -> np.ndarray:
        return np.array([v[place] for name, v in values.items() if name.partition("#")[0] == kind for place in places])

    columns = {f"ours, {margin:g}": (ours, margin) for margin in MARGINS}
    for metric, values in others.items():
        harmless = np.concatenate([values_of(values, kind) for kind in HARMLESS_NAMES])
        columns[metric] = (values, float(np.quantile(harmless, 0.999)))
    print(f"\n| {title}, {len(places)} images | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    everything = np.concatenate([values_of(ours, kind) for kind in HARMLESS_NAMES])
    alarms = [f"{(everything > margin).sum()} of {len(everything)}" for margin in MARGINS]
    print(f"| false alarms | {' | '.join(alarms)} | {' | '.join('.001' for _ in others)} |")
    for kind in sorted(kinds, key=lambda kind: (kind not in HARMLESS_NAMES, kind)):
        cells = [f"{np.mean(values_of(values, kind) > bound):.3f}" for values, bound in columns.values()]
        print(f"| {'harmless: ' if kind in HARMLESS_NAMES else ''}{kind} | {' | '.join(cells)} |")


def paths() -> list[Path]:
    folder = Path(os.environ.get("FMIQA_ASSETS", "../shared/assets")) / "images"
    return [*sorted((folder / "kodak").glob("*.png")), *sorted((folder / "bsd100").glob("*.png"))[::4]]


def crop(path: Path) -> Tensor:
    pixels = np.array(Image.open(path).convert("RGB"))[32 : 32 + SIDE, 48 : 48 + SIDE]
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


HARMLESS_NAMES = ("nothing", "noise", "jpeg 95", "jpeg 96", "shift")


def changes(image: Tensor, seed: int) -> dict[str, Tensor]:
    """Harmless changes first, then faults; all are of 8 bits."""
    generator = torch.Generator().manual_seed(1000 + seed)
    noise = {
        f"noise#{draw}": image + torch.randint(-1, 2, image.shape, generator=generator) / 255 for draw in range(DRAWS)
    }
    found = {
        "nothing": image,
        **noise,
        "jpeg 95": jpeg(image, 95),
        "jpeg 96": jpeg(image, 96),
        "shift": image.roll((1, 1), (1, 2)),
        **{name: fault(image) for name, fault in FAULTS.items()},
    }
    return {name: (changed.clamp(0, 1) * 255).round() / 255 for name, changed in found.items()}


def jpeg(image: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255


def wrong_matrix(image: Tensor) -> Tensor:
    """Encoded by BT.601 and decoded by BT.709."""
    to_601 = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    to_709 = torch.tensor([[0.2126, 0.7152, 0.0722], [-0.114572, -0.385428, 0.5], [0.5, -0.454153, -0.045847]])
    return torch.einsum("ij,jhw->ihw", torch.linalg.inv(to_709) @ to_601, image)


def blur(image: Tensor, sigma: float) -> Tensor:
    kernel = torch.exp(-(torch.arange(-4, 5.0) ** 2) / 2 / sigma**2)
    kernel = (kernel / kernel.sum()).repeat(3, 1, 1)
    padded = F.pad(image[None], (4, 4, 4, 4), "reflect")
    rows = F.conv2d(padded, kernel[:, :, :, None], groups=3)
    return F.conv2d(rows, kernel[:, :, None], groups=3)[0]


def broken_tile(image: Tensor, fill: Callable[[Tensor], Tensor]) -> Tensor:
    broken = image.clone()
    part = broken[:, 96:128, 160:192]
    broken[:, 96:128, 160:192] = fill(part)
    return broken


def grid(image: Tensor) -> Tensor:
    lines = torch.zeros_like(image)
    lines[:, ::8] = 2 / 255
    lines[:, :, ::8] = 2 / 255
    return image + lines


FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "RGB and BGR": lambda image: image.flip(0),
    "wrong colour matrix": wrong_matrix,
    "gamma 1.1": lambda image: image**1.1,
    "gamma 2.2": lambda image: image ** (1 / 2.2),
    "tile of 32 turned": lambda image: broken_tile(image, lambda part: part.flip(2)),
    "tile of 32 flat": lambda image: broken_tile(image, lambda part: part.mean((1, 2), keepdim=True)),
    "blur, sigma 1": lambda image: blur(image, 1.0),
    "blur, sigma 0.6": lambda image: blur(image, 0.6),
    "grid of 8 pixels, 2/255": grid,
    "shift by 2": lambda image: image.roll((2, 2), (1, 2)),
    "shift by 3": lambda image: image.roll(3, 2),
    "JPEG 80": lambda image: jpeg(image, 80),
}

if __name__ == "__main__":
    main()
