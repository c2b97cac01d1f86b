"""ImageQualityMonitor: a Lightning callback that measures image quality without changes to the module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning_utilities.core.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor

from torchmetrics_fmiqa.arguments import as_bool, whole_number
from torchmetrics_fmiqa.callbacks.dataloader_evaluation import DataloaderEvaluation
from torchmetrics_fmiqa.callbacks.distributed_samples import DistributedSamples, joined_samples, running_loaders
from torchmetrics_fmiqa.callbacks.image_logging import WorstImageLogger
from torchmetrics_fmiqa.callbacks.image_sources import (
    Source,
    as_pair,
    check_predict,
    check_source,
    find_images,
    predict_images,
)
from torchmetrics_fmiqa.callbacks.metric_arguments import Metrics, as_collection, drawing_metric, ranking_metric
from torchmetrics_fmiqa.callbacks.options import STAGES, check_device, check_dtype, check_stages, check_text
from torchmetrics_fmiqa.callbacks.ranks import gather_objects
from torchmetrics_fmiqa.callbacks.serving import TrainerBinding, names_of_others
from torchmetrics_fmiqa.callbacks.worst_images import WorstImages
from torchmetrics_fmiqa.comparator import Images
from torchmetrics_fmiqa.features.image_checks import DataRange, data_limits
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache
from torchmetrics_fmiqa.metrics.equal_settings import check_equal_settings
from torchmetrics_fmiqa.metrics.image_pair_metric import NanStrategy, PairMetric, check_nan_strategy


class ImageQualityMonitor(Callback):
    """Measure image quality in validation and test, log it, and show the worst images.

    Add it to the callbacks of any ``Trainer``; the ``LightningModule`` needs no change. Each result is logged as
    ``<prefix><name>``, so that ``ModelCheckpoint`` and ``EarlyStopping`` can monitor it. With several dataloaders the
    name ends in ``/dataloader_idx_<i>``. ``<prefix>share_outside`` is the share of predicted values outside
    ``data_range``; of several monitors with the same prefix the first logs it.

    The sanity check logs nothing: it only checks that the images can be read from the step. With several ranks every
    sample counts once: the padding of a ``DistributedSampler`` is left out.

    Args:
        metrics: a ``torchmetrics.Metric`` of ``(preds, target)``, a ``MetricCollection``, the name of a recipe (or a
            :class:`~torchmetrics_fmiqa.Recipe`), a list of these, or a dict of them by name. Members with the same
            backbone share its forward pass.
        preds: source of the images under test: a key of the step's output or else of the batch, the index of a tuple
            batch, or a callable ``(outputs, batch) -> images``. Images are ``(N, 3, H, W)`` or a list of ``(3, H, W)``.
        target: source of the references, in the same forms.
        predict: ``callable(pl_module, batch) -> images`` for modules whose step returns no images. It runs in
            evaluation mode, without gradient, under the trainer's own precision.
        stages: ``"val"``, ``"test"`` or both.
        prefix: text before every name; ``{stage}`` in it becomes the stage.
        every_n_epochs: measure in every n-th epoch of training.
        worst: number of worst images to show, over all ranks: reference, prediction and heat map side by side. They go
            to TensorBoard, Weights & Biases, MLflow or Comet, else to PNG files in the logger's folder.
        maps: draw the heat maps.
        worst_by: metric that ranks the images; by default the first of features, else the first with a direction.
        worst_side: longest side of a shown image in pixels; larger ones are shrunk.
        crop_border: pixels to cut off each side before measuring, as is usual in super-resolution.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``. Metrics
            that are given as objects have a range of their own.
        nan_strategy: treatment of predictions with NaN or infinite values: ``"error"``, or ``"warn"`` or ``"ignore"``
            to leave them out and log ``<prefix>share_not_finite``.
        cache_references: memory for features of references, such as ``"8GiB"``; ``None`` for no cache.
        cache_device: device that keeps these features.
        cache_dtype: ``"float16"`` or ``"bfloat16"`` halve that memory and round the features; ``None`` is exact.
        reference_version: a text that names the current state of the references. With it, features are looked up by
            sample and version, without reading the pixels. Use it on a GPU, and change it whenever a reference or its
            preparation changes. Without it the look-up is by pixels, so that no change is missed.
        prog_bar: show the metrics in the progress bar.

    Raises:
        ValueError: for invalid arguments; during a run, for images that are absent or invalid.

    >>> from torchmetrics.image import PeakSignalNoiseRatio
    >>> from torchmetrics_fmiqa import FeatureDistance, ImageQualityMonitor
    >>> metrics = {"distance": FeatureDistance(), "psnr": PeakSignalNoiseRatio(data_range=1.0)}
    >>> ImageQualityMonitor(metrics, target=1).names("val")
    ['quality/distance', 'quality/psnr']
    """

    def __init__(
        self,
        metrics: Metrics = "default",
        preds: Source = "preds",
        target: Source = "target",
        predict: Callable[..., Any] | None = None,
        stages: Sequence[str] = STAGES,
        prefix: str = "quality/",
        every_n_epochs: int = 1,
        worst: int = 8,
        maps: bool = True,
        worst_by: str | None = None,
        worst_side: int = 512,
        crop_border: int = 0,
        data_range: DataRange = 1.0,
        nan_strategy: NanStrategy = "error",
        cache_references: int | str | None = None,
        cache_device: torch.device | str = "cpu",
        cache_dtype: torch.dtype | str | None = None,
        reference_version: str | None = None,
        prog_bar: bool = False,
    ) -> None:
        super().__init__()
        self.data_range = data_limits(data_range)
        self.metrics = as_collection(metrics, data_range)
        self.preds, self.target = check_source(preds, "preds"), check_source(target, "target")
        self.predict = check_predict(predict)
        self.stages = check_stages(stages)
        self.prefix = check_text(prefix, "prefix")
        self.every_n_epochs = whole_number(every_n_epochs, "every_n_epochs", 1)
        self.worst = whole_number(worst, "worst", 0)
        self.worst_side = whole_number(worst_side, "worst_side", 1)
        self.crop_border = whole_number(crop_border, "crop_border", 0)
        self.nan_strategy = check_nan_strategy(nan_strategy)
        self.prog_bar = as_bool(prog_bar, "prog_bar")
        maps = as_bool(maps, "maps")
        # Logged name of each metric -> its direction.
        self._higher = {name: m.higher_is_better for name, m in self.metrics.items(copy_state=False)}
        self._members = dict(self.metrics.items(keep_base=True, copy_state=False))
        self.worst_by = ranking_metric(self._members, worst_by, self.worst > 0)
        self._drawer = drawing_metric(self._members, self.worst_by) if maps and self.worst else None
        #: Features of references, or ``None``.
        self.cache: ReferenceCache | None = None
        if cache_references is not None:
            self.cache = ReferenceCache(cache_references, check_device(cache_device), check_dtype(cache_dtype))
            if not any(isinstance(metric, PairMetric) for metric in self._members.values()):
                raise ValueError("`cache_references` keeps features, but no metric has any: leave it out")
        elif reference_version is not None or cache_dtype is not None:
            raise ValueError("`reference_version` and `cache_dtype` belong to `cache_references`, which is None")
        self.reference_version = (
            None if reference_version is None else check_text(reference_version, "reference_version")
        )
        #: Name -> best value in the validation of a training, and its epoch.
        self.best: dict[str, dict[str, float]] = {}
        self._evaluations: dict[str, list[DataloaderEvaluation]] = {}
        self._logged_by_others: dict[str, set[str]] = {stage: set() for stage in self.stages}
        self._warned: set[str] = set()
        self._shown: dict[tuple[str, ...], int] = {}
        self._rehearsed: set[int] = set()  # dataloaders that the sanity check has measured
        self._trainer_binding = TrainerBinding()

    def names(self, stage: str = "val") -> list[str]:
        """Logged names of the metrics, without the suffix of a dataloader or of a dict's keys."""
        return [f"{self.prefix_of(stage)}{name}" for name, _ in self.metrics.items(copy_state=False)]

    def prefix_of(self, stage: str) -> str:
        """The text before every name in a stage."""
        return self.prefix.replace("{stage}", stage)

    def shares(self) -> list[str]:
        """Names of the shares that are logged beside the metrics, without the prefix."""
        return ["share_outside"] if self.nan_strategy == "error" else ["share_outside", "share_not_finite"]

    # Lightning's hooks, in the order of a run

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Bind this monitor to a trainer.

        Raises:
            ValueError: if monitors log the same name, ranks differ in settings, or another trainer uses this monitor.
        """
        if self._trainer_binding.bind(trainer) and stage == "fit":
            self.best = {}  # the old values are from another training
        names = ("stages", "prefix", "every_n_epochs", "worst", "worst_by", "crop_border", "data_range", "nan_strategy")
        settings = {name: getattr(self, name) for name in names} | {"maps": self._drawer is not None}
        all_ranks = enumerate(gather_objects(settings | self.metrics.settings()))
        check_equal_settings({f"rank {rank}": own for rank, own in all_ranks}, "Give every rank the same monitor.")
        monitors = [callback for callback in trainer.callbacks if isinstance(callback, ImageQualityMonitor)]
        self._logged_by_others = names_of_others(self, monitors)

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start an epoch of validation."""
        self._start(trainer, pl_module, "val")

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start an epoch of test."""
        self._start(trainer, pl_module, "test")

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Count a batch of validation."""
        self._add(trainer, pl_module, "val", outputs, batch, batch_idx, dataloader_idx)

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Count a batch of test."""
        self._add(trainer, pl_module, "test", outputs, batch, batch_idx, dataloader_idx)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log an epoch of validation."""
        self._end(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log an epoch of test."""
        self._end(trainer, pl_module, "test")

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Release the epoch's states. Backbones stay for others that share them, such as a loss."""
        if self._release(trainer) and self.cache is not None and self.cache.report()["wanted_bytes"]:
            rank_zero_info(f"references' features: {self.describe_cache()}")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Release the epoch's states."""
        self._release(trainer)

    @property
    def state_key(self) -> str:
        """Key of this monitor's state in a checkpoint."""
        return self._generate_state_key(prefix=self.prefix, stages=list(self.stages), metrics=list(self._members))

    def state_dict(self) -> dict[str, Any]:
        """The best values so far, as numbers."""
        return {"best": {name: dict(entry) for name, entry in self.best.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best values of a checkpoint."""
        self.best = {name: dict(entry) for name, entry in state_dict["best"].items()}

    # The work of the hooks

    def _release(self, trainer: Any) -> bool:
        was_bound = self._trainer_binding.release(trainer)
        if was_bound:  # a trainer that was refused must not clear the states of the running one
            self._evaluations, self._rehearsed = {}, set()
        return was_bound

    def _active(self, trainer: Any, stage: str) -> bool:
        if stage not in self.stages:
            return False
        # As ModelCheckpoint counts, so that the two meet in the same epochs.
        return bool(trainer.state.fn != "fit" or (trainer.current_epoch + 1) % self.every_n_epochs == 0)

    def _start(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if trainer.sanity_checking or not self._active(trainer, stage):
            return
        loaders, one_stream = running_loaders(trainer, stage)
        world = trainer.world_size
        samples = (
            [joined_samples(loaders, world)]
            if one_stream
            else [DistributedSamples(loader, world) for loader in loaders]
        )
        evaluations = self._evaluations.setdefault(stage, [])
        if len(evaluations) != len(samples):
            evaluations[:] = [self._new_evaluation(stage, number, self.cache) for number in range(len(samples))]
        for evaluation, known in zip(evaluations, samples, strict=True):
            evaluation.start(known, pl_module.device)
        if self.cache is not None:
            self.cache.start_epoch()

    def _new_evaluation(self, stage: str, number: int, cache: ReferenceCache | None) -> DataloaderEvaluation:
        higher = bool(self._members[self.worst_by].higher_is_better)
        # trainer.validate and trainer.test run in inference mode, whose tensors could not be updated later.
        with torch.inference_mode(False):
            return DataloaderEvaluation(
                self.metrics.clone(),  # type: ignore[arg-type]
                WorstImages(self.worst, higher),
                self.worst_by,
                self.data_range,
                self.crop_border,
                self.nan_strategy,
                cache,
                self.reference_version,
                (stage, number),
            )

    def _add(
        self, trainer: Any, pl_module: Any, stage: str, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int
    ) -> None:
        if trainer.sanity_checking and stage in self.stages:
            # Find mistakes now, not after an epoch of training. Use target only: the network is untrained.
            _, target = self._find_pair(trainer, pl_module, outputs, batch)
            if dataloader_idx not in self._rehearsed:
                self._rehearsed.add(dataloader_idx)
                self._new_evaluation(stage, dataloader_idx, None).rehearse(target, pl_module.device)
        elif self._active(trainer, stage):
            preds, target = self._find_pair(trainer, pl_module, outputs, batch)
            evaluation = self._evaluations[stage][dataloader_idx]
            evaluation.add(preds, target, batch_idx)
            if not evaluation.samples.certain:
                self._warn_once(
                    "sampler",
                    "the dataloader's sampler does not tell which samples of a rank are padding, so all are counted: a "
                    "torch DistributedSampler (Lightning's own choice) with one image a sample is counted exactly",
                )

    def _find_pair(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any) -> tuple[Images, Images]:
        target = find_images(self.target, "target", outputs, batch)
        if self.predict is None:
            preds = find_images(self.preds, "preds", outputs, batch)
        else:
            preds = predict_images(self.predict, trainer, pl_module, batch)
        return as_pair(preds, target)

    def _end(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if trainer.sanity_checking or not self._active(trainer, stage):
            return
        evaluations = self._evaluations[stage]
        for number, evaluation in enumerate(evaluations):
            suffix = f"/dataloader_idx_{number}" if len(evaluations) > 1 else ""
            for name, value in evaluation.values().items():
                if name not in self._higher and name in self._logged_by_others[stage]:
                    continue
                self._log(trainer, pl_module, stage, name, suffix, value)
            if self.worst and trainer.loggers:
                show = WorstImageLogger(self.worst_by, self._drawer, self.worst_side, self._warn_once, self._shown)
                show(evaluation.worst, evaluation.count.device, trainer, self.prefix_of(stage), stage, suffix)
        if self.cache is not None and self.cache.full:
            self._warn_once("cache", f"the references' features do not all fit: {self.describe_cache()}")

    def _log(self, trainer: Any, pl_module: Any, stage: str, name: str, suffix: str, value: Any) -> None:
        logged_name = self.prefix_of(stage) + name + suffix
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            self._warn_once(logged_name, f"{logged_name!r} is no single number but {shape}, and is not logged")
            return
        # Every rank has the same value. A maximum over ranks keeps it to the last digit, a mean would not.
        pl_module.log(
            logged_name,
            value.detach().reshape(()),
            on_step=False,
            on_epoch=True,
            prog_bar=self.prog_bar and not name.startswith("share_"),
            sync_dist=True,
            reduce_fx="max",
            add_dataloader_idx=False,
        )
        if trainer.state.fn == "fit" and self._higher.get(name) is not None:
            number, best = float(value), self.best.get(logged_name, {}).get("value")
            if number == number and (best is None or (number > best if self._higher[name] else number < best)):
                self.best[logged_name] = {"value": number, "epoch": trainer.current_epoch}

    def describe_cache(self) -> str:
        """State of the cache of references, in a line."""
        return "no cache" if self.cache is None else self.cache.describe()

    def _warn_once(self, key: str, message: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            rank_zero_warn(f"ImageQualityMonitor: {message}")
