"""What a failed gate shows: a page, a picture of each image out of bounds, and a file for the CI's test view."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from markupsafe import Markup

from torchmetrics_fmiqa.gate.check import TITLES, GateResult, ImageCheck
from torchmetrics_fmiqa.gate.golden import Golden
from torchmetrics_fmiqa.report.html import TEMPLATES, environment
from torchmetrics_fmiqa.report.panels import data_uri, heat_over, png, side_by_side
from torchmetrics_fmiqa.safe_write import make_folder, printable, write_bytes, write_text

#: Images whose pictures go into the page; all have a file of their own.
_SHOWN = 50
_SIDE = 640


def answer(result: GateResult) -> str:
    """What was found, in one sentence."""
    count = len(result.images)
    if result.holds:
        return f"{'The image looks' if count == 1 else f'All {count} images look'} as recorded."
    reasons = []
    if result.failures:
        several = f"{len(result.failures)} of {count} images look worse or different"
        reasons.append(several if count > 1 else "the image looks worse or different")
    if result.problems:
        reasons.append(f"{len(result.problems)} cannot be compared")
    if result.mean_exceeded:
        reasons.append(f"the mean distance is {result.mean:.4g}, and at most {result.mean_bound:.4g} is fine")
    text = "; ".join(reasons)
    return f"{text[0].upper()}{text[1:]}."


def picture(image: ImageCheck) -> bytes | None:
    """Golden image, output and map side by side as PNG; ``None`` for an image that passes."""
    if image.panels is None:
        return None
    golden, output, heat = image.panels
    shown = {name: (side * 255).round().to(torch.uint8) for name, side in (("golden", golden), ("got", output))}
    top = float(np.percentile(heat.float().numpy(), 99.5))
    panels = {**shown, f"heat, 0 to {top:.3g}": heat_over(shown["got"], heat, top)}
    return png(side_by_side(panels, _SIDE))


def check_report(folder: Path) -> None:
    """Check that a report would replace nothing but an earlier one.

    Raises:
        ValueError: naming a file that is no gate's.
    """
    junit = folder / "junit.xml"
    if junit.is_file() and b'name="fmiqa gate"' in junit.read_bytes():
        return
    for path in (junit, folder / "report.html", folder / "images"):
        if path.exists():
            raise ValueError(f"{str(path)!r} is of no `fmiqa gate check`: give another folder for the report")


def write_report(result: GateResult, golden: Golden, folder: Path) -> list[Path]:
    """Write ``report.html``, ``junit.xml`` and ``images/NAME.png`` of each image out of bounds.

    Returns:
        The files, the page first.

    Raises:
        WriteError: if the system refuses.
    """
    make_folder(folder)
    pictures = [(failure, picture(failure)) for failure in result.failures]
    files = [folder / "report.html", folder / "junit.xml"]
    for failure, content in pictures:
        path = folder / "images" / f"{re.sub('[^0-9A-Za-z._/-]+', '_', failure.name)}.png"
        while path in files:  # names that differ in other characters alone
            path = path.with_name(f"{path.stem}_.png")
        if content is not None:
            make_folder(path.parent)
            write_bytes(path, content)
            files.append(path)
    shown = [
        (failure, data_uri(content) if content is not None and place < _SHOWN else None)
        for place, (failure, content) in enumerate(pictures)
    ]
    page = (
        environment()
        .get_template("gate.html.j2")
        .render(
            answer=answer(result),
            result=result,
            failures=shown,
            folder=str(golden.folder),
            harmless=", ".join(golden.harmless) or "nothing",
            recipe=f"{golden.recipe} ({golden.recipe.digest})",
            titles=TITLES,
            style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        )
    )
    write_text(files[0], page)
    write_text(files[1], junit(result))
    return files


def junit(result: GateResult) -> str:
    """The result in JUnit's XML: one test an image, and one for the mean."""
    suite = ElementTree.Element(
        "testsuite",
        name="fmiqa gate",
        tests=str(len(result.images) + len(result.problems) + 1),
        failures=str(len(result.failures) + result.mean_exceeded),
        errors=str(len(result.problems)),
    )
    for image in result.images:
        case = ElementTree.SubElement(suite, "testcase", classname="fmiqa.gate", name=_xml(image.name))
        if image.exceeded:
            ElementTree.SubElement(case, "failure", message=_xml(image.reason))
    for problem in result.problems:
        case = ElementTree.SubElement(suite, "testcase", classname="fmiqa.gate", name=_xml(problem.name))
        ElementTree.SubElement(case, "error", message=_xml(problem.reason))
    case = ElementTree.SubElement(suite, "testcase", classname="fmiqa.gate", name="mean over images")
    if result.mean_exceeded:
        message = f"the mean distance is {result.mean:.4g}, at most {result.mean_bound:.4g} is fine"
        ElementTree.SubElement(case, "failure", message=message)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """A text without the characters that XML cannot hold."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "?", printable(text))
