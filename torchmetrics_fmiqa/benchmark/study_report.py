"""The report of a study, as an HTML page and as a Markdown page."""

from __future__ import annotations

from torchmetrics_fmiqa.benchmark.sections.agreement import (
    agreement_section,
    beats_section,
    facts,
    headline,
    robustness_section,
    types_section,
)
from torchmetrics_fmiqa.benchmark.sections.attacks_and_cost import attacks_section, cost_section, usefulness_section
from torchmetrics_fmiqa.benchmark.sections.desirability import desirability_section
from torchmetrics_fmiqa.benchmark.sections.gallery import exhibits, gallery_section
from torchmetrics_fmiqa.benchmark.sections.layers import accuracy_section, layers_section
from torchmetrics_fmiqa.benchmark.sections.outliers import outliers_section
from torchmetrics_fmiqa.benchmark.sections.provenance import made_section
from torchmetrics_fmiqa.benchmark.sections.scatter import scatter_data, scatter_drawing, scatter_section
from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.report.document import Report, Section
from torchmetrics_fmiqa.report.html import render
from torchmetrics_fmiqa.report.markdown import markdown


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
    >>> from torchmetrics_fmiqa.benchmark.analysis.agreement import analyse
    >>> from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
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
    data = scatter_data(study)
    return render(report_of(study), data, None if data is None else scatter_drawing(data), exhibits(study))


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


def sections(study: Study) -> list[Section]:
    """All that the study has, from agreement to how it was made."""
    found = [agreement_section(study.analysis), scatter_section(study)]
    if study.analysis.comparison is not None:
        found.append(beats_section(study.analysis, study.analysis.comparison))
    found.append(types_section(study.analysis))
    if study.layers:
        found.append(layers_section(study.layers))
    if study.analysis.robustness:
        found.append(robustness_section(study.analysis))
    if study.attacks:
        found.append(attacks_section(study.attacks))
    if study.desirability is not None:
        found.append(desirability_section(study.desirability))
    if study.accuracy:
        found.append(accuracy_section(study.accuracy))
    if study.outliers:
        found.append(outliers_section(study.outliers))
    if study.gallery:
        found.append(gallery_section(study))
    if study.usefulness:
        found.append(usefulness_section(study.usefulness))
    if study.cost:
        found.append(cost_section(study.cost))
    found.append(made_section(study))
    return found


def write_markdown(study: Study) -> str:
    r"""A study as one Markdown page, with the sections of the HTML page and its words, without the drawings.

    Args:
        study: what was found.

    >>> import numpy as np
    >>> from torchmetrics_fmiqa.benchmark.analysis.agreement import analyse
    >>> from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
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
