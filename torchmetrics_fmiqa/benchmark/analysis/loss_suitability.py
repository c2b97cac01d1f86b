"""Can a metric be trained against? Finite gradients, zero for equal images, symmetry, order of distortion levels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.analysis.middles import centre
from torchmetrics_fmiqa.benchmark.distortions import GRADED
from torchmetrics_fmiqa.benchmark.metrics.metric import Metric

# A distance of an image from itself may be rounding, but no more than this share of the distances' spread.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class LossSuitability:
    """How a metric does as a loss, each in [0, 1]."""

    metric: str
    #: Share of trying pairs (equal, black, constant, natural) whose gradient with respect to ``preds`` is finite
    #: everywhere and, for unequal images, not zero everywhere; 0 if no gradient flows.
    finite_gradient: float
    #: Share of images for which the metric of the image with itself is its best value (and, for a distance, 0 to 1e-6
    #: of its spread).
    identity: float
    symmetry: float  #: 1 - mean |d(x, y) - d(y, x)| / mean |d|, at least 0
    #: Share of graded distortion series (blur, noise, JPEG ...) in which the score falls or rises strictly with the
    #: level, by pairs of neighbouring levels.
    monotone: float

    @property
    def parts(self) -> tuple[float, float, float, float]:
        """The four, in the order of reports."""
        return self.finite_gradient, self.identity, self.symmetry, self.monotone


class _Scores(NamedTuple):
    """Scores of an image, turned so that higher is worse."""

    itself: Tensor  # (1,) of the image with itself
    graded: list[Tensor]  # by distortion (levels,), of its versions with the image
    forth: Tensor  # (distortions,) those of the middle levels
    back: Tensor  # (distortions,) the same pairs with preds and target exchanged


def loss_suitability(metric: Metric, images: Sequence[Tensor], seed: int = 0, side: int = 224) -> LossSuitability:
    """Try a metric as a loss.

    The trying pairs of ``finite_gradient`` are, for each image: the image with itself, black with black, grey with
    grey, black with the image, the image under noise of 10/255, and the image with one pixel turned black or white. The
    graded series are those of :data:`torchmetrics_fmiqa.benchmark.distortions.GRADED`; ``identity`` compares the image
    with all of them, ``symmetry`` is taken over the middle level of each, ``monotone`` over each two neighbouring
    levels.

    A constant metric is symmetric but has no best value: its ``identity`` is 0, as none of the series is worse. A score
    that is not finite makes ``symmetry`` 0, and a NaN counts against whatever it is compared for; a quality may be
    infinite for equal images, as PSNR is.

    Images are a few references ``(1, 3, H, W)``, float32 in [0, 1], on the device to measure on, none smaller than
    ``metric.minimum_side``. Their central squares of a ``side`` are taken, or of ``metric.minimum_side`` if that is
    larger; of a side that is smaller all is taken.

    Raises:
        ValueError: for images smaller than the blur's 17 pixels.

    >>> mse = Metric("mse", lambda preds, target: (preds - target).square().mean((1, 2, 3)), False, True, "mse")
    >>> photo = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> loss_suitability(mse, [photo])
    LossSuitability(metric='mse', finite_gradient=1.0, identity=1.0, symmetry=1.0, monotone=1.0)
    """
    # Whoever calls may be in inference mode, from whose tensors no gradient flows.
    with torch.inference_mode(False), torch.enable_grad():
        crops = [centre(image, max(side, metric.minimum_side)).detach().clone() for image in images]
        finite_gradient = _finite_gradient(metric, (pair for crop in crops for pair in _trying_pairs(crop, seed)))
    with torch.no_grad():
        scores = [_try(metric, crop, seed) for crop in crops]
    steps = torch.cat([series[1:] > series[:-1] for image in scores for series in image.graded])
    monotone = float(steps.double().mean())
    return LossSuitability(metric.name, finite_gradient, _identity(metric, scores), _symmetry(scores), monotone)


def _trying_pairs(image: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    black, grey = torch.zeros_like(image), torch.full_like(image, 0.5)
    noisy = GRADED["noise"](image, 10, torch.Generator().manual_seed(seed))
    touched = image.clone()
    middle = (..., image.shape[-2] // 2, image.shape[-1] // 2)
    touched[middle] = (touched[middle] < 0.5).to(image)
    yield from ((same, same) for same in (image, black, grey))
    yield from ((preds, image) for preds in (black, noisy, touched))


def _finite_gradient(metric: Metric, pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    if not metric.differentiable:
        return 0.0
    usable, flows = [], False
    for preds, target in pairs:
        equal = torch.equal(preds, target)
        preds = preds.clone().requires_grad_()
        score = metric.score(preds, target).sum()
        if not score.requires_grad:
            return 0.0
        (gradient,) = torch.autograd.grad(score, preds, materialize_grads=True)
        moves = bool(gradient.any())
        flows = flows or moves
        usable.append(bool(gradient.isfinite().all()) and (equal or moves))
    # A gradient of zeros is finite for equal images, but where it is all there is, nothing can be learnt.
    return sum(usable) / len(usable) if flows else 0.0


def _try(metric: Metric, image: Tensor, seed: int) -> _Scores:
    series = [distortion.series(image, seed) for distortion in GRADED.values()]
    graded = [_worse(metric, torch.cat(versions), image) for versions in series]
    middle = torch.cat([versions[len(versions) // 2] for versions in series])
    forth = torch.stack([scores[len(scores) // 2] for scores in graded])
    return _Scores(_worse(metric, image, image), graded, forth, _worse(metric, image, middle))


def _worse(metric: Metric, preds: Tensor, target: Tensor) -> Tensor:
    """Scores ``(N,)`` of a batch with a single image, or the other way round; higher is worse."""
    count = max(len(preds), len(target))
    scores = metric.score(preds.expand(count, -1, -1, -1), target.expand(count, -1, -1, -1))
    return (-scores if metric.higher_is_better else scores).double()


def _identity(metric: Metric, scores: Sequence[_Scores]) -> float:
    every = torch.cat([series for image in scores for series in image.graded])
    allowed = torch.inf if metric.higher_is_better else _ROUNDING * (every.max() - every.min())
    hits = 0
    for image in scores:
        graded = torch.cat(image.graded)
        best = (image.itself <= graded).all() and (image.itself < graded).any()
        hits += bool(best and image.itself.abs() <= allowed)
    return hits / len(scores)


def _symmetry(scores: Sequence[_Scores]) -> float:
    forth, back = torch.cat([image.forth for image in scores]), torch.cat([image.back for image in scores])
    size = (forth.abs() + back.abs()).mean() / 2
    if not size.isfinite():
        return 0.0
    # Where all scores are 0 there is no difference either.
    return 1.0 if size == 0 else max(0.0, 1 - float((forth - back).abs().mean() / size))
