"""The distances of the published ZS-IQA code (Ghildyal, Barman and Zadtootaghaj, ICASSP 2025), to the letter.

For parity with its published scores alone: several of them are not what their names say. The cosine of a convolution
runs over the *width* of its map; ``jsd``, ``skld`` and ``wsd`` take layers for channels and regroup values by a
``reshape`` that mixes tokens and channels; ``wsd`` weighs positions by a softmax over the other axis, so that its
transport term almost vanishes beside the squared difference; ``swd`` treats the layers as one vector's components.
The distances of this package that share a name compute what the name says.

Each function takes one tile's worth of :class:`Tokens` for each tap, in order, and gives ``(N,)`` or ``(N, L)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from torchmetrics_fmiqa.features.tokens import Tokens

Stack = Sequence[Tokens]

_WINDOW = 8
_SEED = 0


def l2(preds: Tokens, target: Tokens) -> Tensor:
    """Mean squared difference over all tokens (CLS included) and channels."""
    return (preds.values - target.values).square().mean((1, 2))


def cos(preds: Tokens, target: Tokens) -> Tensor:
    """One minus the cosine over channels; over the width, not the channels, for the map of a convolution."""
    one, other = preds.values, target.values
    if preds.is_map:
        # (N, h * w, C) -> (N, C, h, w): the published code leaves the map as it is and takes dim=-1
        one, other = (tokens.transpose(1, 2).unflatten(2, preds.grid) for tokens in (one, other))
    return (1 - F.cosine_similarity(one, other, dim=-1)).flatten(1).mean(1)


def jsd(preds: Stack, target: Stack) -> Tensor:
    """Jensen-Shannon divergence of the regrouped stack, log(1 + mean)^(1/4)."""
    one, other = (_columns(_stack(taps)).softmax(1) + 1e-10 for taps in (preds, target))
    mean = torch.log((one + other) / 2 + 1e-17)
    return _compress(((one * (one.log() - mean)).sum(1) + (other * (other.log() - mean)).sum(1)) / 2)


def skld(preds: Stack, target: Stack) -> Tensor:
    """Symmetric Kullback-Leibler divergence of the regrouped stack plus a weighted squared difference."""
    raw, raw_other = (_columns(_stack(taps)) for taps in (preds, target))
    one, other = (column.softmax(1) + 1e-10 for column in (raw, raw_other))
    divergence = ((one - other) * (one.log() - other.log())).sum(1) / 2
    return _compress(divergence + _squared_term(raw, raw_other, divergence))


def wsd(preds: Stack, target: Stack) -> Tensor:
    """1-Wasserstein distance over the 64 places of a column, plus a weighted squared difference.

    The published code normalises over the columns, not the places, so two columns differ in mass; POT's 1-D solver,
    which it calls, then leaves the excess at the last place. That is the sum of |F - G| over all places but the last.
    """
    raw, raw_other = (_columns(_stack(taps)) for taps in (preds, target))
    one, other = (column.softmax(2).cumsum(1) for column in (raw, raw_other))
    transport = (one - other)[:, :-1].abs().sum(1)
    return _compress(transport + _squared_term(raw, raw_other, transport))


def swd(preds: Stack, target: Stack) -> Tensor:
    """Sliced squared 2-Wasserstein distance of the layers' vectors; directions seeded, where published ones are not."""
    one, other = (_stack(taps).flatten(2) for taps in (preds, target))  # (N, L, T * C)
    directions = _directions(one.shape[1]).to(one.device, one.dtype)
    one, other = (torch.einsum("nlt,ml->nmt", layers, directions).sort(2).values for layers in (one, other))
    return (one - other).square().mean(1).sum(1)


#: Distances tap by tap, summed over taps.
PER_TAP: dict[str, Callable[[Tokens, Tokens], Tensor]] = {"l2": l2, "cos": cos}

#: Distances of all taps at once.
STACKED: dict[str, Callable[[Stack, Stack], Tensor]] = {"jsd": jsd, "skld": skld, "wsd": wsd, "swd": swd}


def _stack(taps: Stack) -> Tensor:
    """All tokens of all taps, ``(N, L, T, C)``."""
    shapes = sorted({tuple(tap.values.shape[1:]) for tap in taps})
    if len(shapes) > 1:
        raise ValueError(
            "the zsiqa distances jsd, skld, wsd and swd stack the taps, which must have one shape: "
            f"got (T, C) of {shapes[0]} and {shapes[-1]}; use l2 or cos for a convolutional network"
        )
    return torch.stack([tap.values for tap in taps], 1)


def _columns(stack: Tensor) -> Tensor:
    """Regroup ``(N, L, T, C)`` into ``(N, 64, columns)`` as the published ``reshape(8, 8, L, -1)`` does.

    Both sides are first padded with zeros (or cut) to the *nearest* multiple of 8: rows at the end, columns in front.
    """
    rows, cols = (round(side / _WINDOW) * _WINDOW - side for side in stack.shape[2:])
    padded = F.pad(stack, (cols, 0, 0, rows))
    if padded.numel() == 0:
        raise ValueError(
            "the zsiqa distances jsd, skld and wsd regroup tokens by 8 and need at least 5 of them with 5 channels, "
            f"got (T, C) of {tuple(stack.shape[2:])}"
        )
    return padded.reshape(stack.shape[0], _WINDOW * _WINDOW, -1)


def _squared_term(one: Tensor, other: Tensor, distance: Tensor) -> Tensor:
    weight = 1 / (torch.sqrt(torch.exp(-1 / (distance + 10))) * (distance + 10) ** 2)
    return (one - other).square().sum(1) * weight


def _compress(columns: Tensor) -> Tensor:
    """``log(1 + mean)^(1/4)``, with a finite gradient at zero."""
    value = torch.log(columns.mean(1) + 1).clamp(min=0)
    zero = value == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, value) ** 0.25)


@lru_cache(maxsize=32)
def _directions(layers: int) -> Tensor:
    with torch.inference_mode(False):
        draw = torch.randn(layers, layers, generator=torch.Generator("cpu").manual_seed(_SEED), device="cpu")
        return draw / draw.square().sum(1, keepdim=True).sqrt()
