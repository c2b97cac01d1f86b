"""How far an image is from its golden one: as people see it, at its worst place, in its colours, in a pattern."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from torchmetrics_fmiqa.comparator import FeatureComparator

#: Side of the regions that the worst place is looked for in, in pixels.
REGION = 32
_CELL = 8
# Codecs and networks work in blocks of this side: what they add repeats with it.
_PERIOD = 8


@dataclass(frozen=True)
class Differences:
    """How far an output is from its golden image; 0 for equal images, higher is farther.

    Args:
        score: distance of the recipe, over the whole image.
        place: the same in the region of 32 x 32 pixels where it is largest, without the highest quarter of its cells of
            8 x 8. Harmless noise can raise a single cell by chance; a fault raises most of them.
        tone: the largest difference of the mean colour of a region of 32 x 32 pixels, in [0, 1] a channel. Features
            hardly see a gamma or a matrix of colours that is slightly off; this does.
        pattern: the largest mean difference at one position of a grid of 8 x 8 pixels, beside the mean of all. A faint
            grid is as large as harmless noise at each pixel, and not in this mean.
    """

    score: float
    place: float
    tone: float
    pattern: float

    def items(self) -> dict[str, float]:
        """The differences by name."""
        return {name: getattr(self, name) for name in NAMES}


#: Names of the differences.
NAMES = tuple(field.name for field in fields(Differences))


def measure(comparator: FeatureComparator, output: Tensor, golden: Tensor) -> tuple[Differences, Tensor]:
    """Measure an output against its golden image.

    Args:
        comparator: of a recipe with one distance that has maps.
        output: ``(3, H, W)``, floating point in [0, 1].
        golden: likewise, of the same size.

    Returns:
        The differences, and the map ``(H, W)`` of the distance.
    """
    if torch.equal(output, golden):
        return Differences(0.0, 0.0, 0.0, 0.0), torch.zeros(golden.shape[1:])
    with torch.no_grad():
        heat = next(iter(comparator.maps(output[None], golden[None]).values()))["score"][0, 0]
        residual = output - golden
        return (
            Differences(
                float(heat.double().mean()),
                _worst_place(heat.float()),
                float(region_means(residual[None]).abs().max()),
                _pattern(residual),
            ),
            heat,
        )


def region_means(images: Tensor) -> Tensor:
    """Means of overlapping regions of images ``(N, C, H, W)``; of the whole side where it is shorter than a region."""
    size = tuple(min(REGION, side) for side in images.shape[2:])
    return F.avg_pool2d(images, size, stride=tuple(max(1, side // 4) for side in size))


def _worst_place(heat: Tensor) -> float:
    """The highest mean of a map ``(H, W)`` over a region, without the highest quarter of the region's cells."""
    cells = F.avg_pool2d(heat[None, None], tuple(min(_CELL, side) for side in heat.shape))
    window = tuple(min(REGION // _CELL, side) for side in cells.shape[2:])
    in_regions = F.unfold(cells, window).sort(1).values
    kept = max(1, in_regions.shape[1] * 3 // 4)
    return float(in_regions[:, :kept].mean(1).max())


def _pattern(residual: Tensor) -> float:
    """The largest mean of a residual ``(3, H, W)`` at one position of a grid, beside the mean of all."""
    rows, cols = (side // _PERIOD for side in residual.shape[1:])
    if rows == 0 or cols == 0:
        return 0.0
    whole = residual[:, : rows * _PERIOD, : cols * _PERIOD].reshape(3, rows, _PERIOD, cols, _PERIOD)
    means = whole.mean((1, 3))
    return float((means - means.mean((1, 2), keepdim=True)).abs().max())


def aligned(output: Tensor, golden: Tensor, shift: int) -> tuple[Tensor, Tensor]:
    """Undo a shift of up to ``shift`` pixels each way, by the least squared error; both are cut to what they share.

    Images ``(3, H, W)`` come back as they are where no shift is better, and where they are too small to be cut.
    """
    height, width = golden.shape[1:]
    if shift == 0 or min(height, width) <= 4 * shift:
        return output, golden
    inner = golden[:, shift : height - shift, shift : width - shift]
    best, found = None, (0, 0)
    for y in range(-shift, shift + 1):
        for x in range(-shift, shift + 1):
            error = float((_cut(output, y, x, shift) - inner).square().mean())
            if best is None or error < best or (error == best and (y, x) == (0, 0)):
                best, found = error, (y, x)
    return (output, golden) if found == (0, 0) else (_cut(output, *found, shift), inner)


def _cut(image: Tensor, y: int, x: int, shift: int) -> Tensor:
    height, width = image.shape[1:]
    return image[:, shift + y : height - shift + y, shift + x : width - shift + x]
