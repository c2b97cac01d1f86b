"""The network of the super-resolution example and how it is trained: L1, a perceptual loss, a term against grids."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch
from super_resolution_data import SCALE, enlarge, shrink
from torch import Tensor, nn

from torchmetrics_fmiqa import FeatureDistanceLoss, GridArtifactLoss


class Block(nn.Module):
    """Residual block without normalisation, as in EDSR."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class SmallEDSR(nn.Module):
    """x4 super-resolution: residual blocks at low resolution, pixel shuffle, added to the bicubic enlargement."""

    def __init__(self, width: int = 48, blocks: int = 8) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(Block(width) for _ in range(blocks)), nn.Conv2d(width, width, 3, padding=1))
        self.tail = nn.Conv2d(width, 3 * SCALE**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(SCALE)
        # the correction starts at zero: before any training the network is bicubic
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(self, small: Tensor) -> Tensor:
        features = self.head(small - 0.5)
        features = features + self.body(features)
        return enlarge(small) + self.shuffle(self.tail(features)).float()


class SuperResolution(L.LightningModule):
    """Trains :class:`SmallEDSR` with ``L1 + weight * perceptual + grid_weight * grid``; what is not given is out."""

    def __init__(
        self,
        lr: float,
        seed: int,
        perceptual: FeatureDistanceLoss | None = None,
        weight: float = 0.0,
        grid: GridArtifactLoss | None = None,
        grid_weight: float = 0.0,
        steps: int = 1,
    ) -> None:
        super().__init__()
        self.network = SmallEDSR().to(memory_format=torch.channels_last)
        self.lr, self.seed, self.steps = lr, seed, steps
        self.perceptual, self.weight = perceptual, weight
        self.grid, self.grid_weight = grid, grid_weight

    def forward(self, small: Tensor) -> Tensor:
        return self.network(small.contiguous(memory_format=torch.channels_last))

    def training_step(self, crops: Tensor, batch_idx: int) -> Tensor:
        target = crops.float() / 255
        preds = self(shrink(target))
        loss = l1 = nn.functional.l1_loss(preds, target)
        if self.perceptual is not None:
            # the loss draws its shift from torch's generator: by step, so that a resumed run draws the same
            torch.manual_seed(self.seed + self.global_step)
            perceptual = self.perceptual(preds, target)
            loss = l1 + self.weight * perceptual
            self.log("train/perceptual", perceptual)
        if self.grid is not None:
            grid = self.grid(preds, target)
            loss = loss + self.grid_weight * grid
            self.log("train/grid", grid)
        self.log("train/l1", l1, prog_bar=True)
        return loss

    def validation_step(self, images: Tensor, batch_idx: int) -> dict[str, Tensor]:
        # the monitor takes its pairs from here
        target = images.float() / 255
        return {"preds": self(shrink(target)).clamp(0, 1), "target": target}

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps, eta_min=self.lr / 50)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
