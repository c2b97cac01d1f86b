"""A trained score beside its inputs and the untrained score, on one data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis.agreement import analyse
from torchmetrics_fmiqa.benchmark.analysis.preference import Choices, ChoiceScore, analyse_choices
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
from torchmetrics_fmiqa.comparator.tap_statistics import Profiled
from torchmetrics_fmiqa.fitting.cross_validation import Predictions
from torchmetrics_fmiqa.fitting.measure import MeasuredSource
from torchmetrics_fmiqa.spips_model.model import INPUTS, FixedHead, SpipsHead
from torchmetrics_fmiqa.statistics import srcc
from torchmetrics_fmiqa.statistics.inputs import FEWEST, Floats

#: What is trained, and the same parts with weights that nobody fitted.
SPIPS, FIXED = "spips", "spips-fixed"

#: The mean of all taps' mean distances.
FEATURE_DISTANCE = "feature_distance"

#: Names of the single inputs of SPIPS: the plain distance of features, then those of the fusion.
SINGLE = (FEATURE_DISTANCE, *(name for part in ("conventional", "low_level", "semantic") for name in INPUTS[part]))

T = TypeVar("T")


@dataclass(frozen=True)
class Comparing:
    """What is compared, and how.

    Args:
        fused: name of the trained score.
        qualities: the inputs that are qualities; all others are distances.
        resamples: of the bootstrap over references.
        seed: of the bootstrap.
    """

    fused: str
    qualities: Sequence[str]
    resamples: int
    seed: int


@dataclass(frozen=True)
class Lead:
    """How far the trained score is ahead of the best single input.

    Args:
        best: name of that input.
        fused: agreement of the trained score, SRCC or 2AFC score.
        other: of the input.
        low: lower limit of the difference's 95 % interval.
        high: upper limit.
        beyond_chance: 1 if the trained score is ahead, -1 if it is behind, 0 if neither is settled.
    """

    best: str
    fused: float
    other: float
    low: float
    high: float
    beyond_chance: int


@dataclass(frozen=True)
class SetComparison:
    """The trained score beside every single input on a set.

    Args:
        source: the set.
        predictions: what heads predict for it.
        lead: over the best single input.
        rows: of a set of opinions, those of agreement.csv: the trained score first, then by falling SRCC.
        choices: of a set of choices, by falling score.
        ceilings: of choices, people themselves.
    """

    source: MeasuredSource
    predictions: Predictions
    lead: Lead
    rows: Sequence[dict[str, Any]] = ()
    choices: Sequence[ChoiceScore] = ()
    ceilings: Sequence[ChoiceScore] = ()

    @property
    def tested(self) -> str:
        """How the set was tested, as tables have it."""
        return "alone" if self.predictions.fold is None else "held out"


def compare_set(
    source: MeasuredSource, predictions: Predictions, inputs: Sequence[Mapping[str, Floats]], how: Comparing
) -> SetComparison:
    """Compare the trained score with every single input on a set of opinions or choices.

    Args:
        source: the set.
        predictions: what heads predict for it.
        inputs: ``(n,)`` by name; of choices for each version.
        how: names and directions of the scores, and the bootstrap.

    Raises:
        ValueError: for opinions that are fewer than 3, or all equal.
    """
    untrained = FIXED if how.fused == SPIPS else None
    if source.set.kind == "choice":
        return _compare_choices(source, predictions, inputs, how)
    rows = _agreement_rows(source, predictions, inputs[0], how)
    others = [row for row in rows[1:] if row["metric"] != untrained]
    best = max(others, key=lambda row: -math.inf if math.isnan(row["srcc"]) else row["srcc"])
    ends = (best[f"{how.fused}_ahead_low"], best[f"{how.fused}_ahead_high"])
    lead = Lead(best["metric"], rows[0]["srcc"], best["srcc"], *ends, best[f"{how.fused}_beats"])
    return SetComparison(source, predictions, lead, rows)


def _agreement_rows(
    source: MeasuredSource, predictions: Predictions, inputs: Mapping[str, Floats], how: Comparing
) -> list[dict[str, Any]]:
    """A row for the trained score, then one for each input by falling SRCC: pooled over all images, and by fold."""
    data, fused, better = source.set, how.fused, source.set.higher_is_better
    score = predictions.score if predictions.opinion is None else predictions.opinion
    types = source.part if any(source.part.tolist()) else None
    scores = {fused: score, **inputs}
    table = ScoredTable(scores, {}, data.target, data.reference.astype(str), data.image, types, std=source.std)
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
    source: MeasuredSource, predictions: Predictions, inputs: Sequence[Mapping[str, Floats]], how: Comparing
) -> SetComparison:
    data = source.set
    distances = {name: np.stack([version[name] for version in inputs], 1) for name in inputs[0]}
    distances[how.fused] = predictions.score

    def analysed(names: Sequence[str]) -> tuple[tuple[ChoiceScore, ...], tuple[ChoiceScore, ...]]:
        chosen = {name: distances[name] for name in names}
        choices = Choices("two_afc", chosen, data.target, source.part, data.reference.astype(str))
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
    return SetComparison(source, predictions, lead, choices=scores, ceilings=ceilings)


def spips_inputs(measured: Profiled, head: SpipsHead) -> dict[str, Floats]:
    """The untrained score and the single inputs, all distances ``(n,)``."""
    fixed = FixedHead(head.low_level, head.semantic, head.parts)(measured).double().numpy()
    return {FIXED: fixed, **single_inputs(measured, len(head.low_level))}


def single_inputs(measured: Profiled, low_level: int) -> dict[str, Floats]:
    """Every input of SPIPS as a score ``(n,)`` of its own, with equal weights of the ``low_level`` and other taps.

    >>> import torch
    >>> measured = Profiled(torch.rand(2, 3, 3), torch.rand(2, 3), torch.rand(2, 8), torch.rand(2, 9), ("a", "b", "c"))
    >>> scores = single_inputs(measured, low_level=1)
    >>> tuple(scores) == SINGLE, bool(scores["low_level_mean"][0] == measured.spread[0, 0, 0])
    (True, True)
    """
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


def short_list(results: Sequence[T], names: Sequence[str]) -> list[T]:
    """Of the results of metrics, best first: the trained and the untrained score, and the best input of each part."""
    best: dict[str, T] = {}
    for result, name in zip(results, names, strict=True):
        best.setdefault(next((part for part, own in INPUTS.items() if name in own), name), result)
    first = [best.pop(name) for name in (SPIPS, FIXED)]
    return [*first, *best.values()]
