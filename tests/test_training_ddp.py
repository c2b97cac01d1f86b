"""The loss in modules that are trained by two gloo processes: the gradients are those of one process on all images."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from tests.conftest import RANDOM_VIT, make_pair
from tests.processes import RANKS, Outcome
from torchmetrics_fmiqa import FeatureDistance, FeatureDistanceLoss
from torchmetrics_fmiqa.features.network import load_network

pytestmark = [
    pytest.mark.slow,  # two processes import everything anew
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
]

STEPS, RATE = 3, 0.5


class Step(nn.Module):
    """A network and its perceptual loss, in one module: what ``DistributedDataParallel`` wraps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 3, padding=1))
        self.perceptual = FeatureDistanceLoss(**RANDOM_VIT)

    def forward(self, preds: Tensor, target: Tensor) -> Tensor:
        value: Tensor = self.perceptual(preds + 0.1 * self.net(preds), target)
        return value


def _share(rank: int | None) -> tuple[Tensor, Tensor]:
    """A rank's half of the batch; all of it for ``None``."""
    preds, target = make_pair(4, 32, 32)
    return (preds, target) if rank is None else (preds[rank::RANKS], target[rank::RANKS])


def _whole(tensor: Tensor) -> Tensor:
    tensor = getattr(tensor, "full_tensor", lambda: tensor)()
    return tensor.detach().clone()


def _train(module: nn.Module, rank: int | None, gathered: Callable[[], Any] = nullcontext) -> dict[str, Any]:
    """Losses, gradients and weights of a few steps."""
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
    results: dict[str, Any] = {"loss": []}
    for step in range(STEPS):
        optimizer.zero_grad()
        value = module(*_share(rank))
        value.backward()
        results["loss"].append(value.detach())
        with gathered():
            results["gradient", step] = [_whole(parameter.grad) for parameter in module.parameters()]
        optimizer.step()
        with gathered():
            results["weight", step] = [_whole(parameter) for parameter in module.parameters()]
    return results


# What runs in the processes


def _data_parallel(rank: int) -> dict[str, Any]:
    # Backbone parameters would be "unused" here, and an error in the second step.
    return _train(DistributedDataParallel(Step(), find_unused_parameters=False), rank)


def _fully_shard(rank: int) -> dict[str, Any]:
    module, mesh = Step(), init_device_mesh("cpu", (RANKS,))
    for part in (module.net[0], module.net[2], module.perceptual, module):
        fully_shard(part, mesh=mesh)
    return _train(module, rank)


def _fully_sharded(rank: int) -> dict[str, Any]:
    module = FullyShardedDataParallel(Step(), device_id=torch.device("cpu"), use_orig_params=True)
    return _train(module, rank, lambda: FullyShardedDataParallel.summon_full_params(module, with_grads=True))


class Restorer(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.step = Step()
        self.distance = FeatureDistance(**RANDOM_VIT)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        value: Tensor = self.step(*batch)
        return value

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        self.distance(batch[0] + 0.1 * self.step.net(batch[0]), batch[1])
        self.log("distance", self.distance)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=RATE)


class ShardedRestorer(Restorer):
    def configure_model(self) -> None:
        for part in (self.step.net, self.step):
            fully_shard(part, mesh=self.device_mesh["data_parallel"])  # type: ignore[index]


def _lightning(rank: int) -> dict[str, Any]:
    # Lightning joins the two processes that are there instead of starting its own.
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(RANKS)}
    sharded = ModelParallelStrategy(data_parallel_size=RANKS, tensor_parallel_size=1)
    return {
        "ddp": _fit(Restorer(), devices=RANKS, strategy="ddp"),
        "fully_shard": _fit(ShardedRestorer(), devices=RANKS, strategy=sharded),
    }


WORKS = (_data_parallel, _fully_shard, _fully_sharded, _lightning)


def _fit(module: Restorer, devices: int, **options: Any) -> dict[str, Any]:
    images = DataLoader(TensorDataset(*_share(None)), 4 // devices)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        max_epochs=STEPS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    trainer.fit(module, images, images)
    return {
        "ranks": trainer.world_size,
        "distance": trainer.callback_metrics["distance"],
        "weights": [_whole(parameter) for parameter in module.parameters()],
    }


@pytest.fixture(scope="module")
def single() -> dict[str, Any]:
    """One process on the whole batch."""
    kept = load_network(RANDOM_VIT["backbone"], RANDOM_VIT["weights"])
    results = _train(Step(), None)
    results["kept"] = kept
    return results


def assert_steps(found: list[dict[Any, Any]], single: dict[str, Any]) -> None:
    """Ranks agree to the bit, and with one process up to the order of sums."""
    for step in range(STEPS):
        mean = torch.stack([result["loss"][step] for result in found]).mean()
        torch.testing.assert_close(mean, single["loss"][step], rtol=1e-5, atol=0)
        for what in ("gradient", "weight"):
            one, other = (result[what, step] for result in found)
            torch.testing.assert_close(one, other, rtol=0, atol=0)
            torch.testing.assert_close(one, single[what, step], rtol=1e-4, atol=1e-6)
    assert single["loss"][-1] < single["loss"][0]
    assert all(gradient.abs().sum() > 0 for gradient in single["gradient", 0])


def test_data_parallel_training_equals_one_process(outcome: Outcome, single: dict[str, Any]) -> None:
    assert_steps(outcome(_data_parallel), single)


def test_fully_shard_training_equals_one_process(outcome: Outcome, single: dict[str, Any]) -> None:
    assert_steps(outcome(_fully_shard), single)


def test_fully_sharded_data_parallel_training_equals_one_process(outcome: Outcome, single: dict[str, Any]) -> None:
    assert_steps(outcome(_fully_sharded), single)


@pytest.mark.parametrize("strategy", ["ddp", "fully_shard"])
def test_training_with_lightning_equals_one_process(outcome: Outcome, strategy: str) -> None:
    alone = _fit(Restorer(), devices=1)
    for results in outcome(_lightning):
        result = results[strategy]
        assert result["ranks"] == RANKS
        torch.testing.assert_close(result["weights"], alone["weights"], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(result["distance"], alone["distance"], rtol=1e-5, atol=0)
