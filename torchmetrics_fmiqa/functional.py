"""Functions of the metrics: distance of images and clips, its map, SPIPS, grids; and the cache of networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from torch import Tensor
from typing_extensions import Unpack

from torchmetrics_fmiqa.comparator import FeatureComparator, Images, Precision
from torchmetrics_fmiqa.comparator.distance_terms import column_name
from torchmetrics_fmiqa.comparator.video import ClipComparator, Layout, check_layout
from torchmetrics_fmiqa.features.image_checks import DataRange
from torchmetrics_fmiqa.grid.frequencies import PERIODS
from torchmetrics_fmiqa.grid.meter import GridMeter
from torchmetrics_fmiqa.recipes import NamedRecipe, Recipe, Taps, as_recipe
from torchmetrics_fmiqa.recipes.recipe_fields import RecipeFields
from torchmetrics_fmiqa.reduction import Reduction, check_reduction, reduce
from torchmetrics_fmiqa.spips_model.model import check_parts
from torchmetrics_fmiqa.spips_model.recipe import AnyRecipe, SpipsRecipe
from torchmetrics_fmiqa.spips_model.scorer import Head, SpipsScorer, head_key, recipe_for

# Number of networks kept for later calls. Few, because each may take hundreds of megabytes.
CACHE_SIZE = 2


@lru_cache(maxsize=CACHE_SIZE)
def _comparator(recipe: Recipe, precision: Precision) -> FeatureComparator:
    return FeatureComparator(recipe, precision=precision)


#: Callables that clear the caches of networks, of this and other modules.
CACHE_CLEARERS: list[Callable[[], None]] = [_comparator.cache_clear]


def clear_cache() -> None:
    """Release the networks that are kept for later calls."""
    for clear in CACHE_CLEARERS:
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

    This is the function of :class:`~torchmetrics_fmiqa.FeatureDistance`; it is differentiable with respect to
    ``preds``. It is not symmetric if the recipe's pooling is ``"information"``, as in the default.

    Args:
        preds: images under test, ``(N, 3, H, W)`` in ``data_range``, uint8 or uint16; or a list of ``(3, H, W)``.
        target: the pristine references, in the same form.
        recipe: name of a recipe, a :class:`~torchmetrics_fmiqa.Recipe` or a YAML file.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        per_layer: return each tap's distance instead of the score.
        mask: ``(N, 1, H, W)`` weights of pixels, at least 0, for distances with maps.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        precision: ``"float32"``, ``"float64"``, ``"bfloat16"``, ``"float16"`` or ``"auto"``.
        validate: check the values of images too.
        overrides: fields of :class:`~torchmetrics_fmiqa.Recipe` (``backbone=``, ``weights=``, ``distance=`` ...).

    Returns:
        0-dim, or ``(N,)`` with ``reduction="none"``, at least 0; with ``per_layer`` or a list of distances a dict of
        these by tap, by distance, or by ``"distance/tap"``.

    Raises:
        ValueError: for invalid arguments, images or weights; the message names the value and the fix.
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
    """Map of the perceptual distance: the distance of each pixel's patch. Its mean is the score of the patch tokens.

    Args:
        preds: images under test, ``(N, 3, H, W)`` in ``data_range``, uint8 or uint16.
        target: the pristine references, in the same form.
        recipe: name of a recipe, a :class:`~torchmetrics_fmiqa.Recipe` or a YAML file, with a distance that has a
            map: l2, normalized_l2, cosine, angular, jensen_shannon, symmetric_kl, or several of them.
        per_layer: return each tap's map beside the ``"score"``.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first; the map has the size of the rest.
        precision: as in :func:`feature_distance`.
        validate: check the values of images too.
        overrides: fields of :class:`~torchmetrics_fmiqa.Recipe`.

    Returns:
        ``(N, 1, H, W)``, at least 0; with ``per_layer`` or a list of distances a dict of these by tap, by distance, or
        by ``"distance/tap"``.

    Raises:
        ValueError: for invalid images, and for distances without a map.
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
        scores = {name: by_tap["score"] for name, by_tap in maps.items()}
        return scores if len(scores) > 1 else next(iter(scores.values()))
    several = len(maps) > 1
    return {
        column_name(name, label, several): value for name, by_tap in maps.items() for label, value in by_tap.items()
    }


@lru_cache(maxsize=CACHE_SIZE)
def _clip_comparator(recipe: Recipe, precision: Precision) -> ClipComparator:
    return ClipComparator(recipe, precision)


CACHE_CLEARERS.append(_clip_comparator.cache_clear)


def video_feature_distance(
    preds: Tensor,
    target: Tensor,
    recipe: Recipe | NamedRecipe | str | Path = "default",
    layout: Layout = "BTCHW",
    reduction: Reduction = "mean",
    data_range: DataRange = 1.0,
    crop_border: int = 0,
    precision: Precision = "float32",
    validate: bool = True,
    **overrides: Unpack[RecipeFields],
) -> dict[str, Tensor]:
    """Perceptual distance between clips: of their frames, and of what changes between them. Lower is better.

    This is the function of :class:`~torchmetrics_fmiqa.VideoFeatureDistance`; it is differentiable with respect to
    ``preds``.

    Args:
        preds: clips under test, ``(B, T, 3, H, W)`` in ``data_range``, uint8 or uint16, of at least two frames.
        target: the pristine references, in the same form.
        recipe: name of a recipe, a :class:`~torchmetrics_fmiqa.Recipe` or a YAML file, with a single result.
        layout: ``"BTCHW"``, or ``"BCTHW"`` for ``(B, 3, T, H, W)``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over clips.
        data_range: range of floating point clips: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        precision: as in :func:`feature_distance`.
        validate: check the values of clips too.
        overrides: fields of :class:`~torchmetrics_fmiqa.Recipe`.

    Returns:
        ``"frames"``, ``"worst"`` and ``"temporal"``, each 0-dim, or ``(B,)`` with ``reduction="none"``, at least 0.

    Raises:
        ValueError: for invalid arguments, clips or weights; the message names the value and the fix.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.

    >>> import torch
    >>> from torchmetrics_fmiqa import video_feature_distance
    >>> target = torch.rand(1, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> {name: float(value) for name, value in video_feature_distance(target, target).items()}
    {'frames': 0.0, 'worst': 0.0, 'temporal': 0.0}
    """
    comparator = _clip_comparator(as_recipe(recipe, **overrides), precision)
    reduction = check_reduction(reduction)
    found = comparator.clips(preds, target, check_layout(layout), data_range, crop_border, validate)
    return {name: reduce(values, reduction) for name, values in found.columns().items()}


