"""How far metrics choose as people do, as an HTML and a Markdown page."""

from __future__ import annotations

import math

from torchmetrics_fmiqa.benchmark.analysis.preference import ChoiceStudy, Kind
from torchmetrics_fmiqa.report.document import (
    Cell,
    Column,
    Name,
    Report,
    Section,
    Table,
    Text,
    change,
    coefficient,
    join,
    number,
    p_value,
    several,
    shade,
    shades,
    signed,
    span,
)
from torchmetrics_fmiqa.report.html import render
from torchmetrics_fmiqa.report.markdown import markdown
from torchmetrics_fmiqa.report.svg import interval_axis, interval_strip, span_of

_LABELS: dict[Kind, str] = {"two_afc": "2AFC", "jnd_map": "JND mAP"}


def write_choices(study: ChoiceStudy) -> str:
    r"""A study as a Markdown page: the answer, then a table of the metrics, one of the parts, and how it was made.

    Args:
        study: what was found.

    >>> from torchmetrics_fmiqa.benchmark.analysis.preference import ChoiceScore
    >>> found = (ChoiceScore("near", 0.7, {"cnn": 0.7}), ChoiceScore("far", 0.6, {"cnn": 0.6}, p_holm=0.01))
    >>> study = ChoiceStudy("bapps_2afc", "fmiqa benchmark", "two_afc", found, (), {"cnn": 9}, 9)
    >>> print("\n".join(write_choices(study).splitlines()[:5]))
    # Agreement with human choices: bapps_2afc
    <BLANKLINE>
    `fmiqa benchmark`
    <BLANKLINE>
    **near** agrees best with people, at a 2AFC of .700, beyond chance.
    """
    return markdown(choices_report(study))


def write_choices_html(study: ChoiceStudy) -> str:
    """A study as one HTML page that needs no network and no other file, with the same words and drawn intervals.

    Args:
        study: what was found.

    >>> from torchmetrics_fmiqa.benchmark.analysis.preference import ChoiceScore
    >>> found = (ChoiceScore("<near>", 0.7, {"cnn": 0.7}), ChoiceScore("far", 0.6, {"cnn": 0.6}, p_holm=0.01))
    >>> page = write_choices_html(ChoiceStudy("bapps_2afc", "fmiqa", "two_afc", found, (), {"cnn": 9}, 9))
    >>> "<b>&lt;near&gt;</b> agrees best with people" in page, "://" in page
    (True, False)
    """
    return render(choices_report(study))


def choices_report(study: ChoiceStudy) -> Report:
    """What both pages say: the answer, agreement, agreement by part, and how it was made."""
    return Report(
        "Agreement with human choices",
        study.title,
        study.command,
        _headline(study),
        tuple(_facts(study)),
        (_agreement_section(study), _parts_section(study), _made_section(study)),
    )


def _headline(study: ChoiceStudy) -> Text:
    """The answer in a sentence."""
    best, label = study.scores[0], _LABELS[study.kind]
    if math.isnan(best.score):
        return ("No metric could be ranked: none has a value for every choice.",)
    at = f"at a {label} of {number(best.score)}"
    others = [one for one in study.scores[1:] if not math.isnan(one.score)]
    if not others:
        return (Name(best.metric), f" agrees with people {at}.")
    if not study.rivals:
        return (Name(best.metric), f" agrees best with people, {at}, beyond chance.")
    also = "may be as good." if len(study.rivals) == 1 else "may each be as good."
    return (Name(best.metric), f" agrees best with people, {at}; ", *join(study.rivals, 3), f" {also}")


