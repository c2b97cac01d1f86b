"""Weights of a network in a file: half precision, with what made them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

#: The file of a run that it goes on from.
CHECKPOINT = "checkpoint.pt"


def save_weights(network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
    """Write the weights as half-precision safetensors; ``facts`` go into the file's metadata."""
    state = network.state_dict()
    save_file({name: value.to("cpu", torch.float16).contiguous() for name, value in state.items()}, path, dict(facts))


def save_run(
    folder: Path, state: Mapping[str, Any], network: nn.Module, command: str, step: int, settings: Mapping[str, Any]
) -> None:
    """Write a run's ``checkpoint.pt``, whole or not at all, and the weights so far with what made them."""
    checkpoint = folder / CHECKPOINT
    fresh = checkpoint.with_suffix(".new")
    torch.save(dict(state), fresh)
    fresh.replace(checkpoint)
    facts = {"commit": commit(), "command": command, "step": str(step), "torch": torch.__version__}
    words = {name: str(value) for name, value in settings.items()}
    save_weights(network, folder / "weights.safetensors", {**facts, **words})


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
