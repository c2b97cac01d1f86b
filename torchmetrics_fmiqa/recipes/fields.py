"""Types and checks of the fields of a recipe."""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from torch import nn

from torchmetrics_fmiqa.arguments import as_python, short_repr, whole_number
from torchmetrics_fmiqa.distances import DISTRIBUTION, POINTWISE, Distance, zsiqa
from torchmetrics_fmiqa.distances.joint import Combine
from torchmetrics_fmiqa.features.builders import UserModule
from torchmetrics_fmiqa.features.content_hash import content_of
from torchmetrics_fmiqa.features.weights import PRETRAINED

Resolution = Literal["auto", "tile", "native", "unpadded", "resize"]
Protocol = Literal["fmiqa", "zsiqa"]
Pooling = Literal["mean", "information"]
TapReduction = Literal["mean", "sum"]
Taps = str | Sequence[str | int]
# Images in [0, 1] divided by less would lose all digits; 1/65535 is the least that a network was trained with.
_LEAST_STD = 1e-6

Normalization = str | tuple[Sequence[float], Sequence[float]]


def distance_name(distance: Any) -> str:
    """Name of a distance in columns and states."""
    return distance if isinstance(distance, str) else getattr(distance, "__name__", type(distance).__name__)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise a ValueError for a value that is none of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}; got {short_repr(value)}")


def checked_backbone(backbone: Any, weights: Any) -> tuple[str | UserModule, str]:
    """Return the backbone, with a module as a frozen copy, and its weights with a path as a text."""
    if isinstance(backbone, nn.Module):
        backbone = UserModule(backbone)
    elif not isinstance(backbone, (str, UserModule)) or not backbone:
        raise ValueError(f"`backbone` must be a model name or a torch.nn.Module, got {short_repr(backbone)}")
    if not isinstance(weights, (str, Path)):
        raise ValueError(f"`weights` must be 'pretrained', 'random:SEED' or a path, got {short_repr(weights)}")
    if isinstance(backbone, UserModule) and str(weights) != PRETRAINED:
        raise ValueError(
            f"`weights={short_repr(str(weights))}` with a module as backbone: load them into the module instead"
        )
    return backbone, str(weights)


def checked_taps(taps: Any) -> str | tuple[str | int, ...]:
    """Return the taps, with a list as a tuple and indices as ``int``."""
    taps = as_python(taps)
    if isinstance(taps, str):
        return taps
    if not isinstance(taps, Sequence):
        raise ValueError(f"`taps` must be 'all' or a list of indices and module names, got {short_repr(taps)}")
    return tuple(_checked_tap(tap, "taps") for tap in taps)


def _checked_tap(tap: Any, name: str) -> str | int:
    tap = as_python(tap)
    if isinstance(tap, bool) or not isinstance(tap, (str, int)):
        raise ValueError(f"`{name}`: a tap is an index or a module name, got {short_repr(tap)}")
    return tap


def checked_tap_weights(tap_weights: Any) -> dict[str | int, float] | None:
    """Return the weights of the taps as floats."""
    if tap_weights is None:
        return None
    if not isinstance(tap_weights, Mapping):
        raise ValueError(
            f"`tap_weights` must map each tap (index or name) to its weight, got {short_repr(tap_weights)}: "
            "weights bind by name, not by position"
        )
    taps = [_checked_tap(key, "tap_weights") for key in tap_weights]
    try:
        weights = dict(zip(taps, map(float, tap_weights.values()), strict=True))
    except (TypeError, ValueError, OverflowError, RuntimeError):
        weights = {}
    if not all(0 <= weight < math.inf for weight in weights.values()) or not 0 < sum(weights.values()) < math.inf:
        raise ValueError(
            f"`tap_weights` must be finite numbers, at least 0 and not all 0, got {short_repr(dict(tap_weights))}"
        )
    return weights


def checked_pixels(name: str, value: Any) -> int | None:
    """Return a positive number of pixels as an ``int``, or ``None``."""
    return None if value is None else whole_number(value, name, 1, "None or a whole number of pixels")


def checked_normalization(normalization: Any) -> Normalization:
    """Return the normalisation, with a pair as two tuples of numbers."""
    if isinstance(normalization, str):
        check_choice("normalization", normalization, ("model", "none"))
        return normalization
    try:
        mean, std = (tuple(float(value) for value in values) for values in normalization)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        mean, std = (), ()
    if len(mean) != 3 or len(std) != 3 or not all(map(math.isfinite, mean)) or not all(map(_can_divide, std)):
        raise ValueError(
            "`normalization` must be 'model', 'none' or (mean, std) with three finite values each and std above "
            f"{_LEAST_STD:g}, got {short_repr(normalization)}"
        )
    return mean, std


def _can_divide(std: float) -> bool:
    return _LEAST_STD < std < math.inf


def checked_distance(
    distance: Any, protocol: Protocol
) -> str | Distance | tuple[str | Distance, ...] | dict[str | Distance, float]:
    """Return the distance, a tuple of distances, or a mapping to weights; all must belong to the protocol."""
    if isinstance(distance, Mapping):
        return _checked_weights(distance, protocol)
    single = isinstance(distance, str) or callable(distance)
    distances = (distance,) if single else tuple(distance) if isinstance(distance, Sequence) else (None,)
    if not all(isinstance(each, str) or callable(each) for each in distances):
        raise ValueError(f"`distance` must be a name, a callable or a list of them, got {short_repr(distance)}")
    names = [distance_name(each) for each in distances]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"`distance` must name one or more different distances, got {short_repr(names)}")
    known = [*POINTWISE, *DISTRIBUTION] if protocol == "fmiqa" else [*zsiqa.PER_TAP, *zsiqa.STACKED]
    for each in distances:
        if isinstance(each, str) and each not in known:
            raise ValueError(
                f"`distance` {short_repr(each)} is not known to the {protocol} protocol, which has {', '.join(known)}"
                "; or give a callable (N, T, C), (N, T, C) -> (N,)"
            )
        if not isinstance(each, str) and protocol == "zsiqa":
            raise ValueError("the zsiqa protocol takes its published distances by name, no callables")
    return distance if single else distances


