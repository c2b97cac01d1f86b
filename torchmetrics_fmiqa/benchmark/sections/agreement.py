"""Agreement with people: over all images, by type of distortion, metric against metric, and after slight changes."""

from __future__ import annotations

import math

from torchmetrics_fmiqa.benchmark.analysis.agreement import Analysis
from torchmetrics_fmiqa.report import cells
from torchmetrics_fmiqa.report.document import DRAWN, Cell, Column, Name, Section, Table, Text
from torchmetrics_fmiqa.report.numbers import counted, number, p_value, shortest, signed, span
from torchmetrics_fmiqa.report.svg import interval_axis, interval_strip, round_range
from torchmetrics_fmiqa.statistics import Agreement, Comparison


def agreement_section(analysis: Analysis) -> Section:
    """The table of all metrics."""
    agreements = analysis.agreements
    axis = round_range([value for agreement in agreements for value in (agreement.srcc, *agreement.srcc_interval)])
    rules = sorted({agreement.outlier_rule for agreement in agreements if agreement.outlier_rule})
    how = (
        "SRCC and KRCC compare ranks. PLCC and RMSE follow a logistic fit with 4 parameters, PLCC raw does not. "
        "Within a reference is the mean SRCC among images of one reference: what a metric says of versions of one "
        "picture. Intervals are 95 %, by bootstrap over references."
        + (f" An outlier is a {' or a '.join(rules)}." if rules else "")
        + (" ↑ marks metrics whose higher scores are better." if analysis.higher_is_better else "")
    )
    columns = (
        *cells.columns("metric", "SRCC", "95 %"),
        Column(DRAWN, "SRCC and its interval", interval_axis(axis)),
        *cells.columns("KRCC", "PLCC", "PLCC raw", ("RMSE", "in the opinion's units"), "outliers"),
        Column("within a reference"),
    )
    rows = [_agreement_row(analysis, agreement, axis) for agreement in agreements]
    table = Table("agreement", "By falling SRCC.", columns, rows)
    return Section("agreement", "Agreement", _range_words(agreements), [(how,)], tables=[table])


def _agreement_row(analysis: Analysis, agreement: Agreement, axis: tuple[float, float]) -> list[Cell]:
    name = agreement.metric + "\u00a0↑" * (agreement.metric in analysis.higher_is_better)
    low, high = agreement.srcc_interval
    return [
        cells.row_name(name, agreement is analysis.agreements[0], "; ".join(shown_notes(agreement))),
        cells.correlation(agreement.srcc),
        cells.interval(low, high, fine=True),
        Cell("", agreement.srcc, drawing=interval_strip(agreement.srcc, low, high, axis)),
        cells.correlation(agreement.krcc),
        cells.correlation(agreement.plcc),
        cells.correlation(agreement.plcc_raw),
        cells.amount(agreement.rmse),
        cells.percent(agreement.outlier_ratio),
        cells.correlation(agreement.within_reference),
    ]


def _range_words(agreements: list[Agreement]) -> list[Text]:
    """From which to which SRCC the metrics run, and which ranks best within a reference."""
    if len(agreements) == 1:
        return []
    known = [agreement for agreement in agreements if not math.isnan(agreement.srcc)]
    if not known:
        return [("No metric has an SRCC.",)]
    text: Text = (f"SRCC runs from {number(known[-1].srcc)} to {number(known[0].srcc)}. ",)
    within = {one.metric: one.within_reference for one in known if not math.isnan(one.within_reference)}
    best = max(within, key=within.__getitem__, default="")
    if best == known[0].metric:
        text += ("The best overall also ranks best within a reference: ", number(within[best]), ".")
    elif within:
        text += ("Within a reference ", Name(best), f" ranks best: {number(within[best])}.")
    return [text]


def types_section(analysis: Analysis) -> Section:
    """SRCC by type of distortion."""
    title, best = "By type of distortion", analysis.agreements[0]
    types = list(best.by_type)
    if not types:
        return Section("types", title, [("Not available: the table has no types.",)])
    ranked = sorted((name for name in types if not math.isnan(best.by_type[name])), key=best.by_type.__getitem__)
    lead: list[Text] = []
    if len(ranked) > 1:
        weak, strong = (f" ({number(best.by_type[name])})" for name in (ranked[0], ranked[-1]))
        words = (" is weakest on ", Name(ranked[0]), weak, " and strongest on ", Name(ranked[-1]), f"{strong}.")
        lead.append((Name(best.metric), *words))
    shades = cells.Shades(value for agreement in analysis.agreements for value in agreement.by_type.values())
    shade_words = f"the deeper the colour the higher, from {number(shades.low)} to {number(shades.high)}."
    rows = [
        (
            cells.row_name(agreement.metric, agreement is best),
            cells.correlation(agreement.srcc),
            *(cells.correlation(agreement.by_type[name], shades(agreement.by_type[name])) for name in types),
        )
        for agreement in analysis.agreements
    ]
    columns = cells.columns("metric", "all", *types)
    table = Table("types", "SRCC by type.", columns, rows, upright=max(map(len, types)) > 6)
    return Section("types", title, lead, [(f"SRCC among the images of a type; {shade_words}",)], tables=[table])


