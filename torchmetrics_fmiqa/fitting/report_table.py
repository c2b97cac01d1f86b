"""The report of `fmiqa fit`: the answer first, then the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.fitting.fit_table import CrossValidation, Fitted, Training
from torchmetrics_fmiqa.report.markdown import number, span, table


@dataclass(frozen=True)
class FitFindings:
    """What a fit found.

    Args:
        title: the table's name.
        command: the command that made it.
        direction: how the opinion's direction was settled, in words.
        rows: of agreement.csv, the fused score first.
        found: the heads by fold, and what they predict.
        final: the head of all references.
        reference: ``(n,)`` ids of the references.
        training: how heads were trained.
    """

    title: str
    command: str
    direction: str
    rows: Sequence[dict[str, Any]]
    found: CrossValidation
    final: Fitted
    reference: npt.NDArray[np.str_]
    training: Training


def write_fit_report(findings: FitFindings) -> str:
    """The report as one Markdown page."""
    parts = [
        f"# Fusion of scores: {findings.title}",
        f"`{findings.command}`",
        _answer(findings),
        "## Agreement with people\n\n" + _agreement(findings.rows),
        "## The folds\n\n" + _folds(findings),
        "## How the heads were trained\n\n" + _training(findings),
    ]
    return "\n\n".join(parts) + "\n"


def _answer(findings: FitFindings) -> str:
    fused, *features = findings.rows
    best = max(features, key=lambda row: _known(row["srcc_fold_mean"]))
    beaten = sum(row["fused_beats"] == 1 for row in features)
    return (
        f"The fused score agrees with people at a mean SRCC of **{number(fused['srcc_fold_mean'])}** over "
        f"{len(findings.found.fits)} folds of references that it has not seen; the best single feature, "
        f"`{best['metric']}`, at {number(best['srcc_fold_mean'])} on the same folds. All {fused['n']} held-out "
        f"predictions pooled: {number(fused['srcc'])} {_span(fused, 'srcc')}; beyond chance that beats {beaten} of "
        f"{len(features)} features. {len(set(findings.reference.tolist()))} references; {findings.direction}."
    )


def _agreement(rows: Sequence[dict[str, Any]]) -> str:
    header = ["", "SRCC by fold", "SRCC pooled", "95 %", "KRCC", "PLCC", "PLCC raw", "RMSE", "fused ahead by"]
    lines = [
        [
            f"**{row['metric']}**" if place == 0 else f"`{row['metric']}`",
            f"{number(row['srcc_fold_mean'])} ± {number(row['srcc_fold_std'])}",
            number(row["srcc"]),
            _span(row, "srcc"),
            *(number(row[name]) for name in ("krcc", "plcc", "plcc_raw")),
            f"{row['rmse']:.4g}",
            "" if place == 0 else f"{number(rows[0]['srcc'] - row['srcc'])} {_span(row, 'fused_ahead')}",
        ]
        for place, row in enumerate(rows)
    ]
    return (
        "*SRCC by fold*: mean and standard deviation over folds, each within its own images (`srcc_fold_mean`, "
        "`srcc_fold_std`, `srcc_fold_0` ... in `agreement.csv`). *Pooled* and all other columns: over all images at "
        "once, the held-out predictions of all heads together; heads differ a little in scale, which costs the fused "
        "score something and the features nothing. PLCC and RMSE after a logistic fit with 4 parameters, PLCC raw "
        "without. Intervals are 95 %, by bootstrap over references, with the heads as they are.\n\n"
        + table(header, lines)
    )


def _folds(findings: FitFindings) -> str:
    fused, *features = findings.rows
    header = ["fold", "references", "images", "fused", "best feature there", "inner validation", "epoch"]
    lines = []
    for one, fitted in enumerate(findings.found.fits):
        held = findings.found.fold == one
        own = f"srcc_fold_{one}"
        best = max(features, key=lambda row: _known(row[own]))
        lines.append(
            [
                str(one),
                str(len(set(findings.reference[held].tolist()))),
                str(int(held.sum())),
                number(fused[own]),
                f"{number(best[own])} `{best['metric']}`",
                number(fitted.validation_srcc),
                str(fitted.epoch),
            ]
        )
    return f"SRCC.\n\n{table(header, lines)}"


def _training(findings: FitFindings) -> str:
    training, head = findings.training, findings.final.head
    layers = "no hidden layer" if head.linear else f"hidden layers of {' and '.join(map(str, head.hidden))}"
    return (
        f"{len(head.names)} features, {layers}; 1 - PLCC and a pairwise ranking loss on batches of about "
        f"{training.batch} images (fewer where an epoch would have less than 8 steps), AdamW with a learning rate of "
        f"{training.learning_rate:g} and a weight decay of {training.weight_decay:g}, at most {training.epochs} "
        "epochs. The weights are those of the epoch with the best SRCC on a fifth of the training references, which "
        "was kept aside; the fold under test was never looked at. Seed "
        f"{training.seed}, of folds, weights, batches and bootstrap.\n\n"
        "`head.safetensors` is one more head, trained in the same way on the references of all folds (epoch "
        f"{findings.final.epoch}, inner validation {number(findings.final.validation_srcc)}). None of the figures "
        "above is its own: it has seen all these images."
    )


def _known(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _span(row: dict[str, Any], name: str) -> str:
    return span(row.get(f"{name}_low", math.nan), row.get(f"{name}_high", math.nan))
