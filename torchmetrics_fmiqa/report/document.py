"""What a report is made of, before it is HTML or Markdown: sections of words, tables and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup


class Name(str):
    """The name of a metric, a type, a file: from outside, and set apart in print."""

    __slots__ = ()


#: A sentence or a paragraph: plain parts and names.
Text = tuple[str, ...]


def join(names: Sequence[str], most: int = 6) -> Text:
    """Names as one would say them, the many cut short.

    >>> "".join(join(["a", "b", "c"])), "".join(join(["a", "b", "c", "d"], most=2))
    ('a, b and c', 'a, b and 2 more')
    """
    shown: list[str] = [Name(name) for name in names[:most]]
    rest = len(names) - len(shown)
    last: list[str] = [f"{rest} more"] if rest else shown[-1:]
    first = shown if rest else shown[:-1]
    parts: list[str] = []
    for place, one in enumerate(first):
        parts += [", ", one] if place else [one]
    return (*parts, *([" and "] if parts and last else []), *last)


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Args:
        text: what is read.
        value: what it is sorted by, in full precision; ``None`` to sort by the text, NaN to come last.
        shade: how dark its ground is, in [0, 1].
        mark: ``"win"``, ``"loss"`` or ``"best"``: its looks.
        note: more about it, on hover.
        drawing: a drawing that follows the text in HTML.
        fine: the text with more digits, which a Markdown page prints instead: it cannot be sorted or pointed at.
    """

    text: str
    value: float | None = None
    shade: float | None = None
    mark: str = ""
    note: str = ""
    drawing: Markup | None = None
    fine: str = ""

    @property
    def kind(self) -> str:
        """``"drawn"``, ``"words"``, or nothing for a number."""
        return "drawn" if self.drawing is not None else "words" if self.value is None else ""


