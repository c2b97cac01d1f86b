"""ImageQualityMonitor in one process: what it logs is what a computation by hand gives."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from torchmetrics import Metric, MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from tests.conftest import RANDOM_VIT, make_pair
from tests.lightning_tools import (
    QUIET,
    Restorer,
    Silent,
    loader,
    one_thread,  # noqa: F401
    pictures,
    psnr_by_hand,
    restorer_class,
    samples,
    trainer,
    validate,
    vit,
    vit_by_hand,
)
from torchmetrics_fmiqa import ImageQualityMonitor
from torchmetrics_fmiqa.features.network import load_network
from torchmetrics_fmiqa.recipes import as_recipe

CAPTION = 22  # pixels above the panels of a picture


@pytest.fixture(scope="module", autouse=True)
def network() -> Any:
    return load_network(RANDOM_VIT["backbone"], RANDOM_VIT["weights"])


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Any:
    """Lightning's advice on loaders and versions is no concern of these tests."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        yield


def psnr() -> PeakSignalNoiseRatio:
    return PeakSignalNoiseRatio(data_range=1.0)


def both() -> dict[str, Metric]:
    return {"vit": vit(), "psnr": psnr()}


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-5, abs=1e-6)


def by_hand(preds: Tensor, target: Tensor) -> dict[str, Any]:
    return {"vit": near(vit_by_hand(preds, target)), "psnr": near(psnr_by_hand(preds, target))}


class Record(Callback):
    """Keeps what was logged after every validation and test."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def _keep(self, run: Any, module: Any) -> None:
        self.seen.append({name: float(value) for name, value in run.callback_metrics.items()})

    on_validation_end = on_test_end = _keep


# Names


class PerImage(Metric):
    """A metric whose result is no single number."""

    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("values", [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.values.append((preds - target).abs().mean((1, 2, 3)))

    def compute(self) -> Tensor:
        return torch.cat(self.values)


FORMS: dict[str, tuple[Callable[[], Any], dict[str, str]]] = {
    "metric": (vit, {"FeatureDistance": "vit"}),
    "dict": (both, {"vit": "vit", "psnr": "psnr"}),
    "list": (lambda: [vit(), psnr()], {"FeatureDistance": "vit", "PeakSignalNoiseRatio": "psnr"}),
    "collection": (lambda: MetricCollection(both(), prefix="a_", postfix="_z"), {"a_vit_z": "vit", "a_psnr_z": "psnr"}),
    "recipe": (lambda: as_recipe("default", **RANDOM_VIT), {"Recipe": "vit"}),
    "recipe_in_dict": (lambda: {"r": as_recipe("default", **RANDOM_VIT), "p": psnr()}, {"r": "vit", "p": "psnr"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_metrics_come_in_many_forms(form: str) -> None:
    build, names = FORMS[form]
    logged = validate(ImageQualityMonitor(build(), worst=0), loader())
    assert set(logged) == {f"quality/{name}" for name in names} | {"quality/share_outside"}
    expected = by_hand(*pictures())
    for name, which in names.items():
        assert logged[f"quality/{name}"] == expected[which]


def test_recipes_go_by_their_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(as_recipe("default", **RANDOM_VIT).to_yaml())
    monitor = ImageQualityMonitor([file, psnr()], worst=0)
    assert set(monitor.names()) == {"quality/PeakSignalNoiseRatio", "quality/mine"}
    assert validate(monitor, loader())["quality/mine"] == by_hand(*pictures())["vit"]


def test_the_given_metrics_are_left_alone() -> None:
    metric = vit()
    validate(ImageQualityMonitor(metric, worst=0), loader())
    assert metric.update_count == 0


def test_results_by_layer_are_logged_by_tap() -> None:
    logged = validate(ImageQualityMonitor({"vit": vit(per_layer=True), "p": psnr()}, prefix="q_", worst=0), loader())
    for place, tap in enumerate(("blocks.0", "blocks.1")):
        assert logged[f"q_vit/{tap}"] == near(vit_by_hand(*pictures(), taps=[place]))
    assert "q_vit" not in logged


def test_what_is_no_single_number_warns_once_and_is_not_logged() -> None:
    monitor = ImageQualityMonitor({"vit": vit(reduction="none"), "own": PerImage(), "psnr": psnr()}, worst=0)
    run = trainer(monitor, max_epochs=2)
    with pytest.warns(UserWarning, match="is no single number") as caught:
        run.fit(Restorer(), loader(), loader())
    assert set(run.callback_metrics) == {"quality/psnr", "quality/share_outside"}
    found = [str(one.message) for one in caught if "no single number" in str(one.message)]
    assert len(found) == 2
    assert any("(9,)" in text and "quality/vit" in text for text in found)


def test_the_stage_may_be_in_the_prefix() -> None:
    record, monitor = Record(), ImageQualityMonitor({"psnr": psnr()}, prefix="{stage}/q/", worst=0)
    run = trainer(monitor, record)
    run.validate(Restorer(), loader(), verbose=False)
    run.test(Restorer(), loader(), verbose=False)
    assert [set(seen) for seen in record.seen] == [
        {"val/q/psnr", "val/q/share_outside"},
        {"test/q/psnr", "test/q/share_outside"},
    ]


# Where the images are


def tuples(n: int = 9) -> DataLoader[Any]:
    return DataLoader(list(zip(*pictures(n), ["name"] * n, strict=True)), batch_size=4)


class FromTuple(Silent):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return torch.zeros(())


class InOutputs(Restorer):
    """Its output and its batch both hold the keys; the output's are right."""

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return {"preds": batch["lq"].clone(), "gt": batch["target"].clone()}


