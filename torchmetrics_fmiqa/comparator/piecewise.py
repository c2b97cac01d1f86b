"""A forward pass in pieces, for images that would take too much memory at once: the same number, but for rounding."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator.distance_terms import DistanceTerm, differing, raised, zero_where_equal
from torchmetrics_fmiqa.comparator.forward_pass import ForwardPass
from torchmetrics_fmiqa.distances import DIVERGENCES
from torchmetrics_fmiqa.distances.divergence import Totals
from torchmetrics_fmiqa.features.pieces import Piece, Reach, measure_reach, plan_pieces
from torchmetrics_fmiqa.features.tiles import TilePlan
from torchmetrics_fmiqa.features.tokens import Tokens
from torchmetrics_fmiqa.memory import peak_bytes

#: Bytes for the features of a pair. What would take more goes through the network in pieces.
BUDGET = 1_100_000_000
# Smaller tiles go as they are, whatever the network takes: a pixel of a pair takes VGG 1800 bytes.
_SMALL = 500_000
# Columns of the images that memory is counted with: a multiple of what any network reduces by.
_NARROW = 128


class Pieces(NamedTuple):
    """How a tile is cut.

    Args:
        rectangles: of the tile, rows outer.
        strides: pixels from one position to the next, of each tap.
    """

    rectangles: list[Piece]
    strides: tuple[int, ...]


class PiecewiseForward:
    """Runs tiles through the network in pieces where they are large and the network and all distances allow it.

    That takes a convolutional network that sees no farther than 512 pixels, and distances that have maps. Divergences
    take a second run through the network: what a softmax divides by is known when every position has been seen.

    Args:
        forward: what runs a piece.
        terms: the distances to take.
    """

    def __init__(self, forward: ForwardPass, terms: Sequence[DistanceTerm]) -> None:
        self._forward, self._terms = forward, terms

    @cached_property
    def reach(self) -> Reach | None:
        """How far the network sees, or ``None`` where pieces would give another number. Measured once, in a second."""
        return measure_reach(self._forward.backbone)

    @cached_property
    def bytes_per_pixel(self) -> float:
        """What a pixel of a pair takes at the peak, counted from the shapes of all that lives at once."""
        small, large = (self._peak(rows) for rows in (256, 512))
        return (large - small) / (256 * _NARROW)

    def pieces(self, plan: TilePlan) -> Pieces | None:
        """The pieces of each tile of a plan, or ``None`` where tiles go as they are."""
        height, width = plan.rows.padded, plan.cols.padded
        if height * width <= _SMALL or torch.compiler.is_compiling() or not self._in_pieces:
            return None
        pixels = int(BUDGET / self.bytes_per_pixel)
        if height * width <= pixels or self.reach is None:
            return None
        return Pieces(plan_pieces(height, width, self.reach, pixels), self.reach.strides)

    def __call__(
        self, preds: Tensor, target: Tensor, dtype: torch.dtype | None, pieces: Pieces
    ) -> tuple[list[Tensor], tuple[list[Tokens], list[Tokens]]]:
        """Run one tile a side ``(1, 3, h, w)``, and measure what one forward pass would; no gradient flows.

        Args:
            preds: as :class:`~torchmetrics_fmiqa.comparator.forward_pass.ForwardPass` takes it.
            target: likewise.
            dtype: likewise.
            pieces: from :meth:`pieces`.

        Returns:
            For each term its distances ``(1, T)`` of all positions, or of what stands for the whole; and for each tap
            the mean tokens of both sides, the target's with the grid of all.
        """
        totals = self._totals(preds, target, dtype, pieces)
        parts: dict[int, list[Tensor]] = {}  # of each term, piece by piece
        sums: dict[int, Tensor] = {}
        counts: dict[int, int] = {}
        for piece in pieces.rectangles:
            tiles = piece.cut(preds), piece.cut(target)
            both = self._run(*tiles, dtype, pieces, piece)
            for index, tokens in enumerate(both):
                sums[index] = tokens.values.sum(1, keepdim=True) + sums.get(index, 0)
                counts[index] = counts.get(index, 0) + tokens.values.shape[1]
            preds_tokens, target_tokens = zip(*(tokens.chunk() for tokens in both), strict=True)
            for place, term in enumerate(self._terms):
                index = term.taps[0]
                if term.is_divergence:
                    measure = DIVERGENCES[str(term.distance)]
                    values = measure(preds_tokens[index].values, target_tokens[index].values, totals[index].chunk())
                elif term.tokens != "summary":
                    values = zero_where_equal(term.measure(preds_tokens, target_tokens), differing(*tiles))
                else:
                    continue
                parts.setdefault(place, []).append(values.unflatten(1, both[index].grid))
        columns = sum(piece.rows == pieces.rectangles[0].rows for piece in pieces.rectangles)
        means = [Tokens(sums[index] / counts[index], (1, 1), 0, is_map=True).chunk() for index in sums]
        measured, reference = [], [tokens for _, tokens in means]
        for place, term in enumerate(self._terms):
            index = term.taps[0]
            if term.tokens == "summary":
                measured.append(term.measure(*zip(*means, strict=True)))
            else:
                rows = [torch.cat(parts[place][at : at + columns], 2) for at in range(0, len(parts[place]), columns)]
                whole = torch.cat(rows, 1)
                measured.append(whole.flatten(1))
                reference[index] = reference[index]._replace(grid=(whole.shape[1], whole.shape[2]))
        differ = differing(preds, target)
        return [zero_where_equal(values, differ) for values in measured], ([tokens for tokens, _ in means], reference)

    def _run(
        self, preds: Tensor, target: Tensor, dtype: torch.dtype | None, pieces: Pieces, piece: Piece
    ) -> list[Tokens]:
        """The tokens of a piece that count, at each tap: of predictions, and of targets that follow them."""
        both = zip(self._forward.both(preds, target, dtype), pieces.strides, strict=True)
        return [raised(piece.inner(tokens, stride)) for tokens, stride in both]

    def _totals(self, preds: Tensor, target: Tensor, dtype: torch.dtype | None, pieces: Pieces) -> dict[int, Totals]:
        """What the softmax of each tap that a divergence reads divides by, of both sides."""
        totals: dict[int, Totals] = {}
        read = {term.taps[0] for term in self._terms if term.is_divergence}
        for piece in pieces.rectangles if read else ():
            both = self._run(piece.cut(preds), piece.cut(target), dtype, pieces, piece)
            for index in read:
                own = Totals.of(both[index].values)
                totals[index] = totals[index].joined(own) if index in totals else own
        return totals

    @cached_property
    def _in_pieces(self) -> bool:
        if self._forward.backbone.network.transformer:
            return False
        return all(
            term.protocol == "fmiqa" and len(term.taps) == 1 and term.has_map and term.tokens != "prefix"
            for term in self._terms
        )

    @torch.no_grad()
    def _peak(self, rows: int) -> int:
        return peak_bytes(
            partial(self._measure_at_once, torch.zeros(1, 3, rows, _NARROW, dtype=torch.float32, device="cpu"))
        )

    def _measure_at_once(self, images: Tensor) -> list[Tensor]:
        sides = self._forward(images, images, None)
        return [term.measure(*sides) for term in self._terms]
