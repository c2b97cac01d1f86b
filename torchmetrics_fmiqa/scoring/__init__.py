"""Scores of pairs of files: in one run, or in parts by many workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmetrics_fmiqa.lazy_names import lazy_names

if TYPE_CHECKING:
    from torchmetrics_fmiqa.scoring.batches import Scored, read_ahead, score_pairs
    from torchmetrics_fmiqa.scoring.scorers import DistanceScorer, FusedScorer, PairScorer
    from torchmetrics_fmiqa.scoring.table_rows import ScorePairs

_HOMES = {
    "DistanceScorer": "scoring.scorers",
    "FusedScorer": "scoring.scorers",
    "PairScorer": "scoring.scorers",
    "ScorePairs": "scoring.table_rows",
    "Scored": "scoring.batches",
    "read_ahead": "scoring.batches",
    "score_pairs": "scoring.batches",
}

__all__ = ["DistanceScorer", "FusedScorer", "PairScorer", "ScorePairs", "Scored", "read_ahead", "score_pairs"]

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
