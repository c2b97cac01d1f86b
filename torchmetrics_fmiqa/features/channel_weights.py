"""Learned weights of channels: read them from a file or from LPIPS as torchmetrics ships it, and check them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.arguments import as_python, short_repr
from torchmetrics_fmiqa.data.opening import check_file
from torchmetrics_fmiqa.features.builders import TORCHVISION, UserModule
from torchmetrics_fmiqa.features.weights import read_state_dict

#: The value of ``channel_weights`` that stands for the linear weights of LPIPS v0.1.
LPIPS = "lpips"

#: For each tap, by its index or name, a weight of at least 0 for each channel.
ChannelWeights = dict[str | int, tuple[float, ...]]

#: The networks that LPIPS was trained on, by its names for them.
LPIPS_BACKBONES = {
    "alex": f"{TORCHVISION}alexnet",
    "vgg": f"{TORCHVISION}vgg16",
    "squeeze": f"{TORCHVISION}squeezenet1_1",
}

# How LPIPS and torchmetrics name the weights of their layers, which are this package's stages of the same networks.
_LPIPS_LAYER = re.compile(r"lin(\d+)\.model\.\d+\.weight")
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def checked_channel_weights(given: Any) -> str | ChannelWeights | None:
    """Return the field of a recipe: ``None``, ``"lpips"``, the path of a file, or checked weights by tap.

    A file is not read yet.

    Raises:
        ValueError: for any other value; the message names the tap, the value and the fix.
    """
    if given is None or given == LPIPS:
        return given  # type: ignore[no-any-return]
    if isinstance(given, (str, Path)):
        if Path(given).suffix not in _SUFFIXES:
            raise ValueError(
                f"`channel_weights` must be 'lpips', a file ({', '.join(_SUFFIXES)}) or a mapping of taps to weights, "
                f"got {short_repr(str(given))}"
            )
        return str(given)
    if not isinstance(given, Mapping) or not given:
        raise ValueError(
            "`channel_weights` must map each tap (index or name) to a weight for each channel, or be 'lpips' or a "
            f"file; got {short_repr(given)}: weights bind by name, not by position"
        )
    weights = {_checked_tap(tap): _checked_values(tap, values) for tap, values in given.items()}
    if not 0 < sum(map(sum, weights.values())) < math.inf:
        raise ValueError("`channel_weights` are all 0, or have no finite sum: every score would be 0, or infinite")
    return weights


def _checked_tap(tap: Any) -> str | int:
    tap = as_python(tap)
    if isinstance(tap, bool) or not isinstance(tap, (str, int)):
        raise ValueError(f"`channel_weights`: a tap is an index or a module name, got {short_repr(tap)}")
    return tap


def _checked_values(tap: Any, values: Any) -> tuple[float, ...]:
    values = as_python(values)
    try:
        numbers = tuple(map(float, values)) if isinstance(values, Sequence) and not isinstance(values, str) else ()
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    wrong = [value for value in numbers if not 0 <= value < math.inf]
    if wrong or not numbers:
        raise ValueError(
            f"`channel_weights` of the tap {tap!r} must be finite numbers of at least 0, one a channel, got "
            f"{wrong[0] if wrong else short_repr(values)}: a distance is at least 0, so set negative ones to 0"
        )
    return numbers


def read_channel_weights(source: str | ChannelWeights, backbone: str | UserModule) -> ChannelWeights:
    """The weights of a recipe's field, from :func:`checked_channel_weights`.

    Args:
        source: ``"lpips"`` for what torchmetrics ships, a file, or the weights themselves.
        backbone: of the recipe.

    Raises:
        ValueError: for a backbone that LPIPS has no weights for, a file that cannot be read, or wrong values in it.
    """
    if not isinstance(source, str):
        return source
    path = _lpips_file(backbone) if source == LPIPS else Path(source)
    try:
        check_file(path)
    except ValueError as error:
        raise ValueError(f"`channel_weights`: {error}") from None
    stat = path.stat()
    return dict(_read_file(str(path), stat.st_size, stat.st_mtime_ns))


def channel_weights_identity(source: str | ChannelWeights, backbone: str | UserModule) -> str:
    """A text that is equal for equal weights of equal taps, whatever file they are from.

    Raises:
        ValueError: as :func:`read_channel_weights`.
    """
    weights = {str(tap): values for tap, values in read_channel_weights(source, backbone).items()}
    return f"sha256:{hashlib.sha256(json.dumps(weights, sort_keys=True).encode()).hexdigest()}"


def _lpips_file(backbone: str | UserModule) -> Path:
    nets = [net for net, name in LPIPS_BACKBONES.items() if name == backbone]
    if not nets:
        raise ValueError(
            f"`channel_weights='lpips'` are those of {', '.join(LPIPS_BACKBONES.values())}, not of {backbone}: "
            "give a file or a mapping"
        )
    spec = importlib.util.find_spec("torchmetrics")
    return Path(str(spec and spec.origin)).parent / "functional" / "image" / "lpips_models" / f"{nets[0]}.pth"


@lru_cache(maxsize=16)
def _read_file(path: str, size: int, modified: int) -> ChannelWeights:
    tensors = read_state_dict(path)
    layers = {name: _LPIPS_LAYER.fullmatch(name) for name in tensors}
    taps = {int(layer[1]) if layer else name: tensors[name].double().flatten() for name, layer in layers.items()}
    try:
        return checked_channel_weights(taps)  # type: ignore[return-value]
    except ValueError as error:
        raise ValueError(f"{error} (in {path!r})") from None
