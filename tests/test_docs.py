"""The documentation: its Python runs, its links lead somewhere, and its reference has every public name.

A block marked ``python`` is run, in the order of its page; one marked ``py`` needs a download or a file of the reader.
"""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path
from typing import Any

import pytest

import torchmetrics_fmiqa

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")), *DOCS.rglob("*.md")])
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOP = ("torchmetrics_fmiqa", "benchmarks", "tests", "train", "examples", "docs")
PATH = re.compile(rf"`((?:{'|'.join(TOP)})/[\w./-]*)")


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text())


def run(block: str, name: str, line: int, names: dict[str, Any]) -> None:
    """Run a block; where it has prompts, what it prints must be what is written."""
    if ">>>" not in block:
        exec(compile("\n" * line + block, name, "exec"), names)
        return
    example = doctest.DocTestParser().get_doctest(block, names, name, name, line)
    runner = doctest.DocTestRunner()
    runner.run(example, clear_globs=False)
    names.update(example.globs)
    assert not runner.summarize(verbose=False).failed


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    text = page.read_text()
    for found in BLOCK.finditer(text):
        run(found[1], str(page), text[: found.start(1)].count("\n"), names)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(notebook.read_text())["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{notebook.name}[{number}]", "exec"), names)


def test_the_links_of_a_page_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.relative_to(ROOT)} links to {link}, which is not there"


def test_the_files_that_pages_name_are_there() -> None:
    files = [f"/{path.relative_to(ROOT).as_posix()}" for top in TOP for path in (ROOT / top).rglob("*.py")]
    for page in PAGES:
        text = page.read_text()
        for path in PATH.findall(text):
            if not re.search("[A-Z]{3}", path):  # FAMILY, NAME: for the reader to fill in
                assert (ROOT / path).exists(), f"{page.relative_to(ROOT)} names {path}, which is not there"
        for name in re.findall(r"`([\w./-]+\.py)\b", text):
            known = re.search("[A-Z]{3}", name) or any(file.endswith(f"/{name}") for file in files)
            assert known, f"{page.relative_to(ROOT)} names {name}, which is not there"


def test_no_line_of_a_page_is_taken_for_a_comment() -> None:
    for page in PAGES:  # MyST leaves out what follows a % at the start of a line
        assert not re.search(r"^ *% ", page.read_text(), re.MULTILINE), page.relative_to(ROOT)


def test_the_reference_has_every_public_name() -> None:
    page = (DOCS / "reference" / "api.rst").read_text()
    for name in torchmetrics_fmiqa.__all__:
        assert re.search(rf"^ +{name}$|data:: {name}$", page, re.MULTILINE), name


def test_what_a_property_is_stands_before_no_colon() -> None:
    # Sphinx takes what stands before the first colon for the type of the property.
    public = [getattr(torchmetrics_fmiqa, name) for name in torchmetrics_fmiqa.__all__]
    for kind in public:
        for name, value in vars(kind).items() if isinstance(kind, type) else ():
            if isinstance(value, property) and not name.startswith("_"):
                assert ": " not in (value.__doc__ or "").splitlines()[0], f"{kind.__name__}.{name}"


def test_the_readme_is_read_in_ninety_seconds() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
