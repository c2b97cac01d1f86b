"""The curve from a fused score to a quality of 0 to 100, fitted to the opinions of the training data."""

from __future__ import annotations

import numpy as np
import torch
from scipy import optimize, special  # type: ignore[import-untyped]

from torchmetrics_fmiqa.spips_model.fusion_head import FusionHead, OpinionScale
from torchmetrics_fmiqa.statistics.inputs import Floats, column, opinions


def calibrate(head: FusionHead, score: Floats, opinion: Floats, higher_is_better: bool) -> None:
    """Fit the head's curve of quality by least squares, and note the opinions' scale.

    The curve is ``100 sigmoid((c - s) / w)``, where 100 and 0 are the best and the worst opinion of the training data;
    that of an anchored head is divided by its value at 0, so that equal images have 100. It never changes the order of
    images.

    Args:
        head: gets the curve and the scale.
        score: ``(n,)`` the head's own scores of the training data.
        opinion: ``(n,)`` what people said.
        higher_is_better: direction of the opinions.

    Raises:
        ValueError: for opinions that are fewer than 3, constant or not finite, and scores that are not one for each.

    >>> head = FusionHead(["distance"])
    >>> calibrate(head, np.array([0.0, 1.0, 2.0, 3.0]), np.array([5.0, 4.0, 2.0, 1.0]), higher_is_better=True)
    >>> head.quality(torch.tensor([-9.0, 1.5, 9.0])).round().tolist()
    [100.0, 50.0, 0.0]
    """
    y = opinions(opinion)
    s = column(score, "score", len(y))
    worst, best = (y.min(), y.max()) if higher_is_better else (y.max(), y.min())
    share = (y - worst) / (best - worst)

    def residuals(curve: Floats) -> Floats:
        centre, log_width = curve
        width = np.exp(log_width)
        at_zero = special.log_expit(centre / width) if head.anchored else 0.0
        return np.asarray(np.exp(special.log_expit((centre - s) / width) - at_zero) - share)

    # The width as a logarithm, so that it stays above 0; both within what the scores' own spread makes sensible.
    spread = float(s.std()) + float(np.finfo(np.float32).tiny)
    furthest = 10 * float(np.abs(s).max()) + spread
    fitted = optimize.least_squares(
        residuals,
        [np.median(s), np.log(spread / 2)],
        bounds=([-furthest, np.log(spread / 100)], [furthest, np.log(spread * 100)]),
        x_scale=[spread, 1.0],
    ).x
    head.curve.copy_(torch.tensor([fitted[0], np.exp(fitted[1])]))
    head.scale = OpinionScale(float(y.mean()), float(y.std()), float(worst), float(best), higher_is_better)
