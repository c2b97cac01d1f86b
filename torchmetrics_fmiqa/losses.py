"""FeatureDistanceLoss and SpipsLoss: differentiable losses with the values of the metrics; GridArtifactLoss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from torchmetrics_fmiqa.arguments import as_python, short_repr, whole_number
from torchmetrics_fmiqa.comparator import FeatureComparator, Precision
from torchmetrics_fmiqa.comparator.distance_terms import Distances
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.features.image_checks import DataRange, as_data_range, check_mask, check_pair, crop
from torchmetrics_fmiqa.features.tiles import mirror_index
from torchmetrics_fmiqa.grid.frequencies import PERIODS
from torchmetrics_fmiqa.grid.meter import GridMeter
from torchmetrics_fmiqa.misuse import WarnOnce
from torchmetrics_fmiqa.recipes import NamedRecipe, Recipe, Taps, as_recipe
from torchmetrics_fmiqa.recipes.recipe_fields import RecipeFields
from torchmetrics_fmiqa.reduction import Reduction, check_reduction, reduce
from torchmetrics_fmiqa.spips_model.recipe import AnyRecipe
from torchmetrics_fmiqa.spips_model.scorer import Head, SpipsScorer, recipe_for


class PairLoss(nn.Module):
    """Base class of losses of image pairs: it prepares the images, measures them and reduces the result.

    Args:
        comparator: comparator that measures; it is frozen, and not a submodule.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        data_range: range of floating point images.
        crop_border: pixels to cut off each side first.
        random_shift: in training, shift both images by the same random offset of at most this many pixels; ``True``
            for half a patch.
        validate: check the values of images too.

    Raises:
        ValueError: for invalid arguments.
    """

    def __init__(
        self,
        comparator: FeatureComparator,
        reduction: Reduction,
        data_range: DataRange,
        crop_border: int,
        random_shift: int | bool,
        validate: bool,
    ) -> None:
        super().__init__()
        self.reduction = check_reduction(reduction)
        self.data_range = as_data_range(data_range)
        self.crop_border = whole_number(crop_border, "crop_border", 0, "a whole number of pixels")
        self.validate = validate
        self._warn = WarnOnce()
        self.comparator = comparator
        network = comparator.backbone.network
        half_patch = (network.patch or (network.multiple,))[0] // 2
        self.random_shift = _as_shift(random_shift, half_patch)

    def forward(self, preds: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the distance of a batch of pairs, see the class."""
        check_pair(preds, target)
        check_mask(mask, preds)
        preds, target = crop(preds, self.crop_border), crop(target, self.crop_border)
        mask = None if mask is None else crop(mask, self.crop_border)
        if self.training and self.random_shift:
            shift = torch.ops.torchmetrics_fmiqa.draw_shift(preds, self.random_shift)
            preds, target = _shifted(preds, shift), _shifted(target, shift)
            mask = None if mask is None else _shifted(mask, shift)
        elif self.random_shift and torch.is_grad_enabled() and preds.requires_grad:
            self._warn(
                "random_shift",
                "`random_shift` does nothing, since the loss is in evaluation mode: call loss.train() after the "
                ".eval() that reached it (the network inside stays frozen), or leave out random_shift",
            )
        measured = self.comparator(preds, target, mask, self.data_range, 0, self.validate)[0]
        return reduce(self._score(measured), self.reduction)

    def _score(self, measured: Any) -> Tensor:
        """The distance of each image, ``(N,)``."""
        raise NotImplementedError


