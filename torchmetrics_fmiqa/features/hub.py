"""Pretrained weights without a network: say so at once, not after a minute of retries."""

from __future__ import annotations

import os
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlparse


def check_reachable(repository: str) -> None:
    """Check that a Hugging Face repository is in the cache, or that the hub can be reached.

    Anything unusual (a proxy, offline mode) is left to huggingface_hub itself.

    Args:
        repository: such as ``timm/vit_base_patch16_224.dino``.

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
    """Check that the host of an address has one, so that a download does not try for as long as the system lets it.

    Behind a proxy nothing is checked.

    Raises:
        OSError: if its name cannot be resolved, or it does not answer.
    """
    if urllib.request.getproxies():
        return
    parts = urlparse(url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=5).close()
    except OSError as error:
        raise OSError(f"{parts.hostname} cannot be reached ({error.strerror or error})") from error
