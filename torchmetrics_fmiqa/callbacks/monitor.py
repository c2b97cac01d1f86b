"""ImageQualityMonitor: a Lightning callback that measures image quality without changes to the module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning_utilities.core.rank_zero import rank_zero_info, rank_zero_warn

from torchmetrics_fmiqa.arguments import as_bool, whole_number
from torchmetrics_fmiqa.callbacks.dataloader_evaluation import DataloaderEvaluation
from torchmetrics_fmiqa.callbacks.distributed_samples import DistributedSamples, joined_samples, running_loaders
from torchmetrics_fmiqa.callbacks.image_logging import WorstImageLogger
from torchmetrics_fmiqa.callbacks.image_sources import Source, check_predict, check_source, find_images, predict_images
from torchmetrics_fmiqa.callbacks.options import STAGES, check_stages
from torchmetrics_fmiqa.callbacks.serving import TrainerBinding, names_of_others
from torchmetrics_fmiqa.comparator import Images
from torchmetrics_fmiqa.features.image_checks import DataRange
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache
from torchmetrics_fmiqa.metrics.equal_settings import check_equal_settings
from torchmetrics_fmiqa.metrics.image_pair_metric import NanStrategy
from torchmetrics_fmiqa.monitoring.batch import as_pair
from torchmetrics_fmiqa.monitoring.evaluation import single_number
from torchmetrics_fmiqa.monitoring.metric_arguments import Metrics
from torchmetrics_fmiqa.monitoring.monitor import QualityMonitor, shape_of
from torchmetrics_fmiqa.monitoring.options import check_text
from torchmetrics_fmiqa.monitoring.ranks import gather_objects


class ImageQualityMonitor(Callback):
    """Measure image quality in validation and test, log it, and show the worst images.

    Add it to the callbacks of any ``Trainer``; the ``LightningModule`` needs no change. Each result is logged as
    ``<prefix><name>``, so that ``ModelCheckpoint`` and ``EarlyStopping`` can monitor it. With several dataloaders the
    name ends in ``/dataloader_idx_<i>``. ``<prefix>share_outside`` is the share of predicted values outside
    ``data_range``; of several monitors with the same prefix the first logs it.

    The sanity check logs nothing: it only checks that the images can be read from the step. With several ranks every
    sample counts once: the padding of a ``DistributedSampler`` is left out.

    What it measures is :class:`~torchmetrics_fmiqa.QualityMonitor`'s work, which takes the same options: ``metrics``,
    ``worst``, ``maps``, ``worst_by``, ``crop_border``, ``data_range``, ``nan_strategy``, ``cache_references``,
    ``cache_device`` and ``cache_dtype``.

    Args:
        metrics: a metric, the name of a recipe, or several of them.
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
        worst_by: name of the metric that ranks the images, see :class:`~torchmetrics_fmiqa.QualityMonitor`.
        worst_side: longest side of a shown image in pixels; larger ones are shrunk.
        crop_border: pixels to cut off each side before measuring.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        nan_strategy: ``"error"``, or ``"warn"`` or ``"ignore"`` to leave predictions that are not finite out and log
            ``<prefix>share_not_finite``.
        cache_references: memory for features of references, such as ``"8GiB"``; ``None`` for no cache.
        cache_device: device that keeps these features.
        cache_dtype: ``"float16"`` or ``"bfloat16"`` halve that memory and round the features; ``None`` is exact.
        reference_version: a text that names the current state of the references. With it, features are looked up by
            the sample's index and version, without reading the pixels. Change it whenever a reference changes.
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
        self._monitor = QualityMonitor(
            metrics,
            worst,
            worst_by,
            maps,
            crop_border,
            data_range,
            nan_strategy,
            cache_references,
            cache_device,
            cache_dtype,
            reference_version,
        )
        options = self._monitor.options
        self.metrics, self.worst, self.worst_by = options.metrics, options.worst, options.worst_by
        self.crop_border, self.data_range, self.nan_strategy = (
            options.crop_border,
            options.data_range,
            options.nan_strategy,
        )
        #: Features of references, or ``None``.
        self.cache: ReferenceCache | None = self._monitor.cache
        self.preds, self.target = check_source(preds, "preds"), check_source(target, "target")
        self.predict = check_predict(predict)
        self.stages = check_stages(stages)
        self.prefix = check_text(prefix, "prefix")
        self.every_n_epochs = whole_number(every_n_epochs, "every_n_epochs", 1)
        self.worst_side = whole_number(worst_side, "worst_side", 1)
        self.prog_bar = as_bool(prog_bar, "prog_bar")
        # Logged name of each metric -> its direction.
        self._higher = {name: metric.higher_is_better for name, metric in self.metrics.items(copy_state=False)}
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
        return self._monitor.options.shares

    # Lightning's hooks, in the order of a run

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Bind this monitor to a trainer.

        Raises:
            ValueError: if monitors log the same name, ranks differ in settings, or another trainer uses this monitor.
        """
        if self._trainer_binding.bind(trainer) and stage == "fit":
            self.best = {}  # the old values are from another training
        own = {name: getattr(self, name) for name in ("stages", "prefix", "every_n_epochs")}
        all_ranks = enumerate(gather_objects(own | self._monitor.options.settings()))
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
        return self._generate_state_key(
            prefix=self.prefix, stages=list(self.stages), metrics=list(self.metrics.keys(keep_base=True))
        )

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
            evaluation.start_epoch(known, pl_module.device)
        if self.cache is not None:
            self.cache.start_epoch()

    def _new_evaluation(self, stage: str, number: int, cache: ReferenceCache | None) -> DataloaderEvaluation:
        version = self._monitor.reference_version
        return DataloaderEvaluation(self._monitor.options, cache, version, (stage, number))

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
            evaluation.add_batch(preds, target, batch_idx)
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
            for name, value in evaluation.results().values.items():
                if name not in self._higher and name in self._logged_by_others[stage]:
                    continue
                self._log(trainer, pl_module, stage, name, suffix, value)
            if self.worst and trainer.loggers:
                drawer = self._monitor.options.drawer
                show = WorstImageLogger(self.worst_by, drawer, self.worst_side, self._warn_once, self._shown)
                show(evaluation.worst, evaluation.device, trainer, self.prefix_of(stage), stage, suffix)
        if self.cache is not None and self.cache.full:
            self._warn_once("cache", f"the references' features do not all fit: {self.describe_cache()}")

    def _log(self, trainer: Any, pl_module: Any, stage: str, name: str, suffix: str, value: Any) -> None:
        logged_name = self.prefix_of(stage) + name + suffix
        number = single_number(value)
        if number is None:
            message = f"{logged_name!r} is no single number but {shape_of(value)}, and is not logged"
            self._warn_once(logged_name, message)
            return
        # Every rank has the same value. A maximum over ranks keeps it to the last digit, a mean would not.
        pl_module.log(
            logged_name,
            number,
            on_step=False,
            on_epoch=True,
            prog_bar=self.prog_bar and not name.startswith("share_"),
            sync_dist=True,
            reduce_fx="max",
            add_dataloader_idx=False,
        )
        if trainer.state.fn == "fit" and self._higher.get(name) is not None:
            best = self.best.get(logged_name, {}).get("value")
            if number == number and (best is None or (number > best if self._higher[name] else number < best)):
                self.best[logged_name] = {"value": number, "epoch": trainer.current_epoch}

    def describe_cache(self) -> str:
        """State of the cache of references, in a line."""
        return "no cache" if self.cache is None else self.cache.describe()

    def _warn_once(self, key: str, message: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            rank_zero_warn(f"ImageQualityMonitor: {message}")
