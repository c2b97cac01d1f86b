"""Build frozen networks: the embedded one, those of timm and torchvision by name, and copies of a user's module."""

from __future__ import annotations

import copy
import difflib
from typing import Any

from torch import nn

from torchmetrics_fmiqa.features.building import OwnRandomNumbers, copied_in_the_open
from torchmetrics_fmiqa.features.content_hash import module_identity
from torchmetrics_fmiqa.features.embedded import EMBEDDED, EmbeddedNetwork, load_embedded, network_of
from torchmetrics_fmiqa.features.weights import (
    PRETRAINED,
    WeightsUnavailableError,
    check_reachable,
    parse_weights,
    read_state_dict,
    strict_load,
)

TORCHVISION = "torchvision/"


# The taps of LPIPS in torchvision's networks; "all" means the same layers.
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
    """A private frozen copy of a user's network, so that training the original later does not change scores.

    Modules with equal content are equal. The copy is pickled in full, and not copied again.
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


def build_network(backbone: str | UserModule, weights: str) -> nn.Module:
    """Build a network on the CPU, in eval mode, frozen.

    Raises:
        ValueError: for an unknown name, or weights that do not fit.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.
    """
    if isinstance(backbone, UserModule):
        return backbone.module
    kind, argument = parse_weights(weights)
    if backbone == EMBEDDED:
        return _freeze(_build_embedded(kind, argument))
    if backbone.startswith(f"{EMBEDDED.partition('/')[0]}/"):  # timm would look for it on the hub
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
        if hasattr(module, "inplace"):  # an in-place ReLU after a tap would cost a copy of its features
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
    if isinstance(repository, str):  # "timm/" is completed by the model's name
        check_reachable(f"{repository}{config.architecture}.{config.tag}" if repository.endswith("/") else repository)


def _create_timm(name: str, overlay: dict[str, Any], options: dict[str, Any]) -> nn.Module:
    import timm

    if overlay:
        options = {**options, "pretrained_cfg_overlay": overlay}
    try:
        # Lets transformers take any input size; other classes do not have the argument.
        net: nn.Module = timm.create_model(name, dynamic_img_size=True, **options)
    except TypeError:
        net = timm.create_model(name, **options)
    return net


def _create_without_classifier(name: str, path: str, error: RuntimeError) -> nn.Module:
    """Retry without the classifier, for a file that lacks it or has other classes; no tap needs it."""
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


def stages_of(name: str, net: Any) -> tuple[tuple[str, ...], int]:
    """Names of the modules that tap indices refer to, and the reduction factor of the deepest one."""
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
