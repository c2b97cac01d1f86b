"""The stateless twins of the metric: a distance and a map for a batch of pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from torch import Tensor
from typing_extensions import Unpack

from torchmetrics_fmiqa.comparator import FeatureComparator, Images, Precision
from torchmetrics_fmiqa.comparator.distance_terms import column_name
from torchmetrics_fmiqa.features.image_checks import DataRange
from torchmetrics_fmiqa.recipes import NamedRecipe, Recipe, Taps, as_recipe
from torchmetrics_fmiqa.recipes.recipe_fields import RecipeFields
from torchmetrics_fmiqa.reduction import Reduction, check_reduction, reduce
from torchmetrics_fmiqa.spips_model.model import check_parts
from torchmetrics_fmiqa.spips_model.recipe import AnyRecipe, SpipsRecipe
from torchmetrics_fmiqa.spips_model.scorer import Head, SpipsScorer, content, recipe_for

# Networks that calls in a row share. Few, since each may hold hundreds of megabytes; metrics hold their own.
KEPT = 2


@lru_cache(maxsize=KEPT)
def _comparator(recipe: Recipe, precision: Precision) -> FeatureComparator:
    return FeatureComparator(recipe, precision=precision)


#: What lets go of the networks that the functions of this and higher rooms keep.
CLEARED: list[Callable[[], None]] = [_comparator.cache_clear]


def clear_cache() -> None:
    """Let go of the networks that the last calls used."""
    for clear in CLEARED:
        clear()


def feature_distance(
    preds: Images,
    target: Images,
    recipe: Recipe | NamedRecipe | str | Path = "default",
    reduction: Reduction = "mean",
    per_layer: bool = False,
    mask: Images | None = None,
    data_range: DataRange = 1.0,
    crop_border: int = 0,
    precision: Precision = "float32",
    validate: bool = True,
    **overrides: Unpack[RecipeFields],
) -> Tensor | dict[str, Tensor]:
    """Perceptual distance between images by the intermediate features of a frozen network. Lower is better.

    The functional twin of :class:`~torchmetrics_fmiqa.FeatureDistance`; differentiable with respect to ``preds``. Not
    symmetric where the recipe's pooling is ``"information"``, as the default's is.

    Args:
        preds: images under test, ``(N, 3, H, W)`` in ``data_range``, uint8 or uint16; or a list of ``(3, H, W)``.
        target: the pristine references, likewise.
        recipe: name of a recipe, a :class:`~torchmetrics_fmiqa.Recipe` or a YAML file.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        per_layer: return each tap's distance instead of the score.
        mask: ``(N, 1, H, W)`` weights of pixels, for distances with maps.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        precision: ``"float32"``, ``"float64"``, ``"bfloat16"``, ``"float16"`` or ``"auto"``.
        validate: look at the values of images too.
        overrides: fields of the recipe (``backbone=``, ``weights=``, ``distance=`` ...).

    Returns:
        0-dim, or ``(N,)`` with ``reduction="none"``; a dict by tap, by distance, or by ``"distance/tap"``.

    Raises:
        ValueError: for arguments, images or weights that do not fit, naming the value and the fix.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.

    >>> import torch
    >>> from torchmetrics_fmiqa import feature_distance
    >>> target = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> feature_distance(target, target)
    tensor(0.)
    >>> blurred = torch.nn.functional.avg_pool2d(target, 3, 1, 1)
    >>> (feature_distance(blurred, target, reduction="none") > 0).tolist()
    [True, True]
    """
    reduction = check_reduction(reduction)
    comparator = _comparator(as_recipe(recipe, **overrides), precision)
    measured = comparator(preds, target, mask, data_range, crop_border, validate)[0]
    values = measured.by_tap() if per_layer else measured.scores()
    reduced = {name: reduce(value, reduction) for name, value in values.items()}
    return reduced if per_layer or len(reduced) > 1 else next(iter(reduced.values()))


def feature_distance_map(
    preds: Tensor,
    target: Tensor,
    recipe: Recipe | NamedRecipe | str | Path = "default",
    per_layer: bool = False,
    data_range: DataRange = 1.0,
    crop_border: int = 0,
    precision: Precision = "float32",
    validate: bool = True,
    **overrides: Unpack[RecipeFields],
) -> Tensor | dict[str, Tensor]:
    """Where images differ perceptually: the distance of each pixel's patch. Its mean is the patch-token score.

    Args:
        preds: images under test, ``(N, 3, H, W)`` in ``data_range``, uint8 or uint16.
        target: the pristine references, likewise.
        recipe: name of a recipe, a :class:`~torchmetrics_fmiqa.Recipe` or a YAML file, with a distance that has a
            map: l2, cosine, angular, jensen_shannon, symmetric_kl, or several of them.
        per_layer: return each tap's map beside the ``"score"``.
        data_range: range of floating point images.
        crop_border: pixels to cut off each side first; the map is as small as what is left.
        precision: as in :func:`feature_distance`.
        validate: look at the values of images too.
        overrides: fields of the recipe.

    Returns:
        ``(N, 1, H, W)``, at least 0; a dict by tap, by distance, or by ``"distance/tap"``.

    Raises:
        ValueError: for images that do not fit, and for distances without a map.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.

    >>> import torch
    >>> from torchmetrics_fmiqa import feature_distance_map
    >>> target = torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    >>> feature_distance_map(0.9 * target, target).shape
    torch.Size([1, 1, 64, 80])
    """
    comparator = _comparator(as_recipe(recipe, **overrides), precision)
    maps = comparator.maps(preds, target, data_range, crop_border, validate, per_layer)
    if not per_layer:
        scores = {name: drawn["score"] for name, drawn in maps.items()}
        return scores if len(scores) > 1 else next(iter(scores.values()))
    several = len(maps) > 1
    return {column_name(name, label, several): value for name, drawn in maps.items() for label, value in drawn.items()}


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
    **overrides: Unpack[RecipeFields],
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
