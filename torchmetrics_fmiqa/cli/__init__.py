"""The command line: ``fmiqa score | map | benchmark | fit | recipes``."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer
from rich.markup import escape

from torchmetrics_fmiqa.cli.benchmark import benchmark as _benchmark
from torchmetrics_fmiqa.cli.console import err_console
from torchmetrics_fmiqa.cli.draw import draw_map as _map
from torchmetrics_fmiqa.cli.fit import fit as _fit
from torchmetrics_fmiqa.cli.recipes import recipes as _recipes
from torchmetrics_fmiqa.cli.score import score as _score

app = typer.Typer(
    help="Score images against their references with the features of frozen foundation models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(name="score")(_score)
app.command(name="map")(_map)
app.command(name="benchmark")(_benchmark)
app.command(name="fit")(_fit)
app.command(name="recipes")(_recipes)


def main() -> None:
    """Run the command line; errors are one line on standard error, and exit status 2."""
    try:
        app()
    except (ValueError, ModuleNotFoundError) as error:
        _fail(str(error))
    except RuntimeError as error:
        from torchmetrics_fmiqa.features.weights import WeightsUnavailableError  # loads torch: not for --help

        if not isinstance(error, WeightsUnavailableError):
            raise
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    err_console.print(f"[red]error:[/] {escape(message)}", soft_wrap=True)
    sys.exit(2)
