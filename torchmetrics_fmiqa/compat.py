"""LPIPS with the arguments of torchmetrics and of the ``lpips`` package: an existing script changes one import.

What both have in common with the rest of this package: the trunk is in no checkpoint and no ``parameters()``, copies
share it, and gradients are finite.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torchmetrics_fmiqa.arguments import as_bool, short_repr
from torchmetrics_fmiqa.comparator import FeatureComparator, Precision
from torchmetrics_fmiqa.comparator.distance_terms import Distances, combine
from torchmetrics_fmiqa.features.channel_weights import LPIPS_BACKBONES
from torchmetrics_fmiqa.features.image_checks import (
    WRONG_UNIT,
    DataRange,
    check_images,
    check_pair,
    check_values,
    to_unit,
)
from torchmetrics_fmiqa.features.weights import PRETRAINED
from torchmetrics_fmiqa.metrics.image_pair_metric import Measured, PairMetric, served
from torchmetrics_fmiqa.misuse import WarnOnce
from torchmetrics_fmiqa.recipes import Recipe, named
from torchmetrics_fmiqa.reduction import reduce


class LearnedPerceptualImagePatchSimilarity(PairMetric):
    """LPIPS with the arguments of ``torchmetrics.image.LearnedPerceptualImagePatchSimilarity``, and its numbers.

    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (CVPR 2018), version 0.1.
    **Lower is better; 0 for equal images.** It is symmetric, and a result of ``forward`` has a gradient to both images.

    As input to ``forward`` and ``update`` the metric accepts ``img1`` and ``img2``, ``(N, 3, H, W)``; beyond
    torchmetrics ``mask`` and ``sample_ids``, as :class:`~torchmetrics_fmiqa.FeatureDistance` does. As output of
    ``forward`` and ``compute`` it returns a 0-dim tensor, or ``(N,)`` with ``reduction="none"``, in float32 whatever
    the images are in.

    Args:
        net_type: ``"alex"``, ``"vgg"`` or ``"squeeze"``.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` (``None``) over images.
        normalize: whether images are in [0, 1]; else in [-1, 1].
        weights: those of the trunk: ``"pretrained"`` (torchvision's, downloaded once), or a file of them.
        kwargs: options of ``torchmetrics.Metric``.

    Raises:
        ValueError: for invalid arguments, and images that are not in their range.
        WeightsUnavailableError: if the trunk cannot be downloaded.

    >>> metric = LearnedPerceptualImagePatchSimilarity("squeeze", normalize=True, weights="random:0")
    >>> images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> metric.update(images, images)
    >>> metric.compute(), list(metric.parameters()), dict(metric.state_dict())
    (tensor(0.), [], {})
    """

    is_differentiable = True
    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    feature_network = "net"  # what torchmetrics' FeatureShare shares

    def __init__(
        self,
        net_type: Literal["vgg", "alex", "squeeze"] = "alex",
        reduction: Literal["sum", "mean", "none"] | None = "mean",
        normalize: bool = False,
        weights: str | Path = PRETRAINED,
        **kwargs: Any,
    ) -> None:
        if net_type not in LPIPS_BACKBONES:
            raise ValueError(f"Argument `net_type` must be one of {tuple(LPIPS_BACKBONES)}, but got {net_type}.")
        if reduction not in ("mean", "sum", "none", None):
            raise ValueError(f"Argument `reduction` must be one of ('mean', 'sum', 'none', None), but got {reduction}")
        if not isinstance(normalize, bool):
            raise ValueError(f"Argument `normalize` should be a bool but got {normalize}")
        super().__init__(reduction or "none", _range(normalize), 0, True, "error", **kwargs)
        self.recipe = _recipe(net_type, weights)
        self.normalize = normalize
        self.comparator = FeatureComparator(self.recipe)
        self.net = LpipsNetwork(self.recipe, self.comparator)
        self._add_columns(self.recipe.digest, {name: len(taps) for name, taps in self.comparator.labels().items()})

    def update(  # type: ignore[override]
        self, img1: Tensor, img2: Tensor, mask: Tensor | None = None, sample_ids: Any = None
    ) -> None:
        """Measure a batch of pairs and add it to the state."""
        super().update(img1, img2, mask, sample_ids)

    @torch.jit.unused
    def forward(self, img1: Tensor, img2: Tensor, mask: Tensor | None = None, sample_ids: Any = None) -> Any:
        """Add a batch to the state and return the batch's own result, with a gradient to the images."""
        measured = served.get().get(id(self)) or self._measure(img1, img2, mask)
        token = served.set({**served.get(), id(self): measured})
        try:
            value = super().forward(img1, img2, mask, sample_ids)
        finally:
            served.reset(token)
        scores = self.scores_of(measured.result)
        return reduce(scores, self.reduction) if scores.requires_grad else value

    def _measure(self, preds: Any, target: Any, mask: Any) -> Measured:
        _check_images(preds, target, self.normalize)
        return Measured(None, self.net(self.recipe, preds, target, mask, self.normalize))

    def _columns(self, result: Distances) -> dict[str, Tensor]:
        return result.per_tap

    def scores_of(self, result: Distances) -> Tensor:
        """The LPIPS of each image, ``(N,)``."""
        return next(iter(result.scores().values()))

    def _combined(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        weights = self.comparator.weights()
        return {name: combine(values, weights[name]) for name, values in columns.items()}


class LPIPS(nn.Module):
    """LPIPS with the arguments of ``lpips.LPIPS``, and its numbers.

    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (CVPR 2018), version 0.1.
    **Lower is better; 0 for equal images.** It is symmetric and has a gradient to both images. The trunk is frozen and
    no submodule: there are no ``parameters()``, and what a checkpoint of ``lpips.LPIPS`` holds of it is not read.

    As input to ``forward`` the module accepts ``in0`` and ``in1``, ``(N, 3, H, W)`` in [-1, 1], or in [0, 1] with
    ``normalize=True``. It returns ``(N, 1, 1, 1)``, or a map ``(N, 1, H, W)`` with ``spatial=True``; with
    ``retPerLayer=True`` a pair of this and a list of the same for each layer, which it is the sum of. In float32
    (float64 for float64 images).

    Args:
        pretrained: only ``True``, the linear weights of the package; others go to ``model_path``.
        net: ``"alex"``, ``"vgg"`` (``"vgg16"``) or ``"squeeze"``.
        version: only ``"0.1"``.
        lpips: with linear weights; ``False`` adds all channels up alike.
        spatial: return maps.
        pnet_rand: only ``False``; for a random trunk give ``weights="random:0"``.
        pnet_tune: only ``False``: the trunk is frozen.
        use_dropout: has no effect, as in evaluation mode.
        model_path: a file of other linear weights, at least 0, in the form of the package's.
        eval_mode: only ``True``.
        verbose: has no effect: nothing is printed.
        weights: those of the trunk: ``"pretrained"`` (torchvision's, downloaded once), or a file of them.
        precision: as in :class:`~torchmetrics_fmiqa.FeatureDistanceLoss`.

    Raises:
        ValueError: for arguments that do not fit, and images plainly in another unit.
        WeightsUnavailableError: if the trunk cannot be downloaded.

    >>> distance = LPIPS(net="squeeze", weights="random:0")
    >>> images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> total, layers = distance(images, 1 - images, retPerLayer=True, normalize=True)
    >>> total.shape, len(layers), bool(total.sum() > 0)
    (torch.Size([2, 1, 1, 1]), 7, True)
    """

    def __init__(
        self,
        pretrained: bool = True,
        net: str = "alex",
        version: str = "0.1",
        lpips: bool = True,
        spatial: bool = False,
        pnet_rand: bool = False,
        pnet_tune: bool = False,
        use_dropout: bool = True,
        model_path: str | Path | None = None,
        eval_mode: bool = True,
        verbose: bool = True,
        weights: str | Path = PRETRAINED,
        precision: Precision = "auto",
    ) -> None:
        super().__init__()
        settled = {
            "pretrained": (pretrained, True, "give your linear weights as `model_path`, the network as `net`"),
            "version": (str(version).removeprefix("v"), "0.1", "the older one had an error in its input scaling"),
            "pnet_rand": (pnet_rand, False, "give weights='random:0'"),
            "pnet_tune": (pnet_tune, False, "the trunk is frozen"),
            "eval_mode": (eval_mode, True, "there is no dropout"),
        }
        for name, (value, only, why) in settled.items():
            own = name == "pretrained" and value is False and (model_path is not None or not lpips)
            if value != only and not own:
                raise ValueError(f"`{name}` can only be {only!r} here, got {short_repr(value)}: {why}")
        net = "vgg" if net == "vgg16" else net
        if net not in LPIPS_BACKBONES:
            raise ValueError(f"`net` must be one of {', '.join(LPIPS_BACKBONES)}, got {short_repr(net)}")
        self.spatial = as_bool(spatial, "spatial")
        recipe = _recipe(net, weights)
        if not as_bool(lpips, "lpips"):
            recipe = recipe.replace(channel_weights=None)
        elif model_path is not None:
            recipe = recipe.replace(channel_weights=model_path)
        self.recipe = recipe
        self.comparator = FeatureComparator(recipe, precision=precision)
        self._warn = WarnOnce()

    def forward(
        self,
        in0: Tensor,
        in1: Tensor,
        retPerLayer: bool = False,  # noqa: N803
        normalize: bool = False,
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Return the distance of a batch of pairs, see the class."""
        for name, images in (("in0", in0), ("in1", in1)):
            check_images(images, name)
        if in0.shape[0] != in1.shape[0] and 1 in (in0.shape[0], in1.shape[0]):
            count = max(in0.shape[0], in1.shape[0])  # one image beside many, as in the package
            in0, in1 = in0.expand(count, -1, -1, -1), in1.expand(count, -1, -1, -1)
        in0, in1 = _unit_pair(in0, in1, _range(normalize), self._warn)
        layers = _to_both(self._maps if self.spatial else self._layers, in0, in1)
        total = torch.stack(layers).sum(0)
        return (total, layers) if retPerLayer else total

    def _layers(self, in0: Tensor, in1: Tensor) -> list[Tensor]:
        (measured,) = self.comparator(in0, in1, validate=False)
        return [values[:, None, None, None] for values in measured.by_tap().values()]

    def _maps(self, in0: Tensor, in1: Tensor) -> list[Tensor]:
        (maps,) = self.comparator.maps(in0, in1, validate=False, per_layer=True, bilinear=True).values()
        return [drawn for label, drawn in maps.items() if label != "score"]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """Take no notice of the trunk and the weights that a checkpoint of ``lpips.LPIPS`` has."""

    def extra_repr(self) -> str:
        """Show the recipe when the module is printed."""
        return f"{self.recipe}, spatial={self.spatial}"


class LpipsNetwork(nn.Module):
    """What :class:`LearnedPerceptualImagePatchSimilarity` measures with: torchmetrics' ``FeatureShare`` can share it.

    Args:
        recipe: that of the comparator.
        comparator: what measures; frozen, and no submodule.
    """

    def __init__(self, recipe: Recipe, comparator: FeatureComparator) -> None:
        super().__init__()
        self.recipe, self.comparator = recipe, comparator

    def forward(
        self, recipe: Recipe, img1: Tensor, img2: Tensor, mask: Tensor | None = None, normalize: bool = False
    ) -> Distances:
        """Measure a batch of pairs, with a gradient to both sides where one is asked for.

        Raises:
            ValueError: if the recipe of the metric that calls is another one.
        """
        if recipe.digest != self.recipe.digest:
            raise ValueError(f"{recipe} cannot share the network of {self.recipe}: share among equal `net_type` only")
        (name,) = self.comparator.labels()
        rest: list[Distances] = []

        def measure(one: Tensor, other: Tensor) -> list[Tensor]:
            rest[:] = self.comparator(one, other, mask, validate=False)
            return [rest[0].per_tap[name]]

        per_tap = _to_both(measure, *_unit_pair(img1, img2, _range(normalize)))
        return Distances({name: per_tap[0]}, rest[0].labels, rest[0].weights)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """Take no notice of the trunk and the weights that a checkpoint of torchmetrics' metric has."""

    def extra_repr(self) -> str:
        """Show the recipe: torchmetrics compares networks by how they are printed."""
        return str(self.recipe)


def _recipe(net: str, weights: str | Path) -> Recipe:
    return named(f"lpips-{net}").replace(weights=weights)


def _range(normalize: bool) -> DataRange:
    return 1.0 if normalize else (-1.0, 1.0)


def _unit_pair(
    one: Tensor, other: Tensor, data_range: DataRange, warn: WarnOnce | None = None
) -> tuple[Tensor, Tensor]:
    """Both sides in [0, 1]; with ``warn`` checked: neither is taken for the reference, so both may leave the range."""
    check_pair(one, other)
    dtype = torch.float64 if one.dtype == torch.float64 else torch.float32
    unit = to_unit(one, data_range, dtype, "in0"), to_unit(other, data_range, dtype, "in1")
    if warn is not None and not torch.compiler.is_compiling() and all(bool(side.isfinite().all()) for side in unit):
        floating = one.is_floating_point(), other.is_floating_point()
        check_values(*unit, data_range, warn, floating, clamp_target=True)
    return unit


def _to_both(measure: Callable[[Tensor, Tensor], list[Tensor]], one: Tensor, other: Tensor) -> list[Tensor]:
    """Measure a symmetric distance, of which gradients reach the first side alone, with gradients to both."""
    if not (torch.is_grad_enabled() and other.requires_grad):
        return measure(one, other)
    if not one.requires_grad:
        return measure(other, one)
    values, mirrored = measure(one, other.detach()), measure(other, one.detach())
    return [value + (same - same.detach()) for value, same in zip(values, mirrored, strict=True)]


def _check_images(img1: Tensor, img2: Tensor, normalize: bool) -> None:
    """What torchmetrics checks: four dimensions, three channels, and the range of the values."""
    for name, images in (("img1", img1), ("img2", img2)):
        if not isinstance(images, Tensor) or not images.numel():  # which have no values to look at
            check_images(images, name)

    def fits(images: Tensor) -> bool:
        if images.ndim != 4 or images.shape[1] != 3:
            return False
        if not images.is_floating_point():  # their range is that of the type
            return True
        # torchmetrics lets all through above -1, also images in 0 .. 255.
        low, high = (0.0, 1.0) if normalize else (-1.0, 2 * WRONG_UNIT - 1)
        return bool(images.min() >= low) and bool(images.max() <= high)

    if not (fits(img1) and fits(img2)):
        sides = (images.float() for images in (img1, img2))
        shown = [f"{tuple(images.shape)} in [{images.min():.4g}, {images.max():.4g}]" for images in sides]
        raise ValueError(
            "Expected both input arguments to be normalized tensors with shape [N, 3, H, W] and values in "
            f"{[0, 1] if normalize else [-1, 1]}, got {' and '.join(shown)}: "
            f"{'clamp the images' if normalize else 'give normalize=True for images in [0, 1], or scale them'}"
        )
