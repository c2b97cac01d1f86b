"""Recipes: what fixes a number, the table of named ones, and what a door makes of what it is given."""

from torchmetrics_fmiqa.recipes.asked import as_recipe
from torchmetrics_fmiqa.recipes.fields import Taps, distance_name
from torchmetrics_fmiqa.recipes.recipe import Recipe
from torchmetrics_fmiqa.recipes.table import RECIPES, NamedRecipe, named

__all__ = ["RECIPES", "NamedRecipe", "Recipe", "Taps", "as_recipe", "distance_name", "named"]
