"""Draw the worst images of an epoch side by side with heat maps, and send them to a trainer's loggers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchmetrics_fmiqa.callbacks.worst_images import WorstImage, WorstImages, collect
from torchmetrics_fmiqa.metrics.feature_distance import FeatureDistance
from torchmetrics_fmiqa.safe_write import atomic_write, make_folder


@dataclasses.dataclass(frozen=True)
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
        self, worst: WorstImages, device: torch.device, trainer: Any, prefix: str, stage: str, suffix: str
    ) -> None:
        """Draw the worst images and send them to the loggers. Every rank must call this; rank 0 draws and sends.

        Args:
            worst: this rank's candidates.
            device: device that computes the maps.
            trainer: the trainer that has the loggers.
            prefix: text before each name.
            stage: ``"val"`` or ``"test"``.
            suffix: text after the name, for several dataloaders.
        """
        images = collect([(place, self._with_heat(image, device)) for place, image in worst.chosen()])
        if not trainer.is_global_zero:
            return
        top, step = common_top(images), trainer.global_step
        folder = f"{prefix}{stage}-epoch={trainer.current_epoch:04d}-step={step}".lstrip("/")
        keys = [self._key(logger, f"{prefix}{stage}{suffix}", step) for logger in trainer.loggers]
        # Count runs before the first picture is sent, because two loggers may share a folder.
        runs = [self._run(logger, key, folder, suffix) for logger, key in zip(trainer.loggers, keys, strict=True)]
        self.times.update(zip(keys, runs, strict=True))
        for place, image in enumerate(images, 1):
            picture = side_by_side(image, self.side, top)
            caption = f"{image.name}, {self.ranking} {image.score:.6g}"
            file = f"{self.ranking}_worst_{place:02d}_{re.sub('[^0-9A-Za-z-]+', '_', image.name)}"
            for logger, run in zip(trainer.loggers, runs, strict=True):
                rerun = f"-{run}" if run > 1 else ""
                name = f"{prefix}worst{rerun}{suffix}/{self.ranking}/{place}"
                self._send(logger, name, picture, caption, step, f"{folder}{rerun}{suffix}/{file}")

    def _key(self, logger: Any, name: str, step: int) -> tuple[str, ...]:
        return type(logger).__name__, str(logger.name), str(logger.version), name, str(step)

    def _run(self, logger: Any, key: tuple[str, ...], folder: str, suffix: str) -> int:
        """Number of this evaluation at the step, from 1: by this process, and by the pictures that the logger has."""
        run = self.times.get(key, 0) + 1
        try:
            while is_taken(logger, f"{folder}{f'-{run}' if run > 1 else ''}{suffix}/{self.ranking}_worst_"):
                run += 1
        except Exception as error:
            self._failed(logger, error)
        return run

    def _send(self, logger: Any, *arguments: Any) -> None:
        try:
            log_picture(logger, *arguments)
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
        except Exception as error:  # do not raise: the other ranks are waiting
            self.warn("maps", f"the heat maps could not be drawn, training goes on: {error!r}")
            return image


_CAPTION = 22  # pixels for the line of text above a panel
_GAP = 4


def side_by_side(image: WorstImage, side: int, top: float) -> np.ndarray[Any, Any]:
    """Draw one of the worst images.

    Args:
        image: what to draw.
        side: the longest side of a panel in pixels; larger images are shrunk.
        top: value of the brightest colour of the heat map.

    Returns:
        ``(h, w, 3)``, uint8.
    """
    from PIL import Image, ImageDraw, ImageFont

    panels = {"reference": image.target, f"{image.name}: {image.score:.4g}": image.preds}
    if image.heat is not None:
        panels[f"heat, 0 to {top:.3g}"] = heat_over(image.preds, image.heat, top)
    pictures = [Image.fromarray(panel.permute(1, 2, 0).numpy()) for panel in panels.values()]
    scale = min(1.0, side / max(pictures[0].size))
    width, height = (max(1, round(length * scale)) for length in pictures[0].size)
    step = max(width, 110) + _GAP  # at least the width of a caption
    canvas = Image.new("RGB", (step * len(pictures) - _GAP, height + _CAPTION), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for column, (caption, picture) in enumerate(zip(panels, pictures, strict=True)):
        if scale < 1:
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        canvas.paste(picture, (column * step, _CAPTION))
        draw.text((column * step + 2, 3), caption, fill="black", font=font)
    return np.asarray(canvas)


def heat_over(image: Tensor, heat: Tensor, top: float) -> Tensor:
    """Blend a coloured map ``(H, W)`` with a grey copy of its image ``(3, H, W)``; uint8."""
    from kornia.color import ColorMap, apply_colormap

    grey = image.float().mean(0, keepdim=True) / 255
    shades = (heat.float() / max(top, 1e-12)).clamp(0, 1)[None, None]
    colours = apply_colormap((shades * 255).round().to(torch.uint8), ColorMap("plasma", 256))[0]
    blended: Tensor = (0.3 * grey + 0.7 * colours) * 255
    return blended.round().to(torch.uint8)


def common_top(images: list[WorstImage]) -> float:
    """The common scale of an epoch's heat maps: the highest of their 99.5th percentiles."""
    heats = [image.heat.float().flatten() for image in images if image.heat is not None]
    # torch.quantile takes no more than 16 million values.
    return max((float(torch.quantile(heat[:: heat.numel() // 1_000_000 + 1], 0.995)) for heat in heats), default=0.0)


def is_taken(logger: Any, start: str) -> bool:
    """Whether a logger that stores pictures as files has one whose path starts with ``start``."""
    if hasattr(logger, "log_image"):
        return False
    experiment, folder = logger.experiment, Path(start).parent
    if hasattr(logger, "run_id") and hasattr(experiment, "list_artifacts"):  # MLflow
        names = [entry.path for entry in experiment.list_artifacts(logger.run_id, folder.as_posix())]
    elif any(hasattr(experiment, method) for method in ("add_image", "log_image")) or logger.log_dir is None:
        return False
    else:
        names = [path.name for path in (Path(logger.log_dir) / folder).glob("*")]
    return any(Path(name).name.startswith(Path(start).name) for name in names)


def log_picture(logger: Any, name: str, picture: np.ndarray[Any, Any], caption: str, step: int, file: str) -> None:
    """Log a picture.

    Weights & Biases, TensorBoard, MLflow and Comet have methods for it. For other loggers with a folder, such as
    CSVLogger, it is written as a PNG file.

    Args:
        logger: a Lightning logger.
        name: name of the picture, equal from step to step.
        picture: ``(h, w, 3)``, uint8.
        caption: a line of text.
        step: the trainer's step.
        file: path within the logger's folder, without the extension.
    """
    if hasattr(logger, "log_image"):  # Weights & Biases
        logger.log_image(key=name, images=[picture], caption=[caption], step=step)
        return
    experiment = logger.experiment
    if hasattr(experiment, "add_image"):  # TensorBoard
        experiment.add_image(name, picture, step, dataformats="HWC")
    elif hasattr(logger, "run_id") and hasattr(experiment, "log_image"):  # MLflow
        experiment.log_image(logger.run_id, picture, artifact_file=f"{file}.png")
    elif hasattr(experiment, "log_image"):  # Comet
        experiment.log_image(picture, name=name, step=step)
    elif logger.log_dir is not None:
        _write_png(Path(logger.log_dir) / f"{file}.png", picture)


def _write_png(path: Path, picture: np.ndarray[Any, Any]) -> None:
    from PIL import Image

    make_folder(path.parent)
    with atomic_write(path) as draft:
        Image.fromarray(picture).save(draft, "PNG")
