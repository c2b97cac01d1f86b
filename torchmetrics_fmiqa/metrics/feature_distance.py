"""FeatureDistance: perceptual distance by a frozen network, as a ``torchmetrics.Metric``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor
from typing_extensions import Unpack

from torchmetrics_fmiqa.comparator import FeatureComparator, Precision
from torchmetrics_fmiqa.comparator.distance_terms import Distances, combine, tap_columns
from torchmetrics_fmiqa.features.image_checks import DataRange
from torchmetrics_fmiqa.metrics.image_pair_metric import NanStrategy, PairMetric
from torchmetrics_fmiqa.metrics.metric_fields import MetricFields, split_fields
from torchmetrics_fmiqa.recipes import NamedRecipe, Recipe, as_recipe
from torchmetrics_fmiqa.recipes.cite import cite
from torchmetrics_fmiqa.reduction import Reduction


class FeatureDistance(PairMetric):
    r"""Perceptual distance between images: the distance of a frozen network's *intermediate* features.

    **Lower is better; 0 for equal images**, never negative. The default recipe joins cosine and symmetric KL at one tap
    of the embedded network, and weighs positions by the detail of the target, so that swapping preds and target changes
    the score. The idea is that of ZS-IQA, a zero-shot full-reference metric (Ghildyal, Barman and Zadtootaghaj, ICASSP
    2025); :meth:`Recipe.zsiqa <torchmetrics_fmiqa.Recipe.zsiqa>` has it as published.

    As input to ``forward`` and ``update`` the metric accepts

    - ``preds``: images under test, ``(N, 3, H, W)``, floating point in ``data_range`` (they may leave it a little, as
      the output of a network does), uint8 or uint16; or a list of ``(3, H, W)``, each of its own size
    - ``target``: the pristine references, in the same form, within ``data_range``
    - ``mask``: optional ``(N, 1, H, W)`` weights of pixels, at least 0, for distances with maps; for lists of images a
      list of ``(1, H, W)``
    - ``sample_ids``: optional ``(N,)`` integers of at least 0. A repeated sample is counted once, over all ranks: so
      the padding of a ``DistributedSampler`` does no harm

    As output of ``forward`` and ``compute`` the metric returns

    - a 0-dim tensor, or with ``reduction="none"`` the ``(N,)`` values: in the order of ``sample_ids`` if given, else of
      the updates, rank by rank
    - with ``per_layer`` a dict of these by tap; with a list of distances a dict by distance; with both a dict by
      ``"distance/tap"``. Distances joined by a mapping give the joint one by tap, and each by ``"distance/tap"``

    The backbone is not a submodule: it is in no ``state_dict`` or checkpoint, is not trained, averaged or moved, and
    copies of the metric share it.

    Args:
        recipe: name of a recipe (``fmiqa recipes`` lists them), a :class:`~torchmetrics_fmiqa.Recipe` or a YAML file.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        per_layer: return each tap's distance instead of the score.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first, as is usual in super-resolution.
        precision: ``"float32"`` or ``"float64"``; ``"bfloat16"`` and ``"float16"`` are wrong at small distances.
        tile_batch: tiles of preds, and as many of target, in a forward pass; fewer need less memory.
        validate: check the values of images too (on a GPU this waits for the device).
        nan_strategy: treatment of predictions with NaN or infinite values. ``"error"`` raises before anything is
            counted (if ``validate`` is set), ``"warn"`` leaves those images out with a warning, ``"ignore"`` leaves
            them out silently. The references must be finite.
        kwargs: fields of :class:`~torchmetrics_fmiqa.Recipe` to override (``backbone=``, ``weights=`` ...),
            and options of ``torchmetrics.Metric``.

    Raises:
        ValueError: for invalid arguments, images or weights; the message names the value and the fix.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.

    >>> import torch
    >>> from torchmetrics_fmiqa import FeatureDistance
    >>> metric = FeatureDistance()
    >>> target = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> metric.update(torch.nn.functional.avg_pool2d(target, 3, 1, 1), target)
    >>> bool(metric.compute() > 0), float(metric(target, target))
    (True, 0.0)
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_legend_name = "Tap"

    def __init__(
        self,
        recipe: Recipe | NamedRecipe | str | Path = "default",
        reduction: Reduction = "mean",
        per_layer: bool = False,
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
        self.per_layer = per_layer
        self.comparator = FeatureComparator(self.recipe, precision=precision, tile_batch=tile_batch)
        widths = {name: len(taps) for name, taps in self.comparator.labels().items()}
        if self.per_layer and self.recipe.joint is not None:
            widths |= dict.fromkeys(self.recipe.joint.names, *widths.values())
        self._add_columns(self.recipe.digest, widths)

    def cite(self) -> str:
        """Return one line to quote a result with: package, version, recipe, digest, distance and direction.

        >>> FeatureDistance(distance="l2").cite().split(", ")[2:]
        ['distance l2', 'lower is closer']
        """
        return cite(self.recipe)

    def settings(self) -> dict[str, Any]:
        """The settings that determine the metric's value, as plain values by name."""
        return {**super().settings(), "per_layer": self.per_layer}

    def _columns(self, result: Distances) -> dict[str, Tensor]:
        return {**result.per_tap, **result.singles} if self.per_layer else result.per_tap

    def scores_of(self, result: Distances) -> Tensor:
        """The score of each image, ``(N,)``, by the first distance."""
        return next(iter(result.scores().values()))

    def _combined(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        if not self.per_layer:
            weights = self.comparator.weights()
            return {name: combine(values, weights[name]) for name, values in columns.items()}
        return tap_columns(columns, self.comparator.labels())

    @property
    def _keeps_names(self) -> bool:
        return self.per_layer
