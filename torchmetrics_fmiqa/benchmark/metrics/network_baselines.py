"""LPIPS and DISTS of torchmetrics, whose trunks are torchvision's: from FMIQA_ASSETS, torch's cache or the network."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

import torch
import torchmetrics
from torch import Tensor, nn

from torchmetrics_fmiqa.benchmark.metrics.metric import Metric, Skipped, library_metric
from torchmetrics_fmiqa.features.building import OwnRandomNumbers, built_in_the_open
from torchmetrics_fmiqa.features.weights import WeightsUnavailableError, check_host, read_state_dict, strict_load

#: Trunks of LPIPS, by the names that papers give them.
LpipsNet = Literal["alex", "vgg", "squeeze"]

_TORCHVISION_NAMES = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}

# The least sides that the strides and poolings of each trunk leave a pixel of.
_LPIPS_SIDES: dict[LpipsNet, int] = {"alex": 31, "vgg": 16, "squeeze": 17}

#: Name to trunk; plain LPIPS is the AlexNet one, as its authors advise.
LPIPS: dict[str, LpipsNet] = {"lpips": "alex", "lpips-alex": "alex", "lpips-vgg": "vgg", "lpips-squeeze": "squeeze"}


def lpips_network(net: LpipsNet = "alex", pretrained: bool = True) -> nn.Module:
    """Build LPIPS (Zhang et al., CVPR 2018, version 0.1) as torchmetrics has it, frozen and in evaluation mode.

    The trunk is read from ``$FMIQA_ASSETS/weights/NAME.safetensors`` if there is one (``alexnet``, ``vgg16``,
    ``squeezenet1_1``), else from torch's cache (``$TORCH_HOME/hub/checkpoints``), else downloaded into that.

    ``pretrained=False`` leaves its weights random, for tests of speed. The module is called as
    ``module(preds, target, normalize=True)`` for images ``(N, 3, H, W)`` in [0, 1], and gives ``(N, 1, 1, 1)``.

    Raises:
        ValueError: for another ``net``, or if the file in ``FMIQA_ASSETS`` does not fit.
        WeightsUnavailableError: if the trunk is nowhere and cannot be downloaded.

    >>> lpips_network("squeeze", pretrained=False)(*torch.rand(2, 1, 3, 32, 32), normalize=True).shape
    torch.Size([1, 1, 1, 1])
    """
    # Private, since the public class downloads the trunk as it is made and cannot be told where it lies.
    from torchmetrics.functional.image.lpips import _LPIPS

    if net not in _TORCHVISION_NAMES:
        raise ValueError(f"`net` must be one of {', '.join(_TORCHVISION_NAMES)}, got {net!r}")
    trunk, source = _trunk(net) if pretrained else ({}, "")
    with built_in_the_open(), OwnRandomNumbers(0):  # random first weights must not move the user's seed
        network: nn.Module = _LPIPS(net=net, pnet_rand=True)
        if pretrained:
            slices: Any = network.net
            # "slices.1.3.squeeze.weight" and "slice2.3.weight" are torchvision's "features.3..."
            theirs = {name: re.sub(r"^slices?\.?\d+", "features", name) for name in slices.state_dict()}
            fitting = {own: trunk[name] for own, name in theirs.items() if name in trunk}
            strict_load(slices, fitting, source, optional="classifier")
    return network.eval().requires_grad_(False)


def network_baseline(name: str, device: torch.device) -> Metric | Skipped:
    """Make ``dists`` or one of :data:`LPIPS` on a device, or say why it is skipped.

    Raises:
        ValueError: if a file in ``FMIQA_ASSETS`` is broken.
    """
    try:
        network = _dists_network() if name == "dists" else lpips_network(LPIPS[name])
    except WeightsUnavailableError as error:
        return Skipped(name, str(error))
    network = network.to(device)

    def lpips(preds: Tensor, target: Tensor) -> Tensor:
        return torch.as_tensor(network(preds, target, normalize=True))

    def dists(preds: Tensor, target: Tensor) -> Tensor:
        # Without being told, it would run in inference mode and give a loss no gradient.
        gradient = torch.is_grad_enabled() and preds.requires_grad
        return torch.as_tensor(network(preds, target, require_grad=gradient))

    score, source, side = dists, "dists", 1
    if name != "dists":
        score, source, side = lpips, f"lpips {LPIPS[name]}", _LPIPS_SIDES[LPIPS[name]]
    source = f"torchmetrics {torchmetrics.__version__}: {source}"
    return library_metric(name, score, device, source, side, network=network)


def _dists_network() -> nn.Module:
    from torchmetrics.functional.image.dists import DISTSNetwork

    _checkpoint("vgg")  # DISTSNetwork reads this very file again, without asking that it hold tensors alone
    with built_in_the_open(), OwnRandomNumbers(0):
        return DISTSNetwork().eval().requires_grad_(False)


def _trunk(net: str) -> tuple[dict[str, Tensor], str]:
    """The weights of a trunk under torchvision's names, and where they are from."""
    assets = os.environ.get("FMIQA_ASSETS")
    file = Path(assets or "") / "weights" / f"{_TORCHVISION_NAMES[net]}.safetensors"
    if assets and file.is_file():
        return read_state_dict(str(file)), str(file)
    try:
        return _checkpoint(net), _TORCHVISION_NAMES[net]
    except WeightsUnavailableError as error:
        hint = f"or set FMIQA_ASSETS to a folder that has weights/{file.name}"
        raise WeightsUnavailableError(f"{error}; {hint}") from error


def _checkpoint(net: str) -> dict[str, Tensor]:
    """Torchvision's own weights, from torch's cache or downloaded into it.

    Raises:
        WeightsUnavailableError: in one line.
    """
    from torchvision.models import get_model_weights

    name = _TORCHVISION_NAMES[net]
    weights = get_model_weights(name).DEFAULT
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name
    try:
        if not cached.exists():
            check_host(weights.url)
        with contextlib.redirect_stdout(sys.stderr):  # torch.hub announces a download on standard output
            state: dict[str, Tensor] = weights.get_state_dict(
                progress=False, check_hash=True, weights_only=True, map_location="cpu"
            )
    except Exception as error:  # a broken file raises almost anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if cached.exists():
            raise WeightsUnavailableError(f"{cached} cannot be read: remove it ({reason})") from error
        raise WeightsUnavailableError(
            f"needs the weights of {name}, which are not in {cached.parent} and cannot be downloaded: {reason}"
        ) from error
    return state
