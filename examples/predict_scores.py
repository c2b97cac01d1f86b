"""Score what a model predicts, on several processes: `Trainer.predict` with a writer, then `fmiqa collect`.

python examples/predict_scores.py scores/ --devices 2      # a minute on two cores, nothing is downloaded
fmiqa collect scores/
"""

import argparse
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from torchmetrics_fmiqa.callbacks import PairScoreWriter

COUNT = 7  # odd: two processes do not have the same number of images


class Photographs(Dataset[dict[str, Any]]):
    """Made-up images, and the same with noise; a real one reads files."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, number: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(number)
        target = nn.functional.interpolate(torch.rand(1, 3, 8, 8, generator=generator), (64, 64), mode="bicubic")
        target = target[0].clamp(0, 1)
        noisy = target + 0.01 * number * torch.randn(target.shape, generator=generator)
        return {"id": f"image {number}", "noisy": noisy, "target": target}


class Denoising(pl.LightningModule):
    """A model; this one gives back what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Identity()

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        preds: Tensor = self.net(batch["noisy"]).clamp(0, 1)
        return {"id": batch["id"], "preds": preds, "target": batch["target"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--devices", type=int, default=2)
    given = parser.parse_args()
    writer = PairScoreWriter(given.folder)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=given.devices,
        strategy="ddp" if given.devices > 1 else "auto",
        callbacks=[writer],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.predict(Denoising(), DataLoader(Photographs(), batch_size=2), return_predictions=False)
