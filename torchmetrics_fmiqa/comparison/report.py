"""The page of a comparison: the answer, the scores, the images themselves, and what backs the answer."""

from __future__ import annotations

from pathlib import Path

from torchmetrics_fmiqa.comparison.comparison import Comparison
from torchmetrics_fmiqa.comparison.findings import Findings
from torchmetrics_fmiqa.comparison.gallery import Gallery, make_gallery
from torchmetrics_fmiqa.comparison.heat import Heat
from torchmetrics_fmiqa.comparison.sections import (
    differences_section,
    facts,
    gallery_section,
    images_section,
    metrics_section,
    plane_section,
    provenance_section,
    scores_section,
    sets_section,
)
from torchmetrics_fmiqa.report.document import Report
from torchmetrics_fmiqa.report.html import render_html
from torchmetrics_fmiqa.safe_write import make_folder, write_text


def comparison_report(comparison: Comparison, gallery: Gallery, command: str = "") -> Report:
    """The report of a comparison, for :mod:`torchmetrics_fmiqa.report` to print.

    Args:
        comparison: what was found.
        gallery: pictures of some of the images.
        command: the command that made it.
    """
    findings = Findings(comparison)
    sections = (
        scores_section(findings),
        gallery_section(gallery),
        plane_section(findings),
        differences_section(findings),
        images_section(findings),
        metrics_section(findings),
        sets_section(findings),
        provenance_section(findings, command),
    )
    title = ", ".join(findings.methods)
    kept = [section for section in sections if section is not None]
    return Report("Comparison of methods", title, command, comparison.answer_text, facts(findings), kept)


def write_comparison_report(
    comparison: Comparison,
    folder: Path,
    *,
    command: str = "",
    heat: Heat | None = None,
    files: bool = False,
    seed: int = 0,
) -> list[Path]:
    """Write ``report.html``: the answer in a sentence, tables, drawings, and a viewer of the most telling images.

    Args:
        comparison: what was found.
        folder: where the page goes; it is made if it does not exist.
        command: the command that made it, to show.
        heat: map of the first metric, ``(preds, target)``, both ``(1, 3, H, W)`` float32 in [0, 1], to ``(1, 1, H, W)``
            distances; ``None`` where it has none. It is called for the images that are shown.
        files: keep the pictures as whole PNG files in ``images`` beside the page, which then holds as many as are
            chosen. Otherwise the page is one file, which holds as many as fit.
        seed: of the images that are drawn at random.

    Returns:
        The files that were written, the page first.

    Raises:
        WriteError: if the system refuses a file.
    """
    make_folder(folder)
    best, second = Findings(comparison).order[:2]
    gallery = make_gallery(comparison.scores, (best, second), comparison.match, heat, folder if files else None, seed)
    page = folder / "report.html"
    write_text(page, render_html(comparison_report(comparison, gallery, command)))
    return [page, *gallery.files]
