"""What the conventional maps of SPIPS cost beside a backbone, each ratio taken in one run.

    python benchmarks/quality_maps.py                                    # CPU, ViT-B/16 with random weights, minutes
    python benchmarks/quality_maps.py --backbone vit_tiny_patch16_224 --repeats 5
    python benchmarks/quality_maps.py --device cuda --precision bfloat16 --repeats 20

`maps`: PSNR, SSIM and MS-SSIM maps of N pairs; `pooled`: the same and their mean, spread and percentile.
`torchmetrics`: its SSIM with the full map and its MS-SSIM, on RGB and on luma; it has no map of MS-SSIM.
`update`: the same pairs through FeatureDistance. The maps beside it are to leave room for the rest of SPIPS in 1.3.
"""

from __future__ import annotations

import torch
from common import images, seconds_of, timing_arguments
from torch import Tensor

from torchmetrics_fmiqa import FeatureDistance
from torchmetrics_fmiqa.comparator.pooling import pool_map
from torchmetrics_fmiqa.spips_model.quality_maps import quality_maps


def main() -> None:
    options = timing_arguments(str(__doc__), batch=4, size=512, repeats=1).parse_args()
    print(f"{options.backbone}, batch {options.batch}, {options.size}², {options.device}, {options.precision}")
    preds, target = images(options)
    metric = FeatureDistance(backbone=options.backbone, weights="random:0", precision=options.precision)
    metric.to(options.device)
    learned = preds.clone().requires_grad_()

    def pooled(one: Tensor, other: Tensor) -> Tensor:
        return torch.cat([pool_map(drawn) for drawn in quality_maps(one, other).values()], 1)

    cheap = {
        "maps": lambda: quality_maps(preds, target),
        "pooled": lambda: pooled(preds, target),
        "gradient": lambda: pooled(learned, target).sum().backward(),
        "torchmetrics, RGB": lambda: torchmetrics_ssims(preds, target),
        "torchmetrics, luma": lambda: torchmetrics_ssims(luma(preds), luma(target)),
    }
    calls = {**cheap, "update": lambda: metric.update(preds, target)}
    seconds = seconds_of(calls, options.repeats, options.device)
    for name, taken in seconds.items():
        print(f"{name:40s} {1000 * taken:10.1f} ms", flush=True)
    ratios = {
        "torchmetrics, RGB ÷ maps": seconds["torchmetrics, RGB"] / seconds["maps"],
        "torchmetrics, luma ÷ maps": seconds["torchmetrics, luma"] / seconds["maps"],
        "(update + pooled maps) ÷ update": 1 + seconds["pooled"] / seconds["update"],
        "(update + torchmetrics, RGB) ÷ update": 1 + seconds["torchmetrics, RGB"] / seconds["update"],
    }
    for name, ratio in ratios.items():
        print(f"{name:40s} {ratio:10.3f}")


def luma(pixels: Tensor) -> Tensor:
    return (pixels * pixels.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


@torch.no_grad()
def torchmetrics_ssims(preds: Tensor, target: Tensor) -> None:
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure,
        structural_similarity_index_measure,
    )

    structural_similarity_index_measure(preds, target, data_range=1.0, return_full_image=True)
    multiscale_structural_similarity_index_measure(preds, target, data_range=1.0)


if __name__ == "__main__":
    main()
