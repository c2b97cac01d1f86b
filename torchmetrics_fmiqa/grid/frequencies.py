"""Where a grid shows in a spectrum: the harmonics of its period, and the bins beside them to compare with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from torchmetrics_fmiqa.arguments import as_python, short_repr, whole_number

#: Pixel shuffle of x2, x4 and x8, JPEG's and patch embeddings' 8, 14 and 16.
PERIODS = (2, 4, 8, 14, 16)
#: Along x (columns differ), along y (rows differ), along both.
AXES = ("x", "y", "xy")

#: How many periods a side must hold: fewer leave no bins between two harmonics.
LEAST_PERIODS = 6
# The nearest neighbours in bins, with room and without: a steady grid's own energy (Hann) ends before the second. And
# the furthest that still tell about the harmonic.
_NEAR, _NEAR_IF_CLOSE, _FAR = 3, 2, 8
# Bins between harmonics from which on there is that room.
_ROOMY = 8
# The noise bandwidth of a Hann window, in bins: so many neighbouring bins of noise tell as much as one.
BANDWIDTH = 1.5


class Harmonics(NamedTuple):
    """The ``K`` harmonics of one period on one axis, the bins next to each, and ``n`` neighbours of each.

    One of each pair of conjugates stands for both, since images are real.

    Args:
        axis: position in :data:`AXES`.
        places: ``(K,)`` flat positions in a spectrum ``(h, w)``.
        adjacent: ``(K, 2, 2)`` likewise: along rows and along columns, one bin before and one after.
        neighbours: ``(K, n)`` likewise, farther off.
        trusted: ``(K, n)`` whether a neighbour counts: not where another given period has a harmonic.
        bandwidth: how many neighbours tell as much as one alone.
        energy_weights: ``(1 + number of periods, K)`` how often a harmonic's energy counts in the total, where each
            frequency counts once, and in each period.
    """

    axis: int
    places: Tensor
    adjacent: Tensor
    neighbours: Tensor
    trusted: Tensor
    bandwidth: float
    energy_weights: Tensor

    def to(self, device: torch.device) -> Harmonics:
        """The same on a device."""
        return self._replace(
            places=self.places.to(device),
            adjacent=self.adjacent.to(device),
            neighbours=self.neighbours.to(device),
            trusted=self.trusted.to(device),
            energy_weights=self.energy_weights.to(device),
        )


class Spectrum(NamedTuple):
    """A part of the image whose sides are multiples of a period, and what to look at in its spectrum."""

    height: int
    width: int
    harmonics: tuple[Harmonics, ...]


def check_periods(periods: Iterable[int]) -> tuple[int, ...]:
    """Return periods in pixels, ascending, each once.

    >>> check_periods([8, 2])
    (2, 8)

    Raises:
        ValueError: if they are not whole numbers of at least 2, or there are none, or one comes twice.
    """
    given = as_python(periods)
    values = [given] if isinstance(given, (int, float, str)) else list(given)
    numbers = sorted(whole_number(value, "periods", 2, "whole numbers of pixels") for value in values)
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"`periods` must be different numbers of pixels, such as {PERIODS}, got {short_repr(periods)}")
    return tuple(numbers)


def check_size(height: int, width: int, periods: Sequence[int]) -> None:
    """Check that images are large enough for all periods.

    Raises:
        ValueError: naming the side, the period and the fix.
    """
    side, name = min((height, "height"), (width, "width"))
    fitting = tuple(period for period in periods if LEAST_PERIODS * period <= side)
    if len(fitting) < len(periods):
        longest = max(periods)
        raise ValueError(
            f"the {name} of {side} pixels is too short for a grid of period {longest}: "
            f"{LEAST_PERIODS * longest} are needed. Give larger images" + (f", or periods={fitting}" if fitting else "")
        )


@lru_cache(maxsize=32)
def plan_spectra(height: int, width: int, periods: tuple[int, ...], device: torch.device) -> tuple[Spectrum, ...]:
    """What to look at for images of a size: a spectrum for each period that divides no other.

    Raises:
        ValueError: as in :func:`check_size`.
    """
    check_size(height, width, periods)
    largest = [period for period in periods if not any(other > period and other % period == 0 for other in periods)]
    seen: set[tuple[Fraction, Fraction]] = set()
    spectra = []
    with torch.inference_mode(False):  # the plan outlives a call within that mode
        for period in largest:
            size = height // period * period, width // period * period
            others = [other for other in largest if other != period]
            found = [
                _harmonics(axis, size, period, others, periods, seen, picked).to(device)
                for axis, picked in enumerate(_by_axis(period))
                if picked
            ]
            spectra.append(Spectrum(*size, tuple(found)))
    return tuple(spectra)


def _by_axis(period: int) -> list[list[tuple[int, int]]]:
    """The harmonics (row, column) of a period on each axis, one of each pair of conjugates."""
    found: list[list[tuple[int, int]]] = [[], [], []]
    for row in range(period):
        for column in range(period):
            if (row, column) != (0, 0) and (row, column) <= (-row % period, -column % period):
                found[0 if row == 0 else 1 if column == 0 else 2].append((row, column))
    return found


def _offsets(axis: int, size: tuple[int, int], period: int) -> Tensor:
    """Neighbours ``(n, 2)`` of a harmonic, in bins (row, column) from it: along its axis, or around it."""

    def reach(side: int) -> tuple[int, int]:
        spacing = side // period  # bins between two harmonics
        near = _NEAR if spacing >= _ROOMY else _NEAR_IF_CLOSE
        return near, min(_FAR, spacing - near)

    (near_y, far_y), (near_x, far_x) = reach(size[0]), reach(size[1])
    rows = range(-far_y, far_y + 1) if axis != 0 else range(1)
    columns = range(-far_x, far_x + 1) if axis != 1 else range(1)
    pairs = [(row, column) for row in rows for column in columns if abs(row) >= near_y or abs(column) >= near_x]
    return torch.tensor(pairs)


def _harmonics(
    axis: int,
    size: tuple[int, int],
    period: int,
    others: Sequence[int],
    periods: Sequence[int],
    seen: set[tuple[Fraction, Fraction]],
    picked: Sequence[tuple[int, int]],
) -> Harmonics:
    """The harmonics of a period on one axis; ``seen`` are the frequencies that count already, and is added to."""
    height, width = size
    order = torch.tensor(picked)
    bins = order * torch.tensor([height // period, width // period])
    around = bins[:, None] + _offsets(axis, size, period)
    trusted = ~_near_others(around, size, others)
    # two periods that small images cannot tell apart: then all neighbours are better than few
    trusted |= 2 * trusted.sum(1, keepdim=True) < trusted.shape[1]
    weights = torch.zeros(1 + len(periods), len(picked))
    for place, (row, column) in enumerate(picked):
        conjugates = 1.0 if (row, column) == (-row % period, -column % period) else 2.0
        frequency = Fraction(row, period), Fraction(column, period)
        if frequency in seen:
            continue
        seen.add(frequency)
        weights[0, place] = conjugates
        for position, one in enumerate(periods):
            if all((part * one).denominator == 1 for part in frequency):
                weights[1 + position, place] = conjugates

    def flat(at: Tensor) -> Tensor:
        return at[..., 0] % height * width + at[..., 1] % width

    bandwidth = BANDWIDTH if axis < 2 else BANDWIDTH**2
    adjacent = bins[:, None, None] + torch.tensor([[[-1, 0], [1, 0]], [[0, -1], [0, 1]]])
    return Harmonics(axis, flat(bins), flat(adjacent), flat(around), trusted, bandwidth, weights)


def _near_others(bins: Tensor, size: tuple[int, int], periods: Sequence[int]) -> Tensor:
    """Whether bins ``(..., 2)`` are within the main lobe of a harmonic of one of the periods."""
    found = torch.zeros(bins.shape[:-1], dtype=torch.bool)
    sides = torch.tensor(size, dtype=torch.float64)
    for period in periods:
        cycles = bins / sides * period
        found |= ((cycles - cycles.round()).abs() * sides / period < 2).all(-1)
    return found
