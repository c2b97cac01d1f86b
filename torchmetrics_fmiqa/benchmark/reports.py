"""The reports of both kinds of benchmark, of opinions and of choices: which sections they have, in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from torchmetrics_fmiqa.benchmark.analysis.preference import ChoiceStudy
from torchmetrics_fmiqa.benchmark.sections.agreement import (
    agreement_section,
    pairwise_section,
    robustness_section,
    types_section,
)
from torchmetrics_fmiqa.benchmark.sections.answer import choice_facts, choice_headline, facts, headline
from torchmetrics_fmiqa.benchmark.sections.attacks_and_cost import (
    attacks_section,
    cost_section,
    loss_suitability_section,
)
from torchmetrics_fmiqa.benchmark.sections.desirability import desirability_section
from torchmetrics_fmiqa.benchmark.sections.gallery import gallery_section
from torchmetrics_fmiqa.benchmark.sections.layers import accuracy_section, layers_section
from torchmetrics_fmiqa.benchmark.sections.outliers import outliers_section
from torchmetrics_fmiqa.benchmark.sections.preference import parts_section, preference_section
from torchmetrics_fmiqa.benchmark.sections.provenance import choice_provenance_section, provenance_section
from torchmetrics_fmiqa.benchmark.sections.scatter import scatter_section
from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.report.document import Report, Section

Results = TypeVar("Results")


def study_report(study: Study) -> Report:
    """The report of a study of opinions, for :mod:`torchmetrics_fmiqa.report` to print.

    Args:
        study: what was found.

    Raises:
        ValueError: for a gallery whose pictures are not ``(h, w, 3)`` uint8 or whose maps are not finite.

    >>> import numpy as np
    >>> from torchmetrics_fmiqa.benchmark.analysis.agreement import analyse
    >>> from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
    >>> rng = np.random.default_rng(0)
    >>> mos, names = rng.uniform(1, 5, size=60), np.arange(60).astype(str)
    >>> table = ScoredTable({"near": mos + rng.normal(size=60) / 9}, {}, mos, names, names, None)
    >>> report = study_report(Study("ours", "fmiqa benchmark", table, analyse(table, "better", ["near"], 50)))
    >>> "".join(report.headline), [section.title for section in report.sections][:2]
    ('near agrees with people at an SRCC of .994.', ['Agreement', 'Image by image'])
    """
    kind = "Agreement with human opinion"
    return Report(kind, study.title, study.command, headline(study), facts(study), list(_sections(study)))


def _sections(study: Study) -> Iterator[Section]:
    """All that the study has, from agreement to how it was made."""
    analysis = study.analysis
    yield agreement_section(analysis)
    yield scatter_section(study)
    if analysis.comparison is not None:
        yield pairwise_section(analysis, analysis.comparison)
    yield types_section(analysis)
    yield from _optional(study.layers, layers_section)
    if analysis.robustness:
        yield robustness_section(analysis)
    yield from _optional(study.attacks, attacks_section)
    yield from _optional(study.desirability, desirability_section)
    yield from _optional(study.accuracy, accuracy_section)
    yield from _optional(study.outliers, outliers_section)
    if study.gallery:
        yield gallery_section(study)
    yield from _optional(study.loss_suitability, loss_suitability_section)
    yield from _optional(study.cost, cost_section)
    yield provenance_section(study)


def _optional(results: Results | None, section: Callable[[Results], Section]) -> Iterator[Section]:
    """The section of results, if there are any."""
    if results:
        yield section(results)


def choice_report(study: ChoiceStudy) -> Report:
    """The report of a study of choices.

    >>> from torchmetrics_fmiqa.benchmark.analysis.preference import ChoiceScore
    >>> scores = (ChoiceScore("near", 0.7, {"cnn": 0.7}), ChoiceScore("far", 0.6, {"cnn": 0.6}, p_holm=0.01))
    >>> study = ChoiceStudy("bapps_2afc", "fmiqa benchmark", "two_afc", scores, (), {"cnn": 9}, 9)
    >>> "".join(choice_report(study).headline)
    'near agrees best with people, at a 2AFC of .700, beyond chance.'
    """
    sections = (preference_section(study), parts_section(study), choice_provenance_section(study))
    kind = "Agreement with human choices"
    return Report(kind, study.title, study.command, choice_headline(study), choice_facts(study), sections)
