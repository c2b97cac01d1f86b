"""The sections of a report, in order; those with nothing to say are left out."""

from __future__ import annotations

from torchmetrics_fmiqa.benchmark.page.agree import (
    agreement_section,
    beats_section,
    robustness_section,
    types_section,
)
from torchmetrics_fmiqa.benchmark.page.astray import outliers_section
from torchmetrics_fmiqa.benchmark.page.depth import accuracy_section, layers_section
from torchmetrics_fmiqa.benchmark.page.made import made_section
from torchmetrics_fmiqa.benchmark.page.pictures import gallery_section
from torchmetrics_fmiqa.benchmark.page.scatter import scatter_section
from torchmetrics_fmiqa.benchmark.page.section import Section
from torchmetrics_fmiqa.benchmark.page.trials import attacks_section, cost_section, usefulness_section
from torchmetrics_fmiqa.benchmark.page.whole import desirability_section
from torchmetrics_fmiqa.benchmark.study import Study


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
