"""A report as a Markdown page: the answer first, then the sections, without their drawings."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torchmetrics_fmiqa.report import numbers
from torchmetrics_fmiqa.report.document import DRAWN, Name, Report, Section, Table, Text


def render_markdown(report: Report) -> str:
    r"""Print a report without its pictures; whatever in it comes from outside is escaped.

    >>> print(render_markdown(Report("Agreement", "t*d", "fmiqa", (Name("near"), " is best."), (), ())))
    # Agreement: t\*d
    <BLANKLINE>
    `fmiqa`
    <BLANKLINE>
    **near** is best.
    <BLANKLINE>
    """
    parts = [
        f"# {report.kind}: {escaped(report.title)}",
        code(report.command),
        "".join(f"**{escaped(part)}**" if isinstance(part, Name) else escaped(part) for part in report.headline),
        "\n".join(f"- {label}: {_text(words)}" for label, words in report.facts),
        *(_section(one) for one in report.sections if not (one.scatter or one.exhibits or one.viewer)),
    ]
    # Names of files need not be Unicode; such a page could not be written.
    return "\n\n".join(filter(None, parts)).encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def _section(section: Section) -> str:
    parts = [f"## {section.title}", *map(_text, (*section.lead, *section.how))]
    for content in section.tables:
        if not content.folded:
            parts += [f"*{escaped(content.caption)}*"] if len(section.tables) > 1 else []
            parts.append(_grid(content))
    if section.terms:
        parts.append("\n".join(f"- {_text(term)}: {_text(meaning)}" for term, meaning in section.terms))
    for title, items in section.lists:
        if items:
            lines = (f"- {code(name)}: {escaped(reason)}" for name, reason in items)
            parts += [f"{title} ({len(items):,}):", "\n".join(lines)]
    return "\n\n".join(parts)


def _grid(content: Table) -> str:
    """A table without the columns that are drawings."""
    kept = [place for place, column in enumerate(content.columns) if column.label != DRAWN]
    kept = kept[: content.brief or None]
    rows = [[escaped(row[place].fine or row[place].text) for place in kept] for row in content.rows]
    return table([escaped(content.columns[place].label) for place in kept], rows)


def _text(text: Text) -> str:
    return "".join(code(part) if isinstance(part, Name) else escaped(part) for part in text)


def number(value: float) -> str:
    """Four decimals, without the zero in front; a dash for what is not known.

    >>> number(0.98765), number(-0.01), number(1.0), number(float("nan"))
    ('.9877', '-.0100', '1.0000', '—')
    """
    return numbers.number(value, 4).replace("−", "-")


def span(low: float, high: float) -> str:
    """An interval; nothing where it is not known.

    >>> span(-0.01, 0.25), span(float("nan"), 1.0)
    ('[-.0100, .2500]', '')
    """
    return numbers.span(low, high, 4).replace("−", "-")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""A table; bars in its cells are escaped.

    >>> print(table(["metric", "SRCC"], [["a|b", ".9"]]))
    | metric | SRCC |
    | --- | --- |
    | a\|b | .9 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: str) -> str:
    """Text as code on one line, fenced by more backticks than it holds.

    >>> code("fmiqa fit"), code("a`b")
    ('`fmiqa fit`', '`` a`b ``')
    """
    line = " ".join(text.split())
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {line} {fence}" if longest else f"{fence}{line}{fence}"


def escaped(text: str) -> str:
    r"""Text on one line, whose signs are no markup: not HTML, not emphasis, not code, not a link.

    >>> print(escaped("a*b <i>"))
    a\*b \<i>
    """
    line = re.sub(r"\s*[\r\n]+\s*", " ", text)
    return re.sub(r"[\\`*<]|(?<=\])\(", r"\\\g<0>", line)
