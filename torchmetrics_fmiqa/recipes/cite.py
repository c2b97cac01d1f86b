"""One line to quote a result with."""

from __future__ import annotations

from torchmetrics_fmiqa import __version__
from torchmetrics_fmiqa.recipes.recipe import Recipe
from torchmetrics_fmiqa.recipes.registry import RECIPES


def cite(recipe: Recipe) -> str:
    """Return one line to quote a result with: package, version, recipe, digest, distance and direction.

    Args:
        recipe: a named recipe goes by its own name, not by ``default``; another by its backbone.

    Raises:
        ValueError: if ``weights`` is a file that is not there.

    >>> cite(Recipe("fmiqa/embedded", distance="l2")).split(", ")[2:]
    ['distance l2', 'lower is closer']
    """
    names = [name for name, entry in RECIPES.items() if entry.recipe == recipe]
    if names:
        called = names[-1]  # after "default" and "accurate"
    elif isinstance(recipe.backbone, str):
        called = recipe.backbone
    else:
        called = repr(recipe.backbone)
    distances = " and ".join(recipe.results)
    package = f"torchmetrics_fmiqa {__version__}"
    return f"{package}, recipe {called} (digest {recipe.digest}), distance {distances}, lower is closer"
