"""Pieces of an image with a margin, inside which a convolutional network gives what it gives of the whole image.

Tiles are images of their own; pieces are not, so that the score stays what it is and only the memory shrinks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.backbone import Backbone
from torchmetrics_fmiqa.features.tokens import Tokens

# Networks halve the image up to five times; pieces begin where all of their grids do.
_ALIGN = 32
# Who sees further than this (ConvNeXt: 1300 pixels) would compute most of the image again and again.
_FARTHEST = 512
# Side of the images that are looked at to find out: not the long one.
_NARROW = 64
# The most that may be computed of what the whole image takes.
_MOST = 4.0
# Features of a whole image and of a piece may differ by this share of their size: they are rounded otherwise.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Reach:
    """How far a network sees: what one position of its taps depends on.

    Args:
        margin: pixels beyond a position's own, to each side; a multiple of ``align``.
        align: pieces begin at multiples of this.
        strides: pixels from one position to the next, of each tap.
    """

    margin: int
    align: int
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Span:
    """A piece along one axis, in pixels: ``start`` to ``stop``, of which ``inner`` to ``inner_stop`` count."""

    start: int
    stop: int
    inner: int
    inner_stop: int
    last: bool

    def positions(self, count: int, stride: int) -> slice:
        """Which of ``count`` positions of the piece count."""
        first = (self.inner - self.start) // stride
        return slice(first, count if self.last else first + (self.inner_stop - self.inner) // stride)


@dataclass(frozen=True)
class Piece:
    """A rectangle of an image."""

    rows: Span
    cols: Span

    def cut(self, images: Tensor) -> Tensor:
        """The piece of images ``(N, C, H, W)``, margin included."""
        return images[..., self.rows.start : self.rows.stop, self.cols.start : self.cols.stop]

    def inner(self, tokens: Tokens, stride: int) -> Tokens:
        """The tokens of a map ``(N, h * w, C)`` that count."""
        rows, cols = (
            span.positions(count, stride) for span, count in zip((self.rows, self.cols), tokens.grid, strict=True)
        )
        kept = tokens.values.unflatten(1, tokens.grid)[:, rows, cols]
        return tokens._replace(values=kept.flatten(1, 2), grid=(kept.shape[1], kept.shape[2]))


def plan_pieces(height: int, width: int, reach: Reach, pixels: int) -> list[Piece]:
    """Cut an image into pieces of at most ``pixels`` pixels where that can be done without computing it over and over.

    Else pieces are as small as can be. Rows outer, columns inner.

    >>> pieces = plan_pieces(2176, 3840, Reach(96, 32, (8,)), 1_000_000)
    >>> len(pieces), max((one.rows.stop - one.rows.start) * (one.cols.stop - one.cols.start) for one in pieces)
    (12, 985088)
    """

    def most(spans: list[Span]) -> int:
        return max(span.stop - span.start for span in spans)

    def work(spans: list[Span]) -> int:
        return sum(span.stop - span.start for span in spans)

    choices = itertools.product(_even_cuts(height, reach), _even_cuts(width, reach))
    fair = [pair for pair in choices if work(pair[0]) * work(pair[1]) <= _MOST * height * width]
    small = [pair for pair in fair if most(pair[0]) * most(pair[1]) <= pixels]
    if small:
        rows, cols = min(small, key=lambda pair: work(pair[0]) * work(pair[1]))
    else:
        rows, cols = min(fair, key=lambda pair: most(pair[0]) * most(pair[1]))
    return [Piece(row, col) for row in rows for col in cols]


def _even_cuts(length: int, reach: Reach) -> Iterator[list[Span]]:
    """All ways to cut an axis into even spans."""
    known = set()
    for count in range(1, -(-length // reach.align) + 1):
        step = -(-math.ceil(length / count) // reach.align) * reach.align
        if step not in known:
            known.add(step)
            yield [_span(inner, min(inner + step, length), length, reach) for inner in range(0, length, step)]


def _span(inner: int, stop: int, length: int, reach: Reach) -> Span:
    return Span(max(0, inner - reach.margin), min(length, stop + reach.margin), inner, stop, stop == length)


@torch.no_grad()
def measure_reach(backbone: Backbone) -> Reach | None:
    """Find out how far a network sees; ``None`` if that is too far, or no piece gives what the whole image gives.

    NaN in some rows of an image reach all that depends on them: global pooling, attention and normalisation over
    positions give NaN everywhere. Then a piece is compared with the whole.
    """
    network = backbone.network
    align = math.lcm(network.multiple, _ALIGN)
    width = -(-max(_NARROW, network.minimum) // align) * align
    strides = _strides(backbone, align, width)
    if strides is None:
        return None
    margin = _margin(backbone, align, width, strides)
    if margin is None:
        return None
    reach = Reach(margin, align, strides)
    return reach if _same(backbone, reach, width) else None


def _maps(backbone: Backbone, images: Tensor) -> list[Tokens]:
    with torch.autocast(images.device.type, enabled=False):
        return backbone(images)


def _images(rows: int, cols: int) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(0)
    return torch.rand(1, 3, rows, cols, generator=generator, dtype=torch.float32, device="cpu")


def _strides(backbone: Backbone, align: int, width: int) -> tuple[int, ...] | None:
    """Pixels from one position to the next, from how much a grid grows with the image."""
    short, long = (_maps(backbone, _images(rows, width)) for rows in (4 * align, 5 * align))
    grown = [other.grid[0] - one.grid[0] for one, other in zip(short, long, strict=True)]
    if any(not tokens.is_map and tokens.prefix for tokens in short) or any(g < 1 or align % g for g in grown):
        return None
    return tuple(align // one for one in grown)


def _margin(backbone: Backbone, align: int, width: int, strides: tuple[int, ...]) -> int | None:
    """How far from a block of rows its influence reaches, in pixels, as a multiple of ``align``."""
    for before in (256, _FARTHEST + align):
        start = -(-before // align) * align
        images = _images(2 * start + align, width)
        images[:, :, start : start + align] = torch.nan
        farthest = 0
        for tokens, stride in zip(_maps(backbone, images), strides, strict=True):
            reached = tokens.values.isnan().any(2).unflatten(1, tokens.grid).any(2)[0].nonzero().flatten().tolist()
            if not reached:
                return None
            farthest = max(farthest, start - reached[0] * stride, (reached[-1] + 1) * stride - start - align)
        if farthest < start - align:  # what reaches the border may reach farther
            return -(-farthest // align) * align if farthest <= _FARTHEST else None
    return None


def _same(backbone: Backbone, reach: Reach, width: int) -> bool:
    """Whether two pieces of an image give what the whole gives: they do not where places have features of their own."""
    length = 2 * reach.margin + 4 * reach.align
    images = _images(length, width)
    whole = _maps(backbone, images)
    half = length // 2 // reach.align * reach.align
    side = Span(0, width, 0, width, last=True)
    pieces = [Piece(_span(inner, stop, length, reach), side) for inner, stop in ((0, half), (half, length))]
    parts = [_maps(backbone, piece.cut(images)) for piece in pieces]
    for place, (tokens, stride) in enumerate(zip(whole, reach.strides, strict=True)):
        joined = torch.cat(
            [piece.inner(part[place], stride).values for piece, part in zip(pieces, parts, strict=True)], 1
        )
        if joined.shape != tokens.values.shape:
            return False
        if float((joined - tokens.values).abs().max()) > _ROUNDING * float(tokens.values.abs().max()):
            return False
    return True
