"""Pooled features of one set of images alone, for distances between sets that have no pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator.comparator import FeatureComparator, Images
from torchmetrics_fmiqa.comparator.forward_pass import full_precision
from torchmetrics_fmiqa.comparator.pooled_features import PooledSums
from torchmetrics_fmiqa.comparator.precision import backbone_dtype, image_dtype
from torchmetrics_fmiqa.comparator.preprocess import Side, portions
from torchmetrics_fmiqa.features.image_checks import DataRange, group_by_size
from torchmetrics_fmiqa.features.tiles import cut


@torch.no_grad()
def pooled_features(
    comparator: FeatureComparator,
    images: Images,
    side: Side = "preds",
    data_range: DataRange = 1.0,
    crop_border: int = 0,
    validate: bool = True,
) -> list[Tensor]:
    """Read the pooled features of images: what a call of the comparator gives of that side of a pair.

    Args:
        comparator: of requests for pooled features; others are left out.
        images: ``(N, 3, H, W)``, or a list of ``(3, H, W)``, each of its own size.
        side: whether they may leave their range a little, as ``"preds"`` do, or not, as ``"target"``.
        data_range: range of floating point images.
        crop_border: pixels to cut off each side first.
        validate: look at the values too, not just the shapes.

    Returns:
        ``(N, C)`` for each request.

    Raises:
        ValueError: for images that do not fit, naming the value and the fix.

    >>> from torchmetrics_fmiqa.comparator.pooled_features import PooledRequest
    >>> from torchmetrics_fmiqa.recipes import Recipe
    >>> comparator = FeatureComparator(PooledRequest(Recipe("fmiqa/embedded")))
    >>> [one.shape for one in pooled_features(comparator, torch.rand(2, 3, 32, 48))]
    [torch.Size([2, 384])]
    """
    if not isinstance(images, Tensor):
        return _of_list(comparator, images, side, data_range, crop_border, validate)
    with full_precision(images):
        unit = comparator.preprocess.single(
            images, side, image_dtype(comparator.precision, images), data_range, crop_border, validate
        )
        plan, count = comparator.preprocess.plan(unit), len(unit)
        if comparator.pieces(plan, unit) is not None:  # they go in pairs
            pairs = comparator(images, images, None, data_range, crop_border, validate=False)
            return [getattr(pair, side) for pair in pairs]
        sums = PooledSums(plan, unit, comparator.pooled)
        dtype = backbone_dtype(comparator.precision, images)
        for portion in portions(plan, count, comparator.at_once(plan, count)):
            sums.add(portion, comparator.forward_pass.one(cut(unit, plan, portion), dtype))
    return [sums.result(pooled) for pooled in comparator.pooled]


def _of_list(
    comparator: FeatureComparator,
    images: Sequence[Tensor],
    side: Side,
    data_range: DataRange,
    border: int,
    validate: bool,
) -> list[Tensor]:
    """Those of one size together, the results in the order given."""
    if not images:
        raise ValueError(f"`{side}` is an empty list: leave out empty batches")
    groups = group_by_size(list(images), list(images))
    parts = [
        pooled_features(comparator, torch.stack([images[i] for i in group]), side, data_range, border, validate)
        for group in groups
    ]
    places = [i for group in groups for i in group]
    order = sorted(range(len(places)), key=places.__getitem__)
    return [torch.cat(same)[order] for same in zip(*parts, strict=True)]
