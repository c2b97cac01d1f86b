"""SpipsRecipe: the recipe that SPIPS measures with, and the split of its taps into two streams."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from torchmetrics_fmiqa.comparator.tap_statistics import TapStatisticsRequest
from torchmetrics_fmiqa.features.network import Network, load_network
from torchmetrics_fmiqa.recipes import NamedRecipe, Recipe, Taps, as_recipe
from torchmetrics_fmiqa.recipes.recipe_fields import RecipeFields
from torchmetrics_fmiqa.spips_model.quality_maps import conventional

# Part of every digest: increase it when the same fields give a head other inputs than before.
_VERSION = 1

# SPIPS needs two streams of taps; changes to named recipes that have one tap.
_EMBEDDED = {"taps": (0, 1)}
_NAMED: dict[str, dict[str, Any]] = {
    "default": _EMBEDDED,
    "embedded": _EMBEDDED,
    "squeezenet": {"taps": ("features.4", "features.6")},
}


@dataclass(frozen=True)
class SpipsRecipe:
    """Everything that determines the inputs of a SPIPS head.

    Args:
        recipe: backbone, weights, normalisation, resolution, and a distance: l2, cosine, angular or normalized_l2, or
            one that joins some of them with divergences.
        low_level: taps of the low-level stream. ``None`` takes the recipe's taps that are not in ``semantic``; if that
            is ``None`` too, the first half of the recipe's taps, rounded up.
        semantic: taps of the semantic stream. ``None`` takes the recipe's taps that are not in ``low_level``. They also
            give the distance of the global token, and the last of them gives the token that the gate sees.

    Raises:
        ValueError: for taps that the backbone does not have, a stream without taps, a tap in both streams, and any
            other distance: it must be able to compare a single global token.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.

    >>> streams = SpipsRecipe(Recipe("vit_tiny_patch16_224", weights="random:0", taps=[0, 1, 6, 10, 11]))
    >>> streams.low_level, streams.semantic
    (('blocks.0', 'blocks.1', 'blocks.6'), ('blocks.10', 'blocks.11'))
    """

    recipe: Recipe
    low_level: Taps | None = None
    semantic: Taps | None = None

    def __post_init__(self) -> None:
        network = load_network(self.recipe.backbone, self.recipe.weights)  # type: ignore[arg-type]
        all_taps = network.resolve(self.recipe.taps)
        low = self._resolved("low_level", network)
        semantic = self._resolved("semantic", network)
        if low is None:
            candidates = all_taps[: -(-len(all_taps) // 2)] if semantic is None else all_taps
            low = tuple(tap for tap in candidates if semantic is None or tap not in semantic)
        if semantic is None:
            semantic = tuple(tap for tap in all_taps if tap not in low)
        for name, taps in (("low_level", low), ("semantic", semantic)):
            if not taps:
                raise ValueError(f"`{name}` has no taps: of {', '.join(all_taps)}, the other stream has all")
        both = [tap for tap in low if tap in semantic]
        if both:
            raise ValueError(f"the tap {both[0]!r} is in both streams: leave it out of `low_level` or `semantic`")
        recipe = self.recipe.replace(taps=(*low, *semantic), tap_weights=None, tokens="patch")
        for name, value in (("low_level", low), ("semantic", semantic), ("recipe", recipe)):
            object.__setattr__(self, name, value)
        self.statistics_request  # noqa: B018 (raises for a recipe that has none)

    def _resolved(self, name: str, network: Network) -> tuple[str, ...] | None:
        taps = getattr(self, name)
        if taps is not None and (not isinstance(taps, Sequence) or isinstance(taps, str)):
            raise ValueError(f"`{name}` must be a list of tap indices and module names, got {taps!r}")
        try:
            return None if taps is None else network.resolve(taps)
        except ValueError as error:
            raise ValueError(f"`{name}`: {error}") from None

    @property
    def taps(self) -> tuple[str, ...]:
        """The taps of both streams, low-level first."""
        return (*self.low_level, *self.semantic)  # type: ignore[misc]

    @cached_property
    def statistics_request(self) -> TapStatisticsRequest:
        """The measurements that a comparator makes for a head."""
        return TapStatisticsRequest(self.recipe, conventional)

    @property
    def identity(self) -> dict[str, Any]:
        """The fields as plain values that are equal for equal recipes."""
        return {**self.recipe.identity, "low_level": self.low_level, "semantic": self.semantic, "spips": _VERSION}

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits, equal for recipes that give a head the same inputs."""
        text = f"spips {_VERSION}|{self.recipe.digest}|{self.low_level}|{self.semantic}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __hash__(self) -> int:
        return hash(self.digest)

    def __deepcopy__(self, memo: dict[int, Any]) -> SpipsRecipe:
        return self


#: Argument types of a SPIPS recipe.
AnyRecipe = Recipe | SpipsRecipe | str | Path


def as_spips_recipe(
    recipe: AnyRecipe = "default",
    low_level: Taps | None = None,
    semantic: Taps | None = None,
    **overrides: Unpack[RecipeFields],
) -> SpipsRecipe:
    """Return a SPIPS recipe from any form of the argument.

    Args:
        recipe: name of a recipe, a :class:`~torchmetrics_fmiqa.Recipe`, a YAML file, or a SPIPS recipe.
        low_level: as in :class:`SpipsRecipe`.
        semantic: as in :class:`SpipsRecipe`.
        overrides: fields of the recipe.

    Raises:
        ValueError: as in :class:`SpipsRecipe`, for fields beside a SPIPS recipe, which has its own, and for fields that
            SPIPS does not use.
    """
    if isinstance(recipe, SpipsRecipe):
        taps = {"low_level": low_level, "semantic": semantic}
        extra = [*(name for name, value in taps.items() if value is not None), *overrides]
        if extra:
            raise ValueError(f"a SpipsRecipe has its own `{extra[0]}`: make another one instead")
        return recipe
    ignored = [name for name in ("tokens", "tap_weights") if overrides.get(name) is not None]
    if ignored:
        raise ValueError(f"`{ignored[0]}` would do nothing: SPIPS takes patches and the scene as a whole; leave it out")
    return SpipsRecipe(plain_recipe(recipe, **overrides), low_level, semantic)


def plain_recipe(recipe: Recipe | NamedRecipe | str | Path = "default", **overrides: Unpack[RecipeFields]) -> Recipe:
    """The recipe that SPIPS splits into streams; named recipes that do not fit SPIPS are adapted.

    >>> plain_recipe("embedded").taps
    (0, 1)

    Raises:
        ValueError: as in :func:`~torchmetrics_fmiqa.recipes.as_recipe`.
    """
    changes = _NAMED.get(recipe, {}) if isinstance(recipe, str) and "backbone" not in overrides else {}
    return as_recipe(recipe, **{**changes, **overrides})
