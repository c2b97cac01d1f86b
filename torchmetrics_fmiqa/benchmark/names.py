"""Names of metrics, as a command line gives them: baselines, recipes, recipes with overrides, and YAML files."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.recipes import RECIPES, Recipe, as_recipe

#: Characters that a metric's name cannot have, since columns of scores are built with them.
_RESERVED = ",@|"


def parse_metrics(names: Sequence[str], baselines: Sequence[str]) -> dict[str, Recipe | str]:
    """Return what each name stands for: a recipe, or a baseline's own name.

    A name is a baseline (``psnr``), a named recipe (``vit-tiny``), either a recipe with fields overridden
    (``vit-tiny:distance=l2:taps=[2, 5]``, values in YAML), or a ``.yaml`` file: one recipe, called by the file's name,
    or a mapping of names to recipes.

    Args:
        names: as they were given.
        baselines: names of the baselines.

    Raises:
        ValueError: for a name that is unknown or comes twice, or a file that is no recipe.

    >>> found = parse_metrics(["psnr", "vit-tiny:distance=l2"], ["psnr", "ssim"])
    >>> found["psnr"], found["vit-tiny:distance=l2"].distance
    ('psnr', 'l2')
    """
    found: dict[str, Recipe | str] = {}
    for name in names:
        for label, meaning in _meanings(name, baselines):
            if label in found:
                raise ValueError(f"the metric {label!r} is given twice")
            if set(label) & set(_RESERVED):
                raise ValueError(f"the metric {label!r} must be named without any of {' '.join(_RESERVED)}")
            found[label] = meaning
    if not found:
        raise ValueError(f"give at least one metric: {', '.join([*baselines, *RECIPES])}, or a .yaml file of recipes")
    return found


def _meanings(name: str, baselines: Sequence[str]) -> list[tuple[str, Recipe | str]]:
    base, *parts = re.split(r":(?=\w+=)", name)
    overrides = dict(_override(part, name) for part in parts)
    if not base.endswith((".yaml", ".yml")):
        if base in baselines or base.startswith("pyiqa:"):
            if overrides:
                raise ValueError(f"{base!r} is no recipe and has no field {next(iter(overrides))!r} to override")
            return [(name, name)]
        if base not in RECIPES:
            known = [*baselines, *RECIPES]
            near = difflib.get_close_matches(base, known, 3)
            hint = f"; close: {', '.join(near)}" if near else ""
            raise ValueError(f"there is no metric {base!r}{hint} (baselines: {', '.join(baselines)}; `fmiqa recipes`)")
        # A file's path is nobody's name; random weights are another metric.
        shown = [
            base,
            *(part for part in parts if not part.startswith("weights=") or part.startswith("weights=random")),
        ]
        label = re.sub(r",\s*", " ", ":".join(shown)).replace("|", "-")
        return [(label, as_recipe(base, **overrides))]
    return [(label, recipe.replace(**overrides) if overrides else recipe) for label, recipe in _file(Path(base))]


def _override(part: str, name: str) -> tuple[str, Any]:
    import yaml

    key, _, text = part.partition("=")
    try:
        return key, yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"the metric {name!r} overrides {key!r} with {text!r}, which is no YAML value") from None


def _file(path: Path) -> list[tuple[str, Recipe]]:
    import yaml

    if not path.is_file():
        raise ValueError(f"there is no recipe file {str(path)!r}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is no YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict) or not all(isinstance(fields, dict) for fields in content.values()):
        return [(path.stem, Recipe.from_yaml(path))]
    return [(str(label), _recipe(str(label), fields, path)) for label, fields in content.items()]


def _recipe(label: str, fields: dict[str, Any], path: Path) -> Recipe:
    import yaml

    weights = fields.get("weights")
    if isinstance(weights, str) and (path.parent / weights).is_file():
        fields = {**fields, "weights": str((path.parent / weights).resolve())}
    try:
        return Recipe.from_yaml(yaml.safe_dump(fields) + "\n")
    except ValueError as error:
        raise ValueError(f"{label!r} in {str(path)!r}: {error}") from None
