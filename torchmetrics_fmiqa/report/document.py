"""The parts of a report before it is HTML or Markdown: text, tables, figures, sections, the whole.

A benchmark fills a :class:`Report`; ``report/html.py`` and ``report/markdown.py`` print it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup


class Name(str):
    """The name of a metric, a type, a file: it comes from outside, and is set apart in print."""

    __slots__ = ()


#: A sentence or a paragraph: plain parts and names.
Text = tuple[str, ...]


def enumerate_names(names: Sequence[str], most: int = 6) -> Text:
    """Names as one would say them; of many the first ones only.

    >>> "".join(enumerate_names(["a", "b", "c"])), "".join(enumerate_names(["a", "b", "c", "d"], most=2))
    ('a, b and c', 'a, b and 2 more')
    """
    parts: list[str] = [Name(name) for name in names[:most]]
    if len(names) > most:
        parts.append(f"{len(names) - most} more")
    separators = [", "] * (len(parts) - 2) + [" and "] * (len(parts) > 1) + [""]
    return tuple(text for pair in zip(parts, separators, strict=False) for text in pair if text)


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str  #: what is read
    #: What it is sorted by, in full precision; ``None`` to sort by the text, NaN to come last.
    value: float | None = None
    shade: float | None = None  #: how dark its ground is, in [0, 1]
    #: ``"win"``, ``"loss"``, ``"best"``, ``"second"`` or ``"tied"``, or several with spaces between: its looks.
    mark: str = ""
    note: str = ""  #: more about it, on hover
    drawing: Markup | None = None  #: a drawing that follows the text in HTML
    #: The text with more digits, which a Markdown page prints instead: it cannot be sorted or pointed at.
    fine: str = ""

    @property
    def kind(self) -> str:
        """``"drawn"``, ``"words"``, or nothing for a number."""
        return "drawn" if self.drawing is not None else "words" if self.value is None else ""


#: Label of a column of drawings.
DRAWN = "drawn"


@dataclass(frozen=True)
class Column:
    """A column's head: its label, more about it, and a drawing (an axis) under it.

    Markdown pages leave out the columns called :data:`DRAWN`.
    """

    label: str
    note: str = ""
    drawing: Markup | None = None


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows."""

    id: str  #: anchor
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]  #: as many cells in each as columns
    upright: bool = False  #: whether the heads stand upright, for many narrow columns
    matrix: bool = False  #: whether the cells are small squares
    brief: int = 0  #: columns that a Markdown page takes; 0 for all
    folded: str = ""  #: what to call it where it is folded away until somebody asks; Markdown pages leave it out


@dataclass(frozen=True)
class Figure:
    """A drawing and what it shows; a broad one takes the whole width."""

    drawing: Markup
    caption: Text
    broad: bool = False


@dataclass(frozen=True)
class Scatter:
    """A drawing of points that the page's script redraws for another choice."""

    data: dict[str, Any]  #: what the script draws, as JSON has it
    drawing: Markup  #: what stands there before the script, and without it


@dataclass(frozen=True)
class Picture:
    """A picture inside the page: its data URI, words for those who cannot see it, and a short label."""

    uri: str
    alt: str
    label: str


@dataclass(frozen=True)
class Exhibit:
    """Pictures that belong together, and what to say of them."""

    pictures: Sequence[Picture]
    caption: Text


@dataclass(frozen=True)
class Version:
    """A version of an image: the reference, or what a method made of it."""

    name: str  #: the method's, or that it is the reference
    uri: str  #: address of the picture: data, or a file beside the page
    scores: Sequence[Cell] = ()  #: as many as the viewer has metrics; none for the reference
    heat: str = ""  #: address of a map that is laid over the picture; empty for none


@dataclass(frozen=True)
class ViewedImage:
    """One image in the viewer."""

    name: str
    group: str  #: heading under which the image is listed
    caption: Text  #: why it is shown, and what of it
    size: tuple[int, int]  #: width and height of all versions, in pixels
    versions: Sequence[Version]  #: the reference first


@dataclass(frozen=True)
class Viewer:
    """Versions of images to look at side by side, under a slider, and in turn; without the script still pictures."""

    images: Sequence[ViewedImage]  #: at least one; all have the same versions
    metrics: Sequence[str]  #: what the versions' scores are
    chosen: tuple[int, int]  #: the two versions that are compared at first, by their places
    heat: str = ""  #: what the maps mean; empty where there are none


@dataclass(frozen=True)
class Section:
    """A part of the report."""

    id: str  #: anchor
    title: str
    lead: Sequence[Text]  #: paragraphs: what was found
    how: Sequence[Text] = ()  #: paragraphs: how it was measured, and how to read it
    figures: Sequence[Figure] = ()  #: small drawings, side by side
    tables: Sequence[Table] = ()  #: below them
    terms: Sequence[tuple[Text, Text]] = ()  #: words and their meanings
    lists: Sequence[tuple[str, Sequence[tuple[str, str]]]] = ()  #: headed; one without items is left out
    scatter: Scatter | None = None
    exhibits: Sequence[Exhibit] = ()
    viewer: Viewer | None = None
    command: str = ""  #: to show


@dataclass(frozen=True)
class Report:
    """A whole report, to be printed as HTML or as Markdown."""

    kind: str
    title: str  #: what was analysed
    command: str  #: that made it
    headline: Text  #: the answer in a sentence
    facts: Sequence[tuple[str, Text]]  #: what backs it: labels and words
    sections: Sequence[Section]