SOURCES: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "output_then_batch": ({}, Restorer, loader),
    "both_in_output": ({"target": "gt"}, InOutputs, loader),
    "both_in_batch": ({"preds": "lq"}, Silent, loader),
    "indices": ({"preds": 0, "target": 1}, FromTuple, tuples),
    "negative_index": ({"preds": -3, "target": -2}, FromTuple, tuples),
    "callables": (
        {"preds": lambda outputs, batch: outputs["preds"], "target": lambda outputs, batch: batch["target"]},
        Restorer,
        loader,
    ),
    "predict": ({"predict": lambda module, batch: module(batch["lq"])}, Silent, loader),
}


@pytest.mark.parametrize("way", SOURCES)
def test_images_are_found(way: str) -> None:
    options, module, data = SOURCES[way]
    logged = validate(ImageQualityMonitor(both(), worst=0, **options), data(), module())
    assert {name: logged[f"quality/{name}"] for name in both()} == by_hand(*pictures())


def test_the_output_comes_before_the_batch() -> None:
    class Both(Restorer):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            return {"lq": batch["target"] + 0.1}

    logged = validate(ImageQualityMonitor({"psnr": psnr()}, preds="lq", worst=0), loader(), Both())
    assert logged["quality/psnr"] == pytest.approx(20, abs=1e-3)


NOWHERE: dict[str, tuple[dict[str, Any], Any, Any, list[str]]] = {
    "nothing_returned": ({}, Silent, loader, ["preds='preds'", "None", "'lq' (4, 3, 32, 32)", "'target' (4, 3"]),
    "no_target": ({"target": "gt"}, Restorer, loader, ["target='gt'", "'preds' (4, 3, 32, 32)", "'lq' (4, 3, 32, 32)"]),
    "index": ({"preds": 7, "target": 1}, FromTuple, tuples, ["preds=7", "[0] (4, 3, 32, 32)", "[2] tuple"]),
    "no_tensor": ({"preds": 2, "target": 1}, FromTuple, tuples, ["preds=2", "no tensor"]),
}  # fmt: skip


@pytest.mark.parametrize(("found", "shown"), [(None, "got None"), ({"sr": torch.zeros(2)}, r"a dict with 'sr' \(2,\)")])
def test_a_prediction_that_is_no_image_is_named(found: Any, shown: str) -> None:
    monitor = ImageQualityMonitor(psnr(), worst=0, predict=lambda module, batch: found)
    with pytest.raises(ValueError, match=f"`predict` must give a tensor .*{shown}"):
        trainer(monitor, num_sanity_val_steps=1).fit(Silent(), loader(), loader())


@pytest.mark.parametrize("way", NOWHERE)
def test_what_is_not_found_is_explained_in_the_sanity_check(way: str) -> None:
    options, module, data, parts = NOWHERE[way]
    run = trainer(ImageQualityMonitor(psnr(), worst=0, **options), num_sanity_val_steps=1)
    with pytest.raises(ValueError, match="no images for") as caught:
        run.fit(module(), loader(), data())
    assert run.global_step == 0
    side = "target" if "target=" in parts[0] else "preds"
    last = (
        "let the dataset give a dict with that key" if side == "target" else "give predict=callable(pl_module, batch)"
    )
    ways = [
        "Ways out",
        f"return {{'{side}': images",
        f"{side}=KEY",
        f"{side}=INDEX",
        f"{side}=callable(outputs, batch)",
    ]
    for part in (*parts, *ways, last):
        assert part in str(caught.value), part


def test_shapes_that_differ_are_explained_in_the_sanity_check() -> None:
    run = trainer(ImageQualityMonitor(psnr(), target=lambda o, b: b["target"][..., 1:]), num_sanity_val_steps=1)
    with pytest.raises(ValueError, match="must have one shape"):
        run.fit(Restorer(), loader(), loader())
    assert run.global_step == 0