def pairwise_section(analysis: Analysis, comparison: Comparison) -> Section:
    """The matrix that tells which metric beats which."""
    order = [comparison.metrics.index(agreement.metric) for agreement in analysis.agreements]
    names = [comparison.metrics[place] for place in order]
    pairs = counted(len(order) * (len(order) - 1) // 2, "pair")
    settled = int((comparison.beats != 0).sum()) // 2
    how = (
        "Differences of SRCC, by bootstrap over references, corrected for all pairs (Holm) at "
        f"{shortest(comparison.alpha)}. + the row beats the column; − it is beaten; · not settled."
    )
    rows = []
    for place, row in enumerate(order):
        outcomes = comparison.beats[row]
        counts = int((outcomes > 0).sum()), int((outcomes == 0).sum()) - 1, int((outcomes < 0).sum())
        name = Cell(f"{place + 1}. {names[place]}", float(place + 1), mark="best" if place == 0 else "")
        rows.append((name, *map(cells.count, counts), *(_pair(comparison, row, column) for column in order)))
    numbered = ((str(place + 1), name) for place, name in enumerate(names))
    columns = cells.columns("metric", "beats", "not settled", "is beaten by", *numbered)
    table = Table("beats", "Row against column.", columns, rows, matrix=True, brief=4)
    lead = f"{settled:,} of {pairs} {'is' if settled == 1 else 'are'} settled."
    return Section("beats", "Who beats whom", [(lead,)], [(how,)], tables=[table])


def _pair(comparison: Comparison, row: int, column: int) -> Cell:
    if row == column:
        return Cell("", math.nan)
    at = row, column
    difference, low, high = (float(part[at]) for part in (comparison.difference, comparison.low, comparison.high))
    sign, mark = {1: ("+", "win"), -1: ("−", "loss"), 0: ("·", "")}[int(comparison.beats[at])]
    names = f"{comparison.metrics[row]} against {comparison.metrics[column]}"
    note = f"{names}: {signed(difference)} {span(low, high)}, {p_value(float(comparison.p_holm[at]))}"
    return Cell(sign, difference, mark=mark, note=note)


def robustness_section(analysis: Analysis) -> Section:
    """SRCC and scores once images are moved, scaled, turned."""
    changes = list(analysis.robustness)
    how = (
        "The images under test slightly changed, the opinions those of the unchanged. Moved is the mean absolute "
        "change of the score over the standard deviation of the scores: what people would hardly see should move "
        "it little."
    )
    columns = cells.columns(
        "metric",
        ("SRCC", "of the unchanged images"),
        *(f"{change}: SRCC" for change in changes),
        *(f"{change}: moved" for change in changes),
    )
    after = [part.srcc for by_metric in analysis.robustness.values() for part in by_metric.values()]
    shades = cells.Shades([*after, *(agreement.srcc for agreement in analysis.agreements)])
    rows = []
    for agreement in analysis.agreements:
        parts = [analysis.robustness[change].get(agreement.metric) for change in changes]
        if any(parts):
            ranks = [agreement.srcc, *(part.srcc if part else math.nan for part in parts)]
            moved = [part.sensitivity if part else math.nan for part in parts]
            name = cells.row_name(agreement.metric, agreement is analysis.agreements[0])
            rows.append((name, *(cells.correlation(v, shades(v)) for v in ranks), *map(cells.amount, moved)))
    table = Table("robustness", "By falling SRCC of the unchanged.", columns, rows)
    return Section("robustness", "Slight changes", [_fall_words(analysis)], [(how,)], tables=[table])


def _fall_words(analysis: Analysis) -> Text:
    """Which metric loses the most and the least by its worst change."""
    sizes: dict[str, float] = {}
    words: dict[str, Text] = {}
    for agreement in analysis.agreements:
        name, before = agreement.metric, agreement.srcc
        after = {change: parts[name].srcc for change, parts in analysis.robustness.items() if name in parts}
        known = {change: value for change, value in after.items() if not math.isnan(value)}
        if known and not math.isnan(before):
            worst = min(known, key=known.__getitem__)
            sizes[name] = before - known[worst]
            words[name] = (Name(name), f" goes from {number(before)} to {number(known[worst])} by {worst}")
    if not sizes:
        return ("No metric has an SRCC both before and after.",)
    best, (most, least) = analysis.agreements[0].metric, (pick(sizes, key=sizes.__getitem__) for pick in (max, min))
    text: Text = ("By the change that hurts it most, the best metric ", *words[best], ". ") if best in words else ()
    text += ("The greatest fall: ", *words[most], ". ") if most != best else ()
    return text + (("The least: ", *words[least], ".") if least not in (best, most) else ())


def shown_notes(agreement: Agreement) -> list[str]:
    """What was special about a metric, without what concerns the fit with 5 parameters, which no report shows."""
    return [note for note in agreement.notes if not note.startswith("fit with 5 parameters")]
