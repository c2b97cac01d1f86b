"""What a metric costs: time for a megapixel, and parameters."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.metrics.metric import Metric


@dataclass(frozen=True)
class Cost:
    """Cost of a metric, alone, on one pair."""

    metric: str
    seconds_per_megapixel: float  #: median over repeats, of a pair, on this machine: compare within one table only
    parameters: float  #: of its network, in millions


def measure_cost(metric: Metric, preds: Tensor, target: Tensor, repeats: int = 3) -> Cost:
    """Take the time of a metric on one pair, without gradient, after one call that is not counted.

    The first call builds, compiles and fetches; a benchmark of many pairs pays it once.

    Images are ``(1, 3, H, W)`` float32 in [0, 1], no smaller than the metric takes, on the device to measure on; a CUDA
    device is waited for. The median of the repeats counts.

    >>> mse = Metric("mse", lambda preds, target: (preds - target).square().mean((1, 2, 3)), False, True, "mse")
    >>> cost = measure_cost(mse, torch.zeros(1, 3, 100, 100), torch.ones(1, 3, 100, 100))
    >>> cost.seconds_per_megapixel > 0, cost.parameters
    (True, 0.0)
    """
    height, width = preds.shape[-2:]
    seconds = []
    with torch.no_grad():
        metric.score(preds, target)
        for _ in range(repeats):
            _wait(preds.device)
            start = time.perf_counter()
            metric.score(preds, target)
            _wait(preds.device)
            seconds.append(time.perf_counter() - start)
    return Cost(metric.name, statistics.median(seconds) / (height * width / 1e6), metric.parameters)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
