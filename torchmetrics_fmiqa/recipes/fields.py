"""What the fields of a recipe may hold."""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from torchmetrics_fmiqa.arguments import as_python, shown, whole_number
from torchmetrics_fmiqa.distances import DISTRIBUTION, POINTWISE, Distance, zsiqa
from torchmetrics_fmiqa.distances.joint import Combine
from torchmetrics_fmiqa.features.content_hash import content_of

Resolution = Literal["auto", "tile", "native", "resize"]
Protocol = Literal["fmiqa", "zsiqa"]
Pooling = Literal["mean", "information"]
Taps = str | Sequence[str | int]
# Images in [0, 1] divided by less have no digits left: 1/65535 is the least that a network was trained with.
_LEAST_STD = 1e-6

Normalization = str | tuple[Sequence[float], Sequence[float]]


def distance_name(distance: Any) -> str:
    """Name of a distance as it stands in columns and states."""
    return distance if isinstance(distance, str) else getattr(distance, "__name__", type(distance).__name__)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a value that is none of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}; got {shown(value)}")


def checked_taps(taps: Any) -> str | tuple[str | int, ...]:
    """Return the taps, a list of them as a tuple, indices as ``int``."""
    taps = as_python(taps)
    if isinstance(taps, str):
        return taps
    if not isinstance(taps, Sequence):
        raise ValueError(f"`taps` must be 'all' or a list of indices and module names, got {shown(taps)}")
    return tuple(_checked_tap(tap, "taps") for tap in taps)


def _checked_tap(tap: Any, name: str) -> str | int:
    tap = as_python(tap)
    if isinstance(tap, bool) or not isinstance(tap, (str, int)):
        raise ValueError(f"`{name}`: a tap is an index or a module name, got {shown(tap)}")
    return tap


