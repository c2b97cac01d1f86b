"""The published ZS-IQA algorithm (ICASSP 2025), transcribed plainly: one image, one tile, batch 1. An oracle only."""

from __future__ import annotations

import numpy as np
import ot
import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW, STRIDE = 224, 200
PER_TAP = ("l2", "cos")
STACKED = ("jsd", "skld", "wsd", "swd")


def window_starts(length: int) -> list[int]:
    starts = [int(start) for start in np.arange(0, length - WINDOW, STRIDE)]
    if len(starts) == 0:
        return [length - WINDOW]
    return [*starts, length - WINDOW]


def windows(image: Tensor) -> list[Tensor]:
    rows, columns = window_starts(image.shape[2]), window_starts(image.shape[3])
    return [image[:, :, top : top + WINDOW, left : left + WINDOW] for top in rows for left in columns]


def read_taps(net: nn.Module, taps: list[str], tile: Tensor) -> list[Tensor]:
    features: dict[str, Tensor] = {}
    handles = [
        net.get_submodule(tap).register_forward_hook(lambda _module, _args, out, tap=tap: features.update({tap: out}))
        for tap in taps
    ]
    with torch.no_grad():
        net(tile)
    for handle in handles:
        handle.remove()
    return [features[tap] for tap in taps]


def l2(dis: list[Tensor], ref: list[Tensor]) -> float:
    return sum(float(((d - r) ** 2).mean()) for d, r in zip(dis, ref, strict=True))


def cos(dis: list[Tensor], ref: list[Tensor]) -> float:
    return sum(float((1 - F.cosine_similarity(d, r, dim=-1)).mean()) for d, r in zip(dis, ref, strict=True))


def embed_cos(dis: Tensor, ref: Tensor) -> float:
    return float((1 - (F.normalize(dis, dim=-1) * F.normalize(ref, dim=-1)).sum(-1)).mean())


def to_columns(features: list[Tensor]) -> Tensor:
    stack = torch.stack([block[0] for block in features])[None]  # (1, L, T, C)
    _, layers, height, width = stack.shape
    pad_height = round(height / 8) * 8 - height
    pad_width = round(width / 8) * 8 - width
    stack = F.pad(stack, (pad_width, 0, 0, pad_height))
    regrouped = stack.reshape([8, 8, layers, -1])
    return regrouped.reshape([-1, layers * regrouped.shape[-1]])


def squared_difference_term(dis: Tensor, ref: Tensor, distance: Tensor) -> Tensor:
    weight = 1 / (torch.sqrt(torch.exp(-1 / (distance + 10))) * (distance + 10) ** 2)
    return ((dis - ref) ** 2).sum(0) * weight


def kullback_leibler(p: Tensor, q: Tensor) -> Tensor:
    return (p * torch.log(p / q)).sum(0)


def compress(columns: Tensor) -> float:
    return float(torch.log(columns.mean() + 1) ** 0.25)


def jsd(dis: list[Tensor], ref: list[Tensor]) -> float:
    p, q = (torch.softmax(to_columns(side), 0) + 1e-10 for side in (dis, ref))
    middle = (p + q) / 2
    return compress((kullback_leibler(p, middle) + kullback_leibler(q, middle)) / 2)


def skld(dis: list[Tensor], ref: list[Tensor]) -> float:
    x, y = to_columns(dis), to_columns(ref)
    p, q = (torch.softmax(side, 0) + 1e-10 for side in (x, y))
    divergence = (kullback_leibler(p, q) + kullback_leibler(q, p)) / 2
    return compress(divergence + squared_difference_term(x, y, divergence))


def wsd(dis: list[Tensor], ref: list[Tensor]) -> float:
    x, y = to_columns(dis), to_columns(ref)
    places = torch.arange(64, dtype=x.dtype)[:, None].repeat(1, x.shape[1])
    transport = ot.lp.wasserstein_1d(places, places, torch.softmax(x, -1), torch.softmax(y, -1), p=1)
    return compress(transport + squared_difference_term(x, y, transport))


def swd(dis: list[Tensor], ref: list[Tensor]) -> float:
    x, y = (torch.stack([block[0] for block in side]).flatten(1) for side in (dis, ref))  # (L, T * C)
    directions = torch.randn(len(x), len(x), generator=torch.Generator().manual_seed(0))
    directions = (directions / torch.sqrt((directions**2).sum(1, keepdim=True))).to(x.dtype)
    x, y = (torch.sort(directions @ side, dim=1).values for side in (x, y))
    return float(((x - y) ** 2).mean(0).sum())


BY_NAME = {"l2": l2, "cos": cos, "jsd": jsd, "skld": skld, "wsd": wsd, "swd": swd}


def scores(
    net: nn.Module, dis: Tensor, ref: Tensor, taps: list[str], distances: list[str], embedding: str | None = None
) -> dict[str, float]:
    """Score one pair ``(1, 3, H, W)`` by each distance; ``embedding`` adds ``embed_cos`` at that module."""
    names = taps + ([embedding] if embedding else [])
    totals: dict[str, list[float]] = {}
    for dis_tile, ref_tile in zip(windows(dis), windows(ref), strict=True):
        d, r = read_taps(net, names, dis_tile), read_taps(net, names, ref_tile)
        for distance in distances:
            totals.setdefault(distance, []).append(BY_NAME[distance](d[: len(taps)], r[: len(taps)]))
        if embedding:
            totals.setdefault("embed_cos", []).append(embed_cos(d[-1], r[-1]))
    return {distance: sum(values) / len(values) for distance, values in totals.items()}
