"""ImageQualityMonitor over several runs and trainers: nothing is overwritten, and every name is Lightning's."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler
from torchmetrics_fmiqa.callbacks.worst_images import WorstImages

from tests.lightning_tools import (
    Restorer,
    loader,
    one_thread,  # noqa: F401
    pictures,
    samples,
    trainer,
)
from torchmetrics_fmiqa import FeatureDistance, FeatureMetricCollection, ImageQualityMonitor
from torchmetrics_fmiqa.callbacks.distributed_samples import joined_samples
from torchmetrics_fmiqa.callbacks.image_logging import WorstImageLogger


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        yield


def score(preds: Tensor, target: Tensor) -> float:
    return float(FeatureDistance()(preds, target))


# Pictures


def _files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}


def test_no_evaluation_overwrites_the_pictures_of_another(tmp_path: Path) -> None:
    def run(monitor: Any) -> Any:
        return trainer(monitor, logger=CSVLogger(tmp_path, "", ""))

    first = run(ImageQualityMonitor(worst=1, maps=False))
    seen: dict[Path, bytes] = {}
    evaluations = [
        lambda: first.fit(Restorer(), loader(2), loader(3)),
        lambda: first.validate(Restorer(), loader(3, seed=1), verbose=False),
        lambda: first.validate(Restorer(), loader(3, seed=2), verbose=False),
        lambda: first.test(Restorer(), loader(3, seed=3), verbose=False),
        lambda: first.test(Restorer(), loader(3, seed=4), verbose=False),
        # another process that goes on in the folder of this one
        lambda: run(ImageQualityMonitor(worst=1, maps=False)).test(Restorer(), loader(3, seed=5), verbose=False),
    ]
    for evaluate in evaluations:
        evaluate()
        found = _files(tmp_path)
        assert len(found) == len(seen) + 1
        assert {path: found[path] for path in seen} == seen
        seen = found
    folders = sorted(path.parent.name for path in seen)
    assert [name for name in folders if name.startswith("test")] == [
        "test-epoch=0000-step=0",  # the last one's trainer has taken no step
        "test-epoch=0001-step=1",
        "test-epoch=0001-step=1-2",
    ]


class Board:
    """A logger that shows one picture for each name and step, as TensorBoard does."""

    name, version = "board", 0

    def __init__(self) -> None:
        self.pictures: dict[tuple[str, int], Any] = {}
        self.experiment = self

    def add_image(self, name: str, picture: Any, step: int, dataformats: str) -> None:
        assert (name, step) not in self.pictures
        self.pictures[name, step] = picture


class Artifacts:
    """An experiment that keeps pictures by their paths, as MLflow's does."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def log_image(self, run_id: str, picture: Any, artifact_file: str) -> None:
        assert artifact_file not in self.paths
        self.paths.append(artifact_file)

    def list_artifacts(self, run_id: str, path: str) -> list[Any]:
        return [SimpleNamespace(path=one) for one in self.paths if Path(one).parent.as_posix() == path]


def test_loggers_without_files_keep_all_pictures_too() -> None:
    board, artifacts = Board(), Artifacts()
    store = SimpleNamespace(name="store", version=0, run_id="run", experiment=artifacts)

    run = SimpleNamespace(loggers=[board, store], is_global_zero=True, global_step=4, current_epoch=4)
    worst = WorstImages(1, higher_is_better=False)
    worst.add(0.5, "index 1", *torch.rand(2, 3, 8, 8))
    times: dict[Any, int] = {}
    for counted in (times, times, {}):  # twice in one process, then resumed in another
        show = WorstImageLogger("distance", None, 32, lambda kind, message: pytest.fail(message), counted)
        if counted is not times:
            run.loggers = [store]
        show(worst, torch.device("cpu"), run, "quality/", "val", "")
    assert list(board.pictures) == [("quality/worst/distance/1", 4), ("quality/worst-2/distance/1", 4)]
    folders = [Path(path).parent.as_posix() for path in artifacts.paths]
    assert folders == [f"quality/val-epoch=0004-step=4{again}" for again in ("", "-2", "-3")]


# Names, as the module's own `log` gives them


class Naming(Restorer):
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        self.log("own", 1.0)
        return None


def _first(outputs: Any, batch: Any) -> dict[str, Tensor]:
    """The first loader's part of whatever a batch is."""
    while not (isinstance(batch, dict) and "lq" in batch):
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
    return batch


LOADERS: dict[str, Any] = {
    "one": lambda: loader(3),
    "list_of_one": lambda: [loader(3)],
    "list": lambda: [loader(3), loader(2, seed=1)],
    "dict": lambda: {"a": loader(3), "b": loader(2, seed=1)},
    "nested": lambda: [loader(3), {"b": [loader(2, seed=1)]}],
    "combined_of_one": lambda: CombinedLoader([loader(3)], "max_size_cycle"),
    "sequential": lambda: CombinedLoader({"a": loader(3), "b": loader(2, seed=1)}, "sequential"),
    "combined_inside": lambda: [CombinedLoader([loader(3), loader(3)], "min_size"), loader(2, seed=1)],
    **{
        mode: lambda mode=mode: CombinedLoader({"a": loader(3), "b": loader(3, seed=1)}, mode)
        for mode in ("min_size", "max_size", "max_size_cycle")
    },
}


