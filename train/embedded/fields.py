"""What made images are made of: random fields, colours and textures, all from one numpy generator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

Floats = NDArray[np.float32]
Random = np.random.Generator


def spectral(rng: Random, side: int, slope: float, stretch: tuple[float, float] = (1.0, 1.0)) -> Floats:
    """A Gaussian field ``(side, side)`` of mean 0 and deviation 1 whose amplitude falls as ``frequency ** -slope``.

    Args:
        rng: what is random.
        side: rows and columns; the field wraps round.
        slope: natural images have about 1 to 1.4; 0 is white noise.
        stretch: of the frequencies along rows and columns, for grain that lies one way.
    """
    rows = np.fft.fftfreq(side)[:, None] * stretch[0]
    columns = np.fft.rfftfreq(side)[None] * stretch[1]
    radius = np.sqrt(rows**2 + columns**2)
    radius[0, 0] = np.inf  # no mean
    spectrum = np.fft.rfft2(rng.standard_normal((side, side), dtype=np.float32)) * radius**-slope
    field = np.fft.irfft2(spectrum, (side, side))
    return (field / (field.std() + 1e-9)).astype(np.float32)


def unit(field: Floats) -> Floats:
    """Stretch a field to [0, 1]; one without contrast gives 0."""
    low, high = float(field.min()), float(field.max())
    return ((field - low) / max(high - low, 1e-9)).astype(np.float32)


def grid(side: int) -> tuple[Floats, Floats]:
    """Rows and columns of the pixels, each ``(side, side)``."""
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    return rows, columns


def ramp(rng: Random, side: int) -> Floats:
    """A linear slope in some direction, in [0, 1]."""
    rows, columns = grid(side)
    angle = rng.uniform(0, 2 * np.pi)
    return unit(np.cos(angle) * rows + np.sin(angle) * columns)


def warped(rng: Random, image: Floats, pixels: float, slope: float = 2.0) -> Floats:
    """Move the pixels of ``(side, side)`` or ``(side, side, 3)`` about by a smooth random field."""
    side = image.shape[0]
    rows, columns = grid(side)
    places = [rows + pixels * spectral(rng, side, slope), columns + pixels * spectral(rng, side, slope)]
    if image.ndim == 2:
        return map_coordinates(image, places, order=1, mode="mirror").astype(np.float32)
    layers = [map_coordinates(image[..., c], places, order=1, mode="mirror") for c in range(image.shape[2])]
    return np.stack(layers, -1).astype(np.float32)


def palette(rng: Random, count: int) -> Floats:
    """Colours ``(count, 3)`` in [0, 1] that go together: near one hue, now and then its opposite, of any lightness."""
    # earth, leaves and sky have most of the hues of photographs
    hue = rng.uniform() if rng.uniform() < 0.35 else rng.choice([0.07, 0.1, 0.24, 0.58]) + rng.normal(0, 0.04)
    hues = hue + rng.normal(0, 0.06, count) + 0.5 * (rng.uniform(size=count) < 0.2)
    saturations = rng.beta(1.5, 3.0, count)
    values = np.clip(rng.beta(1.4, 1.1, count), 0.02, 0.98)
    # HSV to RGB: distance of the hue from each primary
    wheel = np.abs((hues[:, None] + np.array([0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1
    full = np.clip(wheel, 0, 1)
    return (values[:, None] * (1 - saturations[:, None] * (1 - full))).astype(np.float32)


def coloured(field: Floats, colours: Floats) -> Floats:
    """Colour a field of [0, 1] by going through ``colours (k, 3)``: ``(side, side, 3)``."""
    steps = np.linspace(0, 1, len(colours), dtype=np.float32)
    return np.stack([np.interp(field, steps, colours[:, c]) for c in range(3)], -1).astype(np.float32)


def relief(rng: Random, height: Floats, steepness: float) -> Floats:
    """Light ``(side, side)`` in [0, 1] on a landscape of heights from a low sun."""
    down, across = np.gradient(height * steepness)
    angle = rng.uniform(0, 2 * np.pi)
    sun = 0.8 * (np.cos(angle) * down + np.sin(angle) * across) + 0.6
    return np.clip(sun / np.sqrt(1 + down**2 + across**2), 0, 1).astype(np.float32)


def softened(image: Floats, sigma: float) -> Floats:
    """A Gaussian blur of ``(side, side, 3)``."""
    return gaussian_filter(image, (sigma, sigma, 0), mode="mirror").astype(np.float32)


# Textures: each a picture (side, side, 3) in [0, 1] without objects.


def _flat(rng: Random, side: int) -> Floats:
    return np.broadcast_to(palette(rng, 1)[0], (side, side, 3)).astype(np.float32)


def _slope(rng: Random, side: int) -> Floats:
    return coloured(ramp(rng, side), palette(rng, 2))


def _cloudy(rng: Random, side: int) -> Floats:
    return coloured(unit(spectral(rng, side, rng.uniform(0.8, 2.2))), palette(rng, int(rng.integers(2, 5))))


def _grain(rng: Random, side: int) -> Floats:
    stretch = (1.0, float(rng.uniform(2, 10)))
    field = unit(spectral(rng, side, rng.uniform(0.6, 1.3), stretch if rng.uniform() < 0.5 else stretch[::-1]))
    return coloured(field, palette(rng, 3))


def _stripes(rng: Random, side: int) -> Floats:
    waves = ramp(rng, side) * side / rng.uniform(3, 24) + rng.uniform(0, 1) * spectral(rng, side, 2.0)
    return coloured((0.5 + 0.5 * np.tanh(rng.uniform(0.5, 6) * np.sin(2 * np.pi * waves))), palette(rng, 2))


def _weave(rng: Random, side: int) -> Floats:
    rows, columns = grid(side)
    period = rng.uniform(3, 16)
    field = np.sin(2 * np.pi * rows / period) * np.sin(2 * np.pi * columns / (period * rng.uniform(0.7, 1.4)))
    return coloured(unit(field + rng.uniform(0, 0.6) * spectral(rng, side, 1.0)), palette(rng, 3))


def _rough(rng: Random, side: int) -> Floats:
    height = spectral(rng, side, rng.uniform(1.0, 1.9))
    return palette(rng, 1)[0] * relief(rng, height, rng.uniform(1, 12))[..., None] * 1.3


def _speckled(rng: Random, side: int) -> Floats:
    spots = spectral(rng, side, 0.0)
    spots = gaussian_filter(spots, rng.uniform(0.7, 3), mode="wrap")
    edge = np.quantile(spots, rng.uniform(0.5, 0.9))
    return coloured(np.clip(0.5 + (spots - edge) / (0.4 * spots.std()), 0, 1), palette(rng, 2))


TEXTURES: tuple[Callable[[Random, int], Floats], ...] = (
    _flat,
    _slope,
    _cloudy,
    _grain,
    _stripes,
    _weave,
    _rough,
    _speckled,
)
_SHARES = np.array([2, 3, 4, 3, 1.2, 1, 3, 1.5])


def texture(rng: Random, side: int) -> Floats:
    """One of :data:`TEXTURES`, in [0, 1]."""
    make = TEXTURES[int(rng.choice(len(TEXTURES), p=_SHARES / _SHARES.sum()))]
    return np.clip(make(rng, side), 0, 1).astype(np.float32)
