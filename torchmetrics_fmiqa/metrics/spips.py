"""ScenePerceivedImagePerceptualScore: SPIPS as a ``torchmetrics.Metric``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch import Tensor
from typing_extensions import Unpack

from torchmetrics_fmiqa.comparator import Precision
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.features.image_checks import DataRange
from torchmetrics_fmiqa.metrics.image_pair_metric import NanStrategy, PairMetric
from torchmetrics_fmiqa.metrics.metric_fields import MetricFields, split_fields
from torchmetrics_fmiqa.recipes import Taps
from torchmetrics_fmiqa.reduction import Reduction
from torchmetrics_fmiqa.spips_model.recipe import AnyRecipe
from torchmetrics_fmiqa.spips_model.scorer import Head, SpipsScorer, recipe_for

Output = Literal["distance", "quality"]

_NAME = "spips"


class ScenePerceivedImagePerceptualScore(PairMetric):
    r"""SPIPS: a score from low-level and semantic features; with a head from maps of PSNR, SSIM and MS-SSIM too.

    This follows "SPIPS" (Lao and Yu, arXiv 2504.17234, 2025). Early features of a frozen network are a low-level
    stream, late ones a semantic stream. A ``head``, a small network that ``fmiqa fit`` trains, fuses both with maps of
    PSNR, SSIM and MS-SSIM. Without a head the score is the mean distance over the taps of both streams. The paper has
    no code and no constants; :mod:`torchmetrics_fmiqa.spips_model` documents our choices.

    **Lower is better; 0 for equal images**, above 0 for all others. With ``output="quality"`` higher is better: 100 for
    equal images, 0 for the worst opinion that the head was trained with.

    As input to ``forward`` and ``update`` the metric accepts

    - ``preds``: images under test, ``(N, 3, H, W)``, floating point in ``data_range`` (they may leave it a little, as
      the output of a network does), uint8 or uint16; or a list of ``(3, H, W)``, each of its own size
    - ``target``: the pristine references, in the same form, within ``data_range``
    - ``mask``: optional ``(N, 1, H, W)`` weights of pixels, at least 0. It weights patches and pixels. A tile that it
      touches counts fully for the global token, because a single token represents a tile
    - ``sample_ids``: optional ``(N,)`` integers of at least 0. A repeated sample is counted once, over all ranks

    As output of ``forward`` and ``compute`` the metric returns a 0-dim tensor, or with ``reduction="none"`` the
    ``(N,)`` values: in the order of ``sample_ids`` if given, else of the updates, rank by rank.

    In a :class:`FeatureMetricCollection` it shares the forward pass of other metrics with the same backbone. Backbone
    and head are not submodules: they are frozen, and in no ``state_dict`` or checkpoint.

    Args:
        recipe: name of a recipe, a :class:`~torchmetrics_fmiqa.Recipe`, a YAML file, or a
            :class:`~torchmetrics_fmiqa.SpipsRecipe`. Its distance is l2, cosine, angular or normalized_l2, alone or
            joined with divergences. ``None`` takes the recipe of the head's file, and without a file ``"default"``.
        head: a ``.safetensors`` file that ``fmiqa fit`` wrote for this recipe, a
            :class:`~torchmetrics_fmiqa.spips_model.model.SpipsHead`, or ``None`` for fixed weights.
        low_level: taps of the low-level stream; ``None`` for the first half of the recipe's taps.
        semantic: taps of the semantic stream; ``None`` for the rest.
        parts: without a head, ``"semantic"``, ``"low_level"`` or both, or ``"conventional"`` alone; ``None`` for both
            streams. With a head, ``None`` for the parts that it was trained with.
        output: ``"distance"`` or ``"quality"``, which needs a head that was fitted to opinions.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        precision: ``"float32"``; ``"bfloat16"`` and ``"float16"`` are faster and wrong at small distances.
        tile_batch: tiles of preds, and as many of target, in a forward pass.
        validate: check the values of images too (on a GPU this waits for the device).
        nan_strategy: treatment of predictions with NaN or infinite values: ``"error"``, or ``"warn"`` or ``"ignore"``
            to leave them out.
        kwargs: fields of :class:`~torchmetrics_fmiqa.Recipe` to override (``backbone=``, ``weights=`` ...),
            and options of ``torchmetrics.Metric``.

    Raises:
        ValueError: for invalid arguments, images, weights or heads; the message names the value and the fix.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.

    >>> import torch
    >>> from torchmetrics_fmiqa import SPIPS
    >>> metric = SPIPS()
    >>> target = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> metric.update(0.8 * target, target)
    >>> bool(metric.compute() > 0), float(metric(target, target))
    (True, 0.0)
    """

    higher_is_better = False
    plot_lower_bound = 0.0

    def __init__(
        self,
        recipe: AnyRecipe | None = None,
        head: Head = None,
        low_level: Taps | None = None,
        semantic: Taps | None = None,
        parts: str | Sequence[str] | None = None,
        output: Output = "distance",
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
        if output not in get_args(Output):
            raise ValueError(f"`output` must be one of {', '.join(get_args(Output))}; got {output!r}")
        self.recipe = recipe_for(recipe, head, low_level, semantic, **fields)
        self.scorer = SpipsScorer(self.recipe, head, parts, precision, tile_batch=tile_batch)
        self.output = output
        if output == "quality":
            self.scorer.check_quality()
            # torchmetrics forbids setting this attribute, which here depends on an argument.
            self.__dict__["higher_is_better"] = True
        self.comparator = self.scorer.comparator
        self._add_columns(f"{self.scorer.identity} {output}", {_NAME: 1})

    def settings(self) -> dict[str, Any]:
        """The settings that determine the metric's value, as plain values by name."""
        return {**super().settings(), "head": self.scorer.identity, "output": self.output}

    def scores_of(self, result: TapStatistics) -> Tensor:
        """The score of each image, ``(N,)``."""
        score = self.scorer.score(result)
        return self.scorer.quality(score) if self.output == "quality" else score

    def _columns(self, result: TapStatistics) -> dict[str, Tensor]:
        return {_NAME: self.scores_of(result)[:, None]}

    def _combined(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        return {_NAME: columns[_NAME][..., 0]}


#: The short name.
SPIPS = ScenePerceivedImagePerceptualScore
