"""The house keeps its order: imports go down the rooms, no two files import each other, files stay small."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import torchmetrics_fmiqa

PACKAGE = "torchmetrics_fmiqa"
ROOT = Path(torchmetrics_fmiqa.__file__).parent
MOST_LINES = 350

#: From the front doors down. A room imports only from rooms below it; those of one line may not know each other.
ROOMS = (
    ("__main__",),
    ("cli",),
    ("fitting",),
    ("callbacks", "comparison", "gate", "compat", "integrations"),
    ("monitoring",),
    ("benchmark",),
    ("metrics", "losses", "video_loss"),
    ("functional",),
    ("scoring",),
    ("spips_model",),
    ("comparator",),
    ("recipes",),
    ("distances", "grid"),
    ("features",),
    ("report", "plotting", "memory", "reduction"),
    ("data",),
    ("statistics",),
    # Small helpers of all rooms.
    ("arguments", "lazy_names", "yaml_text", "one_writer", "safe_write", "misuse", "locks", "moved_modules"),
)
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
FILES = sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    """The module of a file."""
    return ".".join((PACKAGE, *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


def room_of(module: str) -> str:
    """The room that a module is in; the package itself has none."""
    return [*module.split("."), ""][1]


def imports_of(path: Path) -> Iterator[str]:
    """The modules of this package that a file imports, also late or for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in MODULES else str(node.module)


IMPORTS = {name: sorted(set(imports_of(path))) for name, path in MODULES.items()}


def test_each_file_is_in_a_room_that_this_list_knows():
    assert {room_of(name) for name in MODULES} - {""} == set(LEVEL)


@pytest.mark.parametrize("room", LEVEL)
def test_imports_go_down(room: str):
    upward = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        if room_of(name) == room
        for other in others
        if room_of(other) not in ("", room) and LEVEL[room_of(other)] <= LEVEL[room]
        # the small helpers may know each other
        if LEVEL[room] < len(ROOMS) - 1
    ]
    assert not upward


def test_no_files_import_each_other():
    # The package's own file knows all doors, and is imported for its version alone.
    below = {name: set(others) - {PACKAGE} for name, others in IMPORTS.items() if name != PACKAGE}
    try:
        graphlib.TopologicalSorter(below).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_and_its_public_names_are_explained(path: Path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MOST_LINES
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            overload = [one for one in node.decorator_list if isinstance(one, ast.Name) and one.id == "overload"]
            assert overload or ast.get_docstring(node), f"{node.name} has no docstring"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
            private = [alias.name for alias in node.names if alias.name.startswith("_")]
            assert not private, f"{private} of {node.module} are its own"
