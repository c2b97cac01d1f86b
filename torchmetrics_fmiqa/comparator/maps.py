"""Where images differ: distances of patches, painted over the pixels that they stand for."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator.accumulator import Weigher
from torchmetrics_fmiqa.distances import MAPS, instead_of
from torchmetrics_fmiqa.distances.joint import Joint
from torchmetrics_fmiqa.features.tiles import TilePlan, add_tiles, paint, pixel_shares, stretch_map
from torchmetrics_fmiqa.recipes import Recipe, distance_name

# Values of patches ``(K, h * w)``, and of which tiles they are.
_Portion = tuple[Tensor, list[tuple[int, int]]]


def check_mappable(recipe: Recipe) -> None:
    """Raise a ValueError that says why a recipe has no map, if it has none."""
    for distance in recipe.distances:
        if recipe.protocol != "fmiqa" or not isinstance(distance, str) or distance not in MAPS:
            raise ValueError(
                f"the {recipe.protocol} distance {distance_name(distance)!r} has no map: "
                f"{instead_of(distance, recipe.protocol)}"
            )
    if recipe.tokens == "prefix":
        raise ValueError("prefix tokens have no place in the image, so no map: take tokens='patch'")


class Canvas:
    """The maps of a batch, painted tile by tile.

    Args:
        plan: the tiles.
        images: ``(N, 3, H, W)`` at the working size, for their number, size, dtype and device.
        labels: for each distance the names of its taps.
        weights: for each distance the weight of each tap in the score.
        per_layer: paint each tap's map beside the score's.
        pixels: ``(N, 1, H, W)``: what each pixel counts for, ``None`` where all count the same. Only their proportions
            matter: the mean of a map is the score.
        joint: how the distances are joined into one map, ``None`` where each has its own.
    """

    def __init__(
        self,
        plan: TilePlan,
        images: Tensor,
        labels: dict[str, tuple[str, ...]],
        weights: dict[str, tuple[float, ...]],
        per_layer: bool,
        pixels: Tensor | None = None,
        joint: Joint | None = None,
    ) -> None:
        self.images, self.mask, self.joint = images, pixels, joint
        # What is joined: for each tap its grid, and for each portion of tiles the values of each distance.
        self._waiting: dict[int, tuple[tuple[int, int], dict[str, list[_Portion]]]] = {}
        self.plan, self.labels, self.weights, self.per_layer = plan, labels, weights, per_layer
        self.pixels = None if pixels is None else (pixels / pixels.mean((2, 3), keepdim=True))[:, 0]
        self.shares = pixel_shares(plan, images)
        blank = images.new_zeros(images.shape[0], *images.shape[-2:])
        self.maps = {
            name: dict.fromkeys(("score", *(taps if per_layer else ())), blank) for name, taps in labels.items()
        }

    def add(
        self, distance: str, column: int, values: Tensor, grid: tuple[int, int], picks: list[tuple[int, int]]
    ) -> None:
        """Paint the values ``(K, h * w)`` of the patches of some tiles at one tap.

        Raises:
            ValueError: if the tap has no patches.
        """
        name = distance if self.joint is None else self.joint.name
        if grid == (0, 0):
            label = self.labels[name][column]
            raise ValueError(f"tap {label!r} is a pooled embedding and has no map: leave it out of `taps`")
        if self.joint is None:
            self._paint(name, column, values, grid, picks)
        else:  # how much a value counts may hang on the whole image
            waiting = self._waiting.setdefault(column, (grid, {}))[1]
            waiting.setdefault(distance, []).append((values.to(self.shares.dtype), picks))

    def _paint(
        self, name: str, column: int, values: Tensor, grid: tuple[int, int], picks: list[tuple[int, int]]
    ) -> None:
        maps, label = self.maps[name], self.labels[name][column]
        painted = paint(values.to(self.shares.dtype), self.plan, grid) * self.shares[[tile for _, tile in picks]]
        maps["score"] = add_tiles(maps["score"], painted * self.weights[name][column], self.plan, picks)
        if self.per_layer:
            maps[label] = add_tiles(maps[label], painted, self.plan, picks)

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
            for portions in zip(*of_each, strict=True):  # each distance has come for the same tiles
                picks = portions[0][1]
                own = [image for image, _ in picks]
                parts = [factor[own, None] * values for factor, (values, _) in zip(factors, portions, strict=True)]
                self._paint(joint.name, column, torch.stack(parts).sum(0), grid, picks)
        self._waiting.clear()

    def _means(self, portions: list[_Portion], grid: tuple[int, int]) -> Tensor:
        """The distance of each image ``(N,)`` from its values in all portions of tiles."""
        total = self.images.new_zeros(self.images.shape[0])
        for values, picks in portions:
            weigh = Weigher(self.plan, picks, self.mask, self.images, {})
            total = total + weigh.to_images((values * weigh.patches(grid)).sum(1))
        return total

    def _weighed(self, drawn: Tensor) -> Tensor:
        return drawn if self.pixels is None else drawn * self.pixels
