"""Agreement with people: overall, by type, pair against pair, and of slightly changed images."""

from __future__ import annotations

import math

from torchmetrics_fmiqa.benchmark.analysis.agreement import FEWEST_REFERENCES, Analysis
from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.report.document import (
    Cell,
    Column,
    Name,
    Section,
    Table,
    Text,
    chance,
    correlation,
    join,
    limits,
    number,
    plain,
    quantity,
    several,
    shade,
    shades,
    share,
    signed,
    span,
    whole,
)
from torchmetrics_fmiqa.report.svg import interval_axis, interval_strip, span_of
from torchmetrics_fmiqa.statistics import Agreement, Comparison


def agreement_section(analysis: Analysis) -> Section:
    """The table of all metrics."""
    found = analysis.agreements
    ends = [end for one in found for end in (one.srcc, *one.intervals.get("srcc", ()))]
    axis = span_of(ends)
    rules = sorted({one.outlier_rule for one in found if one.outlier_rule})
    lead: tuple[Text, ...] = (_spread(found),) if len(found) > 1 else ()
    how: Text = (
        "SRCC and KRCC compare ranks. PLCC and RMSE follow a logistic fit with 4 parameters, PLCC raw does not. "
        "Within a reference is the mean SRCC among images of one reference: what a metric says of versions of one "
        "picture. Intervals are 95 %, by bootstrap over references."
        + (f" An outlier is a {' or a '.join(rules)}." if rules else "")
        + (" ↑ marks metrics whose higher scores are better." if analysis.higher_is_better else ""),
    )
    columns = (
        Column("metric"),
        Column("SRCC"),
        Column("95 %"),
        Column("drawn", "SRCC and its interval", interval_axis(axis)),
        Column("KRCC"),
        Column("PLCC"),
        Column("PLCC raw"),
        Column("RMSE", "in the opinion's units"),
        Column("outliers"),
        Column("within a reference"),
    )
    qualities = set(analysis.higher_is_better)
    rows = tuple(_agreement_row(one, one.metric in qualities, axis, place == 0) for place, one in enumerate(found))
    return Section(
        "agreement", "Agreement", lead, (how,), tables=(Table("agreement", "By falling SRCC.", columns, rows),)
    )


def _agreement_row(one: Agreement, quality: bool, axis: tuple[float, float], best: bool) -> tuple[Cell, ...]:
    low, high = one.intervals.get("srcc", (math.nan, math.nan))
    name = f"{one.metric}\u00a0↑" if quality else one.metric
    return (
        Cell(name, mark="best" if best else "", note="; ".join(_notes(one))),
        correlation(one.srcc),
        limits(low, high),
        Cell("", one.srcc, drawing=interval_strip(one.srcc, low, high, axis)),
        correlation(one.krcc),
        correlation(one.plcc),
        correlation(one.plcc_raw),
        quantity(one.rmse),
        share(one.outlier_ratio),
        correlation(one.within_reference),
    )


def _spread(found: list[Agreement]) -> Text:
    known = [one for one in found if not math.isnan(one.srcc)]
    if not known:
        return ("No metric has an SRCC.",)
    text = f"SRCC runs from {number(known[-1].srcc)} to {number(known[0].srcc)}. "
    inside = [one for one in known if not math.isnan(one.within_reference)]
    if not inside:
        return (text,)
    best = max(inside, key=lambda one: one.within_reference)
    if best is known[0]:
        return (text, "The best overall also ranks best within a reference: ", number(best.within_reference), ".")
    return (text, "Within a reference ", Name(best.metric), f" ranks best: {number(best.within_reference)}.")


def types_section(analysis: Analysis) -> Section:
    """SRCC by type of distortion."""
    title = "By type of distortion"
    types = list(analysis.agreements[0].by_type)
    if not types:
        return Section("types", title, (("Not available: the table has no types.",),))
    best = analysis.agreements[0]
    ordered = sorted((name for name in types if not math.isnan(best.by_type[name])), key=best.by_type.__getitem__)
    lead: list[Text] = []
    if len(ordered) > 1:
        weak, strong = ordered[0], ordered[-1]
        lead.append(
            (
                *(Name(best.metric), " is weakest on ", Name(weak), f" ({number(best.by_type[weak])})"),
                *(" and strongest on ", Name(strong), f" ({number(best.by_type[strong])})."),
            )
        )
    low, high = shades([value for one in analysis.agreements for value in one.by_type.values()])
    how: Text = (
        f"SRCC among the images of a type; the deeper the colour the higher, from {number(low)} to {number(high)}.",
    )
    rows = tuple(
        (
            Cell(one.metric, mark="best" if one is best else ""),
            correlation(one.srcc),
            *(correlation(one.by_type[name], shade(one.by_type[name], low, high)) for name in types),
        )
        for one in analysis.agreements
    )
    columns = (Column("metric"), Column("all"), *(Column(name) for name in types))
    upright = max(map(len, types)) > 6
    return Section(
        "types", title, tuple(lead), (how,), tables=(Table("types", "SRCC by type.", columns, rows, upright),)
    )


