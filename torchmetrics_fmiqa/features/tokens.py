"""Tokens: what a tap gives, in one layout, so that a distance is written once for transformers and convolutions."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

#: Which tokens a distance sees: patch positions, prefix tokens (CLS, registers; a pooled embedding), or all of them.
TokenChoice = Literal["patch", "prefix", "all"]


class Tokens(NamedTuple):
    """Features of one tap.

    Args:
        values: ``(N, T, C)``; the ``prefix`` first tokens have no place in the image.
        grid: ``(h, w)`` of the rest, rows outer; ``(0, 0)`` for a pooled embedding.
        prefix: how many prefix tokens there are.
        is_map: whether a convolution gave them as a map.
    """

    values: Tensor
    grid: tuple[int, int]
    prefix: int
    is_map: bool = False

    def select(self, choice: TokenChoice) -> Tensor:
        """Return the chosen tokens, ``(N, T', C)``."""
        if choice == "patch":
            return self.values[:, self.prefix :]
        return self.values[:, : self.prefix] if choice == "prefix" else self.values

    def summary(self) -> Tensor:
        """What stands for the whole image: the mean prefix token, or patch token without those, ``(N, 1, C)``."""
        return (self.values[:, : self.prefix] if self.prefix else self.values).mean(1, keepdim=True)

    def chunk(self) -> tuple[Tokens, Tokens]:
        """Split a batch of predictions followed by as many targets."""
        return self.split(self.values.shape[0] // 2)

    def split(self, count: int) -> tuple[Tokens, Tokens]:
        """Split a batch of ``count`` predictions followed by targets."""
        return self._replace(values=self.values[:count]), self._replace(values=self.values[count:])

    def copy(self) -> Tokens:
        """Return the same tokens in memory of their own."""
        return self._replace(values=self.values.clone())

    def detach(self) -> Tokens:
        """Return the same tokens without their graph."""
        return self._replace(values=self.values.detach())


def to_tokens(
    output: Tensor, tap: str, size: tuple[int, int], patch: tuple[int, int] | None, prefix: int, channels_last: bool
) -> Tokens:
    """Bring the output of a module into the token layout.

    Args:
        output: ``(N, T, C)`` of a transformer, ``(N, C, h, w)`` or ``(N, h, w, C)`` of a map, ``(N, C)`` of a pooled
            embedding.
        tap: name of the module, for the messages.
        size: ``(H, W)`` of the image that the network saw.
        patch: patch size of a plain transformer, ``None`` where the network has none.
        prefix: prefix tokens of the network.
        channels_last: whether four-dimensional outputs are ``(N, h, w, C)``.

    Raises:
        ValueError: if the output is no tensor of these shapes, or its tokens form no grid.
    """
    if not isinstance(output, Tensor):
        raise ValueError(f"tap {tap!r} gives a {type(output).__name__}, not a tensor: tap a module inside it")
    if output.ndim == 4:
        if channels_last:
            return Tokens(output.flatten(1, 2), (output.shape[1], output.shape[2]), 0)
        return Tokens(output.flatten(2).transpose(1, 2), (output.shape[2], output.shape[3]), 0, is_map=True)
    if output.ndim == 3:
        grid = _grid(output.shape[1] - prefix, size, patch)
        if grid is not None:
            return Tokens(output, grid, prefix)
        raise ValueError(
            f"tap {tap!r} gives {output.shape[1]} tokens ({prefix} of them prefix tokens) for a {size[0]}x{size[1]} "
            "image, which form no grid: tap a module whose tokens are patches, or set num_prefix_tokens on your network"
        )
    if output.ndim == 2:
        return Tokens(output[:, None], (0, 0), 1)
    raise ValueError(
        f"tap {tap!r} gives a tensor of shape {tuple(output.shape)}; (N, T, C), (N, C, h, w) or (N, C) fit"
    )


def _grid(count: int, size: tuple[int, int], patch: tuple[int, int] | None) -> tuple[int, int] | None:
    """Grid of ``count`` patch tokens: from the patch size where it is known, else in the image's aspect ratio."""
    height, width = size
    if patch is not None:
        grid = (height // patch[0], width // patch[1])
        return grid if grid[0] * grid[1] == count else None
    rows = round((count * height / width) ** 0.5)
    if rows > 0 and count % rows == 0 and abs(rows * width - count // rows * height) < max(height, width):
        return rows, count // rows
    return None
