"""Weights of networks: parse their source, identify, read, load and check them, and check that a hub is reachable."""

from __future__ import annotations

import math
import os
import pickle
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchmetrics_fmiqa.data.opening import check_file, file_digest

PRETRAINED = "pretrained"
RANDOM = "random:"


class WeightsUnavailableError(RuntimeError):
    """Pretrained weights could not be downloaded; the message says how to give a file instead."""


def parse_weights(weights: str) -> tuple[str, str | int]:
    """Split the ``weights`` field into kind and argument: pretrained, random with a seed, or file with a path.

    >>> parse_weights("random:3")
    ('random', 3)

    Raises:
        ValueError: for any other value.
    """
    if weights == PRETRAINED:
        return PRETRAINED, ""
    if weights.startswith(RANDOM):
        seed = weights.removeprefix(RANDOM)
        if not seed.isdecimal() or int(seed) >= 2**63:
            raise ValueError(f"`weights` must be 'random:SEED' with a whole number from 0 to 2^63 - 1, got {weights!r}")
        return "random", int(seed)
    path = Path(weights)
    try:
        check_file(path)
    except ValueError as error:
        raise ValueError(f"`weights` must be 'pretrained', 'random:SEED' or a file; {error}") from None
    if path.suffix not in {".safetensors", ".pth", ".pt", ".bin"}:
        raise ValueError(f"`weights` files are .safetensors or .pth (.pt, .bin), got {weights!r}")
    return "file", str(path)


def weights_identity(weights: str) -> str:
    """A text that is equal for equal weights: for a file the digest of its content, else the field itself."""
    kind, argument = parse_weights(weights)
    if kind != "file":
        return weights
    stat = Path(str(argument)).stat()
    return f"sha256:{_file_digest(str(argument), stat.st_size, stat.st_mtime_ns)}"


@lru_cache(maxsize=64)
def _file_digest(path: str, size: int, modified: int) -> str:
    return file_digest(path)


def read_state_dict(path: str) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors``, or from a ``.pth`` with only tensors; no pickled code is run.

    The wrapping of a checkpoint (``state_dict``, ``model``, a ``module.`` prefix) is removed, as timm does.

    Raises:
        ValueError: if the file is broken, or unpickling it would run code.
    """
    from safetensors import SafetensorError
    from timm.models import load_state_dict

    try:
        state = load_state_dict(path, use_ema=True, device="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, KeyError, AttributeError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"cannot read weights from {path!r}: {first_line} (only tensors are loaded, never pickled code: "
            "save the state dict with safetensors.torch.save_file)"
        ) from error
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:  # timm would load pretrained weights instead of an empty state dict
        raise ValueError(f"{path!r} holds no tensors: give a state dict")
    return tensors


def strict_load(network: nn.Module, state: Mapping[str, Tensor], source: str, optional: str | None = None) -> None:
    """Load a state dict. A classifier that does not fit is left out; any other mismatch is an error.

    Args:
        network: the network to load into.
        state: the state dict.
        source: the file, for the message.
        optional: prefix of the classifier, which no tap needs; ``None`` if there is none.

    Raises:
        ValueError: naming the missing and unexpected keys, and those of another shape.
    """
    expected: dict[str, Any] = dict(network.state_dict())
    misshapen = {name for name in expected.keys() & state.keys() if expected[name].shape != state[name].shape}
    fitting = {name: value for name, value in state.items() if name in expected and name not in misshapen}
    problems = {
        "missing": sorted(expected.keys() - state.keys()),
        "unexpected": sorted(state.keys() - expected.keys()),
        "of another shape": sorted(misshapen),
    }
    if optional is not None:
        problems = {kind: [name for name in names if not name.startswith(optional)] for kind, names in problems.items()}
    if any(problems.values()):
        raise ValueError(f"{source!r} does not fit {type(network).__name__}: {describe_keys(problems)}")
    network.load_state_dict(fitting, strict=False)


def check_finite(network: nn.Module, source: str, buffers: bool = True) -> None:
    """Check that no weight of a network is NaN or infinite, because every score would be NaN.

    Buffers may be infinite, such as attention masks.

    Args:
        network: the network to check.
        source: source of the weights, for the message.
        buffers: check buffers for NaN too.

    Raises:
        ValueError: naming the first bad weight.
    """
    checked_buffers: Iterator[tuple[str, Tensor]] = network.named_buffers() if buffers else iter(())
    for name, value in (*network.named_parameters(), *checked_buffers):
        if is_lazy(value) or value.is_meta or not value.is_floating_point() or not value.numel():
            continue
        least, most = (float(end) for end in (value if value.itemsize > 1 else value.float()).detach().aminmax())
        if math.isnan(least) or (isinstance(value, nn.Parameter) and not math.isfinite(max(-least, most))):
            raise ValueError(f"`weights`: {source} holds NaN or infinite values, first in {name!r}: give other weights")


def describe_keys(problems: Mapping[str, list[str]]) -> str:
    """List the first keys of each kind of mismatch."""

    def few(names: list[str]) -> str:
        return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")

    return "; ".join(f"{kind}: {few(names)}" for kind, names in problems.items() if names)


def check_reachable(repository: str) -> None:
    """Check that a Hugging Face repository is in the cache, or that the hub can be reached.

    Special cases (a proxy, offline mode) are left to huggingface_hub.

    Args:
        repository: name of the repository, such as ``timm/vit_base_patch16_224.dino``.

    Raises:
        OSError: if it is not in the cache and the hub cannot be reached.
    """
    from huggingface_hub import constants

    cached = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    if cached.exists() or os.environ.get("HF_HUB_OFFLINE"):
        return
    try:
        check_host(constants.ENDPOINT)
    except OSError as error:
        raise OSError(f"{error} and {repository} is not cached") from error


def check_host(url: str) -> None:
    """Check that the host of a URL answers within 5 seconds: a download would wait for the system's timeout.

    Behind a proxy nothing is checked.

    Raises:
        OSError: if the host name cannot be resolved, or the host does not answer.
    """
    if urllib.request.getproxies():
        return
    parts = urlparse(url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=5).close()
    except OSError as error:
        raise OSError(f"{parts.hostname} cannot be reached ({error.strerror or error})") from error
