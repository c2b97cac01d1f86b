"""Validate in a plain torch.distributed loop: each image counts once on any number of processes, padding or not.

torchrun --nproc-per-node 2 examples/torchrun_validation.py --out logs    # seconds on two cores, no download
"""

import argparse
import os

import skimage.data
import torch
from kornia.filters import gaussian_blur2d
from torch import distributed, nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from torchmetrics.image import PeakSignalNoiseRatio

from torchmetrics_fmiqa import FeatureDistance, QualityMonitor
from torchmetrics_fmiqa.monitoring import log_report


class Crops(Dataset[dict[str, torch.Tensor | int]]):
    """35 crops of a photograph, with their indices as ids."""

    def __init__(self) -> None:
        photograph = torch.from_numpy(skimage.data.coffee()).permute(2, 0, 1).float() / 255
        self.crops = photograph.unfold(1, 96, 76).unfold(2, 96, 76).permute(1, 2, 0, 3, 4).flatten(0, 1)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor | int]:
        return {"target": self.crops[index], "id": index}


def main(out: str) -> None:
    cuda = torch.cuda.is_available()
    if "RANK" in os.environ:  # started by torchrun
        distributed.init_process_group("nccl" if cuda else "gloo")
    device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if cuda else "cpu")
    if cuda:
        torch.cuda.set_device(device)
    data = Crops()
    sampler = DistributedSampler(data, shuffle=False) if distributed.is_initialized() else None  # pads 35 to 36
    loader = DataLoader(data, batch_size=4, sampler=sampler)
    network = nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False).to(device)  # yours: this one sharpens
    network.weight.data = (
        torch.tensor([[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]], device=device).expand(3, 1, 3, 3).clone()
    )

    metrics = {"distance": FeatureDistance(), "psnr": PeakSignalNoiseRatio(data_range=1.0)}
    monitor = QualityMonitor(metrics, worst=4)
    with torch.no_grad():
        for batch in loader:
            target = batch["target"].to(device)
            preds = network(gaussian_blur2d(target, (5, 5), (1.0, 1.0)))
            monitor.step(preds, target, batch["id"])
    report = monitor.report()  # over all processes: each of them calls it
    log_report(report, out, step=0)  # or a SummaryWriter, wandb, mlflow ...; the first process writes
    if not distributed.is_initialized() or distributed.get_rank() == 0:
        print(report)
        print("distance, 95 % interval: {:.4f} to {:.4f}".format(*report.interval("distance")))
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="logs", help="folder for the worst images and report.json")
    main(parser.parse_args().out)