class Modes(Silent):
    """Parts in modes of their own during validation."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.norm = nn.Dropout(0.9), nn.BatchNorm2d(3)
        self.seen: list[Any] = []

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.drop.train()

    def predicted(self, batch: Any) -> Tensor:
        found = self(batch["lq"])
        self.seen.append(([part.training for part in self.modules()], torch.is_grad_enabled(), found.dtype))
        return self.drop(found)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("32-true", torch.float32),
        ("bf16-mixed", torch.bfloat16),
        ("bf16-true", torch.bfloat16),
        ("64-true", torch.float64),
    ],
)
def test_predict_runs_as_the_module_would_in_use(precision: Any, dtype: torch.dtype) -> None:
    module, modes = Modes(), []

    class Look(Callback):
        def on_validation_batch_end(self, run: Any, pl_module: Any, *args: Any) -> None:
            modes.append({name: part.training for name, part in pl_module.named_modules()})

    monitor = ImageQualityMonitor({"vit": vit()}, predict=lambda module, batch: module.predicted(batch), worst=0)
    run = trainer(monitor, Look(), precision=precision, inference_mode=False)
    run.validate(module, loader(), verbose=False)
    assert module.seen == [([False] * 4, False, dtype)] * 3
    assert modes == [{"": False, "conv": False, "drop": True, "norm": False}] * 3
    rounded = [images.to(torch.float32 if dtype == torch.float64 else dtype).float() for images in pictures()]
    target = rounded[1] if precision == "bf16-true" else pictures()[1]
    assert float(run.callback_metrics["quality/vit"]) == near(vit_by_hand(rounded[0], target))


def test_modes_come_back_after_an_error_in_predict() -> None:
    def fail(module: Any, batch: Any) -> Any:
        raise RuntimeError("predict failed")

    module = Modes()
    with pytest.raises(RuntimeError, match="predict failed"):
        validate(ImageQualityMonitor(psnr(), predict=fail), loader(), module)
    assert module.drop.training


# Values


@pytest.mark.parametrize("batch_size", [1, 4, 9])
@pytest.mark.parametrize("shuffle", [False, True])
def test_values_are_those_of_all_images(batch_size: int, shuffle: bool) -> None:
    metrics = {**both(), "ssim": StructuralSimilarityIndexMeasure(data_range=1.0)}
    logged = validate(ImageQualityMonitor(metrics, worst=2), loader(batch_size=batch_size, shuffle=shuffle))
    ssim = StructuralSimilarityIndexMeasure(data_range=1.0)(*pictures())
    expected = {**by_hand(*pictures()), "ssim": near(float(ssim)), "share_outside": 0.0}
    assert logged == {f"quality/{name}": value for name, value in expected.items()}


@pytest.mark.parametrize(
    ("precision", "rounded"),
    [
        ("bf16-mixed", (torch.bfloat16, torch.float32)),
        ("16-mixed", (torch.bfloat16, torch.float32)),  # which Lightning makes bf16-mixed on a CPU
        ("bf16-true", (torch.bfloat16, torch.bfloat16)),
        ("64-true", (torch.float64, torch.float64)),
    ],
)
def test_values_under_other_precisions(precision: Any, rounded: tuple[torch.dtype, torch.dtype]) -> None:
    # Whatever the module computes in, the images that it gives are measured in full precision.
    preds, target = (images.to(dtype).float() for images, dtype in zip(pictures(), rounded, strict=True))
    logged = validate(ImageQualityMonitor(both()), loader(), precision=precision)
    assert logged == {**{f"quality/{k}": v for k, v in by_hand(preds, target).items()}, "quality/share_outside": 0.0}
    record = Record()
    run = trainer(ImageQualityMonitor(both()), record, precision=precision, max_epochs=2)
    run.fit(Restorer(), loader(), loader())
    for seen in record.seen[-2:]:
        assert seen["quality/vit"] == near(vit_by_hand(preds, target))


@pytest.mark.parametrize("border", [1, 5])
def test_crop_border_is_the_metrics_own(border: int) -> None:
    preds, target = pictures()
    logged = validate(ImageQualityMonitor(both(), crop_border=border), loader())
    assert logged["quality/vit"] == near(vit_by_hand(preds, target, crop_border=border))
    inner = (..., slice(border, -border), slice(border, -border))
    assert logged["quality/psnr"] == near(psnr_by_hand(preds[inner], target[inner]))


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 255)])
def test_data_range(low: float, high: float) -> None:
    preds, target = pictures()
    data = samples(low + (high - low) * preds, low + (high - low) * target)
    own = vit(data_range=(low, high))
    monitor = ImageQualityMonitor({"vit": own, "r": as_recipe("default", **RANDOM_VIT)}, data_range=(low, high))
    logged = validate(monitor, DataLoader(data, batch_size=4))  # type: ignore[arg-type]
    expected = pytest.approx(vit_by_hand(preds, target), rel=1e-4)
    assert (logged["quality/vit"], logged["quality/r"], logged["quality/share_outside"]) == (expected, expected, 0.0)


@pytest.mark.parametrize("crop", [0, 2])
def test_lists_of_images_of_several_sizes(crop: int) -> None:
    pairs = [make_pair(1, side, 40, seed=side) for side in (32, 48, 32, 40, 48)]
    data = [{"lq": preds[0], "target": target[0]} for preds, target in pairs]

    def collate(batch: list[dict[str, Tensor]]) -> dict[str, list[Tensor]]:
        return {key: [one[key] for one in batch] for key in batch[0]}

    monitor = ImageQualityMonitor({"vit": vit(), "psnr": psnr()}, preds="lq", crop_border=crop)
    logged = validate(monitor, DataLoader(data, batch_size=2, collate_fn=collate), Silent())  # type: ignore[arg-type]
    scores = [vit_by_hand(*one, crop_border=crop) for one in pairs]
    assert logged["quality/vit"] == near(sum(scores) / 5)
    inner = (..., slice(crop, -crop or None), slice(crop, -crop or None))
    squares = [(one[0] - one[1])[inner].square().flatten() for one in pairs]
    assert logged["quality/psnr"] == near(float(-10 * torch.cat(squares).mean().log10()))


def test_a_stream_of_samples_without_a_number_is_counted() -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Any:
            return iter(samples(*pictures()))

    logged = validate(ImageQualityMonitor(both()), DataLoader(Stream(), batch_size=4))
    assert logged["quality/vit"] == by_hand(*pictures())["vit"]


def test_share_outside_is_over_all_pixels() -> None:
    preds, target = pictures()
    preds = 1.4 * preds - 0.2
    preds[0, 0, 0, 0], preds[0, 0, 0, 1] = 0.0, 1.0  # the ends are inside
    data = DataLoader(samples(preds, target), batch_size=4)  # type: ignore[arg-type]
    outside = int(((preds < 0) | (preds > 1)).sum())
    assert 0 < outside < preds.numel()
    assert validate(ImageQualityMonitor(psnr()), data)["quality/share_outside"] == near(outside / preds.numel())
    half = preds[..., 4:-4, 4:-4]
    share = float(((half < 0) | (half > 1)).double().mean())
    assert validate(ImageQualityMonitor(psnr(), crop_border=4), data)["quality/share_outside"] == near(share)
    wide = float(((preds < -0.1) | (preds > 1.1)).double().mean())
    logged = validate(ImageQualityMonitor(psnr(), data_range=(-0.1, 1.1)), data)
    assert logged["quality/share_outside"] == near(wide)


# Runs


def faded(strength: float, n: int = 9, seed: int = 0) -> tuple[Tensor, Tensor]:
    preds, target = pictures(n, seed)
    return torch.lerp(target, preds, strength), target


STRENGTHS = (0.8, 0.4, 0.6, 0.7)


def test_checkpoints_and_early_stopping_see_every_epoch(tmp_path: Path) -> None:
    values = [by_hand(*faded(strength))["vit"] for strength in STRENGTHS]
    record = Record()
    saved = ModelCheckpoint(tmp_path, monitor="quality/vit", save_top_k=1)
    best = ModelCheckpoint(tmp_path, "best-{epoch}", monitor="quality/psnr", mode="max")
    stop = EarlyStopping("quality/vit", patience=2)
    monitor = ImageQualityMonitor(both())
    run = trainer(monitor, record, saved, best, stop, max_epochs=9, enable_checkpointing=True)
    run.fit(Restorer(STRENGTHS), loader(), loader())
    assert run.current_epoch == 4
    assert [seen["quality/vit"] for seen in record.seen[-4:]] == values
    assert float(saved.best_model_score) == values[1]
    assert "epoch=1" in Path(best.best_model_path).name
    assert float(best.best_model_score) == near(psnr_by_hand(*faded(0.4)))
    assert {name: entry["epoch"] for name, entry in monitor.best.items()} == {"quality/vit": 1, "quality/psnr": 1}


def test_nothing_comes_from_the_sanity_check(tmp_path: Path) -> None:
    record, monitor = Record(), ImageQualityMonitor(both(), worst=2)
    run = trainer(monitor, record, num_sanity_val_steps=2, logger=CSVLogger(tmp_path, "", ""))
    run.fit(Restorer((1.0, 0.5)), loader(), loader())
    assert record.seen[0] == {}
    assert record.seen[1]["quality/vit"] == by_hand(*pictures())["vit"]
    assert [path.name for path in (tmp_path / "quality").iterdir()] == ["val-epoch=0000-step=3"]


@pytest.mark.parametrize("as_dict", [False, True])
def test_one_set_of_names_for_each_dataloader(as_dict: bool) -> None:
    first, second = loader(9), loader(5, seed=1)
    logged = validate(ImageQualityMonitor(both()), {"z": first, "a": second} if as_dict else [first, second])
    expected = {"share_outside/dataloader_idx_0": 0.0, "share_outside/dataloader_idx_1": 0.0}
    for number, images in enumerate((pictures(9), pictures(5, 1))):
        expected.update({f"{name}/dataloader_idx_{number}": value for name, value in by_hand(*images).items()})
    assert logged == {f"quality/{name}": value for name, value in expected.items()}


def test_validate_then_fit_then_test_then_validate_in_one_process() -> None:
    record, module = Record(), Restorer((1.0, 0.5))
    run = trainer(ImageQualityMonitor(both(), cache_references="1GiB"), record, max_epochs=2, num_sanity_val_steps=0)
    run.validate(module, loader(5, 1), verbose=False)
    run.fit(module, loader(), loader())
    run.test(module, loader(7, 2), verbose=False)
    run.validate(module, [loader(3, 3), loader(4, 4)], verbose=False)
    expected = [pictures(5, 1), pictures(), faded(0.5), faded(0.5, 7, 2)]
    assert len(record.seen) == 5
    for seen, images in zip(record.seen, expected, strict=False):
        assert {name: seen[f"quality/{name}"] for name in both()} == by_hand(*images)
    for number, images in enumerate((faded(0.5, 3, 3), faded(0.5, 4, 4))):
        assert record.seen[-1][f"quality/vit/dataloader_idx_{number}"] == by_hand(*images)["vit"]


def test_every_n_epochs_counts_as_checkpoints_do(tmp_path: Path) -> None:
    record, monitor = Record(), ImageQualityMonitor({"psnr": psnr()}, every_n_epochs=2)
    saved = ModelCheckpoint(tmp_path, monitor="quality/psnr", mode="max", every_n_epochs=2, save_top_k=-1)
    run = trainer(monitor, record, saved, max_epochs=5, num_sanity_val_steps=0, enable_checkpointing=True)
    run.fit(Restorer((1.0, 0.9, 0.8, 0.7, 0.6)), loader(), loader())
    logged = [seen.get("quality/psnr") for seen in record.seen]
    assert [logged[1], logged[3]] == [near(psnr_by_hand(*faded(0.9))), near(psnr_by_hand(*faded(0.7)))]
    assert logged[0] is None
    assert monitor.best["quality/psnr"]["epoch"] == 3
    assert sorted(path.name.split("-")[0] for path in tmp_path.glob("*.ckpt")) == ["epoch=1", "epoch=3"]
    assert "quality/psnr" in run.validate(Restorer(), loader(), verbose=False)[0]


@pytest.mark.parametrize("stage", ["val", "test"])
def test_only_the_stages_asked_for(stage: str) -> None:
    record = Record()
    run = trainer(ImageQualityMonitor(psnr(), stages=(stage,), worst=0), record)
    run.validate(Restorer(), loader(), verbose=False)
    run.test(Restorer(), loader(), verbose=False)
    assert [bool(seen) for seen in record.seen] == [stage == "val", stage == "test"]


def test_a_run_of_pytorch_lightning() -> None:
    package = pytest.importorskip("pytorch_lightning")
    monitor, record = ImageQualityMonitor(both(), worst=2), Record()
    run = package.Trainer(**{**QUIET, "callbacks": [monitor, record], "max_epochs": 2})
    module = restorer_class("pytorch_lightning")((1.0, 0.5))
    run.fit(module, loader(), loader())
    run.test(module, loader(5, 1), verbose=False)
    for seen, images in zip(record.seen[-3:], (pictures(), faded(0.5), faded(0.5, 5, 1)), strict=True):
        assert {name: seen[f"quality/{name}"] for name in both()} == by_hand(*images)


@pytest.mark.parametrize("options", [{"fast_dev_run": True, "logger": True}, {"logger": False}])
def test_runs_without_a_logger(options: dict[str, Any]) -> None:
    run = trainer(ImageQualityMonitor(both()), **options)
    run.fit(Restorer(), loader(), loader())
    assert "quality/vit" in run.callback_metrics


def test_training_draws_the_same_random_numbers_beside_a_monitor() -> None:
    weights = []
    for callbacks in ([], [ImageQualityMonitor(both(), cache_references="1GiB")]):
        torch.manual_seed(0)
        module = Restorer(rate=0.1)
        trainer(*callbacks, max_epochs=3).fit(module, loader(shuffle=True), loader(shuffle=True))
        weights.append(module.conv.weight.detach())
    assert torch.equal(*weights)


# The worst images


def worst_order(metric: str, n: int = 9) -> list[int]:
    """The images from the worst to the best, by brute force."""
    measure = {"vit": vit_by_hand, "psnr": lambda *one: -psnr_by_hand(*one)}[metric]
    preds, target = pictures(n)
    scores = [measure(preds[i : i + 1], target[i : i + 1]) for i in range(n)]
    return sorted(range(n), key=lambda i: -scores[i])


def saved_pictures(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {str(p.relative_to(folder)): np.asarray(Image.open(p)) for p in sorted(folder.rglob("*.png"))}


def panel(image: Tensor) -> np.ndarray[Any, Any]:
    return (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("worst_by", ["vit", "psnr"])
@pytest.mark.parametrize(("count", "batch_size"), [(1, 9), (4, 2), (20, 4)])
def test_the_worst_images_become_files(worst_by: str, count: int, batch_size: int, tmp_path: Path) -> None:
    monitor = ImageQualityMonitor(both(), worst=count, worst_by=worst_by)
    validate(monitor, loader(batch_size=batch_size), logger=CSVLogger(tmp_path, "", ""))
    order = worst_order(worst_by)[:count]
    found = saved_pictures(tmp_path)
    folder = "quality/val-epoch=0000-step=0"
    names = [f"{folder}/{worst_by}_worst_{place:02d}_index_{i}.png" for place, i in enumerate(order, 1)]
    assert list(found) == names
    preds, target = pictures()
    for name, i in zip(names, order, strict=True):
        picture = found[name]
        assert picture.shape == (32 + CAPTION, 3 * 110 + 2 * 4, 3)
        assert np.array_equal(picture[CAPTION:, :32], panel(target[i]))
        assert np.array_equal(picture[CAPTION:, 114:146], panel(preds[i]))
        assert picture[CAPTION:, 228:260].std() > 1


def test_equal_scores_keep_the_first(tmp_path: Path) -> None:
    preds, target = pictures(1)
    data = DataLoader(samples(preds.repeat(6, 1, 1, 1), target.repeat(6, 1, 1, 1)), batch_size=4)  # type: ignore[arg-type]
    validate(ImageQualityMonitor(psnr(), worst=3), data, logger=CSVLogger(tmp_path, "", ""))
    assert [name[-11:] for name in saved_pictures(tmp_path)] == [f"index_{i}.png" for i in range(3)]


@pytest.mark.parametrize(
    ("metrics", "maps", "columns"),
    [
        (lambda: vit(), True, 3),
        (lambda: vit(), False, 2),
        (lambda: vit(distance="jensen_shannon"), True, 3),
        (lambda: vit(distance="wasserstein"), True, 2),
        (lambda: {"w": vit(distance="wasserstein"), "l2": vit(distance="l2")}, True, 3),
        (lambda: psnr(), True, 2),
    ],
    ids=["maps", "no_maps", "jensen_shannon", "wasserstein", "another_draws", "psnr"],
)
def test_heat_maps_where_there_are_some(metrics: Any, maps: bool, columns: int, tmp_path: Path) -> None:
    validate(ImageQualityMonitor(metrics(), worst=1, maps=maps), loader(3), logger=CSVLogger(tmp_path, "", ""))
    (picture,) = saved_pictures(tmp_path).values()
    assert picture.shape == (32 + CAPTION, columns * 110 + (columns - 1) * 4, 3)


@pytest.mark.parametrize(("side", "size"), [(512, (341, 512)), (2000, (400, 600)), (120, (80, 120))])
def test_large_images_are_shrunk(side: int, size: tuple[int, int], tmp_path: Path) -> None:
    data = DataLoader(samples(*make_pair(1, 400, 600)))  # type: ignore[arg-type]
    validate(ImageQualityMonitor(psnr(), worst=1, worst_side=side), data, logger=CSVLogger(tmp_path, "", ""))
    (picture,) = saved_pictures(tmp_path).values()
    assert picture.shape == (size[0] + CAPTION, 2 * size[1] + 4, 3)
    mean = picture[CAPTION:, : size[1]].mean()
    assert mean == pytest.approx(255 * float(make_pair(1, 400, 600)[1].mean()), abs=1)


@pytest.mark.parametrize("worst", [0, 2])
def test_two_dataloaders_show_their_own(worst: int, tmp_path: Path) -> None:
    data = [loader(3), loader(3, seed=1)]
    validate(ImageQualityMonitor({"p": psnr()}, worst=worst), data, logger=CSVLogger(tmp_path, "", ""))
    found = saved_pictures(tmp_path)
    assert len(found) == 2 * worst
    for number, seed in ((0, 0), (1, 1)) if worst else ():
        picture = found[f"quality/val-epoch=0000-step=0/dataloader_idx_{number}/p_worst_01_index_2.png"]
        assert np.array_equal(picture[CAPTION:, :32], panel(pictures(3, seed)[1][2]))


def test_an_epoch_forgets_the_worst_of_the_last(tmp_path: Path) -> None:
    run = trainer(
        ImageQualityMonitor(psnr(), worst=1), max_epochs=2, num_sanity_val_steps=0, logger=CSVLogger(tmp_path, "", "")
    )
    run.fit(Restorer((1.0, 0.5)), loader(), loader())
    first, second = saved_pictures(tmp_path).values()
    worst = worst_order("psnr")[0]
    assert np.array_equal(first[CAPTION:, 114:146], panel(pictures()[0][worst]))
    assert np.array_equal(second[CAPTION:, 114:146], panel(faded(0.5)[0][worst]))


def test_a_random_order_has_no_index_to_name(tmp_path: Path) -> None:
    data = loader(3, shuffle=True, batch_size=2, generator=torch.Generator().manual_seed(0))
    validate(ImageQualityMonitor(psnr(), worst=3), data, logger=CSVLogger(tmp_path, "", ""))
    assert sorted(name[-13:-4] for name in saved_pictures(tmp_path)) == ["batch_0-0", "batch_0-1", "batch_1-0"]


# Loggers that take pictures


class Fake(Logger):
    """A logger that notes what it is sent."""

    def __init__(self, experiment: Any = None) -> None:
        super().__init__()
        self.sent: list[dict[str, Any]] = []
        self._experiment = experiment(self.sent) if experiment else None

    name, version, experiment = "fake", 0, property(lambda self: self._experiment)

    def log_metrics(self, metrics: Any, step: Any = None) -> None: ...

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...


class Wandb(Fake):
    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        assert isinstance(images, list)
        assert all(len(values) == len(images) for values in kwargs.values())
        self.sent.append({"name": key, "picture": images[0], "step": step, "caption": kwargs["caption"][0]})


class Writer:
    """A ``SummaryWriter``."""

    def __init__(self, sent: list[Any]) -> None:
        self.sent = sent

    def add_image(
        self, tag: str, img_tensor: Any, global_step: Any = None, walltime: Any = None, dataformats: str = "CHW"
    ) -> None:
        assert dataformats == "HWC"
        self.sent.append({"name": tag, "picture": img_tensor, "step": global_step})


class Client:
    """An ``MlflowClient``."""

    def __init__(self, sent: list[Any]) -> None:
        self.sent = sent

    def log_image(
        self,
        run_id: str,
        image: Any,
        artifact_file: str | None = None,
        key: str | None = None,
        step: int | None = None,
        timestamp: int | None = None,
        synchronous: bool | None = None,
    ) -> None:
        assert run_id == "run"
        assert (artifact_file is None) != (key is None)
        self.sent.append({"name": artifact_file, "picture": image})


class Mlflow(Fake):
    run_id = "run"


class Experiment:
    """Comet's."""

    def __init__(self, sent: list[Any]) -> None:
        self.sent = sent

    def log_image(
        self, image_data: Any, name: str | None = None, overwrite: bool = False, step: int | None = None
    ) -> None:
        self.sent.append({"name": name, "picture": image_data, "step": step})


