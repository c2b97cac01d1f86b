"""`fmiqa recipes`: list the named recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from torchmetrics_fmiqa.cli.console import out_console

if TYPE_CHECKING:
    from torchmetrics_fmiqa.recipes.facts import Agreement


def recipes(
    name: Annotated[
        str | None, typer.Argument(help="Print this recipe, or that of a file, as YAML to start one of your own.")
    ] = None,
    cite: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Print one line to quote a result of this recipe, or of a file's, with."),
    ] = None,
) -> None:
    """List the named recipes: size and licence of their weights, cost, agreement with people.

    MB is what the weights take on disk; GMAC the thousand millions of multiplications for a pair of 512 x 512; MB/MP
    the memory that its features take at once for each megapixel of such a pair. Convolutional networks keep to about
    1 GB: what would take more goes in pieces, with the same number.
    Agreement is SRCC with people: live58, live_dev, sr4kiqa and srij as measured by this project at a long side of at
    most 960, with 95 % intervals by bootstrap over references, empty where the weights were not at hand; TID2013 and
    LIVE of the scores that ZS-IQA published for the network and the distance.
    """
    from torchmetrics_fmiqa.recipes import RECIPES, as_recipe
    from torchmetrics_fmiqa.recipes.facts import SETS

    if cite is not None:
        from torchmetrics_fmiqa.recipes.cite import cite as line_of

        out_console.say(line_of(as_recipe(cite)), markup=False)
        return
    if name is not None:
        out_console.say(as_recipe(name).to_yaml(), end="", markup=False)
        return
    numbers = [
        Column(title, justify="right") for title in ("M params", "MB", "GMAC", "MB/MP", *SETS, "TID2013", "LIVE")
    ]
    texts = ("licence of weights", "distance", "what")
    table = Table("recipe", "backbone", *numbers, *texts, box=None, pad_edge=False)
    for title, entry in RECIPES.items():
        facts = entry.facts
        measured = (facts.people.get(name) for name in SETS)
        table.add_row(
            title,
            str(entry.recipe.backbone),
            f"{entry.parameters:.1f}",
            f"{entry.megabytes:.0f}",
            f"{facts.gmacs:.1f}",
            "" if facts.memory is None else f"{facts.memory:.0f}",
            *("" if people is None else _with_interval(people) for people in measured),
            *("" if value is None else _short(value) for value in (facts.tid2013, facts.live)),
            entry.licence,
            ", ".join(entry.recipe.results),
            entry.note,
        )
    wide = Console(width=max(out_console.width, 400)) if not out_console.is_terminal else out_console
    wide.print(table)
    wide.print("`default` downloads nothing. What each column is: `fmiqa recipes --help`.", style="dim")


def _with_interval(people: Agreement) -> str:
    return f"{_short(people.srcc)} [{_short(people.low)}, {_short(people.high)}]"


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")
