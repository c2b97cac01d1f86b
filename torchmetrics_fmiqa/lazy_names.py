"""Lazy re-export of names: a package loads them at first use, so that importing it is cheap."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that imports a name from its home at first use.

    Args:
        package: the package that re-exports the names.
        homes: name -> its module, relative to ``torchmetrics_fmiqa``.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"torchmetrics_fmiqa.{homes[name]}"), name)

    return load
