"""The pictures of a comparison's page: references, what the methods made of them, and maps of where they differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from torchmetrics_fmiqa.comparison.marks import best_first, marks
from torchmetrics_fmiqa.comparison.picks import Pick, pick_images
from torchmetrics_fmiqa.comparison.scores import ComparedImage, MethodScores
from torchmetrics_fmiqa.data.images import Match, match_sizes, read_image
from torchmetrics_fmiqa.report.document import Cell, Version, ViewedImage, Viewer
from torchmetrics_fmiqa.report.numbers import amount, counted
from torchmetrics_fmiqa.report.panels import coloured, data_uri, png, webp
from torchmetrics_fmiqa.safe_write import make_folder, write_bytes

#: Measures where a pair differs: ``(preds, target)``, both ``(1, 3, H, W)`` float32 in [0, 1], to ``(1, 1, H, W)``.
Heat = Callable[[Tensor, Tensor], Tensor]

#: Bytes that the pictures inside a page may take together.
MOST_BYTES = 20_000_000
#: Longest side of a picture inside a page; of a larger image a part is shown, in its own pixels.
MOST_SIDE = 768
_HEAT_SIDE = 256  # maps are smooth, and are stretched over the picture
_STEP = 32  # in which that part is looked for


@dataclass(frozen=True)
class Gallery:
    """What there is to look at.

    Args:
        viewer: the images; ``None`` where none can be read.
        notes: how many of the chosen images are shown, and at which size.
        problems: images that could be scored and cannot be read any more: name and reason.
        files: pictures that were written beside the page.
    """

    viewer: Viewer | None
    notes: str
    problems: Sequence[tuple[str, str]] = ()
    files: Sequence[Path] = ()


@dataclass
class _Shown:
    """An image as it is shown: addresses of its versions' pictures, and maps of the methods' distances."""

    pick: Pick
    uris: list[str]
    heats: list[Tensor]
    size: tuple[int, int]
    whole: tuple[int, int]
    bytes: int = 0
    files: list[Path] = field(default_factory=list)


class _Folder(NamedTuple):
    """Where pictures beside the page go."""

    page: Path
    name: str = "images"


def make_gallery(
    scores: MethodScores,
    match: Match | None = None,
    heat: Heat | None = None,
    folder: Path | None = None,
    seed: int = 0,
) -> Gallery:
    """Read the images that are worth looking at, and make pictures of them without loss, at 8 bits.

    Args:
        scores: of all images.
        match: how pairs that differ in size are matched.
        heat: map of the first metric; ``None`` where it has none.
        folder: the page's; pictures then are whole PNG files in its ``images``. ``None`` to keep them inside the page:
            as many images as :data:`MOST_BYTES` hold, and of a large one the part in which the methods differ most.
        seed: of the images that are drawn at random.

    Raises:
        WriteError: if the system refuses a file.
    """
    picks = pick_images(scores, seed)
    shown: list[_Shown] = []
    problems: list[tuple[str, str]] = []
    room = MOST_BYTES
    for pick in picks:
        image = scores.images[pick.place]
        try:
            one = _show(image, pick, match, heat, folder)
        except ValueError as error:
            problems.append((image.name, str(error)))
            continue
        if folder is None and one.bytes > room and shown:
            break
        room -= one.bytes
        shown.append(one)
    if not shown:
        return Gallery(None, "No image can be shown.", problems)
    top = max((float(torch.quantile(heat.flatten(), 0.995)) for one in shown for heat in one.heats), default=0.0)
    kinds = list(dict.fromkeys(pick.kind for pick in picks))
    shown.sort(key=lambda one: kinds.index(one.pick.kind))
    order = best_first(np.nanmean(scores.values[:, 0], axis=1), scores.metrics[0] in scores.qualities)
    viewer = Viewer(
        [_viewed(one, scores, top) for one in shown],
        [f"{metric} {'↑' if metric in scores.qualities else '↓'}" for metric in scores.metrics],
        (1 + order[0], 1 + order[1] if len(order) > 1 else 0),
        f"The map shows where {scores.metrics[0]} sees a difference from the reference: bright is large. "
        f"All maps have one scale, from 0 to {amount(top)}."
        if heat
        else "",
    )
    return Gallery(viewer, _notes(len(picks) - len(problems), shown), problems, [f for one in shown for f in one.files])
