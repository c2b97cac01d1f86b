"""The loss inside a LightningModule: what Lightning does to a module never reaches the backbone, and training works."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging
from lightning.pytorch.utilities.model_summary import ModelSummary
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.conftest import RANDOM_VIT, make_pair
from torchmetrics_fmiqa import FeatureDistance, FeatureDistanceLoss
from torchmetrics_fmiqa.features.network import load_network

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`.*"),
]

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def network() -> Any:
    """Keep the backbone between tests: building it takes longest."""
    return load_network(RANDOM_VIT["backbone"], RANDOM_VIT["weights"])


class Restorer(pl.LightningModule):
    """A tiny network trained with nothing but the perceptual loss, and validated with the metric."""

    def __init__(self, with_loss: bool = True, manual: bool = False, **fields: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Conv2d(3, 3, 3, padding=1)
        self.fields = {**RANDOM_VIT, **fields}
        self.perceptual: nn.Module = self.make_loss() if with_loss else nn.MSELoss()
        self.automatic_optimization = not manual
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def make_loss(self) -> FeatureDistanceLoss:
        return FeatureDistanceLoss(**self.fields)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.net.parameters(), lr=0.05, momentum=0.9)

    def forward(self, images: Tensor) -> Tensor:
        return images + 0.1 * self.net(images)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        preds, target = self(batch[0]), batch[1]
        value: Tensor = self.perceptual(preds, target)
        self.seen.append((preds.detach(), target, value.detach()))
        if not self.automatic_optimization:
            optimizer = self.optimizers()
            optimizer.zero_grad()  # type: ignore[union-attr]
            self.manual_backward(value)
            optimizer.step()  # type: ignore[union-attr]
        return value


class LazyRestorer(Restorer):
    """Builds its loss in ``configure_model``, where Lightning's own context surrounds it."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(with_loss=False, **fields)

    def configure_model(self) -> None:
        if isinstance(self.perceptual, nn.MSELoss):
            self.perceptual = self.make_loss()


def images(batch: int = 2, count: int = 4) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*make_pair(count, 32, 32)), batch)


