"""The folder of a run: it is made from one set of inputs, and refused to another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.data.opening import read_text
from torchmetrics_fmiqa.one_writer import is_result
from torchmetrics_fmiqa.safe_write import make_folder, write_text


def open_run_folder(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Make a run's folder and note its inputs there; a folder that is there must have been made from the same inputs.

    Args:
        folder: the folder.
        inputs: what its results depend on, in values that JSON has; tuples are written as lists.

    Raises:
        ValueError: if it holds something else, naming what differs, and if its note of the inputs is damaged.
    """
    note = folder / "inputs.json"
    inputs = json.loads(json.dumps(dict(inputs)))
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is a file: give a folder")
    # Listed before the look at the note, which another run of the same inputs may write at this moment.
    results = folder.is_dir() and any(is_result(path) for path in folder.iterdir())
    if note.exists():
        before = read_note(note)
        other = [name for name in sorted({*before, *inputs}) if before.get(name) != inputs.get(name)]
        if other:
            raise ValueError(
                f"{folder} was made from other inputs ({', '.join(other)} differ): give another folder, or remove it"
            )
        return
    if results:
        raise ValueError(f"{folder} holds files that are no results of this command: give a folder of its own")
    make_folder(folder)
    write_text(note, json.dumps(inputs, indent=1, sort_keys=True) + "\n")


def read_note(path: Path) -> dict[str, Any]:
    """What a folder's note in JSON says.

    Raises:
        ValueError: for a damaged note, naming it and what to do.
    """
    fix = f"what {path.parent} was made from is no longer known: remove that folder, or give another"
    try:
        note = json.loads(read_text(path))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); {fix}") from None
    if not isinstance(note, dict):
        raise ValueError(f"{path} is damaged (it holds no table of names and values); {fix}")
    return note
