"""The report as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

from torchmetrics_fmiqa.benchmark.page.page import write_html

__all__ = ["write_html"]
