"""SetDistance: what every metric between sets of images does, whatever distance it takes of their features."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.arguments import as_bool
from torchmetrics_fmiqa.comparator import FeatureComparator, Images, Precision
from torchmetrics_fmiqa.comparator.one_side import pooled_features
from torchmetrics_fmiqa.comparator.pooled_features import Pool, PooledFeatures, PooledRequest
from torchmetrics_fmiqa.comparator.preprocess import Side
from torchmetrics_fmiqa.data.opening import file_digest
from torchmetrics_fmiqa.distances.set_figures import SetFigure, few_images
from torchmetrics_fmiqa.features.image_checks import DataRange, data_limits, select_images
from torchmetrics_fmiqa.metrics.image_pair_metric import NanStrategy, PairMetric, finite_positions, served
from torchmetrics_fmiqa.metrics.metric_fields import MetricFields, split_fields
from torchmetrics_fmiqa.metrics.set_reference import read_reference, write_reference
from torchmetrics_fmiqa.recipes import NamedRecipe, Recipe, as_recipe


class SetDistance(PairMetric):
    """A distance between the set of preds and the set of targets, from one vector an image.

    In a :class:`~torchmetrics_fmiqa.FeatureMetricCollection` it shares the forward pass of the other members of its
    backbone. A subclass keeps what it needs of the features (:meth:`_keep`), says how many there are (:meth:`_images`)
    and makes its figure of them (:meth:`_figure`).

    Args: as in the subclasses.
    """

    higher_is_better = False
    scores_images = False
    #: What a saved reference holds.
    _kind = ""

    def __init__(
        self,
        recipe: Recipe | NamedRecipe | str | Path,
        tap: int | str | None,
        pool: Pool,
        unit: bool,
        interval: bool,
        reference: str | Path | None,
        data_range: DataRange,
        crop_border: int,
        precision: Precision,
        tile_batch: int,
        validate: bool,
        nan_strategy: NanStrategy,
        kwargs: MetricFields,
    ) -> None:
        options, fields = split_fields(kwargs)
        super().__init__("mean", data_range, crop_border, validate, nan_strategy, **options)
        self.interval = as_bool(interval, "interval")
        self.request = PooledRequest(as_recipe(recipe, **fields), tap, pool, unit)
        self.recipe = self.request.recipe
        self.comparator = FeatureComparator(self.request, precision=precision, tile_batch=tile_batch)
        self.channels = next(iter(self.comparator.backbone.channels.values()))
        self.reference = None if reference is None else str(reference)
        self._reference_digest = None if reference is None else file_digest(Path(reference))
        self._saved = None if reference is None else read_reference(reference, self._kind, self._reference_fields())

    def __repr__(self) -> str:
        """Show the recipe, the tap and the pooling when the metric is printed."""
        return f"{type(self).__name__}({self.recipe}, tap={self.request.tap!r}, pool={self.request.pool!r})"

    def settings(self) -> dict[str, Any]:
        """What fixes the metric's number, by name, as plain values."""
        return {
            "metric": type(self).__qualname__,
            **self.request.identity,
            "data_range": list(data_limits(self.data_range)),
            "crop_border": self.crop_border,
            "precision": self.comparator.precision,
            "nan_strategy": self.nan_strategy,
            "interval": self.interval,
            "reference": self._reference_digest,
        }

    def _state_digest(self) -> str:
        """Part of the states' names, so that a collection never merges metrics that measure differently."""
        settings = sorted((name, str(value)) for name, value in self.settings().items())
        return hashlib.sha256(str(settings).encode()).hexdigest()[:12]

    def _reference_fields(self) -> dict[str, Any]:
        """What features of references depend on, for the file that they are saved in."""
        return {
            "digest": self.request.digest,
            "features": self.request.identity,
            "crop_border": self.crop_border,
            "precision": self.comparator.precision,
        }

    def update(  # type: ignore[override]  # sets need no pairs
        self, preds: Images, target: Images | bool | None = None, *, real: bool | None = None
    ) -> None:
        """Add images of both sides, or of one alone.

        ``update(preds, target)`` adds both, ``update(images, real=True)`` references, ``update(images, real=False)``
        preds. Where the references are those of a file, ``update(preds)`` is enough.

        Raises:
            ValueError: for images that do not fit, where it is not clear whose images they are, and for references
                where those of a file were given.
        """
        if isinstance(target, bool) and real is None:  # as torchmetrics' FID has it
            target, real = None, target
        if isinstance(target, bool) or (target is not None and real is not None):
            raise ValueError("give `target`, or say whose images the first ones are by `real`, not both")
        if self._saved is not None and (target is not None or real):
            raise ValueError(f"the references are those of {self.reference}: give update(preds) alone")
        if target is None and real is None and self._saved is None:
            raise ValueError("whose images are these? Give update(images, real=True), real=False, or (preds, target)")
        if target is None:
            self._update_side(preds, "target" if real else "preds")
            return
        found: PooledFeatures | None
        _, found = served.get().get(id(self)) or self._measure(preds, target, None)
        if found is not None:
            self._keep("preds", self._own(found.preds))
            self._keep("target", self._own(found.target))

    def _update_side(self, images: Images, side: Side) -> None:
        kept = finite_positions(images, self.nan_strategy)
        if kept is not None:
            if not kept:
                return
            images = select_images(images, kept)
        options = (self.data_range, self.crop_border, self.validate)
        (features,) = pooled_features(self.comparator, images, side, *options)
        self._keep(side, self._own(features))

    def _own(self, features: Tensor) -> Tensor:
        return features.detach().to(self.device, self._state_dtype)

    def compute(self) -> Tensor | dict[str, Tensor]:
        """Return the distance over all images seen, see the class."""
        images = min(self._images("preds"), self._images("target"))
        text = few_images(images)
        if text:
            self._warn("few images", text)
        figure = self._figure()
        dtype = self.dtype if self.dtype == torch.float64 else torch.float32
        values = {name: torch.tensor(value, dtype=dtype, device=self.device) for name, value in self._named(figure)}
        return values if self.interval else values["value"]

    def save_reference(self, path: str | Path, overwrite: bool = False) -> None:
        """Save what is known of the references, for the ``reference`` argument of later metrics of equal features.

        Over all ranks; every rank must call it, and the first one writes.

        Args:
            path: a file name that ends in ``.safetensors``.
            overwrite: replace a file that exists.

        Raises:
            ValueError: for another ending, a file that exists, or fewer than two references.
        """
        with self.sync_context(should_sync=self.sync_on_compute, should_unsync=self.sync_on_compute):
            count = self._images("target")
            if count < 2:
                raise ValueError(f"there are {count} references to save: give update(images, real=True) first")
            fields = {**self._reference_fields(), "images": count}
            distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
            if not distributed or torch.distributed.get_rank() == 0:
                write_reference(path, self._kind, self._of_references(), fields, overwrite)

    def _keep(self, side: Side, features: Tensor) -> None:
        """Add features ``(N, C)`` to the state."""
        raise NotImplementedError

    def _images(self, side: Side) -> int:
        """How many images there are of a side."""
        raise NotImplementedError

    def _figure(self) -> SetFigure:
        raise NotImplementedError

    def _named(self, figure: SetFigure) -> list[tuple[str, float]]:
        """What :meth:`compute` gives of a figure."""
        raise NotImplementedError

    def _of_references(self) -> Tensor:
        """What is saved of the references."""
        raise NotImplementedError

    @property
    def _integer_lists(self) -> tuple[str, ...]:
        return ()
