"""Golden results: how outputs should look, and whether new ones still do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmetrics_fmiqa.lazy_names import lazy_names

if TYPE_CHECKING:
    from torchmetrics_fmiqa.gate.assertion import assert_looks_like

__all__ = ["assert_looks_like"]

__getattr__ = lazy_names(__name__, {"assert_looks_like": "gate.assertion"})


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
