"""The report of `fmiqa fit` on images: the answer first, then the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.fitting.compare import SPIPS, Compared
from torchmetrics_fmiqa.fitting.config import SpipsTraining
from torchmetrics_fmiqa.fitting.fit import FittedSpips, SpipsValidation
from torchmetrics_fmiqa.fitting.measure import Measured
from torchmetrics_fmiqa.fitting.splits import Folds
from torchmetrics_fmiqa.report.markdown import code, escaped, number, span, table
from torchmetrics_fmiqa.spips_model.model import PARTS, SpipsHead
from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe

_KINDS = {"opinion": "opinions", "choice": "choices", "rank": "ranks of graded distortions"}


@dataclass(frozen=True)
class ImageFindings:
    """What a fit on images found.

    Args:
        command: the command that made it.
        recipe: what measured.
        training: how heads were trained.
        folds: of references.
        trained: the sets that heads were trained on.
        tested: the sets that the final head alone was tested on.
        compared: of each set that was tested, what was found.
        validation: the heads by fold; ``None`` with ranks only.
        final: the head of all sets that were trained on.
    """

    command: str
    recipe: SpipsRecipe
    training: SpipsTraining
    folds: Folds
    trained: Sequence[Measured]
    tested: Sequence[Measured]
    compared: Sequence[Compared]
    validation: SpipsValidation | None
    final: FittedSpips


def write_images_report(findings: ImageFindings) -> str:
    """The report as one Markdown page."""
    parts = [
        f"# SPIPS trained on {', '.join(escaped(one.set.name) for one in findings.trained)}",
        code(findings.command),
        _answer(findings),
        *(_agreement(one) for one in findings.compared),
        "## The sets\n\n" + _sets(findings),
        "## What the head learned\n\n" + _learned(findings),
    ]
    if findings.validation is not None:
        parts.append("## The folds\n\n" + _folds(findings, findings.validation))
    parts.append("## How the heads were trained\n\n" + _training(findings))
    missing = [problem for one in (*findings.trained, *findings.tested) for problem in one.problems]
    if missing:
        lines = (f"- {code(one.name)}: {escaped(one.reason)}" for one in missing)
        parts.append("## What could not be measured\n\n" + "\n".join(lines))
    # Names of files need not be Unicode; such a page could not be written.
    return "\n\n".join(parts).encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def _answer(findings: ImageFindings) -> str:
    said = [f"- {_verdict(one)}" for one in findings.compared]
    if findings.validation is None:
        said.append(
            "- The sets that were trained on hold ranks only: no references were held out, and there is no "
            "cross-validation"
            + ("." if findings.tested else ". Nothing was tested; give --test to see what the head is worth.")
        )
    return "\n".join(said)


def _verdict(one: Compared) -> str:
    lead, own = one.lead, one.measured.set
    measure = "a 2AFC score" if own.kind == "choice" else "an SRCC"
    how = "on references that it has not seen" if one.told.fold is not None else "without having been trained on it"
    ahead = lead.spips - lead.other
    word = "ahead of" if ahead >= 0 else "behind"
    settled = "beyond chance" if lead.beyond_chance else "not beyond chance"
    if own.kind == "opinion":
        settled += " (corrected for all pairs of scores below)"
    return (
        f"**{escaped(own.name)}**: SPIPS agrees with people at {measure} of **{number(lead.spips)}** {how}, "
        f"{number(abs(ahead))} {word} the best single input, {code(lead.best)} at {number(lead.other)}: a difference "
        f"of {number(ahead)} {span(lead.low, lead.high)}, {settled}."
    )


def _agreement(one: Compared) -> str:
    own = one.measured.set
    count = len(set(own.reference.tolist()))
    title = f"## {escaped(own.name)}: {len(own)} {_KINDS[own.kind] if own.kind == 'choice' else 'images'}"
    title += f" of {count} reference{'s' if count > 1 else ''}"
    return f"{title}\n\n" + (_choices(one) if own.kind == "choice" else _opinions(one))


def _opinions(one: Compared) -> str:
    held = one.told.fold is not None
    columns = {"srcc": "SRCC", "krcc": "KRCC", "plcc": "PLCC", "within_reference": "SRCC within references"}
    header = ["", *columns.values(), *(["SRCC by fold"] if held else []), "SPIPS ahead by"]
    header.insert(2, "95 %")
    lines = []
    for row in one.rows:
        figures = [number(row[name]) for name in columns]
        figures.insert(1, _interval(row, "srcc"))
        figures += [number(row["srcc_fold_mean"])] if held else []
        lead = f"{number(row['spips_ahead'])} {_interval(row, 'spips_ahead')}"
        lines.append([_metric(row["metric"]), *figures, "" if row["metric"] == SPIPS else lead])
    said = (
        "The predictions of the heads of all folds together; *by fold*: the mean over folds, each within its own "
        "images (with leave-one-out within references)."
        if held
        else "The distances of the final head, which was not trained on this set."
    )
    return (
        f"{said} PLCC after a logistic fit with 4 parameters. Intervals are 95 %, by bootstrap over references, with "
        "the heads as they are. Single inputs join the taps of a stream by equal weights; `feature_distance` is the "
        "mean over all taps; `spips-fixed` has the parts of SPIPS with weights that nobody fitted.\n\n"
        + table(header, lines)
    )


def _choices(one: Compared) -> str:
    parts = list(one.choices[0].by_part)
    lines = [
        [_metric(row.metric), number(row.score), span(row.low, row.high), *(number(row.by_part[p]) for p in parts)]
        for row in (*sorted(one.choices, key=lambda row: row.metric != SPIPS), *one.ceilings)
    ]
    return (
        "The mean over parts of the share of people who choose as a score does (2AFC), with 95 % intervals by "
        "bootstrap over references; last, people themselves.\n\n"
        + table(["", "2AFC", "95 %", *map(escaped, parts)], lines)
    )


def _sets(findings: ImageFindings) -> str:
    header = ["set", "what people said", "rows", "references", "higher is", "used to"]
    lines = []
    for one in (*findings.trained, *findings.tested):
        own = one.set
        trained = any(one is other for other in findings.trained)
        tested = any(one is other.measured for other in findings.compared)
        used = "train and test" if trained and tested else "train" if trained else "test"
        better = ("better" if own.higher_is_better else "worse") if own.kind == "opinion" else ""
        count = str(len(set(own.reference.tolist())))
        lines.append([escaped(own.name), _KINDS[own.kind], str(len(own)), count, better, used])
    recipe = findings.recipe
    return f"Measured by {code(str(recipe.recipe))}, digest {code(recipe.digest)}.\n\n{table(header, lines)}"


def _learned(findings: ImageFindings) -> str:
    head = findings.final.head
    heads = [] if findings.validation is None else [fitted.head for fitted in findings.validation.fits]
    lines = []
    for stream in ("low_level", "semantic"):
        if stream not in head.parts:
            continue
        own, others = _tap_weights(head, stream), [_tap_weights(other, stream) for other in heads]
        for place, tap in enumerate(getattr(head, stream)):
            folds = [weights[place] for weights in others]
            spread = [f"{number(min(folds))} to {number(max(folds))}"] if folds else []
            lines.append([stream.replace("_", "-"), code(tap), number(own[place]), *spread])
    if not lines:
        return "The head has no deep features."
    grid = table(["stream", "tap", "weight", *(["over the folds"] if heads else [])], lines)
    return f"Weights of the taps in the final head; within a stream they sum to 1.\n\n{grid}\n\n{_gate(findings)}"


def _tap_weights(head: SpipsHead, stream: str) -> list[float]:
    weights: list[float] = getattr(head, f"{stream}_weights").detach().softmax(0).tolist()
    return weights


def _gate(findings: ImageFindings) -> str:
    head = findings.final.head
    if not head.gated:
        return "There is no gate, since there are not two streams to weigh."
    if not findings.training.gated:
        return "The gate was switched off: both streams count alike."
    lines = []
    for one in (*findings.trained, *findings.tested):
        _, first = np.unique(one.set.reference, return_index=True)
        share = head.share(one.set.measured[0].rows(first.tolist())).tolist()
        found = [number(float(np.mean(share))), number(min(share)), number(max(share))]
        lines.append([escaped(one.set.name), str(len(share)), *found])
    grid = table(["set", "references", "mean", "least", "most"], lines)
    return (
        "The gate: how much the semantic stream counts for a reference, from 0 to 1; at 1/2 both streams count "
        f"alike.\n\n{grid}"
    )


def _folds(findings: ImageFindings, validation: SpipsValidation) -> str:
    held = [(one, one.told.fold) for one in findings.compared if one.told.fold is not None]
    header = ["fold", *(escaped(one.measured.set.name) for one, _ in held), "epoch", "inner validation"]
    lines = []
    for fold, fitted in enumerate(validation.fits):
        cells = [_fold(one, of == fold, fold) for one, of in held]
        lines.append([str(fold), *cells, str(fitted.epoch), number(fitted.validation)])
    return f"Images held out, of how many references; and where it can be told, SPIPS' SRCC.\n\n{table(header, lines)}"


def _fold(one: Compared, rows: npt.NDArray[np.bool_], fold: int) -> str:
    """How many references of a set the rows of a fold have, and what SPIPS was worth there."""
    if not rows.any():
        return ""
    count = len(set(one.measured.set.reference[rows].tolist()))
    found = one.rows[0].get(f"srcc_fold_{fold}", math.nan) if one.rows else math.nan
    return f"{rows.sum()} of {count}" + ("" if math.isnan(found) else f": {number(found)}")


def _training(findings: ImageFindings) -> str:
    training, final = findings.training, findings.final
    without = [part for part in PARTS if part not in training.parts]
    hidden = " and ".join(map(str, training.hidden))
    names = ", ".join(escaped(one.set.name) for one in findings.trained)
    notes = [] if findings.validation is None else ["No figure of a set that was held out is its own."]
    if final.head.fusion.scale is None:
        notes.append("It has no quality, since nobody's opinions were learned.")
    return (
        f"{len(final.head.fusion.names)} inputs{', without ' + ' and '.join(without) if without else ''}, "
        f"{'no hidden layer' if training.linear else f'hidden layers of {hidden}'}. Opinions: 1 - PLCC and a pairwise "
        "ranking loss; choices: cross-entropy; ranks: a pairwise ranking loss within series. Batches of about "
        f"{training.batch}, AdamW with a learning rate of {training.learning_rate:g}, at most {training.epochs} "
        f"epochs, and none after {training.patience} without a better inner validation. The weights are those of the "
        "epoch that agrees best with a fifth of the training references, which was kept aside"
        f"{'' if findings.validation is None else '; the fold under test was never looked at'}. Seed {training.seed}, "
        "of folds, weights, batches and bootstrap.\n\n"
        f"`head.safetensors` was trained on all of {names} (epoch {final.epoch}, inner validation "
        f"{number(final.validation)}). {' '.join([*notes, '`training/` has the logs of all heads.'])}"
    )


def _metric(name: str) -> str:
    return f"**{name}**" if name == SPIPS else code(name)


def _interval(row: dict[str, Any], name: str) -> str:
    return span(row.get(f"{name}_low", math.nan), row.get(f"{name}_high", math.nan))
