"""Pairs with labels of the formulas, made once, kept in a folder, and shown many times in other ways.

    python -m train.embedded.labelled --batches 1000 --out runs/labelled

Interrupt it whenever you like, or run parts of it side by side (``--part 0/2``): what is there is not made again.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from train.embedded.batches import made_pool, make_batch
from train.embedded.distortions import slightly_moved
from train.embedded.formulas import fused, verdicts
from train.embedded.objectives import UNSEEN, Copies
from train.embedded.untrained import untrained_verdicts

# A copy is moved by at most so many pixels: 1 % of an image of 600.
_FARTHEST = 6.0
# Or turned by at most so much.
_MOST_DEGREES = 0.5


def make_labelled(folder: Path, pool: Tensor, numbers: range, shape: tuple[int, int, int]) -> None:
    """Make the batches of these numbers that are not in the folder yet, and the labels that they lack."""
    from rich.progress import track

    folder.mkdir(parents=True, exist_ok=True)
    for number in track(numbers, "labelling"):
        path = folder / f"{number:06d}.pt"
        kept = torch.load(path, weights_only=True) if path.is_file() else _labelled(pool, number, shape)
        if "untrained" not in kept:
            images, crops = kept["images"].float() / 255, kept["crops"].float() / 255
            kept["untrained"] = untrained_verdicts(images, crops, kept["reference"])
            fresh = path.with_suffix(".new")
            torch.save(kept, fresh)
            fresh.replace(path)


def _labelled(pool: Tensor, number: int, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """A batch with the labels of the formulas."""
    crops, made = make_batch(pool, 0, number, *shape, busy=0.0, moved=False)
    # what a file would hold, and what is learned from
    crops, images = ((images * 255).round() for images in (crops, made.images))
    labels = verdicts(images / 255, crops[made.reference] / 255)
    kept = {name: getattr(made, name) for name in made.__dataclass_fields__}
    return {**kept, "images": images.byte(), "crops": crops.byte(), "label": labels}


class Labelled:
    """The batches of a folder.

    Args:
        folder: that :func:`make_labelled` wrote.
        blend: how much severity counts in the labels of comparable distortions, 0 to 1; the rest is the formulas'.
        unseen: label of copies that are only moved. To ask that nothing lies nearer than they do costs detail.
        untrained: how much untrained networks count beside the formulas, 0 to 1, where distortions are comparable.

    Raises:
        ValueError: if there are none, or one has no labels of untrained networks.
    """

    def __init__(self, folder: Path, blend: float = 0.0, unseen: float = 0.1, untrained: float = 0.0) -> None:
        paths = sorted(folder.glob("*.pt"))
        if not paths:
            raise ValueError(
                f"there are no labelled batches in {str(folder)!r}: make some, see train/embedded/README.md"
            )
        kept = [torch.load(path, weights_only=True) for path in paths]
        for path, one in zip(paths, kept, strict=True):
            if "untrained" not in one:
                raise ValueError(f"{str(path)!r} lacks labels: make them, with the command that made the folder")
        severity, comparable = (torch.cat([one[name] for one in kept]) for name in ("severity", "comparable"))
        formulas, networks = (torch.cat([one.pop(name) for one in kept]) for name in ("label", "untrained"))
        seen = severity > UNSEEN
        label = torch.full(severity.shape, unseen)
        label[seen] = fused(formulas[seen])
        fair = seen & comparable
        # a change of light turns an untrained network upside down, and people hardly mind: formulas alone know of it
        label[fair] = (1 - untrained) * label[fair] + untrained * _placed(networks[fair], label[fair])
        label = _with_severity(label, severity, fair, blend)
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
                images[number] = slightly_moved(images[number][None], draw, _FARTHEST, _MOST_DEGREES)[0]
        crops, images = (torch.rot90(values, quarters, (2, 3)) for values in (crops, images))
        if mirrored:
            crops, images = crops.flip(3), images.flip(3)
        return crops.contiguous(), replace(kept, images=images.contiguous())


def _placed(values: Tensor, like: Tensor) -> Tensor:
    """The values of ``like`` in the order of others."""
    return like.sort().values[values.argsort().argsort()]


def _with_severity(label: Tensor, severity: Tensor, fair: Tensor, blend: float) -> Tensor:
    """Labels ``(M,)`` drawn by ``blend`` towards the severity where severities compare, ``fair``."""
    if not blend or not bool(fair.any()):
        return label
    # severity on the labels' scale: the line through both
    line = np.polyfit(severity[fair].numpy(), label[fair].numpy(), 1)
    drawn = torch.from_numpy(np.polyval(line, severity[fair].numpy())).float()
    return label.masked_scatter(fair, label[fair].lerp(drawn, blend))


def _part(word: str, count: int) -> range:
    """The numbers of the batches of a part ``K/N``."""
    first, _, every = word.partition("/")
    if not (first.isdecimal() and every.isdecimal() and int(first) < int(every)):
        raise ValueError(f"`part` is K/N with K from 0 to N - 1, got {word!r}")
    return range(int(first), count, int(every))


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
    try:
        numbers = _part(given.part, given.batches)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    torch.set_num_threads(1)
    pool = made_pool(768, 256, given.cache)
    make_labelled(given.out, pool, numbers, (given.references, given.copies, given.crop))


if __name__ == "__main__":
    main()
