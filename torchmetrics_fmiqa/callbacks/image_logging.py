"""Send the worst images of an epoch to a trainer's loggers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from torchmetrics_fmiqa.metrics.feature_distance import FeatureDistance
from torchmetrics_fmiqa.monitoring.report_logging import draw, file_start, free_run, suffix
from torchmetrics_fmiqa.monitoring.worst_images import WorstImages, gather_worst
from torchmetrics_fmiqa.monitoring.writers import Entry, logger_writer


@dataclass(frozen=True)
class WorstImageLogger:
    """Draws the worst images and sends them to loggers; an error becomes a warning, so that training goes on.

    Args:
        ranking: name of the metric that ranks the images.
        drawer: the metric whose maps are drawn, or ``None`` for no maps.
        side: longest side of a shown image in pixels.
        warn: callable ``(kind, message)`` for warnings.
        times: logger, name and step -> how often images were shown there; updated here.
    """

    ranking: str
    drawer: FeatureDistance | None
    side: int
    warn: Callable[[str, str], None]
    times: dict[tuple[str, ...], int]

    def __call__(
        self, worst: WorstImages, device: torch.device, trainer: Any, prefix: str, stage: str, end: str
    ) -> None:
        """Draw the worst images and send them to the loggers. Every rank must call this; rank 0 draws and sends.

        Args:
            worst: this rank's candidates.
            device: device that computes the maps.
            trainer: the trainer that has the loggers.
            prefix: text before each name.
            stage: ``"val"`` or ``"test"``.
            end: text after the name, for several dataloaders.
        """
        images = gather_worst(worst, self.drawer, device, self.warn)
        if not trainer.is_global_zero:
            return
        step = trainer.global_step
        folder = f"{prefix}{stage}-epoch={trainer.current_epoch:04d}-step={step}".lstrip("/")
        pictures = draw(images, self.ranking, self.side)
        keys = [self._key(logger, f"{prefix}{stage}{end}", step) for logger in trainer.loggers]
        # Count runs before the first picture is sent, because two loggers may share a folder.
        runs = [self._run(logger, key, folder, end) for logger, key in zip(trainer.loggers, keys, strict=True)]
        self.times.update(zip(keys, runs, strict=True))
        for logger, run in zip(trainer.loggers, runs, strict=True):
            again = suffix(run)
            self._send(logger, Entry({}, pictures, step, f"{prefix}worst{again}{end}", f"{folder}{again}{end}"))

    def _key(self, logger: Any, name: str, step: int) -> tuple[str, ...]:
        return type(logger).__name__, str(logger.name), str(logger.version), name, str(step)

    def _run(self, logger: Any, key: tuple[str, ...], folder: str, end: str) -> int:
        """Number of this evaluation at the step, from 1: by this process, and by the pictures that the logger has."""
        run = self.times.get(key, 0) + 1
        try:
            return free_run(logger_writer(logger), folder, f"{end}/{file_start(self.ranking)}", run)
        except Exception as error:
            self._failed(logger, error)
            return run

    def _send(self, logger: Any, entry: Entry) -> None:
        try:
            logger_writer(logger).write(entry)
        except Exception as error:
            self._failed(logger, error)

    def _failed(self, logger: Any, error: Exception) -> None:
        kind = type(logger).__name__
        self.warn(kind, f"{kind} did not take a picture, training goes on: {error!r}")
