"""A 4K pair on a CPU, ViT-Tiny in tiles: peak memory, and time against a 1080p pair.

python benchmarks/memory_4k.py        # about three minutes on two cores; goal: at most 3 GiB and a ratio of 4.4

The sizes take turns, each in a process of its own, and the least of three turns counts.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from functools import partial

import torch
from common import VIT_TINY, least

from torchmetrics_fmiqa import FeatureDistance

SIZES = {"1080p": (1080, 1920), "4K": (2160, 3840)}


def measure(name: str) -> tuple[float, float]:
    """Seconds of an update (the better of two) and peak MiB of the process."""
    weights = str(VIT_TINY) if VIT_TINY.is_file() else "random:0"
    metric = FeatureDistance(backbone="vit_tiny_patch16_224", weights=weights)
    target = torch.randint(0, 256, (1, 3, *SIZES[name]), dtype=torch.uint8)
    preds = target ^ torch.randint(0, 8, target.shape, dtype=torch.uint8)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        metric.update(preds, target)
        seconds.append(time.perf_counter() - start)
    return min(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def in_process(name: str) -> list[float]:
    done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True)
    return [float(value) for value in done.stdout.split()]


def main() -> None:
    if len(sys.argv) > 1:
        print(*measure(sys.argv[1]))
        return
    found = least({name: partial(in_process, name) for name in SIZES}, repeats=3)
    for name, (seconds, peak) in found.items():
        print(f"{name:6s} {seconds:7.2f} s   peak {peak:6.0f} MiB")
    print(f"4K ÷ 1080p: {found['4K'][0] / found['1080p'][0]:.2f} in time")


if __name__ == "__main__":
    main()
