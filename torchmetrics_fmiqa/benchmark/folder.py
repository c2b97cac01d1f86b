"""The folder of a benchmark: made from one set of inputs, and refused to another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.data.opening import file_digest


def claim(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Make the folder for these inputs, or take it up if it was made for the same.

    Args:
        folder: the folder.
        inputs: what its results depend on, in values that JSON has.

    Raises:
        ValueError: if it holds something else, naming what differs.
    """
    note = folder / "inputs.json"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is a file: give a folder")
    if note.is_file():
        before = json.loads(note.read_text())
        other = [name for name in sorted({*before, *inputs}) if before.get(name) != inputs.get(name)]
        if other:
            raise ValueError(
                f"{folder} was made from other inputs ({', '.join(other)} differ): give another folder, or remove it"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds files that are no benchmark: give a folder of its own")
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(dict(inputs), indent=1, sort_keys=True) + "\n")


def content(path: Path) -> str:
    """Digest of a file's content.

    Raises:
        ValueError: if it is not there, or no regular file.
    """
    return file_digest(path)
