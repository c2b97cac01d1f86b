"""Which of several methods gives the better images, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmetrics_fmiqa.lazy_names import lazy_names

if TYPE_CHECKING:
    from torchmetrics_fmiqa.comparison.compare_methods import compare
    from torchmetrics_fmiqa.comparison.comparison import Comparison

__all__ = ["Comparison", "compare"]

__getattr__ = lazy_names(__name__, {"Comparison": "comparison.comparison", "compare": "comparison.compare_methods"})


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
