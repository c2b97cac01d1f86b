"""The beginning of a report: the answer in a sentence, and the facts that back it. Of opinions and of choices."""

from __future__ import annotations

import math

from torchmetrics_fmiqa.benchmark.analysis.agreement import FEWEST_REFERENCES
from torchmetrics_fmiqa.benchmark.analysis.preference import ChoiceStudy
from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.report.document import Name, Text, enumerate_names
from torchmetrics_fmiqa.report.numbers import capitalised, counted, interval_words, number, signed

#: A label and its words.
Fact = tuple[str, Text]


def headline(study: Study) -> Text:
    """Which metric agrees best with people, and whether that is more than chance."""
    best, references = study.analysis.agreements[0], study.analysis.references
    if math.isnan(best.srcc):
        return ("No metric could be ranked: none has scores that vary.",)
    at = f"at an SRCC of {number(best.srcc)}"
    others = len(study.analysis.agreements) - 1
    if others and references < FEWEST_REFERENCES:
        words = f" comes first here, {at}; {counted(references, 'reference')} cannot settle which is best."
        return (Name(best.metric), words)
    return _best(best.metric, at, study.analysis.ties(), others)


def choice_headline(study: ChoiceStudy) -> Text:
    """Which metric chooses most as people do, and whether that is more than chance."""
    best = study.scores[0]
    if math.isnan(best.score):
        return ("No metric could be ranked: none has a value for every choice.",)
    others = sum(not math.isnan(score.score) for score in study.scores[1:])
    return _best(best.metric, f"at a {study.label} of {number(best.score)}", study.ties, others)


def _best(metric: str, at: str, ties: list[str], others: int) -> Text:
    if not others:
        return (Name(metric), f" agrees with people {at}.")
    if not ties:
        return (Name(metric), f" agrees best with people, {at}, beyond chance.")
    end = " may be as good." if len(ties) == 1 else " may each be as good."
    return (Name(metric), f" agrees best with people, {at}; ", *enumerate_names(ties, 3), end)


def facts(study: Study) -> list[Fact]:
    """The interval of the best metric, its lead, whom it beats, on what it was measured, the opinion's direction."""
    analysis, (best, *others) = study.analysis, study.analysis.agreements
    lines: list[Fact] = []
    if analysis.references < FEWEST_REFERENCES:
        rest = "Read intervals and comparisons as rough."
        if analysis.references == 1:
            rest = "There are no intervals, and no metric is compared with another."
        few = f"{counted(analysis.references, 'reference')}, where {FEWEST_REFERENCES} are the least to settle anything"
        lines.append(("Too few references", (f"{few}. {rest}",)))
    lines.append(_interval(f"SRCC {number(best.srcc)}", *best.srcc_interval))
    ranked = [agreement for agreement in others if not math.isnan(agreement.srcc)]
    if ranked and not math.isnan(best.srcc):
        second = ranked[0].metric
        limits = analysis.difference_interval(best.metric, second)
        lines.append(_lead(best.srcc - ranked[0].srcc, second, *limits))
        if analysis.comparison is None:
            lines.append(("Beats", ("Not compared: that needs two references or more.",)))
        else:
            lines.append(_beats(len(ranked), analysis.ties()))
    lines.append(("Measured on", (f"{measured_on(study)}.",)))
    lines.append(("Direction", (f"{capitalised(analysis.direction)}.",)))
    return lines


def choice_facts(study: ChoiceStudy) -> list[Fact]:
    """The same of choices, and how far people agree with each other."""
    best = study.scores[0]
    lines: list[Fact] = []
    if not math.isnan(best.score):
        lines.append(_interval(f"{study.label} {number(best.score)}", best.low, best.high))
    ranked = [score for score in study.scores[1:] if not math.isnan(score.score)]
    if ranked:
        lines.append(_lead(-ranked[0].behind, ranked[0].metric, -ranked[0].behind_high, -ranked[0].behind_low))
        lines.append(_beats(len(ranked), study.ties))
    people = "; ".join(f"{ceiling.metric} {number(ceiling.score)}" for ceiling in study.ceilings)
    if people:
        lines.append(("People", (f"{capitalised(people)}.",)))
    choices = f"{counted(sum(study.parts.values()), 'choice')} of {counted(study.references, 'reference')}"
    lines.append(("Measured on", (f"{choices}, in {counted(len(study.parts), 'part')}.",)))
    return lines


def measured_on(study: Study) -> str:
    """Number of images, references and types."""
    table = study.table
    types = "" if table.type is None else f", {counted(len(set(table.type.tolist())), 'type')} of distortion"
    return f"{counted(len(table.opinion), 'image')} of {counted(study.analysis.references, 'reference')}{types}"


def _interval(score: str, low: float, high: float) -> Fact:
    return ("Agreement", (f"{score}{interval_words(low, high, ', without an interval')}.",))


def _lead(ahead: float, second: str, low: float, high: float) -> Fact:
    return ("Lead", (f"{signed(ahead)} over the next, ", Name(second), f"{interval_words(low, high)}."))


def _beats(others: int, ties: list[str]) -> Fact:
    text = f"{others - len(ties)} of {counted(others, 'other')}, beyond chance"
    return ("Beats", (f"{text}. Not settled against ", *enumerate_names(ties), ".") if ties else (f"{text}.",))
