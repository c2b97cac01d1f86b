"""The folder of one training: what it was made from, its checkpoint, and at last its head."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from torchmetrics_fmiqa.benchmark.scoring.run_folder import read_note
from torchmetrics_fmiqa.fitting.dataset import MeasuredSet
from torchmetrics_fmiqa.fitting.heads import FittedHead, HeadSpec
from torchmetrics_fmiqa.safe_write import write_text

_HEAD, _FITTED = "head.safetensors", "fitted.json"


def training_inputs(sets: Sequence[MeasuredSet], spec: HeadSpec) -> dict[str, Any]:
    """All that decides what a training gives, as JSON has it: each set by a digest of its content."""
    options = json.loads(json.dumps(asdict(spec.training)))
    return {"recipe": spec.made_for, "sets": {data.name: _digest(data) for data in sets}, **options}


def read_fitted(folder: Path, spec: HeadSpec) -> FittedHead | None:
    """The head of a training that has ended; ``None`` if it has not."""
    path = folder / _FITTED
    if not path.is_file():
        return None
    try:
        about = read_note(path)
        return FittedHead(spec.load(folder / _HEAD), int(about["epoch"]), float(about["validation"]))
    except (ValueError, KeyError, TypeError) as error:
        why = f"{_FITTED} says nothing" if isinstance(error, KeyError | TypeError) else str(error)
        warnings.warn(f"{folder} is damaged ({why}): its head is trained again", UserWarning, stacklevel=2)
        return None


def write_fitted(folder: Path, spec: HeadSpec, fitted: FittedHead) -> None:
    """Write the head, and then that it is whole."""
    spec.save(fitted.head, folder / _HEAD)
    about = {"epoch": fitted.epoch, "validation": fitted.validation}
    write_text(folder / _FITTED, json.dumps(about, indent=2))


def _digest(data: MeasuredSet) -> str:
    digest = hashlib.sha256(f"{data.kind} {data.higher_is_better}".encode())
    for inputs in data.measured:
        flat, labels = (inputs, ()) if isinstance(inputs, Tensor) else (inputs.flat(), inputs.labels)
        digest.update(repr((labels, flat.shape)).encode())
        digest.update(flat.detach().double().cpu().numpy().tobytes())
    digest.update(data.target.astype(np.float64).tobytes())
    for names in (data.reference, data.series):
        digest.update("\n".join([] if names is None else map(str, names)).encode())
    return digest.hexdigest()[:12]
