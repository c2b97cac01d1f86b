"""What the tests of the monitor share: a module that hands its images through, and trainers that leave no traces."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tests.conftest import RANDOM_VIT, make_pair
from torchmetrics_fmiqa import FeatureDistance

#: Options of a trainer that logs nowhere and says nothing.
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "max_epochs": 1,
}
#: How much noise each image has, in no order.
NOISE = (0.1, 0.02, 0.3, 0.05, 0.2, 0.01, 0.25, 0.15, 0.08)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small images on a busy machine: threads would wait for each other longest of all."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pictures(n: int = 9, seed: int = 0, height: int = 32, width: int = 32) -> tuple[Tensor, Tensor]:
    """Pairs that differ by more or less."""
    noisy, target = make_pair(n, height, width, seed=seed, noise=1.0)
    levels = torch.tensor([NOISE[i % len(NOISE)] * (1 + i // len(NOISE)) for i in range(n)])
    return torch.lerp(target, noisy, levels[:, None, None, None]), target


def samples(preds: Iterable[Tensor], target: Iterable[Tensor]) -> list[dict[str, Tensor]]:
    return [{"lq": one, "target": other} for one, other in zip(preds, target, strict=True)]


def loader(n: int = 9, seed: int = 0, batch_size: int = 4, **options: Any) -> DataLoader[Any]:
    return DataLoader(samples(*pictures(n, seed)), batch_size=batch_size, **options)  # type: ignore[arg-type]


def restorer_class(package: str = "lightning.pytorch") -> Any:
    """The module's class, on the ``LightningModule`` of a package."""

    class Restorer(importlib.import_module(package).LightningModule):  # type: ignore[misc]
        """Predicts its input; in epoch e only the share ``strengths[e]`` of the damage is left."""

        def __init__(self, strengths: tuple[float, ...] = (1.0,), rate: float = 0.0) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            nn.init.dirac_(self.conv.weight)
            nn.init.zeros_(self.conv.bias)
            self.strengths, self.rate = strengths, rate

        def forward(self, images: Tensor) -> Tensor:
            return self.conv(images)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return (self(batch["lq"]) - batch["target"]).square().mean()

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            strength = self.strengths[min(self.current_epoch, len(self.strengths) - 1)]
            restored = self(batch["lq"])
            return {"preds": restored if strength == 1 else torch.lerp(batch["target"], restored, strength)}

        def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            return self.validation_step(batch, batch_idx)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), self.rate)

    return Restorer


Restorer = restorer_class()


class Silent(Restorer):
    """A module whose steps return nothing."""

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return None


def trainer(*callbacks: Any, **options: Any) -> Trainer:
    return Trainer(**{**QUIET, "callbacks": list(callbacks), **options})


def validate(monitor: Any, loaders: Any, module: LightningModule | None = None, **options: Any) -> dict[str, float]:
    """What a monitor logs in ``trainer.validate``."""
    run = trainer(monitor, **options)
    run.validate(Restorer() if module is None else module, loaders, verbose=False)
    return {name: float(value) for name, value in run.callback_metrics.items()}


def vit(**fields: Any) -> FeatureDistance:
    return FeatureDistance(**{**RANDOM_VIT, **fields})


def vit_by_hand(preds: Tensor, target: Tensor, **fields: Any) -> float:
    """The mean distance, one image at a time."""
    metric = vit(**fields)
    return sum(float(metric(one[None], other[None])) for one, other in zip(preds, target, strict=True)) / len(preds)


def psnr_by_hand(preds: Tensor, target: Tensor) -> float:
    """PSNR of the mean squared error over all pixels of all images in [0, 1]."""
    return float(-10 * (preds.double() - target.double()).square().mean().log10())
