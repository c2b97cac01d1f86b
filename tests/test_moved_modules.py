"""Modules that moved in 0.2.0 are found by their old paths, with a warning that names the new one."""

from __future__ import annotations

import importlib
import re
import sys

import pytest

from torchmetrics_fmiqa.moved_modules import MOVED


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_path_gives_the_module_of_the_new_one(old: str, new: str) -> None:
    sys.modules.pop(f"torchmetrics_fmiqa.{old}", None)
    with pytest.warns(DeprecationWarning, match=re.escape(f"moved to torchmetrics_fmiqa.{new}")):
        found = importlib.import_module(f"torchmetrics_fmiqa.{old}")
    assert found is importlib.import_module(f"torchmetrics_fmiqa.{new}")
    assert found.__spec__ is not None
    assert found.__spec__.name == f"torchmetrics_fmiqa.{new}"


def test_other_paths_are_missing_as_ever() -> None:
    with pytest.raises(ModuleNotFoundError, match="nothing"):
        importlib.import_module("torchmetrics_fmiqa.nothing")
