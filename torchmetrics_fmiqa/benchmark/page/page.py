"""The report of a study."""

from __future__ import annotations

from torchmetrics_fmiqa.benchmark.page.answer import facts, headline
from torchmetrics_fmiqa.benchmark.page.pictures import exhibits
from torchmetrics_fmiqa.benchmark.page.render import render
from torchmetrics_fmiqa.benchmark.page.scatter import scatter_data
from torchmetrics_fmiqa.benchmark.page.section import Report
from torchmetrics_fmiqa.benchmark.page.sections import sections
from torchmetrics_fmiqa.benchmark.study import Study


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
    return render(report_of(study), scatter_data(study), exhibits(study))


def report_of(study: Study) -> Report:
    """What the HTML and the Markdown page say."""
    return Report(
        "Agreement with human opinion",
        study.title,
        study.command,
        headline(study),
        tuple(facts(study)),
        tuple(sections(study)),
    )
