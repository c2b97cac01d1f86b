"""Recipes: what fixes a number, the table of named ones, and what a door makes of what it is given."""

from torchmetrics_fmiqa.recipes.fields import Taps, distance_name
from torchmetrics_fmiqa.recipes.load import as_recipe
from torchmetrics_fmiqa.recipes.recipe import Recipe, named
from torchmetrics_fmiqa.recipes.registry import RECIPES, NamedRecipe

__all__ = ["RECIPES", "NamedRecipe", "Recipe", "Taps", "as_recipe", "distance_name", "named"]
