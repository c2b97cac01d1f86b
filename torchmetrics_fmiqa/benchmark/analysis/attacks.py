"""Small changes of an image made against a metric: FGSM and PGD.

They tell how far a metric can be pushed by changes that people do not see. The image under test is attacked, within a
largest change of each value. A metric of images that differ moves under any change, so an attack must be compared with
the change of the score by random noise of the same PSNR.

FGSM is by Goodfellow, Shlens and Szegedy (ICLR 2015), PGD by Madry et al. (ICLR 2018). Attacked images are not
rounded to 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.analysis.middles import centre
from torchmetrics_fmiqa.benchmark.metrics.metric import Metric, Scorer

#: One step, or several within the same bound.
Method = Literal["fgsm", "pgd"]

#: What to do to the score.
Goal = Literal["raise", "lower"]

# Random noises that the change by noise is the mean of.
_NOISES = 4


@dataclass(frozen=True)
class AttackResult:
    """What an :class:`Attack` does to a metric, over several images."""

    metric: str
    attack: str  #: its method
    goal: str
    epsilon: float  #: in units of 1/255
    change: float  #: mean of the score, signed, in standard deviations of the scores over the benchmark's images
    noise: float  #: mean change by random noise of the same PSNR, likewise: what an attack must be held against
    #: Mean PSNR of the attacked image against the unattacked, in dB, over the images that the attack changed at all
    #: (FGSM leaves one alone whose gradient is zero everywhere); infinite if it changed none.
    psnr: float
    n: int  #: number of images


@dataclass(frozen=True)
class Attack:
    """One way to attack a metric."""

    epsilon: float  #: the most that a value changes, in units of 1/255: above 0, at most 127
    goal: Goal = "raise"  #: ``"raise"`` or ``"lower"`` the score, whatever the score's direction
    method: Method = "pgd"  #: ``"fgsm"`` or ``"pgd"``
    steps: int = 10  #: of PGD, each of ``2.5 * epsilon / steps``


#: The attacks of a benchmark.
ATTACKS = tuple(
    Attack(epsilon, goal, method) for method in get_args(Method) for goal in get_args(Goal) for epsilon in (1, 2, 4)
)


def attack(
    score: Scorer, preds: Tensor, target: Tensor, how: Attack, seed: int = 0, name: str = "the metric"
) -> Tensor:
    """Change images under test, each value by at most ``epsilon / 255``, so that their scores rise or fall.

    FGSM takes one step from the image itself along the sign of the gradient. PGD takes ``steps`` from a random place
    near it (at an image equal to its reference the gradient of a distance is zero), and gives back the best image that
    it came by. The unattacked image is not among those: an attack that fails shows. Nor is FGSM's, which is a little
    better where the score is nearly linear within the bound.

    Images are ``(N, 3, H, W)``, float32 or float64 in [0, 1]; the seed is that of PGD's random start, and the name the
    metric's, for errors.

    Raises:
        ValueError: for a metric through which no gradient flows, and scores or gradients that are not finite.

    >>> target = torch.full((1, 3, 2, 2), 0.5)
    >>> def squared(preds: Tensor, target: Tensor) -> Tensor:
    ...     return (preds - target).square().mean((1, 2, 3))
    >>> attacked = attack(squared, target + 0.1, target, Attack(4, "lower"))
    >>> bool(squared(attacked, target) < squared(target + 0.1, target)), round(255 * (0.6 - attacked.max().item()), 2)
    (True, 4.0)
    """
    reach = how.epsilon / 255
    # copies, and out of inference mode: tensors that were made in it cannot be differentiated through
    with torch.inference_mode(False), torch.enable_grad():
        preds, target = preds.detach().clone(), target.detach().clone()
        low, high = (preds - reach).clamp(min=0), (preds + reach).clamp(max=1)
        if how.method == "fgsm":
            _, uphill = _gradient(score, preds, target, how.goal, name)
            return (preds + reach * uphill.sign()).clamp(low, high)
        draw = torch.rand(preds.shape, generator=torch.Generator().manual_seed(seed), dtype=preds.dtype)
        image = (preds + reach * (2 * draw.to(preds.device) - 1)).clamp(low, high)
        best, best_gain = image, torch.full_like(preds[:, 0, 0, 0], -torch.inf)
        for step in range(how.steps + 1):
            gain, uphill = _gradient(score, image, target, how.goal, name, last=step == how.steps)
            better = gain > best_gain
            best = torch.where(better[:, None, None, None], image, best)
            best_gain = torch.where(better, gain, best_gain)
            image = (image + 2.5 * reach / how.steps * uphill.sign()).clamp(low, high)
        return best


def attack_metric(
    metric: Metric,
    pairs: Sequence[tuple[Tensor, Tensor]],
    spread: float,
    attacks: Sequence[Attack] = ATTACKS,
    seed: int = 0,
    side: int = 224,
) -> list[AttackResult]:
    """Attack a metric on several pairs, and compare the change of the score with that by noise of the same PSNR.

    The noise changes every value of an image by the same amount, up or down at random (inwards where a value would
    leave [0, 1]), so that its mean squared error is the attack's exactly, image by image.

    Pairs are images under test and their references, each ``(1, 3, H, W)``, float32 or float64 in [0, 1], of any size.
    Where a side is longer than ``side`` pixels, its middle is cut out of both. The unit of changes is ``spread``, the
    standard deviation of the metric's scores over the benchmark's images (whole, not their middles). Equal seeds give
    equal results.

    Raises:
        ValueError: for a metric that is not differentiable, images that are too small for it, and scores or gradients
            that are not finite.

    >>> def squared(preds: Tensor, target: Tensor) -> Tensor:
    ...     return (preds - target).square().mean((1, 2, 3))
    >>> mse = Metric("MSE", squared, higher_is_better=False, differentiable=True, identity="doctest")
    >>> target = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> result, = attack_metric(mse, [(0.8 * target, target)], 0.01, [Attack(4)])
    >>> result.change > 5 * abs(result.noise), round(result.psnr, 1)
    (True, 36.1)
    """
    _check_metric(metric, pairs, spread, side)
    middles = [(centre(preds, side), centre(target, side)) for preds, target in pairs]
    # (pairs, attacks, 3): change, change by noise, mean squared error
    outcomes = np.array([_attack_pair(metric, *pair, attacks, (seed, place)) for place, pair in enumerate(middles)])
    results = []
    for how, (change, noise, error) in zip(attacks, outcomes.transpose(1, 2, 0), strict=True):
        changed = error[error > 0]
        psnr = float(np.mean(-10 * np.log10(changed))) if len(changed) else float("inf")
        means = float(change.mean() / spread), float(noise.mean() / spread)
        results.append(AttackResult(metric.name, how.method, how.goal, float(how.epsilon), *means, psnr, len(pairs)))
    return results


def _attack_pair(
    metric: Metric, preds: Tensor, target: Tensor, attacks: Sequence[Attack], seeds: tuple[int, int]
) -> list[tuple[float, float, float]]:
    """For each attack the change of a pair's score, its change by noise, and the mean squared error of both."""
    start_seed, noise_seed = (int(state) for state in np.random.SeedSequence(seeds).generate_state(2))
    generator = torch.Generator().manual_seed(noise_seed)
    signs = [(torch.rand(preds.shape, generator=generator) < 0.5).to(preds).mul(2).sub(1) for _ in range(_NOISES)]
    before = _value(metric, preds, target)
    outcomes = []
    for how in attacks:
        attacked = attack(metric.score, preds, target, how, start_seed, metric.name)
        error = float((attacked.double() - preds.double()).square().mean())
        noisy = [_value(metric, _add_noise(preds, sign, error**0.5), target) for sign in signs]
        outcomes.append((_value(metric, attacked, target) - before, float(np.mean(noisy)) - before, error))
    return outcomes


