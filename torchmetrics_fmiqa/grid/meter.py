"""GridMeter: from images as the user has them to the grids in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.image_checks import DataRange, check_lists, group_by_size
from torchmetrics_fmiqa.features.image_pairs import unit_pair
from torchmetrics_fmiqa.grid.energy import grid_energy, grid_residual
from torchmetrics_fmiqa.grid.frequencies import AXES, PERIODS, check_periods
from torchmetrics_fmiqa.misuse import WarnOnce

_LEVELS = 255.0
# What chance gives is not a grid: so many standard deviations are taken off.
_DEVIATIONS = 2.0


class GridMeter:
    """Measures patterns that repeat with a whole number of pixels, in grey levels of 255.

    Args:
        periods: in pixels.

    Raises:
        ValueError: for invalid periods.
    """

    def __init__(self, periods: Iterable[int] = PERIODS) -> None:
        self.periods = check_periods(periods)
        self._warn = WarnOnce()

    @property
    def names(self) -> tuple[str, ...]:
        """What :meth:`rms` holds: ``"total"``, then each period over all axes and on each.

        >>> GridMeter([4]).names
        ('total', '4', '4/x', '4/y', '4/xy')
        """
        return "total", *(f"{period}{axis}" for period in self.periods for axis in ("", *(f"/{one}" for one in AXES)))

    def rms(
        self,
        preds: Tensor | Sequence[Tensor],
        target: Tensor | Sequence[Tensor],
        data_range: DataRange = 1.0,
        crop_border: int = 0,
        validate: bool = True,
    ) -> Tensor:
        """RMS of the grids in grey levels of 255, ``(N, len(names))``, float32 (float64 for float64 images).

        Raises:
            ValueError: for images that do not fit or are too small, naming the value and the fix.
        """
        if isinstance(preds, Tensor) and isinstance(target, Tensor):
            preds, target = self._levels(preds, target, data_range, crop_border, validate)
            with torch.autocast(preds.device.type, enabled=False):
                energy = grid_energy(preds, target, self.periods)
            # over all axes, then on each
            excess, variance = (torch.cat([part.sum(-1, keepdim=True), part], -1) for part in energy)
            rms = _root(excess - _DEVIATIONS * _root(variance))
            return torch.cat([rms[:, 0, :1], rms[:, 1:].flatten(1)], 1)
        check_lists(preds, target, None)
        groups = group_by_size(list(preds), list(target))
        parts = []
        for group in groups:
            one, other = (torch.stack([images[place] for place in group]) for images in (preds, target))
            parts.append(self.rms(one, other, data_range, crop_border, validate))
        places = torch.tensor([place for group in groups for place in group], device=parts[0].device)
        return torch.cat(parts)[places.argsort()]

    def residual(
        self, preds: Tensor, target: Tensor, data_range: DataRange = 1.0, crop_border: int = 0, validate: bool = True
    ) -> Tensor:
        """Energy ``(N,)`` in squared grey levels for a loss: of all that no filter explains at the harmonics.

        Raises:
            ValueError: as in :meth:`rms`.
        """
        preds, target = self._levels(preds, target, data_range, crop_border, validate)
        with torch.autocast(preds.device.type, enabled=False):
            return grid_residual(preds, target, self.periods)

    def _levels(
        self, preds: Tensor, target: Tensor, data_range: DataRange, border: int, validate: bool
    ) -> tuple[Tensor, Tensor]:
        dtype = torch.float64 if preds.dtype == torch.float64 else torch.float32
        preds, target = unit_pair(preds, target, dtype, data_range, border, validate, self._warn)
        return preds * _LEVELS, target * _LEVELS


def _root(energy: Tensor) -> Tensor:
    """The root, 0 below 0, with a gradient that is finite everywhere."""
    positive = energy > 0
    return torch.where(positive, torch.where(positive, energy, 1.0).sqrt(), 0.0)
