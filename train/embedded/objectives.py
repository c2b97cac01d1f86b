"""What a network is trained for: distances in the order of severity, features that tell places apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: The severity that stands for a change that nobody sees. With -0.5 training gave up detail for the sake of shifts.
UNSEEN = 0.5
# Severities that differ by this are in order: of one distortion of one image, of comparable distortions of one image,
# and of those of two images, since what is plain on one may be hard to see on the other.
_OWN_STEP, _FAIR_STEP, _ANY_STEP = 0.4, 1.6, 2.4
# Distances below this count as this: what is under it nobody sees, and its logarithm would rule all others.
_NEAREST = 1e-5
# What the logarithm of the distance shall be: for the label 0, and how much more for 1. Left to itself it grows steeper
# without end, until mild distortions have no gradient and channels die.
_LEAST, _RANGE = -5.0, 4.0


@dataclass(frozen=True)
class Copies:
    """Distorted copies of the references of a batch.

    Args:
        images: ``(M, 3, H, W)`` in [0, 1].
        reference: ``(M,)``: which reference each is a copy of.
        kind: ``(M,)``: number of the distortion.
        severity: ``(M,)``: 1 to 5, or :data:`UNSEEN`.
        comparable: ``(M,)``: whether the severity means the same as that of other comparable distortions.
        lenient: ``(M,)``: whether comparable distortions of a severity well above are worse.
        label: ``(M,)``: how bad formulas find it (:mod:`train.embedded.formulas`), 0 to 1; all 0 where none was asked.
    """

    images: Tensor
    reference: Tensor
    kind: Tensor
    severity: Tensor
    comparable: Tensor
    lenient: Tensor
    label: Tensor

    def to(self, device: str) -> Copies:
        """The same on a device."""
        return Copies(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def distances(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Cosine distance over channels, mean over positions, for each tap: ``(N, L)``, as FeatureDistance takes it.

    Args:
        one: features ``(N, C, h, w)`` of each tap.
        other: likewise.
    """

    def unit(values: Tensor) -> Tensor:
        squares = values.square().sum(1, keepdim=True)
        long = squares > 1e-16
        return values * torch.where(long, torch.where(long, squares, 1.0).rsqrt(), 0.0)

    return torch.stack(
        [0.5 * (unit(a) - unit(b)).square().sum(1).mean((1, 2)) for a, b in zip(one, other, strict=True)], 1
    )


def in_order(copies: Copies) -> tuple[Tensor, Tensor]:
    """Which copy must lie nearer than which: two masks ``(M, M)``, row nearer than column.

    Returns:
        Of one distortion of one image; of comparable distortions of any image, and lenient below comparable ones.
    """
    step = copies.severity[None] - copies.severity[:, None]
    image = copies.reference[:, None] == copies.reference
    same = image & (copies.kind[:, None] == copies.kind)
    both = (copies.comparable | copies.lenient)[:, None] & copies.comparable
    return same & (step >= _OWN_STEP), both & ~same & (step >= torch.where(image, _FAIR_STEP, _ANY_STEP))


def ranking(taken: Tensor, copies: Copies, margin: float = 0.15, sharpness: float = 4.0) -> Tensor:
    """How far distances are from the order of severity: 0 where each is above the next by ``margin`` in its logarithm.

    Args:
        taken: distances ``(M, L)`` of the copies from their references.
        copies: what was done to them.
        margin: by which factor, as a logarithm, a worse copy must lie farther.
        sharpness: how soon a pair in order counts no more.
    """
    # the floor keeps the gradient of a copy that is nearly its reference finite
    logs = torch.cat([taken.mean(1, keepdim=True), taken], 1).clamp_min(1e-7).log()
    losses = []
    for mask in in_order(copies):
        if mask.any():
            nearer, farther = mask.nonzero(as_tuple=True)
            gaps = logs[farther] - logs[nearer] - margin
            losses.append(F.softplus(-sharpness * gaps) / sharpness)
    if not losses:
        return logs.sum() * 0
    # the mean over taps is what the metric gives; single taps count too, so that none is left behind
    per_tap = torch.stack([loss.mean(0) for loss in losses]).sum(0)
    return per_tap[0] + 0.25 * per_tap[1:].mean()


def calibration(taken: Tensor, copies: Copies) -> Tensor:
    """How far the logarithm of the distance is from a straight line in severity, over comparable copies: 1 - r."""
    chosen = copies.comparable & (copies.severity >= 1)
    if int(chosen.sum()) < 3:
        return taken.sum() * 0
    logs = taken[chosen].mean(1).clamp_min(1e-7).log()
    severity = copies.severity[chosen]
    one, other = logs - logs.mean(), severity - severity.mean()
    return 1 - (one * other).sum() / (one.square().sum() * other.square().sum()).clamp_min(1e-12).sqrt()


