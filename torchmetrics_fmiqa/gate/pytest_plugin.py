"""The pytest plugin: options of :func:`~torchmetrics_fmiqa.gate.assert_looks_like`."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def pytest_addoption(parser: Any) -> None:
    """Add ``--fmiqa-record``, ``--fmiqa-report`` and the ini option ``fmiqa_golden``."""
    group = parser.getgroup("fmiqa", "golden images (assert_looks_like)")
    group.addoption("--fmiqa-record", action="store_true", help="record what assert_looks_like is given as golden")
    group.addoption("--fmiqa-report", metavar="DIR", help="folder for pictures of what does not look as recorded")
    parser.addini("fmiqa_golden", "folder of the golden images, below the root", default="tests/golden")


def pytest_configure(config: Any) -> None:
    """Take the options over. Nothing heavy is loaded before a test asserts something."""
    from torchmetrics_fmiqa.gate.settings import SETTINGS

    SETTINGS.folder = Path(config.rootpath) / config.getini("fmiqa_golden")
    SETTINGS.record = config.getoption("fmiqa_record")
    SETTINGS.recorded.clear()
    report = config.getoption("fmiqa_report")
    SETTINGS.report = None if report is None else Path(report)