@dataclass(frozen=True)
class Column:
    """A column's head: its label, more about it, and a drawing (an axis) under it."""

    label: str
    note: str = ""
    drawing: Markup | None = None


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Args:
        id: anchor.
        caption: what it shows.
        columns: heads.
        rows: cells, as many in each as columns.
        upright: whether the heads stand upright, for many narrow columns.
        matrix: whether the cells are small squares.
        brief: columns that a Markdown page takes; 0 for all.
        folded: what to call it where it is folded away until somebody asks; Markdown pages leave it out.
    """

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    upright: bool = False
    matrix: bool = False
    brief: int = 0
    folded: str = ""


@dataclass(frozen=True)
class Figure:
    """A drawing and what it shows; a broad one takes the whole width."""

    drawing: Markup
    caption: Text
    broad: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Args:
        id: anchor.
        title: heading.
        lead: paragraphs: what was found.
        how: paragraphs: how it was measured, and how to read it.
        figures: small drawings, side by side.
        tables: below them.
        terms: things explained: a word and its meaning.
        lists: headed lists of names and what is to say of each.
    """

    id: str
    title: str
    lead: tuple[Text, ...]
    how: tuple[Text, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    terms: tuple[tuple[Text, Text], ...] = ()
    lists: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()


@dataclass(frozen=True)
class Report:
    """A whole report, to be printed as HTML or as Markdown.

    Args:
        kind: what sort of report it is.
        title: what was analysed.
        command: the command that made it.
        headline: the answer in a sentence.
        facts: what backs it: labels and words.
        sections: the rest.
    """

    kind: str
    title: str
    command: str
    headline: Text
    facts: tuple[tuple[str, Text], ...]
    sections: tuple[Section, ...]


def coefficient(value: float, shade: float | None = None, note: str = "") -> Cell:
    """A cell of a correlation or a share in [0, 1]."""
    return Cell(number(value), value, shade, note=note)


def correlation(value: float, shade: float | None = None) -> Cell:
    """A cell of a correlation with people, whose fourth digit published tables give too."""
    return Cell(number(value), value, shade, fine=number(value, 4))


def limits(low: float, high: float) -> Cell:
    """A cell of the interval of a correlation."""
    return Cell(span(low, high) or "—", low, fine=span(low, high, 4) or "—")


def quantity(value: float) -> Cell:
    """A cell of a number of any size."""
    return Cell(amount(value), value)


def share(value: float) -> Cell:
    """A cell of a share in per cent."""
    return Cell(percent(value), value)


def p_value(value: float) -> Cell:
    """A cell of a p-value."""
    return Cell("—" if math.isnan(value) else chance(value).removeprefix("=\u00a0"), value)


def change(value: float, digits: int = 2) -> Cell:
    """A cell of a signed difference."""
    return Cell(signed(value, digits), value)


def whole(value: int) -> Cell:
    """A cell of a count."""
    return Cell(f"{value:,}", value)


def shades(values: Sequence[float]) -> tuple[float, float]:
    """The range that shades run over: the least and the greatest that are known."""
    known = [value for value in values if math.isfinite(value)]
    return (min(known), max(known)) if known else (0.0, 1.0)


def shade(value: float, low: float, high: float) -> float | None:
    """A value's place in a range, or ``None`` for NaN."""
    return None if not math.isfinite(value) else (value - low) / (high - low) if high > low else 0.0


def number(value: float, digits: int = 3) -> str:
    """A coefficient: without the zero before its point, as correlations are printed.

    >>> number(0.85123), number(-0.0341), number(1.0), number(float("nan"))
    ('.851', '−.034', '1.000', '—')
    """
    if math.isnan(value):
        return "—"
    text = f"{abs(value):.{digits}f}"
    sign = "−" if value < 0 and float(text) > 0 else ""
    return sign + text.removeprefix("0")


def signed(value: float, digits: int = 3) -> str:
    """A difference, always with its sign.

    >>> signed(0.0592), signed(-2.5, 2), signed(0.0)
    ('+.059', '−2.50', '.000')
    """
    text = number(value, digits)
    return f"+{text}" if value > 0 and text.strip(".0") else text


def amount(value: float) -> str:
    """A number of any size, to three digits.

    >>> amount(12.3456), amount(0.7), amount(45678.9), amount(float("nan"))
    ('12.3', '.700', '45,679', '—')
    """
    if not math.isfinite(value):
        return "—" if math.isnan(value) else "∞" if value > 0 else "−∞"
    text = f"{abs(value):,.0f}" if abs(value) >= 1000 or value == 0 else f"{abs(value):#.3g}".removesuffix(".")
    return ("−" if value < 0 else "") + (text.removeprefix("0") if text.startswith("0.") else text)


def plain(value: float) -> str:
    """A number with no more digits than it needs, for axes and settings.

    >>> plain(0.25), plain(4.0), plain(-20.0), plain(86.6)
    ('.25', '4', '−20', '86.6')
    """
    text = f"{abs(value):,.0f}" if abs(value) >= 1000 else f"{abs(value):.4g}"
    return ("−" if value < 0 else "") + (text.removeprefix("0") if text.startswith("0.") else text)


def percent(value: float) -> str:
    r"""A share.

    >>> percent(0.0543), percent(float("nan"))
    ('5.4\xa0%', '—')
    """
    return "—" if math.isnan(value) else f"{100 * value:.1f}\u00a0%"


def chance(p: float) -> str:
    r"""A p-value as it stands after the letter p.

    >>> chance(0.0321), chance(0.00002), chance(float("nan"))
    ('=\xa0.032', '<\xa0.001', 'unknown')
    """
    return "unknown" if math.isnan(p) else "<\u00a0.001" if p < 0.001 else f"=\u00a0{number(p)}"


def span(low: float, high: float, digits: int = 3) -> str:
    """An interval, empty if there is none.

    >>> span(0.8291, 0.8712), span(float("nan"), 1.0)
    ('[.829, .871]', '')
    """
    return "" if math.isnan(low) or math.isnan(high) else f"[{number(low, digits)}, {number(high, digits)}]"


def several(count: int, one: str, more: str = "") -> str:
    """A number of things.

    >>> several(1, "image"), several(3000, "image")
    ('1 image', '3,000 images')
    """
    return f"{count:,} {one if count == 1 else more or one + 's'}"
