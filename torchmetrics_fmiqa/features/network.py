"""Frozen networks, shared in the process: built once for (backbone, weights), copied once for each device and dtype."""

from __future__ import annotations

import copy
import difflib
import math
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from torchmetrics_fmiqa.features.builders import TORCHVISION, UserModule, build_network, stages_of
from torchmetrics_fmiqa.features.building import built_in_the_open, copied_in_the_open
from torchmetrics_fmiqa.features.embedded import EMBEDDED, WEIGHTS
from torchmetrics_fmiqa.features.weights import (
    PRETRAINED,
    check_finite,
    weights_identity,
)

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# With a smaller side, torchvision's AlexNet and SqueezeNet have no pixels left at their last layers.
_TORCHVISION_MINIMUM = 64


class Network:
    """A frozen network and its properties that a comparator needs. Get one from :func:`load_network`.

    Attributes:
        name: name for messages.
        stages: names of the modules that tap indices refer to.
        mean: input mean of the network, ``None`` if unknown.
        std: input standard deviation of the network, ``None`` if unknown.
        transformer: whether it cuts the image into patches, so that tiles are its default.
        patch: patch size of a transformer.
        prefix: number of prefix tokens.
        channels_last: whether its feature maps are ``(N, H, W, C)``.
        multiple: divisor of the sides of its input.
        minimum: smallest side of its input.
        side: side of the square images that it was trained on.
        parameters: number of its parameters, with the head's.
    """

    def __init__(self, backbone: str | UserModule, weights: str) -> None:
        self._spec = (backbone, weights)
        with built_in_the_open():
            self._master = build_network(backbone, weights)
            check_finite(self._master, str(backbone) if weights == PRETRAINED else repr(weights))
        self._copies: weakref.WeakValueDictionary[tuple[torch.device, torch.dtype], nn.Module] = (
            weakref.WeakValueDictionary()
        )
        self._lock = threading.Lock()
        net: Any = self._master
        self.name = str(backbone)
        config = getattr(net, "pretrained_cfg", None) or {}
        torchvision = isinstance(backbone, str) and backbone.startswith(TORCHVISION)
        mean_std = (config.get("mean"), config.get("std"))
        self.mean: Sequence[float] | None
        self.std: Sequence[float] | None
        self.mean, self.std = _IMAGENET if torchvision else mean_std
        self.transformer = hasattr(net, "patch_embed")
        size = getattr(getattr(net, "patch_embed", None), "patch_size", None)
        self.patch = (size, size) if isinstance(size, int) else size
        self.prefix = int(getattr(net, "num_prefix_tokens", 0))
        self.channels_last = getattr(net, "output_fmt", "NCHW") == "NHWC"
        self.stages, reduction = stages_of(self.name, net)
        self.multiple = 32 if torchvision else math.lcm(reduction, *(self.patch or (1,)))
        self.minimum = _TORCHVISION_MINIMUM if torchvision else 1
        self.side = int((config.get("input_size") or (3, 224, 224))[-1])
        self.parameters = sum(parameter.numel() for parameter in net.parameters())

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return load_network, self._spec

    @property
    def tile(self) -> int:
        """The default side of a tile: 224 if it is a multiple of the patch, else the side of the training images."""
        return 224 if 224 % self.multiple == 0 else self.side

    def on(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """Return the copy of the network for a device and dtype; it is made at first use and shared while in use."""
        parameter = next(self._master.parameters(), None)
        if device.type == "cpu" and (parameter is None or parameter.dtype == dtype):
            return self._master
        with self._lock, copied_in_the_open():
            net = self._copies.get((device, dtype))
            if net is None:
                net = copy.deepcopy(self._master).to(device, dtype)
                self._copies[device, dtype] = net
            return net

    def resolve(self, taps: str | Sequence[str | int]) -> tuple[str, ...]:
        """Convert ``"all"``, indices (negative ones too) and module names to module names, in the same order.

        Raises:
            ValueError: for unknown, out-of-range and repeated taps.
        """
        if isinstance(taps, str) and taps == "all":
            if self.stages:
                return self.stages
            raise ValueError(
                f"`taps='all'` is not known for {self.name}: name the modules to tap, as in taps=['layer1']"
            )
        if isinstance(taps, (str, int)) or not taps:
            raise ValueError(f"`taps` must be 'all' or a list of indices and module names, got {taps!r}")
        names = tuple(self._resolve_tap(tap) for tap in taps)
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"`taps` names {repeated[0]!r} more than once in {list(taps)!r}")
        return names

    def _resolve_tap(self, tap: str | int) -> str:
        if isinstance(tap, bool) or not isinstance(tap, (str, int)):
            raise ValueError(f"a tap is an index or a module name, got {tap!r}")
        if isinstance(tap, int):
            if not -len(self.stages) <= tap < len(self.stages):
                raise ValueError(f"tap {tap} is out of range: {self.name} has {len(self.stages)} stages to index")
            return self.stages[tap]
        known = [name for name, _ in self._master.named_modules() if name]
        if tap not in known:
            near = difflib.get_close_matches(tap, known, 3) or list(self.stages[:3]) or known[:3]
            raise ValueError(f"{self.name} has no module {tap!r} to tap; there are for example {', '.join(near)}")
        return tap


_networks: weakref.WeakValueDictionary[tuple[object, str], Network] = weakref.WeakValueDictionary()
_networks_lock = threading.Lock()


def load_network(backbone: str | UserModule, weights: str = PRETRAINED) -> Network:
    """Return the network of a backbone and weights, shared with all its users in the process.

    Args:
        backbone: ``"fmiqa/embedded"``, a timm model name, ``torchvision/NAME``, or a :class:`UserModule`.
        weights: ``"pretrained"``, ``"random:SEED"``, or a ``.safetensors`` or ``.pth`` file.

    Raises:
        ValueError: for an unknown name, an unreadable file, or weights that do not fit.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.
    """
    identity = network_identity(backbone, weights)
    with _networks_lock:
        network = _networks.get((backbone, identity))
        if network is None:
            network = Network(backbone, weights)
            _networks[backbone, identity] = network
        return network


def network_identity(backbone: str | nn.Module | UserModule, weights: str) -> str:
    """A text that is equal for equal networks of a backbone: the content of a module or file, else the weights field.

    The pretrained weights of the embedded network are a file of this package, and are identified by its content. So
    other weights in a later version are another recipe.

    Raises:
        ValueError: if ``weights`` is a file that does not exist.
    """
    if isinstance(backbone, UserModule):
        return backbone.identity
    return weights_identity(str(WEIGHTS) if (backbone, weights) == (EMBEDDED, PRETRAINED) else weights)
