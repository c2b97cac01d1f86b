"""`fmiqa fit`: train a head that fuses scores into one, or a head of SPIPS on images."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from torchmetrics_fmiqa.cli.console import (
    TerminalProgress,
    err_console,
    going_on_in,
    out_console,
    plain,
    report_problems,
)
from torchmetrics_fmiqa.cli.options import (
    LARGEST_SEED,
    DeviceOption,
    LowLevelOption,
    MatchOption,
    PrecisionOption,
    RecipeOption,
    RgbOption,
    SemanticOption,
    SetOption,
    check_device,
    check_match,
    read_taps,
    split_names,
)
from torchmetrics_fmiqa.cli.sources import FIT, given, refuse_ignored

if TYPE_CHECKING:
    from torchmetrics_fmiqa.fitting.compare import Compared
    from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe


def fit(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the results; an interrupted run goes on in it.")],
    scores: Annotated[
        Path | None, typer.Option(help="Scores made before: .csv, .csv.gz or .parquet, one column a metric.")
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]TABLE", help="Or images: a CSV table ref,dist,mos or dmos. Repeatable."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[LABEL=]NAME=FOLDER",
            help="A data set in its published layout: tid2013=DIR, bapps_2afc=DIR ... Repeatable.",
        ),
    ] = None,
    data_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="What readers of --data take besides: split=train ... Repeatable."),
    ] = None,
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
    recipe: RecipeOption = "default",
    overrides: SetOption = None,
    low_level: LowLevelOption = None,
    semantic: SemanticOption = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="PART", help="Leave out semantic, low_level or conventional. Repeatable."),
    ] = None,
    no_gate: Annotated[bool, typer.Option("--no-gate", help="Let both streams count alike for all images.")] = False,
    features: Annotated[
        list[str] | None,
        typer.Option(help="Columns of SCORES that go into the head, comma-separated; repeatable. At least two."),
    ] = None,
    opinion: Annotated[
        str | None, typer.Option(help="Column of human opinions, such as mos or dmos; of tables of pairs too.")
    ] = None,
    group: Annotated[str, typer.Option(help="Column of references, never shared by training and test.")] = "ref",
    image: Annotated[
        str | None, typer.Option(help="Column of images; dis, dist or image by default, where there is one.")
    ] = None,
    opinion_is: Annotated[
        str,
        typer.Option(help="What a higher opinion means: better, worse, or infer (by most features, or the column)."),
    ] = "infer",
    higher_is_better: Annotated[
        str | None,
        typer.Option(help="The features that are qualities; by default those that run against the others."),
    ] = None,
    folds: Annotated[int, typer.Option(help="Of references; of SCORES as many as references is leave-one-out.")] = 5,
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="A fold for each reference of each set.")
    ] = False,
    hidden: Annotated[str | None, typer.Option(help="Widths of the hidden layers, comma-separated: 32,16.")] = None,
    linear: Annotated[bool, typer.Option("--linear", help="No hidden layer: a weighted sum.")] = False,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 80,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a better inner validation.")] = 20,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW.")] = 0.01,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of what was measured, for all runs; OUT/measured by default.")
    ] = None,
    match: MatchOption = None,
    max_side: Annotated[int | None, typer.Option(min=1, help="Shrink larger pairs to this.")] = None,
    crop_border: Annotated[int, typer.Option(min=0, help="Pixels to cut off each side first.")] = 0,
    to_rgb: RgbOption = False,
    batch: Annotated[int, typer.Option(min=1, help="Pairs between two saves of what is measured.")] = 8,
    device: DeviceOption = "cpu",
    precision: PrecisionOption = "float32",
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap over references.")] = 1000,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of everything random: folds, weights, batches, intervals.")
    ] = 0,
) -> None:
    """Train a head that fuses scores, or a head of SPIPS on images, and test it on references that it has not seen.

    Of --scores it writes predictions.csv (of held-out images), agreement.csv (the fused score, then every feature),
    head.safetensors (trained on all references) and report.md to OUT.

    Of images (--pairs, --data, --graded; any mixture) the same of SPIPS: images are measured once (measured/), heads
    are trained on what was measured (training/), and agreement.csv has SPIPS, SPIPS untrained and every single input;
    choices.csv the same of data sets of choices. Options that would do nothing with what is given are refused.

    Exit status: 0, 1 if an image could not be measured (the others are), 2 for wrong arguments.
    """
    if opinion_is not in ("better", "worse", "infer"):
        raise ValueError(f"`--opinion-is` must be better, worse or infer, got {opinion_is!r}")
    if linear and hidden is not None:
        raise ValueError("`--linear` has no hidden layers: give it or --hidden, not both")
    trained: dict[str, Any] = {"linear": linear, "hidden": _widths(hidden), "epochs": epochs, "patience": patience}
    trained |= {"learning_rate": learning_rate, "seed": seed}
    if scores is not None:
        from torchmetrics_fmiqa.fitting.fit_table import Training
        from torchmetrics_fmiqa.fitting.pipeline_table import Asked

        refuse_ignored(context, "scores", FIT)
        if not features or opinion is None:
            raise ValueError("`--scores` needs --features, columns of scores, and --opinion, the column of opinions")
        asked = Asked(
            features=tuple(name for text in features for name in split_names(text)),
            opinion=opinion,
            group=group,
            image=image,
            opinion_is=opinion_is,  # type: ignore[arg-type]
            higher_is_better=None if higher_is_better is None else tuple(split_names(higher_is_better)),
            folds=folds,
            resamples=resamples,
            training=Training(**trained),
        )
        _fit_scores(scores, out, asked)
        return
    if not (pairs or data or graded):
        raise ValueError(
            "give --scores TABLE, or images to train on: --pairs TABLE, --data NAME=FOLDER, --graded FOLDER"
        )
    refuse_ignored(context, "images", FIT)
    if leave_one_out and given(context, "folds"):
        raise ValueError("`--leave-one-out` has a fold for each reference: give it or --folds, not both")

    from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading
    from torchmetrics_fmiqa.fitting.config import SpipsTraining
    from torchmetrics_fmiqa.fitting.pipeline import AskedImages
    from torchmetrics_fmiqa.fitting.sources import read_sets

    sets, tested = read_sets(
        pairs or (),
        data or (),
        graded or (),
        test or (),
        data_option or (),
        opinion,
        None if opinion_is == "infer" else opinion_is,  # type: ignore[arg-type]
    )
    images = AskedImages(
        sets,
        tested,
        _recipe(recipe, overrides, low_level, semantic),
        Reading(check_match(match), max_side, crop_border, to_rgb),
        precision,  # type: ignore[arg-type]
        str(check_device(device)),
        batch,
        "leave-one-out" if leave_one_out else folds,
        SpipsTraining(_parts(without or (), no_gate), gated=not no_gate, **trained),
        resamples,
        cache,
    )
    if not images.validated and (leave_one_out or given(context, "folds")):
        raise ValueError("folds are held out of opinions and choices, and --graded has neither: leave out --folds")
    _fit_images(images, out)


def _fit_scores(scores: Path, out: Path, asked: Any) -> None:
    from torchmetrics_fmiqa.fitting.pipeline_table import fit_table

    with TerminalProgress() as progress:
        rows = fit_table(scores, out, asked, shlex.join(["fmiqa", *sys.argv[1:]]), progress.status)
    shown = Table("metric", "SRCC by fold", "SRCC pooled", "95 %", "KRCC", "PLCC", box=None, pad_edge=False)
    for row in rows:
        span = f"{row['srcc_low']:.4f} .. {row['srcc_high']:.4f}"
        numbers = (f"{row[name]:.4f}" for name in ("srcc_fold_mean", "srcc", "krcc", "plcc"))
        by_fold, pooled, *others = numbers
        shown.add_row(plain(row["metric"]), by_fold, pooled, span, *others)
    out_console.print(shown)
    out_console.print(f"report in {plain(out / 'report.md')}", soft_wrap=True, highlight=False)


def _fit_images(asked: Any, out: Path) -> None:
    from torchmetrics_fmiqa.fitting.pipeline import fit_images

    with going_on_in(out), TerminalProgress() as progress:
        found = fit_images(asked, out, shlex.join(["fmiqa", *sys.argv[1:]]), progress)
    for one in found.compared:
        _show(one)
    out_console.print(f"report in {plain(out / 'report.md')}", soft_wrap=True, highlight=False)
    report_problems([problem for one in (*found.trained, *found.tested) for problem in one.problems])


def _show(one: Compared) -> None:
    """What is trained, what is not, and the best single input of each part."""
    from torchmetrics_fmiqa.fitting.compare import short_list

    name = plain(f"{one.measured.set.name} ({one.tested})")
    if one.measured.set.kind == "choice":
        parts = one.choices[0].by_part
        shown = Table(name, "2AFC", "95 %", *map(plain, parts), box=None, pad_edge=False)
        for score in short_list(one.choices, [row.metric for row in one.choices]):
            span = f"{score.low:.4f} .. {score.high:.4f}"
            figures = (f"{value:.4f}" for value in score.by_part.values())
            shown.add_row(plain(score.metric), f"{score.score:.4f}", span, *figures)
    else:
        columns = {"krcc": "KRCC", "plcc": "PLCC", "within_reference": "within ref"}
        if one.told.fold is not None:
            columns["srcc_fold_mean"] = "by fold"
        shown = Table(name, "SRCC", "95 %", *columns.values(), box=None, pad_edge=False)
        for row in short_list(one.rows, [row["metric"] for row in one.rows]):
            span = f"{row['srcc_low']:.4f} .. {row['srcc_high']:.4f}"
            figures = (f"{row[what]:.4f}" for what in columns)
            shown.add_row(plain(row["metric"]), f"{row['srcc']:.4f}", span, *figures)
    out_console.print(shown)


def _recipe(name: str, overrides: list[str] | None, low_level: str | None, semantic: str | None) -> SpipsRecipe:
    from torchmetrics_fmiqa.spips_model.recipe import as_spips_recipe
    from torchmetrics_fmiqa.yaml_text import read_fields

    fields = read_fields("--set", overrides)
    taps = read_taps("--low-level", low_level), read_taps("--semantic", semantic)
    with err_console.status("loading SPIPS ..."):
        return as_spips_recipe(name, *taps, **fields)


def _parts(without: list[str] | tuple[str, ...], no_gate: bool) -> tuple[str, ...]:
    from torchmetrics_fmiqa.spips_model.model import PARTS

    left_out = [name.replace("-", "_") for text in without for name in split_names(text)]
    for name in left_out:
        if name not in PARTS:
            raise ValueError(f"`--without` takes one of {', '.join(PARTS)}, got {name!r}")
    if no_gate and {"semantic", "low_level"} & set(left_out):
        raise ValueError("`--no-gate` does nothing without two streams, which have no gate: leave it out")
    kept = tuple(part for part in PARTS if part not in left_out)
    if not kept:
        raise ValueError("`--without` leaves out all parts: keep one")
    return kept


def _widths(hidden: str | None) -> tuple[int, ...]:
    if hidden is None:
        return (32, 16)
    parts = split_names(hidden)
    if not parts or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"`--hidden` takes widths such as 32,16, got {hidden!r}")
    return tuple(map(int, parts))
