"""Clips of stills that move, and what goes wrong with video."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

FRAMES, SIDE = 8, 96

#: By name: shift in pixels, growth and turn in degrees from one frame to the next.
MOTIONS = {"pan": (4.0, 0.0, 0.0), "slow pan": (0.5, 0.0, 0.0), "zoom": (0.0, 0.03, 0.0), "turn": (0.0, 0.0, 2.0)}


def moving(still: Tensor, motion: str, frames: int = FRAMES, side: int = SIDE) -> Tensor:
    """A clip ``(T, 3, side, side)`` of the middle of a still ``(3, H, W)`` in [0, 1] that moves."""
    shift, growth, turn = MOTIONS[motion]
    height, width = still.shape[-2:]
    made = []
    for time in range(frames):
        angle, scale = math.radians(turn * time), 1 + growth * time
        down, along = side / height / scale, side / width / scale
        matrix = torch.tensor(
            [
                [along * math.cos(angle), -down * math.sin(angle) * height / width, 2 * shift * time / width],
                [along * math.sin(angle) * width / height, down * math.cos(angle), 0.0],
            ]
        )
        grid = F.affine_grid(matrix[None], [1, 3, side, side], align_corners=False)
        made.append(F.grid_sample(still[None], grid, "bicubic", "reflection", align_corners=False)[0])
    return torch.stack(made).clamp(0, 1)


def flicker(clip: Tensor) -> Tensor:
    """Every other frame 8 % brighter, the others 8 % darker."""
    gains = torch.where(torch.arange(len(clip)) % 2 == 0, 1.08, 0.92)
    return (clip * gains.view(-1, 1, 1, 1)).clamp(0, 1)


def frozen(clip: Tensor) -> Tensor:
    """A frame shown twice, in place of the one after it."""
    middle = len(clip) // 2
    return torch.cat([clip[:middle], clip[middle - 1 : middle], clip[middle + 1 :]])


def dropped(clip: Tensor) -> Tensor:
    """A frame is missing: the rest comes a frame too early, and the last one twice."""
    middle = len(clip) // 2
    return torch.cat([clip[:middle], clip[middle + 1 :], clip[-1:]])


def swapped(clip: Tensor) -> Tensor:
    """Two frames in each other's place."""
    order = list(range(len(clip)))
    middle = len(clip) // 2
    order[middle - 1 : middle + 1] = middle, middle - 1
    return clip[order]


FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "flicker": flicker,
    "frozen": frozen,
    "dropped": dropped,
    "swapped": swapped,
}


def noisy_to(clip: Tensor, measure: Callable[[Tensor], float], level: float, same: bool = False) -> Tensor:
    """A clip with as much noise in every frame that a measure of it reaches a level, to 1 %.

    Args:
        clip: ``(T, 3, H, W)``.
        measure: of a clip; it grows with noise.
        level: to reach, above 0.
        same: the same noise in every frame, not fresh noise.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(clip.shape[1:] if same else clip.shape, generator=generator).expand_as(clip)
    amount, power = 0.05, 1.5
    before: tuple[float, float] | None = None
    for _ in range(12):
        found = (clip + amount * noise).clamp(0, 1)
        reached = measure(found)
        if abs(reached / level - 1) < 0.01:
            return found
        # A distance grows nearly as a power of the noise: two points give the next.
        if before is not None:
            power = min(max(math.log(reached / before[1]) / math.log(amount / before[0]), 0.3), 3.0)
        before = amount, reached
        amount *= (level / reached) ** (1 / power)
    raise ValueError(f"no noise reaches {level}: {amount:.3g} gives {reached}")
