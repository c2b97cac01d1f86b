"""SPIPS as the names and files of a benchmark ask for it."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.comparator import Precision
from torchmetrics_fmiqa.fusion.recipe import SpipsRecipe, plain_recipe
from torchmetrics_fmiqa.fusion.scorer import SpipsScorer
from torchmetrics_fmiqa.fusion.streams import check_parts
from torchmetrics_fmiqa.recipes import Recipe, Taps, as_recipe

#: What the metric is called.
SPIPS = "spips"

_OWN = ("head", "low_level", "semantic", "parts")

# SPIPS joins taps in its own way, and always takes patches.
_SETTLED = ("tap_weights", "tokens")


@dataclass(frozen=True)
class AskedSpips:
    """All that fixes the numbers of SPIPS. No network is loaded yet, whose weights may be out of reach.

    Args:
        recipe: what to measure with.
        head: a trained head's file, or ``None`` for fixed weights.
        low_level: taps of the low-level stream; ``None`` for the first half of the recipe's taps.
        semantic: taps of the semantic stream; ``None`` for the rest.
        parts: which of :data:`~torchmetrics_fmiqa.fusion.streams.PARTS` the fixed weights use; ``None`` for all.

    Raises:
        ValueError: for a head that is no file, taps that are no list, and parts that do not exist.

    >>> asked = AskedSpips.of({"recipe": "vit-tiny", "distance": "l2", "semantic": [10, 11]})
    >>> asked.recipe.distance, asked.semantic
    ('l2', (10, 11))
    """

    recipe: Recipe
    head: str | None = None
    low_level: Taps | None = None
    semantic: Taps | None = None
    parts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.head is not None and not (isinstance(self.head, str) and Path(self.head).is_file()):
            raise ValueError(f"there is no head {self.head!r}: give a .safetensors file that `fmiqa fit` made")
        for name in ("low_level", "semantic"):
            taps = getattr(self, name)
            if taps is not None:
                if not isinstance(taps, (list, tuple)):
                    raise ValueError(
                        f"`{name}` must be a list of indices and module names, such as [0, 1]; got {taps!r}"
                    )
                object.__setattr__(self, name, tuple(taps))
        if self.parts is not None:
            object.__setattr__(self, "parts", check_parts(self.parts))

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> AskedSpips:
        """Read the fields of a name or a file.

        Args:
            fields: those of this class, where ``recipe`` is a name or a YAML file and ``"default"`` without one; and
                fields of the recipe to override.

        Raises:
            ValueError: for unknown fields, with the nearest one, and for values that do not fit.
        """
        name = fields.get("recipe", "default")
        if not isinstance(name, str):
            raise ValueError(f"`recipe` must be the name of a recipe or a YAML file, got {name!r}")
        return cls(plain_recipe(name)).replace(**{key: value for key, value in fields.items() if key != "recipe"})

    def replace(self, **fields: Any) -> AskedSpips:
        """Return a copy with other fields, of this or of the recipe.

        Raises:
            ValueError: as :meth:`of`.
        """
        of_recipe = [field.name for field in dataclasses.fields(Recipe) if field.name not in _SETTLED]
        known = [*_OWN, *of_recipe]
        for name in fields:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f": did you mean `{near[0]}`?" if near else ""
                raise ValueError(f"{SPIPS} has no field `{name}`{hint} (fields: recipe, {', '.join(known)})")
        own = {name: value for name, value in fields.items() if name in _OWN}
        overrides = {name: value for name, value in fields.items() if name in of_recipe}
        return dataclasses.replace(self, recipe=as_recipe(self.recipe, **overrides), **own)

    def scorer(self, precision: Precision) -> SpipsScorer:
        """Load the network and the head.

        Raises:
            ValueError: for a recipe, taps or a head that do not fit.
            WeightsUnavailableError: if pretrained weights cannot be downloaded.
        """
        return SpipsScorer(SpipsRecipe(self.recipe, self.low_level, self.semantic), self.head, self.parts, precision)
