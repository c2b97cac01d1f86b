"""A comparison of methods: scores of each image, what is settled between the methods, and the answer in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torchmetrics_fmiqa.comparison.scores import MethodScores
from torchmetrics_fmiqa.data.images import Match
from torchmetrics_fmiqa.statistics.paired import PairedStatistics

#: Why an image is in no figure: a method lacks it, it has no reference, or it cannot be read or scored.
Reason = Literal["missing", "extra", "broken"]


@dataclass(frozen=True)
class LeftOut:
    """An image that is in no figure, and why.

    Args:
        method: whose image it is; empty for a reference.
        name: of the image, as :attr:`~torchmetrics_fmiqa.comparison.scores.ComparedImage.name`, or of the file.
        kind: ``"missing"``, ``"extra"`` or ``"broken"``.
        reason: in words, for messages.
    """

    method: str
    name: str
    kind: Reason
    reason: str


@dataclass(frozen=True)
class Difference:
    """How two methods differ by one metric.

    Args:
        first: a method.
        second: another one.
        metric: the metric.
        value: mean of the first's scores minus the second's.
        low: lower limit of the 95 % interval, not corrected for other pairs.
        high: upper limit.
        p_holm: p-value, corrected for all pairs and metrics of the comparison.
        won: share of images on which the first is better; equal scores count half.
        better: the method that is better, or ``None`` where the two are tied.
    """

    first: str
    second: str
    metric: str
    value: float
    low: float
    high: float
    p_holm: float
    won: float
    better: str | None


@dataclass(frozen=True)
class Comparison:
    """Methods compared on the same references.

    Args:
        scores: of each method, metric and image.
        statistics: means, differences and ranks; axes are the methods and metrics of ``scores``, in their order.
        references: number of references that were given; ``scores.images`` holds those that all methods have.
        left_out: the images that are in no figure.
        skipped: metrics that could not run here, and why.
        identities: metric -> what its numbers depend on: versions, weights, settings.
        crop_border: pixels that were cut off each side.
        grouped: whether images are drawn by groups in the bootstrap.
        match: how pairs that differ in size were matched: cut to the top left part that all have, or resized.
    """

    scores: MethodScores
    statistics: PairedStatistics
    references: int
    left_out: tuple[LeftOut, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    identities: Mapping[str, str] = field(default_factory=dict)
    crop_border: int = 0
    grouped: bool = False
    match: Match | None = None
