"""SpipsScorer: a score for each pair of images, by a comparator and a head; and the recipe for a head."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from torchmetrics_fmiqa.comparator import FeatureComparator, Precision
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.data.opening import read_bytes
from torchmetrics_fmiqa.features.building import copied_in_the_open
from torchmetrics_fmiqa.features.weights import check_finite
from torchmetrics_fmiqa.recipes import Taps
from torchmetrics_fmiqa.recipes.recipe_fields import RecipeFields
from torchmetrics_fmiqa.spips_model.checkpoint import load_spips, recipe_of
from torchmetrics_fmiqa.spips_model.model import PARTS, FixedHead, SpipsHead, check_parts
from torchmetrics_fmiqa.spips_model.recipe import AnyRecipe, SpipsRecipe, as_spips_recipe

#: A trained head, its file, or ``None`` for the fixed weights.
Head = SpipsHead | str | Path | None


class SpipsScorer:
    """Scores pairs by SPIPS. It is immutable and shared: nothing in it is trained or moved.

    Args:
        recipe: backbone and taps to measure with.
        head: a trained head or its file; ``None`` for fixed weights.
        parts: the parts of :data:`~torchmetrics_fmiqa.spips_model.model.PARTS` that the fixed weights use; a trained
            head has its own.
        precision: as in :class:`~torchmetrics_fmiqa.FeatureComparator`.
        grad_checkpointing: as in :class:`~torchmetrics_fmiqa.FeatureComparator`.
        tile_batch: as in :class:`~torchmetrics_fmiqa.FeatureComparator`.

    Raises:
        ValueError: for a head that was trained for another recipe, and for other parts than the head's.
    """

    def __init__(
        self,
        recipe: SpipsRecipe,
        head: Head = None,
        parts: str | Sequence[str] | None = None,
        precision: Precision = "float32",
        grad_checkpointing: bool = False,
        tile_batch: int = 32,
    ) -> None:
        self.recipe = recipe
        checked_parts = None if parts is None else check_parts(parts)
        self.head: SpipsHead | FixedHead
        if head is None:
            self.head = FixedHead(recipe.low_level, recipe.semantic, checked_parts or PARTS)  # type: ignore[arg-type]
        else:
            self.head = _trained_head(recipe, head)
        if checked_parts is not None and checked_parts != self.head.parts:
            raise ValueError(
                f"this head was trained with {', '.join(self.head.parts)}, not {', '.join(checked_parts)}: "
                "leave out `parts`, or train a head without the others"
            )
        if head is None and checked_parts is not None and "conventional" in checked_parts and len(checked_parts) > 1:
            warnings.warn(
                "without a trained head the conventional part counts only where it is the only one: leave it out of "
                "`parts`, or give a head",
                stacklevel=3,
            )
        self.comparator = FeatureComparator(recipe.statistics_request, precision, grad_checkpointing, tile_batch)
        self._copies: dict[tuple[torch.device, torch.dtype], SpipsHead] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> SpipsScorer:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_copies": {}}

    @property
    def identity(self) -> str:
        """A text that is equal for scorers that give equal scores."""
        if isinstance(self.head, FixedHead):
            return f"{self.recipe.digest} fixed {self.head.parts}"
        return f"{self.recipe.digest} {head_key(self.head)}"

    def score(self, measured: TapStatistics) -> Tensor:
        """Score the pairs that :attr:`comparator` measured: ``(N,)``, higher is worse, of the same dtype and device."""
        if isinstance(self.head, FixedHead):
            return self.head(measured)
        scores: Tensor = self._head_on(measured.spread.device, measured.spread.dtype)(measured)
        return scores

    def quality(self, score: Tensor) -> Tensor:
        """Quality of scores ``(N,)``, 100 for equal images.

        Raises:
            ValueError: without a head that was fitted to opinions.
        """
        self.check_quality()
        return self._head_on(score.device, score.dtype).quality(score)

    def check_quality(self) -> None:
        """Check that scores have a quality.

        Raises:
            ValueError: without a head that was fitted to opinions.
        """
        if isinstance(self.head, FixedHead) or self.head.fusion.scale is None:
            raise ValueError(
                "`output='quality'` needs a head that was fitted to opinions (`fmiqa fit` with mos, dmos or a data set "
                "of opinions): take output='distance', or give such a head"
            )

    def _head_on(self, device: torch.device, dtype: torch.dtype) -> SpipsHead:
        key = (device, dtype)
        if key not in self._copies:
            self._copies[key] = self._copy(device, dtype)
        return self._copies[key]

    @torch.compiler.disable
    def _copy(self, device: torch.device, dtype: torch.dtype) -> SpipsHead:
        with copied_in_the_open():
            return copy.deepcopy(self.head).to(device, dtype)  # type: ignore[union-attr]


def _trained_head(recipe: SpipsRecipe, head: SpipsHead | str | Path) -> SpipsHead:
    if isinstance(head, (str, Path)):
        return load_spips(head, recipe)
    if not isinstance(head, SpipsHead):
        raise ValueError(f"`head` must be a SpipsHead or a .safetensors file of one, got {type(head).__name__}")
    if head.made_for != recipe.digest:
        raise ValueError(
            f"this head was trained for the recipe {head.made_for or '(none)'}, not for {recipe.digest} "
            f"({recipe.recipe}): give the recipe it was trained with, or train a head for this one"
        )
    check_finite(head, "the head", buffers=False)  # the curve of a head that was not fitted to opinions is NaN
    with copied_in_the_open():
        return copy.deepcopy(head).cpu().eval().requires_grad_(False)


def head_key(head: Head) -> str:
    """A text that is equal for heads that give equal scores: a digest of the weights or of the file.

    Raises:
        ValueError: for a file that does not exist.
    """
    if isinstance(head, SpipsHead):
        scale = repr(head.fusion.scale).encode()
        state = b"".join(value.cpu().numpy().tobytes() for value in head.state_dict().values()) + scale
    elif isinstance(head, (str, Path)):
        state = read_bytes(head, "head")
    else:
        return repr(head)
    return hashlib.sha256(state).hexdigest()[:12]


def recipe_for(
    recipe: AnyRecipe | None,
    head: Head,
    low_level: Taps | None,
    semantic: Taps | None,
    **overrides: Unpack[RecipeFields],
) -> SpipsRecipe:
    """The SPIPS recipe for the arguments of a metric, a loss or a function.

    Args:
        recipe: as in :func:`~torchmetrics_fmiqa.spips_model.recipe.as_spips_recipe`; ``None`` takes the recipe and the
            streams that the head's file was trained for, and without a file the default.
        head: a head or its file.
        low_level: taps of the low-level stream.
        semantic: taps of the semantic stream.
        overrides: fields of the recipe.

    Raises:
        ValueError: as in that function, and for a file that cannot be read.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.
    """
    if recipe is None and isinstance(head, (str, Path)) and "backbone" not in overrides:
        recipe, split = recipe_of(head)
        low_level, semantic = low_level or split[0], semantic or split[1]
    return as_spips_recipe("default" if recipe is None else recipe, low_level, semantic, **overrides)
