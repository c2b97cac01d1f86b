"""Small pictures of the images that a metric misjudges, with its map of where they differ."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.analysis.outliers import OutlierFinding, WorstCase
from torchmetrics_fmiqa.benchmark.study import GalleryItem


def gallery(
    finding: OutlierFinding,
    load: Callable[[WorstCase], tuple[Tensor, Tensor]],
    heat: Callable[[Tensor, Tensor], Tensor] | None,
    width: int = 400,
) -> tuple[GalleryItem, ...]:
    """Show the worst cases of a finding in their order. One pair is in memory at a time.

    ``load`` gives the reference and the image under test of a case, ``(3, H, W)`` uint8 of one size. ``heat`` is a
    metric's map of a pair, ``(preds, target)``, both ``(1, 3, H, W)`` float32 in [0, 1], to ``(1, 1, H, W)`` distances,
    such as ``lambda *pair: comparator.maps(*pair)["cosine"]["score"]``; ``None`` for a metric without a map. Images
    wider than ``width`` pixels are shrunk (antialiased).

    >>> case = WorstCase(0, "a.png", "b.png", "", 1.0, 2.0, -3.0)
    >>> finding = OutlierFinding("ours", "", 1, 1, {}, (), (), (case,))
    >>> item = gallery(finding, lambda case: (torch.zeros(3, 60, 90, dtype=torch.uint8),) * 2, None, width=30)[0]
    >>> item.reference.shape, item.heat
    ((20, 30, 3), None)
    """
    return tuple(_item(case, *load(case), heat, width) for case in finding.worst)


def _item(
    case: WorstCase, target: Tensor, preds: Tensor, heat: Callable[[Tensor, Tensor], Tensor] | None, width: int
) -> GalleryItem:
    shades = None
    if heat is not None:
        with torch.no_grad():
            drawn = heat(preds[None].float() / 255, target[None].float() / 255)
        shades = _shrunk(drawn[0].float(), width)[0].cpu().numpy()
    return GalleryItem(case, _picture(target, width), _picture(preds, width), shades)


def _picture(image: Tensor, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    small = _shrunk(image.float(), width).round().clamp(0, 255).to(torch.uint8)
    return small.permute(1, 2, 0).contiguous().cpu().numpy()


def _shrunk(image: Tensor, width: int) -> Tensor:
    """Shrink ``(C, H, W)`` to a width. Bilinear weights are never negative, so that a map keeps within its values."""
    if image.shape[2] <= width:
        return image
    size = (max(1, round(image.shape[1] * width / image.shape[2])), width)
    small: Tensor = torch.nn.functional.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    return small