def verdict(taken: Tensor, copies: Copies, softness: float = 0.04) -> Tensor:
    """How far the logarithm of the distance is from the formulas' label: 1 - r, and pairs in the wrong order.

    It says where the line lies too: distances from 0.007 to 0.4.

    Args:
        taken: distances ``(M, L)`` of the copies from their references.
        copies: what was done to them, with labels.
        softness: labels that differ by this are in order with a chance of 73 %.
    """
    logs = torch.cat([taken.mean(1, keepdim=True), taken], 1).clamp_min(_NEAREST).log()
    label = copies.label - copies.label.mean()
    spread = logs - logs.mean(0)
    scale = (spread.square().sum(0) * label.square().sum()).clamp_min(1e-12).sqrt()
    apart = 1 - (spread * label[:, None]).sum(0) / scale
    right = torch.sigmoid((copies.label[:, None] - copies.label) / softness)
    gaps = (logs[:, None] - logs) / (_RANGE * softness)
    order = F.binary_cross_entropy_with_logits(gaps, right[..., None].expand_as(gaps), reduction="none").mean((0, 1))
    off = (logs - (_LEAST + _RANGE * copies.label[:, None])).mean(0).square()
    each = apart + 0.5 * order + 0.1 * off
    # the mean over taps is what the metric gives; single taps count too, so that none is left behind
    return each[0] + 0.25 * each[1:].mean()


def contrast(
    references: Sequence[Tensor], copies: Sequence[Tensor], reference: Tensor, spacing: int = 16, heat: float = 0.1
) -> Tensor:
    """Dense InfoNCE: a place of a copy must be most like the same place of its reference, not like any other place.

    Args:
        references: features of each tap ``(R, C, h, w)``, tap ``i`` at ``1 / 2 ** (i + 1)`` of the image's size.
        copies: features of mild copies ``(K, C, h, w)``.
        reference: ``(K,)``: which reference each is a copy of.
        spacing: pixels between the places that are compared: neighbours look alike and are no negatives.
        heat: temperature of the softmax.
    """
    losses = []
    for tap, (one, other) in enumerate(zip(references, copies, strict=True)):
        step = max(1, spacing >> (tap + 1))
        places, others = (values[:, :, step // 2 :: step, step // 2 :: step].flatten(2) for values in (one, other))
        count = places.shape[2]
        keys = F.normalize(places.transpose(1, 2).flatten(0, 1), dim=1, eps=1e-4)
        queries = F.normalize(others.transpose(1, 2).flatten(0, 1), dim=1, eps=1e-4)
        right = (reference[:, None] * count + torch.arange(count, device=reference.device)).flatten()
        losses.append(F.cross_entropy(queries @ keys.T / heat, right))
    return torch.stack(losses).mean()


#: The objectives by name: how much of each part they weigh.
OBJECTIVES: dict[str, dict[str, float]] = {
    "contrast": {"contrast": 1.0},
    "ranking": {"ranking": 1.0},
    "calibration": {"calibration": 1.0},
    "contrast+calibration": {"contrast": 1.0, "calibration": 0.3},
    "ranking+contrast": {"ranking": 1.0, "contrast": 0.1},
    "ranking+calibration": {"ranking": 1.0, "calibration": 1.0},
    "verdict": {"verdict": 1.0},
    "all": {"ranking": 1.0, "calibration": 1.0, "contrast": 0.1},
}


def parts(
    weights: Mapping[str, float],
    references: Sequence[Tensor],
    features: Sequence[Tensor],
    copies: Copies,
    deepest: int | None = None,
) -> dict[str, Tensor]:
    """The parts of an objective that have a weight.

    Args:
        weights: one of :data:`OBJECTIVES`.
        references: features of each tap ``(R, C, h, w)``.
        features: of the copies, ``(M, C, h, w)``.
        copies: what was done to them.
        deepest: how many of the deepest taps distances are taken from, ``None`` for all.
    """
    found = {}
    if weights.keys() & {"ranking", "calibration", "verdict"}:
        chosen = slice(0 if deepest is None else -deepest, None)
        taken = distances([tap[copies.reference] for tap in references[chosen]], features[chosen])
        if "ranking" in weights:
            found["ranking"] = ranking(taken, copies)
        if "calibration" in weights:
            found["calibration"] = calibration(taken, copies)
        if "verdict" in weights:
            found["verdict"] = verdict(taken, copies)
    if "contrast" in weights:
        mild = copies.comparable & (copies.severity <= 2)
        found["contrast"] = contrast(references, [tap[mild] for tap in features], copies.reference[mild])
    return found
