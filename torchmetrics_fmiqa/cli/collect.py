"""`fmiqa collect`: join what workers have scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from torchmetrics_fmiqa.cli.console import err_console, list_problems, out_console, plain

if TYPE_CHECKING:
    from torchmetrics_fmiqa.scoring.collect import Collected


def collect(
    folder: Annotated[Path, typer.Argument(help="Folder that `fmiqa score --out FOLDER/` has written to.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Write the scores to a .parquet, .csv or .json file; one that is there is replaced."),
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="How many of the farthest images to print.")] = 5,
) -> None:
    """Join the scores of all shards, check that each pair is there once, and print a summary.

    Means have 95 % intervals. Pairs of one reference count together, where the input names references by paths. Scores
    are sorted by the names of pairs.

    Exit status: 0, 1 if pairs failed or are not scored yet (they are told), 2 for wrong arguments, and for parts that
    are damaged or have a pair twice.
    """
    from torchmetrics_fmiqa.data.pairs import Problem
    from torchmetrics_fmiqa.data.parquet import write_parquet
    from torchmetrics_fmiqa.data.rows import csv_rows
    from torchmetrics_fmiqa.data.tables import check_table_path, write_table
    from torchmetrics_fmiqa.scoring.collect import collect

    if out is not None:
        check_table_path(out, [folder / "inputs.json"])
    found = collect(folder)
    if out is not None:
        names = [name for name in found.scores.column_names if name != "outside"]
        if out.suffix.lower() == ".parquet":
            write_parquet(out, found.scores.select(names))
        else:
            write_table(out, found.scores.select(names).to_pylist(), names)
        err_console.say(f"{found.scores.num_rows} scores in {plain(out)}")
    if found.scores.num_rows:
        _print_summary(found, worst)
    unpaired = folder / "unpaired.csv"
    problems = [
        Problem(", ".join(str(value) for name, value in row.items() if name != "reason"), row["reason"])
        for row in found.failed.slice(0, _MOST).to_pylist()
    ]
    if unpaired.is_file():
        problems += [Problem(row["name"], row["reason"]) for _, row in csv_rows(unpaired)[0]]
    list_problems(problems, found.failed.num_rows - _MOST)
    if found.missing:
        missing = f"[red]{found.missing} of {found.inputs['count']} pairs are not scored yet:[/]"
        err_console.say(f"{missing} start `fmiqa score` with this folder again")
    if problems or found.missing:
        raise typer.Exit(1)


_MOST = 20  # failed pairs that are listed


def _print_summary(found: Collected, worst: int) -> None:
    """Print means with intervals, and the farthest images."""
    import numpy as np

    numbers = found.numbers()
    closest, farthest = (np.max, np.min) if found.higher_is_better else (np.min, np.max)
    table = Table("", "pairs", "mean", "95 % interval", "median", "closest", "farthest", box=None, pad_edge=False)
    for name, (mean, low, high), values in zip(found.columns, found.means(), numbers.T, strict=True):
        interval = "" if np.isnan(low) else f"{low:.6g} to {high:.6g}"
        figures = (f"{value:.6g}" for value in (np.median(values), closest(values), farthest(values)))
        table.add_row(plain(name), str(len(values)), f"{mean:.6g}", interval, *figures)
    out_console.print(table)
    direction = "higher is better, 100 is equal" if found.higher_is_better else "lower is closer, 0 is equal"
    out_console.say(f"{direction}; {plain(found.measured_by)}", style="dim")
    if worst:
        out_console.print("farthest:")
    for row in found.worst(worst):
        out_console.say(f"  {numbers[row, 0]:<12.6g} {plain(found.name_of(row))}")
    outside = int(np.count_nonzero(found.scores.column("outside").to_numpy()))
    if outside:
        out_console.say(f"{outside} images leave [0, 1]")
