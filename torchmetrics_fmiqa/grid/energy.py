"""The energy of grids in preds beyond what the target and a smooth filter of it explain."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchmetrics_fmiqa.grid.frequencies import AXES, BANDWIDTH, Harmonics, Spectrum, plan_spectra

# Variance of rounding to whole grey levels. What the target's spectrum holds below it says nothing of a filter.
_ROUNDING = 1 / 12
# So many times the rounding is noise without doubt.
_CERTAIN = 3.0
# A pattern of the target's own may change by this share more than the filter says: contrast curves and clipping act on
# it as on nothing around it.
_OWN_CHANGE = 0.5
# A frequency that stands out of the target's by so much in energy (and twice it without doubt) is a texture's own: any
# change of it is that texture's.
_PROMINENT = 10.0
# A frequency that is off by about a tenth of a bin (and by an eighth without doubt) is not of a whole number of pixels:
# so large is the difference of the bins next to it, as a share of the bin.
_OFF = 0.15
# So many times its variance the square of that difference may come to by noise: two standard deviations.
_BY_NOISE = 6.0


class GridEnergy(NamedTuple):
    """What is found of grids in squared grey levels, each ``(N, 1 + len(periods), 3)``.

    The total, in which each frequency counts once, then each period; by axis.
    """

    #: Beyond the target; an estimate without bias may be below 0.
    excess: Tensor
    #: The variance of the excess by chance, where preds differ from a filter of the target by noise alone.
    variance: Tensor


class _Residual(NamedTuple):
    """What no smooth filter explains of preds at the harmonics: all ``(N, 3, K)``."""

    #: ``|P - H T|^2``
    energy: Tensor
    #: the mean of the same over the neighbours
    beside: Tensor
    #: how far ``P - H T`` one bin after is from the conjugate of that before, in the phase of the harmonic: its square
    drift: Tensor
    #: ``|T|^2``
    target: Tensor
    #: the median of ``|T|^2`` over the neighbours
    typical: Tensor
    #: the sum of ``|T|^2`` over the neighbours
    information: Tensor
    #: ``|H|^2``
    gain: Tensor


def grid_energy(preds: Tensor, target: Tensor, periods: tuple[int, ...]) -> GridEnergy:
    r"""Energy of the patterns in ``preds`` that repeat with the periods, in squared grey levels.

    Both images get a Hann window and a Fourier transform, over a part whose sides are multiples of the period: so all
    harmonics are exact bins. Any smooth filter (blur, sharpening, contrast) has nearly one factor ``H`` for a harmonic
    and the bins beside it: the least squares of ``P = H T`` over those. The energy of ``P - H T`` at the harmonic, less
    its mean beside it, is that of a pattern locked to the pixels.

    Args:
        preds: ``(N, 3, H, W)``, in grey levels of 255, float32 or float64.
        target: likewise.
        periods: from :func:`~torchmetrics_fmiqa.grid.frequencies.check_periods`.

    Raises:
        ValueError: if the images are too small for a period.

    >>> flat = torch.full((1, 3, 96, 96), 100.0)
    >>> stripes = flat + torch.tensor([1.0, -1.0]).repeat(48)
    >>> grid_energy(stripes, flat, (2, 4)).excess[0, :, 0].round(decimals=3)
    tensor([1., 1., 1.])
    """
    found = preds.new_zeros(2, len(preds), 1 + len(periods), len(AXES))
    for spectrum in plan_spectra(preds.shape[-2], preds.shape[-1], periods, preds.device):
        transforms = _transforms(preds, target, spectrum)
        rounding = _ROUNDING * BANDWIDTH**2 / (spectrum.height * spectrum.width)
        for harmonics in spectrum.harmonics:
            residual = _residual(*transforms, harmonics, rounding)
            excess = _excess(residual, harmonics, 2 * rounding).mean(1)
            # the energy of noise in a bin has its mean as its deviation; the channels' mean has a third of the variance
            variance = (residual.beside + 2 * rounding).square().mean(1) / residual.beside.shape[1]
            weights = harmonics.energy_weights.to(excess).T
            added = torch.stack([excess @ weights, variance @ weights.square()])
            found[..., harmonics.axis] += added
    return GridEnergy(*found)


def grid_residual(preds: Tensor, target: Tensor, periods: tuple[int, ...]) -> Tensor:
    """Energy ``(N,)`` of ``P - H T`` over all harmonics, in squared grey levels: what a loss takes.

    Nothing is subtracted: what is beside the harmonics must not become a way to a lower loss.
    """
    found = preds.new_zeros(len(preds))
    for spectrum in plan_spectra(preds.shape[-2], preds.shape[-1], periods, preds.device):
        transforms = _transforms(preds, target, spectrum)
        rounding = _ROUNDING * BANDWIDTH**2 / (spectrum.height * spectrum.width)
        for harmonics in spectrum.harmonics:
            energy = _residual(*transforms, harmonics, rounding).energy.mean(1)
            found = found + energy @ harmonics.energy_weights[0].to(energy)
    return found


def _transforms(preds: Tensor, target: Tensor, spectrum: Spectrum) -> tuple[Tensor, Tensor]:
    """Spectra ``(N, 3, h * w)`` of the difference and of the target; a pattern's amplitude stands in its bins."""
    rows, columns = (
        torch.hann_window(side, periodic=True, dtype=preds.dtype, device=preds.device) * (2 / side)
        for side in (spectrum.height, spectrum.width)
    )
    window = rows[:, None] * columns
    target = target[..., : spectrum.height, : spectrum.width]
    difference = preds[..., : spectrum.height, : spectrum.width] - target
    # digits: the mean is the largest number of a spectrum and counts for nothing
    target = target - target.mean((-2, -1), keepdim=True)
    difference = difference - difference.mean((-2, -1), keepdim=True)
    return torch.fft.fft2(difference * window).flatten(-2), torch.fft.fft2(target * window).flatten(-2)


