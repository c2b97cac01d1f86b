"""A trained score beside the single inputs and the untrained score, on one data set."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis.agreement import analyse
from torchmetrics_fmiqa.benchmark.analysis.preference import Choices, ChoiceScore, analyse_choices
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
from torchmetrics_fmiqa.comparator.tap_statistics import Profiled
from torchmetrics_fmiqa.fitting.measure import Measured
from torchmetrics_fmiqa.fitting.single_inputs import SINGLE, single_inputs
from torchmetrics_fmiqa.spips_model.model import INPUTS, FixedHead, SpipsHead
from torchmetrics_fmiqa.statistics import srcc
from torchmetrics_fmiqa.statistics.inputs import FEWEST, Floats, Integers

#: What is trained, and the same parts with weights that nobody fitted.
SPIPS, FIXED = "spips", "spips-fixed"

#: Columns of agreement.csv, one row a set of opinions and metric.
AGREEMENT = (
    *("set", "tested", "metric", "n", "srcc", "srcc_low", "srcc_high", "krcc", "plcc", "plcc_raw", "rmse"),
    *("within_reference", "within_reference_low", "within_reference_high", "srcc_fold_mean", "srcc_fold_std"),
    *("spips_ahead", "spips_ahead_low", "spips_ahead_high", "spips_ahead_p", "spips_ahead_p_holm", "spips_beats"),
    "notes",
)

T = TypeVar("T")

_LEAD = ("low", "high", "p", "p_holm")


@dataclass(frozen=True)
class Told:
    """What heads say of a set.

    Args:
        score: ``(n,)`` distances, lower is better; of choices ``(n, 2)``.
        prediction: ``(n,)`` opinions in the set's own units; ``None`` where the head was not trained on the set.
        fold: ``(n,)`` the fold of each row; ``None`` for a set that is tested on alone.
    """

    score: Floats
    prediction: Floats | None = None
    fold: Integers | None = None


@dataclass(frozen=True)
class Lead:
    """How far SPIPS is ahead of the best single input.

    Args:
        best: name of that input.
        spips: agreement of SPIPS, SRCC or 2AFC score.
        other: of the input.
        low: lower limit of the difference's 95 % interval.
        high: upper limit.
        beyond_chance: 1 if SPIPS is ahead, -1 if it is behind, 0 if neither is settled.
    """

    best: str
    spips: float
    other: float
    low: float
    high: float
    beyond_chance: int


@dataclass(frozen=True)
class Compared:
    """What was found on a set.

    Args:
        measured: the set.
        told: what heads say of it.
        lead: over the best single input.
        rows: of a set of opinions, those of agreement.csv: SPIPS first, then by falling SRCC.
        choices: of a set of choices, by falling score.
        ceilings: of choices, people themselves.
    """

    measured: Measured
    told: Told
    lead: Lead
    rows: Sequence[dict[str, Any]] = ()
    choices: Sequence[ChoiceScore] = ()
    ceilings: Sequence[ChoiceScore] = ()

    @property
    def tested(self) -> str:
        """How the set was tested, as tables have it."""
        return "alone" if self.told.fold is None else "held out"


def compare_set(measured: Measured, told: Told, head: SpipsHead, resamples: int, seed: int) -> Compared:
    """Compare SPIPS with every single input on a set of opinions or choices.

    Args:
        measured: the set.
        told: what heads say of it.
        head: any of them, for its taps and parts.
        resamples: of the bootstrap over references.
        seed: of the bootstrap.

    Raises:
        ValueError: for opinions that are fewer than 3, or all equal.
    """
    columns = [_columns(one, head) for one in measured.set.measured]
    if measured.set.kind == "choice":
        distances = {SPIPS: told.score, **{n: np.stack([one[n] for one in columns], 1) for n in columns[0]}}
        return _compared_choices(measured, told, distances, resamples, seed)
    own = measured.set
    predicted = told.prediction is not None
    scores = {SPIPS: told.prediction if told.prediction is not None else told.score, **columns[0]}
    types = measured.part if any(measured.part.tolist()) else None
    table = ScoredTable(scores, {}, own.target, own.reference, own.image, types, std=measured.std)
    # A prediction has the opinions' direction; nobody may turn it by what it correlates with.
    qualities = [SPIPS] if predicted and own.higher_is_better else []
    rows = agreement_rows(SPIPS, table, told.fold, own.higher_is_better, qualities, resamples, seed, _LEAD)
    for row in rows:
        row["spips_ahead"] = rows[0]["srcc"] - row["srcc"]
    best = max((row for row in rows if row["metric"] in SINGLE), key=lambda row: _known(row["srcc"]))
    ends = (best["spips_ahead_low"], best["spips_ahead_high"])
    lead = Lead(best["metric"], rows[0]["srcc"], best["srcc"], *ends, best["spips_beats"])
    return Compared(measured, told, lead, rows)


def _columns(measured: Profiled, head: SpipsHead) -> dict[str, Floats]:
    """The untrained score and the single inputs, all distances."""
    fixed = FixedHead(head.low_level, head.semantic, head.parts)(measured).double().numpy()
    return {FIXED: fixed, **single_inputs(measured, len(head.low_level))}


def _compared_choices(
    measured: Measured, told: Told, distances: Mapping[str, Floats], resamples: int, seed: int
) -> Compared:
    def analysed(names: Sequence[str]) -> tuple[tuple[ChoiceScore, ...], tuple[ChoiceScore, ...]]:
        own = measured.set
        kept = {name: distances[name] for name in names}
        return analyse_choices(Choices("two_afc", kept, own.target, measured.part, own.reference), resamples, seed)

    scores, ceilings = analysed(list(distances))
    best = next(one for one in scores if one.metric in SINGLE)
    # Differences are told from the first of all, which need not be SPIPS.
    first, second = analysed([SPIPS, best.metric])[0]
    settled = int(second.p_holm < 0.05)
    if first.metric == SPIPS:
        lead = Lead(best.metric, first.score, second.score, -second.behind_high, -second.behind_low, settled)
    else:
        lead = Lead(best.metric, second.score, first.score, second.behind_low, second.behind_high, -settled)
    return Compared(measured, told, lead, choices=scores, ceilings=ceilings)


def agreement_table(found: Sequence[Compared]) -> list[dict[str, Any]]:
    """The rows of agreement.csv."""
    return [
        {name: (row | {"set": one.measured.set.name, "tested": one.tested}).get(name, math.nan) for name in AGREEMENT}
        for one in found
        for row in one.rows
    ]


def choices_table(found: Sequence[Compared]) -> list[dict[str, Any]]:
    """The rows of choices.csv, with a column for each part of any set."""
    rows = [
        {"set": one.measured.set.name, "tested": one.tested, **score.row("two_afc")}
        for one in found
        for score in (*one.choices, *one.ceilings)
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name, math.nan) for name in names} for row in rows]


def _known(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def short_list(found: Sequence[T], names: Sequence[str]) -> list[T]:
    """Of what was found of metrics, best first, the trained and the untrained score and the best input of each part."""
    best: dict[str, T] = {}
    for one, name in zip(found, names, strict=True):
        best.setdefault(next((part for part, own in INPUTS.items() if name in own), name), one)
    first = [best.pop(name) for name in (SPIPS, FIXED)]
    return [*first, *best.values()]


def agreement_rows(
    fused: str,
    table: ScoredTable,
    fold: Integers | None,
    better: bool,
    qualities: Collection[str],
    resamples: int,
    seed: int,
    ahead: Sequence[str] = ("low", "high", "p_holm"),
) -> list[dict[str, Any]]:
    """A row for the fused score, then one for each input by falling SRCC: pooled over all images, and by fold.

    Args:
        fused: name of the fused score.
        table: the fused score and the inputs.
        fold: ``(n,)`` the fold of each image, or ``None`` without folds. One in which fewer than 3 opinions differ has
            no correlation and does not count.
        better: whether a higher opinion is better.
        qualities: the scores that are qualities; all others are distances.
        resamples: of the bootstrap over references.
        seed: of the bootstrap.
        ahead: what is told of the fused score's lead over each, of the matrices of
            :class:`~torchmetrics_fmiqa.statistics.Comparison`.
    """
    analysis = analyse(table, "better" if better else "worse", qualities, resamples, seed)
    folds = [] if fold is None else [(one, fold == one) for one in np.unique(fold).tolist()]
    folds = [(one, held) for one, held in folds if len(np.unique(table.opinion[held])) >= FEWEST]
    rows = []
    for row in analysis.rows():
        name = row["metric"]
        sign = 1 if (name in qualities) == better else -1
        by_fold = [sign * srcc(table.scores[name][held], table.opinion[held]).value for _, held in folds]
        mean, deviation = (float(np.mean(by_fold)), float(np.std(by_fold))) if by_fold else (np.nan, np.nan)
        row |= {"srcc_fold_mean": mean, "srcc_fold_std": deviation}
        row |= {f"srcc_fold_{one}": value for (one, _), value in zip(folds, by_fold, strict=True)}
        if analysis.comparison is not None:
            own = analysis.comparison.metrics.index(name)
            first = analysis.comparison.metrics.index(fused)
            for what in ahead:
                row[f"{fused}_ahead_{what}"] = float(getattr(analysis.comparison, what)[first, own])
            row[f"{fused}_beats"] = int(analysis.comparison.beats[first, own])
        rows.append(row)
    return sorted(rows, key=lambda row: row["metric"] != fused)
