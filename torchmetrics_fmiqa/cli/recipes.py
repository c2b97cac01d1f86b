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
    """List the named recipes: size and licence of their weights, cost, agreement with people.

    MB is what the weights take on disk; GMAC the thousand millions of multiplications for a pair of 512 x 512; MB/MP
    the memory that its features take at once for each megapixel of such a pair. Convolutional networks keep to about
    1 GB: what would take more goes in pieces, with the same number.
    Agreement is SRCC with people: live58 and sr4kiqa as measured by this project, TID2013 and LIVE of the scores that
    ZS-IQA published for the network and the distance.
    """
    from torchmetrics_fmiqa.recipes import RECIPES, named

    if name is not None:
        out_console.print(named(name).to_yaml(), end="", highlight=False, soft_wrap=True, markup=False)
        return
    right = ("M params", "MB", "GMAC", "MB/MP", "live58", "sr4kiqa", "TID2013", "LIVE")
    table = Table("recipe", "backbone", box=None, pad_edge=False)
    for title in right:
        table.add_column(title, justify="right")
    for title in ("licence of weights", "distance", "what"):
        table.add_column(title)
    for title, entry in RECIPES.items():
        facts = entry.facts
        agreement = (facts.live58, facts.sr4kiqa, facts.tid2013, facts.live)
        table.add_row(
            title,
            str(entry.recipe.backbone),
            f"{entry.parameters:.1f}",
            f"{entry.megabytes:.0f}",
            f"{facts.gmacs:.1f}",
            "" if facts.memory is None else f"{facts.memory:.0f}",
            *("" if value is None else f"{value:.3f}".removeprefix("0") for value in agreement),
            entry.licence,
            ", ".join(entry.recipe.results),
            entry.note,
        )
    wide = Console(width=max(out_console.width, 200)) if not out_console.is_terminal else out_console
    wide.print(table)
    wide.print("`default` downloads nothing. What each column is: `fmiqa recipes --help`.", style="dim")