def make_trainer(**options: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(accelerator="cpu", devices=1, **{**quiet, "enable_checkpointing": False, **options})


def fit(module: Restorer, batch: int = 2, ckpt_path: Path | None = None, **options: Any) -> pl.Trainer:
    trainer = make_trainer(**{"max_epochs": 1, **options})
    trainer.fit(module, images(batch), ckpt_path=ckpt_path, weights_only=False)
    return trainer


def backbone(owner: Any) -> nn.Module:
    """The shared frozen network of a loss or a metric."""
    network: nn.Module = owner.comparator.backbone.network.on(CPU, torch.float32)
    return network


def pointers(net: nn.Module) -> list[int]:
    return [tensor.data_ptr() for tensor in net.parameters()]


def copies() -> int:
    """How many different patch embeddings of the backbone live in this process."""
    gc.collect()
    shape = (192, 3, 16, 16)
    found = (item for item in gc.get_objects() if type(item) in (Tensor, nn.Parameter))
    return len({item.data_ptr() for item in found if item.shape == shape and not item.is_meta})


def tensors(item: Any) -> Iterator[Tensor]:
    """All tensors in nested containers and objects."""
    if isinstance(item, Tensor):
        yield item
    elif isinstance(item, nn.Module):
        yield from item.state_dict().values()
    elif isinstance(item, dict):
        for value in item.values():
            yield from tensors(value)
    elif isinstance(item, (list, tuple, set)):
        for value in item:
            yield from tensors(value)
    elif hasattr(item, "__dict__"):
        yield from tensors(vars(item))


def assert_same(one: Tensor, other: Tensor, tolerance: float = 1e-6) -> None:
    """Not to the bit: a busy machine may split sums over threads differently. Half precision is off by 1e-4 or more."""
    torch.testing.assert_close(one, other, rtol=tolerance, atol=0)


def assert_weights(one: Restorer, other: Restorer, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(one.net.state_dict(), other.net.state_dict(), rtol=0, atol=tolerance)


def assert_trained(module: Restorer) -> None:
    """The gradient of the loss arrived: the weights have moved, to somewhere finite."""
    start = Restorer(with_loss=False).net.weight.to(module.net.weight)
    assert module.net.weight.isfinite().all()
    assert (module.net.weight - start).abs().max() > 1e-4


# What is saved, counted and loaded


def test_a_checkpoint_holds_nothing_of_the_loss(tmp_path: Path) -> None:
    module = Restorer()
    module.save_hyperparameters({"recipe": module.perceptual.recipe})  # as users do
    fit(module).save_checkpoint(tmp_path / "with.ckpt")
    checkpoint = torch.load(tmp_path / "with.ckpt", weights_only=False)
    assert set(checkpoint["state_dict"]) == {"net.weight", "net.bias"}
    found = list(tensors(checkpoint))
    assert len(found) >= 4, "weights and their momentum"
    shapes = {parameter.shape for parameter in backbone(module.perceptual).parameters()}
    assert not [tensor.shape for tensor in found if tensor.shape in shapes]
    # Nor hidden in what is pickled: the backbone has 22 MB.
    assert (tmp_path / "with.ckpt").stat().st_size < 50_000


def test_the_loss_has_no_parameters_to_count() -> None:
    module = Restorer()
    own = sum(parameter.numel() for parameter in module.net.parameters())
    assert {name for name, _ in (*module.named_parameters(), *module.named_buffers())} == {"net.weight", "net.bias"}
    summary = ModelSummary(module, max_depth=-1)
    assert (summary.total_parameters, summary.trainable_parameters) == (own, own)
    assert summary.model_size == pytest.approx(own * 4 / 1e6, rel=0.1)


@pytest.mark.parametrize("saved_with", [True, False])
def test_a_checkpoint_fits_modules_with_and_without_the_loss(tmp_path: Path, saved_with: bool) -> None:
    module = Restorer(with_loss=saved_with)
    fit(module).save_checkpoint(tmp_path / "one.ckpt")
    loaded = Restorer.load_from_checkpoint(
        tmp_path / "one.ckpt", strict=True, with_loss=not saved_with, weights_only=False
    )
    assert_weights(loaded, module, 0)
    fit(loaded)


# What is done to the module


def _zero(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


TREATMENTS: dict[str, Callable[[Restorer], object]] = {
    "freeze": lambda module: module.freeze(),
    "unfreeze": lambda module: module.unfreeze(),
    "train": lambda module: module.train(),
    "requires_grad": lambda module: module.requires_grad_(True),
    "initialise": lambda module: module.apply(_zero),
    "half": lambda module: module.half(),
    "double": lambda module: module.double(),
    "bfloat16": lambda module: module.to(torch.bfloat16),
    "meta": lambda module: module.to("meta"),
    "to_empty": lambda module: module.to_empty(device="cpu"),
}


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_nothing_done_to_the_module_reaches_the_backbone(treatment: str) -> None:
    module = Restorer()
    preds, target = make_pair(1, 32, 32)
    before, net = module.perceptual(preds, target), backbone(module.perceptual)
    where = pointers(net)
    TREATMENTS[treatment](module)
    assert_same(module.perceptual(preds, target), before)
    assert backbone(module.perceptual) is net
    assert pointers(net) == where
    for tree in (net, module.perceptual.comparator.backbone._of(CPU, torch.float32).first.module):
        assert not any(part.training for part in tree.modules())
        assert not any(parameter.requires_grad for parameter in tree.parameters())


@pytest.mark.parametrize(
    "make",
    [
        lambda: EMAWeightAveraging(decay=0.5),
        lambda: StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1, annealing_epochs=1),
    ],
    ids=["ema", "swa"],
)
def test_averaging_shares_the_backbone_and_leaves_it_alone(make: Callable[[], pl.Callback]) -> None:
    module, plain, callback = Restorer(), Restorer(), make()
    pair = make_pair(1, 32, 32)
    before, had = module.perceptual(*pair), copies()
    fit(plain, max_epochs=3)
    fit(module, max_epochs=3, callbacks=[callback])
    assert_same(module.perceptual(*pair), before)
    averaged: Any = callback._average_model  # type: ignore[attr-defined]
    averaged = getattr(averaged, "module", averaged)
    assert averaged.perceptual is not module.perceptual
    assert pointers(backbone(averaged.perceptual)) == pointers(backbone(module.perceptual))
    assert copies() == had
    assert_trained(module)
    assert not torch.equal(module.net.weight, plain.net.weight), "the callback has averaged"


# Where the loss is built


class FirstUsedInValidation(Restorer):
    def __init__(self) -> None:
        super().__init__(with_loss=False, weights="random:51")  # weights that no other test has built

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        if isinstance(self.perceptual, nn.MSELoss):
            assert torch.is_inference_mode_enabled()
            self.perceptual = self.make_loss()
        self.log("distance", self.perceptual(self(batch[0]), batch[1]))


def test_a_loss_first_used_in_validation_trains() -> None:
    module = FirstUsedInValidation()
    (logged,) = make_trainer().validate(module, images(), verbose=False)
    assert isinstance(module.perceptual, FeatureDistanceLoss)
    assert not any(tensor.is_inference() for tensor in backbone(module.perceptual).parameters())
    fit(module, max_epochs=4)
    assert_trained(module)
    (trained,) = make_trainer().validate(module, images(), verbose=False)
    assert trained["distance"] < logged["distance"]


@pytest.mark.parametrize(
    ("precision", "empty"), [("32-true", False), ("32-true", True), ("bf16-true", True), ("64-true", False)]
)
def test_a_loss_built_in_init_module_is_the_same(precision: Any, empty: bool) -> None:
    seed = {"weights": "random:61"}  # only here, so that each is built anew
    pair = make_pair(1, 32, 32)
    with make_trainer(precision=precision).init_module(empty_init=empty):
        module = Restorer(**seed)
    inside, network = module.perceptual(*pair), weakref.ref(module.perceptual.comparator.backbone.network)
    assert {tensor.dtype for tensor in backbone(module.perceptual).parameters()} == {torch.float32}
    del module
    gc.collect()
    assert network() is None
    assert_same(Restorer(**seed).perceptual(*pair), inside)


def test_a_loss_built_on_the_meta_device_is_real() -> None:
    with torch.device("meta"):
        module = Restorer(weights="random:62")
    assert module.net.weight.is_meta
    pair = make_pair(1, 32, 32)
    assert_same(module.perceptual(*pair), Restorer(weights="random:62").perceptual(*pair))


@pytest.mark.parametrize("make", [Restorer, LazyRestorer])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "16-true", "64-true"])
def test_each_precision_trains_and_measures_what_it_says(make: type[Restorer], precision: Any) -> None:
    """``16-mixed`` is not here: on a CPU Lightning takes ``bf16-mixed`` instead."""
    module = make()
    fit(module, precision=precision, max_epochs=2)
    assert_trained(module)
    loss = FeatureDistanceLoss(**RANDOM_VIT)
    tolerance = {"bf16-mixed": 5e-5, "64-true": 1e-12}.get(precision, 1e-6)
    for preds, target, value in module.seen:
        assert value.dtype == (torch.float64 if precision == "64-true" else torch.float32)
        preds.requires_grad_()  # as in training: without gradients both sides share a batch, and rounding differs
        # "true" precisions set torch's default dtype around the step: it must not leak into the measure.
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            assert_same(loss(preds, target), value, tolerance)
        if precision == "bf16-mixed":
            assert not torch.equal(loss(preds, target), value), "the backbone follows the trainer's autocast"


