"""The command line: ``fmiqa score | collect | video | map | compare | benchmark | fit | fuse | gate | recipes``."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from torchmetrics_fmiqa.cli.benchmark import benchmark as _benchmark
from torchmetrics_fmiqa.cli.collect import collect as _collect
from torchmetrics_fmiqa.cli.command import Command, Group
from torchmetrics_fmiqa.cli.compare import compare as _compare
from torchmetrics_fmiqa.cli.console import discard, err_console, one_line, prepare_streams
from torchmetrics_fmiqa.cli.fit import fit as _fit
from torchmetrics_fmiqa.cli.fuse import fuse as _fuse
from torchmetrics_fmiqa.cli.gate import gate as _gate
from torchmetrics_fmiqa.cli.map import draw_map as _map
from torchmetrics_fmiqa.cli.recipes import recipes as _recipes
from torchmetrics_fmiqa.cli.score import score as _score
from torchmetrics_fmiqa.cli.termination import keyboard_interrupt_on_termination
from torchmetrics_fmiqa.cli.video import video as _video

_EXIT_BROKEN_PIPE = 128 + 13  # SIGPIPE, which the signal module lacks on some systems

app = typer.Typer(
    cls=Group,
    help="Score images against their references with the features of frozen foundation models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (_score, _collect, _video, _map, _compare, _benchmark, _fit, _fuse, _recipes):
    app.command(name=_command.__name__.removeprefix("draw_"), cls=Command)(_command)
app.add_typer(_gate, name="gate")


def _print_version(requested: bool) -> None:
    if requested:
        from torchmetrics_fmiqa import __version__

        typer.echo(f"fmiqa {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; an error is a single line on standard error, with exit status 2.

    After a signal (SIGTERM, SIGHUP, SIGINT) finished work is saved, and the exit status is 128 plus its number. A
    closed output (``| head``) has that of SIGPIPE.
    """
    prepare_streams()
    with keyboard_interrupt_on_termination() as termination:
        try:
            app()
        except (SystemExit, KeyboardInterrupt) as end:
            if termination.signal is not None:
                sys.exit(128 + termination.signal)
            if isinstance(end.__context__, BrokenPipeError):
                discard(sys.stdout)
                sys.exit(_EXIT_BROKEN_PIPE)
            raise
        except (ValueError, ModuleNotFoundError) as error:
            _fail(str(error))
        except OSError as error:
            _fail(f"{error.filename!r}: {error.strerror}" if error.filename and error.strerror else str(error))
        except RuntimeError as error:
            from torchmetrics_fmiqa.features.weights import WeightsUnavailableError  # loads torch: not for --help

            if not isinstance(error, WeightsUnavailableError):
                raise
            _fail(str(error))


def _fail(message: str) -> NoReturn:
    with suppress(OSError):  # a full disk must not change the exit status
        err_console.print(f"[red]error:[/] {one_line(message)}", soft_wrap=True)
    sys.exit(2)
