"""Collect the worst images of an epoch over all ranks."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from torchmetrics_fmiqa.callbacks.ranks import gather_objects, several_ranks


@dataclass(frozen=True)
class WorstImage:
    """One of the worst images.

    Args:
        score: the score that it was chosen by.
        name: name of the sample.
        preds: prediction ``(3, H, W)``, uint8, on the CPU.
        target: reference, likewise.
        heat: heat map ``(H, W)`` of the difference, or ``None``.
    """

    score: float
    name: str
    preds: Tensor
    target: Tensor
    heat: Tensor | None = None


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
        self._heap: list[tuple[float, int, WorstImage]] = []
        self._offered = 0

    def add(self, score: float, name: str, preds: Tensor, target: Tensor) -> None:
        """Keep an image ``(3, H, W)`` in [0, 1] if it is among the worst so far."""
        badness = self.sign * score
        if self.count == 0 or badness != badness:
            return
        self._offered += 1  # orders equal scores: the earlier image stays
        if len(self._heap) == self.count and badness <= self._heap[0][0]:
            return
        entry = (badness, -self._offered, WorstImage(score, name, _bytes(preds), _bytes(target)))
        (heapq.heappush if len(self._heap) < self.count else heapq.heapreplace)(self._heap, entry)

    def chosen(self) -> list[tuple[int, WorstImage]]:
        """The images of this rank that are among the worst ``count`` of all ranks, each with its overall place from 0.

        Every rank must call this.
        """
        own = [entry[2] for entry in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))]
        scores = [(-self.sign * image.score, place) for place, image in enumerate(own)]
        scores_of_ranks: list[list[tuple[float, int]]] = gather_objects(scores)
        ranking = sorted((score, place, rank) for rank, scores in enumerate(scores_of_ranks) for score, place in scores)
        own_rank = distributed.get_rank() if several_ranks() else 0
        return [
            (overall, own[place]) for overall, (_, place, rank) in enumerate(ranking[: self.count]) if rank == own_rank
        ]


def collect(images: list[tuple[int, WorstImage]]) -> list[WorstImage]:
    """On rank 0 the images of all ranks in the order of their places, elsewhere nothing. Every rank must call this."""
    if several_ranks():
        parts: list[list[tuple[int, WorstImage]]] | None = None
        if distributed.get_rank() == 0:
            parts = [[] for _ in range(distributed.get_world_size())]
        distributed.gather_object(images, parts, dst=0)
        images = [image for part in parts or [] for image in part]
    return [image for _, image in sorted(images, key=lambda entry: entry[0])]


def _bytes(image: Tensor) -> Tensor:
    return (image.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8)
