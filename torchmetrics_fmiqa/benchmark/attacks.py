"""Small changes of an image made against a metric: FGSM and PGD."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AttackResult:
    """What an attack does to a metric, over several images.

    Args:
        metric: the metric.
        attack: ``"fgsm"`` or ``"pgd"``.
        goal: ``"raise"`` or ``"lower"`` the score.
        epsilon: the most that a value changes, in units of 1/255.
        change: mean change of the score, signed, in standard deviations of the scores over the benchmark's images.
        noise: mean change by random noise of the same PSNR, likewise: what an attack must be held against.
        psnr: mean PSNR of the attacked image against the unattacked, in dB.
        n: number of images.
    """

    metric: str
    attack: str
    goal: str
    epsilon: float
    change: float
    noise: float
    psnr: float
    n: int
