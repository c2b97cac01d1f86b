"""What importing costs: nothing until something is used."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import torchmetrics_fmiqa

HEAVY = {"torch", "lightning", "kornia", "matplotlib", "typer", "pandas", "timm", "torchvision", "pyarrow", "PIL"}


def loaded_after(code: str) -> set[str]:
    """Top-level packages in a fresh process after some code."""
    report = "import json, sys; print('\\n' + json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_package_itself_loads_nothing_heavy():
    assert not loaded_after("import torchmetrics_fmiqa") & HEAVY


def test_the_metric_loads_no_more_than_torchmetrics_does():
    # torchmetrics itself loads torchvision, PIL and, where it is installed, matplotlib.
    loaded = loaded_after("from torchmetrics_fmiqa import FeatureDistance")
    assert not loaded & (HEAVY - {"torch", "torchvision", "PIL", "matplotlib"})
    assert "pytorch_lightning" not in loaded


def test_help_loads_no_torch():
    code = """
import sys
from torchmetrics_fmiqa.cli import app
sys.argv = ["fmiqa", "--help"]
try:
    app()
except SystemExit as end:
    assert not end.code
"""
    assert not loaded_after(code) & (HEAVY - {"typer"})


def test_help_through_the_console_script_loads_no_torch():
    code = """
import sys
from torchmetrics_fmiqa.cli import main
sys.argv = ["fmiqa", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code
"""
    assert "torch" not in loaded_after(code)


@pytest.mark.parametrize("name", torchmetrics_fmiqa.__all__)
def test_every_public_name_resolves(name):
    assert getattr(torchmetrics_fmiqa, name) is not None
    assert name in dir(torchmetrics_fmiqa)


def test_all_is_every_lazy_name():
    assert set(torchmetrics_fmiqa.__all__) == set(torchmetrics_fmiqa._HOMES)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'FeatureDistence'"):
        _ = torchmetrics_fmiqa.FeatureDistence


@pytest.mark.parametrize("folder", ["examples", "benchmarks", "train"])
def test_scripts_import_what_there_is(folder: str) -> None:
    """Nobody runs them all: a name that moved would be found by the first reader."""
    for path in sorted((Path(__file__).parents[1] / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torchmetrics_fmiqa"):
                module = importlib.import_module(str(node.module))
                for name in (one.name for one in node.names):
                    found = hasattr(module, name) or importlib.util.find_spec(f"{node.module}.{name}")
                    assert found, f"{path}: there is no {name} in {node.module}"