# The loss beside the metric


def test_a_loss_and_a_metric_share_one_copy_of_the_weights() -> None:
    seed = {**RANDOM_VIT, "weights": "random:71"}
    had = copies()
    loss = FeatureDistanceLoss(**seed)
    metric = FeatureDistance(**seed)
    assert backbone(loss) is backbone(metric)
    assert copies() == had + 1
    pair = make_pair(1, 32, 32)
    before, where = loss(*pair), pointers(backbone(loss))
    metric.update(*pair)
    moves: list[tuple[str, Any]] = [("double", None), ("set_dtype", torch.float64), ("to", "meta"), ("reset", None)]
    for name, argument in moves:
        getattr(metric, name)(*(() if argument is None else (argument,)))
        assert pointers(backbone(loss)) == where
    del metric
    gc.collect()
    assert_same(loss(*pair), before)
    assert pointers(backbone(loss)) == where
    del loss
    assert copies() == had, "nobody needs the weights any more"


# Training goes on


def validated(module: Restorer) -> float:
    metric = FeatureDistance(**module.fields)
    with torch.inference_mode():
        for batch in images():
            metric.update(module(batch[0]), batch[1])
    return metric.compute().item()


def test_an_interrupted_training_goes_on_as_if_it_were_not(tmp_path: Path) -> None:
    seed = {"weights": "random:81"}
    straight = Restorer(**seed)
    assert fit(straight, max_epochs=2).global_step == 4
    expected, network = validated(straight), weakref.ref(straight.perceptual.comparator.backbone.network)
    weights = straight.net.state_dict()
    del straight

    first = Restorer(**seed)
    trainer = fit(first, max_epochs=1)
    assert trainer.global_step == 2
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    halfway = validated(first)
    del first, trainer
    gc.collect()
    assert network() is None, "the rest builds its backbone anew, as a new process does"

    resumed = Restorer(**seed)
    assert fit(resumed, max_epochs=2, ckpt_path=tmp_path / "half.ckpt").global_step == 4
    torch.testing.assert_close(resumed.net.state_dict(), weights, rtol=0, atol=1e-6)
    assert validated(resumed) == pytest.approx(expected, rel=1e-6)
    assert expected < halfway


