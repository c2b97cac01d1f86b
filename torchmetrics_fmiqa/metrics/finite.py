"""What metrics do with predictions that hold NaN or infinite values."""

from __future__ import annotations

from typing import Literal, get_args

from torchmetrics.utilities import rank_zero_warn

from torchmetrics_fmiqa.comparator import Images
from torchmetrics_fmiqa.features.images import finite_images, select_images

#: An error, or leave them out with a warning, or leave them out.
NanStrategy = Literal["error", "warn", "ignore"]


def check_nan_strategy(nan_strategy: str) -> NanStrategy:
    """Return the strategy.

    Raises:
        ValueError: if it is none of the three.
    """
    if nan_strategy not in get_args(NanStrategy):
        raise ValueError(f"`nan_strategy` must be one of {', '.join(get_args(NanStrategy))}; got {nan_strategy!r}")
    return nan_strategy  # type: ignore[return-value]


def finite_positions(preds: Images, nan_strategy: NanStrategy) -> list[int] | None:
    """Positions of the images to count, or ``None`` for all of them."""
    if nan_strategy == "error":
        return None  # the comparator looks for itself
    kept, count = finite_images(preds), len(preds)
    if len(kept) == count:
        return None
    if nan_strategy == "warn":
        rank_zero_warn(f"{count - len(kept)} of {count} predictions hold NaN or infinite values and are left out")
    return kept


def select_finite(
    kept: list[int], preds: Images, target: Images, mask: Images | None
) -> tuple[Images, Images, Images | None]:
    """The images to count of a batch.

    Raises:
        ValueError: if the sides differ in length, which a selection would hide.
    """
    sides = (preds, target, mask)
    lengths = {
        name: len(side) for name, side in zip(("preds", "target", "mask"), sides, strict=True) if side is not None
    }
    if len(set(lengths.values())) > 1:
        raise ValueError(f"`preds`, `target` and `mask` must hold equally many images, got {lengths}")
    preds, target, mask = (None if images is None else select_images(images, kept) for images in sides)  # type: ignore[assignment]
    return preds, target, mask