def beats_section(analysis: Analysis, comparison: Comparison) -> Section:
    """The matrix of pairs."""
    order = [comparison.metrics.index(one.metric) for one in analysis.agreements]
    names = [comparison.metrics[place] for place in order]
    pairs = len(order) * (len(order) - 1) // 2
    settled = int((comparison.beats != 0).sum()) // 2
    lead: Text = (f"{settled:,} of {several(pairs, 'pair')} {'is' if settled == 1 else 'are'} settled.",)
    key: Text = (
        "Differences of SRCC, by bootstrap over references, corrected for all pairs (Holm) at "
        f"{plain(comparison.alpha)}. + the row beats the column; − it is beaten; · not settled.",
    )
    columns = (
        Column("metric"),
        Column("beats"),
        Column("not settled"),
        Column("is beaten by"),
        *(Column(str(place + 1), name) for place, name in enumerate(names)),
    )
    rows = []
    for place, row in enumerate(order):
        beats = comparison.beats[row]
        cells = [_pair(comparison, row, column) for column in order]
        counts = int((beats > 0).sum()), int((beats == 0).sum()) - 1, int((beats < 0).sum())
        label = Cell(f"{place + 1}. {names[place]}", float(place + 1), mark="best" if place == 0 else "")
        rows.append((label, *map(whole, counts), *cells))
    table = Table("beats", "Row against column.", columns, tuple(rows), matrix=True, brief=4)
    return Section("beats", "Who beats whom", (lead,), (key,), tables=(table,))


def _pair(comparison: Comparison, row: int, column: int) -> Cell:
    if row == column:
        return Cell("", math.nan)
    at = row, column
    outcome = int(comparison.beats[at])
    sign, mark = {1: ("+", "win"), -1: ("−", "loss"), 0: ("·", "")}[outcome]
    note = (
        f"{comparison.metrics[row]} against {comparison.metrics[column]}: {signed(float(comparison.difference[at]))} "
        f"{span(float(comparison.low[at]), float(comparison.high[at]))}, p\u00a0{chance(float(comparison.p_holm[at]))}"
    )
    return Cell(sign, float(comparison.difference[at]), mark=mark, note=note)


def robustness_section(analysis: Analysis) -> Section:
    """SRCC and scores once images are moved, scaled, turned."""
    changes = list(analysis.robustness)
    how: Text = (
        "The images under test slightly changed, the opinions those of the unchanged. Moved is the mean absolute "
        "change of the score over the standard deviation of the scores: what people would hardly see should move "
        "it little.",
    )
    columns = (
        Column("metric"),
        Column("SRCC", "of the unchanged images"),
        *(Column(f"{change}: SRCC") for change in changes),
        *(Column(f"{change}: moved") for change in changes),
    )
    values = [part.srcc for found in analysis.robustness.values() for part in found.values()]
    low, high = shades([*values, *(one.srcc for one in analysis.agreements)])
    rows = []
    for place, one in enumerate(analysis.agreements):
        found = [analysis.robustness[change].get(one.metric) for change in changes]
        if not any(found):
            continue
        ranks = [part.srcc if part else math.nan for part in found]
        moved = [part.sensitivity if part else math.nan for part in found]
        rows.append(
            (
                Cell(one.metric, mark="best" if place == 0 else ""),
                *(correlation(value, shade(value, low, high)) for value in (one.srcc, *ranks)),
                *(quantity(value) for value in moved),
            )
        )
    table = Table("robustness", "By falling SRCC of the unchanged.", columns, tuple(rows))
    return Section("robustness", "Slight changes", (_fall(analysis),), (how,), tables=(table,))


