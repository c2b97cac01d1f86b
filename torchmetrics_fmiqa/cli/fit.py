"""`fmiqa fit`: train a head of SPIPS on images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from torchmetrics_fmiqa.cli import options
from torchmetrics_fmiqa.cli.console import (
    TerminalProgress,
    hint_to_resume,
    out_console,
    plain,
    report_problems,
    this_command,
)
from torchmetrics_fmiqa.cli.sources import given

if TYPE_CHECKING:
    from torchmetrics_fmiqa.fitting.compare import SetComparison
    from torchmetrics_fmiqa.fitting.report import FitResult


def fit(
    context: typer.Context,
    out: options.OutFolderOption,
    pairs: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]TABLE", help="A CSV table ref,dist,mos or dmos. Repeatable.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[LABEL=]NAME=FOLDER",
            help="A data set in its published layout: tid2013=DIR, bapps_2afc=DIR ... Repeatable.",
        ),
    ] = None,
    data_option: options.DataOption = None,
    graded: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FOLDER",
            help="Photographs, of which graded distortions are made: to train on their order. Repeatable.",
        ),
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]TABLE", help="A table (or data set) only to test the final head on, unseen. Repeatable."
        ),
    ] = None,
    recipe: options.RecipeOption = "default",
    overrides: options.SetOption = None,
    low_level: options.LowLevelOption = None,
    semantic: options.SemanticOption = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="PART", help="Leave out semantic, low_level or conventional. Repeatable."),
    ] = None,
    no_gate: Annotated[bool, typer.Option("--no-gate", help="Let both streams count alike for all images.")] = False,
    opinion: Annotated[str | None, typer.Option(help="The tables' column of human opinions.")] = None,
    opinion_is: Annotated[
        str,
        typer.Option(help="What a higher opinion in the tables means: better, worse, or infer (by the column's name)."),
    ] = "infer",
    folds: options.FoldsOption = 5,
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="A fold for each reference of each set.")
    ] = False,
    hidden: options.HiddenOption = None,
    linear: options.LinearOption = False,
    epochs: options.EpochsOption = 80,
    patience: options.PatienceOption = 20,
    learning_rate: options.LearningRateOption = 0.01,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of what was measured, for all runs; OUT/measured by default.")
    ] = None,
    match: options.MatchOption = None,
    max_side: Annotated[int | None, typer.Option(min=1, help="Shrink larger pairs to this.")] = None,
    crop_border: options.CropOption = 0,
    to_rgb: options.RgbOption = False,
    batch: Annotated[int, typer.Option(min=1, help="Pairs between two saves of what is measured.")] = 8,
    device: options.DeviceOption = "cpu",
    precision: options.PrecisionOption = "float32",
    resamples: options.ResamplesOption = 1000,
    seed: options.SeedOption = 0,
) -> None:
    """Train a head of SPIPS on images (--pairs, --data, --graded; any mixture), and test it on unseen references.

    Images are measured once (measured/), and heads are trained on what was measured (training/). It writes
    predictions.csv (of held-out images), agreement.csv (SPIPS, SPIPS untrained and every single input), choices.csv
    (the same of data sets of choices), head.safetensors (trained on all references) and report.md to OUT. `fmiqa fuse`
    trains on a table of scores.

    Exit status: 0, 1 if an image could not be measured (the others are), 2 for wrong arguments.
    """
    direction, widths = options.check_opinion_is(opinion_is), options.read_hidden(hidden, linear)
    if not (pairs or data or graded):
        raise ValueError("give images to train on: --pairs TABLE, --data NAME=FOLDER, --graded FOLDER")
    if leave_one_out and given(context, "folds"):
        raise ValueError("`--leave-one-out` has a fold for each reference: give it or --folds, not both")

    from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading
    from torchmetrics_fmiqa.fitting.config import SpipsTraining
    from torchmetrics_fmiqa.fitting.fit_images import FitConfig, fit_images
    from torchmetrics_fmiqa.fitting.sources import SourceOptions, read_sets

    higher = None if direction == "infer" else direction
    sources = SourceOptions(pairs or (), data or (), graded or (), test or (), data_option or (), opinion, higher)
    config = FitConfig(
        *read_sets(sources),
        options.read_spips_recipe(recipe, overrides, low_level, semantic),
        Reading(options.check_match(match), max_side, crop_border, to_rgb),
        precision,  # type: ignore[arg-type]
        str(options.check_device(device)),
        batch,
        "leave-one-out" if leave_one_out else folds,
        SpipsTraining(
            widths,
            linear,
            epochs,
            patience,
            learning_rate=learning_rate,
            seed=seed,
            parts=_parts(without or (), no_gate),
            gated=not no_gate,
        ),
        resamples,
        cache,
    )
    if not config.validated and (leave_one_out or given(context, "folds")):
        raise ValueError("folds are held out of opinions and choices, and --graded has neither: leave out --folds")
    with hint_to_resume(out), TerminalProgress() as progress:
        result = fit_images(config, out, this_command(), progress)
    print_result(result, out, brief=True)


def print_result(result: FitResult, out: Path, brief: bool) -> None:
    """Print how the trained score did on each set, and what could not be measured.

    Args:
        result: of the training.
        out: folder with the report.
        brief: of the single inputs of SPIPS only the best of each part.

    Raises:
        typer.Exit: if something could not be measured.
    """
    for compared in result.compared:
        out_console.print(_table(compared, brief))
    out_console.say(f"report in {plain(out / 'report.md')}")
    report_problems([problem for data in (*result.trained, *result.tested) for problem in data.problems])


def _table(compared: SetComparison, brief: bool) -> Table:
    """A line a score, the trained one first."""
    from torchmetrics_fmiqa.fitting.compare import short_list

    lines: dict[str, list[float]]
    if compared.choices:
        name, titles = "2AFC", [plain(part) for part in compared.choices[0].by_part]
        lines = {row.metric: [row.score, row.low, row.high, *row.by_part.values()] for row in compared.choices}
    else:
        columns = {"krcc": "KRCC", "plcc": "PLCC", "within_reference": "within ref"}
        if compared.predictions.fold is not None:
            columns["srcc_fold_mean"] = "by fold"
        name, titles = "SRCC", list(columns.values())
        figures = ("srcc", "srcc_low", "srcc_high", *columns)
        lines = {row["metric"]: [row[figure] for figure in figures] for row in compared.rows}
    table = Table(plain(f"{compared.data.name} ({compared.tested})"), name, "95 %", *titles, box=None, pad_edge=False)
    for metric in short_list(list(lines)) if brief else lines:
        value, low, high, *others = (f"{figure:.4f}" for figure in lines[metric])
        table.add_row(plain(metric), value, f"{low} .. {high}", *others)
    return table


def _parts(without: list[str] | tuple[str, ...], no_gate: bool) -> tuple[str, ...]:
    from torchmetrics_fmiqa.spips_model.model import PARTS

    left_out = [name.replace("-", "_") for text in without for name in options.split_names(text)]
    for name in left_out:
        if name not in PARTS:
            raise ValueError(f"`--without` takes one of {', '.join(PARTS)}, got {name!r}")
    if no_gate and {"semantic", "low_level"} & set(left_out):
        raise ValueError("`--no-gate` does nothing without two streams, which have no gate: leave it out")
    kept = tuple(part for part in PARTS if part not in left_out)
    if not kept:
        raise ValueError("`--without` leaves out all parts: keep one")
    return kept
