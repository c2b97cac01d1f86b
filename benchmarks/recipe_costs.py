"""What each named recipe costs: parameters, multiplications and memory for a pair. Random weights; no download.

    python benchmarks/recipe_costs.py                    # all recipes, some minutes
    python benchmarks/recipe_costs.py embedded vit-tiny

The figures of `fmiqa recipes` (torchmetrics_fmiqa/recipes/facts.py) are from here.
"""

from __future__ import annotations

import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from torchmetrics_fmiqa import FeatureComparator
from torchmetrics_fmiqa.memory import peak_bytes
from torchmetrics_fmiqa.recipes import RECIPES, as_recipe


def costs(name: str, side: int = 512) -> tuple[float, float]:
    """Millions of parameters, and thousand millions of multiplications for a pair of ``side x side``."""
    comparator = FeatureComparator(as_recipe(name, weights="random:0"))
    pair = torch.rand(2, 1, 3, side, side, generator=torch.Generator().manual_seed(0))
    # Plain attention: whether the counter sees a fused one hangs on PyTorch's version and the processor.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        comparator(pair[0], pair[1])
    # the counter counts an addition and a multiplication as two
    return comparator.backbone.network.parameters / 1e6, counter.get_total_flops() / 2e9


def megabytes(name: str, side: int = 512) -> float:
    """10^6 bytes that live at once for a pair of ``side x side``, for each megapixel, beside the weights.

    Counted from shapes, attention in its plain form: what kernels take for themselves is left out.
    """
    comparator = FeatureComparator(as_recipe(name, weights="random:0"))
    pair = torch.rand(2, 1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        return peak_bytes(lambda: comparator(pair[0], pair[1])) / side**2


def main() -> None:
    names = sys.argv[1:] or [name for name in RECIPES if name not in ("default", "accurate")]
    for name in names:
        parameters, gmacs = costs(name)
        print(f"{name:24s} {parameters:7.2f} M parameters {gmacs:8.1f} GMAC for a pair of 512 x 512", end=" ")
        print(f"{megabytes(name):6.0f} MB a megapixel", flush=True)


if __name__ == "__main__":
    main()
