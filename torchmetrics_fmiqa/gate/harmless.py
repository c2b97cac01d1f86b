"""Changes of an image that a gate lets pass: what they do to its own images is what bounds are measured by."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

#: ``(3, H, W)`` in [0, 1] to the same.
Change = Callable[[Tensor], Tensor]


def noise(image: Tensor) -> Tensor:
    """Each 8-bit value up to one step higher or lower, as other hardware or another order of sums rounds it."""
    steps = torch.randint(-1, 2, image.shape, generator=torch.Generator().manual_seed(0))
    return (image + steps / 255).clamp(0, 1)


def jpeg(image: Tensor) -> Tensor:
    """Saved as JPEG of quality 95."""
    from PIL import Image

    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).to(image.dtype) / 255


#: Changes that can be declared harmless. ``shift`` has no function: a shift is undone before anything is measured.
HARMLESS: dict[str, Change | None] = {"noise": noise, "jpeg": jpeg, "shift": None}


def check_harmless(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of harmless changes, each once, in the order of :data:`HARMLESS`.

    Raises:
        ValueError: for a name that is none.
    """
    for name in names:
        if name not in HARMLESS:
            raise ValueError(f"`harmless` takes {', '.join(HARMLESS)} or none, got {name!r}")
    return tuple(name for name in HARMLESS if name in names)
