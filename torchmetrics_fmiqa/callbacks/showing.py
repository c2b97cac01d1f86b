"""Show the worst images of an epoch: draw them and send them to a trainer's loggers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import torch

from torchmetrics_fmiqa.callbacks.loggers import is_taken, log_picture
from torchmetrics_fmiqa.callbacks.pictures import common_top, side_by_side
from torchmetrics_fmiqa.callbacks.worst import WorstImage, WorstImages, collect
from torchmetrics_fmiqa.metrics.feature_distance import FeatureDistance


@dataclasses.dataclass(frozen=True)
class Show:
    """How the worst images are shown.

    Args:
        ranking: name of the metric that they are the worst by.
        drawer: the metric whose maps are drawn, or ``None`` for no maps.
        side: longest side of a shown image in pixels.
        times: how often images were shown at one step, by logger and name; counted on here.
        warn: called with what went wrong, and what to say of it: nothing here is worth a training run.
    """

    ranking: str
    drawer: FeatureDistance | None
    side: int
    warn: Callable[[str, str], None]
    times: dict[tuple[str, ...], int]

    def __call__(
        self, worst: WorstImages, device: torch.device, trainer: Any, prefix: str, stage: str, suffix: str
    ) -> None:
        """Draw the worst images and send them to the loggers. Every rank takes part; rank 0 draws and sends.

        Args:
            worst: this rank's candidates.
            device: where the maps are measured.
            trainer: whose loggers they go to.
            prefix: in front of each name.
            stage: ``"val"`` or ``"test"``.
            suffix: behind the name, where there are several dataloaders.
        """
        images = collect([(place, self._with_heat(image, device)) for place, image in worst.chosen()])
        if not trainer.is_global_zero:
            return
        top, step = common_top(images), trainer.global_step
        folder = f"{prefix}{stage}-epoch={trainer.current_epoch:04d}-step={step}".lstrip("/")
        keys = [self._key(logger, f"{prefix}{stage}{suffix}", step) for logger in trainer.loggers]
        # All before the first picture is sent: two loggers may share a folder.
        runs = [self._run(*one, folder, suffix) for one in zip(trainer.loggers, keys, strict=True)]
        self.times.update(zip(keys, runs, strict=True))
        for place, image in enumerate(images, 1):
            picture = side_by_side(image, self.side, top)
            caption = f"{image.name}, {self.ranking} {image.score:.6g}"
            file = f"{self.ranking}_worst_{place:02d}_{re.sub('[^0-9A-Za-z-]+', '_', image.name)}"
            for logger, run in zip(trainer.loggers, runs, strict=True):
                again = f"-{run}" if run > 1 else ""
                name = f"{prefix}worst{again}{suffix}/{self.ranking}/{place}"
                self._send(logger, name, picture, caption, step, f"{folder}{again}{suffix}/{file}")

    def _key(self, logger: Any, shown: str, step: int) -> tuple[str, ...]:
        return type(logger).__name__, str(logger.name), str(logger.version), shown, str(step)

    def _run(self, logger: Any, key: tuple[str, ...], folder: str, suffix: str) -> int:
        """Which evaluation at one step this is, 1 for the first: in this process, or by what the logger has already."""
        run = self.times.get(key, 0) + 1
        try:
            while is_taken(logger, f"{folder}{f'-{run}' if run > 1 else ''}{suffix}/{self.ranking}_worst_"):
                run += 1
        except Exception as error:
            self._failed(logger, error)
        return run

    def _send(self, logger: Any, *picture: Any) -> None:
        try:
            log_picture(logger, *picture)
        except Exception as error:
            self._failed(logger, error)

    def _failed(self, logger: Any, error: Exception) -> None:
        kind = type(logger).__name__
        self.warn(kind, f"{kind} did not take a picture, training goes on: {error!r}")

    def _with_heat(self, image: WorstImage, device: torch.device) -> WorstImage:
        if self.drawer is None:
            return image
        try:
            preds, target = (side[None].to(device) for side in (image.preds, image.target))
            heat = next(iter(self.drawer.comparator.maps(preds, target).values()))["score"]
            return dataclasses.replace(image, heat=heat[0, 0].to("cpu", torch.float16))
        except Exception as error:  # the other ranks are waiting
            self.warn("maps", f"the heat maps could not be drawn, training goes on: {error!r}")
            return image
