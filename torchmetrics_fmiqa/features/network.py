"""Frozen networks, shared process-wide: built once from (backbone, weights), copied once for each device and dtype."""

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

from torchmetrics_fmiqa.features.building import OwnRandomNumbers, built_in_the_open, copied_in_the_open
from torchmetrics_fmiqa.features.embedded import EMBEDDED, WEIGHTS, EmbeddedNetwork, load_embedded, network_of
from torchmetrics_fmiqa.features.hub import check_reachable
from torchmetrics_fmiqa.features.identity import module_identity
from torchmetrics_fmiqa.features.weights import (
    PRETRAINED,
    WeightsUnavailableError,
    check_finite,
    parse_weights,
    read_state_dict,
    strict_load,
    weights_identity,
)

TORCHVISION = "torchvision/"
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Below this side torchvision's AlexNet and SqueezeNet run out of pixels on the way down.
_TORCHVISION_MINIMUM = 64

# What LPIPS taps in torchvision's classics, so that "all" means the same layers here as there.
_LPIPS_TAPS = {
    "alexnet": (1, 4, 7, 9, 11),
    "squeezenet1_0": (1, 4, 7, 9, 10, 11, 12),
    "squeezenet1_1": (1, 4, 7, 9, 10, 11, 12),
    "vgg11": (1, 4, 9, 14, 19),
    "vgg13": (3, 8, 13, 18, 23),
    "vgg16": (3, 8, 15, 22, 29),
    "vgg19": (3, 8, 17, 26, 35),
}


class UserModule:
    """A user's own network: a private frozen copy, so that later training of the original changes no score.

    Equal content is equal identity; it is pickled whole, and never copied again.
    """

    def __init__(self, module: nn.Module) -> None:
        with copied_in_the_open():
            self.module = _freeze(copy.deepcopy(module).cpu())
        try:
            self.identity = module_identity(self.module)
        except Exception as error:
            raise ValueError(
                f"`backbone` {type(module).__name__} holds something that cannot be pickled: {error}"
            ) from error

    def __deepcopy__(self, memo: dict[int, Any]) -> UserModule:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UserModule) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        return f"{type(self.module).__name__}({self.identity[7:15]})"


