"""A trained score beside its inputs and the untrained score, and the tables that tell of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torchmetrics_fmiqa.benchmark.analysis.agreement import analyse
from torchmetrics_fmiqa.benchmark.analysis.preference import Choices, ChoiceScore, analyse_choices
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.data.tables import write_table
from torchmetrics_fmiqa.fitting.cross_validation import Predictions
from torchmetrics_fmiqa.fitting.dataset import MeasuredSet
from torchmetrics_fmiqa.spips_model.fusion_head import FusionHead
from torchmetrics_fmiqa.spips_model.model import INPUTS, FixedHead, SpipsHead
from torchmetrics_fmiqa.statistics import srcc
from torchmetrics_fmiqa.statistics.inputs import FEWEST, Floats

#: What is trained, and the same parts with weights that nobody fitted.
SPIPS, FIXED = "spips", "spips-fixed"

#: The mean of all taps' mean distances.
FEATURE_DISTANCE = "feature_distance"

#: Names of the single inputs of SPIPS: the plain distance of features, then those of the fusion.
SINGLE = (FEATURE_DISTANCE, *(name for part in ("conventional", "low_level", "semantic") for name in INPUTS[part]))

#: Columns of agreement.csv of SPIPS, one row a set of opinions and metric.
AGREEMENT = (
    *("set", "tested", "metric", "n", "srcc", "srcc_low", "srcc_high", "krcc", "plcc", "plcc_raw", "rmse"),
    *("within_reference", "within_reference_low", "within_reference_high", "srcc_fold_mean", "srcc_fold_std"),
    *("spips_ahead", "spips_ahead_low", "spips_ahead_high", "spips_ahead_p", "spips_ahead_p_holm", "spips_beats"),
    "notes",
)

#: Columns of predictions.csv; those of a table that was fused lack the set and the score.
PREDICTIONS = ("set", "ref", "dist", "fold", "opinion", "prediction", "score")


@dataclass(frozen=True)
class CompareOptions:
    """The trained score's name, the inputs that are qualities (all others are distances), and the bootstrap."""

    fused: str
    qualities: Sequence[str]
    resamples: int
    seed: int


@dataclass(frozen=True)
class Lead:
    """How far the trained score is ahead of the best single input, by SRCC or 2AFC score.

    The interval is that of the difference, 95 %. ``beyond_chance`` is 1 if the trained score is ahead, -1 if it is
    behind, 0 if neither is settled.
    """

    best: str
    fused: float
    other: float
    low: float
    high: float
    beyond_chance: int


@dataclass(frozen=True)
class SetComparison:
    """The trained score beside every single input on a set."""

    data: MeasuredSet  #: the set.
    predictions: Predictions  #: what heads predict for it.
    lead: Lead  #: over the best single input.
    #: of a set of opinions, those of agreement.csv: the trained score first, then by falling SRCC.
    rows: Sequence[dict[str, Any]] = ()
    choices: Sequence[ChoiceScore] = ()  #: of a set of choices, by falling score.
    ceilings: Sequence[ChoiceScore] = ()  #: of choices, people themselves.

    @property
    def tested(self) -> str:
        """How the set was tested, as tables have it."""
        return "alone" if self.predictions.fold is None else "held out"


def compare_set(
    data: MeasuredSet, predictions: Predictions, inputs: Sequence[Mapping[str, Floats]], how: CompareOptions
) -> SetComparison:
    """Compare the trained score with every single input ``(n,)``, of choices for each version.

    Raises:
        ValueError: for opinions that are fewer than 3, or all equal.
    """
    if data.kind == "choice":
        return _compare_choices(data, predictions, inputs, how)
    rows = _agreement_rows(data, predictions, inputs[0], how)
    single = [row for row in rows[1:] if (how.fused, row["metric"]) != (SPIPS, FIXED)]
    best = max(single, key=lambda row: -math.inf if math.isnan(row["srcc"]) else row["srcc"])
    ends = (best[f"{how.fused}_ahead_low"], best[f"{how.fused}_ahead_high"])
    lead = Lead(best["metric"], rows[0]["srcc"], best["srcc"], *ends, best[f"{how.fused}_beats"])
    return SetComparison(data, predictions, lead, rows)


def _agreement_rows(
    data: MeasuredSet, predictions: Predictions, inputs: Mapping[str, Floats], how: CompareOptions
) -> list[dict[str, Any]]:
    """A row for the trained score, then one for each input by falling SRCC: pooled over all images, and by fold."""
    fused, better = how.fused, data.higher_is_better
    score = predictions.score if predictions.opinion is None else predictions.opinion
    types = data.part if data.part is not None and any(data.part.tolist()) else None
    scores = {fused: score, **inputs}
    table = ScoredTable(scores, {}, data.target, data.reference.astype(str), data.image, types, std=data.std)
    # A predicted opinion has the opinions' direction; nobody may turn it by what it correlates with.
    qualities = [*how.qualities, fused] if predictions.opinion is not None and better else how.qualities
    analysis = analyse(table, "better" if better else "worse", qualities, how.resamples, how.seed)
    numbers = [] if predictions.fold is None else np.unique(predictions.fold).tolist()
    rows_of = {number: predictions.fold == number for number in numbers}
    # A fold in which fewer than 3 opinions differ has no correlation and does not count.
    rows_of = {number: rows for number, rows in rows_of.items() if len(np.unique(data.target[rows])) >= FEWEST}
    results = []
    for row in analysis.rows():
        name = row["metric"]
        sign = 1 if (name in qualities) == better else -1
        by_fold = {number: sign * srcc(scores[name][rows], data.target[rows]).value for number, rows in rows_of.items()}
        values = list(by_fold.values())
        mean, deviation = (float(np.mean(values)), float(np.std(values))) if values else (np.nan, np.nan)
        row |= {"srcc_fold_mean": mean, "srcc_fold_std": deviation}
        row |= {f"srcc_fold_{number}": value for number, value in by_fold.items()}
        if analysis.comparison is not None:
            place = tuple(map(analysis.comparison.metrics.index, (fused, name)))
            for what in ("low", "high", "p", "p_holm"):
                row[f"{fused}_ahead_{what}"] = float(getattr(analysis.comparison, what)[place])
            row[f"{fused}_beats"] = int(analysis.comparison.beats[place])
        results.append(row)
    results.sort(key=lambda row: row["metric"] != fused)
    return [row | {f"{fused}_ahead": results[0]["srcc"] - row["srcc"]} for row in results]


