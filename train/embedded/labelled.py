"""Pairs with labels of the formulas, made once, kept in a folder, and shown many times in other ways.

    python -m train.embedded.labelled --batches 1000 --out runs/labelled

Interrupt it whenever you like, or run parts of it side by side (``--part 0/2``): what is there is not made again.
"""

from __future__ import annotations

import argparse
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from train.embedded.batches import made_pool, make_batch
from train.embedded.distortions import shifted, turned
from train.embedded.formulas import fused, verdicts
from train.embedded.objectives import UNSEEN, Copies

# A copy is moved by at most so many pixels: 1 % of an image of 600.
_FARTHEST = 6.0


def make_labelled(folder: Path, pool: Tensor, numbers: range, references: int, copies: int, crop: int) -> None:
    """Make the batches of these numbers that are not in the folder yet."""
    from rich.progress import track

    folder.mkdir(parents=True, exist_ok=True)
    for number in track(numbers, "labelling"):
        path = folder / f"{number:06d}.pt"
        if path.is_file():
            continue
        crops, made = make_batch(pool, 0, number, references, copies, crop, busy=0.0, moved=False)
        # what a file would hold, and what is learned from
        crops, images = ((images * 255).round() for images in (crops, made.images))
        labels = verdicts(images / 255, crops[made.reference] / 255)
        fresh = path.with_suffix(".new")
        kept = {name: getattr(made, name) for name in made.__dataclass_fields__}
        torch.save({**kept, "images": images.byte(), "crops": crops.byte(), "label": labels}, fresh)
        fresh.replace(path)


class Labelled:
    """The batches of a folder.

    Args:
        folder: that :func:`make_labelled` wrote.
        blend: how much severity counts in the labels of comparable distortions, 0 to 1; the rest is the formulas'.
        unseen: label of copies that are only moved. To ask that nothing lies nearer than they do costs detail.

    Raises:
        ValueError: if there are none.
    """

    def __init__(self, folder: Path, blend: float = 0.0, unseen: float = 0.1) -> None:
        paths = sorted(folder.glob("*.pt"))
        if not paths:
            raise ValueError(
                f"there are no labelled batches in {str(folder)!r}: make some, see train/embedded/README.md"
            )
        kept = [torch.load(path, weights_only=True) for path in paths]
        severity, comparable = (torch.cat([one[name] for one in kept]) for name in ("severity", "comparable"))
        label = _labels(torch.cat([one.pop("label") for one in kept]), severity, comparable, blend, unseen)
        labels = label.split([len(one["images"]) for one in kept])
        self._crops = [one.pop("crops") for one in kept]
        self._copies = [Copies(**one, label=label) for one, label in zip(kept, labels, strict=True)]

    def __len__(self) -> int:
        return len(self._crops)

    def batch(self, seed: int, step: int, moved: float) -> tuple[Tensor, Copies]:
        """The batch of a step of a run, turned and mirrored; the same when asked again.

        Args:
            seed: of the run.
            step: number of the batch.
            moved: share of the copies to move a little against their reference; their labels stay. With 0 the copies
                that are nothing but moved are left out.
        """
        epoch, place = divmod(step, len(self))
        order = list(range(len(self)))
        random.Random(seed * 1_000_003 + epoch).shuffle(order)
        draw = random.Random((seed * 1_000_003 + 1) * 1_000_003 + step)
        kept = self._copies[order[place]]
        if not moved:
            seen = kept.severity > UNSEEN
            kept = Copies(*(getattr(kept, name)[seen] for name in kept.__dataclass_fields__))
        crops, images = self._crops[order[place]].float() / 255, kept.images.float() / 255
        quarters, mirrored = draw.randrange(4), draw.random() < 0.5
        for number in range(len(images)):
            if draw.random() < moved or float(kept.severity[number]) == UNSEEN:
                images[number : number + 1] = _moved(images[number : number + 1], draw)
        crops, images = (torch.rot90(values, quarters, (2, 3)) for values in (crops, images))
        if mirrored:
            crops, images = crops.flip(3), images.flip(3)
        return crops.contiguous(), replace(kept, images=images.contiguous())


def _labels(columns: Tensor, severity: Tensor, comparable: Tensor, blend: float, unseen: float) -> Tensor:
    """Labels ``(M,)`` of copies from the formulas' verdicts ``(M, K)`` and, where severities compare, from those."""
    label = torch.full(severity.shape, unseen)
    seen = severity > UNSEEN
    label[seen] = fused(columns[seen])
    fair = seen & comparable
    if blend and bool(fair.any()):
        # severity on the labels' scale: the line through both
        line = np.polyfit(severity[fair].numpy(), label[fair].numpy(), 1)
        label[fair] += blend * (torch.from_numpy(np.polyval(line, severity[fair].numpy())).float() - label[fair])
    return label


def _moved(image: Tensor, draw: random.Random) -> Tensor:
    """A shift by parts of a pixel up to some pixels, small ones more often, or a turn by up to half a degree."""
    if draw.random() < 0.2:
        return turned(image, draw.uniform(-0.5, 0.5)).clamp(0, 1)
    far, angle = math.exp(draw.uniform(math.log(0.3), math.log(_FARTHEST))), draw.uniform(0, 2 * math.pi)
    down, across = far * math.sin(angle), far * math.cos(angle)
    if far >= 1 and draw.random() < 0.5:  # whole pixels: nothing is interpolated
        down, across = float(round(down)), float(round(across))
    return shifted(image, down, across).clamp(0, 1)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--references", type=int, default=6, help="crops a batch")
    parser.add_argument("--copies", type=int, default=5, help="distorted copies of a crop")
    parser.add_argument("--crop", type=int, default=160, help="side of a crop, pixels")
    parser.add_argument("--part", default="0/1", help="K/N: every Nth batch from the Kth on")
    parser.add_argument("--cache", type=Path, default=Path("runs"), help="folder that keeps the made images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the batches")
    given = parser.parse_args()
    first, every = (int(word) for word in given.part.split("/"))
    torch.set_num_threads(1)
    pool = made_pool(768, 256, given.cache)
    numbers = range(first, given.batches, every)
    make_labelled(given.out, pool, numbers, given.references, given.copies, given.crop)


if __name__ == "__main__":
    main()