LOGGERS: dict[str, Callable[[], Fake]] = {
    "wandb": Wandb,
    "tensorboard": lambda: Fake(Writer),
    "mlflow": lambda: Mlflow(Client),
    "comet": lambda: Fake(Experiment),
}


@pytest.mark.parametrize("kind", LOGGERS)
def test_loggers_are_sent_the_worst_images(kind: str) -> None:
    logger, order = LOGGERS[kind](), worst_order("psnr")
    run = trainer(ImageQualityMonitor({"psnr": psnr()}, worst=2), logger=logger, num_sanity_val_steps=0)
    run.fit(Restorer(), loader(), loader())
    assert len(logger.sent) == 2
    for place, (sent, i) in enumerate(zip(logger.sent, order, strict=False), 1):
        if kind == "mlflow":
            assert sent["name"] == f"quality/val-epoch=0000-step=3/psnr_worst_{place:02d}_index_{i}.png"
        else:
            assert (sent["name"], sent["step"]) == (f"quality/worst/psnr/{place}", 3)
        picture = sent["picture"]
        assert (picture.dtype, picture.shape) == (np.uint8, (32 + CAPTION, 224, 3))
        assert np.array_equal(picture[CAPTION:, :32], panel(pictures()[1][i]))
        if kind == "wandb":
            what, score = sent["caption"].rsplit(" ", 1)
            assert what == f"index {i}, psnr"
            assert float(score) == near(psnr_by_hand(pictures()[0][i], pictures()[1][i]))


