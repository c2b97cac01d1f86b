"""The page itself: sections, data and looks put into one file."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from markupsafe import Markup

from torchmetrics_fmiqa.benchmark.page.answer import facts, headline
from torchmetrics_fmiqa.benchmark.page.numbers import amount, signed
from torchmetrics_fmiqa.benchmark.page.pictures import exhibits
from torchmetrics_fmiqa.benchmark.page.scatter import scatter_data, scatter_drawing
from torchmetrics_fmiqa.benchmark.page.section import Name, Text
from torchmetrics_fmiqa.benchmark.page.sections import sections
from torchmetrics_fmiqa.benchmark.study import Study

_TEMPLATES = Path(__file__).parent / "templates"


def write_html(study: Study) -> str:
    """A study as one HTML page that needs no network and no other file.

    Names of metrics, types and files may hold anything: they are escaped, and the page lets no script run but its own.

    Args:
        study: what was found.

    Returns:
        The page, to be written as UTF-8.

    Raises:
        ValueError: for a gallery whose pictures are not ``(h, w, 3)`` uint8 or whose maps are not finite.

    >>> import numpy as np
    >>> from torchmetrics_fmiqa.benchmark.analysis import analyse
    >>> from torchmetrics_fmiqa.benchmark.scored import ScoredTable
    >>> rng = np.random.default_rng(0)
    >>> mos, names = rng.uniform(1, 5, size=60), np.arange(60).astype(str)
    >>> reference = (np.arange(60) // 6).astype(str)
    >>> scores = {"<near>": mos + rng.normal(size=60) / 9, "far": mos[::-1]}
    >>> table = ScoredTable(scores, {}, mos, reference, names, None)
    >>> found = analyse(table, "better", ["<near>", "far"], resamples=50)
    >>> page = write_html(Study("ours", "fmiqa benchmark", table, found))
    >>> "<b>&lt;near&gt;</b> agrees best with people" in page, "<near>" in page, "://" in page
    (True, False, False)
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(words=_words, breakable=_breakable, amount=amount, signed=lambda value: signed(value, 1))
    script = Markup((_TEMPLATES / "script.js").read_text(encoding="utf-8"))
    data = scatter_data(study)
    page = environment.get_template("report.html.j2").render(
        study=study,
        headline=headline(study),
        facts=facts(study),
        sections=sections(study),
        scatter=data,
        scatter_drawing=scatter_drawing(data),
        exhibits=exhibits(study),
        style=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),
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
