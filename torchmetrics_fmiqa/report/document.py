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
    """One cell of a table.

    Args:
        text: what is read.
        value: what it is sorted by, in full precision; ``None`` to sort by the text, NaN to come last.
        shade: how dark its ground is, in [0, 1].
        mark: ``"win"``, ``"loss"``, ``"best"``, ``"second"`` or ``"tied"``, or several with spaces between: its looks.
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
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
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
class Scatter:
    """A drawing of points that the page's script redraws for another choice.

    Args:
        data: what the script draws, as JSON has it.
        drawing: what stands there before the script, and without it.
    """

    data: dict[str, Any]
    drawing: Markup


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
    """A version of an image: the reference, or what a method made of it.

    Args:
        name: the method's, or that it is the reference.
        uri: address of the picture: data, or a file beside the page.
        scores: the version's, as many as the viewer has metrics; none for the reference.
        heat: address of a map that is laid over the picture; empty for none.
    """

    name: str
    uri: str
    scores: Sequence[Cell] = ()
    heat: str = ""


@dataclass(frozen=True)
class ViewedImage:
    """One image in the viewer.

    Args:
        name: of the image.
        group: heading under which the image is listed.
        caption: why it is shown, and what of it.
        size: width and height of all versions, in pixels.
        versions: the reference first.
    """

    name: str
    group: str
    caption: Text
    size: tuple[int, int]
    versions: Sequence[Version]


@dataclass(frozen=True)
class Viewer:
    """Versions of images to look at side by side, under a slider, and in turn; without the script, as still pictures.

    Args:
        images: at least one; all have the same versions.
        metrics: what the versions' scores are.
        chosen: the two versions that are compared at first, by their places.
        heat: what the maps mean; empty where there are none.
    """

    images: Sequence[ViewedImage]
    metrics: Sequence[str]
    chosen: tuple[int, int]
    heat: str = ""


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
        lists: headed lists of names and what is to say of each. One without items is left out.
        scatter: a drawing that the reader can change.
        exhibits: pictures.
        viewer: pictures of several versions of each image.
        command: a command to show.
    """

    id: str
    title: str
    lead: Sequence[Text]
    how: Sequence[Text] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    terms: Sequence[tuple[Text, Text]] = ()
    lists: Sequence[tuple[str, Sequence[tuple[str, str]]]] = ()
    scatter: Scatter | None = None
    exhibits: Sequence[Exhibit] = ()
    viewer: Viewer | None = None
    command: str = ""


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
    facts: Sequence[tuple[str, Text]]
    sections: Sequence[Section]
