"""VideoFeatureDistance: perceptual distance between clips, as a ``torchmetrics.Metric``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from torchmetrics_fmiqa.comparator import Precision
from torchmetrics_fmiqa.comparator.video import ClipComparator, ClipDistances, Layout, check_layout
from torchmetrics_fmiqa.features.image_checks import DataRange
from torchmetrics_fmiqa.metrics.image_pair_metric import (
    Measured,
    NanStrategy,
    PairMetric,
    finite_positions,
    select_finite,
)
from torchmetrics_fmiqa.metrics.metric_fields import MetricFields, split_fields
from torchmetrics_fmiqa.recipes import NamedRecipe, Recipe, as_recipe
from torchmetrics_fmiqa.recipes.cite import cite
from torchmetrics_fmiqa.reduction import Reduction


class VideoFeatureDistance(PairMetric):
    """Perceptual distance between clips: of their frames, and of what changes from frame to frame.

    **Lower is better; 0 for equal clips**, never negative. Distances of single frames do not see flicker. ``temporal``
    does: it joins how much the error of features changes to the next frame, and the distance of what changes, taken as
    an image. Flickering brightness, and a frozen, dropped or swapped frame, cost more in it than noise that is as bad
    frame by frame. :doc:`/how-to/score-video` has the numbers.

    As input to ``forward`` and ``update`` the metric accepts

    - ``preds``: clips under test, ``(B, T, 3, H, W)``, floating point in ``data_range``, uint8 or uint16, of at least
      two frames. Clips of another call may have another length
    - ``target``: the pristine references, in the same form, frame by frame
    - ``sample_ids``: optional ``(B,)`` integers of at least 0. A repeated clip is counted once, over all ranks

    As output of ``forward`` and ``compute`` the metric returns a dict of 0-dim tensors, or with ``reduction="none"`` of
    ``(B,)``, a value for each clip:

    - ``"frames"``: the mean distance of a clip's frames
    - ``"worst"``: the largest distance of a clip's frames
    - ``"temporal"``: the mean distance of what changes from a frame to the next

    Args:
        recipe: name of a recipe, a :class:`~torchmetrics_fmiqa.Recipe` or a YAML file, with a single distance or
            several that are joined.
        layout: ``"BTCHW"``, or ``"BCTHW"`` for ``(B, 3, T, H, W)``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over clips.
        data_range: range of floating point clips: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        precision: as in :class:`FeatureDistance`.
        tile_batch: as in :class:`FeatureDistance`.
        validate: check the values of clips too (on a GPU this waits for the device).
        nan_strategy: treatment of clips with NaN or infinite values, as in :class:`FeatureDistance`.
        kwargs: fields of :class:`~torchmetrics_fmiqa.Recipe` to override, and options of ``torchmetrics.Metric``.

    Raises:
        ValueError: for invalid arguments, clips or weights; the message names the value and the fix.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.

    >>> from torchmetrics_fmiqa import VideoFeatureDistance
    >>> frame = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> target = torch.stack([frame.roll(2 * time, 2) for time in range(4)])[None]
    >>> frozen = target.clone()
    >>> frozen[:, 2] = frozen[:, 1]
    >>> found = VideoFeatureDistance()(frozen, target)
    >>> list(found), bool(found["worst"] > found["frames"] > 0), bool(found["temporal"] > 0)
    (['frames', 'worst', 'temporal'], True, True)
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    takes_clips = True

    def __init__(
        self,
        recipe: Recipe | NamedRecipe | str | Path = "default",
        layout: Layout = "BTCHW",
        reduction: Reduction = "mean",
        data_range: DataRange = 1.0,
        crop_border: int = 0,
        precision: Precision = "float32",
        tile_batch: int = 32,
        validate: bool = True,
        nan_strategy: NanStrategy = "error",
        **kwargs: Unpack[MetricFields],
    ) -> None:
        options, fields = split_fields(kwargs)
        super().__init__(reduction, data_range, crop_border, validate, nan_strategy, **options)
        self.recipe = as_recipe(recipe, **fields)
        self.layout = check_layout(layout)
        self.comparator: ClipComparator = ClipComparator(self.recipe, precision, tile_batch=tile_batch)
        self._add_columns(f"clips|{self.recipe.digest}", {"frames": 1, "worst": 1, "temporal": 1})

    def cite(self) -> str:
        """Return one line to quote a result with: package, version, recipe, digest, distance and direction."""
        return cite(self.recipe)

    def _columns(self, result: ClipDistances) -> Mapping[str, Tensor]:
        return {name: values[:, None] for name, values in result.columns().items()}

    def scores_of(self, result: ClipDistances) -> Tensor:
        """The mean distance of each clip's frames, ``(B,)``."""
        return result.frames.mean(1)

    def _combined(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: values[..., 0] for name, values in columns.items()}

    def _measure(self, preds: Any, target: Any, mask: Any) -> Measured:
        if mask is not None:
            raise ValueError("`mask` is for images: leave it out, or measure the frames by FeatureDistance")
        kept = finite_positions(preds, self.nan_strategy)
        if kept is not None:
            if not kept:
                return Measured(kept, None)
            preds, target, _ = select_finite(kept, preds, target, None)
        with torch.no_grad():
            result = self.comparator.clips(preds, target, self.layout, self.data_range, self.crop_border, self.validate)
        return Measured(kept, result)
