"""Recipes as YAML."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torchmetrics_fmiqa.arguments import shown
from torchmetrics_fmiqa.data.opening import read_text
from torchmetrics_fmiqa.features.network import UserModule
from torchmetrics_fmiqa.recipes.recipe import Recipe, backbone_defaults
from torchmetrics_fmiqa.recipes.table import named
from torchmetrics_fmiqa.yaml_text import read_yaml


def is_yaml_path(source: str | Path) -> bool:
    """Whether this is the path of a YAML file, rather than a name or a text."""
    return isinstance(source, Path) or ("\n" not in source and source.endswith((".yaml", ".yml")))


def written(recipe: Recipe) -> str:
    """A recipe as YAML (:meth:`Recipe.to_yaml`)."""
    import yaml

    if isinstance(recipe.backbone, UserModule):
        raise ValueError("a recipe with a module as backbone has no YAML form: give a timm or torchvision name")
    if any(not isinstance(distance, str) for distance in recipe.distances):
        raise ValueError("a recipe with a callable as distance has no YAML form: give the name of a distance")
    # what :func:`read` starts from
    defaults = {field.name: field.default for field in dataclasses.fields(recipe)} | backbone_defaults(recipe.backbone)
    plain = {name: value for name, value in recipe.plain().items() if getattr(recipe, name) != defaults[name]}
    if recipe.tap_weights is not None:
        plain["tap_weights"] = dict(recipe.tap_weights)
    return str(yaml.safe_dump(plain, sort_keys=False))


def read(source: str | Path) -> Recipe:
    """The recipe of a YAML file or text (:meth:`Recipe.from_yaml`)."""
    path = Path(source) if is_yaml_path(source) else None
    name = "the recipe" if path is None else f"the recipe {str(path)!r}"
    fields = read_yaml(str(source) if path is None else read_text(path, "recipe file"), name)
    if not isinstance(fields, dict):
        raise ValueError(f"a recipe is a mapping of fields, got {shown(fields)}")
    weights = fields.get("weights")
    if path is not None and isinstance(weights, str) and (path.parent / weights).is_file():
        fields["weights"] = str(path.parent / weights)
    base = named(fields.pop("recipe")) if "recipe" in fields else Recipe("placeholder")
    if base.backbone == "placeholder" and "backbone" not in fields:
        raise ValueError("a recipe names its `backbone`, or a `recipe` to start from")
    return base.replace(**{str(name): value for name, value in fields.items()})
