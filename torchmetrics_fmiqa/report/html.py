"""A report as one HTML page: words, tables, data and looks in one file."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from torchmetrics_fmiqa.report.document import Name, Report, Text, amount, signed

#: Folder of the pages' templates, styles and scripts.
TEMPLATES = Path(__file__).parent / "templates"


def environment() -> Any:
    """Where templates are read from: all that they are given is escaped, and nothing may be missing."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(
    report: Report,
    scatter: dict[str, Any] | None = None,
    scatter_drawing: Any = None,
    exhibits: Sequence[Any] = (),
) -> str:
    """Print a report as one HTML page that needs no network and no other file.

    Whatever comes from outside is escaped, and the page lets no script run but its own.

    Args:
        report: what to print.
        scatter: data of the drawing in the section ``scatter``, if there is one.
        scatter_drawing: the drawing itself.
        exhibits: pictures of the section ``gallery``, if there is one.

    Returns:
        The page, to be written as UTF-8.
    """
    page_environment = environment()
    page_environment.filters.update(
        words=_words, breakable=_breakable, amount=amount, signed=lambda value: signed(value, 1)
    )
    script = Markup((TEMPLATES / "script.js").read_text(encoding="utf-8"))
    page: str = page_environment.get_template("report.html.j2").render(
        report=report,
        scatter=scatter,
        scatter_drawing=scatter_drawing,
        exhibits=exhibits,
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )
    # Names of files need not be Unicode; such a page could not be written.
    return page.encode("utf-8", "backslashreplace").decode("utf-8")


def _breakable(name: str) -> Markup:
    """A name that may break after a joint, and not amid a word."""
    pieces = re.split(r"(?<=[_./:-])(?=.)", name)
    return Markup("<wbr>").join(pieces)


def _words(text: Text) -> Markup:
    return Markup("").join(Markup("<b>{}</b>").format(part) if isinstance(part, Name) else part for part in text)