@pytest.mark.parametrize("case", LOADERS)
def test_names_are_those_of_the_modules_own_log(case: str) -> None:
    monitor = ImageQualityMonitor(
        preds=lambda outputs, batch: _first(outputs, batch)["lq"],
        target=lambda outputs, batch: _first(outputs, batch)["target"],
        worst=0,
    )
    run = trainer(monitor)
    run.validate(Naming(), LOADERS[case](), verbose=False)
    suffixes = {name.removeprefix("own") for name in run.callback_metrics if name.startswith("own")}
    found = {name.removeprefix("quality/default"): value for name, value in run.callback_metrics.items()}
    assert {name for name in found if not name.startswith(("own", "quality"))} == suffixes
    assert float(found[min(suffixes)]) == pytest.approx(score(*pictures(3)), rel=1e-5)


def test_validation_after_a_fit_runs_over_its_own_loaders() -> None:
    run = trainer(ImageQualityMonitor(worst=0))
    run.fit(Restorer(), loader(2), loader(3))
    run.validate(Restorer(), [loader(2, seed=1), loader(3, seed=2)], verbose=False)
    expected = {f"quality/default/dataloader_idx_{i}": score(*pictures(2 + i, seed=1 + i)) for i in (0, 1)}
    assert {name: float(run.callback_metrics[name]) for name in expected} == pytest.approx(expected, rel=1e-5)


def test_loaders_that_step_together_know_their_padding_where_they_are_alike() -> None:
    def dealt(n: int, rank: int = 1) -> DataLoader[Any]:
        data = samples(*pictures(n))
        return DataLoader(data, 2, sampler=DistributedSampler(data, 2, rank, shuffle=False))  # type: ignore[arg-type]

    alike, unlike = joined_samples([dealt(5), dealt(5)], 2), joined_samples([dealt(5), dealt(8)], 2)
    assert (alike.certain, unlike.certain) == (True, False)
    assert alike.real_samples(1, 1) == (0, None)  # rank 1 has two of five samples, and the third repeats one


# What is wrong shows before training


class Trained(Callback):
    steps = 0

    def on_train_batch_end(self, *args: Any) -> None:
        self.steps += 1


class BadTargets(Restorer):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return {"preds": batch["lq"] * float("nan"), "target": batch["target"] * 255}


WRONG_IN_RUNS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "range": (BadTargets, {}, "data_range=255"),
    "border": (Restorer, {"crop_border": 16}, "crop_border"),
}


@pytest.mark.parametrize("case", WRONG_IN_RUNS)
def test_options_that_do_not_fit_the_references_show_in_the_sanity_check(case: str) -> None:
    module, options, message = WRONG_IN_RUNS[case]
    trained = Trained()
    with pytest.raises(ValueError, match=message):
        trainer(trained, ImageQualityMonitor(worst=0, **options)).fit(module(), loader(2), loader(2))
    assert trained.steps == 0


@pytest.mark.parametrize("data_range", [[0, 1], (0.0, 1.0)])
def test_a_range_may_be_a_list(data_range: Any) -> None:
    run = trainer(ImageQualityMonitor(worst=0, data_range=data_range))
    run.fit(Restorer(), loader(2), loader(3))
    assert float(run.callback_metrics["quality/default"]) == pytest.approx(score(*pictures(3)), rel=1e-5)
    preds, target = pictures(2)
    together = FeatureMetricCollection({name: FeatureDistance(data_range=data_range) for name in "ab"})
    together.update(preds, target)
    assert float(together.compute()["a"]) == pytest.approx(score(preds, target), rel=1e-5)


# Two trainers


class Nested(Callback):
    """Starts another trainer with the same monitor in the middle of a validation."""

    def __init__(self, monitor: Any) -> None:
        self.monitor, self.refused = monitor, ""

    def on_validation_batch_start(self, *args: Any) -> None:
        if not self.refused:
            try:
                trainer(self.monitor).validate(Restorer(), loader(2), verbose=False)
            except ValueError as error:
                self.refused = str(error)


def test_a_monitor_refuses_a_second_trainer_while_it_serves_one() -> None:
    monitor = ImageQualityMonitor(worst=0)
    nested = Nested(monitor)
    run = trainer(nested, monitor)
    run.validate(Restorer(), loader(3), verbose=False)
    assert "copy.deepcopy(monitor)" in nested.refused
    # The refused trainer took nothing from the one that was served.
    assert float(run.callback_metrics["quality/default"]) == pytest.approx(score(*pictures(3)), rel=1e-5)
    # A copy is free, and so is the monitor when the trainer is done.
    nested.refused = ""
    nested.monitor = copy.deepcopy(pickle.loads(pickle.dumps(ImageQualityMonitor(worst=0))))
    trainer(monitor).validate(Restorer(), loader(2), verbose=False)


def test_the_best_values_are_those_of_one_training() -> None:
    monitor = ImageQualityMonitor(worst=0)
    trainer(monitor).fit(Restorer((0.1,)), loader(2), loader(3))
    first = monitor.best["quality/default"]["value"]
    trainer(monitor).fit(Restorer(), loader(2), loader(3))
    assert monitor.best["quality/default"]["value"] > first