def test_a_logger_that_fails_warns_once_and_ends_nothing(tmp_path: Path) -> None:
    class Broken(Fake):
        def log_image(self, **kwargs: Any) -> None:
            raise OSError("no network")

    run = trainer(ImageQualityMonitor(psnr(), worst=2), max_epochs=2, logger=[Broken(), CSVLogger(tmp_path, "", "")])
    with pytest.warns(UserWarning, match=r"Broken did not take a picture, training goes on: .*no network") as caught:
        run.fit(Restorer(), loader(), loader())
    assert len([one for one in caught if "did not take" in str(one.message)]) == 1
    assert run.current_epoch == 2
    assert len(saved_pictures(tmp_path)) == 4


def test_a_logger_without_a_folder_takes_none() -> None:
    assert "quality/vit" in validate(ImageQualityMonitor(both()), loader(), logger=Fake(lambda sent: object()))


# The references' features


@pytest.mark.parametrize("options", [{}, {"reference_version": "v1"}], ids=["content", "version"])
def test_the_cache_changes_no_value_and_hits_from_the_second_epoch(options: dict[str, Any]) -> None:
    seen, reports = [], []

    class Report(Callback):
        def on_validation_end(self, run: Any, module: Any) -> None:
            reports.append(monitor.cache.report()["hit_rate"] if monitor.cache else None)

    for cache in (None, "1GiB"):
        record = Record()
        monitor = ImageQualityMonitor(both(), cache_references=cache, **(options if cache else {}))
        run = trainer(monitor, record, Report(), max_epochs=3, num_sanity_val_steps=0)
        run.fit(Restorer(STRENGTHS), loader(), loader())
        seen.append(record.seen)
    for plain, cached in zip(*seen, strict=True):
        assert plain == pytest.approx(cached, rel=0, abs=1e-6)
    assert reports[3:] == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("options", [{}, {"reference_version": "v1"}], ids=["content", "version"])
