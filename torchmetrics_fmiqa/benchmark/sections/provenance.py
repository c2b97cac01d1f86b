"""How a report was made, and what is not in it."""

from __future__ import annotations

from torchmetrics_fmiqa.benchmark.sections.agreement import notes_of
from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.report.document import Section, Text, several


def made_section(study: Study) -> Section:
    """Inputs, metrics that did not run, files that are missing, and notes."""
    table = study.table
    types = "" if table.type is None else f", {several(len(set(table.type.tolist())), 'type')} of distortion"
    lead: list[Text] = [
        (
            f"{several(len(table.scores), 'metric')} on {several(len(table.opinion), 'image')} of "
            f"{several(study.analysis.references, 'reference')}{types}"
            + (
                f"; the images are in {study.folder.resolve()}."
                if study.folder is not None
                else "; from scores, without images."
            ),
        )
    ]
    absent = [
        what
        for what, found in (
            ("agreement against depth", study.layers),
            ("slight changes", study.analysis.robustness),
            ("attacks", study.attacks),
            ("the aggregate", study.desirability),
            ("ImageNet accuracy", study.accuracy),
            ("misjudged images", study.outliers),
            ("use as a loss", study.usefulness),
            ("cost", study.cost),
        )
        if not found
    ]
    if absent:
        lead.append((f"Not in this report, as not asked for or not to be told from the inputs: {', '.join(absent)}.",))
    lists = (
        (f"Metrics that did not run ({len(study.skipped):,})", tuple((one.name, one.reason) for one in study.skipped)),
        (f"Missing or broken ({len(study.missing):,})", tuple((one.name, one.reason) for one in study.missing)),
        (f"Notes ({len(notes_of(study.analysis)):,})", notes_of(study.analysis)),
    )
    return Section("made", "How this was made", tuple(lead), lists=tuple(one for one in lists if one[1]))
