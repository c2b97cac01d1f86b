"""The stateless twin of the metric: SPIPS of a batch of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from torch import Tensor

from torchmetrics_fmiqa.comparator import Images, Precision
from torchmetrics_fmiqa.features.images import DataRange
from torchmetrics_fmiqa.functional import CLEARED, KEPT, Reduction, check_reduction, reduce
from torchmetrics_fmiqa.fusion.recipe import AnyRecipe, SpipsRecipe
from torchmetrics_fmiqa.fusion.scorer import Head, SpipsScorer, content, recipe_for
from torchmetrics_fmiqa.fusion.streams import check_parts
from torchmetrics_fmiqa.recipes import Taps


class _Given:
    """A head that equals others of its content: it may have been trained on between two calls, and its file too."""

    def __init__(self, head: Head) -> None:
        self.head, self.content = head, content(head)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Given) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)


@lru_cache(maxsize=KEPT)
def _scorer(
    recipe: SpipsRecipe, given: _Given, parts: tuple[str, ...] | None, precision: Precision, tile_batch: int
) -> SpipsScorer:
    return SpipsScorer(recipe, given.head, parts, precision, tile_batch=tile_batch)


CLEARED.append(_scorer.cache_clear)


def spips(
    preds: Images,
    target: Images,
    recipe: AnyRecipe | None = None,
    head: Head = None,
    low_level: Taps | None = None,
    semantic: Taps | None = None,
    parts: str | Sequence[str] | None = None,
    reduction: Reduction = "mean",
    mask: Images | None = None,
    data_range: DataRange = 1.0,
    crop_border: int = 0,
    precision: Precision = "float32",
    tile_batch: int = 32,
    validate: bool = True,
    **overrides: Any,
) -> Tensor:
    """SPIPS: one score from semantics, low-level features and conventional measures. Lower is better.

    The functional twin of :class:`~torchmetrics_fmiqa.ScenePerceivedImagePerceptualScore`; differentiable with respect
    to ``preds``. After Lao and Yu (arXiv 2504.17234, 2025); what is ours is told there.

    Args:
        preds: images under test, ``(N, 3, H, W)`` in ``data_range``, uint8 or uint16; or a list of ``(3, H, W)``.
        target: the pristine references, likewise.
        recipe: name of a recipe, a :class:`~torchmetrics_fmiqa.Recipe`, a YAML file or a SPIPS recipe; ``None`` for
            what the head's file was trained for, and without one for ``"default"``.
        head: a trained head or its file; ``None`` for fixed weights.
        low_level: taps of the low-level stream; ``None`` for the first half of the recipe's taps.
        semantic: taps of the semantic stream; ``None`` for the rest.
        parts: which parts the fixed weights use; ``None`` for all.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        mask: ``(N, 1, H, W)`` weights of pixels; see the class for what it cannot reach.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        precision: ``"float32"``, ``"float64"``, ``"bfloat16"``, ``"float16"`` or ``"auto"``.
        tile_batch: tiles a side of the pair that go through the network at once.
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
    >>> spips(target, target)
    tensor(0.)
    >>> spips(0.9 * target, target, reduction="none").shape
    torch.Size([2])
    """
    reduction = check_reduction(reduction)
    found = recipe_for(recipe, head, low_level, semantic, **overrides)
    scorer = _scorer(found, _Given(head), None if parts is None else check_parts(parts), precision, tile_batch)
    return reduce(scorer(preds, target, mask, data_range, crop_border, validate), reduction)