def test_the_cache_does_not_mix_stages_and_dataloaders(options: dict[str, Any]) -> None:
    record, monitor = Record(), ImageQualityMonitor(vit(), cache_references="1GiB", **options)
    run = trainer(monitor, record, num_sanity_val_steps=0)
    run.fit(Restorer(), loader(), [loader(5), loader(5, seed=1)])
    run.test(Restorer(), [loader(5, seed=2), loader(5, seed=3)], verbose=False)
    found = [seen[f"quality/FeatureDistance/dataloader_idx_{i}"] for seen in record.seen for i in (0, 1)]
    assert found == [near(vit_by_hand(*pictures(5, seed))) for seed in range(4)]


def test_a_cache_that_is_too_small_says_so_once() -> None:
    monitor = ImageQualityMonitor(vit(), cache_references="20kB")
    with pytest.warns(UserWarning, match=r"do not all fit: hit rate .* the whole set takes") as caught:
        trainer(monitor, max_epochs=3).fit(Restorer(), loader(), loader())
    assert len([one for one in caught if "do not all fit" in str(one.message)]) == 1
    assert monitor.cache is not None
    assert 0 < monitor.cache.size <= 20_000


# What is not finite


class Diverging(Restorer):
    """Two of its predictions are not finite."""

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        preds = batch["lq"].clone()
        if batch_idx == 1:
            preds[1, 0, 0, 0], preds[2, 0, 0, 0] = float("nan"), float("inf")
        return {"preds": preds}


