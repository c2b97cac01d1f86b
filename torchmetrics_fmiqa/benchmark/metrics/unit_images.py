"""What metrics are tried on: images in [0, 1], and their middles."""

from __future__ import annotations

from torch import Tensor


def check_unit(images: Tensor, name: str) -> None:
    """Check that images lie in [0, 1].

    Raises:
        ValueError: if they do not, or hold a NaN.
    """
    low, high = (float(limit) for limit in images.detach().aminmax())
    if not (low >= 0 and high <= 1):  # so put that NaN fails too
        raise ValueError(f"`{name}` must lie in [0, 1], it spans {low:.6g} ... {high:.6g}: scale or clamp it first")


def centre(images: Tensor, side: int) -> Tensor:
    """The middle of images ``(N, 3, H, W)``, at most ``side`` pixels a side."""
    top, left = (max(length - side, 0) // 2 for length in images.shape[2:])
    return images[:, :, top : top + side, left : left + side]
