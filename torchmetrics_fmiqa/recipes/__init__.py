"""Recipes: all settings that determine a score, the named recipes, and the conversion of arguments to recipes."""

from torchmetrics_fmiqa.recipes.fields import Taps, distance_name
from torchmetrics_fmiqa.recipes.load import as_recipe
from torchmetrics_fmiqa.recipes.recipe import Recipe, named
from torchmetrics_fmiqa.recipes.registry import RECIPES, NamedRecipe

__all__ = ["RECIPES", "NamedRecipe", "Recipe", "Taps", "as_recipe", "distance_name", "named"]
