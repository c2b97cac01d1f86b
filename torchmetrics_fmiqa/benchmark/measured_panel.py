"""All that a SPIPS head is given of a pair, as columns of a table."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.columns import tap_column
from torchmetrics_fmiqa.benchmark.measures import Skipped
from torchmetrics_fmiqa.comparator import FeatureComparator, Precision
from torchmetrics_fmiqa.features.cache import ReferenceCache, References
from torchmetrics_fmiqa.fusion.conventional import CONVENTIONAL
from torchmetrics_fmiqa.fusion.recipe import SpipsRecipe
from torchmetrics_fmiqa.pooling import POOLED
from torchmetrics_fmiqa.profiles import Profiled


class SpipsPanel:
    """Measures pairs for a SPIPS head; the columns are those of :meth:`~torchmetrics_fmiqa.profiles.Profiled.flat`.

    Args:
        recipe: what to measure with.
        precision: as in :class:`~torchmetrics_fmiqa.FeatureComparator`.

    Raises:
        ValueError: for a precision that does not exist.

    >>> from torchmetrics_fmiqa.recipes import Recipe
    >>> recipe = SpipsRecipe(Recipe("vit_tiny_patch16_224", weights="random:0", taps=[0, 1]))
    >>> panel = SpipsPanel(recipe)
    >>> images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> measured = panel.score(0.9 * images, images)
    >>> list(measured) == list(panel.columns), measured["mean@blocks.0"].shape
    (True, torch.Size([2]))
    """

    def __init__(self, recipe: SpipsRecipe, precision: Precision = "float32") -> None:
        self.recipe, self.precision = recipe, precision
        self.comparator = FeatureComparator(recipe.profile, precision)
        self.names: tuple[str, ...] = ("spips",)
        self.skipped: list[Skipped] = []

    @property
    def identities(self) -> dict[str, str]:
        """What the numbers depend on."""
        return {"spips": f"{self.recipe.digest} {self.precision}"}

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of all that :meth:`score` gives."""
        # Only a forward pass tells how many channels the last tap has.
        equal = torch.zeros(1, 3, 32, 32)
        channels = self._measure(equal, equal, None).reference.shape[1]
        return (
            *(tap_column(pooled, tap) for tap in self.recipe.taps for pooled in POOLED),
            *(tap_column("whole", tap) for tap in self.recipe.taps),
            *CONVENTIONAL,
            *(tap_column("reference", str(channel)) for channel in range(channels)),
        )

    @torch.no_grad()
    def score(
        self, preds: Tensor, target: Tensor, cache: ReferenceCache | None = None, ids: Sequence[Hashable] | None = None
    ) -> dict[str, Tensor]:
        """Measure pairs of one size.

        Args:
            preds: ``(N, 3, H, W)`` float32 in [0, 1].
            target: likewise.
            cache: where features of references are kept from call to call.
            ids: names of the references, for the cache.

        Returns:
            ``(N,)`` by column.
        """
        if cache is None or ids is None:
            measured = self._measure(preds, target, None)
        else:
            # One version of each reference first, so that the others find its features.
            first = {name: place for place, name in reversed(list(enumerate(ids)))}
            turns = [sorted(first.values()), sorted(set(range(len(ids))) - set(first.values()))]
            done, *others = (
                self._measure(preds[turn], target[turn], References(cache, tuple(ids[place] for place in turn)))
                for turn in turns
                if turn
            )
            order = [place for turn in turns for place in turn]
            measured = done.joined(others, sorted(range(len(ids)), key=order.__getitem__))
        return dict(zip(self.columns, measured.flat().unbind(1), strict=True))

    def _measure(self, preds: Tensor, target: Tensor, references: References | None) -> Profiled:
        found: Profiled = self.comparator(preds, target, references=references)[0]
        return found
