"""The tables that a training leaves: what was predicted for each image, and what that is worth beside each input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from torchmetrics_fmiqa.data.tables import write_table
from torchmetrics_fmiqa.fitting.compare import SetComparison
from torchmetrics_fmiqa.spips_model.fusion_head import FusionHead

#: Columns of agreement.csv of SPIPS, one row a set of opinions and metric.
AGREEMENT = (
    *("set", "tested", "metric", "n", "srcc", "srcc_low", "srcc_high", "krcc", "plcc", "plcc_raw", "rmse"),
    *("within_reference", "within_reference_low", "within_reference_high", "srcc_fold_mean", "srcc_fold_std"),
    *("spips_ahead", "spips_ahead_low", "spips_ahead_high", "spips_ahead_p", "spips_ahead_p_holm", "spips_beats"),
    "notes",
)

#: Columns of predictions.csv; those of a table that was fused lack the set and the score.
PREDICTIONS = ("set", "ref", "dist", "fold", "opinion", "prediction", "score")


def write_tables(out: Path, compared: Sequence[SetComparison], fusion: FusionHead) -> None:
    """Write the tables of SPIPS: predictions.csv, agreement.csv, and choices.csv if a set has choices."""
    predictions = [row for own in compared for row in predictions_table(own, fusion)]
    write_table(out / "predictions.csv", predictions, PREDICTIONS)
    agreement, choices = list[dict[str, Any]](), list[dict[str, Any]]()
    for own in compared:
        about = {"set": own.source.set.name, "tested": own.tested}
        agreement += [dict.fromkeys(AGREEMENT, math.nan) | row | about for row in own.rows]
        choices += [about | score.row("two_afc") for score in (*own.choices, *own.ceilings)]
    write_table(out / "agreement.csv", agreement, AGREEMENT)
    if choices:
        names = dict.fromkeys(name for row in choices for name in row)
        rows = [dict.fromkeys(names, math.nan) | row for row in choices]
        write_table(out / "choices.csv", rows, list(names))


def predictions_table(compared: SetComparison, fusion: FusionHead) -> list[dict[str, Any]]:
    """A row an image; two of a choice, a version each, with the share of people who chose it."""
    data, predictions = compared.source.set, compared.predictions
    fold = ["test"] * len(data) if predictions.fold is None else predictions.fold.tolist()
    known = (data.reference.tolist(), data.image.tolist(), fold, data.target.tolist())
    if data.kind == "choice":
        second = compared.source.second.tolist()
        rows = [
            (reference, image, number, share, "", score)
            for reference, *images, number, judged, scores in zip(
                *known[:2], second, *known[2:], predictions.score.tolist(), strict=True
            )
            for image, share, score in zip(images, (1 - judged, judged), scores, strict=True)
        ]
    else:
        if predictions.opinion is not None:
            opinions = predictions.opinion.tolist()
        elif fusion.scale is not None:  # of a set that is tested on alone the quality
            opinions = fusion.quality(torch.from_numpy(predictions.score)).tolist()
        else:
            opinions = [""] * len(data)
        rows = list(zip(*known, opinions, predictions.score.tolist(), strict=True))
    return [dict(zip(PREDICTIONS, (data.name, *row), strict=True)) for row in rows]