class FeatureDistanceLoss(PairLoss):
    """Perceptual distance as a loss: the value of :class:`FeatureDistance`, with gradients to ``preds`` only.

    The backbone is frozen and not a submodule: it is in no ``parameters()``, ``state_dict`` or checkpoint, and methods
    of the loss do not change its weights. Gradients are finite everywhere, also for equal and black images.

    As input to ``forward`` the loss accepts ``preds`` and ``target``, ``(N, 3, H, W)`` in ``data_range``, and an
    optional ``mask`` ``(N, 1, H, W)``. It returns a 0-dim tensor, or ``(N,)`` with ``reduction="none"``, in float32
    (float64 for float64 images), at least 0.

    Args:
        recipe: name of a recipe, a :class:`~torchmetrics_fmiqa.Recipe` or a YAML file, with a single distance or
            several that are joined.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        precision: ``"auto"`` runs the backbone in the dtype of the surrounding autocast, if there is one (mixed
            precision training); ``"float32"``, ``"bfloat16"``, ``"float16"`` and ``"float64"`` fix it. Distances are
            computed in at least float32.
        grad_checkpointing: recompute the backbone's stages in the backward pass: less memory, more time.
        random_shift: in training, shift both images by the same random offset of at most this many pixels; ``True``
            takes half a patch. Without it a network whose stride equals the patch size learns to hide speckles from the
            patch grid. Borders are mirrored.
        tile_batch: tiles of preds, and as many of target, in a forward pass.
        validate: check the values of images too (on a GPU this waits for the device).
        overrides: fields of :class:`~torchmetrics_fmiqa.Recipe` (``backbone=``, ``weights=``, ``distance=`` ...).

    Raises:
        ValueError: for invalid arguments, images or weights; the message names the value and the fix.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.

    >>> from torchmetrics_fmiqa import FeatureDistanceLoss
    >>> loss = FeatureDistanceLoss()
    >>> target = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> preds = (0.9 * target).requires_grad_()
    >>> loss(preds, target).backward()
    >>> bool(preds.grad.isfinite().all()), list(loss.parameters()), dict(loss.state_dict())
    (True, [], {})
    """

    def __init__(
        self,
        recipe: Recipe | NamedRecipe | str | Path = "default",
        reduction: Reduction = "mean",
        data_range: DataRange = 1.0,
        crop_border: int = 0,
        precision: Precision = "auto",
        grad_checkpointing: bool = False,
        random_shift: int | bool = False,
        tile_batch: int = 32,
        validate: bool = True,
        **overrides: Unpack[RecipeFields],
    ) -> None:
        self.recipe = as_recipe(recipe, **overrides)
        if len(self.recipe.results) != 1:
            raise ValueError(
                f"a loss has one `distance`, got {self.recipe.distance!r}: join them by their weights, such as "
                "distance={'cosine': 1, 'l2': 1}, or add up several losses"
            )
        comparator = FeatureComparator(self.recipe, precision, grad_checkpointing, tile_batch)
        super().__init__(comparator, reduction, data_range, crop_border, random_shift, validate)

    def _score(self, measured: Distances) -> Tensor:
        return next(iter(measured.scores().values()))

    def extra_repr(self) -> str:
        """Show the recipe when the loss is printed."""
        return f"{self.recipe}, reduction={self.reduction!r}"


class SpipsLoss(PairLoss):
    """SPIPS as a loss: the value of :class:`ScenePerceivedImagePerceptualScore`, with gradients to ``preds`` only.

    Backbone and head are frozen and not submodules: they are in no ``parameters()``, ``state_dict`` or checkpoint.
    Gradients are finite everywhere, also for equal and black images. This follows Lao and Yu (arXiv 2504.17234, 2025).

    As input to ``forward`` the loss accepts ``preds`` and ``target``, ``(N, 3, H, W)`` in ``data_range``, and an
    optional ``mask`` ``(N, 1, H, W)``. It returns a 0-dim tensor, or ``(N,)`` with ``reduction="none"``, in float32
    (float64 for float64 images), at least 0.

    Args:
        recipe: as in :class:`ScenePerceivedImagePerceptualScore`.
        head: a trained head or its file; ``None`` for fixed weights.
        low_level: taps of the low-level stream; ``None`` for the first half of the recipe's taps.
        semantic: taps of the semantic stream; ``None`` for the rest.
        parts: the parts that the fixed weights use; ``None`` for both streams of features.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        precision: as in :class:`FeatureDistanceLoss`.
        grad_checkpointing: as in :class:`FeatureDistanceLoss`.
        random_shift: as in :class:`FeatureDistanceLoss`.
        tile_batch: as in :class:`FeatureDistanceLoss`.
        validate: as in :class:`FeatureDistanceLoss`.
        overrides: fields of :class:`~torchmetrics_fmiqa.Recipe`.

    Raises:
        ValueError: for invalid arguments, images, weights or heads; the message names the value and the fix.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.

    >>> from torchmetrics_fmiqa import SpipsLoss
    >>> loss = SpipsLoss()
    >>> target = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> preds = (0.9 * target).requires_grad_()
    >>> loss(preds, target).backward()
    >>> bool(preds.grad.isfinite().all()), list(loss.parameters()), dict(loss.state_dict())
    (True, [], {})
    """

    def __init__(
        self,
        recipe: AnyRecipe | None = None,
        head: Head = None,
        low_level: Taps | None = None,
        semantic: Taps | None = None,
        parts: str | Sequence[str] | None = None,
        reduction: Reduction = "mean",
        data_range: DataRange = 1.0,
        crop_border: int = 0,
        precision: Precision = "auto",
        grad_checkpointing: bool = False,
        random_shift: int | bool = False,
        tile_batch: int = 32,
        validate: bool = True,
        **overrides: Unpack[RecipeFields],
    ) -> None:
        self.recipe = recipe_for(recipe, head, low_level, semantic, **overrides)
        scorer = SpipsScorer(self.recipe, head, parts, precision, grad_checkpointing, tile_batch)
        super().__init__(scorer.comparator, reduction, data_range, crop_border, random_shift, validate)
        self.scorer = scorer

    def _score(self, measured: TapStatistics) -> Tensor:
        return self.scorer.score(measured)

    def extra_repr(self) -> str:
        """Show the recipe when the loss is printed."""
        return f"{self.recipe}, reduction={self.reduction!r}"


