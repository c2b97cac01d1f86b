"""GridArtifact: patterns that repeat with a whole number of pixels, as a ``torchmetrics.Metric``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.arguments import as_python, short_repr
from torchmetrics_fmiqa.comparator import Images
from torchmetrics_fmiqa.features.image_checks import DataRange
from torchmetrics_fmiqa.grid.frequencies import AXES, PERIODS
from torchmetrics_fmiqa.grid.meter import GridMeter
from torchmetrics_fmiqa.metrics.image_pair_metric import ImagePairMetric, NanStrategy
from torchmetrics_fmiqa.misuse import warn_user
from torchmetrics_fmiqa.reduction import Reduction

_NAME = "grid"
# A shorter period with this share of the total's energy is the one to name: each of its multiples has it too.
_MOST = 0.8


class GridArtifact(ImagePairMetric):
    """Grids in the output: patterns locked to the pixels, of 2, 4, 8, 14 and 16 pixels, that the target does not have.

    Upsampling leaves them (pixel shuffle, transposed convolution), and so do the patches of transformers. No perceptual
    distance minds one of half a grey level, which the eye sees in a sky. **Lower is better; 0 for equal images.** The
    unit is the grey level of 255: the RMS of the pattern over pixels and channels. Blur, sharpening, contrast, noise
    and resizing are no grids; :doc:`/how-to/grid-artifacts` has the formula and how often it errs.

    As input to ``forward`` and ``update`` the metric accepts

    - ``preds``: images under test, ``(N, 3, H, W)``, floating point in ``data_range``, uint8 or uint16; or a list of
      ``(3, H, W)``, each of its own size. Each side must hold the longest period 6 times (96 pixels for 16)
    - ``target``: the pristine references, in the same form, within ``data_range``
    - ``sample_ids``: optional ``(N,)`` integers of at least 0. A repeated sample is counted once, over all ranks

    As output of ``forward`` and ``compute`` the metric returns

    - a 0-dim tensor, or with ``reduction="none"`` the ``(N,)`` values: in the order of ``sample_ids`` if given, else of
      the updates, rank by rank
    - with ``per_period`` a dict of these: ``"total"``, in which each frequency counts once; ``"4"`` for a period with
      all its harmonics (so ``"8"`` holds what ``"4"`` holds); ``"4/x"`` for what varies along x alone, ``"4/y"``,
      ``"4/xy"``

    Args:
        periods: in pixels, whole numbers of at least 2.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` over images.
        per_period: return each period and axis too.
        alarm_above: warn when the mean over images rises above so many grey levels, with its period and axis. It warns
            again only after it had fallen below. Batches in ``forward`` do not warn.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        crop_border: pixels to cut off each side first.
        validate: check the values of images too (on a GPU this waits for the device).
        nan_strategy: treatment of predictions with NaN or infinite values: ``"error"``, or ``"warn"`` or ``"ignore"``
            to leave them out.
        kwargs: options of ``torchmetrics.Metric``.

    Raises:
        ValueError: for invalid arguments or images, or images too small for a period; the message names the value and
            the fix.

    >>> from torchmetrics_fmiqa import GridArtifact
    >>> metric = GridArtifact(periods=[2, 4], data_range=255, per_period=True)
    >>> target = torch.full((1, 3, 96, 96), 100.0)
    >>> metric.update(target + torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(24), target)
    >>> {name: round(float(value), 2) for name, value in metric.compute().items() if value > 0.01}
    {'total': 1.0, '4': 1.0, '4/x': 1.0}
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_legend_name = "Period"

    def __init__(
        self,
        periods: Iterable[int] = PERIODS,
        reduction: Reduction = "mean",
        per_period: bool = False,
        alarm_above: float | None = None,
        data_range: DataRange = 1.0,
        crop_border: int = 0,
        validate: bool = True,
        nan_strategy: NanStrategy = "error",
        **kwargs: Any,
    ) -> None:
        super().__init__(reduction, data_range, crop_border, validate, nan_strategy, **kwargs)
        self.meter = GridMeter(periods)
        self.per_period = per_period
        self.alarm_above = _check_level(alarm_above)
        self._above, self._watching = False, True
        self._add_columns(f"{_NAME} {self.meter.periods}", {_NAME: len(self.meter.names)})

    def __repr__(self) -> str:
        """Show the periods when the metric is printed."""
        return f"{type(self).__name__}(periods={self.meter.periods}, reduction={self.reduction!r})"

    def settings(self) -> dict[str, Any]:
        """The settings that determine the metric's value, as plain values by name."""
        return {**super().settings(), "periods": list(self.meter.periods), "per_period": self.per_period}

    def update(self, preds: Images, target: Images, sample_ids: Tensor | Sequence[int] | None = None) -> None:
        """Measure a batch of pairs and add it to the state."""
        self._add(preds, target, None, sample_ids)

    @torch.jit.unused
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch to the state and return the batch's own result. An error leaves the state as it was."""
        with self._lock:
            self._watching = False
            try:
                return super().forward(*args, **kwargs)
            finally:
                self._watching = True

    def _result_of(self, preds: Images, target: Images, mask: Images | None) -> Tensor:
        return self.meter.rms(preds, target, self.data_range, self.crop_border, self.validate)

    def _columns(self, result: Tensor) -> dict[str, Tensor]:
        return {_NAME: result}

    def _combined(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        values = columns[_NAME]
        if self.alarm_above is not None and self._watching:
            self._alarm(values, self.alarm_above)
        found = dict(zip(self.meter.names, values.unbind(-1), strict=True))
        return found if self.per_period else {"total": found["total"]}

    @property
    def _keeps_names(self) -> bool:
        return self.per_period

    def _alarm(self, values: Tensor, level: float) -> None:
        """Warn if the mean over images has risen above the level."""
        if self.reduction == "none":
            values = values.mean(0)
        elif self.reduction == "sum":
            values = values / self._seen()
        means = dict(zip(self.meter.names, values.tolist(), strict=True))
        was_above, self._above = self._above, means["total"] > level
        if self._above and not was_above:
            warn_user(_message(means, self.meter.periods, level))


def _message(means: dict[str, float], periods: Sequence[int], level: float) -> str:
    """What was found, on which axis, and what to do."""
    energies = {period: means[str(period)] ** 2 for period in periods}
    most = max(energies.values())
    period = next(period for period, energy in energies.items() if energy >= _MOST * most)
    axis = max(AXES, key=lambda one: means[f"{period}/{one}"])
    where = "both axes" if axis == "xy" else axis
    return (
        f"GridArtifact: a grid of {means['total']:.2f} grey levels RMS (alarm_above={level:g}), strongest with a "
        f"period of {period} pixels along {where}. Enlarge an even region to see it. Pixel shuffle or transposed "
        f"convolution of that stride leaves such patterns, and patches of that size: resize before a convolution "
        f"instead, or train with GridArtifactLoss(periods=({period},))"
    )


def _check_level(level: Any) -> float | None:
    """Return the level of the alarm.

    Raises:
        ValueError: if it is not a number of at least 0, or ``None``.
    """
    value = as_python(level)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(
            f"`alarm_above` must be grey levels of 255 of at least 0, such as 0.3, or None; got {short_repr(level)}"
        )
    return float(value)
