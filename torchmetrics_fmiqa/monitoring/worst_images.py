"""Collect the worst images over all ranks, and draw where they differ."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from torchmetrics_fmiqa.metrics.feature_distance import FeatureDistance
from torchmetrics_fmiqa.monitoring.ranks import gather_objects, gather_on_first, own_rank
from torchmetrics_fmiqa.monitoring.samples import Id


@dataclass(frozen=True)
class WorstImage:
    """One of the worst images.

    Args:
        score: the score that it was chosen by.
        id: the sample's id; without ids a text such as ``"step 3-1"``.
        preds: prediction ``(3, H, W)``, uint8, on the CPU.
        target: reference, likewise.
        heat: heat map ``(H, W)`` of the difference, or ``None``.
    """

    score: float
    id: Id
    preds: Tensor = field(repr=False)
    target: Tensor = field(repr=False)
    heat: Tensor | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The id as a text; a number becomes ``"id 7"``."""
        return self.id if isinstance(self.id, str) else f"id {self.id}"


class WorstImages:
    """The ``count`` worst images of a rank so far; other images are not kept.

    Args:
        count: number of images to keep.
        higher_is_better: direction of the score.
    """

    def __init__(self, count: int, higher_is_better: bool) -> None:
        self.count = count
        self.sign = -1.0 if higher_is_better else 1.0
        self.clear()

    def clear(self) -> None:
        """Start a new epoch."""
        self._heap: list[tuple[float, int, WorstImage, Id | None]] = []
        self._offered = 0

    def add(self, score: float, caption: Id, preds: Tensor, target: Tensor, once: Id | None = None) -> None:
        """Keep an image ``(3, H, W)`` in [0, 1] if it is among the worst so far.

        Args:
            score: what it scores; one that is NaN is never among the worst.
            caption: what it is called.
            preds: prediction.
            target: reference.
            once: its id, of which one image is shown over all ranks; ``None`` to show it anyway.
        """
        badness = self.sign * score
        if self.count == 0 or badness != badness:
            return
        self._offered += 1  # orders equal scores: the earlier image stays
        if len(self._heap) == self.count and badness <= self._heap[0][0]:
            return
        entry = (badness, -self._offered, WorstImage(score, caption, _bytes(preds), _bytes(target)), once)
        (heapq.heappush if len(self._heap) < self.count else heapq.heapreplace)(self._heap, entry)

    def chosen(self) -> list[tuple[int, WorstImage]]:
        """The images of this rank that are among the worst ``count`` of all ranks, each with its overall place from 0.

        Every rank must call this.
        """
        own = [entry[2:] for entry in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))]
        offered = [(-self.sign * image.score, once) for image, once in own]
        of_ranks: list[list[tuple[float, Id | None]]] = gather_objects(offered)
        shown = {once: rank for rank, entries in reversed(list(enumerate(of_ranks))) for _, once in entries}
        ranking = sorted(
            (score, place, rank)
            for rank, entries in enumerate(of_ranks)
            for place, (score, once) in enumerate(entries)
            if once is None or shown[once] == rank
        )
        return [
            (overall, own[place][0])
            for overall, (_, place, rank) in enumerate(ranking[: self.count])
            if rank == own_rank()
        ]


def gather_worst(
    worst: WorstImages, drawer: FeatureDistance | None, device: torch.device, warn: Callable[[str, str], None]
) -> list[WorstImage]:
    """On rank 0 the worst images of all ranks, elsewhere nothing. Every rank must call this.

    Args:
        worst: this rank's candidates.
        drawer: the metric whose maps are drawn, or ``None`` for no maps.
        device: device that computes the maps.
        warn: callable ``(kind, message)``, for maps that could not be drawn.
    """
    own = [(place, _with_heat(image, drawer, device, warn)) for place, image in worst.chosen()]
    images = [image for part in gather_on_first(own) for image in part]
    return [image for _, image in sorted(images, key=lambda entry: entry[0])]


def _with_heat(
    image: WorstImage, drawer: FeatureDistance | None, device: torch.device, warn: Callable[[str, str], None]
) -> WorstImage:
    if drawer is None:
        return image
    try:
        preds, target = (side[None].to(device) for side in (image.preds, image.target))
        heat = next(iter(drawer.comparator.maps(preds, target).values()))["score"]
        return replace(image, heat=heat[0, 0].to("cpu", torch.float16))
    except Exception as error:  # do not raise: the other ranks are waiting
        warn("maps", f"the heat maps could not be drawn, training goes on: {error!r}")
        return image


def _bytes(image: Tensor) -> Tensor:
    return (image.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8)
