"""KernelFeatureDistance: how far two sets of images are apart by a kernel of their features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor
from typing_extensions import Unpack

from torchmetrics_fmiqa.arguments import as_bool
from torchmetrics_fmiqa.comparator import Precision
from torchmetrics_fmiqa.comparator.pooled_features import Pool
from torchmetrics_fmiqa.comparator.preprocess import Side
from torchmetrics_fmiqa.distances.kernel import Kernel, KernelName
from torchmetrics_fmiqa.distances.set_figures import SetFigure, kernel_figure
from torchmetrics_fmiqa.features.image_checks import DataRange
from torchmetrics_fmiqa.metrics.image_pair_metric import NanStrategy
from torchmetrics_fmiqa.metrics.metric_fields import MetricFields
from torchmetrics_fmiqa.metrics.set_distance import SetDistance
from torchmetrics_fmiqa.recipes import NamedRecipe, Recipe


class KernelFeatureDistance(SetDistance):
    r"""Squared maximum mean discrepancy (MMD) between images and references, by the features of any frozen network.

    With the polynomial kernel it is KID on another network (Bińkowski et al., ICLR 2018), with the Gaussian one CMMD
    (Jayasumana et al., CVPR 2024; :meth:`cmmd`). **Lower is better; about 0 for sets of one kind.** The estimate is
    unbiased: it may be below 0, and that of few images is not too high, as a Fréchet distance is, but noisy. Below
    2,000 images a side it warns.

    As input to ``update`` the metric accepts what :class:`~torchmetrics_fmiqa.FrechetFeatureDistance` does.

    As output of ``forward`` and ``compute`` the metric returns

    - a 0-dim tensor; NaN of fewer than two images a side
    - with ``interval`` a dict of these: ``"value"``, and ``"low"``, ``"high"``, the limits of its 95 % interval
      (jackknife over 10 folds of both sets; NaN of fewer than 20 images)

    The features of all images are kept, 8 bytes a number: 10,000 images of 768 channels are 61 MB a side. ``compute``
    takes the kernel of every pair of images, of which no more than a part is in memory: its time is quadratic.

    Args:
        recipe: as in :class:`~torchmetrics_fmiqa.FrechetFeatureDistance`.
        tap: likewise.
        pool: likewise.
        unit: scale each image's vector to length 1, as CMMD does.
        kernel: ``"polynomial"``, ``(x · y / C + 1)³``, or ``"rbf"``, ``exp(-|x - y|² / (2 sigma²))``.
        sigma: width of the Gaussian, in the unit of the features.
        scale: factor of the result; CMMD has 1,000.
        unbiased: leave the kernel of each image with itself out. With ``False``, as in the published code of CMMD, sets
            of few images are never near 0, and there is no interval.
        interval: give the limits too.
        reference: a file of :meth:`save_reference` instead of references.
        data_range: as in :class:`~torchmetrics_fmiqa.FeatureDistance`.
        crop_border: likewise.
        precision: likewise.
        tile_batch: likewise.
        validate: likewise.
        nan_strategy: likewise.
        kwargs: fields of :class:`~torchmetrics_fmiqa.Recipe` to override (``backbone=``, ``weights=`` ...),
            and options of ``torchmetrics.Metric``.

    Raises:
        ValueError: for invalid arguments, images, weights or references; the message names the value and the fix.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.

    >>> import torch
    >>> from torchmetrics_fmiqa import KernelFeatureDistance
    >>> metric = KernelFeatureDistance(kernel="rbf", sigma=10.0)
    >>> images = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> metric.update(0.2 * images, images)
    >>> bool(metric.compute() > 0)
    True
    """

    _kind = "features"

    def __init__(
        self,
        recipe: Recipe | NamedRecipe | str | Path = "default",
        tap: int | str | None = None,
        pool: Pool = "mean",
        unit: bool = False,
        kernel: KernelName = "polynomial",
        sigma: float = 10.0,
        scale: float = 1.0,
        unbiased: bool = True,
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
        self.kernel = Kernel(kernel, float(sigma))
        if not 0 < scale < float("inf"):
            raise ValueError(f"`scale` must be a positive number, got {scale!r}")
        self.scale, self.unbiased = float(scale), as_bool(unbiased, "unbiased")
        if self.interval and not self.unbiased:
            raise ValueError("`interval` is of the unbiased estimate: leave out unbiased=False")
        digest = self._state_digest()
        self._states: dict[str, str] = {side: f"{side}_features_{digest}" for side in ("preds", "target")}
        for name in self._states.values():
            self.add_state(name, [], dist_reduce_fx="cat")

    @classmethod
    def cmmd(
        cls, backbone: str = "vit_large_patch14_clip_quickgelu_336.openai", **kwargs: Any
    ) -> KernelFeatureDistance:
        """CMMD (Jayasumana et al., "Rethinking FID", CVPR 2024).

        The projected image embedding of CLIP ViT-L/14 at 336 x 336, scaled to length 1; the Gaussian kernel of width
        10; times 1,000. The estimate is the unbiased one. ``unbiased=False`` is that of the published code, which is
        higher by at most 20 / N + 20 / M for N images and M references.

        Args:
            backbone: name of a CLIP ViT in timm, whose tap ``"head"`` is the projection.
            kwargs: arguments of the metric, such as ``weights=FILE`` or ``interval=True``.

        >>> metric = KernelFeatureDistance.cmmd("vit_base_patch32_clip_quickgelu_224", weights="random:0")
        >>> metric.channels, metric.scale
        (512, 1000.0)
        """
        fields = {"normalization": "model", "resolution": "resize", "tile": 336 if "336" in backbone else 224}
        published = {"unit": True, "kernel": "rbf", "sigma": 10.0, "scale": 1000.0}
        return cls(Recipe(backbone, taps=["head"]), **{**published, **fields, **kwargs})

    def settings(self) -> dict[str, Any]:
        """What fixes the metric's number, by name, as plain values."""
        kernel = [self.kernel.name, self.kernel.sigma if self.kernel.name == "rbf" else None]
        return {**super().settings(), "kernel": kernel, "scale": self.scale, "unbiased": self.unbiased}

    def _features(self, side: Side) -> Tensor:
        if side == "target" and self._saved is not None:
            return self._saved.to(self.device, self._state_dtype)
        return self._joined(self._states[side]).reshape(-1, self.channels)

    def _keep(self, side: Side, features: Tensor) -> None:
        # One-dimensional lists: torchmetrics cannot gather others where a rank is empty.
        setattr(self, self._states[side], [*getattr(self, self._states[side]), features.flatten()])

    def _images(self, side: Side) -> int:
        return len(self._features(side))

    def _figure(self) -> SetFigure:
        sides = self._features("preds"), self._features("target")
        return kernel_figure(*sides, self.kernel, self.unbiased, self.interval)

    def _named(self, figure: SetFigure) -> list[tuple[str, float]]:
        return [(name, self.scale * getattr(figure, name)) for name in ("value", "low", "high")]

    def _of_references(self) -> Tensor:
        return self._features("target")