def test_accumulation_clipping_and_manual_optimization() -> None:
    whole, accumulated, manual, clipped = Restorer(), Restorer(), Restorer(manual=True), Restorer()
    fit(whole, batch=4)
    fit(accumulated, batch=2, accumulate_grad_batches=2)
    fit(manual, batch=4)
    assert_trained(whole)
    assert_weights(accumulated, whole)
    assert_weights(manual, whole)
    start = torch.cat([tensor.flatten() for tensor in clipped.net.state_dict().values()]).clone()
    fit(clipped, batch=2, accumulate_grad_batches=2, gradient_clip_val=1e-4)
    moved = torch.cat([tensor.flatten() for tensor in clipped.net.state_dict().values()]) - start
    assert moved.norm() == pytest.approx(0.05 * 1e-4, rel=1e-2), "learning rate times the clipped norm"


# Real weights


@pytest.mark.parametrize("distance", ["cosine", "l2", "angular"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
def test_real_weights_give_finite_gradients_where_features_tie(
    vit_tiny: dict[str, str], distance: str, dtype: torch.dtype | None
) -> None:
    loss = FeatureDistanceLoss(**vit_tiny, distance=distance)
    natural = make_pair(1, 32, 32)[1]
    targets = {"equal": natural, "black": torch.zeros_like(natural), "constant": torch.full_like(natural, 0.5)}
    pixel = torch.zeros_like(natural)
    pixel[0, 0, 3, 4] = 0.1
    # GradScaler starts here: without a scale small gradients underflow in float16.
    scale = 65536.0 if dtype is torch.float16 else 1.0
    for case, target in targets.items():
        for moved in (torch.zeros_like(natural), pixel):
            preds = (target + moved).requires_grad_()
            with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
                value = loss(preds, target)
            (value * scale).backward()
            assert preds.grad is not None
            assert value.isfinite(), case
            assert preds.grad.isfinite().all(), case
            if moved is pixel:
                assert value > 0, case
                assert preds.grad.abs().sum() > 0, case
            else:
                assert value == 0, case
