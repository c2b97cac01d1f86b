"""How far metrics choose as people do: over all, and in each part of the data set."""

from __future__ import annotations

import math

from torchmetrics_fmiqa.benchmark.analysis.preference import ChoiceScore, ChoiceStudy, Kind
from torchmetrics_fmiqa.report import cells
from torchmetrics_fmiqa.report.document import DRAWN, Cell, Column, Section, Table
from torchmetrics_fmiqa.report.svg import interval_axis, interval_strip, round_range

_MEANING: dict[Kind, str] = {
    "two_afc": "2AFC is the mean share of people who choose as the metric does; half of a triplet for equal "
    "distances. A person agrees with another at the mean of h² + (1 − h)² for a share h, and siding with the "
    "majority, which no metric exceeds, gives the mean of max(h, 1 − h). The score is the mean over the parts, as "
    "in the tables of LPIPS (Zhang et al., CVPR 2018)",
    "jnd_map": "JND mAP is the area under precision and recall of “people see no difference”. No order of the "
    "pairs exceeds that of people's own shares. The score is the mean over the parts",
}


def preference_section(study: ChoiceStudy) -> Section:
    """The table of all metrics."""
    how = (
        f"{_MEANING[study.kind]}; pooled takes all choices together. Intervals are 95 %, by bootstrap over references, "
        "told apart by their content. Differences from the best are corrected for all pairs of metrics (Holm), since "
        "the same choices named the best."
    )
    every = (*study.scores, *study.ceilings)
    axis = round_range([value for score in every for value in (score.score, score.low, score.high)])
    columns = (
        *cells.columns("metric", study.label, "95 %"),
        Column(DRAWN, f"{study.label} and its interval", interval_axis(axis)),
        *cells.columns("pooled", "behind the best", "95 % of it", "p"),
    )
    rows = [_row(score, place == 0, axis) for place, score in enumerate(study.scores)]
    table = Table("agreement", f"By falling {study.label}.", columns, rows)
    return Section("agreement", "Agreement", (), [(how,)], tables=[table])


def _row(score: ChoiceScore, best: bool, axis: tuple[float, float]) -> list[Cell]:
    behind = [Cell("", math.nan), Cell("", score.behind_low), Cell("", math.nan)]
    if not best:
        limits = cells.interval(score.behind_low, score.behind_high, "")
        behind = [cells.difference(score.behind, 3), limits, cells.p_value(score.p_holm)]
    return [
        cells.row_name(score.metric, best, score.note),
        cells.coefficient(score.score),
        cells.interval(score.low, score.high),
        Cell("", score.score, drawing=interval_strip(score.score, score.low, score.high, axis)),
        cells.coefficient(score.pooled),
        *behind,
    ]


def parts_section(study: ChoiceStudy) -> Section:
    """The scores of metrics, and of people, in each part."""
    shades = cells.Shades(value for score in study.scores for value in score.by_part.values())
    rows = [
        (cells.row_name(score.metric), *(cells.coefficient(value, shades(value)) for value in score.by_part.values()))
        for score in (*study.scores, *study.ceilings)
    ]
    columns = cells.columns("metric", *((part, f"{count:,} choices") for part, count in study.parts.items()))
    table = Table("parts", f"{study.label} in each part; people last.", columns, rows)
    return Section("parts", "By part", (), tables=[table])
