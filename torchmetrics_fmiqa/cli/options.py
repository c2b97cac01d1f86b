"""Options that commands share, and what their texts stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.markup import escape

from torchmetrics_fmiqa.cli.console import err_console
from torchmetrics_fmiqa.cli.fields import read_fields

if TYPE_CHECKING:
    from torchmetrics_fmiqa.comparator import FeatureComparator
    from torchmetrics_fmiqa.data.images import Match
    from torchmetrics_fmiqa.recipes import Recipe

RecipeOption = Annotated[str, typer.Option("--recipe", help="Name of a recipe (`fmiqa recipes`) or a YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a field of the recipe; the value is YAML. Repeatable."),
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps ...")]
PrecisionOption = Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")]
MatchOption = Annotated[
    str | None, typer.Option(help="For pairs of two sizes: crop (to the common top left part) or resize (DIST).")
]
RgbOption = Annotated[bool, typer.Option("--to-rgb", help="Take grey and opaque RGBA files too.")]


def read_recipe(name: str, overrides: Sequence[str] | None) -> Recipe:
    """The recipe of a name or a file, with fields overridden by ``KEY=VALUE``.

    Raises:
        ValueError: for an override that is none, or what no recipe takes.
    """
    from torchmetrics_fmiqa.recipes import as_recipe

    return as_recipe(name, **read_fields("--set", overrides))


def load_comparator(recipe: Recipe, precision: str) -> FeatureComparator:
    """Load a recipe's network."""
    from torchmetrics_fmiqa.comparator import FeatureComparator

    with err_console.status(f"loading {escape(str(recipe.backbone))} ..."):
        return FeatureComparator(recipe, precision=precision)  # type: ignore[arg-type]


def check_device(name: str) -> Any:
    """The device of a name.

    Raises:
        ValueError: if it cannot be used here.
    """
    import torch

    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"`--device {name}` cannot be used: {str(error).splitlines()[0]}") from error
    return device


def check_match(match: str | None) -> Match | None:
    """The value of ``--match``.

    Raises:
        ValueError: if it is none.
    """
    if match not in (None, "crop", "resize"):
        raise ValueError(f"`--match` must be crop or resize, got {match!r}")
    return cast("Match | None", match)


def split_names(text: str) -> list[str]:
    """Names between commas; commas within brackets do not count."""
    return [name.strip() for name in re.split(r",(?![^\[]*\])", text) if name.strip()]