class GridArtifactLoss(nn.Module):
    """A term against grids: the energy at their frequencies that no smooth filter of ``target`` explains.

    Add it to another loss, since it sees nothing but grids: ``l1 + 0.03 * perceptual + weight * grid``. It is the
    square of what :class:`GridArtifact` measures, before that subtracts what is beside the frequencies: so it is small
    and not 0 for images that differ otherwise. It is 0 for equal images. Gradients reach ``preds`` only and are finite
    everywhere.

    As input to ``forward`` the loss accepts ``preds`` and ``target``, ``(N, 3, H, W)`` in ``data_range``. It returns a
    0-dim tensor, or ``(N,)`` with ``reduction="none"``, in squared grey levels of 255, float32 (float64 for float64
    images).

    Args:
        periods: in pixels; those that the network can leave, such as its upsampling factor. Each side of the images
            must hold the longest 6 times.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        validate: check the values of images too (on a GPU this waits for the device).

    Raises:
        ValueError: for invalid arguments or images; the message names the value and the fix.

    >>> from torchmetrics_fmiqa import GridArtifactLoss
    >>> loss = GridArtifactLoss(periods=[4], data_range=255)
    >>> target = torch.full((1, 3, 96, 96), 100.0)
    >>> preds = (target + torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(24)).requires_grad_()
    >>> value = loss(preds, target)
    >>> value.backward()
    >>> round(float(value), 3), bool(preds.grad.isfinite().all())
    (1.0, True)
    """

    def __init__(
        self,
        periods: Iterable[int] = PERIODS,
        reduction: Reduction = "mean",
        data_range: DataRange = 1.0,
        crop_border: int = 0,
        validate: bool = True,
    ) -> None:
        super().__init__()
        self.meter = GridMeter(periods)
        self.reduction = check_reduction(reduction)
        self.data_range = as_data_range(data_range)
        self.crop_border = whole_number(crop_border, "crop_border", 0, "a whole number of pixels")
        self.validate = validate

    def forward(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the energy of grids in a batch of pairs, see the class."""
        return reduce(
            self.meter.residual(preds, target, self.data_range, self.crop_border, self.validate), self.reduction
        )

    def extra_repr(self) -> str:
        """Show the periods when the loss is printed."""
        return f"periods={self.meter.periods}, reduction={self.reduction!r}"


def _as_shift(random_shift: Any, half_patch: int) -> int:
    """The largest shift in pixels.

    Raises:
        ValueError: for anything but ``True``, ``False`` and an integer from 0 to half a patch.
    """
    value = as_python(random_shift)
    if isinstance(value, bool):
        return half_patch if value else 0
    what = f"True, False, or 0 to half a patch ({half_patch} pixels): a whole number"
    pixels = whole_number(value, "random_shift", 0, what)
    if pixels > half_patch:
        raise ValueError(
            f"`random_shift` must be 0 to half a patch ({half_patch} pixels), got {short_repr(random_shift)}"
        )
    return pixels


# A custom operator, which a compiled step calls. A shift drawn within the graph would be constant, or cause a new graph
# at each step.
@torch.library.custom_op("torchmetrics_fmiqa::draw_shift", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,))
def _draw_shift(images: Tensor, limit: int) -> Tensor:
    """Draw a shift (rows, columns), each from ``-limit`` to ``limit`` pixels."""
    return torch.randint(-limit, limit + 1, (2,)).to(images.device)


@_draw_shift.register_fake
def _(images: Tensor, limit: int) -> Tensor:
    return images.new_empty(2, dtype=torch.int64)


def _shifted(images: Tensor, shift: Tensor) -> Tensor:
    """Shift ``(N, C, H, W)`` by a tensor (rows, columns), mirroring at the borders."""
    for dim in (2, 3):
        length = images.shape[dim]
        images = images.index_select(dim, mirror_index(length, length, images.device, shift[dim - 2]))
    return images
