"""Changes of an image that a gate lets pass: what they do to its own images is what bounds are measured by."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

#: ``(3, H, W)`` in [0, 1] to the same.
Change = Callable[[Tensor], Tensor]


def noise(image: Tensor, seed: int) -> Tensor:
    """Each 8-bit value up to one step higher or lower, as other hardware or another order of sums rounds it."""
    steps = torch.randint(-1, 2, image.shape, generator=torch.Generator().manual_seed(seed))
    return (image + steps / 255).clamp(0, 1)


def jpeg(image: Tensor, quality: int) -> Tensor:
    """Saved as JPEG."""
    from PIL import Image

    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).to(image.dtype) / 255


#: Changes that can be declared harmless, each with what bounds are measured by. Several qualities of JPEG, since an
#: image that was a JPEG file before can be left nearly as it is by one of them. A shift is undone before anything is
#: measured, and has no bounds.
HARMLESS: dict[str, tuple[Change, ...]] = {
    "noise": tuple(partial(noise, seed=seed) for seed in range(2)),
    "jpeg": tuple(partial(jpeg, quality=quality) for quality in (95, 96, 97, 98)),
    "shift": (),
}


def check_harmless(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of harmless changes, each once, in the order of :data:`HARMLESS`.

    Raises:
        ValueError: for a name that is none.
    """
    for name in names:
        if name not in HARMLESS:
            raise ValueError(f"`harmless` takes {', '.join(HARMLESS)} or none, got {name!r}")
    return tuple(name for name in HARMLESS if name in names)
