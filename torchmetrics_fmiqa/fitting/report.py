"""The reports of `fmiqa fit` and `fmiqa fuse`: the answer first, then the tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.fitting.compare import SPIPS, SetComparison
from torchmetrics_fmiqa.fitting.config import SpipsTraining
from torchmetrics_fmiqa.fitting.cross_validation import CrossValidation
from torchmetrics_fmiqa.fitting.dataset import MeasuredSet
from torchmetrics_fmiqa.fitting.heads import FittedHead, HeadSpec, SpipsSpec
from torchmetrics_fmiqa.report.markdown import code, escaped, number, span, table
from torchmetrics_fmiqa.spips_model.model import PARTS, SpipsHead, fusion_of

_KINDS = {"opinion": "opinions", "choice": "choices", "rank": "ranks of graded distortions"}
_LOSSES = {
    "opinion": "1 - PLCC and a pairwise ranking loss of opinions",
    "choice": "cross-entropy of choices",
    "rank": "a pairwise ranking loss within series of ranks",
}


@dataclass(frozen=True)
class FitResult:
    """What a training gave."""

    command: str  #: the command that made it.
    spec: HeadSpec  #: which heads were trained, and how.
    validation: CrossValidation  #: the heads by fold; none with ranks only.
    final: FittedHead  #: the head of all sets that were trained on.
    compared: Sequence[SetComparison]  #: of each set that was tested, the trained score beside every single input.
    trained: Sequence[MeasuredSet]  #: the sets that heads were trained on.
    tested: Sequence[MeasuredSet] = ()  #: the sets that the final head alone was tested on.


def write_fit_report(result: FitResult) -> str:
    """The report of a fit on images as one Markdown page."""
    recipe = cast("SpipsSpec", result.spec).recipe
    answer = [_verdict(compared, "SPIPS", "input") for compared in result.compared]
    if not result.validation.fits:
        answer.append(
            "The sets that were trained on hold ranks only: no references were held out, and there is no "
            "cross-validation"
            + ("." if result.tested else ". Nothing was tested; give --test to see what the head is worth.")
        )
    inputs = (
        " Single inputs join the taps of a stream by equal weights; `feature_distance` is the mean over all taps; "
        "`spips-fixed` has the parts of SPIPS with weights that nobody fitted."
    )
    columns = {"krcc": "KRCC", "plcc": "PLCC", "within_reference": "SRCC within references"}
    parts = [
        "\n".join(f"- {line}" for line in answer),
        *(_agreement(compared, columns, inputs) for compared in result.compared),
        f"## The sets\n\nMeasured by {code(str(recipe.recipe))}, digest {code(recipe.digest)}.\n\n{_sets(result)}",
        f"## What the head learned\n\n{_learned(result)}",
        *_how_trained(result, " `training/` has the logs of all heads."),
    ]
    missing = [problem for data in (*result.trained, *result.tested) for problem in data.problems]
    if missing:
        lines = (f"- {code(problem.name)}: {escaped(problem.reason)}" for problem in missing)
        parts.append("## What could not be measured\n\n" + "\n".join(lines))
    return _page(f"SPIPS trained on {_names(result)}", result.command, parts)


def write_fuse_report(result: FitResult, direction: str) -> str:
    """The report of a fusion of scores as one Markdown page; ``direction`` is how that of opinions was settled."""
    (compared,) = result.compared
    beaten = sum(row["fused_beats"] == 1 for row in compared.rows[1:])
    answer = (
        f"{_verdict(compared, 'the fused score', 'feature')} Beyond chance it beats {beaten} of "
        f"{len(compared.rows) - 1} features. Directions: {direction}."
    )
    columns = {"krcc": "KRCC", "plcc": "PLCC", "plcc_raw": "PLCC raw", "rmse": "RMSE"}
    parts = [answer, _agreement(compared, columns, " RMSE after the same fit."), *_how_trained(result, "")]
    return _page(f"Fusion of scores: {_names(result)}", result.command, parts)


def _names(result: FitResult) -> str:
    return ", ".join(escaped(data.name) for data in result.trained)


def _page(title: str, command: str, parts: Sequence[str]) -> str:
    return "\n\n".join([f"# {title}", code(command), *parts]) + "\n"


def _verdict(compared: SetComparison, fused: str, single: str) -> str:
    lead, data = compared.lead, compared.data
    measure = "a 2AFC score" if data.kind == "choice" else "an SRCC"
    held_out = compared.predictions.fold is not None
    how = "on references that it has not seen" if held_out else "without having been trained on it"
    by_fold = ""
    if held_out and compared.rows:
        mean = number(compared.rows[0]["srcc_fold_mean"])
        folds = sum(name.startswith("srcc_fold_") and name[10:].isdecimal() for name in compared.rows[0])
        by_fold = f" (mean over {folds} folds, each by itself: **{mean}**)"
    ahead = lead.fused - lead.other
    word = "ahead of" if ahead >= 0 else "behind"
    settled = "beyond chance" if lead.beyond_chance else "not beyond chance"
    if data.kind == "opinion":
        settled += " (corrected for all pairs of scores below)"
    return (
        f"**{escaped(data.name)}**: {fused} agrees with people at {measure} of **{number(lead.fused)}** {how}{by_fold},"
        f" {number(abs(ahead))} {word} the best single {single}, {code(lead.best)} at {number(lead.other)}: a "
        f"difference of {number(ahead)} {span(lead.low, lead.high)}, {settled}."
    )


def _agreement(compared: SetComparison, columns: Mapping[str, str], inputs: str) -> str:
    data = compared.data
    count = len(set(data.reference.tolist()))
    title = f"## {escaped(data.name)}: {len(data)} {_KINDS[data.kind] if data.kind == 'choice' else 'images'}"
    title += f" of {count} reference{'s' if count > 1 else ''}"
    if data.kind == "choice":
        return f"{title}\n\n{_choices(compared)}"
    source = (
        "The predictions of the heads of all folds together; heads differ a little in scale, which costs the trained "
        "score something. *By fold*: mean and standard deviation over folds, each within its own images (with "
        "leave-one-out within references)."
        if compared.predictions.fold is not None
        else "The distances of the final head, which was not trained on this set."
    )
    return (
        f"{title}\n\n{source} PLCC after a logistic fit with 4 parameters. Intervals are 95 %, by bootstrap over "
        f"references, with the heads as they are.{inputs}\n\n{_grid(compared, columns)}"
    )


def _grid(compared: SetComparison, columns: Mapping[str, str]) -> str:
    """A line a metric, the trained score first."""
    first, by_fold = compared.rows[0], compared.predictions.fold is not None
    fused = first["metric"]
    header = ["", "SRCC", "95 %", *columns.values(), *(["SRCC by fold"] if by_fold else []), f"{fused} ahead by"]
    lines = []
    for row in compared.rows:
        figures = [number(row["srcc"]), _interval(row, "srcc"), *(number(row[name]) for name in columns)]
        if by_fold:
            figures.append(f"{number(row['srcc_fold_mean'])} ± {number(row['srcc_fold_std'])}")
        lead = f"{number(row[f'{fused}_ahead'])} {_interval(row, f'{fused}_ahead')}"
        lines.append([_metric(row["metric"], fused), *figures, "" if row is first else lead])
    return table(header, lines)


def _choices(compared: SetComparison) -> str:
    parts = list(compared.choices[0].by_part)
    lines = [
        [_metric(row.metric), number(row.score), span(row.low, row.high), *(number(row.by_part[p]) for p in parts)]
        for row in (*sorted(compared.choices, key=lambda row: row.metric != SPIPS), *compared.ceilings)
    ]
    return (
        "The mean over parts of the share of people who choose as a score does (2AFC), with 95 % intervals by "
        "bootstrap over references; last, people themselves.\n\n"
        + table(["", "2AFC", "95 %", *map(escaped, parts)], lines)
    )


def _sets(result: FitResult) -> str:
    header = ["set", "what people said", "rows", "references", "higher is", "used to"]
    lines = []
    for data in (*result.trained, *result.tested):
        trained = any(data is other for other in result.trained)
        tested = any(data is compared.data for compared in result.compared)
        used = "train and test" if trained and tested else "train" if trained else "test"
        better = ("better" if data.higher_is_better else "worse") if data.kind == "opinion" else ""
        count = str(len(set(data.reference.tolist())))
        lines.append([escaped(data.name), _KINDS[data.kind], str(len(data)), count, better, used])
    return table(header, lines)


def _learned(result: FitResult) -> str:
    head = cast("SpipsHead", result.final.head)
    fold_heads = [fitted.head for fitted in result.validation.fits]
    lines = []
    for stream in ("low_level", "semantic"):
        if stream not in head.parts:
            continue
        own, *others = (
            getattr(one_head, f"{stream}_weights").detach().softmax(0).tolist() for one_head in (head, *fold_heads)
        )
        for place, tap in enumerate(getattr(head, stream)):
            folds = [weights[place] for weights in others]
            spread = [f"{number(min(folds))} to {number(max(folds))}"] if folds else []
            lines.append([stream.replace("_", "-"), code(tap), number(own[place]), *spread])
    if not lines:
        return "The head has no deep features."
    grid = table(["stream", "tap", "weight", *(["over the folds"] if fold_heads else [])], lines)
    return f"Weights of the taps in the final head; within a stream they sum to 1.\n\n{grid}\n\n{_gate(result)}"


def _gate(result: FitResult) -> str:
    head = cast("SpipsHead", result.final.head)
    if not head.gated:
        return "There is no gate, since there are not two streams to weigh."
    if not cast("SpipsTraining", result.spec.training).gated:
        return "The gate was switched off: both streams count alike."
    lines = []
    for data in (*result.trained, *result.tested):
        _, first = np.unique(data.reference, return_index=True)
        share = head.share(cast("TapStatistics", data.measured[0]).rows(first.tolist())).tolist()
        figures = [number(float(np.mean(share))), number(min(share)), number(max(share))]
        lines.append([escaped(data.name), str(len(share)), *figures])
    grid = table(["set", "references", "mean", "least", "most"], lines)
    return (
        "The gate: how much the semantic stream counts for a reference, from 0 to 1; at 1/2 both streams count "
        f"alike.\n\n{grid}"
    )


def _how_trained(result: FitResult, note: str) -> list[str]:
    """The folds, and the options of the training."""
    training, final, fusion = result.spec.training, result.final, fusion_of(result.final.head)
    validated = bool(result.validation.fits)
    parts = ["## The folds\n\n" + _folds(result)] if validated else []
    without = [part for part in PARTS if part not in getattr(training, "parts", PARTS)]
    hidden = " and ".join(map(str, training.hidden))
    losses = "; ".join(_LOSSES[kind] for kind in dict.fromkeys(data.kind for data in result.trained))
    unseen = "; the fold under test was never looked at" if validated else ""
    notes = " No figure of what was held out is its own." if validated else ""
    notes += " It has no quality, since nobody's opinions were learned." if fusion.scale is None else ""
    parts.append(
        "## How the heads were trained\n\n"
        f"{len(fusion.names)} inputs{', without ' + ' and '.join(without) if without else ''}, "
        f"{'no hidden layer' if training.linear else f'hidden layers of {hidden}'}. Losses: {losses}. Batches of about "
        f"{training.batch} (fewer where an epoch would have less than 8 steps), AdamW with a learning rate of "
        f"{training.learning_rate:g} and a weight decay of {training.weight_decay:g}, at most {training.epochs} "
        f"epochs, and none after {training.patience} without a better inner validation. The weights are those of the "
        "epoch that agrees best with a fifth of the training references, which was kept aside"
        f"{unseen}. Seed {training.seed}, of folds, weights, batches and bootstrap.\n\n"
        f"`head.safetensors` was trained on all of {_names(result)} (epoch {final.epoch}, inner validation "
        f"{number(final.validation)}).{notes}{note}"
    )
    return parts


def _folds(result: FitResult) -> str:
    tested = [own for own in result.compared if own.predictions.fold is not None]
    header = ["fold", *(escaped(compared.data.name) for compared in tested), "epoch", "inner validation"]
    lines = []
    for fold, fitted in enumerate(result.validation.fits):
        cells = [_fold(compared, fold) for compared in tested]
        lines.append([str(fold), *cells, str(fitted.epoch), number(fitted.validation)])
    grid = table(header, lines)
    return f"Images held out, of how many references; and where it can be told, the trained score's SRCC.\n\n{grid}"


def _fold(compared: SetComparison, fold: int) -> str:
    """How many images and references of a set a fold has, and what the trained score was worth there."""
    rows = np.asarray(compared.predictions.fold == fold)
    if not rows.any():
        return ""
    count = len(set(compared.data.reference[rows].tolist()))
    value = compared.rows[0].get(f"srcc_fold_{fold}", math.nan) if compared.rows else math.nan
    return f"{rows.sum()} of {count}" + ("" if math.isnan(value) else f": {number(value)}")


def _metric(name: str, fused: str = SPIPS) -> str:
    return f"**{name}**" if name == fused else code(name)


def _interval(row: dict[str, Any], name: str) -> str:
    return span(row.get(f"{name}_low", math.nan), row.get(f"{name}_high", math.nan))
