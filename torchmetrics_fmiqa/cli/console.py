"""Output of the command line: results to standard output, everything else to standard error."""

from __future__ import annotations

import errno
import io
import os
import re
import shlex
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

    from rich.progress import Progress
    from rich.status import Status

    from torchmetrics_fmiqa.data.pairs import Problem


# Longest message, in characters.
_LONGEST = 2000


class _Console(Console):
    """A console that raises a BrokenPipeError if its results have no reader; notes without a reader are dropped."""

    def on_broken_pipe(self) -> None:
        """Handle that the reader has closed the stream."""
        if not self.stderr:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        discard(sys.stderr)

    def say(self, text: str, **options: Any) -> None:
        """Print a text in one line, however long; numbers in it are not coloured."""
        self.print(text, soft_wrap=True, highlight=False, **options)


out_console, err_console = _Console(emoji=False), _Console(stderr=True, emoji=False)


def prepare_streams() -> None:
    """Make both streams accept every text: characters that their encoding lacks are written as codes.

    Streams that were closed before the start are opened to ``os.devnull``, else the next file would take their number.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:  # open() takes the lowest free number
        pass
    os.close(number)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard(stream: IO[str]) -> None:
    """Discard all further output to a stream, also at the interpreter's exit."""
    with suppress(OSError, ValueError):  # the stream may not be a real file
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def plain(text: object) -> str:
    r"""Escape a text for rich: no markup, a single line, and no control characters of a terminal.

    >>> print(plain("a [bold]" + chr(10) + ".png"))
    a \[bold]\n.png
    """
    return escape("".join(char if char.isprintable() else repr(char)[1:-1] for char in str(text)))


def one_line(message: str) -> str:
    """A message, which may quote other programs, on a single escaped line of limited length."""
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
def hint_to_resume(folder: Path) -> Iterator[None]:
    """If a run is interrupted, print how to resume it."""
    try:
        yield
    except KeyboardInterrupt:
        err_console.say(f"interrupted: the same command goes on where it stopped, in {plain(folder)}")
        raise


def track_pairs(results: Any, total: int) -> Any:
    """Pass results on, and show a progress bar."""
    with pairs_bar("scoring", "pairs, time left") as progress:
        yield from progress.track(results, total=total)


def _count_pairs(done: Iterable[int], total: int) -> Iterator[int]:
    with pairs_bar("scoring", "pairs, {task.fields[speed]} time left") as progress:
        task = progress.add_task("", total=total, speed="")
        first_count: int | None = None  # pairs of an earlier run do not count for the speed
        start = time.monotonic()
        for count in done:
            first_count = count if first_count is None else first_count
            new = count - first_count
            speed = f"{new / (time.monotonic() - start):.2f} pairs/s," if new > 0 else ""
            progress.update(task, completed=count, speed=speed)
            yield count


def pairs_bar(label: str, unit: str = "") -> Progress:
    """A bar of pairs done on the terminal, with a label before it and the unit after the count."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    return Progress(*columns, console=err_console, transient=True)


def show_notes(notes: Iterable[str]) -> None:
    """Print notes on standard error."""
    for note in notes:
        err_console.say(one_line(note), style="dim")


def this_command() -> str:
    """The command that runs, as a report has it."""
    return shlex.join(["fmiqa", *sys.argv[1:]])


def report_problems(problems: list[Problem]) -> None:
    """List the problems and exit with status 1; do nothing if there are none.

    Raises:
        typer.Exit: if there are problems.
    """
    if problems:
        list_problems(problems)
        raise typer.Exit(1)


def list_problems(problems: list[Problem], more: int = 0) -> None:
    """Print a line for each problem, and how many more there are."""
    if not problems:
        return
    more = max(0, more)
    err_console.print(f"[red]{len(problems) + more} could not be scored:[/]")
    for problem in problems:
        err_console.say(f"  {plain(problem.name)}: {one_line(problem.reason)}")
    if more:
        err_console.print(f"  and {more} more")
