"""`fmiqa score` in one run: a table of scores, and a summary on the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from torchmetrics_fmiqa.cli.console import err_console, out_console, plain, report_problems, show_notes, track_pairs

if TYPE_CHECKING:
    from torchmetrics_fmiqa.cli.score_input import Input
    from torchmetrics_fmiqa.data.pairs import Pair
    from torchmetrics_fmiqa.safe_write import WriteError
    from torchmetrics_fmiqa.scoring import PairScorer, Scored

_MAX_LISTED = 20  # up to so many images are printed one by one


def score_to_table(
    results: Iterable[Scored[Pair]],
    given: Input,
    scorer: PairScorer,
    out: Path | None,
    quality: bool,
    measured_by: str,
) -> None:
    """Take the results of pairs as they come, write them at the end or at an interruption, and print a summary.

    Args:
        results: of the pairs.
        given: the pairs, with what was left out of them.
        scorer: names the columns.
        out: the table, or ``None``.
        quality: whether the scores are qualities, not distances.
        measured_by: the recipe in words.

    Raises:
        WriteError: if the system refuses to write the table; the scores are printed then.
        typer.Exit: with status 1, if there are problems.
    """
    from torchmetrics_fmiqa.data.pairs import Problem

    scored: list[Scored[Pair]] = []
    problems = [*given.problems]
    write_error: WriteError | None = None
    interrupted = True
    try:
        for result in track_pairs(results, len(given.pairs)):
            if result.error:
                problems.append(Problem(f"{result.pair.dist} (reference {result.pair.ref})", result.error))
            else:
                scored.append(result)
        interrupted = False
    finally:  # write the scores so far after an interruption; without any, keep an older table
        if out is not None and (scored or not interrupted):
            write_error = _write(out, scored, scorer.columns)
    _print_scores(scored, scorer.names, scorer.columns, quality, measured_by)
    show_notes(given.notes)
    if write_error is not None:
        raise write_error
    report_problems(problems)


def _write(out: Path, scored: Sequence[Scored[Pair]], columns: Sequence[str]) -> WriteError | None:
    """Write the scores and report it; if the system refuses, print them instead and return the error."""
    from torchmetrics_fmiqa.data.tables import format_csv, write_table
    from torchmetrics_fmiqa.safe_write import WriteError, printable

    names = ["ref", "dist", *columns]
    rows = [{"ref": result.pair.ref, "dist": result.pair.dist, **result.values} for result in scored]
    try:
        write_table(out, rows, names)
    except WriteError as error:
        table = format_csv([names, *([row[name] for name in names] for row in rows)])
        out_console.say(printable(table), end="", markup=False)
        return error
    if scored:
        err_console.say(f"{len(scored)} scores in {plain(out)}")
    return None


def _print_scores(
    scored: Sequence[Scored[Pair]], names: Sequence[str], columns: Sequence[str], quality: bool, measured_by: str
) -> None:
    """Print each image if there are few, a summary, and the number of images outside the range."""
    if not scored:
        return
    if 1 < len(scored) <= _MAX_LISTED:
        _print_images(scored, names)
    table = Table("", "pairs", "mean", "median", "closest", "farthest", box=None, pad_edge=False)
    table.add_column("farthest image", overflow="fold")
    closest, farthest = (max, min) if quality else (min, max)
    for name in columns:
        values = [result.values[name] for result in scored]
        farthest_image = scored[values.index(farthest(values))].pair.dist
        figures = (statistics.fmean(values), statistics.median(values), closest(values), farthest(values))
        table.add_row(plain(name), str(len(values)), *(f"{value:.6g}" for value in figures), plain(farthest_image))
    out_console.print(table)
    direction = "higher is better, 100 is equal" if quality else "lower is closer, 0 is equal"
    out_console.say(f"{direction}; {plain(measured_by)}", style="dim")
    outside = [result for result in scored if result.outside]
    if outside:
        worst = max(outside, key=lambda result: result.outside)
        share = f"{worst.outside:.2%} of values ({plain(worst.pair.dist)})"
        out_console.say(f"{len(outside)} images leave [0, 1], at most in {share}")


def _print_images(scored: Sequence[Scored[Pair]], names: Sequence[str]) -> None:
    """Print a line for each image: its scores, then its name, which may be long."""
    width = max(12, *map(len, names))
    rows = ([*(f"{result.values[name]:.6g}" for name in names), result.pair.dist] for result in scored)
    lines = [[*names, "image"], *rows]
    for *figures, name in lines:
        cells = "".join(f"{figure:<{width}}" for figure in figures)
        out_console.say(f"{plain(cells)} {plain(name)}")
    out_console.print()