def checked_tap_weights(given: Any) -> dict[str | int, float] | None:
    """Return the weights of the taps as numbers."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise ValueError(
            f"`tap_weights` must map each tap (index or name) to its weight, got {shown(given)}: "
            "weights bind by name, not by position"
        )
    taps = [_checked_tap(key, "tap_weights") for key in given]
    try:
        weights = dict(zip(taps, map(float, given.values()), strict=True))
    except (TypeError, ValueError, OverflowError, RuntimeError):
        weights = {}
    if not all(0 <= weight < math.inf for weight in weights.values()) or not 0 < sum(weights.values()) < math.inf:
        raise ValueError(f"`tap_weights` must be finite numbers, at least 0 and not all 0, got {shown(dict(given))}")
    return weights


def checked_pixels(name: str, value: Any) -> int | None:
    """Return a positive number of pixels as an ``int``, or ``None``."""
    return None if value is None else whole_number(value, name, 1, "None or a whole number of pixels")


def checked_normalization(given: Any) -> Normalization:
    """Return the normalisation, a pair as two tuples of numbers."""
    if isinstance(given, str):
        check_choice("normalization", given, ("model", "none"))
        return given
    try:
        mean, std = (tuple(float(value) for value in values) for values in given)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        mean, std = (), ()
    if len(mean) != 3 or len(std) != 3 or not all(map(math.isfinite, mean)) or not all(map(_can_divide, std)):
        raise ValueError(
            "`normalization` must be 'model', 'none' or (mean, std) with three finite values each and std above "
            f"{_LEAST_STD:g}, got {shown(given)}"
        )
    return mean, std


def _can_divide(std: float) -> bool:
    return _LEAST_STD < std < math.inf


def checked_distance(
    given: Any, protocol: Protocol
) -> str | Distance | tuple[str | Distance, ...] | dict[str | Distance, float]:
    """Return the distance, several of them as a tuple, or their weights; each must be one that the protocol takes."""
    if isinstance(given, Mapping):
        return _checked_weights(given, protocol)
    single = isinstance(given, str) or callable(given)
    distances = (given,) if single else tuple(given) if isinstance(given, Sequence) else (None,)
    if not all(isinstance(distance, str) or callable(distance) for distance in distances):
        raise ValueError(f"`distance` must be a name, a callable or a list of them, got {shown(given)}")
    names = [distance_name(distance) for distance in distances]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"`distance` must name one or more different distances, got {shown(names)}")
    known = [*POINTWISE, *DISTRIBUTION] if protocol == "fmiqa" else [*zsiqa.PER_TAP, *zsiqa.STACKED]
    for distance in distances:
        if isinstance(distance, str) and distance not in known:
            raise ValueError(
                f"`distance` {shown(distance)} is not known to the {protocol} protocol, which has {', '.join(known)}"
                "; or give a callable (N, T, C), (N, T, C) -> (N,)"
            )
        if not isinstance(distance, str) and protocol == "zsiqa":
            raise ValueError("the zsiqa protocol takes its published distances by name, no callables")
    return given if single else distances


def _checked_weights(given: Mapping[Any, Any], protocol: Protocol) -> dict[str | Distance, float]:
    """Return the weights of distances that are joined, by name of the distance, whatever order they came in."""
    if protocol != "fmiqa":
        raise ValueError(
            f"`distance` {shown(dict(given))} joins distances, which the {protocol} protocol does not: name one of "
            "its published distances, or leave out the protocol"
        )
    if len(given) < 2:
        alone = f"distance={distance_name(next(iter(given)))!r}" if given else "distance='cosine'"
        raise ValueError(
            f"`distance` joins two or more distances by their weights, got {shown(dict(given))}: take {alone} for one"
        )
    checked_distance(list(given), protocol)
    weights = {}
    for distance, weight in given.items():
        try:
            number = math.nan if isinstance(weight, (bool, str)) else float(weight)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            number = math.nan
        if not 0 < number < math.inf:
            raise ValueError(
                f"`distance` gives {distance_name(distance)!r} the weight {shown(weight)}: weights are finite numbers "
                "above 0; leave out a distance that does not count"
            )
        weights[distance] = number
    if sum(weights.values()) == math.inf:
        raise ValueError(f"`distance` {shown(dict(given))} has weights without a finite sum: only proportions count")
    return dict(sorted(weights.items(), key=lambda item: distance_name(item[0])))


def checked_combine(given: Any, distance: Any) -> Combine | None:
    """Return how distances are joined: ``None`` where they are not, and ``"mean"`` where nothing is said."""
    joined = isinstance(distance, Mapping)
    if given is None:
        return "mean" if joined else None
    check_choice("combine", given, get_args(Combine))
    if not joined:
        raise ValueError(
            f"`combine={given!r}` joins several distances by their weights: give distance={{'cosine': 1, "
            f"'symmetric_kl': 1}} with it or leave it out; got distance={shown(distance)}"
        )
    return given  # type: ignore[no-any-return]


def callable_identity(distance: Distance) -> str:
    """Digest of a user's distance: its code where it has some, else its pickled content."""
    try:
        content = content_of(distance)
    except Exception as error:
        raise ValueError(f"`distance` {distance!r} cannot be pickled, so it has no digest: give a function") from error
    return f"{distance_name(distance)}:{hashlib.sha256(content.encode()).hexdigest()}"


def plain_value(value: Any) -> Any:
    """A field's value as plain lists, numbers and strings."""
    if isinstance(value, Mapping):
        return {
            str(key) if isinstance(key, int) else plain_value(key): plain_value(item) for key, item in value.items()
        }
    if isinstance(value, (tuple, list)):
        return [plain_value(item) for item in value]
    return distance_name(value) if callable(value) else value


# What other packages call things.
_ELSEWHERE = {
    "normalize": "give the range of the images as `data_range`, such as (-1, 1)",
    "net": "name the network as `backbone`, or a recipe that has it",
    "net_type": "name the network as `backbone`, or a recipe that has it",
}


def check_names(overrides: Iterable[str], names: Sequence[str]) -> None:
    """Raise a ValueError that names the first override that is no field of a recipe, and the nearest one."""
    for name in overrides:
        if name in names:
            continue
        if name in _ELSEWHERE:
            raise ValueError(f"there is no `{name}` here: {_ELSEWHERE[name]}")
        near = difflib.get_close_matches(name, names, 1)
        hint = f": did you mean `{near[0]}`?" if near else ""
        raise ValueError(f"a recipe has no field `{name}`{hint} (fields: {', '.join(names)})")
