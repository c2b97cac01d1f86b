"""What the fields of a recipe may hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torchmetrics_fmiqa.distances import DISTRIBUTION, POINTWISE, Distance, zsiqa

Resolution = Literal["auto", "tile", "native", "resize"]
Protocol = Literal["fmiqa", "zsiqa"]
Pooling = Literal["mean", "information"]
Taps = str | Sequence[str | int]
Normalization = str | tuple[Sequence[float], Sequence[float]]


def distance_name(distance: Any) -> str:
    """Name of a distance as it stands in columns and states."""
    return distance if isinstance(distance, str) else getattr(distance, "__name__", type(distance).__name__)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a value that is none of the choices."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}; got {value!r}")


def checked_taps(taps: Any) -> str | tuple[str | int, ...]:
    """Return the taps, a list of them as a tuple."""
    if isinstance(taps, str):
        return taps
    if not isinstance(taps, Sequence):
        raise ValueError(f"`taps` must be 'all' or a list of indices and module names, got {taps!r}")
    return tuple(taps)


def checked_tap_weights(given: Any) -> dict[str | int, float] | None:
    """Return the weights of the taps as numbers."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise ValueError(
            f"`tap_weights` must map each tap (index or name) to its weight, got {given!r}: "
            "weights bind by name, not by position"
        )
    try:
        weights = {key: float(value) for key, value in given.items()}
    except (TypeError, ValueError):
        raise ValueError(f"`tap_weights` must be numbers, got {dict(given)!r}") from None
    if not all(0 <= weight < float("inf") for weight in weights.values()) or not any(weights.values()):
        raise ValueError(f"`tap_weights` must be finite, at least 0 and not all 0, got {weights!r}")
    return weights


def check_pixels(name: str, value: Any) -> None:
    """Refuse what is neither ``None`` nor a positive number of pixels."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"`{name}` must be a positive number of pixels or None, got {value!r}")


def checked_normalization(given: Any) -> Normalization:
    """Return the normalisation, a pair as two tuples of numbers."""
    if isinstance(given, str):
        check_choice("normalization", given, ("model", "none"))
        return given
    try:
        mean, std = (tuple(float(value) for value in values) for values in given)
    except (TypeError, ValueError):
        mean, std = (), ()
    if len(mean) != 3 or len(std) != 3 or min(std, default=0) <= 0:
        raise ValueError(
            "`normalization` must be 'model', 'none' or (mean, std) with three values each and std above 0, "
            f"got {given!r}"
        )
    return mean, std


def checked_distance(given: Any, protocol: Protocol) -> str | Distance | tuple[str | Distance, ...]:
    """Return the distance, or several of them as a tuple; each must be one that the protocol takes."""
    single = isinstance(given, str) or callable(given)
    distances = (given,) if single else tuple(given) if isinstance(given, Sequence) else (None,)
    if not all(isinstance(distance, str) or callable(distance) for distance in distances):
        raise ValueError(f"`distance` must be a name, a callable or a list of them, got {given!r}")
    names = [distance_name(distance) for distance in distances]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"`distance` must name one or more different distances, got {names!r}")
    known = [*POINTWISE, *DISTRIBUTION] if protocol == "fmiqa" else [*zsiqa.PER_TAP, *zsiqa.STACKED]
    for distance in distances:
        if isinstance(distance, str) and distance not in known:
            raise ValueError(
                f"`distance` {distance!r} is not known to the {protocol} protocol, which has {', '.join(known)}"
                "; or give a callable (N, T, C), (N, T, C) -> (N,)"
            )
        if not isinstance(distance, str) and protocol == "zsiqa":
            raise ValueError("the zsiqa protocol takes its published distances by name, no callables")
    return given if single else distances
