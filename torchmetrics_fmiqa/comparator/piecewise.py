"""A forward pass in pieces, for images that would take too much memory at once: the same number, but for rounding."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator.distance_terms import raised
from torchmetrics_fmiqa.comparator.forward_pass import Forward, See, Take, exact_zero
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
    """

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        # Numbers of the jobs that need nothing but their own positions, and of the others.
        self._local = [number for number, job in enumerate(forward.jobs) if not job.is_divergence]
        self._divergences = [number for number, job in enumerate(forward.jobs) if job.is_divergence]
        self._run = forward.of([forward.jobs[number] for number in self._local])

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
        self, preds: Tensor, target: Tensor, dtype: torch.dtype | None, take: Take, see: See | None, pieces: Pieces
    ) -> None:
        """Run one tile a side ``(1, 3, h, w)`` and hand over each job's distances as one forward pass would.

        Args:
            preds: as :class:`Forward` takes it; no gradient flows.
            target: likewise.
            dtype: likewise.
            take: gets the distances ``(1, T)`` of all positions, or of what stands for the whole.
            see: is shown the mean token of the target.
            pieces: from :meth:`pieces`.
        """
        jobs = self._forward.jobs
        totals = self._totals(preds, target, dtype, pieces)
        rows: dict[int, list[list[Tensor]]] = {number: [] for number in range(len(jobs))}
        sums: dict[int, Tensor] = {}
        counts: dict[int, int] = {}
        before = None
        for piece in pieces.rectangles:
            if piece.rows is not before:
                before = piece.rows
                for found in rows.values():
                    found.append([])

            def inner(index: int, tokens: Tokens, piece: Piece = piece) -> Tokens:
                kept = piece.inner(tokens, pieces.strides[index])
                total = raised(kept).values.sum(1, keepdim=True)
                sums[index] = total + sums.get(index, 0)
                counts[index] = counts.get(index, 0) + kept.values.shape[1]
                for number in self._divergences:
                    if jobs[number].taps[0] == index:
                        one, other = raised(kept).values.chunk(2)
                        values = DIVERGENCES[str(jobs[number].distance)](one, other, totals[index].chunk())
                        rows[number][-1].append(values.unflatten(1, kept.grid))
                return kept

            def collect(place: int, values: Tensor, tokens: Tokens) -> None:
                number = self._local[place]
                if jobs[number].tokens != "summary":
                    rows[number][-1].append(values.unflatten(1, tokens.grid))

            self._run(piece.cut(preds), piece.cut(target), dtype, collect, inner=inner)
        means = {index: Tokens(total / counts[index], (1, 1), 0, is_map=True).chunk() for index, total in sums.items()}
        take = exact_zero(preds, target, take)
        for number, job in enumerate(jobs):
            one, other = means[job.taps[0]]
            if job.tokens == "summary":
                take(number, job.measure([one], [other], self._forward.protocol), one)
            else:
                values = torch.cat([torch.cat(row, 2) for row in rows[number]], 1)
                take(number, values.flatten(1), one._replace(grid=(values.shape[1], values.shape[2])))
        if see is not None:
            for index, (_, other) in means.items():
                see(index, other)

    def _totals(self, preds: Tensor, target: Tensor, dtype: torch.dtype | None, pieces: Pieces) -> dict[int, Totals]:
        """What the softmax of each tap that a divergence reads divides by, of both sides."""
        found: dict[int, Totals] = {}
        read = {self._forward.jobs[number].taps[0] for number in self._divergences}
        if not read:
            return found
        run = self._forward.of([])
        for piece in pieces.rectangles:

            def inner(index: int, tokens: Tokens, piece: Piece = piece) -> Tokens:
                if index in read:
                    own = Totals.of(raised(piece.inner(tokens, pieces.strides[index])).values)
                    found[index] = found[index].joined(own) if index in found else own
                return tokens

            run(piece.cut(preds), piece.cut(target), dtype, lambda number, values, tokens: None, inner=inner)
        return found

    @cached_property
    def _in_pieces(self) -> bool:
        forward = self._forward
        if forward.protocol != "fmiqa" or forward.backbone.network.transformer:
            return False
        return all(len(job.taps) == 1 and job.has_map and job.tokens != "prefix" for job in forward.jobs)

    def _peak(self, rows: int) -> int:
        pair = torch.zeros(1, 3, rows, _NARROW, dtype=torch.float32, device="cpu")
        return peak_bytes(lambda: self._forward(pair, pair, None, lambda number, values, tokens: None))
