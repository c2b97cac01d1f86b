"""What was measured of a batch so far, portion by portion of its tiles."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.tiles import TilePlan
from torchmetrics_fmiqa.features.tokens import Tokens
from torchmetrics_fmiqa.features.weighing import Weigher
from torchmetrics_fmiqa.jobs import Job, raised
from torchmetrics_fmiqa.pooling import pool


class Tally:
    """Sums of distances over the tiles of each image; and where they are asked for, the values of all patches.

    Args:
        plan: the tiles.
        images: ``(N, 3, H, W)`` at the working size, for their number, dtype and device.
        mask: ``(N, 1, H, W)`` weights of pixels at the working size, or ``None``.
        jobs: what is measured.
        kept: numbers of the jobs whose values of patches are kept.
        seen: indices of the taps whose reference is kept.
    """

    def __init__(
        self,
        plan: TilePlan,
        images: Tensor,
        mask: Tensor | None,
        jobs: Sequence[Job],
        kept: Collection[int],
        seen: Collection[int],
    ) -> None:
        self.plan, self.images, self.mask, self.jobs = plan, images, mask, jobs
        count = images.shape[0]
        self.sums = [images.new_zeros(count) for _ in jobs]
        self._known: dict[tuple[int, int], Tensor] = {}
        self._values: dict[int, list[Tensor]] = {number: [] for number in kept}
        self._weights: dict[int, list[Tensor]] = {number: [] for number in kept}
        self._seen = set(seen)
        self._references: dict[int, Tensor] = {}

    def portion(
        self, picks: list[tuple[int, int]]
    ) -> tuple[Callable[[int, Tensor, Tokens], None], Callable[[int, Tokens], None] | None]:
        """What takes the distances, and what sees the references, of a portion of tiles (image, tile)."""
        weigh = Weigher(self.plan, picks, self.mask, self.images, self._known)

        def take(number: int, value: Tensor, tokens: Tokens) -> None:
            job = self.jobs[number]
            if number in self._values:
                self._values[number].append(value.to(self.images.dtype))
                if not weigh.plain:
                    self._weights[number].append(weigh.patches(tokens.grid).expand(value.shape[0], -1))
            value = weigh.positions(value, tokens, job.tokens) if value.ndim == 2 else weigh.tiles(value)
            self.sums[number] = self.sums[number] + weigh.to_images(value.to(self.images.dtype))

        def see(index: int, tokens: Tokens) -> None:
            if index in self._seen:
                summary = raised(tokens).summary()[:, 0].detach().to(self.images.dtype)
                before, own = self._references.get(index), weigh.to_images(weigh.tiles(summary))
                self._references[index] = own if before is None else before + own

        return take, see if self._seen else None

    def pooled(self, number: int) -> Tensor:
        """Mean, spread and 95th percentile of a job's values over the patches of each image, ``(N, 3)``."""
        weights = self._weights[number]
        return pool(self._of_images(self._values[number]), self._of_images(weights) if weights else None)

    def reference(self, index: int) -> Tensor:
        """The token that stands for the whole reference at a tap, ``(N, C)``."""
        return self._references[index]  # it is there: the backbone raises where a tap was not reached

    def _of_images(self, parts: Sequence[Tensor]) -> Tensor:
        """Values ``(n, T)`` of tiles, portion by portion, side by side for each image, ``(N, tiles * T)``."""
        # Portions run over the images of a tile, then over tiles: see `intake.portions`.
        count, tiles = self.images.shape[0], len(self.plan.corners)
        return torch.cat(list(parts)).view(tiles, count, -1).transpose(0, 1).reshape(count, -1)
