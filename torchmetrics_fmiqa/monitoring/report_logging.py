"""Send a report to whatever a run is watched with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torchmetrics_fmiqa.monitoring.drawing import side_by_sides
from torchmetrics_fmiqa.monitoring.options import check_text
from torchmetrics_fmiqa.monitoring.ranks import own_rank
from torchmetrics_fmiqa.monitoring.report import QualityReport
from torchmetrics_fmiqa.monitoring.worst_images import WorstImage
from torchmetrics_fmiqa.monitoring.writers import Entry, Picture, Writer, writers_of


def log_report(
    report: QualityReport, to: Any, step: int | None = None, prefix: str = "quality/", side: int = 512
) -> None:
    """Write a report's numbers and worst images to whatever a run is watched with.

    Every rank may call this; rank 0 writes. Numbers are named ``<prefix><name>``, pictures
    ``<prefix>worst/<metric>/<place>``. Weights & Biases and trackio get a table ``<prefix>worst_images`` too. In a
    folder, and in MLflow, pictures are PNG files below ``<prefix>step=<step>``; in a folder ``report.json`` has the
    numbers. Files that are there stay: a second report of a step goes beside the first, to a folder with ``-2``.

    Args:
        report: what :meth:`~torchmetrics_fmiqa.QualityMonitor.report` returned.
        to: a folder; a ``SummaryWriter``; ``wandb`` or a run of it; ``trackio`` or a run of it; ``mlflow`` or a run of
            it; an experiment of Comet; a logger of Lightning; an ``accelerate.Accelerator``, for all its trackers, or
            one of them; or a list of these.
        step: the step of the training; ``None`` for the writer's own count.
        prefix: text before every name.
        side: the longest side of an image in a picture, in pixels; larger ones are shrunk.

    Raises:
        ValueError: if ``to`` is none of these, or has no run.

    >>> from tempfile import mkdtemp
    >>> folder = mkdtemp()
    >>> log_report(QualityReport({"vit": 0.25}, (), "vit", 2), folder, step=3)
    >>> from pathlib import Path
    >>> [path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.json")]
    ['quality/step=3/report.json']
    """
    check_text(prefix, "prefix")
    if own_rank():
        return
    images, ranking = report.worst, report.worst_by
    pictures = draw(images, ranking, side)
    folder = f"{prefix}{'report' if step is None else f'step={step}'}".lstrip("/")
    numbers = {f"{prefix}{name}": value for name, value in report.numbers.items()}
    for writer in writers_of(to):
        again = suffix(free_run(writer, folder, "/"))
        writer.write(Entry(numbers, pictures, step, f"{prefix}worst", f"{folder}{again}", f"{prefix}worst_images"))


def draw(images: Sequence[WorstImage], ranking: str, side: int) -> list[Picture]:
    """Draw images side by side.

    Args:
        images: the worst one first.
        ranking: name of the metric that ranks them.
        side: the longest side of an image in pixels.
    """
    return [
        Picture(
            f"{ranking}/{place}",
            f"{file_start(ranking)}{place:02d}_{_in_a_path(image.name)}",
            picture,
            f"{image.name}, {ranking} {image.score:.6g}",
            {"place": place, "id": str(image.id), ranking: image.score},
        )
        for place, (image, picture) in enumerate(zip(images, side_by_sides(images, side), strict=True), 1)
    ]


def file_start(ranking: str) -> str:
    """What the names of the files of pictures start with.

    >>> file_start("lpips/vgg")
    'lpips_vgg_worst_'
    """
    return f"{_in_a_path(ranking)}_worst_"


def _in_a_path(name: str) -> str:
    return re.sub("[^0-9A-Za-z-]+", "_", name)


def free_run(writer: Writer, folder: str, start: str, run: int = 1) -> int:
    """The number of the first run, counted from ``run``, that has no files in a writer yet.

    Args:
        writer: the writer.
        folder: path of the first run's folder.
        start: what the path of a file goes on with behind the folder of a run.
        run: the first number.
    """
    while writer.is_taken(f"{folder}{suffix(run)}{start}"):
        run += 1
    return run


def suffix(run: int) -> str:
    """What tells a later run from the first in a name."""
    return f"-{run}" if run > 1 else ""
