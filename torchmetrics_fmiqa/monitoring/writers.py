"""Write numbers and pictures to whatever a run is watched with.

The packages of the writers are imported only if an object of theirs was given.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from torchmetrics_fmiqa.arguments import short_repr
from torchmetrics_fmiqa.data.tables import json_value
from torchmetrics_fmiqa.safe_write import atomic_write, make_folder, write_text

#: What :func:`writers_of` takes, for messages.
TAKEN = (
    "a folder, a SummaryWriter, a run of Weights & Biases or trackio, `mlflow` or one of its runs, an experiment of "
    "Comet, a logger of Lightning, an accelerate.Accelerator or one of its trackers, or a list of these"
)


class Picture(NamedTuple):
    """A picture of one of the worst images.

    Args:
        name: metric and place.
        file: name of its file, without the ending, where it becomes one.
        image: ``(h, w, 3)``, uint8.
        caption: a line of text.
        row: what a table says of it, by column.
    """

    name: str
    file: str
    image: np.ndarray[Any, Any]
    caption: str
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """What is written of a step.

    Args:
        numbers: by name.
        pictures: the worst images.
        step: the step; ``None`` for the writer's own.
        title: where the pictures are shown, equal from step to step; in front of their names.
        folder: path of the folder for files, within that of the writer.
        table: name of the table of pictures, where there are tables; ``None`` for no table.
    """

    numbers: Mapping[str, float]
    pictures: Sequence[Picture]
    step: int | None
    title: str
    folder: str
    table: str | None = None

    def shown(self) -> list[tuple[str, Picture]]:
        """The pictures with their full names."""
        return [(f"{self.title}/{picture.name}", picture) for picture in self.pictures]


class Writer:
    """Writes numbers and pictures."""

    def write(self, entry: Entry) -> None:
        """Write what belongs to a step."""
        raise NotImplementedError

    def is_taken(self, start: str) -> bool:
        """Whether pictures become files, and there is one whose path starts with ``start``."""
        return False


@dataclass(frozen=True)
class TensorBoard(Writer):
    """A ``SummaryWriter`` of PyTorch or tensorboardX."""

    writer: Any

    def write(self, entry: Entry) -> None:
        """Write scalars and images."""
        for name, value in entry.numbers.items():
            self.writer.add_scalar(name, value, entry.step)
        for name, picture in entry.shown():
            self.writer.add_image(name, picture.image, entry.step, dataformats="HWC")


@dataclass(frozen=True)
class Run(Writer):
    """A run of Weights & Biases or of trackio, which have the same words.

    Args:
        run: the run.
        package: ``wandb`` or ``trackio``, for images and tables.
    """

    run: Any
    package: Any

    def write(self, entry: Entry) -> None:
        """Log all at once, so that it is one step."""
        logged: dict[str, Any] = dict(entry.numbers)
        logged |= {name: self._image(picture) for name, picture in entry.shown()}
        if entry.table is not None and entry.pictures:
            columns = [*entry.pictures[0].row, "picture"]
            rows = [[*one.row.values(), self._image(one)] for one in entry.pictures]
            logged[entry.table] = self.package.Table(columns=columns, data=rows)
        if logged:
            self.run.log(logged, step=entry.step)

    def _image(self, picture: Picture) -> Any:
        return self.package.Image(picture.image, caption=picture.caption)


@dataclass(frozen=True)
class Mlflow(Writer):
    """A run of MLflow.

    Args:
        client: an ``MlflowClient``.
        run_id: the run.
    """

    client: Any
    run_id: str

    def write(self, entry: Entry) -> None:
        """Log metrics, and pictures as artifacts."""
        for name, value in entry.numbers.items():
            self.client.log_metric(self.run_id, name, value, step=entry.step)
        for picture in entry.pictures:
            self.client.log_image(self.run_id, picture.image, artifact_file=f"{entry.folder}/{picture.file}.png")

    def is_taken(self, start: str) -> bool:
        """Whether there is an artifact whose path starts with ``start``."""
        if not hasattr(self.client, "list_artifacts"):
            return False
        folder, _, beginning = start.rpartition("/")
        names = [Path(one.path).name for one in self.client.list_artifacts(self.run_id, folder)]
        return any(name.startswith(beginning) for name in names)


@dataclass(frozen=True)
class Comet(Writer):
    """An experiment of Comet."""

    experiment: Any

    def write(self, entry: Entry) -> None:
        """Log metrics and images."""
        if entry.numbers:
            self.experiment.log_metrics(dict(entry.numbers), step=entry.step)
        for name, picture in entry.shown():
            self.experiment.log_image(picture.image, name=name, step=entry.step)


@dataclass(frozen=True)
class Folder(Writer):
    """PNG files in a folder, and ``report.json`` with the numbers where a table is asked for."""

    path: Path

    def write(self, entry: Entry) -> None:
        """Write files, each whole or not at all."""
        from PIL import Image

        folder = self.path / entry.folder
        make_folder(folder)
        for picture in entry.pictures:
            with atomic_write(folder / f"{picture.file}.png") as draft:
                Image.fromarray(picture.image).save(draft, "PNG")
        if entry.table is not None:
            worst = [{**one.row, "file": f"{one.file}.png"} for one in entry.pictures]
            numbers = {name: json_value(number) for name, number in entry.numbers.items()}
            worst = [{name: json_value(value) for name, value in row.items()} for row in worst]
            report = {"step": entry.step, "numbers": numbers, "worst": worst}
            write_text(folder / "report.json", json.dumps(report, indent=2) + "\n")

    def is_taken(self, start: str) -> bool:
        """Whether there is a file whose path starts with ``start``."""
        folder, _, beginning = start.rpartition("/")
        return any(one.name.startswith(beginning) for one in (self.path / folder).glob("*"))


@dataclass(frozen=True)
class LightningLogger(Writer):
    """A logger of Lightning; what it has no word for goes to what it wraps.

    Args:
        logger: the logger.
        inner: what takes the pictures; ``None`` where the logger does, or nothing.
    """

    logger: Any
    inner: Writer | None

    def write(self, entry: Entry) -> None:
        """Log numbers and pictures."""
        if entry.numbers:
            self.logger.log_metrics(dict(entry.numbers), entry.step)
        if self.inner is not None:
            self.inner.write(replace(entry, numbers={}, table=None))
        elif hasattr(self.logger, "log_image"):  # Weights & Biases
            for name, one in entry.shown():
                self.logger.log_image(key=name, images=[one.image], caption=[one.caption], step=entry.step)

    def is_taken(self, start: str) -> bool:
        """Whether pictures become files, and there is one whose path starts with ``start``."""
        return self.inner is not None and self.inner.is_taken(start)


def logger_writer(logger: Any) -> Writer:
    """The writer of a Lightning logger. One that takes no pictures and has no folder drops them."""
    if hasattr(logger, "log_image"):
        return LightningLogger(logger, None)
    experiment = logger.experiment
    inner: Writer | None = None
    if hasattr(experiment, "add_image"):
        inner = TensorBoard(experiment)
    elif hasattr(logger, "run_id") and hasattr(experiment, "log_image"):
        inner = Mlflow(experiment, logger.run_id)
    elif hasattr(experiment, "log_image"):
        inner = Comet(experiment)
    elif logger.log_dir is not None:
        inner = Folder(Path(logger.log_dir))
    return LightningLogger(logger, inner)


def writers_of(to: Any) -> list[Writer]:
    """The writers of an object, recognised by its type or its methods.

    Raises:
        ValueError: if it is none that is known, or has no run.
    """
    if isinstance(to, (list, tuple)):
        return [writer for one in to for writer in writers_of(one)]
    if isinstance(to, (str, Path)):
        return [Folder(Path(to))]
    package = (to.__name__ if inspect.ismodule(to) else type(to).__module__).split(".")[0]
    if package in ("wandb", "trackio", "mlflow"):
        return [_run_writer(to, package)]
    if hasattr(to, "trackers"):  # an Accelerator
        if not to.trackers:
            raise ValueError("the Accelerator has no trackers: give log_with= and call init_trackers first")
        return writers_of(list(to.trackers))
    if hasattr(to, "tracker"):
        return writers_of(to.tracker)
    if hasattr(to, "add_image") and hasattr(to, "add_scalar"):
        return [TensorBoard(to)]
    if hasattr(to, "experiment") and hasattr(to, "log_metrics"):
        return [logger_writer(to)]
    if hasattr(to, "log_image") and hasattr(to, "log_metrics"):
        return [Comet(to)]
    raise ValueError(f"a report goes to {TAKEN}; got {short_repr(to)}")


def _run_writer(to: Any, package: str) -> Writer:
    """The writer of a run, or of the running one of a module."""
    module = importlib.import_module(package)
    if package == "mlflow":
        run = module.active_run() if inspect.ismodule(to) else to
        if hasattr(run, "info"):
            return Mlflow(module.MlflowClient(), run.info.run_id)
        fix = "call mlflow.start_run() first, or give a run"
    elif not inspect.ismodule(to):
        if hasattr(to, "log"):
            return Run(to, module)
        fix = f"give {package}, or the run that {package}.init() returns"
    else:
        running = module.run if package == "wandb" else module.context_vars.current_run.get()
        if running is not None:
            return Run(running, module)
        fix = f"call {package}.init() first"
    raise ValueError(f"{short_repr(to)} has no run to write to: {fix}")
