"""The stateless twin of the metric: SPIPS of a batch of pairs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from torchmetrics_fmiqa.comparator import Images, Precision
from torchmetrics_fmiqa.features.images import DataRange
from torchmetrics_fmiqa.functional import Reduction, check_reduction, reduce
from torchmetrics_fmiqa.fusion.recipe import SpipsRecipe, as_spips_recipe
from torchmetrics_fmiqa.fusion.scorer import Head, SpipsScorer
from torchmetrics_fmiqa.recipes import Recipe, Taps


@lru_cache(maxsize=1)
def _scorer(recipe: SpipsRecipe, head: Any, stamp: Any, parts: tuple[str, ...] | None, precision: Any) -> SpipsScorer:
    return SpipsScorer(recipe, head, parts, precision)


def spips(
    preds: Images,
    target: Images,
    recipe: str | Path | Recipe | SpipsRecipe = "default",
    head: Head = None,
    low_level: Taps | None = None,
    semantic: Taps | None = None,
    parts: tuple[str, ...] | None = None,
    reduction: Reduction = "mean",
    mask: Images | None = None,
    data_range: DataRange = 1.0,
    crop_border: int = 0,
    precision: Precision = "float32",
    validate: bool = True,
    **overrides: Any,
) -> Tensor:
    """SPIPS: one score from semantics, low-level features and conventional measures. Lower is better.

    The functional twin of :class:`~torchmetrics_fmiqa.ScenePerceivedImagePerceptualScore`; differentiable with respect
    to ``preds``. After Lao and Yu (arXiv 2504.17234, 2025); what is ours is told there.

    Args:
        preds: images under test, ``(N, 3, H, W)`` in ``data_range``, uint8 or uint16; or a list of ``(3, H, W)``.
        target: the pristine references, likewise.
        recipe: name of a recipe, a :class:`~torchmetrics_fmiqa.Recipe`, a YAML file or a SPIPS recipe.
        head: a trained head or its file; ``None`` for fixed weights.
        low_level: taps of the low-level stream; ``None`` for the first half of the recipe's taps.
        semantic: taps of the semantic stream; ``None`` for the rest.
        parts: which parts the fixed weights use; ``None`` for all.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        mask: ``(N, 1, H, W)`` weights of pixels.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        precision: ``"float32"``, ``"float64"``, ``"bfloat16"``, ``"float16"`` or ``"auto"``.
        validate: look at the values of images too.
        overrides: fields of the recipe (``backbone=``, ``weights=``, ``distance=`` ...).

    Returns:
        0-dim, or ``(N,)`` with ``reduction="none"``; at least 0, and 0 for equal images.

    Raises:
        ValueError: for arguments, images, weights or a head that do not fit, naming the value and the fix.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.

    >>> import torch
    >>> from torchmetrics_fmiqa import spips
    >>> target = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> vit = {"backbone": "vit_tiny_patch16_224", "weights": "random:0", "taps": [0, 1]}
    >>> spips(target, target, **vit)
    tensor(0.)
    >>> spips(0.9 * target, target, reduction="none", **vit).shape
    torch.Size([2])
    """
    reduction = check_reduction(reduction)
    # A file may be trained anew between two calls.
    stamp = Path(head).stat().st_mtime_ns if isinstance(head, (str, Path)) and Path(head).is_file() else None
    parts = None if parts is None else tuple(parts)
    scorer = _scorer(as_spips_recipe(recipe, low_level, semantic, **overrides), head, stamp, parts, precision)
    return reduce(scorer(preds, target, mask, data_range, crop_border, validate), reduction)
