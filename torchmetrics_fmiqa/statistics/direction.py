"""Bring scores and opinions to the same direction, and infer an unknown direction of opinions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.statistics.correlation import srcc
from torchmetrics_fmiqa.statistics.inputs import Floats, opinions, table


class Direction(NamedTuple):
    """The direction of an opinion, voted by metrics of known direction.

    Args:
        opinion_higher_is_better: the majority's vote.
        agreeing: number of metrics in the majority.
        asked: number of metrics with a vote, those with an SRCC other than 0.
    """

    opinion_higher_is_better: bool
    agreeing: int
    asked: int


def aligned(
    scores: npt.ArrayLike,
    opinion: npt.ArrayLike,
    scores_higher_is_better: bool | Sequence[bool],
    opinion_higher_is_better: bool,
) -> tuple[Floats, Floats]:
    """Negate scores ``(n,)`` or ``(n, M)`` and opinions ``(n,)`` where needed, so that higher is better in both.

    A metric that agrees with people then correlates positively.

    Args:
        scores: scores of one or several metrics.
        opinion: MOS (higher is better) or DMOS (usually higher is worse).
        scores_higher_is_better: direction of all metrics, or of each.
        opinion_higher_is_better: direction of the opinions.

    Raises:
        ValueError: if the number of directions is not that of the metrics.

    >>> aligned([0.1, 0.5], [90.0, 40.0], scores_higher_is_better=False, opinion_higher_is_better=True)
    (array([-0.1, -0.5]), array([90., 40.]))
    """
    values = np.asarray(scores, dtype=np.float64)
    signs = _signs(scores_higher_is_better, values.shape[1] if values.ndim > 1 else 1)
    opinion = np.asarray(opinion, dtype=np.float64)
    return values * (signs if values.ndim > 1 else signs[0]), opinion if opinion_higher_is_better else -opinion


def infer_direction(
    scores: npt.ArrayLike, opinion: npt.ArrayLike, scores_higher_is_better: bool | Sequence[bool]
) -> Direction:
    """Infer the direction of ``(n,)`` opinions from metrics ``(n, M)`` of known direction, by majority of their SRCC.

    Use metrics that are known to agree with people, and look at how many agree: a near tie decides nothing.

    Raises:
        ValueError: if the number of directions is not that of the metrics, or the vote is a tie.

    >>> psnr, dmos = [40.0, 30.0, 20.0, 25.0], [10.0, 30.0, 60.0, 50.0]
    >>> infer_direction(psnr, dmos, scores_higher_is_better=True)
    Direction(opinion_higher_is_better=False, agreeing=1, asked=1)
    """
    y = opinions(opinion)
    _, columns = table(scores, len(y))
    correlations = np.array([srcc(column, y).value for column in columns.T])
    signs = np.sign(np.nan_to_num(correlations)) * _signs(scores_higher_is_better, columns.shape[1])
    higher, lower = int((signs > 0).sum()), int((signs < 0).sum())
    if higher == lower:
        raise ValueError(
            f"{higher} of {columns.shape[1]} metrics say that a higher opinion is better and {lower} that it is worse: "
            "say the direction yourself, or ask more metrics"
        )
    return Direction(higher > lower, max(higher, lower), higher + lower)


def _signs(higher_is_better: bool | Sequence[bool], count: int) -> Floats:
    flags = [bool(higher_is_better)] * count if np.ndim(higher_is_better) == 0 else list(higher_is_better)  # type: ignore[arg-type]
    if len(flags) != count:
        raise ValueError(
            f"`scores_higher_is_better` must say one direction for each of {count} metrics, got {len(flags)}"
        )
    return np.where(flags, 1.0, -1.0)
