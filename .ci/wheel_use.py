"""What the wheel must do by itself, without extras and without the sources: metric, loss, map, callback; two images."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import torchmetrics_fmiqa
from torchmetrics_fmiqa import FeatureDistance, FeatureDistanceLoss, ImageQualityMonitor, feature_distance_map


class Blur(LightningModule):
    """A module whose validation knows nothing of image quality."""

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> dict[str, torch.Tensor]:
        """Give the images."""
        return {"preds": torch.nn.functional.avg_pool2d(batch[0], 3, 1, 1)}


def main() -> None:
    """Raise where something does not work."""
    torch.manual_seed(0)
    target = torch.rand(4, 3, 64, 64)
    preds = torch.nn.functional.avg_pool2d(target, 3, 1, 1).requires_grad_()
    FeatureDistanceLoss()(preds, target).backward()
    metric = FeatureDistance()
    metric.update(preds.detach(), target)
    wanted, mean = metric.compute(), feature_distance_map(preds.detach(), target).mean()
    torch.testing.assert_close(mean, wanted, rtol=1e-3, atol=0)

    monitor = ImageQualityMonitor({"distance": FeatureDistance()}, target=0, worst=0)
    trainer = Trainer(logger=False, callbacks=[monitor], enable_progress_bar=False, enable_model_summary=False)
    (logged,) = trainer.validate(Blur(), DataLoader(TensorDataset(target), 2), verbose=False)
    torch.testing.assert_close(torch.tensor(logged["quality/distance"]), wanted, rtol=1e-4, atol=0)

    for name, image in (("reference", target[0]), ("restored", preds[0].detach())):
        Image.fromarray((255 * image).round().byte().permute(1, 2, 0).numpy()).save(f"{name}.png")
    print(f"{torchmetrics_fmiqa.__version__} from {torchmetrics_fmiqa.__file__}: {float(wanted):.4f}")


if __name__ == "__main__":
    main()
