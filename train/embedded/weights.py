"""Weights of a network in a file: half precision, with what made them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from torchmetrics_fmiqa.features.embedded import EmbeddedNetwork


def save_weights(network: EmbeddedNetwork, path: Path, facts: Mapping[str, str]) -> None:
    """Write the weights as half-precision safetensors; ``facts`` go into the file's metadata."""
    state = network.state_dict()
    save_file({name: value.to("cpu", torch.float16).contiguous() for name, value in state.items()}, path, dict(facts))


def load_weights(path: Path) -> EmbeddedNetwork:
    """The network that a file holds, in float32.

    Raises:
        ValueError: if there is no such file.
    """
    if not path.is_file():
        raise ValueError(f"there are no weights {str(path)!r}")
    state = {name: value.float() for name, value in load_file(path).items()}
    last = {int(name.split(".")[1]): len(value) for name, value in state.items() if name.endswith("layers.0.weight")}
    network = EmbeddedNetwork(channels=[last[number] for number in sorted(last)])
    network.load_state_dict(state)
    return network


def load_facts(path: Path) -> dict[str, str]:
    """The metadata of a file."""
    with safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def commit() -> str:
    """The commit that is checked out, with ``+`` where files differ from it; ``unknown`` without git."""
    folder = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
