"""Add image quality to somebody else's LightningModule without touching it: three lines, marked below.

python examples/monitor.py            # a minute on two cores, nothing is downloaded
"""

import lightning.pytorch as pl
import skimage.data
import torch
from kornia.filters import gaussian_blur2d
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Deblurring(pl.LightningModule):
    """Somebody else's module: its validation step returns a loss and knows nothing of image quality."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.Conv2d(32, 3, 5, padding=2))

        nn.init.zeros_(self.net[2].weight)  # it starts with the blurred image as it is

    def forward(self, blurred: torch.Tensor) -> torch.Tensor:
        return blurred + self.net(blurred)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return (self(batch[0]) - batch[1]).abs().mean()

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return self.training_step(batch, batch_idx)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 3e-4)


def crops(name: str) -> TensorDataset:
    image = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1).float() / 255
    target = image.unfold(1, 96, 76).unfold(2, 96, 76).permute(1, 2, 0, 3, 4).flatten(0, 1)
    return TensorDataset(gaussian_blur2d(target, (9, 9), (1.5, 1.5)), target)


if __name__ == "__main__":
    from torchmetrics_fmiqa import FeatureDistance, ImageQualityMonitor  # 1

    metric = FeatureDistance()  # 2
    monitor = ImageQualityMonitor({"distance": metric}, target=1, predict=lambda module, batch: module(batch[0]))  # 3
    best = ModelCheckpoint(monitor="quality/distance", mode="min")
    trainer = pl.Trainer(max_epochs=6, callbacks=[monitor, best], log_every_n_steps=5)
    trainer.fit(Deblurring(), DataLoader(crops("coffee"), 3, shuffle=True), DataLoader(crops("astronaut"), 8))
    print(f"best quality/distance {float(best.best_model_score):.4f}; the worst images are in {trainer.log_dir}")
