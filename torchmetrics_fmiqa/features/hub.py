"""Pretrained weights without a network: say so at once, not after a minute of retries."""

from __future__ import annotations

import os
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlparse


def check_reachable(repository: str) -> None:
    """Check that a Hugging Face repository is in the cache, or that the hub has an address.

    Anything unusual (a proxy, offline mode) is left to huggingface_hub itself.

    Args:
        repository: such as ``timm/vit_base_patch16_224.dino``.

    Raises:
        OSError: if it is not in the cache and the hub's name cannot be resolved.
    """
    from huggingface_hub import constants

    cached = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    if cached.exists() or urllib.request.getproxies() or os.environ.get("HF_HUB_OFFLINE"):
        return
    host = urlparse(constants.ENDPOINT).hostname or ""
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        raise OSError(f"{host} cannot be reached ({error.strerror or error}) and {repository} is not cached") from error
