"""Image quality during training and validation without a framework: steps in, a report out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmetrics_fmiqa.lazy_names import lazy_names

if TYPE_CHECKING:
    from torchmetrics_fmiqa.monitoring.monitor import QualityMonitor
    from torchmetrics_fmiqa.monitoring.report import QualityReport
    from torchmetrics_fmiqa.monitoring.report_logging import log_report
    from torchmetrics_fmiqa.monitoring.worst_images import WorstImage

__all__ = ["QualityMonitor", "QualityReport", "WorstImage", "log_report"]

__getattr__ = lazy_names(
    __name__,
    {
        "QualityMonitor": "monitoring.monitor",
        "QualityReport": "monitoring.report",
        "WorstImage": "monitoring.worst_images",
        "log_report": "monitoring.report_logging",
    },
)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
