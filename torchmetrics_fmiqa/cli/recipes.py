"""`fmiqa recipes`: list the named recipes."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from torchmetrics_fmiqa.cli.console import out_console


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe as YAML, to start one of your own.")] = None,
) -> None:
    """List the named recipes: backbone, size and licence of its weights."""
    from torchmetrics_fmiqa.recipes import RECIPES, named

    if name is not None:
        out_console.print(named(name).to_yaml(), end="", highlight=False, soft_wrap=True)
        return
    table = Table("recipe", "backbone", "M params", "licence of weights", "distance", "what", box=None, pad_edge=False)
    for title, entry in RECIPES.items():
        distance = ", ".join(map(str, entry.recipe.distances))
        backbone = str(entry.recipe.backbone)
        table.add_row(title, backbone, f"{entry.parameters:.1f}", entry.licence, distance, entry.note)
    wide = Console(width=max(out_console.width, 160)) if not out_console.is_terminal else out_console
    wide.print(table)
