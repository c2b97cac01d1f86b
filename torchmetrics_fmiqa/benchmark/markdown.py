"""A study as a Markdown page: the answer first, then the tables."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from torchmetrics_fmiqa.benchmark.analysis import Analysis
from torchmetrics_fmiqa.benchmark.page.answer import facts, headline
from torchmetrics_fmiqa.benchmark.page.section import Name, Section, Table, Text
from torchmetrics_fmiqa.benchmark.page.sections import sections
from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.statistics import Agreement, Comparison

#: Sections that are pictures alone.
_DRAWN = ("scatter", "gallery")


def write_markdown(study: Study) -> str:
    r"""A study as one Markdown page, with the sections of the HTML page and its words, without the drawings.

    Args:
        study: what was found.

    >>> import numpy as np
    >>> from torchmetrics_fmiqa.benchmark.analysis import analyse
    >>> from torchmetrics_fmiqa.benchmark.scored import ScoredTable
    >>> rng = np.random.default_rng(0)
    >>> mos, names = rng.uniform(1, 5, size=60), np.arange(60).astype(str)
    >>> reference = (np.arange(60) // 6).astype(str)
    >>> table = ScoredTable({"near": mos + rng.normal(size=60) / 9}, {}, mos, reference, names, None)
    >>> study = Study("ours", "fmiqa benchmark", table, analyse(table, "better", ["near"], resamples=50))
    >>> print("\n".join(write_markdown(study).splitlines()[:5]))
    # Agreement with human opinion: ours
    <BLANKLINE>
    `fmiqa benchmark`
    <BLANKLINE>
    **near** agrees with people at an SRCC of .994.
    """
    parts = [
        f"# Agreement with human opinion: {_escaped(study.title)}",
        _code(study.command),
        _text(headline(study), "**"),
    ]
    parts.append("\n".join(f"- {label}: {_text(words)}" for label, words in facts(study)))
    parts += [_section(one) for one in sections(study) if one.id not in _DRAWN]
    return "\n\n".join(parts).encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def _section(section: Section) -> str:
    parts = [f"## {section.title}", *map(_text, (*section.lead, *section.how))]
    for one in section.tables:
        parts += [f"*{_escaped(one.caption)}*", _grid(one)] if len(section.tables) > 1 else [_grid(one)]
    if section.terms:
        parts.append("\n".join(f"- {_text(term)}: {_text(meaning)}" for term, meaning in section.terms))
    for title, items in section.lists:
        parts += [f"{title}:", "\n".join(f"- {_code(name)}: {_escaped(reason)}" for name, reason in items)]
    return "\n\n".join(parts)


def _grid(table: Table) -> str:
    """A table without the columns that are drawings."""
    kept = [place for place, column in enumerate(table.columns) if column.label != "drawn"]
    kept = kept[: table.brief or None]
    rows = [[_escaped(row[place].text) for place in kept] for row in table.rows]
    return _table([_escaped(table.columns[place].label) for place in kept], rows)


def _text(text: Text, around: str = "`") -> str:
    return "".join(
        (_code(part) if around == "`" else f"{around}{_escaped(part)}{around}")
        if isinstance(part, Name)
        else _escaped(part)
        for part in text
    )


def _code(text: str) -> str:
    """Text as code, fenced by more backticks than it holds, on one line."""
    line = " ".join(text.split())
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {line} {fence}" if longest else f"`{line}`"


def _escaped(text: str) -> str:
    """Text on one line, whose signs are no markup: not HTML, not emphasis, not code, not a link."""
    line = re.sub(r"\s*[\r\n]+\s*", " ", text)
    return re.sub(r"[\\`*<]|(?<=\])\(", r"\\\g<0>", line)


def write_page(analysis: Analysis, title: str, command: str) -> str:
    """Return the page.

    Args:
        analysis: what was found.
        title: what was analysed.
        command: the command that made it.
    """
    parts = [f"# Agreement with human opinion: {title}", f"`{command}`", _answer(analysis), _agreement(analysis)]
    if analysis.robustness:
        parts.append(_robustness(analysis))
    if any(one.by_type for one in analysis.agreements):
        parts.append(_types(analysis))
    else:
        parts.append("## By type of distortion\n\nNot available: the table has no types.")
    if analysis.comparison is not None:
        parts.append(_beats(analysis, analysis.comparison))
    notes = [f"- `{one.metric}`: {note}" for one in analysis.agreements for note in one.notes]
    if notes:
        parts.append("## Notes\n\n" + "\n".join(notes))
    return "\n\n".join(parts) + "\n"


def _answer(analysis: Analysis) -> str:
    best = analysis.agreements[0]
    text = f"**{best.metric}** agrees best with people: SRCC {_number(best.srcc)}{_span(best, 'srcc')}. "
    ties = analysis.ties()
    if len(analysis.agreements) > 1:
        text += (
            f"Beyond chance it beats {len(analysis.agreements) - 1 - len(ties)} of the {len(analysis.agreements) - 1} "
            "others" + (f"; not settled against {', '.join(ties)}. " if ties else ". ")
        )
    return (
        text + f"{best.n} images of {analysis.references} references; {analysis.direction}. Intervals are 95 %, by "
        "bootstrap over references; wins are corrected for the number of pairs (Holm)."
    )


def _agreement(analysis: Analysis) -> str:
    header = ["metric", "SRCC", "95 %", "KRCC", "PLCC", "PLCC raw", "RMSE", "outliers", "within a reference"]
    rows = [
        [
            one.metric,
            _number(one.srcc),
            _span(one, "srcc").strip(),
            _number(one.krcc),
            _number(one.plcc),
            _number(one.plcc_raw),
            f"{one.rmse:.3g}",
            f"{one.outlier_ratio:.1%}",
            _number(one.within_reference),
        ]
        for one in analysis.agreements
    ]
    rules = sorted({one.outlier_rule for one in analysis.agreements if one.outlier_rule})
    return (
        "## Agreement\n\nPLCC and RMSE after a logistic fit with 4 parameters, PLCC raw without. An outlier is a "
        f"{' or '.join(rules)}.\n\n{_table(header, rows)}"
    )


def _robustness(analysis: Analysis) -> str:
    changes = list(analysis.robustness)
    header = [
        "metric",
        "SRCC",
        *(f"{change}: SRCC" for change in changes),
        *(f"{change}: change" for change in changes),
    ]
    rows = []
    for one in analysis.agreements:
        found = [analysis.robustness[change].get(one.metric) for change in changes]
        if any(found):
            cells = [_number(part.srcc) if part else "—" for part in found]
            cells += [f"{part.sensitivity:.3f}" if part else "—" for part in found]
            rows.append([one.metric, _number(one.srcc), *cells])
    return (
        "## Robustness\n\nThe images under test slightly changed, the opinions those of the unchanged. *Change*: mean "
        f"absolute change of the score over the standard deviation of the scores.\n\n{_table(header, rows)}"
    )


def _types(analysis: Analysis) -> str:
    types = list(analysis.agreements[0].by_type)
    rows = [[one.metric, *(_number(one.by_type[name]) for name in types)] for one in analysis.agreements]
    return f"## By type of distortion\n\nSRCC.\n\n{_table(['metric', *types], rows)}"


def _beats(analysis: Analysis, comparison: Comparison) -> str:
    rows = []
    for one in analysis.agreements:
        row = comparison.beats[comparison.metrics.index(one.metric)]
        rows.append([one.metric, str(int((row > 0).sum())), str(int((row == 0).sum()) - 1), str(int((row < 0).sum()))])
    return (
        "## Who beats whom\n\nDifferences of SRCC, by bootstrap over references, corrected for all pairs at "
        f"{comparison.alpha:g}. The whole matrix is in `beats.csv`.\n\n"
        f"{_table(['metric', 'beats', 'not settled', 'is beaten by'], rows)}"
    )


def _number(value: float) -> str:
    text = f"{value:.4f}"
    return "—" if math.isnan(value) else text.replace("0.", ".", 1) if abs(value) < 1 else text


def _span(one: Agreement, name: str) -> str:
    if name not in one.intervals:
        return ""
    low, high = one.intervals[name]
    return f" [{_number(low)}, {_number(high)}]"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
