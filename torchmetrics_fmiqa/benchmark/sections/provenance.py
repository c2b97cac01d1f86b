"""How a report was made, and what is not in it."""

from __future__ import annotations

from collections.abc import Sequence

from torchmetrics_fmiqa.benchmark.analysis.preference import ChoiceStudy
from torchmetrics_fmiqa.benchmark.sections.agreement import shown_notes
from torchmetrics_fmiqa.benchmark.sections.answer import measured_on
from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.report.document import Section
from torchmetrics_fmiqa.report.numbers import counted


def provenance_section(study: Study) -> Section:
    """Inputs, analyses that were not made, metrics that did not run, files that are missing, and notes."""
    where = "; from scores, without images."
    if study.folder is not None:
        where = f"; the images are in {study.folder.resolve()}."
    lead = [f"{counted(len(study.table.scores), 'metric')} on {measured_on(study)}{where}"]
    analyses = {
        "agreement against depth": study.layers,
        "slight changes": study.analysis.robustness,
        "attacks": study.attacks,
        "the aggregate": study.desirability,
        "ImageNet accuracy": study.accuracy,
        "misjudged images": study.outliers,
        "use as a loss": study.loss_suitability,
        "cost": study.cost,
    }
    absent = ", ".join(name for name, results in analyses.items() if not results)
    if absent:
        lead.append(f"Not in this report, as not asked for or not to be told from the inputs: {absent}.")
    notes = [(agreement.metric, note) for agreement in study.analysis.agreements for note in shown_notes(agreement)]
    return _section(study, lead, notes)


def choice_provenance_section(study: ChoiceStudy) -> Section:
    """The same of choices."""
    sizes = ", ".join(f"{part} {count:,}" for part, count in study.parts.items())
    choices = counted(sum(study.parts.values()), "choice")
    lead = [f"{choices} ({sizes}) of {counted(study.references, 'reference')}."]
    if study.lost:
        why = "as an image could not be scored; the images are listed below."
        lead.append(f"{counted(study.lost, 'choice')} left out, {why}")
    notes = [(score.metric, score.note) for score in study.scores if score.note]
    return _section(study, lead, notes)


def _section(study: Study | ChoiceStudy, lead: Sequence[str], notes: Sequence[tuple[str, str]]) -> Section:
    lists = (
        ("Metrics that did not run", [(metric.name, metric.reason) for metric in study.skipped]),
        ("Missing or broken", [(problem.name, problem.reason) for problem in study.missing]),
        ("Notes", notes),
    )
    return Section("made", "How this was made", [(text,) for text in lead], lists=lists, command=study.command)
