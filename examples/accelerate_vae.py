"""Train and validate a small VAE with accelerate, as the scripts of diffusers do: each image counts once.

torchrun --nproc-per-node 2 examples/accelerate_vae.py --out logs    # a minute on two cores, nothing is downloaded
accelerate launch --num_processes 2 examples/accelerate_vae.py       # on two GPUs
"""

import argparse

import skimage.data
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics.image import PeakSignalNoiseRatio

from torchmetrics_fmiqa import FeatureDistance, FeatureDistanceLoss, QualityMonitor
from torchmetrics_fmiqa.monitoring import log_report


class TinyVae(nn.Module):
    """48 x 48 pixels to 4 channels of 12 x 12 and back."""

    def __init__(self) -> None:
        super().__init__()
        down, up = {"kernel_size": 4, "stride": 2, "padding": 1}, {"kernel_size": 4, "stride": 2, "padding": 1}
        self.encoder = nn.Sequential(nn.Conv2d(3, 32, **down), nn.SiLU(), nn.Conv2d(32, 8, **down))
        self.decoder = nn.Sequential(nn.ConvTranspose2d(4, 32, **up), nn.SiLU(), nn.ConvTranspose2d(32, 3, **up))

    def forward(self, images: Tensor, sample: bool = False) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(images).chunk(2, 1)
        latent = mean + (0.5 * log_variance).exp() * torch.randn_like(mean) if sample else mean
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return self.decoder(latent), divergence


def crops(name: str) -> list[dict[str, Tensor | int]]:
    """Crops of a photograph in [-1, 1], as a VAE takes them, with their indices as ids."""
    photograph = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1).float() / 127.5 - 1
    images = photograph.unfold(1, 48, 84).unfold(2, 48, 84).permute(1, 2, 0, 3, 4).flatten(0, 1)
    return [{"pixel_values": image, "id": index} for index, image in enumerate(images)]


def main(out: str, epochs: int, log_with: str | None, gather: bool) -> None:
    # Without cpu=True several processes on CPUs are no distributed run to accelerate: each would take all images.
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), log_with=log_with, project_dir=out)
    set_seed(0)
    if log_with is not None:
        accelerator.init_trackers("vae")
    vae = TinyVae()
    optimizer = torch.optim.Adam(vae.parameters(), 2e-3)
    train, val = DataLoader(crops("astronaut"), 4, shuffle=True), DataLoader(crops("coffee"), 4)
    vae, optimizer, train, val = accelerator.prepare(vae, optimizer, train, val)
    perceptual = FeatureDistanceLoss(data_range=(-1, 1))

    metrics = {"distance": FeatureDistance(data_range=(-1, 1)), "psnr": PeakSignalNoiseRatio(data_range=(-1.0, 1.0))}
    monitor = QualityMonitor(metrics, data_range=(-1, 1), worst=4)
    for epoch in range(epochs + 1):  # validated once before the training too
        for batch in train if epoch else ():
            restored, divergence = vae(batch["pixel_values"], sample=True)
            loss = (restored - batch["pixel_values"]).abs().mean() + 0.1 * perceptual(restored, batch["pixel_values"])
            accelerator.backward(loss + 1e-4 * divergence)
            optimizer.step()
            optimizer.zero_grad()
        for batch in val:
            with torch.no_grad():
                restored, _ = vae(batch["pixel_values"])
            if not gather:  # each process its own images; the ids tell which are padding
                monitor.step(restored, batch["pixel_values"], batch["id"])
                continue
            restored, target = accelerator.gather_for_metrics((restored, batch["pixel_values"]))
            if accelerator.is_main_process:  # it has all images, without padding
                monitor.step(restored, target)
        report = monitor.report()  # over all processes: each of them calls it
        monitor.reset()
        log_report(report, out if log_with is None else accelerator, step=epoch)  # the first process writes
        accelerator.print(f"epoch {epoch}: {report}")
    accelerator.end_training()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="logs", help="folder for the worst images and report.json, or of the tracker")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--log-with", help="a tracker of accelerate, such as tensorboard, wandb or trackio")
    parser.add_argument("--gather", action="store_true", help="gather_for_metrics instead of ids")
    options = parser.parse_args()
    main(options.out, options.epochs, options.log_with, options.gather)
