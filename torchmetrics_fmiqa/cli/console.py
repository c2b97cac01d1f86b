"""Where the command line writes: results to standard output, all else to standard error."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from pathlib import Path

    from rich.status import Status

    from torchmetrics_fmiqa.data.pairs import Problem


# Letters of a message: more than that nobody reads.
_LONGEST = 2000


class _Console(Console):
    """A console that says by a BrokenPipeError that nobody reads its results; notes are then passed over."""

    def on_broken_pipe(self) -> None:
        """Nobody reads any more."""
        if not self.stderr:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        discard(sys.stderr)


out_console, err_console = _Console(emoji=False), _Console(stderr=True, emoji=False)


def prepare_streams() -> None:
    """Let both streams take every text: what their encoding lacks is written as a code.

    Those that were closed before the start lead nowhere: else the next file that is opened would take their place.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:  # it takes the lowest that is free
        pass
    os.close(number)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard(stream: IO[str]) -> None:
    """Let all that is still to be written to a stream go nowhere, at the interpreter's end too."""
    with suppress(OSError, ValueError):  # no real file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def plain(text: object) -> str:
    r"""A text as it is, for rich: no markup, one line, and nothing that a terminal would obey.

    >>> print(plain("a [bold]" + chr(10) + ".png"))
    a \[bold]\n.png
    """
    return escape("".join(one if one.isprintable() else repr(one)[1:-1] for one in str(text)))


def one_line(message: str) -> str:
    """A message, which may quote another program's lines or a table's header, on one line of some length, and plain."""
    message = re.sub(r"\s*\n\s*", " ", message.strip())
    if len(message) > _LONGEST:
        message = f"{message[: _LONGEST // 2]} ... {message[-_LONGEST // 2 :]}"
    return plain(message)


class TerminalProgress:
    """Shows on the terminal what a run does, while it lasts: a spinner with a text, or a bar of pairs done."""

    def __init__(self) -> None:
        self._spinner: Status | None = None

    def __enter__(self) -> TerminalProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None

    def status(self, text: str) -> None:
        """Say what is being done now."""
        if self._spinner is None:
            self._spinner = err_console.status("...")
            self._spinner.start()
        self._spinner.update(f"{plain(text)} ...")

    def pairs(self, done: Iterable[int], total: int) -> Iterator[int]:
        """Pass on the numbers of pairs done, and show them with the speed and the time left."""
        self._stop()  # the terminal shows one of both at a time
        return _count_pairs(done, total)


@contextmanager
def going_on_in(folder: Path) -> Iterator[None]:
    """Say of a run that is interrupted how to go on with it."""
    try:
        yield
    except KeyboardInterrupt:
        err_console.print(
            f"interrupted: the same command goes on where it stopped, in {plain(folder)}",
            soft_wrap=True,
            highlight=False,
        )
        raise


def track_pairs(results: Any, total: int) -> Any:
    """Pass results on, and show how many of how many there were."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = (
        TextColumn("scoring"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("pairs, time left"),
        TimeRemainingColumn(),
    )
    with Progress(*bar, console=err_console, transient=True) as progress:
        yield from progress.track(results, total=total)


def _count_pairs(done: Iterable[int], total: int) -> Iterator[int]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    speed = TextColumn("{task.fields[speed]}")
    bar = (
        TextColumn("scoring"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("pairs,"),
        speed,
        TextColumn("time left"),
    )
    with Progress(*bar, TimeRemainingColumn(), console=err_console, transient=True) as progress:
        task = progress.add_task("", total=total, speed="")
        before: int | None = None  # what an earlier run had done tells nothing of this one's speed
        began = time.monotonic()
        for count in done:
            before = count if before is None else before
            speed_now = f"{(count - before) / (time.monotonic() - began):.2f} pairs/s," if count > before else ""
            progress.update(task, completed=count, speed=speed_now)
            yield count


def show_notes(notes: Iterable[str]) -> None:
    """Say what was left out, or else is worth knowing, on standard error."""
    for note in notes:
        err_console.print(one_line(note), style="dim", soft_wrap=True, highlight=False)


def report_problems(problems: list[Problem]) -> None:
    """List what could not be scored, and exit with status 1; do nothing where all could.

    Raises:
        typer.Exit: if there are problems.
    """
    if problems:
        list_problems(problems)
        raise typer.Exit(1)


def list_problems(problems: list[Problem]) -> None:
    """Name what could not be scored, a line each."""
    if not problems:
        return
    err_console.print(f"[red]{len(problems)} could not be scored:[/]")
    for problem in problems:
        err_console.print(f"  {plain(problem.name)}: {one_line(problem.reason)}", soft_wrap=True, highlight=False)
