"""Where images differ: distances of patches, painted over the pixels that they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator.accumulator import TileWeights
from torchmetrics_fmiqa.comparator.distance_terms import DistanceTerm, Scoring
from torchmetrics_fmiqa.distances import MAPS, alternatives_to
from torchmetrics_fmiqa.distances.joint import Joint
from torchmetrics_fmiqa.features.tiles import (
    Portion,
    TilePlan,
    add_tiles,
    interpolate,
    paint,
    pixel_shares,
    stretch_map,
)
from torchmetrics_fmiqa.features.tokens import Tokens
from torchmetrics_fmiqa.recipes import Recipe, distance_name

# Values of patches ``(K, h * w)``, and of which tiles they are.
_PatchValues = tuple[Tensor, Portion]


def check_mappable(recipe: Recipe) -> None:
    """Raise a ValueError that says why a recipe has no map, if it has none."""
    for distance in recipe.distances:
        if recipe.protocol != "fmiqa" or not isinstance(distance, str) or distance not in MAPS:
            raise ValueError(
                f"the {recipe.protocol} distance {distance_name(distance)!r} has no map: "
                f"{alternatives_to(distance, recipe.protocol)}"
            )
    if recipe.tokens == "prefix":
        raise ValueError("prefix tokens have no place in the image, so no map: take tokens='patch'")


class Canvas:
    """The maps of a batch, painted portion by portion of its tiles.

    Args:
        plan: the tiles.
        images: ``(N, 3, H, W)`` at the working size, for their number, size, dtype and device.
        scoring: the distances to paint, and how the maps of their taps make those of the scores.
        terms: what is measured, the scoring's and others.
        pixels: ``(N, 1, H, W)``: what each pixel counts for, ``None`` where all count the same. Only their proportions
            matter: the mean of a map is the score.
        per_layer: paint each tap's map beside the score's.
        bilinear: interpolate from place to place; else each place has its own colour.

    Raises:
        ValueError: if values of tiles or of a mirrored border would have to be interpolated.
    """

    def __init__(
        self,
        plan: TilePlan,
        images: Tensor,
        scoring: Scoring,
        terms: Sequence[DistanceTerm],
        pixels: Tensor | None = None,
        per_layer: bool = False,
        bilinear: bool = False,
    ) -> None:
        if bilinear and not plan.is_whole_image:
            raise ValueError("maps are interpolated of whole images only: take resolution='unpadded'")
        self.bilinear = bilinear
        self.plan, self.images, self.mask, self.terms, self.per_layer = plan, images, pixels, terms, per_layer
        self.columns, self.labels, self.weights = scoring.columns, scoring.labels, scoring.weights
        self.joint = scoring.joint
        # What is joined: for each tap its grid, and for each portion of tiles the values of each distance.
        self._waiting: dict[int, tuple[tuple[int, int], dict[str, list[_PatchValues]]]] = {}
        self.pixels = None if pixels is None else (pixels / pixels.mean((2, 3), keepdim=True))[:, 0]
        self.shares = pixel_shares(plan, images)
        blank = images.new_zeros(images.shape[0], *images.shape[-2:])
        self.maps = {
            name: dict.fromkeys(("score", *(taps if per_layer else ())), blank) for name, taps in self.labels.items()
        }

    def add(self, portion: Portion, values: Sequence[Tensor], target: Sequence[Tokens]) -> None:
        """Paint a portion of tiles.

        Args:
            portion: its pairs (image, tile).
            values: what each term measured, ``(n, T)``.
            target: the tokens of the targets at each tap, or what stands for them.

        Raises:
            ValueError: if a tap has no patches.
        """
        for distance, (labels, places) in self.columns.items():
            for column, place in enumerate(places):
                tokens, drawn = target[self.terms[place].taps[0]], values[place]
                if tokens.grid == (0, 0):
                    raise ValueError(
                        f"tap {labels[column]!r} is a pooled embedding and has no map: leave it out of `taps`"
                    )
                patches = drawn[:, tokens.prefix :] if self.terms[place].tokens == "all" else drawn
                if self.joint is None:
                    self._paint(distance, column, patches, tokens.grid, portion)
                else:  # how much a value counts may hang on the whole image
                    waiting = self._waiting.setdefault(column, (tokens.grid, {}))[1]
                    waiting.setdefault(distance, []).append((patches.to(self.shares.dtype), portion))

    def _paint(self, name: str, column: int, values: Tensor, grid: tuple[int, int], portion: Portion) -> None:
        maps, label = self.maps[name], self.labels[name][column]
        paint_places = interpolate if self.bilinear else paint
        painted = (
            paint_places(values.to(self.shares.dtype), self.plan, grid) * self.shares[[tile for _, tile in portion]]
        )
        maps["score"] = add_tiles(maps["score"], painted * self.weights[name][column], self.plan, portion)
        if self.per_layer:
            maps[label] = add_tiles(maps[label], painted, self.plan, portion)

    def stretched(self, size: tuple[int, int]) -> dict[str, dict[str, Tensor]]:
        """For each distance its maps by label, ``(N, 1, *size)``."""
        if self.joint is not None:
            self._paint_joint(self.joint)
        return {
            name: {label: stretch_map(self._weighed(drawn), size)[:, None] for label, drawn in maps.items()}
            for name, maps in self.maps.items()
        }

    def _paint_joint(self, joint: Joint) -> None:
        for column, (grid, waiting) in self._waiting.items():
            of_each = [waiting[name] for name in joint.names]
            factors = joint.factors([self._means(portions, grid) for portions in of_each])
            for side_by_side in zip(*of_each, strict=True):  # each distance has come for the same tiles
                portion = side_by_side[0][1]
                own = [image for image, _ in portion]
                parts = [factor[own, None] * values for factor, (values, _) in zip(factors, side_by_side, strict=True)]
                self._paint(joint.name, column, torch.stack(parts).sum(0), grid, portion)
        self._waiting.clear()

    def _means(self, portions: list[_PatchValues], grid: tuple[int, int]) -> Tensor:
        """The distance of each image ``(N,)`` from its values in all portions of tiles."""
        total = self.images.new_zeros(self.images.shape[0])
        for values, portion in portions:
            weigh = TileWeights(self.plan, portion, self.mask, self.images, {})
            total = total + weigh.to_images((values * weigh.patches(grid)).sum(1))
        return total

    def _weighed(self, drawn: Tensor) -> Tensor:
        return drawn if self.pixels is None else drawn * self.pixels
