"""Tensors inside ``torch.vmap`` and ``torch.func.grad``, which hide an axis, a graph, and how memory is laid out."""

from __future__ import annotations

import torch
from torch import Tensor


def plain(tensor: Tensor) -> Tensor:
    """The values of a tensor, with the axes that transforms hide in front.

    >>> torch.vmap(lambda one: one + plain(one).shape[0])(torch.zeros(3))
    tensor([3., 3., 3.])
    """
    return tensor if torch.compiler.is_compiling() else torch.func.debug_unwrap(tensor, recurse=True)


def channels_last(images: Tensor) -> Tensor:
    """Lay ``(N, C, H, W)`` out with channels innermost, where a transform does not forbid it."""
    if torch.compiler.is_exporting():  # the layout would fix the sides of the program
        return images
    return images.contiguous(memory_format=torch.channels_last) if plain(images) is images else images
