"""`fmiqa fit`: train a head that fuses scores into one."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from torchmetrics_fmiqa.cli.console import out_console, telling
from torchmetrics_fmiqa.cli.options import split_names


def fit(
    scores: Annotated[Path, typer.Option(help="Scores made before: .csv, .csv.gz or .parquet, one column a metric.")],
    features: Annotated[
        list[str], typer.Option(help="Columns that go into the head, comma-separated; repeatable. At least two.")
    ],
    opinion: Annotated[str, typer.Option(help="Column of human opinions, such as mos or dmos.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    group: Annotated[str, typer.Option(help="Column of references, never shared by training and test.")] = "ref",
    image: Annotated[
        str | None, typer.Option(help="Column of images; dis, dist or image by default, where there is one.")
    ] = None,
    opinion_is: Annotated[
        str, typer.Option(help="What a higher opinion means: better, worse, or infer (most of the features say).")
    ] = "infer",
    higher_is_better: Annotated[
        str | None,
        typer.Option(help="The features that are qualities; by default those that run against the others."),
    ] = None,
    folds: Annotated[int, typer.Option(help="Of references; as many as references is leave-one-out.")] = 5,
    hidden: Annotated[str | None, typer.Option(help="Widths of the hidden layers, comma-separated: 32,16.")] = None,
    linear: Annotated[bool, typer.Option("--linear", help="No hidden layer: a weighted sum.")] = False,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 80,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a better inner validation.")] = 20,
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap over references.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random: folds, weights, batches, intervals.")] = 0,
) -> None:
    """Train a head that fuses scores into one, and test it on references that it has not seen.

    Writes predictions.csv (of held-out images), agreement.csv (the fused score, then every feature), head.safetensors
    (trained on all references) and report.md to OUT.

    Exit status: 0, or 2 for wrong arguments.
    """
    from torchmetrics_fmiqa.cli.fitted import Asked, fit_table
    from torchmetrics_fmiqa.fusion.fitting import Training

    if opinion_is not in ("better", "worse", "infer"):
        raise ValueError(f"`--opinion-is` must be better, worse or infer, got {opinion_is!r}")
    if linear and hidden is not None:
        raise ValueError("`--linear` has no hidden layers: give it or --hidden, not both")
    asked = Asked(
        features=tuple(name for text in features for name in split_names(text)),
        opinion=opinion,
        group=group,
        image=image,
        opinion_is=opinion_is,  # type: ignore[arg-type]
        higher_is_better=None if higher_is_better is None else tuple(split_names(higher_is_better)),
        folds=folds,
        resamples=resamples,
        training=Training(_widths(hidden), linear, epochs=epochs, patience=patience, seed=seed),
    )
    with telling() as tell:
        rows = fit_table(scores, out, asked, shlex.join(["fmiqa", *sys.argv[1:]]), tell)
    shown = Table("metric", "SRCC by fold", "SRCC pooled", "95 %", "KRCC", "PLCC", box=None, pad_edge=False)
    for row in rows:
        span = f"{row['srcc_low']:.4f} .. {row['srcc_high']:.4f}"
        numbers = (f"{row[name]:.4f}" for name in ("srcc_fold_mean", "srcc", "krcc", "plcc"))
        by_fold, pooled, *others = numbers
        shown.add_row(escape(row["metric"]), by_fold, pooled, span, *others)
    out_console.print(shown)
    out_console.print(f"report in {out / 'report.md'}", soft_wrap=True, highlight=False)


def _widths(hidden: str | None) -> tuple[int, ...]:
    if hidden is None:
        return (32, 16)
    parts = split_names(hidden)
    if not parts or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"`--hidden` takes widths such as 32,16, got {hidden!r}")
    return tuple(map(int, parts))
