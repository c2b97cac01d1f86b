"""The pairs of a batch, and what its samples are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator import Images
from torchmetrics_fmiqa.features.image_checks import check_lists, check_pair, group_by_size
from torchmetrics_fmiqa.monitoring.samples import Id


@dataclass(frozen=True)
class Batch:
    """What the samples of a batch are called.

    Args:
        names: in messages.
        captions: in pictures.
        ids: each counts once; ``None`` to count every sample.
        keys: what the cache knows the references by; ``None`` to go by their pixels.
        brightness: mean of each reference, where there are ids; it tells when one id names two samples.
    """

    names: Sequence[Any]
    captions: Sequence[Id]
    ids: Sequence[Id] | None = None
    keys: Sequence[Any] | None = None
    brightness: Sequence[float] | None = None

    def select(self, places: Sequence[int]) -> Batch:
        """The names of some samples."""
        sides = (self.names, self.captions, self.ids, self.keys, self.brightness)
        return Batch(*(side if side is None else [side[place] for place in places] for side in sides))  # type: ignore[arg-type]


def as_pair(preds: Images, target: Images) -> tuple[Images, Images]:
    """Return both sides as two tensors or two lists, with the predictions detached.

    Raises:
        ValueError: if the sides do not match.
    """
    if isinstance(preds, Tensor) and isinstance(target, Tensor):
        check_pair(preds, target)
        return preds.detach(), target
    preds, target = (list(images) if isinstance(images, Tensor) else images for images in (preds, target))
    check_lists(preds, target, None)
    return [image.detach() for image in preds], list(target)


def same_size_groups(preds: Images, target: Images) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """Batches of images of equal size and dtype (at least float32 if floating point), with the images' indices."""
    if isinstance(preds, Tensor) and isinstance(target, Tensor):
        groups = [list(range(len(preds)))]
    else:
        check_lists(preds, target, None)
        groups = group_by_size(list(preds), list(target))
    for group in groups:
        group_preds, group_target = (
            images if isinstance(images, Tensor) else torch.stack([images[index] for index in group])
            for images in (preds, target)
        )
        check_pair(group_preds, group_target)
        if group_preds.is_floating_point() and group_target.is_floating_point():
            dtype = torch.promote_types(torch.promote_types(group_preds.dtype, group_target.dtype), torch.float32)
            group_preds, group_target = group_preds.to(dtype), group_target.to(dtype)
        yield group_preds, group_target, group