def _compare_choices(
    data: MeasuredSet, predictions: Predictions, inputs: Sequence[Mapping[str, Floats]], how: CompareOptions
) -> SetComparison:
    distances = {name: np.stack([version[name] for version in inputs], 1) for name in inputs[0]}
    distances[how.fused] = predictions.score
    part = np.full(len(data), "all") if data.part is None else data.part

    def analysed(names: Sequence[str]) -> tuple[tuple[ChoiceScore, ...], tuple[ChoiceScore, ...]]:
        chosen = {name: distances[name] for name in names}
        choices = Choices("two_afc", chosen, data.target, part, data.reference.astype(str))
        return analyse_choices(choices, how.resamples, how.seed)

    scores, ceilings = analysed([how.fused, *inputs[0]])
    best = next(score for score in scores if score.metric not in (how.fused, FIXED))
    # Differences are from the first of all, which need not be the trained score.
    first, second = analysed([how.fused, best.metric])[0]
    settled = int(second.p_holm < 0.05)
    if first.metric == how.fused:
        lead = Lead(best.metric, first.score, second.score, -second.behind_high, -second.behind_low, settled)
    else:
        lead = Lead(best.metric, second.score, first.score, second.behind_low, second.behind_high, -settled)
    return SetComparison(data, predictions, lead, choices=scores, ceilings=ceilings)


def spips_inputs(measured: TapStatistics, head: SpipsHead) -> dict[str, Floats]:
    """The untrained score and the single inputs, all distances ``(n,)``."""
    fixed = FixedHead(head.low_level, head.semantic, head.parts)(measured).double().numpy()
    return {FIXED: fixed, **single_inputs(measured, len(head.low_level))}


def single_inputs(measured: TapStatistics, low_level: int) -> dict[str, Floats]:
    """Every input of SPIPS as a score ``(n,)`` of its own, with equal weights of the ``low_level`` and other taps."""
    spread, whole, own = (part.double() for part in (measured.spread, measured.summary, measured.of_images))
    columns = {
        "conventional": own.unbind(1),
        "low_level": spread[:, :low_level].mean(1).unbind(1),
        "semantic": (*spread[:, low_level:].mean(1).unbind(1), whole[:, low_level:].mean(1)),
    }
    scores = {FEATURE_DISTANCE: spread[..., 0].mean(1).numpy()}
    for part, values in columns.items():
        scores |= {name: column.numpy() for name, column in zip(INPUTS[part], values, strict=True)}
    return scores


def short_list(metrics: Sequence[str]) -> list[str]:
    """Of metrics, best first: the trained and the untrained score, and the best input of each part."""
    best: dict[str, str] = {}
    for name in metrics:
        best.setdefault(next((part for part, own in INPUTS.items() if name in own), name), name)
    return list(dict.fromkeys([SPIPS, FIXED, *best.values()]))


def write_tables(out: Path, compared: Sequence[SetComparison], fusion: FusionHead) -> None:
    """Write the tables of SPIPS: predictions.csv, agreement.csv, and choices.csv if a set has choices."""
    predictions = [row for own in compared for row in predictions_table(own, fusion)]
    write_table(out / "predictions.csv", predictions, PREDICTIONS)
    agreement, choices = list[dict[str, Any]](), list[dict[str, Any]]()
    for own in compared:
        about = {"set": own.data.name, "tested": own.tested}
        agreement += [dict.fromkeys(AGREEMENT, math.nan) | row | about for row in own.rows]
        choices += [about | score.row("two_afc") for score in (*own.choices, *own.ceilings)]
    write_table(out / "agreement.csv", agreement, AGREEMENT)
    if choices:
        names = dict.fromkeys(name for row in choices for name in row)
        rows = [dict.fromkeys(names, math.nan) | row for row in choices]
        write_table(out / "choices.csv", rows, list(names))


def predictions_table(compared: SetComparison, fusion: FusionHead) -> list[dict[str, Any]]:
    """A row an image; two of a choice, a version each, with the share of people who chose it."""
    data, predictions = compared.data, compared.predictions
    fold = ["test"] * len(data) if predictions.fold is None else predictions.fold.tolist()
    known = (data.reference.tolist(), data.image.tolist(), fold, data.target.tolist())
    if data.second is not None:
        rows = [
            (reference, image, number, share, "", score)
            for reference, *images, number, judged, scores in zip(
                *known[:2], data.second.tolist(), *known[2:], predictions.score.tolist(), strict=True
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
