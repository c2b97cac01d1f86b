"""The trunks of LPIPS for tests: torchmetrics and the lpips package get those of this package, without a download."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace

import pytest
import torchmetrics.functional.image.lpips as of_torchmetrics
from torch import nn

from tests.conftest import SQUEEZENET
from torchmetrics_fmiqa.features.channel_weights import LPIPS_BACKBONES
from torchmetrics_fmiqa.features.network import Network, load_network

NETS = tuple(LPIPS_BACKBONES)


def weights_of(net: str) -> str:
    """The real trunk where the assets have it, else a random one."""
    return str(SQUEEZENET) if net == "squeeze" and SQUEEZENET.exists() else "random:0"


@pytest.fixture(scope="module")
def trunks() -> Iterator[dict[str, Network]]:
    """Each network that was asked for, kept for all tests of a file: VGG-16 alone takes seconds to make."""
    kept: dict[str, Network] = {}
    patch = pytest.MonkeyPatch()

    def features(net: str) -> nn.Module:
        if net not in kept:
            kept[net] = load_network(LPIPS_BACKBONES[net], weights_of(net))
        own = copy.deepcopy(kept[net]._master.features)
        for module in own.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = True  # as torchvision has it
        return own

    names = {backbone.partition("/")[2]: net for net, backbone in LPIPS_BACKBONES.items()}
    patch.setattr(of_torchmetrics, "_get_tv_model_features", lambda name, pretrained=False: features(names[name]))
    of_package = SimpleNamespace(
        **{name: lambda pretrained, net=net: SimpleNamespace(features=features(net)) for name, net in names.items()}
    )
    with suppress(ImportError):  # the package is optional
        import lpips

        patch.setattr(lpips.pretrained_networks, "tv", of_package)
    yield kept
    patch.undo()
