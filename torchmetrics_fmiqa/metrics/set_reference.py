"""What a metric between sets knows of its references, as a ``.safetensors`` file that names what it depends on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.data.opening import check_file
from torchmetrics_fmiqa.safe_write import write_bytes

_KEY = "fmiqa_set_reference"
# Increase it when the same fields give other numbers than before.
_VERSION = 1
_NAME = "target"


def write_reference(path: str | Path, kind: str, values: Tensor, fields: dict[str, Any], overwrite: bool) -> None:
    """Write a reference.

    Args:
        path: a file name that ends in ``.safetensors``.
        kind: of the values: of one kind of metric.
        values: what is known of the references.
        fields: what they depend on, as plain values.
        overwrite: replace a file that exists.

    Raises:
        ValueError: for another ending, a file that exists, and if the system refuses to write it.
    """
    from safetensors.torch import save

    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"a reference is saved as .safetensors, got {str(path)!r}")
    if path.exists() and not overwrite:
        raise ValueError(f"{str(path)!r} exists: give another name, or overwrite=True to replace it")
    exact = values.float()
    values = exact if torch.equal(exact.to(values.dtype), values) else values  # half the size where nothing is lost
    text = json.dumps({"version": _VERSION, "kind": kind, **fields}, sort_keys=True)
    write_bytes(path, save({_NAME: values.detach().cpu().contiguous()}, {_KEY: text}))


def read_reference(path: str | Path, kind: str, fields: dict[str, Any]) -> Tensor:
    """Read a reference, on the CPU in float64.

    Args:
        path: the file.
        kind: the kind that it must be.
        fields: what its values must depend on.

    Raises:
        ValueError: for a file that does not exist, holds something else, or was made with other features; the message
            names what differs.
    """
    from safetensors import SafetensorError, safe_open

    check_file(path, "reference")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            values: Tensor | None = file.get_tensor(_NAME) if _NAME in file.keys() else None  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is no .safetensors file: {error}") from None
    if _KEY not in metadata or values is None:
        raise ValueError(f"{path} holds no references: give a file that save_reference made")
    try:
        found = json.loads(metadata[_KEY])
        version, found_kind = found["version"], found["kind"]
        features = found["features"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is damaged: its metadata cannot be read; save the references anew") from None
    if version != _VERSION:
        raise ValueError(f"{path} is of version {version}, this package reads {_VERSION}: save the references anew")
    if found_kind != kind:
        raise ValueError(f"{path} holds {found_kind} of references, but this metric takes {kind}: save them with it")
    wanted = {**fields, **fields["features"]}
    given = {**found, **features}
    names = [name for name in wanted if name not in ("digest", "features") and wanted[name] != given.get(name)]
    if names or given["digest"] != fields["digest"]:
        differing = "; ".join(f"{name} is {given.get(name)!r} there and {wanted[name]!r} here" for name in names)
        raise ValueError(
            f"{path} was made with other features (digest {found.get('digest')}, not {fields['digest']}): "
            f"{differing or 'the fields of the recipe differ'}"
        )
    if not values.isfinite().all():
        raise ValueError(f"{path} is damaged: it holds values that are not finite; save the references anew")
    return values.double()