def _fall(analysis: Analysis) -> Text:
    """Which metric loses the most and the least by the change that hurts it most."""
    falls: list[tuple[float, Agreement, float, str]] = []
    for one in analysis.agreements:
        after = {change: found[one.metric].srcc for change, found in analysis.robustness.items() if one.metric in found}
        known = {change: value for change, value in after.items() if not math.isnan(value)}
        if known and not math.isnan(one.srcc):
            worst = min(known, key=known.__getitem__)
            falls.append((one.srcc - known[worst], one, known[worst], worst))
    if not falls:
        return ("No metric has an SRCC both before and after.",)

    def told(fall: tuple[float, Agreement, float, str]) -> Text:
        _, one, after, change = fall
        return (Name(one.metric), f" goes from {number(one.srcc)} to {number(after)} by {change}")

    best = next((fall for fall in falls if fall[1] is analysis.agreements[0]), None)
    most, least = max(falls, key=lambda fall: fall[0]), min(falls, key=lambda fall: fall[0])
    text: Text = ("By the change that hurts it most, the best metric ", *told(best), ". ") if best else ()
    if most is not best:
        text += ("The greatest fall: ", *told(most), ". ")
    if least is not best and least is not most:
        text += ("The least: ", *told(least), ".")
    return text


def notes_of(analysis: Analysis) -> tuple[tuple[str, str], ...]:
    """What was special about metrics."""
    return tuple((one.metric, note) for one in analysis.agreements for note in _notes(one))


def _notes(one: Agreement) -> list[str]:
    """Without those on the fit with 5 parameters: no figure of it is shown."""
    return [note for note in one.notes if not note.startswith("fit with 5 parameters")]


def headline(study: Study) -> Text:
    """The answer in a sentence."""
    best = study.analysis.agreements[0]
    if math.isnan(best.srcc):
        return ("No metric could be ranked: none has scores that vary.",)
    if len(study.analysis.agreements) == 1:
        return (Name(best.metric), f" agrees with people at an SRCC of {number(best.srcc)}.")
    rivals = study.analysis.ties()
    if study.analysis.references < FEWEST_REFERENCES:
        here = several(study.analysis.references, "reference")
        first = f" comes first here, at an SRCC of {number(best.srcc)}; {here} cannot settle which is best."
        return (Name(best.metric), first)
    if not rivals:
        return (Name(best.metric), f" agrees best with people, at an SRCC of {number(best.srcc)}, beyond chance.")
    best_of = f" agrees best with people, at an SRCC of {number(best.srcc)}; "
    return (Name(best.metric), best_of, *join(rivals, 3), _may(rivals))


def facts(study: Study) -> list[tuple[str, Text]]:
    """What backs the answer: a label and its words."""
    analysis, table = study.analysis, study.table
    best, others = analysis.agreements[0], analysis.agreements[1:]
    interval = span(*best.intervals.get("srcc", (math.nan, math.nan)))
    sure = f", 95\u00a0% interval {interval}" if interval else ", without an interval"
    found: list[tuple[str, Text]] = []
    if analysis.references < FEWEST_REFERENCES:
        found.append(("Too few references", (_too_few(analysis.references),)))
    found.append(("Agreement", (f"SRCC {number(best.srcc)}{sure}.",)))
    ranked = [one for one in others if not math.isnan(one.srcc)]
    if ranked and not math.isnan(best.srcc):
        found.append(("Lead", _lead(analysis, best, ranked[0])))
        found.append(("Beats", _beats(analysis, ranked)))
    types = [] if table.type is None else sorted(set(table.type.tolist()))
    asked = f"{several(best.n, 'image')} of {several(analysis.references, 'reference')}"
    found.append(("Measured on", (asked + (f", {several(len(types), 'type')} of distortion." if types else "."),)))
    found.append(("Direction", (analysis.direction[:1].upper() + analysis.direction[1:] + ".",)))
    return found


def _too_few(references: int) -> str:
    rest = (
        "There are no intervals, and no metric is compared with another."
        if references == 1
        else ("Read intervals and comparisons as rough.")
    )
    return f"{several(references, 'reference')}, where {FEWEST_REFERENCES} are the least to settle anything. {rest}"


def _may(rivals: list[str]) -> str:
    return " may be as good." if len(rivals) == 1 else " may each be as good."


def _lead(analysis: Analysis, best: Agreement, second: Agreement) -> Text:
    ahead = f"{signed(best.srcc - second.srcc)} over the next, "
    if analysis.comparison is None:
        return (ahead, Name(second.metric), ".")
    at = analysis.comparison.metrics.index(best.metric), analysis.comparison.metrics.index(second.metric)
    interval = span(float(analysis.comparison.low[at]), float(analysis.comparison.high[at]))
    return (ahead, Name(second.metric), f", 95\u00a0% interval {interval}." if interval else ".")


def _beats(analysis: Analysis, ranked: list[Agreement]) -> Text:
    if analysis.comparison is None:
        return ("Not compared: that needs two references or more.",)
    ties = analysis.ties()
    text = f"{len(ranked) - len(ties)} of {several(len(ranked), 'other')}, beyond chance"
    return (f"{text}. Not settled against ", *join(ties), ".") if ties else (f"{text}.",)
