"""VideoFeatureDistanceLoss: the distance of clips as a loss."""

from __future__ import annotations

import math
from pathlib import Path

from torch import Tensor, nn
from typing_extensions import Unpack

from torchmetrics_fmiqa.arguments import as_python, short_repr, whole_number
from torchmetrics_fmiqa.comparator import Precision
from torchmetrics_fmiqa.comparator.video import ClipComparator, Layout, check_layout
from torchmetrics_fmiqa.features.image_checks import DataRange, as_data_range
from torchmetrics_fmiqa.recipes import NamedRecipe, Recipe, as_recipe
from torchmetrics_fmiqa.recipes.recipe_fields import RecipeFields
from torchmetrics_fmiqa.reduction import Reduction, check_reduction, reduce


class VideoFeatureDistanceLoss(nn.Module):
    """Perceptual distance between clips as a loss, with gradients to ``preds`` only.

    The loss is the mean distance of the frames, plus ``temporal_weight`` times the mean distance of the changes from
    frame to frame: ``"frames"`` and ``"temporal"`` of :class:`VideoFeatureDistance`. The backbone is frozen and not a
    submodule. Gradients are finite everywhere, also for equal and black clips.

    As input to ``forward`` the loss accepts ``preds`` and ``target``, ``(B, T, 3, H, W)`` in ``data_range`` with at
    least two frames. It returns a 0-dim tensor, or ``(B,)`` with ``reduction="none"``.

    Args:
        recipe: as in :class:`VideoFeatureDistance`.
        temporal_weight: weight of the changes, at least 0. The default was not tuned.
        layout: ``"BTCHW"``, or ``"BCTHW"`` for ``(B, 3, T, H, W)``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over clips.
        data_range: range of floating point clips: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        precision: as in :class:`FeatureDistanceLoss`.
        grad_checkpointing: as in :class:`FeatureDistanceLoss`.
        tile_batch: as in :class:`FeatureDistanceLoss`.
        validate: check the values of clips too (on a GPU this waits for the device).
        overrides: fields of :class:`~torchmetrics_fmiqa.Recipe` (``backbone=``, ``weights=``, ``distance=`` ...).

    Raises:
        ValueError: for invalid arguments, clips or weights; the message names the value and the fix.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.

    >>> import torch
    >>> from torchmetrics_fmiqa import VideoFeatureDistanceLoss
    >>> target = torch.rand(1, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> preds = (0.9 * target).requires_grad_()
    >>> VideoFeatureDistanceLoss()(preds, target).backward()
    >>> bool(preds.grad.isfinite().all()), bool((preds.grad != 0).any())
    (True, True)
    """

    def __init__(
        self,
        recipe: Recipe | NamedRecipe | str | Path = "default",
        temporal_weight: float = 1.0,
        layout: Layout = "BTCHW",
        reduction: Reduction = "mean",
        data_range: DataRange = 1.0,
        crop_border: int = 0,
        precision: Precision = "auto",
        grad_checkpointing: bool = False,
        tile_batch: int = 32,
        validate: bool = True,
        **overrides: Unpack[RecipeFields],
    ) -> None:
        super().__init__()
        self.recipe = as_recipe(recipe, **overrides)
        self.temporal_weight = _weight(temporal_weight)
        self.layout = check_layout(layout)
        self.reduction = check_reduction(reduction)
        self.data_range = as_data_range(data_range)
        self.crop_border = whole_number(crop_border, "crop_border", 0, "a whole number of pixels")
        self.validate = validate
        self.comparator = ClipComparator(self.recipe, precision, grad_checkpointing, tile_batch)

    def forward(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the distance of a batch of clips, see the class."""
        found = self.comparator.clips(preds, target, self.layout, self.data_range, self.crop_border, self.validate)
        return reduce(found.frames.mean(1) + self.temporal_weight * found.changes.mean(1), self.reduction)

    def extra_repr(self) -> str:
        """Show the recipe when the loss is printed."""
        return f"{self.recipe}, temporal_weight={self.temporal_weight}, reduction={self.reduction!r}"


def _weight(value: float) -> float:
    number = as_python(value)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < math.inf:
        raise ValueError(f"`temporal_weight` must be a finite number of at least 0, got {short_repr(value)}")
    return float(number)
