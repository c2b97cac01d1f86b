"""Reports as Markdown pages: the answer first, then the tables."""

from __future__ import annotations

from torchmetrics_fmiqa.benchmark.markdown_table import code, escaped, table
from torchmetrics_fmiqa.benchmark.page.page import report_of
from torchmetrics_fmiqa.benchmark.page.section import Name, Report, Section, Table, Text
from torchmetrics_fmiqa.benchmark.study import Study

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
    return markdown(report_of(study))


def markdown(report: Report) -> str:
    """Print a report; whatever in it comes from outside is escaped.

    Args:
        report: what to print. Sections that are drawings alone are left out.
    """
    parts = [
        f"# {report.kind}: {escaped(report.title)}",
        code(report.command),
        _text(report.headline, "**"),
        "\n".join(f"- {label}: {_text(words)}" for label, words in report.facts),
        *(_section(one) for one in report.sections if one.id not in _DRAWN),
    ]
    # Names of files need not be Unicode; such a page could not be written.
    return "\n\n".join(parts).encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def _section(section: Section) -> str:
    parts = [f"## {section.title}", *map(_text, (*section.lead, *section.how))]
    shown = [one for one in section.tables if not one.folded]
    for one in shown:
        parts += [f"*{escaped(one.caption)}*", _grid(one)] if len(section.tables) > 1 else [_grid(one)]
    if section.terms:
        parts.append("\n".join(f"- {_text(term)}: {_text(meaning)}" for term, meaning in section.terms))
    for title, items in section.lists:
        parts += [f"{title}:", "\n".join(f"- {code(name)}: {escaped(reason)}" for name, reason in items)]
    return "\n\n".join(parts)


def _grid(one: Table) -> str:
    """A table without the columns that are drawings."""
    kept = [place for place, column in enumerate(one.columns) if column.label != "drawn"]
    kept = kept[: one.brief or None]
    rows = [[escaped(row[place].fine or row[place].text) for place in kept] for row in one.rows]
    return table([escaped(one.columns[place].label) for place in kept], rows)


def _text(text: Text, around: str = "`") -> str:
    return "".join(
        (code(part) if around == "`" else f"{around}{escaped(part)}{around}")
        if isinstance(part, Name)
        else escaped(part)
        for part in text
    )