def _facts(study: ChoiceStudy) -> list[tuple[str, Text]]:
    """What backs the answer: a label and its words."""
    best = study.scores[0]
    found: list[tuple[str, Text]] = []
    ranked = [one for one in study.scores[1:] if not math.isnan(one.score)]
    if not math.isnan(best.score):
        interval = span(best.low, best.high)
        sure = f", 95\u00a0% interval {interval}" if interval else ", without an interval"
        found.append(("Agreement", (f"{_LABELS[study.kind]} {number(best.score)}{sure}.",)))
    if ranked:
        ahead = span(-ranked[0].behind_high, -ranked[0].behind_low)
        next_one = f"{signed(-ranked[0].behind)} over the next, "
        found.append(("Lead", (next_one, Name(ranked[0].metric), f", 95\u00a0% interval {ahead}." if ahead else ".")))
        beats = f"{len(ranked) - len(study.rivals)} of {several(len(ranked), 'other')}, beyond chance"
        unsettled: Text = (". Not settled against ", *join(study.rivals), ".") if study.rivals else (".",)
        found.append(("Beats", (beats, *unsettled)))
    people = "; ".join(f"{one.metric} {number(one.score)}" for one in study.ceilings)
    if people:
        found.append(("People", (f"{people[:1].upper()}{people[1:]}.",)))
    asked = f"{several(sum(study.parts.values()), 'choice')} of {several(study.references, 'reference')}"
    found.append(("Measured on", (f"{asked}, in {several(len(study.parts), 'part')}.",)))
    return found


def _agreement_section(study: ChoiceStudy) -> Section:
    label = _LABELS[study.kind]
    what = {
        "two_afc": "2AFC is the mean share of people who choose as the metric does; half of a triplet for equal "
        "distances. A person agrees with another at the mean of h² + (1 − h)² for a share h, and siding with the "
        "majority, which no metric exceeds, gives the mean of max(h, 1 − h). The score is the mean over the parts, as "
        "in the tables of LPIPS (Zhang et al., CVPR 2018)",
        "jnd_map": "JND mAP is the area under precision and recall of “people see no difference”. No order of the "
        "pairs exceeds that of people's own shares. The score is the mean over the parts",
    }[study.kind]
    how = (
        f"{what}; pooled takes all choices together. Intervals are 95 %, by bootstrap over references, told apart by "
        "their content. Differences from the best are corrected for all pairs of metrics (Holm), since the same "
        "choices named the best.",
    )
    axis = span_of([end for one in (*study.scores, *study.ceilings) for end in (one.score, one.low, one.high)])
    columns = (
        Column("metric"),
        Column(label),
        Column("95 %"),
        Column("drawn", f"{label} and its interval", interval_axis(axis)),
        *(Column(name) for name in ("pooled", "behind the best", "95 % of it", "p")),
    )
    rows = tuple(
        (
            Cell(one.metric, mark="best" if place == 0 else "", note=one.note),
            coefficient(one.score),
            Cell(span(one.low, one.high) or "—", one.low),
            Cell("", one.score, drawing=interval_strip(one.score, one.low, one.high, axis)),
            coefficient(one.pooled),
            change(one.behind, 3) if place else Cell("", math.nan),
            Cell(span(one.behind_low, one.behind_high) if place else "", one.behind_low),
            p_value(one.p_holm) if place else Cell("", math.nan),
        )
        for place, one in enumerate(study.scores)
    )
    table = Table("agreement", f"By falling {label}.", columns, rows)
    return Section("agreement", "Agreement", (), (how,), tables=(table,))


def _parts_section(study: ChoiceStudy) -> Section:
    found = [value for one in study.scores for value in one.by_part.values()]
    low, high = shades(found)
    rows = [
        (
            Cell(one.metric),
            *(coefficient(value, shade(value, low, high)) for value in one.by_part.values()),
        )
        for one in (*study.scores, *study.ceilings)
    ]
    columns = (Column("metric"), *(Column(part, f"{count:,} choices") for part, count in study.parts.items()))
    table = Table("parts", f"{_LABELS[study.kind]} in each part; people last.", columns, tuple(rows))
    return Section("parts", "By part", (), tables=(table,))


def _made_section(study: ChoiceStudy) -> Section:
    sizes = ", ".join(f"{part} {count:,}" for part, count in study.parts.items())
    total = several(sum(study.parts.values()), "choice")
    lead: list[Text] = [(f"{total} ({sizes}) of {several(study.references, 'reference')}.",)]
    if study.lost:
        lost = (
            f"{several(study.lost, 'choice')} left out, as an image could not be scored; the images are listed below."
        )
        lead.append((lost,))
    lists = (
        ("Metrics that did not run", tuple((one.name, one.reason) for one in study.skipped)),
        ("Missing or broken", tuple((one.name, one.reason) for one in study.missing)),
        ("Notes", tuple((one.metric, one.note) for one in study.scores if one.note)),
    )
    shown = tuple((f"{title} ({len(items):,})", items) for title, items in lists if items)
    return Section("made", "How this was made", tuple(lead), lists=shown)