def _residual(difference: Tensor, target: Tensor, harmonics: Harmonics, rounding: float) -> _Residual:
    """What is left at the harmonics when a filter has explained what it can, by the bins beside them."""
    places, neighbours, trusted = harmonics.places, harmonics.neighbours, harmonics.trusted
    count = trusted.sum(-1)
    beside, around = difference[..., neighbours], target[..., neighbours]
    own = around * trusted
    information = _square(own).sum(-1)
    common = (beside * own.conj()).sum(-1)
    independent = count / harmonics.bandwidth

    def left(change: Tensor) -> Tensor:
        energy = (_square(beside - change[..., None] * own) * trusted).sum(-1)
        return energy / count * (independent / (independent - 1))

    # H - 1, so that equal images leave exactly nothing; a target that holds nothing but rounding leaves it at 0
    known = information + count * rounding
    # less of it where noise could have made it
    change = common / (known + harmonics.bandwidth * left(common / known))
    here, adjacent = target[..., places], harmonics.adjacent
    locked = difference[..., places] - change * here
    next_to = difference[..., adjacent] - change[..., None, None] * target[..., adjacent]
    before, after = (next_to * locked.conj()[..., None, None]).unbind(-1)
    drift = _square(after - before.conj()).amax(-1)
    return _Residual(
        _square(locked),
        left(change),
        drift,
        _square(here),
        _square(around).median(-1).values,
        (information - _CERTAIN * rounding * count).clamp_min(0),
        _square(1 + change),
    )


def _excess(residual: _Residual, harmonics: Harmonics, rounding: float) -> Tensor:
    """Energy of a grid at the harmonics, ``(N, 3, K)``: what exceeds the neighbours and the doubt about the filter."""
    excess = residual.energy - residual.beside
    beside = residual.beside + rounding
    noise = harmonics.bandwidth * beside
    prominence = residual.target / (residual.typical + rounding)
    own = ((prominence - _PROMINENT) / _PROMINENT).clamp(0, 1) * (1 + residual.gain)
    doubt = residual.target * (noise / (noise + residual.information) + _OWN_CHANGE**2 * residual.gain + own)
    # the phase of a pattern that repeats with whole pixels stays, wherever and however strong it is; noise moves it too
    energy = residual.energy
    off = (residual.drift - _BY_NOISE * beside * energy) / (_OFF**2 * energy.square() + rounding**2)
    doubt = doubt + excess.clamp_min(0) * (off - 1).clamp(0, 1)
    # the target's own pattern can hide a grid of the same frequency, not one of another
    return excess - torch.minimum(excess.clamp_min(0), doubt)


def _square(values: Tensor) -> Tensor:
    """Squared magnitude of complex numbers; its gradient is finite at 0."""
    return values.real.square() + values.imag.square()