def test_an_error_names_the_samples() -> None:
    with pytest.raises(ValueError, match=r"2 of 4 predictions .* NaN or infinite .*\(samples \[5, 6\]\)"):
        validate(ImageQualityMonitor(both()), loader(), Diverging())


@pytest.mark.parametrize("strategy", ["warn", "ignore"])
def test_samples_are_left_out_and_their_share_is_logged(strategy: Any) -> None:
    kept = [0, 1, 2, 3, 4, 7, 8]
    monitor = ImageQualityMonitor(both(), nan_strategy=strategy, worst=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        logged = validate(monitor, loader(), Diverging())
    assert {name: logged[f"quality/{name}"] for name in both()} == by_hand(*(images[kept] for images in pictures()))
    assert logged["quality/share_not_finite"] == near(2 / 9)
    assert any("they are left out" in str(one.message) for one in caught) == (strategy == "warn")
    whole = validate(ImageQualityMonitor(both(), nan_strategy=strategy), loader())
    assert whole["quality/share_not_finite"] == 0
    assert "quality/share_not_finite" not in validate(ImageQualityMonitor(both()), loader())


def test_an_epoch_of_nothing_finite_logs_only_that() -> None:
    monitor = ImageQualityMonitor(
        both(), preds=lambda outputs, batch: batch["lq"] * float("nan"), nan_strategy="ignore"
    )
    assert validate(monitor, loader()) == {"quality/share_not_finite": 1.0}


# State


def test_the_state_is_small_plain_and_survives_a_checkpoint(tmp_path: Path) -> None:
    saved = ModelCheckpoint(tmp_path, save_last=True)
    monitor = ImageQualityMonitor(both())
    run = trainer(monitor, saved, max_epochs=3, enable_checkpointing=True)
    run.fit(Restorer(STRENGTHS), loader(), loader())
    state = monitor.state_dict()
    assert json.loads(json.dumps(state)) == state
    assert len(json.dumps(state)) < 1000
    assert state["best"]["quality/vit"] == {"value": by_hand(*faded(0.4))["vit"], "epoch": 1}
    resumed = ImageQualityMonitor(both())
    run = trainer(resumed, max_epochs=4)
    run.fit(Restorer(STRENGTHS), loader(), loader(), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert resumed.best == monitor.best


def test_an_interrupted_run_goes_on_with_the_same_values(tmp_path: Path) -> None:
    def train(epochs: int, path: Path | None = None) -> tuple[list[dict[str, float]], ImageQualityMonitor]:
        torch.manual_seed(0)
        record, monitor = Record(), ImageQualityMonitor(both(), cache_references="1GiB")
        saved = ModelCheckpoint(tmp_path / str(epochs), save_last=True)
        run = trainer(monitor, record, saved, max_epochs=epochs, num_sanity_val_steps=0, enable_checkpointing=True)
        run.fit(Restorer(rate=0.1), loader(), loader(), ckpt_path=path)
        return record.seen, monitor

    whole, whole_monitor = train(4)
    before, _ = train(2)
    after, monitor = train(4, tmp_path / "2" / "last.ckpt")
    assert len({seen["quality/vit"] for seen in whole}) == 4
    for one, other in zip(whole, [*before, *after], strict=True):
        assert one == pytest.approx(other, rel=1e-6)
    assert monitor.best == whole_monitor.best


def test_several_monitors_keep_apart(tmp_path: Path) -> None:
    one = ImageQualityMonitor({"psnr": psnr()}, prefix="a/", worst=1)
    other = ImageQualityMonitor({"psnr": psnr()}, prefix="b/", worst=1, preds=lambda o, b: 2 * b["lq"], crop_border=2)
    assert one.state_key != other.state_key
    logged_by = trainer(one, other, logger=CSVLogger(tmp_path, "", ""), num_sanity_val_steps=0)
    logged_by.fit(Restorer(), loader(), loader())
    logged = logged_by.callback_metrics
    preds, target = pictures()
    inner = (..., slice(2, -2), slice(2, -2))
    assert float(logged["a/psnr"]) == near(psnr_by_hand(preds, target))
    assert float(logged["b/psnr"]) == near(psnr_by_hand(2 * preds[inner], target[inner]))
    assert float(logged["a/share_outside"]) == 0
    assert float(logged["b/share_outside"]) > 0
    assert [name[0] for name in saved_pictures(tmp_path)] == ["a", "b"]
    assert (set(one.best), set(other.best)) == ({"a/psnr"}, {"b/psnr"})


def test_monitors_that_log_one_name_are_an_error() -> None:
    one = ImageQualityMonitor({"psnr": psnr()})
    other = ImageQualityMonitor({"psnr": psnr()}, stages=("val",))
    with pytest.raises(ValueError, match=r"two monitors log 'quality/psnr': give one of them another prefix="):
        trainer(one, other).fit(Restorer(), loader(), loader())


@pytest.mark.parametrize("first", [True, False])
def test_of_monitors_with_one_prefix_the_first_logs_the_shares(first: bool, tmp_path: Path) -> None:
    plain = ImageQualityMonitor({"vit": vit()}, worst=1)
    bright = ImageQualityMonitor({"psnr": psnr()}, preds=lambda outputs, batch: 2 * batch["lq"], worst=1)
    preds, target = pictures()
    run = trainer(*([plain, bright] if first else [bright, plain]), logger=CSVLogger(tmp_path, "", ""))
    run.validate(Restorer(), loader(), verbose=False)
    logged = {name: float(value) for name, value in run.callback_metrics.items()}
    seen = preds if first else 2 * preds
    assert logged == {
        "quality/vit": by_hand(preds, target)["vit"],
        "quality/psnr": near(psnr_by_hand(2 * preds, target)),
        "quality/share_outside": near(float(((seen < 0) | (seen > 1)).double().mean())),
    }
    assert [Path(name).name[:5] for name in saved_pictures(tmp_path)] == ["psnr_", "vit_w"]


def test_prefixes_are_one_where_the_stage_makes_them_so() -> None:
    plain = ImageQualityMonitor({"vit": vit()}, worst=0, prefix="{stage}/")
    bright = ImageQualityMonitor({"psnr": psnr()}, worst=0, prefix="val/", preds=lambda outputs, batch: 2 * batch["lq"])
    run = trainer(plain, bright)
    run.validate(Restorer(), loader(), verbose=False)
    preds, _ = pictures()
    outside = float(((preds < 0) | (preds > 1)).double().mean())
    assert float(run.callback_metrics["val/share_outside"]) == near(outside)


def test_the_first_monitor_that_has_a_share_logs_it() -> None:
    strict = ImageQualityMonitor({"vit": vit()}, worst=0)
    lenient = ImageQualityMonitor({"psnr": psnr()}, worst=0, nan_strategy="warn")
    run = trainer(strict, lenient)
    run.validate(Restorer(), loader(), verbose=False)
    assert float(run.callback_metrics["quality/share_not_finite"]) == 0


def test_equal_monitors_are_an_error() -> None:
    # Lightning's own, where it cannot tell the states of two callbacks apart.
    with pytest.raises((ValueError, RuntimeError), match=r"ImageQualityMonitor|two monitors log"):
        trainer(*(ImageQualityMonitor(psnr()) for _ in range(2))).fit(Restorer(), loader(), loader())


def test_monitors_of_different_stages_may_share_a_prefix() -> None:
    monitors = [ImageQualityMonitor({"psnr": psnr()}, stages=stage) for stage in ("val", "test")]
    run = trainer(*monitors)
    run.fit(Restorer(), loader(), loader())
    assert "quality/psnr" in run.test(Restorer(), loader(), verbose=False)[0]


# Arguments

WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "metric": ({"metrics": nn.Linear(1, 1)}, ["Linear"]),
    "metric_in_dict": ({"metrics": {"a": 3}}, ["3"]),
    "recipe": ({"metrics": "no-such-recipe"}, ["no-such-recipe"]),
    "no_metrics": ({"metrics": []}, ["`metrics` is empty"]),
    "one_name": ({"metrics": [psnr(), psnr()]}, ["PeakSignalNoiseRatio", "dict"]),
    "preds": ({"preds": 1.5}, ["`preds`", "1.5"]),
    "preds_bool": ({"preds": True}, ["`preds`", "True"]),
    "target": ({"target": None}, ["`target`", "None"]),
    "predict": ({"predict": "module"}, ["`predict`", "'module'"]),
    "stages": ({"stages": ("val", "train")}, ["`stages`", "'train'"]),
    "stage": ({"stages": "fit"}, ["`stages`", "'fit'"]),
    "no_stages": ({"stages": ()}, ["`stages`", "()"]),
    "every_n_epochs": ({"every_n_epochs": 0}, ["`every_n_epochs`", "0"]),
    "worst": ({"worst": -1}, ["`worst`", "-1"]),
    "worst_side": ({"worst_side": 0}, ["`worst_side`", "0"]),
    "crop_border": ({"crop_border": 1.5}, ["`crop_border`", "1.5"]),
    "worst_by": ({"worst_by": "ssim"}, ["worst_by='ssim'", "psnr"]),
    "data_range": ({"data_range": (1, 0)}, ["`data_range`", "(1, 0)"]),
    "nan_strategy": ({"nan_strategy": "skip"}, ["`nan_strategy`", "'skip'"]),
    "cache_references": ({"cache_references": "8 apples"}, ["'8 apples'"]),
    "cache_dtype": ({"cache_references": "1GiB", "cache_dtype": "half-size"}, ["`cache_dtype`", "'half-size'"]),
    "cache_dtype_int": ({"cache_references": "1GiB", "cache_dtype": torch.int8}, ["torch.int8"]),
    "cache_device": ({"cache_references": "1GiB", "cache_device": "gpu"}, ["`cache_device`", "'gpu'"]),
    "version": ({"cache_references": "1GiB", "reference_version": 3}, ["`reference_version`", "3"]),
    "prefix": ({"prefix": None}, ["`prefix`", "None"]),
    "maps": ({"maps": "no"}, ["`maps`", "'no'"]),
    "prog_bar": ({"prog_bar": "no"}, ["`prog_bar`", "'no'"]),
    "cache_for_nothing": ({"metrics": psnr(), "cache_references": "1GiB"}, ["`cache_references`"]),
    "no_direction": ({"metrics": {"d": type("Odd", (PerImage,), {"higher_is_better": None})()}}, ["worst=0"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named(case: str) -> None:
    options, parts = WRONG[case]
    with pytest.raises(ValueError) as caught:
        ImageQualityMonitor(**{"metrics": both(), **options})
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def test_the_module_is_untouched() -> None:
    module = Restorer()
    before = set(module.state_dict())
    run = trainer(ImageQualityMonitor(both()))
    run.fit(module, loader(), loader())
    assert set(module.state_dict()) == before
    assert isinstance(module, pl.LightningModule)
