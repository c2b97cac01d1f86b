"""Score all methods of a comparison, image after image: what it takes in memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading
from torchmetrics_fmiqa.comparison.comparison import LeftOut
from torchmetrics_fmiqa.comparison.scores import ComparedImage
from torchmetrics_fmiqa.data.images import match_sizes, read_image
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache
from torchmetrics_fmiqa.memory import memory_of_a_pair
from torchmetrics_fmiqa.scoring import read_ahead
from torchmetrics_fmiqa.statistics.inputs import Floats

# Pixels of references that are measured at once: large images go one by one.
_PIXELS = 500_000
# Features of a batch's references, which all methods share.
_CACHE = "2GiB"


@dataclass(frozen=True)
class LoadedImage:
    """An image that was read: target and each method's preds, ``(3, H, W)`` float32 in [0, 1]; or what is broken."""

    image: ComparedImage
    target: Tensor | None = None
    preds: tuple[Tensor, ...] = ()
    broken: LeftOut | None = None


def score_methods(
    images: Sequence[ComparedImage],
    panel: Panel,
    reading: Reading,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[ComparedImage, Floats | LeftOut]]:
    """Score images, a few of one size at a time.

    Args:
        images: what to score.
        panel: the metrics; those of one backbone share its forward pass, and all methods the reference's features.
        reading: how files are read. ``match="crop"`` cuts all methods' images to what the reference and all of them
            have, so that every method is measured on the same pixels.
        device: where to measure.

    Yields:
        Each image in order with its scores, ``(methods, metrics)`` as in ``panel.order``, or what could not be read or
        scored.
    """
    batch: list[LoadedImage] = []
    for loaded in read_ahead(images, partial(load_image, reading=reading)):
        if batch and not _fits(batch, loaded):
            yield from _score(batch, panel, device)
            batch = []
        if loaded.broken is not None:
            yield loaded.image, loaded.broken
        else:
            batch.append(loaded)
    if batch:
        yield from _score(batch, panel, device)


def load_image(image: ComparedImage, reading: Reading) -> LoadedImage:
    """Read an image of all methods, on the pixels that all of them have; or say what is broken."""
    reader = ""  # whose file is being read
    try:
        with memory_of_a_pair():
            target = read_image(image.target, reading.to_rgb)
            preds = []
            for reader, path in image.preds.items():  # noqa: B007 - an error belongs to this method
                preds.append(match_sizes(read_image(path, reading.to_rgb), target, reading.match)[0])
            reader = ""
            if reading.match == "crop":
                height, width = (min(one.shape[axis] for one in preds) for axis in (1, 2))
                target, preds = target[:, :height, :width], [one[:, :height, :width] for one in preds]
            return LoadedImage(image, reading.fit(target), tuple(reading.fit(one) for one in preds))
    except ValueError as error:
        return LoadedImage(image, broken=LeftOut(reader, image.name, "broken", str(error)))


def _fits(batch: Sequence[LoadedImage], loaded: LoadedImage) -> bool:
    first = batch[0].target
    if loaded.target is None or first is None or loaded.target.shape != first.shape:
        return False
    return first.shape[1] * first.shape[2] * (len(batch) + 1) <= _PIXELS


def _score(
    batch: Sequence[LoadedImage], panel: Panel, device: torch.device | str
) -> Iterator[tuple[ComparedImage, Floats | LeftOut]]:
    try:
        values = _measure(batch, panel, device)
    except ValueError as error:
        values, reason = None, str(error)
    # Outside the handler, because the error keeps the measured tensors alive, and memory may be short.
    if values is not None:
        yield from ((loaded.image, values[place]) for place, loaded in enumerate(batch))
    elif len(batch) > 1:  # each alone, to find the image with the error
        for loaded in batch:
            yield from _score([loaded], panel, device)
    else:
        yield batch[0].image, LeftOut("", batch[0].image.name, "broken", reason)


def _measure(batch: Sequence[LoadedImage], panel: Panel, device: torch.device | str) -> Floats:
    """Scores of images of one size, ``(images, methods, metrics)``."""
    targets = [loaded.target for loaded in batch if loaded.target is not None]
    with memory_of_a_pair(targets[0].shape):
        target = torch.stack(targets).to(device)
        cache, ids = ReferenceCache(_CACHE, device), [loaded.image.name for loaded in batch]
        tables = []
        for method in range(len(batch[0].preds)):
            preds = torch.stack([loaded.preds[method] for loaded in batch]).to(device)
            columns = panel.score(preds, target, cache, ids, taps=False)
            tables.append(torch.stack([columns[name].double() for name in panel.order], 1).cpu().numpy())
    return np.stack(tables, 1)
