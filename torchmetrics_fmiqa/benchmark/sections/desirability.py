"""The aggregate of all that one wants from a metric, with the factors beside it."""

from __future__ import annotations

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis.desirability import Desirability
from torchmetrics_fmiqa.report import cells
from torchmetrics_fmiqa.report.document import Cell, Name, Section, Table
from torchmetrics_fmiqa.report.numbers import counted, number, percent


def desirability_section(ranking: Desirability) -> Section:
    """A table for each group of metrics that have the same factors."""
    groups = sorted(set(ranking.group.tolist()))
    # Metrics stand by group and falling aggregate.
    lead = (
        f" comes first at {number(ranking.aggregate[0])}. Under {ranking.draws:,} random weights it is first "
        f"in {percent(ranking.first_share[0])} and holds places {_places(*ranking.rank_interval[0])} in 95 %."
    )
    how = (
        "The formula is ours: a weighted geometric mean of the factors below. Its choice of factors and weights is "
        "no finding, so read the factors first. — is a factor that a metric does not have; metrics with different "
        "sets of factors are ranked apart."
    )
    terms = [((Name(factor.label),), (f"{factor.meaning} (weight {factor.weight:g})",)) for factor in ranking.factors]
    tables = [_group_table(ranking, group, len(groups) > 1) for group in groups]
    first = (Name(ranking.metrics[0]), lead)
    return Section("desirability", "All together", [first], [(how,)], tables=tables, terms=terms)


def _group_table(ranking: Desirability, group: int, several_groups: bool) -> Table:
    members = np.flatnonzero(ranking.group == group)
    caption = "Places under random weights: 95 % of them."
    if several_groups:
        factors = int((~np.isnan(ranking.values[members[0]])).sum())
        caption = f"{counted(len(members), 'metric')} with {counted(factors, 'factor')}, ranked apart. {caption}"
    columns = cells.columns(
        *("metric", "place", "aggregate", ("places, random weights", "95 % of them")),
        ("first", "share of random weights under which it comes first"),
        ("places, one factor less", "the best and worst place when one factor is left out"),
        *((factor.label, factor.meaning) for factor in ranking.factors),
    )
    rows = []
    for place in members:
        known = ~np.isnan(ranking.values[place])
        low, high = ranking.rank_interval[place]
        values = ranking.values[place].tolist()
        without = ranking.without[place][known] if known.any() else ranking.rank[place : place + 1]
        rows.append(
            (
                cells.row_name(ranking.metrics[place], bool(ranking.rank[place] == 1)),
                cells.count(int(ranking.rank[place])),
                cells.coefficient(float(ranking.aggregate[place])),
                Cell(_places(low, high), float(low)),
                cells.percent(float(ranking.first_share[place])),
                Cell(_places(without.min(), without.max()), float(without.max())),
                *(cells.coefficient(value, None if np.isnan(value) else value) for value in values),
            )
        )
    return Table(f"desirability-{group}", caption, columns, rows)


def _places(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g}–{high:g}"
