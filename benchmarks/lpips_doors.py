"""LPIPS of this package beside torchmetrics' and the lpips package's: processor time and size of a checkpoint.

    OMP_NUM_THREADS=1 python benchmarks/lpips_doors.py
    OMP_NUM_THREADS=1 python benchmarks/lpips_doors.py --net vgg --batch 4 --size 128 --repeats 3

Random trunks: they take the time and the space of the real ones. `metric` is the distance of a batch without a
gradient, `loss` forward and backward to the predictions. Seconds are those of the processor, so that another job hardly
counts.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Sequence
from functools import partial

import lpips
import torch
from common import least
from torch import Tensor, nn

from torchmetrics_fmiqa.benchmark.metrics.network_baselines import lpips_network
from torchmetrics_fmiqa.compat import LPIPS

Distance = Callable[[Tensor, Tensor], Tensor]


def distances(net: str) -> dict[str, nn.Module]:
    """The same distance by three packages."""
    return {
        "compat.LPIPS": LPIPS(net=net, weights="random:0"),
        "torchmetrics": lpips_network(net, pretrained=False),
        "lpips": lpips.LPIPS(net=net, pnet_rand=True, verbose=False).requires_grad_(False),
    }


def metric(distance: Distance, preds: Tensor, target: Tensor) -> None:
    with torch.no_grad():
        distance(preds, target)


def loss(distance: Distance, preds: Tensor, target: Tensor) -> None:
    distance(preds.clone().requires_grad_(), target).mean().backward()


def processor_seconds(call: Callable[[], None]) -> Sequence[float]:
    start = time.process_time()
    call()
    return (time.process_time() - start,)


def checkpoint_bytes(distance: nn.Module) -> int:
    """What a training that holds the loss writes for it, beyond an empty state dict."""

    def size(state: dict[str, Tensor]) -> int:
        file = io.BytesIO()
        torch.save(state, file)
        return file.tell()

    state = dict(distance.state_dict())
    return size(state) - size({}) if state else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="squeeze", choices=["squeeze", "alex", "vgg"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    preds, target = 2 * torch.rand(2, options.batch, 3, options.size, options.size, generator=generator) - 1
    packages = distances(options.net)
    found: dict[str, dict[str, float]] = {name: {} for name in packages}
    for what in (metric, loss):
        calls = {name: partial(what, distance, preds, target) for name, distance in packages.items()}
        for call in calls.values():
            call()  # the first one makes what is kept
        measures = {name: partial(processor_seconds, call) for name, call in calls.items()}
        for name, (seconds,) in least(measures, options.repeats).items():
            found[name][what.__name__] = seconds
    print(f"{options.net}, batch {options.batch}, {options.size}², {torch.get_num_threads()} threads")
    ours = found["compat.LPIPS"]
    for name, seconds in found.items():
        ratios = ", ".join(f"{what} {value:.3f} s ({value / ours[what]:.2f})" for what, value in seconds.items())
        print(f"{name:14s} {ratios}, checkpoint {checkpoint_bytes(packages[name]) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
