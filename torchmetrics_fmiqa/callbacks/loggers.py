"""Send a picture to whatever logger a trainer has. Loggers are told by what they offer, so none is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from torchmetrics_fmiqa.safe_write import make_folder, whole_file


def is_taken(logger: Any, start: str) -> bool:
    """Whether a logger that keeps pictures by their names has one whose name starts so."""
    if hasattr(logger, "log_image"):
        return False
    experiment, folder = logger.experiment, Path(start).parent
    if hasattr(logger, "run_id") and hasattr(experiment, "list_artifacts"):  # MLflow
        names = [entry.path for entry in experiment.list_artifacts(logger.run_id, folder.as_posix())]
    elif any(hasattr(experiment, taker) for taker in ("add_image", "log_image")) or logger.log_dir is None:
        return False
    else:
        names = [path.name for path in (Path(logger.log_dir) / folder).glob("*")]
    return any(Path(name).name.startswith(Path(start).name) for name in names)


def log_picture(logger: Any, name: str, picture: np.ndarray[Any, Any], caption: str, step: int, file: str) -> None:
    """Log one picture.

    Weights & Biases, TensorBoard, MLflow and Comet take it themselves; beside any other logger that has a folder (as
    CSVLogger) it becomes a PNG file.

    Args:
        logger: a Lightning logger.
        name: name of the picture, equal from step to step.
        picture: ``(h, w, 3)``, uint8.
        caption: a line of text.
        step: the trainer's step.
        file: where it goes below a folder, without the extension.
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
    with whole_file(path) as draft:
        Image.fromarray(picture).save(draft, "PNG")
