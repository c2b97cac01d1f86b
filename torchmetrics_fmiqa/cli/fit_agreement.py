"""How far a fused score, and each single input, agree with people: one row each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis import analyse
from torchmetrics_fmiqa.benchmark.scored import ScoredTable
from torchmetrics_fmiqa.statistics import srcc
from torchmetrics_fmiqa.statistics.inputs import FEWEST, Integers


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
