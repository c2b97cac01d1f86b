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
    CropOption,
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

_MAX_LISTED = 20  # up to so many images are printed one by one


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
    crop_border: CropOption = 0,
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
        to_score, problems = read_pairs(pairs, root), list[Problem]()
    elif ref is not None and dist is not None and pairs is None:
        to_score, problems, notes = find_pairs(ref, dist, suffix)
    else:
        raise ValueError("give REF and DIST, or --pairs TABLE.csv with --root FOLDER")
    check_match(match)
    _check_spips(spips, {"--head": head, "--low-level": low_level, "--semantic": semantic, "--output": output}, layers)
    quality = output == "quality"
    scorer: PairScorer
    overrides = with_distance(overrides, distance, combine)
    resolved = read_recipe(recipe, overrides)
    if out is not None:
        images = (path for pair in to_score for path in (pair.ref_path, pair.dist_path))
        check_table_path(out, [ref, dist, pairs, head, *recipe_files(recipe, resolved), *images])
    if spips:
        streams = read_taps("--low-level", low_level), read_taps("--semantic", semantic)
        spips_scorer = load_spips(recipe, overrides, head, *streams, precision)
        scorer = FusedScorer(spips_scorer, quality)
        measured_by = f"SPIPS, {head or 'fixed weights'}, {spips_scorer.recipe.recipe}"
    else:
        comparator = load_comparator(resolved, precision)
        scorer, measured_by = DistanceScorer(comparator, layers), repr(comparator.recipes[0])
    scored: list[Scored] = []
    write_error: WriteError | None = None
    interrupted = True
    try:
        results = score_pairs(scorer, to_score, check_device(device), crop_border, check_match(match), to_rgb)
        for result in track_pairs(results, len(to_score)):
            if result.error:
                problems.append(Problem(f"{result.pair.dist} (reference {result.pair.ref})", result.error))
            else:
                scored.append(result)
        interrupted = False
    finally:  # write the scores so far after an interruption; without any, keep an older table
        if out is not None and (scored or not interrupted):
            write_error = _write(out, scored, scorer.columns)
    _print_scores(scored, scorer.names, scorer.columns, quality, measured_by)
    show_notes(notes)
    if write_error is not None:
        raise write_error
    report_problems(problems)


def _write(out: Path, scored: Sequence[Scored], columns: Sequence[str]) -> WriteError | None:
    """Write the scores and report it; if the system refuses, print them instead and return the error."""
    from torchmetrics_fmiqa.data.tables import format_csv, write_table
    from torchmetrics_fmiqa.safe_write import WriteError, printable

    names = ["ref", "dist", *columns]
    rows = [{"ref": result.pair.ref, "dist": result.pair.dist, **result.values} for result in scored]
    try:
        write_table(out, rows, names)
    except WriteError as error:
        table = format_csv([names, *([row[name] for name in names] for row in rows)])
        out_console.print(printable(table), end="", soft_wrap=True, highlight=False, markup=False)
        return error
    if scored:
        err_console.print(f"{len(scored)} scores in {plain(out)}", soft_wrap=True, highlight=False)
    return None


def _check_spips(spips: bool, options: dict[str, Any], layers: bool) -> None:
    """Check that options of SPIPS are used only with ``--spips``, and are valid.

    Raises:
        ValueError: naming the first bad option.
    """
    used = [option for option, value in options.items() if value is not None]
    if used and not spips:
        raise ValueError(f"`{used[0]}` is for SPIPS: give --spips too, or leave it out")
    if options["--output"] not in (None, "distance", "quality"):
        raise ValueError(f"`--output` must be distance or quality, got {options['--output']!r}")
    if spips and layers:
        raise ValueError("`--layers` gives each tap's distance, which SPIPS has not: leave out one of the two")


def _print_scores(
    scored: Sequence[Scored], names: Sequence[str], columns: Sequence[str], quality: bool, measured_by: str
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
    out_console.print(f"{direction}; {plain(measured_by)}", style="dim", soft_wrap=True, highlight=False)
    outside = [result for result in scored if result.outside]
    if outside:
        worst = max(outside, key=lambda result: result.outside)
        out_console.print(
            f"{len(outside)} images leave [0, 1], at most in {worst.outside:.2%} of values ({plain(worst.pair.dist)})",
            soft_wrap=True,
            highlight=False,
        )


def _print_images(scored: Sequence[Scored], names: Sequence[str]) -> None:
    """Print a line for each image: its scores, then its name, which may be long."""
    width = max(12, *map(len, names))
    rows = ([*(f"{result.values[name]:.6g}" for name in names), result.pair.dist] for result in scored)
    lines = [[*names, "image"], *rows]
    for *figures, name in lines:
        cells = "".join(f"{figure:<{width}}" for figure in figures)
        out_console.print(f"{plain(cells)} {plain(name)}", soft_wrap=True, highlight=False)
    out_console.print()
