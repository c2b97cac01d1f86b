"""QualityReport: what a monitor found, over all ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from torchmetrics_fmiqa.arguments import whole_number
from torchmetrics_fmiqa.monitoring.drawing import side_by_sides
from torchmetrics_fmiqa.monitoring.samples import Id
from torchmetrics_fmiqa.monitoring.worst_images import WorstImage
from torchmetrics_fmiqa.statistics.mean_interval import mean_interval


@dataclass(frozen=True)
class QualityReport:
    """What a :class:`~torchmetrics_fmiqa.QualityMonitor` found, the same on every rank but for the images.

    Args:
        numbers: name -> number over all samples. Beside the metrics there are ``share_outside``, the share of predicted
            values outside their range, and, where predictions may be left out, ``share_not_finite``. Empty without
            samples.
        worst: the worst images, the worst one first. On rank 0 alone: elsewhere this is empty.
        worst_by: name of the metric that they were chosen by.
        samples: number of samples that were measured.
        repeated: number of samples that were left out, because their id had come before.
        scores: name of a metric -> id -> what that sample alone scores; of samples with ids.

    >>> report = QualityReport({"vit": 0.25}, (), "vit", samples=2, repeated=1, scores={"vit": {7: 0.2, 9: 0.3}})
    >>> print(report)
    2 samples (1 repeated sample left out): vit 0.25
    """

    numbers: Mapping[str, float]
    worst: tuple[WorstImage, ...] = field(repr=False)
    worst_by: str
    samples: int
    repeated: int = 0
    scores: Mapping[str, Mapping[Id, float]] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """One line with all numbers."""
        again = f" ({_count(self.repeated, 'repeated sample')} left out)" if self.repeated else ""
        numbers = ", ".join(f"{name} {value:.6g}" for name, value in self.numbers.items())
        return f"{_count(self.samples, 'sample')}{again}: {numbers or 'no numbers'}"

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """The interval of a number that is a mean over samples, by the bootstrap-t over samples.

        Args:
            name: name of the number.
            level: of the interval.

        Returns:
            Lower and upper limit; NaN for fewer than 2 samples.

        Raises:
            ValueError: if samples had no ids, or if the number is no mean over them, as PSNR over all pixels is none.

        >>> report = QualityReport({"vit": 0.25}, (), "vit", 3, scores={"vit": {7: 0.2, 8: 0.25, 9: 0.3}})
        >>> low, high = report.interval("vit")
        >>> low < 0.25 < high
        True
        """
        if name not in self.numbers:
            raise ValueError(f"there is no number {name!r}: take one of {', '.join(self.numbers) or 'none'}")
        if len(self.scores.get(name, {})) != self.samples:
            raise ValueError(f"{name!r} has no interval: scores of samples are kept where every sample has an id")
        values = np.sort(list(self.scores[name].values()))  # the order of ranks must not change the draws
        if not np.isfinite(values).all() or not np.isclose(values.mean(), self.numbers[name], rtol=1e-4, atol=1e-7):
            raise ValueError(
                f"{name!r} has no interval: it is {self.numbers[name]:.6g}, not the mean of the samples' scores, "
                f"{values.mean():.6g}"
            )
        found = mean_interval(values[:, None], level=level)
        return float(found.low[0]), float(found.high[0])

    def pictures(self, side: int = 512) -> list[np.ndarray[Any, Any]]:
        """The worst images as pictures: reference, prediction and heat map side by side, maps on one scale.

        Args:
            side: the longest side of a panel in pixels; larger images are shrunk.

        Returns:
            ``(h, w, 3)``, uint8, one for each of :attr:`worst`.
        """
        return side_by_sides(self.worst, whole_number(side, "side", 1))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
