"""Convert the recipe argument of a metric, a loss or a command to a recipe."""

from __future__ import annotations

from pathlib import Path

from typing_extensions import Unpack

from torchmetrics_fmiqa.recipes.recipe import Recipe, named
from torchmetrics_fmiqa.recipes.recipe_fields import RecipeFields
from torchmetrics_fmiqa.recipes.registry import NamedRecipe
from torchmetrics_fmiqa.recipes.yaml_form import is_yaml_path


def as_recipe(recipe: Recipe | NamedRecipe | str | Path = "default", **overrides: Unpack[RecipeFields]) -> Recipe:
    """Return the recipe of a name, a YAML file or a recipe, with fields overridden.

    >>> as_recipe("vit-tiny", distance="l2").distance
    'l2'

    Raises:
        ValueError: for an unknown name, file or field.
    """
    if isinstance(recipe, NamedRecipe):
        recipe = recipe.recipe
    if not isinstance(recipe, (str, Path, Recipe)):
        raise ValueError(
            f"`recipe` is a name, a YAML file or a Recipe, got a {type(recipe).__name__}; a network is `backbone=`"
        )
    if not isinstance(recipe, Recipe):
        recipe = Recipe.from_yaml(recipe) if is_yaml_path(recipe) else named(str(recipe))
    return recipe.replace(**overrides) if overrides else recipe
