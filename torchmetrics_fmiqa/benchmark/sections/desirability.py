"""The aggregate of all that one wants from a metric, with the factors beside it."""

from __future__ import annotations

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis.desirability import Desirability
from torchmetrics_fmiqa.report.document import (
    Cell,
    Column,
    Name,
    Section,
    Table,
    Text,
    coefficient,
    number,
    percent,
    several,
    share,
    whole,
)


def desirability_section(found: Desirability) -> Section:
    """A table for each group of metrics that have the same factors."""
    lead: list[Text] = []
    groups = sorted(set(found.group.tolist()))
    first = next((place for place in range(len(found.metrics)) if found.group[place] == groups[0]), None)
    if first is not None:
        low, high = found.rank_interval[first]
        lead.append(
            (
                Name(found.metrics[first]),
                f" comes first at {number(found.aggregate[first])}. Under {found.draws:,} random weights it is first "
                f"in {percent(found.first_share[first])} and holds places {_places(low, high)} in 95 %.",
            )
        )
    how: Text = (
        "The formula is ours: a weighted geometric mean of the factors below. Its choice of factors and weights is "
        "no finding, so read the factors first. — is a factor that a metric does not have; metrics with different "
        "sets of factors are ranked apart.",
    )
    terms = tuple(
        ((Name(factor.label),), (f"{factor.meaning} (weight {factor.weight:g})",)) for factor in found.factors
    )
    tables = tuple(_group(found, group, len(groups) > 1) for group in groups)
    return Section("desirability", "All together", tuple(lead), (how,), tables=tables, terms=terms)


def _group(found: Desirability, group: int, several_groups: bool) -> Table:
    members = np.flatnonzero(found.group == group)
    has = int((~np.isnan(found.values[members[0]])).sum())
    count = f"{several(len(members), 'metric')} with {several(has, 'factor')}, ranked apart. "
    caption = (count if several_groups else "") + "Places under random weights: 95 % of them."
    columns = (
        Column("metric"),
        Column("place"),
        Column("aggregate"),
        Column("places, random weights", "95 % of them"),
        Column("first", "share of random weights under which it comes first"),
        Column("places, one factor less", "the best and worst place when one factor is left out"),
        *(Column(factor.label, factor.meaning) for factor in found.factors),
    )
    rows = []
    for place in members:
        owned = ~np.isnan(found.values[place])
        low, high = found.rank_interval[place]
        without = found.without[place][owned] if owned.any() else found.rank[place : place + 1]
        rows.append(
            (
                Cell(found.metrics[place], mark="best" if found.rank[place] == 1 else ""),
                whole(int(found.rank[place])),
                coefficient(float(found.aggregate[place])),
                Cell(_places(low, high), float(low)),
                share(float(found.first_share[place])),
                Cell(_places(without.min(), without.max()), float(without.max())),
                *(coefficient(float(v), None if np.isnan(v) else float(v)) for v in found.values[place]),
            )
        )
    return Table(f"desirability-{group}", caption, columns, tuple(rows))


def _places(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g}–{high:g}"
