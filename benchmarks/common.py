"""What the benchmarks share: the assets, timing by interleaved repeats, the real LPIPS-squeeze."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from torchmetrics_fmiqa.benchmark.metrics.network_baselines import lpips_network

ASSETS = Path(os.environ.get("FMIQA_ASSETS", Path(__file__).parents[2] / "shared" / "assets"))
VIT_TINY = ASSETS / "weights" / "vit_tiny_patch16_224.safetensors"
SQUEEZENET = ASSETS / "weights" / "squeezenet1_1.safetensors"


def timing_arguments(text: str, batch: int, size: int, repeats: int) -> argparse.ArgumentParser:
    """The options of a script that times calls on images; ``text`` is its help, the rest are its defaults."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="vit_base_patch16_224")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--size", type=int, default=size)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--repeats", type=int, default=repeats)
    return parser


def images(options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Noisy and clean images of the size and on the device of :func:`timing_arguments`."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(options.batch, 3, options.size, options.size, generator=generator)
    preds = (target + 0.05 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    return preds.to(options.device), target.to(options.device)


def least(measures: dict[str, Callable[[], Sequence[float]]], repeats: int) -> dict[str, tuple[float, ...]]:
    """The least of each figure that each measure gives; the measures take turns.

    What else a machine does only ever adds: the least of several turns is nearest to what the thing itself takes, and a
    ratio of two of them hangs least on when each was measured.
    """
    found: dict[str, list[Sequence[float]]] = {name: [] for name in measures}
    for _ in range(repeats):
        for name, measure in measures.items():
            found[name].append(measure())
    return {name: tuple(map(min, zip(*turns, strict=True))) for name, turns in found.items()}


def seconds_of(calls: dict[str, Callable[[], object]], repeats: int, device: str) -> dict[str, float]:
    """Least seconds of each call; the calls take turns, after a first one that warms up."""

    def timed(call: Callable[[], object]) -> tuple[float]:
        if device != "cpu":
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        return (time.perf_counter() - start,)

    for call in calls.values():
        call()
    return {name: one for name, (one,) in least({n: partial(timed, c) for n, c in calls.items()}, repeats).items()}


def lpips_squeeze(pretrained: bool = True) -> nn.Module:
    """The LPIPS-squeeze of torchmetrics; its trunk from the assets' file, so that nothing is downloaded."""
    os.environ.setdefault("FMIQA_ASSETS", str(ASSETS))
    return lpips_network("squeeze", pretrained)
