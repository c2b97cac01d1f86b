"""Score a clip frame by frame, whatever its length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator.video import ClipComparator
from torchmetrics_fmiqa.data.clips import Clip

# Frames that are in memory at once, and the one before: at 4K they take a gigabyte.
_CHUNK = 4


class ScoredFrame(NamedTuple):
    """What was measured of a frame. Lower is closer, 0 is equal.

    Args:
        ref: name of the reference's frame.
        dist: name of the frame under test.
        distance: of the frame from its reference.
        change: distance of the change from the frame before; NaN for the first.
    """

    ref: str
    dist: str
    distance: float
    change: float


def score_clip(
    comparator: ClipComparator, ref: Clip, dist: Clip, device: torch.device | str = "cpu", crop_border: int = 0
) -> Iterator[ScoredFrame]:
    """Score a clip against its reference, a few frames at a time.

    Args:
        comparator: measures.
        ref: the reference.
        dist: the clip under test, of as many frames.
        device: that computes.
        crop_border: pixels to cut off each side first.

    Raises:
        ValueError: for clips of two lengths or of less than two frames, and frames that cannot be read or do not fit.
    """
    if len(ref.names) != len(dist.names):
        raise ValueError(
            f"the reference has {len(ref.names)} frames and the clip under test {len(dist.names)}: cut or resample one "
            "of them (on purpose: no frame is dropped or repeated for you)"
        )
    if len(ref.names) < 2:
        raise ValueError("a clip has at least two frames: score a single one as an image")
    names = zip(ref.names, dist.names, strict=True)
    before: list[tuple[Tensor, Tensor]] = []
    for chunk in _chunks(zip(ref.read(), dist.read(), strict=True)):
        frames = [*before, *chunk]
        _check_alike(frames[0], frames)
        target, preds = (torch.stack(side)[None].to(device) for side in zip(*frames, strict=True))
        with torch.no_grad():
            found = comparator.clips(preds, target, crop_border=crop_border)
        distances = found.frames[0, len(before) :].tolist()
        changes = found.changes[0].tolist()
        changes = changes if before else [float("nan"), *changes]
        for distance, change in zip(distances, changes, strict=True):
            yield ScoredFrame(*next(names), distance, change)
        before = frames[-1:]


def _check_alike(first: tuple[Tensor, Tensor], frames: list[tuple[Tensor, Tensor]]) -> None:
    for frame in frames:
        for which, one, other in zip(("reference", "clip under test"), first, frame, strict=True):
            if one.shape != other.shape or one.dtype != other.dtype:
                raise ValueError(
                    f"frames of the {which} differ: {tuple(one.shape)} {one.dtype} and {tuple(other.shape)} "
                    f"{other.dtype}; give a clip of one size and depth"
                )


def _chunks(frames: Iterator[tuple[Tensor, Tensor]]) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Pairs of frames, a few at a time."""
    chunk: list[tuple[Tensor, Tensor]] = []
    for pair in frames:
        chunk.append(pair)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