class _HashableHead:
    """A head as a cache key, compared by content: head or file may change between two calls."""

    def __init__(self, head: Head) -> None:
        self.head, self.key = head, head_key(head)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _HashableHead) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=CACHE_SIZE)
def _scorer(
    recipe: SpipsRecipe, head: _HashableHead, parts: tuple[str, ...] | None, precision: Precision, tile_batch: int
) -> SpipsScorer:
    return SpipsScorer(recipe, head.head, parts, precision, tile_batch=tile_batch)


CACHE_CLEARERS.append(_scorer.cache_clear)


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
    """SPIPS: a score from semantic and low-level features, with a head from PSNR and SSIM too. Lower is better.

    This is the function of :class:`~torchmetrics_fmiqa.ScenePerceivedImagePerceptualScore`; it is differentiable with
    respect to ``preds``. It follows Lao and Yu (arXiv 2504.17234, 2025); see the class for our choices.

    Args:
        preds: images under test, ``(N, 3, H, W)`` in ``data_range``, uint8 or uint16; or a list of ``(3, H, W)``.
        target: the pristine references, in the same form.
        recipe: name of a recipe, a :class:`~torchmetrics_fmiqa.Recipe`, a YAML file or a SPIPS recipe; ``None`` for
            the recipe that the head's file was trained for, and without a file for ``"default"``.
        head: a trained head or its file; ``None`` for fixed weights.
        low_level: taps of the low-level stream; ``None`` for the first half of the recipe's taps.
        semantic: taps of the semantic stream; ``None`` for the rest.
        parts: the parts that the fixed weights use; ``None`` for both streams of features.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        mask: ``(N, 1, H, W)`` weights of pixels; see the class for its effect.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        precision: ``"float32"``, ``"float64"``, ``"bfloat16"``, ``"float16"`` or ``"auto"``.
        tile_batch: tiles of preds, and as many of target, in a forward pass.
        validate: check the values of images too.
        overrides: fields of :class:`~torchmetrics_fmiqa.Recipe` (``backbone=``, ``weights=``, ``distance=`` ...).

    Returns:
        0-dim, or ``(N,)`` with ``reduction="none"``; at least 0, and 0 for equal images.

    Raises:
        ValueError: for invalid arguments, images, weights or heads; the message names the value and the fix.
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
    spips_recipe = recipe_for(recipe, head, low_level, semantic, **overrides)
    checked_parts = None if parts is None else check_parts(parts)
    scorer = _scorer(spips_recipe, _HashableHead(head), checked_parts, precision, tile_batch)
    measured = scorer.comparator(preds, target, mask, data_range, crop_border, validate)[0]
    return reduce(scorer.score(measured), reduction)


def grid_artifact(
    preds: Images,
    target: Images,
    periods: Iterable[int] = PERIODS,
    reduction: Reduction = "mean",
    per_period: bool = False,
    data_range: DataRange = 1.0,
    crop_border: int = 0,
    validate: bool = True,
) -> Tensor | dict[str, Tensor]:
    """RMS of patterns locked to the pixels that ``target`` does not have, in grey levels of 255. Lower is better.

    This is the function of :class:`~torchmetrics_fmiqa.GridArtifact`; it is differentiable with respect to ``preds``,
    but :class:`~torchmetrics_fmiqa.GridArtifactLoss` is what to train with.

    Args:
        preds: images under test, ``(N, 3, H, W)`` in ``data_range``, uint8 or uint16; or a list of ``(3, H, W)``. Each
            side must hold the longest period 6 times.
        target: the pristine references, in the same form.
        periods: in pixels, whole numbers of at least 2.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        per_period: return each period and axis too.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        validate: check the values of images too.

    Returns:
        0-dim, or ``(N,)`` with ``reduction="none"``; with ``per_period`` a dict: ``"total"``, ``"4"``, ``"4/x"`` ...

    Raises:
        ValueError: for invalid arguments or images, or images too small for a period.

    >>> import torch
    >>> from torchmetrics_fmiqa import grid_artifact
    >>> target = torch.full((2, 3, 96, 96), 100.0)
    >>> preds = target + torch.tensor([1.0, -1.0]).repeat(48)
    >>> grid_artifact(preds, target, reduction="none", data_range=255).round(decimals=2)
    tensor([1., 1.])
    """
    reduction = check_reduction(reduction)
    meter = GridMeter(periods)
    rms = meter.rms(preds, target, data_range, crop_border, validate)
    found = {name: reduce(value, reduction) for name, value in zip(meter.names, rms.unbind(-1), strict=True)}
    return found if per_period else found["total"]
