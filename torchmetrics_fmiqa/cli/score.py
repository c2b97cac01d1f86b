"""`fmiqa score`: score images against their references."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from torchmetrics_fmiqa.cli.console import out_console, report_problems, track_pairs
from torchmetrics_fmiqa.cli.options import (
    DeviceOption,
    MatchOption,
    PrecisionOption,
    RecipeOption,
    RgbOption,
    SetOption,
    check_device,
    check_match,
    load_comparator,
    read_recipe,
)

if TYPE_CHECKING:
    from torchmetrics_fmiqa.recipes import Recipe
    from torchmetrics_fmiqa.scoring import Scored


def score(
    ref: Annotated[Path | None, typer.Argument(help="Reference: a file, or a folder.")] = None,
    dist: Annotated[
        Path | None, typer.Argument(help="Image under test: a file, or a folder of the same names.")
    ] = None,
    pairs: Annotated[Path | None, typer.Option(help="CSV table with the columns ref,dist instead of REF DIST.")] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder that the table's paths count from; its own by default.")
    ] = None,
    recipe: RecipeOption = "default",
    overrides: SetOption = None,
    layers: Annotated[bool, typer.Option("--layers", help="Give each tap's distance too.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the scores to a .csv, .json or .parquet file.")] = None,
    crop_border: Annotated[int, typer.Option(min=0, help="Pixels to cut off each side first.")] = 0,
    match: MatchOption = None,
    to_rgb: RgbOption = False,
    device: DeviceOption = "cpu",
    precision: PrecisionOption = "float32",
) -> None:
    """Score images against their references: lower is closer, 0 is equal.

    Exit status: 0, 1 if a pair could not be scored (the others are), 2 for wrong arguments.
    """
    from torchmetrics_fmiqa.data.pairs import Problem, find_pairs, read_pairs
    from torchmetrics_fmiqa.scoring import columns, score_pairs
    from torchmetrics_fmiqa.tables import check_table_path, write_table

    if out is not None:
        check_table_path(out)
    if root is not None and pairs is None:
        raise ValueError("`--root` is for the paths of a table: give --pairs TABLE.csv too")
    if pairs is not None and ref is None:
        found, problems = read_pairs(pairs, root), list[Problem]()
    elif ref is not None and dist is not None and pairs is None:
        found, problems = find_pairs(ref, dist)
    else:
        raise ValueError("give REF and DIST, or --pairs TABLE.csv with --root FOLDER")
    check_match(match)
    comparator = load_comparator(read_recipe(recipe, overrides), precision)
    names = columns(comparator, layers)
    done: list[Scored] = []
    try:
        results = score_pairs(comparator, found, check_device(device), crop_border, check_match(match), to_rgb, layers)
        for result in track_pairs(results, len(found)):
            if result.error:
                problems.append(Problem(f"{result.pair.dist} (reference {result.pair.ref})", result.error))
            else:
                done.append(result)
    finally:  # what was scored before an interruption is not lost
        if out is not None:
            rows = [{"ref": one.pair.ref, "dist": one.pair.dist, **one.values} for one in done]
            write_table(out, rows, ["ref", "dist", *names])
    _summarise(done, columns(comparator, False), comparator.recipes[0])
    if out is not None and done:
        out_console.print(f"{len(done)} scores in {out}", soft_wrap=True, highlight=False)
    report_problems(problems)


def _summarise(done: list[Scored], scores: list[str], recipe: Recipe) -> None:
    if not done:
        return
    table = Table("", "pairs", "mean", "median", "closest", "farthest", "farthest image", box=None, pad_edge=False)
    for name in scores:
        values = [one.values[name] for one in done]
        worst = done[values.index(max(values))].pair.dist
        figures = (statistics.fmean(values), statistics.median(values), min(values), max(values))
        table.add_row(name, str(len(values)), *(f"{value:.6g}" for value in figures), escape(worst))
    out_console.print(table)
    out_console.print(
        f"lower is closer, 0 is equal; {escape(repr(recipe))}", style="dim", soft_wrap=True, highlight=False
    )
    beyond = [one for one in done if one.outside]
    if beyond:
        most = max(beyond, key=lambda one: one.outside)
        out_console.print(
            f"{len(beyond)} images leave [0, 1], at most in {most.outside:.2%} of values ({escape(most.pair.dist)})",
            soft_wrap=True,
            highlight=False,
        )
