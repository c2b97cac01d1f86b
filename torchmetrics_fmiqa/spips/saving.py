"""A fusion head on disk: one ``.safetensors`` file, whose metadata says what it is and what it was made for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.spips.head import FusionHead, OpinionScale

_KEY = "fmiqa_fusion_head"
# Raise it when the same fields start to mean another number.
_VERSION = 1


def save_head(head: FusionHead, path: str | Path) -> None:
    """Write a head to ``path``.

    Raises:
        ValueError: for a path that does not end in ``.safetensors``.

    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "head.safetensors"
    >>> save_head(FusionHead(["near", "far"], made_for="recipe 1"), path)
    >>> load_head(path, names=["near", "far"], made_for="recipe 1").names
    ('near', 'far')
    >>> load_head(path, made_for="recipe 2")
    Traceback (most recent call last):
    ...
    ValueError: ...head.safetensors was made for 'recipe 1', not for 'recipe 2': train a head for that
    """
    from safetensors.torch import save_file

    if Path(path).suffix != ".safetensors":
        raise ValueError(f"a head is saved as .safetensors, got {str(path)!r}")
    about = {
        "version": _VERSION,
        "names": head.names,
        "hidden": head.hidden,
        "anchored": head.anchored,
        "made_for": head.made_for,
        "opinion": None if head.scale is None else dataclasses.asdict(head.scale),
    }
    tensors = {name: value.detach().contiguous().cpu() for name, value in head.state_dict().items()}
    save_file(tensors, path, {_KEY: json.dumps(about, sort_keys=True)})


def load_head(path: str | Path, names: Sequence[str] | None = None, made_for: str | None = None) -> FusionHead:
    """Read a head, in eval mode and on the CPU.

    Args:
        path: the file.
        names: the inputs that it will be given, in order; ``None`` takes what it has.
        made_for: what will compute them; ``None`` does not ask.

    Raises:
        ValueError: for a file that is not there or no head, for one of a newer version, and for a head with other
            inputs or made for something else, naming what differs.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise ValueError(f"there is no head {str(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise ValueError(f"{path} is no .safetensors file: {error}") from None
    if _KEY not in metadata:
        raise ValueError(f"{path} holds tensors, but no fusion head: give a file that `fmiqa fit` made")
    about: dict[str, Any] = json.loads(metadata[_KEY])
    if about["version"] != _VERSION:
        raise ValueError(
            f"{path} is a head of version {about['version']}, this package reads {_VERSION}: train it anew"
        )
    if names is not None and list(names) != about["names"]:
        raise ValueError(f"{path} takes the inputs {', '.join(about['names'])}; got {', '.join(names)}")
    if made_for is not None and made_for != about["made_for"]:
        raise ValueError(f"{path} was made for {about['made_for']!r}, not for {made_for!r}: train a head for that")
    hidden = about["hidden"]
    head = FusionHead(about["names"], hidden, not hidden, about["anchored"], made_for=about["made_for"])
    try:
        head.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold what its metadata says: {error}") from None
    if about["opinion"] is not None:
        head.scale = OpinionScale(**about["opinion"])
    return head.eval().requires_grad_(False)
