"""Read the fields of a recipe from a YAML file or text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.arguments import short_repr
from torchmetrics_fmiqa.data.opening import read_text
from torchmetrics_fmiqa.yaml_text import read_yaml


def is_yaml_path(source: str | Path) -> bool:
    """Whether ``source`` is the path of a YAML file, not a name or a YAML text."""
    return isinstance(source, Path) or ("\n" not in source and source.endswith((".yaml", ".yml")))


def read_fields(source: str | Path) -> dict[str, Any]:
    """Read the fields of a YAML file or text. Paths in it are relative to the file's folder.

    Raises:
        ValueError: for a text that is not a YAML mapping.
    """
    path = Path(source) if is_yaml_path(source) else None
    name = "the recipe" if path is None else f"the recipe {str(path)!r}"
    fields = read_yaml(str(source) if path is None else read_text(path, "recipe file"), name)
    if not isinstance(fields, dict):
        raise ValueError(f"a recipe is a mapping of fields, got {short_repr(fields)}")
    for field in ("weights", "channel_weights"):
        given = fields.get(field)
        if path is not None and isinstance(given, str) and (path.parent / given).is_file():
            fields[field] = str(path.parent / given)
    return {str(name): value for name, value in fields.items()}
