"""FrechetFeatureDistance: how far two sets of images are apart by the means and covariances of their features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from torchmetrics_fmiqa.comparator import Precision
from torchmetrics_fmiqa.comparator.pooled_features import Pool
from torchmetrics_fmiqa.comparator.preprocess import Side
from torchmetrics_fmiqa.distances.frechet import Moments, moments
from torchmetrics_fmiqa.distances.set_figures import FOLDS, SetFigure, fold_of, frechet_figure
from torchmetrics_fmiqa.features.image_checks import DataRange
from torchmetrics_fmiqa.metrics.image_pair_metric import NanStrategy
from torchmetrics_fmiqa.metrics.metric_fields import MetricFields
from torchmetrics_fmiqa.metrics.set_distance import SetDistance
from torchmetrics_fmiqa.recipes import NamedRecipe, Recipe


class FrechetFeatureDistance(SetDistance):
    r"""Fréchet distance between a set of images and a set of references, by the features of any frozen network.

    With one vector an image, its mean :math:`\mu` and covariance :math:`\Sigma` over each set:
    :math:`|\mu_1 - \mu_2|^2 + \mathrm{Tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2})`
    (Heusel et al., NeurIPS 2017). **Lower is better; 0 for equal sets.** It is no FID, which has Inception's features:
    figures of different networks cannot be compared. :meth:`fd_dinov2` has the published FD-DINOv2.

    **It needs thousands of images.** The figure of few images is too high, by an amount that depends on the images.
    Below 2,000 a side it warns. Compare figures of equally many images only. ``interval=True`` takes the bias off that
    falls as 1 / n, which is sound from 2 images a channel on; below, it gives NaN.

    As input to ``update`` the metric accepts

    - ``preds``, ``target``: images as :class:`~torchmetrics_fmiqa.FeatureDistance` takes them, equally many of both
    - or one set alone: ``update(images, real=True)`` adds references, ``update(images, real=False)`` preds; as many as
      there are, of any size
    - with ``reference``, ``update(preds)``

    As output of ``forward`` and ``compute`` the metric returns

    - a 0-dim tensor; NaN of fewer than two images a side
    - with ``interval`` a dict of these: ``"value"``, ``"extrapolated"`` to infinitely many images, and ``"low"``,
      ``"high"``, the limits of its 95 % interval (jackknife over 10 folds of both sets)

    Only sums are kept, in float64, however many images there are: exact over ranks, in any order and in any batches.
    The backbone is not a submodule: it is in no ``state_dict`` or checkpoint, and copies of the metric share it. The
    padding of a ``DistributedSampler`` counts twice: take an unpadded sampler.

    Args:
        recipe: name of a recipe, a :class:`~torchmetrics_fmiqa.Recipe` or a YAML file. Its backbone, weights, input
            normalisation and resolution count; its distance, tap weights and pooling do not.
        tap: where the features are read, an index or a module name; ``None`` for the last of the recipe's taps.
        pool: ``"mean"`` of the patch tokens, or the ``"cls"`` token.
        unit: scale each image's vector to length 1.
        interval: give the extrapolated distance and its interval too. Takes ten times the memory, and eleven times
            the time of ``compute``.
        reference: a file of :meth:`save_reference` instead of references. One that was saved with ``interval`` counts
            with its own error; else it is taken as certain.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        precision: ``"float32"``; ``"bfloat16"`` and ``"float16"`` are faster and less exact.
        tile_batch: tiles in a forward pass; fewer need less memory.
        validate: check the values of images too (on a GPU this waits for the device).
        nan_strategy: treatment of predictions with NaN or infinite values: ``"error"``, or ``"warn"`` or ``"ignore"``
            to leave them out.
        kwargs: fields of :class:`~torchmetrics_fmiqa.Recipe` to override (``backbone=``, ``weights=`` ...),
            and options of ``torchmetrics.Metric``.

    Raises:
        ValueError: for invalid arguments, images, weights or references; the message names the value and the fix.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.

    >>> import torch
    >>> from torchmetrics_fmiqa import FrechetFeatureDistance
    >>> metric = FrechetFeatureDistance()
    >>> images = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> metric.update(images, real=True)
    >>> metric.update(0.5 * images[:6], real=False)
    >>> bool(metric.compute() > 0)
    True
    """

    plot_lower_bound = 0.0
    _kind = "moments"

    def __init__(
        self,
        recipe: Recipe | NamedRecipe | str | Path = "default",
        tap: int | str | None = None,
        pool: Pool = "mean",
        unit: bool = False,
        interval: bool = False,
        reference: str | Path | None = None,
        data_range: DataRange = 1.0,
        crop_border: int = 0,
        precision: Precision = "float32",
        tile_batch: int = 32,
        validate: bool = True,
        nan_strategy: NanStrategy = "error",
        **kwargs: Unpack[MetricFields],
    ) -> None:
        images = (data_range, crop_border, precision, tile_batch, validate, nan_strategy)
        super().__init__(recipe, tap, pool, unit, interval, reference, *images, kwargs)
        self._folds = FOLDS if self.interval else 1
        self._before: dict[Side, int] = {}
        digest = self._state_digest()
        self._states: dict[str, str] = {side: f"{side}_moments_{digest}" for side in ("preds", "target")}
        empty = pack(moments(torch.empty(0, self.channels, device=self.device), None, self._folds))
        for name in self._states.values():
            self.add_state(name, empty.clone(), dist_reduce_fx=join_packed)

    @classmethod
    def fd_dinov2(cls, backbone: str = "vit_large_patch14_dinov2.lvd142m", **kwargs: Any) -> FrechetFeatureDistance:
        """FD-DINOv2 (Stein et al., "Exposing flaws of generative model evaluation metrics", NeurIPS 2023).

        The CLS token after the last norm of DINOv2 ViT-L/14, of images resized to 224 x 224 (antialiased bicubic) and
        normalised as ImageNet is. A smaller DINOv2 gives another figure.

        Args:
            backbone: name of a DINOv2 in timm.
            kwargs: arguments of the metric, such as ``weights=FILE`` or ``interval=True``.

        >>> FrechetFeatureDistance.fd_dinov2("vit_small_patch14_dinov2", weights="random:0").channels
        384
        """
        fields = {"normalization": "model", "resolution": "resize", "tile": 224}
        return cls(Recipe(backbone, taps=["norm"]), **{"pool": "cls", **fields, **kwargs})

    def _moments(self, side: Side) -> Moments:
        return unpack(getattr(self, self._states[side]))

    @torch.jit.unused
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add images to the state and return the batch's own result. An error leaves the state as it was."""
        with self._lock:
            # torchmetrics measures the batch in an empty state: its folds must go on from those that are full.
            self._before = {side: self._images(side) for side in ("preds", "target")}
            try:
                return super().forward(*args, **kwargs)
            finally:
                self._before = {}

    def _keep(self, side: Side, features: Tensor) -> None:
        folds = None
        if self._folds > 1:
            start = self._before.get(side, self._images(side))
            folds = fold_of(len(features), start).to(features.device)
        added = pack(moments(features, folds, self._folds))
        setattr(self, self._states[side], join_packed(torch.stack([getattr(self, self._states[side]), added])))

    def _images(self, side: Side) -> int:
        found = self._target() if side == "target" else self._moments(side)
        return int(found.size.sum())

    def _target(self) -> Moments:
        return self._moments("target") if self._saved is None else unpack(self._saved.to(self.device))

    def _figure(self) -> SetFigure:
        return frechet_figure(self._moments("preds"), self._target())

    def _named(self, figure: SetFigure) -> list[tuple[str, float]]:
        return list(vars(figure).items())

    def _of_references(self) -> Tensor:
        return pack(self._target())


def pack(found: Moments) -> Tensor:
    """Moments of folds in one tensor ``(G, 1 + C + C * C)``, which is joined as a whole."""
    return torch.cat([found.size[:, None], found.mean, found.scatter.flatten(1)], 1)


def unpack(packed: Tensor) -> Moments:
    """What :func:`pack` was given.

    >>> found = moments(torch.rand(5, 3))
    >>> all(torch.equal(one, other) for one, other in zip(found, unpack(pack(found))))
    True
    """
    width = packed.shape[1]
    channels = round(((4 * width - 3) ** 0.5 - 1) / 2)
    size, mean, scatter = packed.split([1, channels, channels * channels], 1)
    return Moments(size[:, 0], mean, scatter.unflatten(1, (channels, channels)))


def join_packed(states: Tensor) -> Tensor:
    """Join the states of ranks ``(R, G, K)`` fold by fold, ``(G, K)``."""
    folds = [unpack(fold).joined() for fold in states.unbind(1)]
    return pack(Moments(*(torch.stack(part) for part in zip(*folds, strict=True))))