class Network:
    """A frozen network and the facts that the corridor needs about it. Get one from :func:`load_network`.

    Attributes:
        name: how messages call it.
        stages: module names that tap indices count.
        mean: the network's own input mean, ``None`` where it is not known.
        std: the network's own input standard deviation, likewise.
        transformer: whether it cuts the image into patches, so that tiles are its default.
        patch: patch size of a transformer.
        prefix: number of prefix tokens.
        multiple: its input's sides must be multiples of this.
        minimum: and no shorter than this.
        side: the side of the square image that it was trained on.
        parameters: number of its parameters, the head's too.
    """

    def __init__(self, backbone: str | UserModule, weights: str) -> None:
        self._spec = (backbone, weights)
        with built_in_the_open():
            self._master = _build(backbone, weights)
            check_finite(self._master, str(backbone) if weights == PRETRAINED else repr(weights))
        self._copies: weakref.WeakValueDictionary[tuple[torch.device, torch.dtype], nn.Module] = (
            weakref.WeakValueDictionary()
        )
        self._lock = threading.Lock()
        net: Any = self._master
        self.name = str(backbone)
        config = getattr(net, "pretrained_cfg", None) or {}
        torchvision = isinstance(backbone, str) and backbone.startswith(TORCHVISION)
        own = (config.get("mean"), config.get("std"))
        self.mean: Sequence[float] | None
        self.std: Sequence[float] | None
        self.mean, self.std = _IMAGENET if torchvision else own
        self.transformer = hasattr(net, "patch_embed")
        size = getattr(getattr(net, "patch_embed", None), "patch_size", None)
        self.patch = (size, size) if isinstance(size, int) else size
        self.prefix = int(getattr(net, "num_prefix_tokens", 0))
        self.channels_last = getattr(net, "output_fmt", "NCHW") == "NHWC"
        self.stages, reduction = _stages(self.name, net)
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
        """The default side of a tile: 224 where the patches allow it, else what the network was trained on."""
        return 224 if 224 % self.multiple == 0 else self.side

    def on(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """Return the copy of the network for a device and a dtype, made on first use and shared while in use."""
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
        """Turn ``"all"``, indices (negative too) and module names into module names, in the order given.

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
        names = tuple(self._resolve_one(tap) for tap in taps)
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"`taps` names {repeated[0]!r} more than once in {list(taps)!r}")
        return names

    def _resolve_one(self, tap: str | int) -> str:
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
    """Return the network of a backbone and its weights: the one already in the process where there is one.

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
    """What makes two networks of one backbone the same: the content of a module or a file, else the words themselves.

    The embedded network's own weights are a file of this package, so that other weights in another version of it are
    another recipe.

    Raises:
        ValueError: if ``weights`` is a file that is not there.
    """
    if isinstance(backbone, UserModule):
        return backbone.identity
    return weights_identity(str(WEIGHTS) if (backbone, weights) == (EMBEDDED, PRETRAINED) else weights)


def _build(backbone: str | UserModule, weights: str) -> nn.Module:
    if isinstance(backbone, UserModule):
        return backbone.module
    kind, argument = parse_weights(weights)
    if backbone == EMBEDDED:
        return _freeze(_build_embedded(kind, argument))
    if backbone.startswith(f"{EMBEDDED.partition('/')[0]}/"):  # timm would look for it on a hub
        raise ValueError(_unknown(backbone, [EMBEDDED]))
    with OwnRandomNumbers(int(argument or 0) if kind == "random" else 0):
        if backbone.startswith(TORCHVISION):
            net = _build_torchvision(backbone.removeprefix(TORCHVISION), kind, str(argument))
        else:
            net = _build_timm(backbone, kind, str(argument))
    return _freeze(net)


def _freeze(net: nn.Module) -> nn.Module:
    net.eval().requires_grad_(False)
    for module in net.modules():
        if hasattr(module, "inplace"):  # an in-place ReLU after a tap would rewrite features that are still to be read
            module.inplace = False  # type: ignore[assignment]
    return net


def _build_embedded(kind: str, argument: str | int) -> nn.Module:
    if kind == PRETRAINED:
        return load_embedded()
    if kind == "random":
        return EmbeddedNetwork(int(argument))
    return network_of(read_state_dict(str(argument)), str(argument))


def _build_timm(name: str, kind: str, path: str) -> nn.Module:
    import timm

    options: dict[str, Any] = {"pretrained": kind != "random"}
    overlay: dict[str, Any] = {}
    if kind == "file":
        overlay["state_dict"] = read_state_dict(path)
    try:
        if kind == PRETRAINED:
            _check_hub(name)
        return _create_timm(name, overlay, options)
    except RuntimeError as error:
        if "Unknown model" in str(error):
            raise ValueError(_unknown(name, timm.list_models())) from None
        if kind == "random":
            raise
        if kind == PRETRAINED:
            raise _unavailable(name, error) from error
        return _create_without_classifier(name, path, error)
    except Exception as error:
        if kind == PRETRAINED:
            raise _unavailable(name, error) from error
        raise


def _check_hub(name: str) -> None:
    import timm

    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    repository = getattr(config, "hf_hub_id", None)
    if isinstance(repository, str):  # "timm/" stands for the model's own name
        check_reachable(f"{repository}{config.architecture}.{config.tag}" if repository.endswith("/") else repository)


def _create_timm(name: str, overlay: dict[str, Any], options: dict[str, Any]) -> nn.Module:
    import timm

    if overlay:
        options = {**options, "pretrained_cfg_overlay": overlay}
    try:
        # Transformers of any input size; other classes do not know the argument.
        net: nn.Module = timm.create_model(name, dynamic_img_size=True, **options)
    except TypeError:
        net = timm.create_model(name, **options)
    return net


def _create_without_classifier(name: str, path: str, error: RuntimeError) -> nn.Module:
    """Second try for a file whose classifier is missing or was trained for other classes: no tap needs it."""
    import timm

    state = read_state_dict(path)
    classifier = timm.get_pretrained_cfg_value(name, "classifier") or ()
    for prefix in (classifier,) if isinstance(classifier, str) else classifier:
        state.pop(f"{prefix}.weight", None)
        state.pop(f"{prefix}.bias", None)
    try:
        return _create_timm(name, {"state_dict": state, "num_classes": 0}, {"pretrained": True, "num_classes": 0})
    except RuntimeError:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path!r} does not fit the backbone {name!r}: {reason[:600]}") from error


def _build_torchvision(name: str, kind: str, path: str) -> nn.Module:
    from torchvision import models

    if name not in models.list_models(module=models):
        raise ValueError(
            _unknown(TORCHVISION + name, [TORCHVISION + known for known in models.list_models(module=models)])
        )
    if kind == PRETRAINED:
        try:
            return models.get_model(name, weights="DEFAULT")  # type: ignore[no-any-return]
        except Exception as error:
            raise _unavailable(TORCHVISION + name, error) from error
    net: nn.Module = models.get_model(name, weights=None)
    if kind == "file":
        classifier = [child for child, _ in net.named_children()][-1]
        strict_load(net, read_state_dict(path), path, classifier)
    return net


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.split(".")[0], known, 3)
    hint = f"; close: {', '.join(near)}" if near else ""
    return (
        f"unknown backbone {name!r}: give 'fmiqa/embedded', a timm model, 'torchvision/NAME' or a torch.nn.Module{hint}"
    )


def _unavailable(name: str, error: Exception) -> WeightsUnavailableError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return WeightsUnavailableError(
        f"no pretrained weights for {name!r}: {reason[:300]} | Without a network, give a file: "
        "weights='/path/to/model.safetensors' (on the command line --set weights=/path/to/model.safetensors)"
    )


def _stages(name: str, net: Any) -> tuple[tuple[str, ...], int]:
    """Module names that tap indices count, and by how much the deepest of them reduces the image."""
    short = name.removeprefix(TORCHVISION)
    if name.startswith(TORCHVISION):
        if short in _LPIPS_TAPS:
            return tuple(f"features.{index}" for index in _LPIPS_TAPS[short]), 32
        layers = [child for child, _ in net.named_children() if child.startswith("layer") and child[5:].isdigit()]
        if not layers and isinstance(getattr(net, "features", None), nn.Sequential):
            layers = [f"features.{child}" for child, _ in net.features.named_children()]
        return tuple(layers), 32
    info = getattr(net, "feature_info", None)
    info = info if isinstance(info, list) else getattr(info, "info", [])
    return tuple(stage["module"] for stage in info), max((int(stage["reduction"]) for stage in info), default=1)
