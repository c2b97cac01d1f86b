"""What a comparison of methods measured: the images, and a score of each method, metric and image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torchmetrics_fmiqa.statistics.inputs import Floats


@dataclass(frozen=True)
class ComparedImage:
    """A reference image, and what each method made of it.

    Args:
        name: what pairs the files: the reference's path below its folder, without its ending, or the table's ``ref``.
        target: file of the reference.
        preds: method -> file of its image.
        group: what images are drawn by in the bootstrap, such as a scene; the name where there are no groups.
    """

    name: str
    target: Path
    preds: Mapping[str, Path]
    group: str


@dataclass(frozen=True)
class MethodScores:
    """Scores of the images that all methods have.

    Args:
        methods: names, in the order that the user gave.
        metrics: names of the columns; the first is the one that the answer is about.
        qualities: those of the metrics of which more is better; the others are distances.
        images: the images.
        values: ``(methods, metrics, images)`` float64; NaN where a metric cannot take an image of this size.
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    qualities: frozenset[str]
    images: tuple[ComparedImage, ...]
    values: Floats = field(repr=False)
