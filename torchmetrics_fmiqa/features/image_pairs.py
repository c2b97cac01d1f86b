"""A pair of images as the user has it, checked and brought to [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.image_checks import DataRange, check_pair, check_values, crop, to_unit
from torchmetrics_fmiqa.misuse import WarnOnce


def unit_pair(
    preds: Tensor,
    target: Tensor,
    dtype: torch.dtype,
    data_range: DataRange,
    border: int,
    validate: bool,
    warn: WarnOnce,
    clamp_target: bool = False,
) -> tuple[Tensor, Tensor]:
    """Bring both sides ``(N, 3, H, W)`` to [0, 1] without their border; no gradient reaches the targets.

    Args:
        preds: as the user has them.
        target: likewise.
        dtype: what to compute in.
        data_range: range of floating point images.
        border: pixels to cut off each side.
        validate: check the values too.
        warn: callable that warns once.
        clamp_target: clamp the targets, instead of an error where they leave their range.

    Raises:
        ValueError: for images that do not fit, naming the value and the fix.
    """
    check_pair(preds, target)
    if torch.is_grad_enabled() and target.requires_grad and not preds.requires_grad:
        warn(
            "order",
            "`target` requires a gradient and `preds` does not, but gradients reach `preds` alone: this distance "
            "trains nothing. The order is (preds, target), the image under test first; if `target` is the "
            "reference, give target.detach()",
        )
    floating = preds.is_floating_point(), target.is_floating_point()
    preds, target = crop(preds, border), crop(target, border)
    preds = to_unit(preds, data_range, dtype, "preds")
    with torch.no_grad():
        target = to_unit(target.detach(), data_range, dtype, "target")
        if validate and not torch.compiler.is_compiling():
            check_values(preds, target, data_range, warn, floating, clamp_target)
        if clamp_target:
            target = target.clamp(0, 1)
    return preds, target