def _checked_weights(distances: Mapping[Any, Any], protocol: Protocol) -> dict[str | Distance, float]:
    """Return the weights of distances to join, sorted by the name of the distance."""
    if protocol != "fmiqa":
        raise ValueError(
            f"`distance` {short_repr(dict(distances))} joins distances, which the {protocol} protocol does not: name "
            "one of its published distances, or leave out the protocol"
        )
    if len(distances) < 2:
        single = f"distance={distance_name(next(iter(distances)))!r}" if distances else "distance='cosine'"
        raise ValueError(
            f"`distance` joins two or more distances by their weights, got {short_repr(dict(distances))}: "
            f"take {single} for one"
        )
    checked_distance(list(distances), protocol)
    weights = {}
    for distance, weight in distances.items():
        try:
            number = math.nan if isinstance(weight, (bool, str)) else float(weight)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            number = math.nan
        if not 0 < number < math.inf:
            raise ValueError(
                f"`distance` gives {distance_name(distance)!r} the weight {short_repr(weight)}: weights are finite "
                "numbers above 0; leave out a distance that does not count"
            )
        weights[distance] = number
    if sum(weights.values()) == math.inf:
        raise ValueError(
            f"`distance` {short_repr(dict(distances))} has weights without a finite sum: only proportions count"
        )
    return dict(sorted(weights.items(), key=lambda item: distance_name(item[0])))


def checked_combine(combine: Any, distance: Any) -> Combine | None:
    """Return how distances are joined: ``None`` if they are not, and ``"mean"`` by default."""
    joined = isinstance(distance, Mapping)
    if combine is None:
        return "mean" if joined else None
    check_choice("combine", combine, get_args(Combine))
    if not joined:
        raise ValueError(
            f"`combine={combine!r}` joins several distances by their weights: give distance={{'cosine': 1, "
            f"'symmetric_kl': 1}} with it or leave it out; got distance={short_repr(distance)}"
        )
    return combine  # type: ignore[no-any-return]


def callable_identity(distance: Distance) -> str:
    """Name and digest of a user's distance, from its code if it has some, else from its pickled content."""
    try:
        content = content_of(distance)
    except Exception as error:
        raise ValueError(f"`distance` {distance!r} cannot be pickled, so it has no digest: give a function") from error
    return f"{distance_name(distance)}:{hashlib.sha256(content.encode()).hexdigest()}"


def check_weighable(distances: Iterable[str | Distance]) -> None:
    """Raise a ValueError that names the first distance for which weights of channels have no meaning, if any."""
    for distance in distances:
        if not isinstance(distance, str) or distance not in POINTWISE:
            why = "compares how each channel is spread over places" if isinstance(distance, str) else "is a callable"
            raise ValueError(
                f"`channel_weights` have no meaning for the distance {distance_name(distance)!r}, which {why}: take "
                f"{' or '.join(map(repr, POINTWISE))}"
            )


def check_protocol(protocol: Protocol, fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise a ValueError for a field that the published protocol does not have."""
    for name in ("pooling", "channel_weights", "tap_reduction"):
        if protocol != "fmiqa" and fields[name] != defaults[name]:
            raise ValueError(
                f"`{name}={short_repr(fields[name])}` is not known to the {protocol} protocol: take {defaults[name]!r}"
            )


def shown(name: str, value: Any) -> str:
    """The ``repr`` of a field; of channel weights, which are thousands of numbers, a short one."""
    return short_repr(value) if name == "channel_weights" else repr(value)


def plain_value(value: Any) -> Any:
    """A field's value as plain lists, numbers and strings."""
    if isinstance(value, Mapping):
        return {
            str(key) if isinstance(key, int) else plain_value(key): plain_value(item) for key, item in value.items()
        }
    if isinstance(value, (tuple, list)):
        return [plain_value(item) for item in value]
    return distance_name(value) if callable(value) else value


# Arguments of other packages, and what to use here.
_COMPAT = "torchmetrics_fmiqa.compat has LPIPS with the arguments of its packages"
_FOREIGN_NAMES = {
    "normalize": f"give the range of the images as `data_range`, such as (-1, 1); or {_COMPAT}",
    "net": f"name the network as `backbone`, or a recipe that has it; or {_COMPAT}",
    "net_type": f"name the network as `backbone`, or a recipe that has it; or {_COMPAT}",
}


def check_names(overrides: Iterable[str], names: Sequence[str]) -> None:
    """Raise a ValueError for the first override that is not a field of a recipe, with the nearest field."""
    for name in overrides:
        if name in names:
            continue
        if name in _FOREIGN_NAMES:
            raise ValueError(f"there is no `{name}` here: {_FOREIGN_NAMES[name]}")
        near = difflib.get_close_matches(name, names, 1)
        hint = f": did you mean `{near[0]}`?" if near else ""
        raise ValueError(f"a recipe has no field `{name}`{hint} (fields: {', '.join(names)})")
