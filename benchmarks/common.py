"""What the benchmarks share: the assets, timing by interleaved repeats, the real LPIPS-squeeze."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from torchmetrics_fmiqa.benchmark.network_baselines import lpips_network

ASSETS = Path(os.environ.get("FMIQA_ASSETS", Path(__file__).parents[2] / "shared" / "assets"))
VIT_TINY = ASSETS / "weights" / "vit_tiny_patch16_224.safetensors"
SQUEEZENET = ASSETS / "weights" / "squeezenet1_1.safetensors"


def medians(calls: dict[str, Callable[[], object]], repeats: int, device: str) -> dict[str, float]:
    """Median seconds of each call; the calls take turns, so that a busy moment hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            if device != "cpu":
                torch.cuda.synchronize()
            start = time.perf_counter()
            call()
            if device != "cpu":
                torch.cuda.synchronize()
            if repeat:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def lpips_squeeze(pretrained: bool = True) -> nn.Module:
    """The LPIPS-squeeze of torchmetrics; its trunk from the assets' file, so that nothing is downloaded."""
    os.environ.setdefault("FMIQA_ASSETS", str(ASSETS))
    return lpips_network("squeeze", pretrained)