def _gradient(
    score: Scorer, preds: Tensor, target: Tensor, goal: Goal, name: str, last: bool = False
) -> tuple[Tensor, Tensor]:
    """Gain ``(N,)`` towards the goal, and its gradient; none is taken, and zero given, where it is the last look."""
    image = preds.clone().requires_grad_(not last)
    scores = score(image, target)
    gain = scores if goal == "raise" else -scores
    if not gain.isfinite().all():
        raise ValueError(
            f"{name} gives scores that are not finite: it cannot be attacked there, leave the pair or the metric out"
        )
    if last:
        return gain.detach(), torch.zeros_like(preds)
    if not gain.requires_grad:
        raise ValueError(f"no gradient flows through {name}: it cannot be attacked")
    # not `backward`: that would leave gradients on the metric's parameters
    (uphill,) = torch.autograd.grad(gain.sum(), image, allow_unused=True)
    if uphill is None:
        raise ValueError(f"no gradient flows from {name} to the images under test: it cannot be attacked")
    if not uphill.isfinite().all():
        raise ValueError(f"{name} has a gradient that is not finite: it cannot be attacked")
    return gain.detach(), uphill


def _add_noise(preds: Tensor, signs: Tensor, size: float) -> Tensor:
    """Move every value by ``size``, at most 0.5, up or down; the other way where that would leave [0, 1]."""
    moved = preds + size * signs
    inside = (moved >= 0) & (moved <= 1)
    return torch.where(inside, moved, preds - size * signs)


@torch.no_grad()
def _value(metric: Metric, preds: Tensor, target: Tensor) -> float:
    value = float(metric.score(preds, target))
    if not np.isfinite(value):
        raise ValueError(
            f"{metric.name} gives {value} for a pair: it cannot be attacked there, leave the pair or the metric out"
        )
    return value


def _check_metric(metric: Metric, pairs: Sequence[tuple[Tensor, Tensor]], spread: float, side: int) -> None:
    if not metric.differentiable:
        raise ValueError(f"{metric.name} is not differentiable and cannot be attacked: leave it out of the attacks")
    if not 0 < spread < float("inf"):
        raise ValueError(f"`spread` must be the positive standard deviation of {metric.name}'s scores, got {spread!r}")
    for position, (preds, _) in enumerate(pairs):
        height, width = preds.shape[2:]
        if min(height, width, side) < metric.minimum_side:
            raise ValueError(
                f"{metric.name} needs images of at least {metric.minimum_side} pixels a side; pair {position} is "
                f"{height}x{width} (H x W) and `side` {side}: leave the pair out, or raise `side`"
            )
