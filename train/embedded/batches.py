"""Batches to train on: crops of made images and copies of them, distorted by known severities."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from train.embedded.distortions import TRAINED, slightly_moved
from train.embedded.images import make_image
from train.embedded.objectives import UNSEEN, Copies

#: Seeds of the images that are trained on start here; those of :mod:`train.embedded.evaluate` lie elsewhere.
FIRST_SEED = 1_000_000
# On an even crop no severity means anything.
_BUSY = 0.05
# Nobody sees a shift by about a pixel, or a turn by a degree.
_FARTHEST, _MOST_DEGREES = 1.4, 1.0


def made_pool(count: int, side: int, folder: Path) -> Tensor:
    """Made images ``(count, 3, side, side)`` uint8, kept in a folder for the next run."""
    from rich.progress import track

    path = folder / f"made-{count}-{side}.pt"
    if path.is_file():
        pool: Tensor = torch.load(path, weights_only=True)
        return pool
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    pool = torch.stack([make_image(seed, side) for seed in track(seeds, "making images")])
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(pool, path)
    return pool


def make_batch(
    pool: Tensor,
    seed: int,
    step: int,
    references: int,
    copies: int,
    crop: int,
    busy: float = _BUSY,
    moved: bool = True,
) -> tuple[Tensor, Copies]:
    """The batch of a step; the same for the same arguments, so that a resumed run sees what it would have seen.

    Args:
        pool: images ``(P, 3, S, S)`` uint8.
        seed: of the run.
        step: number of the batch.
        references: crops in it.
        copies: of each crop, at least 3: one with a change that nobody sees, two of one distortion, others.
        crop: side of the crops, pixels.
        busy: least root mean square of the steps from pixel to pixel of a crop; photographs have about 0.06.
        moved: move the copy with a change that nobody sees; else it is the crop itself.

    Returns:
        The crops ``(R, 3, crop, crop)`` in [0, 1], and their copies.

    Raises:
        ValueError: for fewer copies, or crops larger than the images.
    """
    if copies < 3:
        raise ValueError(f"`copies` must be at least 3, got {copies}")
    if crop > pool.shape[-1]:
        raise ValueError(f"`crop` must be at most the {pool.shape[-1]} pixels of the images, got {crop}")
    draw = random.Random(seed * 1_000_003 + step)
    generator = torch.Generator().manual_seed(draw.randrange(2**62))
    crops = torch.cat([_busy_crop(pool, crop, draw, busy) for _ in range(references)])
    kinds = list(TRAINED.values())
    crossed = [one for one in kinds if one.comparable or one.lenient]
    images, rows = [], []
    for number in range(references):
        image = crops[number : number + 1]
        images.append(slightly_moved(image, draw, _FARTHEST, _MOST_DEGREES) if moved else image)
        rows.append((number, len(kinds), UNSEEN, True, False))
        twice = draw.choice(kinds)
        low = draw.uniform(1, 4.4)
        asked = [(twice, low), (twice, draw.uniform(low + 0.5, 5))]
        asked += [(draw.choice(crossed), draw.uniform(1, 5)) for _ in range(copies - 3)]
        state = generator.get_state()
        for kind, severity in asked:
            if kind is twice:
                generator.set_state(state)  # the same noise, only stronger
            images.append(kind(image, severity, generator))
            rows.append((number, kinds.index(kind), severity, kind.comparable, kind.lenient))
    reference, kind_of, severities, fair, lenient = zip(*rows, strict=True)
    return crops, Copies(
        torch.cat(images),
        torch.tensor(reference),
        torch.tensor(kind_of),
        torch.tensor(severities),
        torch.tensor(fair),
        torch.tensor(lenient),
        torch.zeros(len(images)),
    )


def _busy_crop(pool: Tensor, crop: int, draw: random.Random, busy: float) -> Tensor:
    """A crop on which a blur is seen: on an even one no severity means anything. After a few tries any will do."""
    for _ in range(12):
        image = _crop(pool, crop, draw)
        steps = torch.cat([image.diff(dim=2).flatten(), image.diff(dim=3).flatten()])
        if steps.square().mean().sqrt() > busy:
            break
    return image


def _crop(pool: Tensor, crop: int, draw: random.Random) -> Tensor:
    """A part of an image, at times shrunk, turned by quarters, mirrored, with its colours exchanged."""
    image = pool[draw.randrange(len(pool))][None].float() / 255
    side = image.shape[-1]
    taken = min(side, round(crop * draw.choice((1.0, 1.0, draw.uniform(1, side / crop)))))
    top, left = draw.randrange(side - taken + 1), draw.randrange(side - taken + 1)
    image = image[..., top : top + taken, left : left + taken]
    if taken != crop:
        image = F.interpolate(image, (crop, crop), mode="bicubic", antialias=True).clamp(0, 1)
    image = torch.rot90(image, draw.randrange(4), (2, 3))
    if draw.random() < 0.5:
        image = image.flip(3)
    if draw.random() < 0.2:
        image = image[:, draw.sample(range(3), 3)]
    return image
