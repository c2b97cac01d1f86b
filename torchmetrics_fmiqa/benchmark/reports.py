"""The reports of both kinds of benchmark, of opinions and of choices: which sections they have, in which order."""

from __future__ import annotations

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


def study_report(study: Study) -> Report:
    """The report of a study of opinions, for :mod:`torchmetrics_fmiqa.report` to print.

    Raises:
        ValueError: for a gallery whose maps are not finite.

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
    analysis = study.analysis
    sections = (
        agreement_section(analysis),
        scatter_section(study),
        analysis.comparison and pairwise_section(analysis, analysis.comparison),
        types_section(analysis),
        study.layers and layers_section(study.layers),
        analysis.robustness and robustness_section(analysis),
        study.attacks and attacks_section(study.attacks),
        study.desirability and desirability_section(study.desirability),
        study.accuracy and accuracy_section(study.accuracy),
        study.outliers and outliers_section(study.outliers),
        study.gallery and gallery_section(study),
        study.loss_suitability and loss_suitability_section(study.loss_suitability),
        study.cost and cost_section(study.cost),
        provenance_section(study),
    )
    kind, shown = "Agreement with human opinion", [section for section in sections if isinstance(section, Section)]
    return Report(kind, study.title, study.command, headline(study), facts(study), shown)


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
