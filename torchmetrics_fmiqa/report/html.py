"""A report as one HTML page: words, tables, data, pictures and looks in one file."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from markupsafe import Markup

from torchmetrics_fmiqa.report.document import Name, Report, Text

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


def render_html(report: Report) -> str:
    """Print a report as one HTML page, to be written as UTF-8.

    It needs no network, and no other file than the pictures that it names. Whatever comes from outside is escaped, and
    the page lets no script run but its own.

    >>> page = render_html(Report("Agreement", "<ours>", "fmiqa", (Name("<near>"), " is best."), (), ()))
    >>> "<b>&lt;near&gt;</b> is best." in page, "<near>" in page, "://" in page
    (True, False, False)
    """
    page_environment = environment()
    page_environment.filters.update(words=_words, breakable=_breakable)
    viewed = any(section.viewer for section in report.sections)
    script = _read("script.js", *["viewer.js"] * viewed)
    shown = (image for section in report.sections if section.viewer for image in section.viewer.images)
    beside = any(not version.uri.startswith("data:") for image in shown for version in image.versions)
    # Pictures beside a page that is opened as a file are `file:`, and on a server they are the page's own.
    pictures = "data: 'self' file:" if beside else "data:"
    page: str = page_environment.get_template("report.html.j2").render(
        report=report,
        style=_read("style.css", *["viewer.css"] * viewed),
        script=script,
        pictures=Markup(pictures),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )
    # Names of files need not be Unicode; such a page could not be written.
    return page.encode("utf-8", "backslashreplace").decode("utf-8")


def _read(*names: str) -> Markup:
    return Markup("\n").join(Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in names)


def _breakable(name: str) -> Markup:
    """A name that may break after a joint, and not amid a word."""
    return Markup("<wbr>").join(re.split(r"(?<=[_./:-])(?=.)", name))


def _words(text: Text) -> Markup:
    return Markup("").join(Markup("<b>{}</b>").format(part) if isinstance(part, Name) else part for part in text)
