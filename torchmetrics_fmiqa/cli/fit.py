"""`fmiqa fit`: train a head of SPIPS on images."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from torchmetrics_fmiqa.cli import options
from torchmetrics_fmiqa.cli.console import (
    TerminalProgress,
    err_console,
    hint_to_resume,
    out_console,
    plain,
    report_problems,
)
from torchmetrics_fmiqa.cli.sources import given

if TYPE_CHECKING:
    from torchmetrics_fmiqa.fitting.compare import SetComparison
    from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe


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
        _recipe(recipe, overrides, low_level, semantic),
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

    from torchmetrics_fmiqa.fitting.compare import short_list

    for compared in result.compared:
        rows = short_list(compared.rows, [row["metric"] for row in compared.rows]) if compared.rows else ()
        print_comparison(compared, rows)
    print_report_path(out)
    report_problems([problem for source in (*result.trained, *result.tested) for problem in source.problems])


def this_command() -> str:
    """The command that runs, as a report has it."""
    return shlex.join(["fmiqa", *sys.argv[1:]])


def print_report_path(out: Path) -> None:
    """Say where the report is."""
    out_console.print(f"report in {plain(out / 'report.md')}", soft_wrap=True, highlight=False)


def print_comparison(compared: SetComparison, rows: Sequence[dict[str, Any]]) -> None:
    """Print rows of a comparison on opinions; of one on choices what is trained, what is not, and the best inputs."""
    from torchmetrics_fmiqa.fitting.compare import short_list

    name = plain(f"{compared.source.set.name} ({compared.tested})")
    if compared.choices:
        parts = compared.choices[0].by_part
        shown = Table(name, "2AFC", "95 %", *map(plain, parts), box=None, pad_edge=False)
        for score in short_list(compared.choices, [row.metric for row in compared.choices]):
            span = f"{score.low:.4f} .. {score.high:.4f}"
            figures = (f"{value:.4f}" for value in score.by_part.values())
            shown.add_row(plain(score.metric), f"{score.score:.4f}", span, *figures)
    else:
        columns = {"krcc": "KRCC", "plcc": "PLCC", "within_reference": "within ref"}
        if compared.predictions.fold is not None:
            columns["srcc_fold_mean"] = "by fold"
        shown = Table(name, "SRCC", "95 %", *columns.values(), box=None, pad_edge=False)
        for row in rows:
            span = f"{row['srcc_low']:.4f} .. {row['srcc_high']:.4f}"
            figures = (f"{row[column]:.4f}" for column in columns)
            shown.add_row(plain(row["metric"]), f"{row['srcc']:.4f}", span, *figures)
    out_console.print(shown)


def _recipe(name: str, overrides: list[str] | None, low_level: str | None, semantic: str | None) -> SpipsRecipe:
    from torchmetrics_fmiqa.spips_model.recipe import as_spips_recipe
    from torchmetrics_fmiqa.yaml_text import read_fields

    fields = read_fields("--set", overrides)
    taps = options.read_taps("--low-level", low_level), options.read_taps("--semantic", semantic)
    with err_console.status("loading the network ..."):
        return as_spips_recipe(name, *taps, **fields)


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
