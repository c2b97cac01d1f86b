"""`fmiqa score`: score images against their references."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from torchmetrics_fmiqa.cli.console import err_console, out_console, plain, report_problems, show_notes, track_pairs
from torchmetrics_fmiqa.cli.options import (
    CombineOption,
    DeviceOption,
    DistanceOption,
    LowLevelOption,
    MatchOption,
    PrecisionOption,
    RecipeOption,
    RgbOption,
    SemanticOption,
    SetOption,
    SuffixOption,
    check_device,
    check_match,
    load_comparator,
    load_spips,
    read_recipe,
    read_taps,
    recipe_files,
    with_distance,
)

if TYPE_CHECKING:
    from torchmetrics_fmiqa.safe_write import WriteError
    from torchmetrics_fmiqa.scoring import PairScorer, Scored

_FEW = 20  # images that are printed one by one


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
    distance: DistanceOption = None,
    combine: CombineOption = None,
    layers: Annotated[bool, typer.Option("--layers", help="Give each tap's distance too.")] = False,
    spips: Annotated[
        bool, typer.Option("--spips", help="Score by SPIPS: the recipe's features and PSNR, SSIM and MS-SSIM in one.")
    ] = False,
    head: Annotated[
        Path | None, typer.Option(help="Of SPIPS: a head that `fmiqa fit` made for this recipe; else fixed weights.")
    ] = None,
    low_level: LowLevelOption = None,
    semantic: SemanticOption = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="Of SPIPS: distance (the default), or quality, 100 for equal images, of a head fitted to opinions."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the scores to a .csv, .json or .parquet file; one that is there is replaced."),
    ] = None,
    suffix: SuffixOption = "",
    crop_border: Annotated[int, typer.Option(min=0, help="Pixels to cut off each side first.")] = 0,
    match: MatchOption = None,
    to_rgb: RgbOption = False,
    device: DeviceOption = "cpu",
    precision: PrecisionOption = "float32",
) -> None:
    """Score images against their references: lower is closer, 0 is equal.

    With --spips --output quality higher is better, and 100 is equal.

    Up to 20 images are printed one by one, more as a summary. An interrupted run writes what it has.

    Exit status: 0, 1 if a pair could not be scored (the others are), 2 for wrong arguments, and for a file that cannot
    be written (the scores are printed then).
    """
    from torchmetrics_fmiqa.data.pairs import Problem, find_pairs, read_pairs
    from torchmetrics_fmiqa.data.tables import check_table_path
    from torchmetrics_fmiqa.scoring import DistanceScorer, FusedScorer, score_pairs

    if root is not None and pairs is None:
        raise ValueError("`--root` is for the paths of a table: give --pairs TABLE.csv too")
    if suffix and pairs is not None:
        raise ValueError("`--suffix` pairs the names of two folders: leave it out with --pairs")
    notes: list[str] = []
    if pairs is not None and ref is None:
        found, problems = read_pairs(pairs, root), list[Problem]()
    elif ref is not None and dist is not None and pairs is None:
        found, problems, notes = find_pairs(ref, dist, suffix)
    else:
        raise ValueError("give REF and DIST, or --pairs TABLE.csv with --root FOLDER")
    check_match(match)
    _check_spips(spips, {"--head": head, "--low-level": low_level, "--semantic": semantic, "--output": output}, layers)
    quality = output == "quality"
    scorer: PairScorer
    overrides = with_distance(overrides, distance, combine)
    chosen = read_recipe(recipe, overrides)
    if out is not None:
        images = (path for pair in found for path in (pair.ref_path, pair.dist_path))
        check_table_path(out, [ref, dist, pairs, head, *recipe_files(recipe, chosen), *images])
    if spips:
        streams = read_taps("--low-level", low_level), read_taps("--semantic", semantic)
        made = load_spips(recipe, overrides, head, *streams, precision)
        scorer, measured_by = FusedScorer(made, quality), f"SPIPS, {head or 'fixed weights'}, {made.recipe.recipe}"
    else:
        comparator = load_comparator(chosen, precision)
        scorer, measured_by = DistanceScorer(comparator, layers), repr(comparator.recipes[0])
    done: list[Scored] = []
    not_written: WriteError | None = None
    interrupted = True
    try:
        results = score_pairs(scorer, found, check_device(device), crop_border, check_match(match), to_rgb)
        for result in track_pairs(results, len(found)):
            if result.error:
                problems.append(Problem(f"{result.pair.dist} (reference {result.pair.ref})", result.error))
            else:
                done.append(result)
        interrupted = False
    finally:  # what was scored before an interruption is not lost; where that is nothing, an older table stays
        if out is not None and (done or not interrupted):
            not_written = _write(out, done, scorer.columns)
    _print_scores(done, scorer.names, scorer.columns, quality, measured_by)
    show_notes(notes)
    if not_written is not None:
        raise not_written
    report_problems(problems)


def _write(out: Path, done: Sequence[Scored], columns: Sequence[str]) -> WriteError | None:
    """Write the scores and say so; where the system refuses, print them instead, and return the error."""
    from torchmetrics_fmiqa.data.tables import format_csv, write_table
    from torchmetrics_fmiqa.safe_write import WriteError, printable

    names = ["ref", "dist", *columns]
    rows = [{"ref": one.pair.ref, "dist": one.pair.dist, **one.values} for one in done]
    try:
        write_table(out, rows, names)
    except WriteError as error:
        table = format_csv([names, *([row[name] for name in names] for row in rows)])
        out_console.print(printable(table), end="", soft_wrap=True, highlight=False, markup=False)
        return error
    if done:
        err_console.print(f"{len(done)} scores in {plain(out)}", soft_wrap=True, highlight=False)
    return None


def _check_spips(spips: bool, given: dict[str, Any], layers: bool) -> None:
    """Check that options of SPIPS come with it, and that it can do what is asked.

    Raises:
        ValueError: naming the first that does not fit.
    """
    lost = [option for option, value in given.items() if value is not None]
    if lost and not spips:
        raise ValueError(f"`{lost[0]}` is for SPIPS: give --spips too, or leave it out")
    if given["--output"] not in (None, "distance", "quality"):
        raise ValueError(f"`--output` must be distance or quality, got {given['--output']!r}")
    if spips and layers:
        raise ValueError("`--layers` gives each tap's distance, which SPIPS has not: leave out one of the two")


def _print_scores(
    done: Sequence[Scored], scores: Sequence[str], columns: Sequence[str], quality: bool, measured_by: str
) -> None:
    """Print each image where they are few, a summary, and which images leave the range."""
    if not done:
        return
    if 1 < len(done) <= _FEW:
        _print_images(done, scores)
    table = Table("", "pairs", "mean", "median", "closest", "farthest", box=None, pad_edge=False)
    table.add_column("farthest image", overflow="fold")
    near, far = (max, min) if quality else (min, max)
    for name in columns:
        values = [one.values[name] for one in done]
        farthest = done[values.index(far(values))].pair.dist
        figures = (statistics.fmean(values), statistics.median(values), near(values), far(values))
        table.add_row(plain(name), str(len(values)), *(f"{value:.6g}" for value in figures), plain(farthest))
    out_console.print(table)
    direction = "higher is better, 100 is equal" if quality else "lower is closer, 0 is equal"
    out_console.print(f"{direction}; {plain(measured_by)}", style="dim", soft_wrap=True, highlight=False)
    beyond = [one for one in done if one.outside]
    if beyond:
        most = max(beyond, key=lambda one: one.outside)
        out_console.print(
            f"{len(beyond)} images leave [0, 1], at most in {most.outside:.2%} of values ({plain(most.pair.dist)})",
            soft_wrap=True,
            highlight=False,
        )


def _print_images(done: Sequence[Scored], scores: Sequence[str]) -> None:
    """A line an image: its scores, then its name, which may be long."""
    width = max(12, *map(len, scores))
    lines = [[*scores, "image"], *([*(f"{one.values[name]:.6g}" for name in scores), one.pair.dist] for one in done)]
    for *figures, name in lines:
        cells = "".join(f"{figure:<{width}}" for figure in figures)
        out_console.print(f"{plain(cells)} {plain(name)}", soft_wrap=True, highlight=False)
    out_console.print()
