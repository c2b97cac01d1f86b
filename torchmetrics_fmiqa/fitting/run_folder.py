"""The folder of one training: what it was made from, its checkpoint, and at last its head."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from torchmetrics_fmiqa.data.opening import read_text
from torchmetrics_fmiqa.fitting.dataset import MeasuredSet
from torchmetrics_fmiqa.safe_write import make_folder, write_text
from torchmetrics_fmiqa.spips_model.checkpoint import load_spips, save_spips
from torchmetrics_fmiqa.spips_model.model import SpipsHead
from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe

if TYPE_CHECKING:
    from torchmetrics_fmiqa.fitting.config import SpipsTraining

_MADE_FROM, _HEAD, _FITTED = "made_from.json", "head.safetensors", "fitted.json"


def made_from(sets: Sequence[MeasuredSet], recipe: SpipsRecipe, training: SpipsTraining) -> dict[str, Any]:
    """All that decides what a training gives, as JSON has it: each set by a digest of its content."""
    options = json.loads(json.dumps(asdict(training)))
    return {"recipe": recipe.digest, "sets": {one.name: _digest(one) for one in sets}, **options}


def claim(folder: Path, made: dict[str, Any]) -> None:
    """Make the folder, or check that it was made from the same.

    Raises:
        ValueError: for a folder that was made from anything else, naming what differs.
    """
    path = folder / _MADE_FROM
    if not path.is_file():
        make_folder(folder)
        _write(path, made)
        return
    before = _read(path)
    if before is None:
        raise ValueError(f"{path} is damaged, so that nothing says what {folder} was made from: delete that folder")
    other = sorted(name for name in before.keys() | made.keys() if before.get(name) != made.get(name))
    if other:
        raise ValueError(
            f"{folder} holds a training made from other inputs ({', '.join(other)} differ): give another folder, or "
            "delete it"
        )


def read_fitted(folder: Path, recipe: SpipsRecipe) -> tuple[SpipsHead, int, float] | None:
    """The head of a training that has ended, its epoch and its validation; ``None`` if it has not."""
    path = folder / _FITTED
    if not path.is_file():
        return None
    about = _read(path) or {}
    try:
        return load_spips(folder / _HEAD, recipe), int(about["epoch"]), float(about["validation"])
    except (ValueError, KeyError, TypeError) as error:
        why = f"{_FITTED} says nothing" if isinstance(error, KeyError | TypeError) else str(error)
        warnings.warn(f"{folder} is damaged ({why}): its head is trained again", UserWarning, stacklevel=2)
        return None


def write_fitted(folder: Path, recipe: SpipsRecipe, head: SpipsHead, epoch: int, validation: float) -> None:
    """Write the head, and then that it is whole."""
    save_spips(head, folder / _HEAD, recipe)
    _write(folder / _FITTED, {"epoch": epoch, "validation": validation})


def _read(path: Path) -> dict[str, Any] | None:
    """What a file says in JSON; ``None`` if it is damaged."""
    try:
        found = json.loads(read_text(path))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _write(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2))


def _digest(one: MeasuredSet) -> str:
    found = hashlib.sha256(f"{one.kind} {one.higher_is_better}".encode())
    for measured in one.measured:
        found.update(repr((measured.labels, measured.spread.shape)).encode())
        found.update(measured.flat().detach().double().cpu().numpy().tobytes())
    found.update(one.target.astype(np.float64).tobytes())
    for names in (one.reference, one.series):
        found.update("\n".join([] if names is None else map(str, names)).encode())
    return found.hexdigest()[:12]
