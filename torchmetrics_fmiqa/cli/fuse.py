"""`fmiqa fuse`: train a head that fuses the columns of a table of scores into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from torchmetrics_fmiqa.cli import options
from torchmetrics_fmiqa.cli.console import TerminalProgress, this_command
from torchmetrics_fmiqa.cli.fit import print_result


def fuse(
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    scores: Annotated[Path, typer.Option(help="The table: .csv, .csv.gz or .parquet, one column per metric.")],
    features: Annotated[
        list[str], typer.Option(help="Columns that go into the head, comma-separated; repeatable. At least two.")
    ],
    opinion: Annotated[str, typer.Option(help="Column of human opinions, such as mos or dmos.")],
    group: Annotated[str, typer.Option(help="Column of references, never shared by training and test.")] = "ref",
    image: Annotated[
        str | None, typer.Option(help="Column of images; dis, dist or image by default, where there is one.")
    ] = None,
    opinion_is: Annotated[
        str, typer.Option(help="What a higher opinion means: better, worse, or infer (by most features).")
    ] = "infer",
    higher_is_better: Annotated[
        str | None,
        typer.Option(help="The features that are qualities; by default those that run against the others."),
    ] = None,
    folds: options.FoldsOption = 5,
    hidden: options.HiddenOption = None,
    linear: options.LinearOption = False,
    epochs: options.EpochsOption = 80,
    patience: options.PatienceOption = 20,
    learning_rate: options.LearningRateOption = 0.01,
    resamples: options.ResamplesOption = 1000,
    seed: options.SeedOption = 0,
) -> None:
    """Train a head that fuses scores made before into one, and test it on references that it has not seen.

    It writes predictions.csv (of held-out images), agreement.csv (the fused score, then every feature),
    head.safetensors (trained on all references) and report.md to OUT. As many folds as references is leave-one-out.

    Exit status: 0, or 2 for wrong arguments.
    """
    direction, widths = options.check_opinion_is(opinion_is), options.read_hidden(hidden, linear)

    from torchmetrics_fmiqa.fitting.config import HeadTraining
    from torchmetrics_fmiqa.fitting.fuse_scores import FuseConfig, fuse_scores

    config = FuseConfig(
        scores,
        tuple(name for text in features for name in options.split_names(text)),
        opinion,
        group,
        image,
        direction,
        None if higher_is_better is None else tuple(options.split_names(higher_is_better)),
        folds,
        resamples,
        HeadTraining(widths, linear, epochs, patience, learning_rate=learning_rate, seed=seed),
    )
    with TerminalProgress() as progress:
        result = fuse_scores(config, out, this_command(), progress)
    print_result(result, out, brief=False)
