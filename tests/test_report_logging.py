"""log_report: one function for whatever a run is watched with. Each package is tried where it is installed."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch.loggers
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

from torchmetrics_fmiqa.monitoring import QualityReport, WorstImage, log_report

NUMBERS = {"quality/vit": 0.25, "quality/share_outside": 0.125}


@pytest.fixture
def report() -> QualityReport:
    """Two worst images, one with a map."""
    images = torch.randint(0, 256, (4, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    worst = (
        WorstImage(0.5, 7, images[0], images[1], torch.rand(24, 24)),
        WorstImage(0.25, "b/c.png", images[2], images[3]),
    )
    return QualityReport({"vit": 0.25, "share_outside": 0.125}, worst, "vit", samples=3)


def package(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed", exc_type=ImportError)


def written(path: Path) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(path).convert("RGB"))


# Files


def test_a_folder_gets_pictures_and_numbers(report: QualityReport, tmp_path: Path) -> None:
    log_report(report, tmp_path, step=3)
    folder = tmp_path / "quality" / "step=3"
    names = ["vit_worst_01_id_7.png", "vit_worst_02_b_c_png.png"]
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", *names]
    for name, picture in zip(names, report.pictures(), strict=True):
        assert np.array_equal(written(folder / name), picture)
    assert json.loads((folder / "report.json").read_text()) == {
        "step": 3,
        "numbers": NUMBERS,
        "worst": [
            {"place": 1, "id": "7", "vit": 0.5, "file": names[0]},
            {"place": 2, "id": "b/c.png", "vit": 0.25, "file": names[1]},
        ],
    }


def test_no_report_overwrites_another(report: QualityReport, tmp_path: Path) -> None:
    for _ in range(3):
        log_report(report, str(tmp_path), step=3, prefix="val/", side=8)
        log_report(report, tmp_path, prefix="")
    folders = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    assert folders == {f"{name}{again}" for name in ("val/step=3", "report") for again in ("", "-2", "-3")}


def test_a_step_is_not_taken_for_one_that_starts_with_its_number(report: QualityReport, tmp_path: Path) -> None:
    for step in (10, 1, 1):
        log_report(report, tmp_path, step=step)
    assert {path.name for path in (tmp_path / "quality").iterdir()} == {"step=10", "step=1", "step=1-2"}


def test_any_name_of_a_metric_and_any_number_can_be_written(report: QualityReport, tmp_path: Path) -> None:
    named = replace(report, worst_by="lpips/vgg", numbers={"lpips/vgg": 0.25, "psnr": math.inf})
    log_report(named, tmp_path)
    folder = tmp_path / "quality" / "report"
    assert sorted(path.name for path in folder.glob("*.png")) == [
        "lpips_vgg_worst_01_id_7.png",
        "lpips_vgg_worst_02_b_c_png.png",
    ]
    written = json.loads((folder / "report.json").read_text(), parse_constant=pytest.fail)
    assert written["numbers"] == {"quality/lpips/vgg": 0.25, "quality/psnr": None}


def test_other_ranks_write_nothing(report: QualityReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchmetrics_fmiqa.monitoring.report_logging.own_rank", lambda: 1)
    log_report(report, tmp_path)
    log_report(report, None)
    assert list(tmp_path.iterdir()) == []


# What is recognised


class Client:
    """An ``MlflowClient``, which has no run of its own."""

    def log_image(self) -> None: ...

    def log_metric(self) -> None: ...


@pytest.mark.parametrize(
    "to", [None, 3, object(), Client(), {"a": "b"}], ids=["none", "number", "object", "client", "dict"]
)
def test_an_unknown_object_is_an_error_that_says_what_is_taken(report: QualityReport, to: Any) -> None:
    with pytest.raises(ValueError, match=r"a report goes to a folder, a SummaryWriter, .*; got ") as caught:
        log_report(report, to)
    for name in ("Weights & Biases", "trackio", "mlflow", "Comet", "Lightning", "accelerate"):
        assert name in str(caught.value)


def test_an_accelerator_without_trackers_is_an_error(report: QualityReport) -> None:
    with pytest.raises(ValueError, match=r"give log_with= and call init_trackers"):
        log_report(report, SimpleNamespace(trackers=[]))


class Board:
    """A ``SummaryWriter`` that notes what it is given."""

    def __init__(self) -> None:
        self.scalars: dict[str, Any] = {}
        self.images: dict[str, Any] = {}

    def add_scalar(self, name: str, value: float, step: int | None) -> None:
        self.scalars[name] = value, step

    def add_image(self, name: str, image: Any, step: int | None, dataformats: str) -> None:
        assert dataformats == "HWC"
        self.images[name] = image, step


def test_one_call_writes_to_several(report: QualityReport, tmp_path: Path) -> None:
    first, second = Board(), Board()
    log_report(report, [first, (SimpleNamespace(tracker=second), tmp_path)], step=4)
    assert first.scalars == second.scalars == {name: (value, 4) for name, value in NUMBERS.items()}
    assert list(first.images) == list(second.images) == ["quality/worst/vit/1", "quality/worst/vit/2"]
    assert np.array_equal(first.images["quality/worst/vit/1"][0], report.pictures()[0])
    assert list(tmp_path.rglob("report.json"))


def test_a_logger_of_lightning(report: QualityReport, tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, "", "")
    log_report(report, logger, step=4)
    logger.save()
    assert len(list((tmp_path / "quality" / "step=4").glob("*.png"))) == 2
    assert not list(tmp_path.rglob("report.json"))
    header, row = (tmp_path / "metrics.csv").read_text().splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True)) == {
        "step": "4",
        **{name: str(value) for name, value in NUMBERS.items()},
    }


def test_an_experiment_of_comet_by_its_interface(report: QualityReport) -> None:
    sent: list[Any] = []

    class Experiment:
        def log_metrics(self, dic: Any, prefix: Any = None, step: Any = None, epoch: Any = None) -> None:
            sent.append((dic, step))

        def log_image(self, image_data: Any, name: Any = None, overwrite: bool = False, step: Any = None) -> None:
            sent.append((name, image_data.shape, step))

    log_report(report, Experiment(), step=4)
    shapes = [picture.shape for picture in report.pictures()]
    assert sent == [(NUMBERS, 4), *((f"quality/worst/vit/{i}", shape, 4) for i, shape in enumerate(shapes, 1))]


# The packages themselves


def test_tensorboard(report: QualityReport, tmp_path: Path) -> None:
    package("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        log_report(report, writer, step=4)
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    assert {
        name: (events.Scalars(name)[0].value, events.Scalars(name)[0].step) for name in events.Tags()["scalars"]
    } == {name: (value, 4) for name, value in NUMBERS.items()}
    assert sorted(events.Tags()["images"]) == ["quality/worst/vit/1", "quality/worst/vit/2"]
    (event,) = events.Images("quality/worst/vit/2")
    height, width, _ = report.pictures()[1].shape
    assert (event.step, event.height, event.width) == (4, height, width)


def test_the_trackers_of_accelerate(report: QualityReport, tmp_path: Path) -> None:
    accelerate = package("accelerate")
    package("tensorboard")
    accelerator = accelerate.Accelerator(cpu=True, log_with="tensorboard", project_dir=tmp_path)
    try:
        accelerator.init_trackers("run")
        log_report(report, accelerator, step=4)
        log_report(report, accelerator.get_tracker("tensorboard"), step=5)
        log_report(report, accelerator.get_tracker("tensorboard", unwrap=True), step=6)
        accelerator.end_training()
    finally:
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(tmp_path / "run"), size_guidance={"images": 0}).Reload()
    assert [event.step for event in found.Scalars("quality/vit")] == [4, 5, 6]
    assert [event.step for event in found.Images("quality/worst/vit/1")] == [4, 5, 6]


LOGGERS = {"tensorboard": "TensorBoardLogger", "wandb": "WandbLogger", "mlflow": "MLFlowLogger"}


@pytest.mark.parametrize("name", LOGGERS)
def test_the_loggers_of_lightning(report: QualityReport, tmp_path: Path, name: str) -> None:
    package(name)
    options: dict[str, dict[str, Any]] = {
        "tensorboard": {"save_dir": tmp_path},
        "wandb": {"save_dir": tmp_path, "offline": True},
        "mlflow": {"tracking_uri": f"sqlite:///{tmp_path}/runs.db", "artifact_location": (tmp_path / "files").as_uri()},
    }
    logger = getattr(lightning.pytorch.loggers, LOGGERS[name])(**options[name])
    log_report(report, logger, step=4)
    logger.finalize("success")
    if name == "wandb":
        logger.experiment.finish()
    if name == "tensorboard":
        (written_there,) = tmp_path.rglob("events.*")
        assert b"quality/worst/vit/2" in written_there.read_bytes()
    else:
        assert len(list(tmp_path.rglob("*.png"))) >= 2


@pytest.mark.parametrize("by_module", [False, True])
def test_weights_and_biases(
    report: QualityReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_module: bool
) -> None:
    wandb = package("wandb")
    for name in ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    if by_module:
        with pytest.raises(ValueError, match=r"call wandb.init\(\) first"):
            log_report(report, wandb)
    run = wandb.init(project="fmiqa", mode="offline", dir=tmp_path)
    logged: list[Any] = []
    log = run.log
    # What is logged comes back from no run that is offline.
    monkeypatch.setattr(run, "log", lambda data, **options: logged.append((data, options)) or log(data, **options))
    try:
        log_report(report, wandb if by_module else run, step=4)
    finally:
        run.finish()
    ((data, options),) = logged
    assert ({name: data[name] for name in NUMBERS}, options) == (NUMBERS, {"step": 4})
    media = Path(run.dir) / "media"
    for place, picture in enumerate(report.pictures(), 1):
        (file,) = (media / "images" / "quality" / "worst" / "vit").glob(f"{place}_*.png")
        assert np.array_equal(written(file), picture)
    (file,) = media.rglob("*.table.json")
    table = json.loads(file.read_text())
    assert table["columns"] == ["place", "id", "vit", "picture"]
    assert [row[:3] for row in table["data"]] == [[1, "7", 0.5], [2, "b/c.png", 0.25]]
    # The file has a placeholder for each picture, which goes another way.
    assert all(isinstance(row[3], wandb.Image) for row in data["quality/worst_images"].data)


@pytest.fixture(scope="module")
def trackio(tmp_path_factory: pytest.TempPathFactory) -> Any:
    os.environ["TRACKIO_DIR"] = str(tmp_path_factory.mktemp("trackio"))  # which it reads at its import alone
    return package("trackio")


@pytest.mark.parametrize("by_module", [False, True])
def test_trackio(report: QualityReport, trackio: Any, by_module: bool) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    if by_module:
        with pytest.raises(ValueError, match=r"call trackio.init\(\) first"):
            log_report(report, trackio)
    name = f"run-{by_module}"
    run = trackio.init(project="fmiqa", name=name, auto_log_gpu=False, auto_log_cpu=False)
    log_report(report, trackio if by_module else run, step=4)
    trackio.finish()
    (logged,) = SQLiteStorage.get_logs("fmiqa", name)
    assert {key: logged[key] for key in (*NUMBERS, "step")} == {**NUMBERS, "step": 4}
    media = Path(os.environ["TRACKIO_DIR"]) / "media"
    assert np.array_equal(written(media / logged["quality/worst/vit/1"]["file_path"]), report.pictures()[0])
    assert logged["quality/worst/vit/2"]["caption"] == "b/c.png, vit 0.25"
    rows = logged["quality/worst_images"]["_value"]
    assert [[row[key] for key in ("place", "id", "vit")] for row in rows] == [[1, "7", 0.5], [2, "b/c.png", 0.25]]


@pytest.mark.parametrize("by_module", [False, True])
def test_mlflow(report: QualityReport, tmp_path: Path, by_module: bool) -> None:
    mlflow = package("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    try:
        if by_module:
            with pytest.raises(ValueError, match=r"call mlflow.start_run\(\) first"):
                log_report(report, mlflow)
        mlflow.create_experiment("fmiqa", artifact_location=(tmp_path / "artifacts").as_uri())
        mlflow.set_experiment("fmiqa")
        with mlflow.start_run() as run:
            for _ in range(2):
                log_report(report, mlflow if by_module else run, step=4)
        metrics = mlflow.get_run(run.info.run_id).data.metrics
        files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    finally:
        mlflow.set_tracking_uri(before)
    assert metrics == NUMBERS
    names = ["vit_worst_01_id_7.png", "vit_worst_02_b_c_png.png"]
    found = {re.sub(".*artifacts/(?=quality)", "", file): file for file in files}
    assert set(found) == {f"quality/step=4{again}/{name}" for again in ("", "-2") for name in names}
    assert np.array_equal(written(tmp_path / found[f"quality/step=4/{names[0]}"]), report.pictures()[0])


def test_comet(report: QualityReport, tmp_path: Path) -> None:
    os.environ.setdefault("COMET_DISABLE_AUTO_LOGGING", "1")
    comet = package("comet_ml")
    experiment = comet.OfflineExperiment(
        project_name="fmiqa", workspace="fmiqa", offline_directory=str(tmp_path), display_summary_level=0
    )
    log_report(report, experiment, step=4)
    experiment.end()
    (archive,) = tmp_path.glob("*.zip")
    import zipfile

    with zipfile.ZipFile(archive) as opened:
        messages = [json.loads(line) for line in opened.read("messages.json").decode().splitlines()]
    text = json.dumps(messages)
    assert all(name in text for name in (*NUMBERS, "quality/worst/vit/1", "quality/worst/vit/2"))
