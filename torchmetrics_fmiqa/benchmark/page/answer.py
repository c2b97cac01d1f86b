"""The answer that a report opens with: which metric agrees best, by how much, and how sure that is."""

from __future__ import annotations

import math

from torchmetrics_fmiqa.benchmark.analysis import FEWEST_REFERENCES, Analysis
from torchmetrics_fmiqa.benchmark.page.numbers import number, several, signed, span
from torchmetrics_fmiqa.benchmark.page.section import Name, Text, join
from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.statistics import Agreement


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
