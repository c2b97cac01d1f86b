"""`fmiqa benchmark`: compare metrics with human opinion."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from torchmetrics_fmiqa.cli import options
from torchmetrics_fmiqa.cli.console import (
    TerminalProgress,
    hint_to_resume,
    list_problems,
    out_console,
    plain,
    report_problems,
    this_command,
)
from torchmetrics_fmiqa.cli.sources import read_data, refuse_ignored

if TYPE_CHECKING:
    from torchmetrics_fmiqa.benchmark.analysis.preference import ChoiceStudy
    from torchmetrics_fmiqa.benchmark.study import Study
    from torchmetrics_fmiqa.data.pairs import Problem
    from torchmetrics_fmiqa.data.rated_csv import JndPairs, Triplets


def benchmark(
    context: typer.Context,
    out: options.OutFolderOption,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV table ref,dist,mos or dmos (and type, level, std) of images to score.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="NAME=FOLDER", help="Or a data set in its published layout: tid2013=DIR ...")
    ] = None,
    data_option: options.DataOption = None,
    scores: Annotated[
        Path | None, typer.Option(help="Or scores made before: .csv, .csv.gz or .parquet, one column per metric.")
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            help="Of images: recipes, spips (with recipe=, head= ...), NAME:FIELD=VALUE, .yaml files of metrics, psnr, "
            "ssim, ms_ssim, vif, lpips, dists, fsim ..., comma-separated; repeatable. Of a table: its columns, all by "
            "default."
        ),
    ] = None,
    opinion: Annotated[str | None, typer.Option(help="Column of human opinions, such as mos or dmos.")] = None,
    opinion_is: Annotated[
        str,
        typer.Option(
            help="What a higher opinion means: better, worse, or infer (by the column's name, or the metrics)."
        ),
    ] = "infer",
    ref: Annotated[str, typer.Option(help="A table's column of references.")] = "ref",
    image: Annotated[
        str | None, typer.Option(help="A table's column of images; dis, dist or image by default.")
    ] = None,
    type_column: Annotated[str | None, typer.Option("--type", help="A table's column of distortion types.")] = None,
    type_from: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Or: where the type stands in an image's name.")
    ] = None,
    higher_is_better: Annotated[
        str | None,
        typer.Option(help="A table's metrics that are qualities; by default those that run against the others."),
    ] = None,
    other_set: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a benchmark on another data set, for the aggregate's worst set. Repeatable."),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder that the paths in PAIRS count from.")] = None,
    match: options.MatchOption = None,
    max_side: Annotated[int | None, typer.Option(min=1, help="Shrink larger pairs to this, for every metric.")] = None,
    crop_border: options.CropOption = 0,
    to_rgb: options.RgbOption = False,
    changes: Annotated[
        str, typer.Option(help="Slight changes for the robustness: all, none, or names, comma-separated.")
    ] = "all",
    attacked: Annotated[int, typer.Option(min=0, help="Images to attack each metric on (FGSM, PGD); 0 for none.")] = 3,
    worst: Annotated[int, typer.Option(min=1, help="Images in the gallery of outliers.")] = 10,
    batch: Annotated[int, typer.Option(min=1, help="Pairs between two saves.")] = 8,
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap over references.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=options.LARGEST_SEED, help="Of everything random.")] = 0,
    device: options.DeviceOption = "cpu",
    precision: options.PrecisionOption = "float32",
) -> None:
    """Compare metrics with human opinion: agreement, robustness, an aggregate, outliers.

    Writes agreement.csv (one row per metric), scores.parquet, report.html, report.md and more tables to OUT. For
    bapps_2afc and bapps_jnd, where people chose: choices.csv (one row per metric), scores.parquet and both reports.
    Options that would do nothing with what is given are refused.

    Exit status: 0, 1 if a pair could not be scored (the others are), 2 for wrong arguments.
    """
    from torchmetrics_fmiqa.benchmark.benchmark import Output, benchmark_choices, benchmark_images, benchmark_table
    from torchmetrics_fmiqa.benchmark.build_study import StudySettings, other_sets
    from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading, ScoreOptions
    from torchmetrics_fmiqa.data.rated_csv import RatedPairs, read_rated_csv

    if sum(source is not None for source in (pairs, data, scores)) != 1:
        raise ValueError("give one of --pairs TABLE.csv, --data NAME=FOLDER and --scores TABLE")
    direction = options.check_opinion_is(opinion_is)
    if scores is not None and opinion is None:
        raise ValueError("`--scores` needs --opinion COLUMN too, the column of human opinions")
    names = [name for text in metrics or () for name in options.split_names(text)]
    settings = StudySettings(
        opinion_is=direction,
        higher_is_better=None if higher_is_better is None else options.split_names(higher_is_better),
        resamples=resamples,
        seed=seed,
        attacked=attacked,
        other_sets=other_sets(other_set or ()),
        worst=worst,
    )
    if scores is not None:
        refuse_ignored(context, "scores")
        columns = {
            "opinion": opinion,
            "reference": ref,
            "image": image,
            "type": type_column,
            "type_from": type_from,
            "metrics": names or None,
        }
        with TerminalProgress() as progress:
            study = benchmark_table(scores, columns, settings, Output(out, this_command(), progress))
        _show(study, out)
        return
    if not names:
        raise ValueError("give --metrics, such as --metrics default,psnr,ssim,ms_ssim,lpips")
    rated: RatedPairs | Triplets | JndPairs
    if pairs is not None:
        refuse_ignored(context, "pairs")
        rated = read_rated_csv(pairs, root, opinion, None if direction == "infer" else direction)
        home = rated.root
    else:
        rated, home = read_data(str(data), data_option)
        refuse_ignored(context, "data" if isinstance(rated, RatedPairs) else "choices")
    reading = Reading(options.check_match(match), max_side, crop_border, to_rgb)
    scoring = ScoreOptions(reading, changes, device=str(options.check_device(device)), batch=batch)
    panel = options.load_panel(names, device, precision)
    try:
        with hint_to_resume(out), TerminalProgress() as progress:
            output = Output(out, this_command(), progress)
            if not isinstance(rated, RatedPairs):
                chosen = benchmark_choices(rated, home, panel, scoring, settings, output)
            else:
                study = benchmark_images(rated, panel, scoring, settings, output, type_from)
    except ValueError:
        list_problems(list(rated.missing))  # often they are why
        raise
    if isinstance(rated, RatedPairs):
        _show(study, out)
    else:
        _show_choices(chosen, out)


def _show(study: Study, out: Path) -> None:
    shown = Table("metric", "SRCC", "95 %", "KRCC", "PLCC", "within ref", box=None, pad_edge=False)
    for row in study.analysis.rows():
        srcc, *others = (f"{row[name]:.4f}" for name in ("srcc", "krcc", "plcc", "within_reference"))
        shown.add_row(plain(row["metric"]), srcc, f"{row['srcc_low']:.4f} .. {row['srcc_high']:.4f}", *others)
    _print(shown, f"{plain(study.analysis.direction)}; ", out, list(study.missing))


def _show_choices(study: ChoiceStudy, out: Path) -> None:
    shown = Table("metric", study.label, "95 %", *map(plain, study.parts), box=None)
    for score in (*study.scores, *study.ceilings):
        span = "" if math.isnan(score.low) else f"{score.low:.4f} .. {score.high:.4f}"
        parts = (f"{value:.4f}" for value in score.by_part.values())
        shown.add_row(plain(score.metric), f"{score.score:.4f}", span, *parts)
    _print(shown, "", out, list(study.missing))


def _print(table: Table, note: str, out: Path, missing: list[Problem]) -> None:
    out_console.print(table)
    out_console.say(f"{note}report in {plain(out / 'report.html')}")
    report_problems(missing)
