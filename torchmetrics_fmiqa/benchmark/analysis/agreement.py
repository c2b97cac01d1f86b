"""What a table of scores tells: agreement with people, what slight changes do to it, and which metric beats which."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
from torchmetrics_fmiqa.statistics import Agreement, Comparison, agreement, compare, infer_direction, srcc
from torchmetrics_fmiqa.statistics.direction import aligned
from torchmetrics_fmiqa.statistics.inputs import Floats

#: Fewer references than this settle nothing: their bootstrap has too few different draws to tell chance from more.
FEWEST_REFERENCES = 6

#: What an opinion's higher values mean; ``"infer"`` asks the metrics.
OpinionIs = Literal["better", "worse", "infer"]


# Columns of a table of results that are fields of an agreement.
_FIGURES = ("metric", "srcc", "krcc", "plcc", "plcc_raw", "rmse", "outlier_ratio", "within_reference", "worst_type")


@dataclass(frozen=True)
class Robustness:
    """A metric under a slight change of the images under test."""

    srcc: float  #: SRCC of the scores of changed images with the opinions of the unchanged
    sensitivity: float  #: mean absolute change of the score, over the standard deviation of the scores


@dataclass(frozen=True)
class Analysis:
    """What the scores tell, the metrics by falling SRCC."""

    agreements: list[Agreement]  #: of each metric
    robustness: dict[str, dict[str, Robustness]]  #: by change, then by metric
    comparison: Comparison | None  #: who beats whom; ``None`` for a single metric or a single reference
    direction: str  #: how the opinion's direction was settled, in words
    opinion_higher_is_better: bool  #: what it is
    references: int  #: number of references
    higher_is_better: tuple[str, ...] = ()  #: the metrics that were taken for qualities; all others are distances

    def rows(self) -> list[dict[str, Any]]:
        """One row a metric, in full precision."""
        return [
            {
                **{name: getattr(agreement, name) for name in _FIGURES},
                "worst_type_srcc": agreement.by_type.get(agreement.worst_type, math.nan),
                **{
                    f"{name}_{end}": agreement.intervals.get(name, (math.nan, math.nan))[place]
                    for name in ("srcc", "plcc", "plcc_raw", "within_reference")
                    for place, end in enumerate(("low", "high"))
                },
                **{
                    f"{what}_{change}": getattr(parts.get(agreement.metric), what, math.nan)
                    for change, parts in self.robustness.items()
                    for what in ("srcc", "sensitivity")
                },
                "n": agreement.n,
                "notes": "; ".join(agreement.notes),
            }
            for agreement in self.agreements
        ]

    def difference_interval(self, metric: str, other: str) -> tuple[float, float]:
        """The interval of the difference between two metrics' SRCC; NaN where they were not compared."""
        if self.comparison is None:
            return math.nan, math.nan
        at = self.comparison.metrics.index(metric), self.comparison.metrics.index(other)
        return float(self.comparison.low[at]), float(self.comparison.high[at])

    def ties(self) -> list[str]:
        """The metrics that the best one does not beat beyond chance."""
        others = [agreement.metric for agreement in self.agreements[1:] if not math.isnan(agreement.srcc)]
        if self.comparison is None:
            return others
        best = self.comparison.metrics.index(self.agreements[0].metric)
        return [name for name in others if self.comparison.beats[best, self.comparison.metrics.index(name)] != 1]


def analyse(
    table: ScoredTable,
    opinion_is: OpinionIs = "infer",
    higher_is_better: Collection[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Analysis:
    """Analyse a table of scores.

    A higher opinion is ``"better"`` (MOS), ``"worse"`` (DMOS), or ``"infer"`` asks the majority of the metrics. The
    metrics of ``higher_is_better`` are qualities; all others are distances. ``None`` takes those for qualities that run
    against the majority, and says so. Resamples and seed are of the bootstrap over references.

    Raises:
        ValueError: for a metric that the table has not, and for an opinion whose direction the metrics do not settle.
    """
    names = list(table.scores)
    unknown = sorted(set(higher_is_better or ()) - set(names))
    if unknown:
        raise ValueError(f"`higher_is_better` names {unknown[0]!r}, which the table does not have: {', '.join(names)}")
    columns = np.stack([table.scores[name] for name in names], axis=1)
    better, higher_is_better, direction = settle_directions(table.scores, table.opinion, opinion_is, higher_is_better)
    flags = [name in higher_is_better for name in names]
    agreements = agreement(
        table.scores,
        table.opinion,
        table.reference,
        table.type,
        table.std,
        scores_higher_is_better=flags,
        opinion_higher_is_better=better,
        resamples=resamples,
        seed=seed,
    )
    comparison, references = None, len(set(table.reference.tolist()))
    # Of one reference nothing can be drawn, so that nobody beats anybody beyond chance.
    if len(names) > 1 and references > 1:
        turned, opinion = aligned(columns, table.opinion, flags, better)
        by_name = dict(zip(names, turned.T, strict=True))
        comparison = compare(by_name, opinion, table.reference, resamples=resamples, seed=seed)
    robustness = {
        change: {
            name: Robustness(
                srcc(*aligned(scores, table.opinion, name in higher_is_better, better)).value,
                _sensitivity(table.scores[name], scores),
            )
            for name, scores in by_metric.items()
            if name in table.scores
        }
        for change, by_metric in table.changed.items()
    }
    agreements.sort(key=lambda result: -math.inf if math.isnan(result.srcc) else result.srcc, reverse=True)
    qualities = tuple(name for name, flag in zip(names, flags, strict=True) if flag)
    return Analysis(agreements, robustness, comparison, direction, better, references, qualities)


def settle_directions(
    scores: Mapping[str, Floats],
    opinion: Floats,
    opinion_is: OpinionIs,
    higher_is_better: Collection[str] | None,
    noun: str = "metrics",
) -> tuple[bool, list[str], str]:
    """Whether a higher opinion is better, which scores are qualities, and how that was settled, in words.

    Args:
        scores: by name, ``(n,)``.
        opinion: ``(n,)``.
        opinion_is: as in :func:`analyse`.
        higher_is_better: likewise.
        noun: what the words call the scores.
    """
    better, words = opinion_is == "better", f"a higher opinion is {opinion_is}, as was said"
    if opinion_is == "infer":
        flags = [name in (higher_is_better or ()) for name in scores]
        inferred = infer_direction(np.stack(list(scores.values()), axis=1), opinion, flags)
        better, word = inferred.opinion_higher_is_better, "better" if inferred.opinion_higher_is_better else "worse"
        words = f"a higher opinion is taken for {word}: {inferred.agreeing} of {inferred.asked} {noun} say so"
    if higher_is_better is None:
        # With nothing said all are distances, so these should fall with a better opinion.
        sign = 1 if better else -1
        higher_is_better = [name for name, values in scores.items() if sign * srcc(values, opinion).value > 0]
        if higher_is_better:
            words += f"; taken for qualities, as they run the other way: {', '.join(higher_is_better)}"
    return better, list(higher_is_better), words


def _sensitivity(before: Any, after: Any) -> float:
    spread = float(np.std(before))
    return float(np.mean(np.abs(after - before))) / spread if spread > 0 else math.nan
