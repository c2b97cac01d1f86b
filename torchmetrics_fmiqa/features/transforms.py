"""Unwrap tensors inside ``torch.vmap`` and ``torch.func.grad``, which hide an axis, a graph and the memory layout."""

from __future__ import annotations

import torch
from torch import Tensor


def plain(tensor: Tensor) -> Tensor:
    """The plain tensor inside a transform; hidden axes come first.

    >>> torch.vmap(lambda value: value + plain(value).shape[0])(torch.zeros(3))
    tensor([3., 3., 3.])
    """
    return tensor if torch.compiler.is_compiling() else torch.func.debug_unwrap(tensor, recurse=True)


def channels_last(images: Tensor) -> Tensor:
    """Make ``(N, C, H, W)`` channels last in memory; inside a transform or an export it stays as it is."""
    if torch.compiler.is_exporting():  # the layout would make the sides static
        return images
    return images.contiguous(memory_format=torch.channels_last) if plain(images) is images else images
