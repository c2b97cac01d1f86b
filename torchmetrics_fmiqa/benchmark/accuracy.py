"""Is perceptual similarity explained by classification accuracy? Agreement against ImageNet top-1."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AccuracyFinding:
    """Rank correlation over backbones between ImageNet top-1 and a figure of their metrics.

    Args:
        what: the figure, such as ``"desirability"`` or ``"SRCC"``.
        backbones: ``B`` names.
        metrics: the metric that stands for each backbone: its best.
        top1: ``(B,)`` ImageNet top-1 accuracy in per cent.
        values: ``(B,)`` the figure.
        rho: Spearman's rank correlation; NaN for fewer than 4 backbones.
        p: two-sided permutation p-value of ``rho``.
        interval: 95 % interval of ``rho`` by bootstrap over backbones.
        note: what to know: few backbones, kinds of accuracy that differ.
    """

    what: str
    backbones: tuple[str, ...]
    metrics: tuple[str, ...]
    top1: tuple[float, ...]
    values: tuple[float, ...]
    rho: float
    p: float
    interval: tuple[float, float]
    note: str
