r"""Logistic curves from a metric's scores to human opinion, with 4 and 5 parameters.

The forms are those of VQEG (2000; its final report on FR-TV phase I, and many since) and of Sheikh, Sabir and Bovik
(IEEE TIP 15(11), 2006):

.. math::
    f_4(x) = b_2 + \frac{b_1 - b_2}{1 + \exp(-(x - b_3) / |b_4|)}
    \qquad
    f_5(x) = b_1 \left(\tfrac12 - \frac{1}{1 + \exp(b_2 (x - b_3))}\right) + b_4 x + b_5
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit  # type: ignore[import-untyped]

from torchmetrics_fmiqa.statistics.inputs import Floats, column, not_finite, opinions, unusable
from torchmetrics_fmiqa.statistics.logistic_search import Shape, candidates, is_monotone, search

#: A logistic form, by its number of parameters.
Form = Literal[4, 5]


@dataclass(frozen=True)
class LogisticFit:
    """A logistic curve fitted by least squares, or why there is none.

    Args:
        form: 4 or 5 parameters.
        parameters: b1, b2 ... in the units of the scores and opinions; NaN without a fit.
        fitted: ``(n,)`` opinions that the curve predicts; NaN without a fit.
        residuals: ``(n,)`` opinion minus fitted.
        converged: whether there is a fit.
        reason: why not; or what was special about it; else empty.
        plcc: Pearson's correlation of fitted with real opinions, in [-1, 1]; NaN without a fit. The curve follows
            either direction, so that this is not negative for a metric that ranks images the wrong way round.
        rmse: root of the mean squared residual (over n, not n minus parameters), in the opinion's units.
    """

    form: Form
    parameters: tuple[float, ...]
    fitted: Floats = field(repr=False, compare=False)
    residuals: Floats = field(repr=False, compare=False)
    converged: bool
    reason: str
    plcc: float
    rmse: float

    def __call__(self, scores: npt.ArrayLike) -> Floats:
        """Predict the opinion of scores of any shape."""
        return logistic_curve(scores, self.parameters)


def logistic_curve(scores: npt.ArrayLike, parameters: tuple[float, ...]) -> Floats:
    """The curve of 4 or 5 parameters at scores of any shape.

    Raises:
        ValueError: for another number of parameters.

    >>> logistic_curve([0.0, 100.0], (5.0, 1.0, 0.0, 2.0))
    array([3., 5.])
    >>> logistic_curve([0.0, 2.0], (0.0, 1.0, 0.0, 3.0, 1.0))
    array([1., 7.])
    """
    x = np.asarray(scores, dtype=np.float64)
    if len(parameters) == 4:
        high, low, middle, width = parameters
        return np.asarray(low + (high - low) * expit((x - middle) / abs(width)))
    if len(parameters) == 5:
        height, slope, middle, linear, constant = parameters
        return np.asarray(height * (expit(slope * (x - middle)) - 0.5) + linear * x + constant)
    raise ValueError(f"`parameters` must be 4 or 5 numbers, got {len(parameters)}")


def fit_logistic(
    scores: npt.ArrayLike, opinion: npt.ArrayLike, form: Form = 4, max_evaluations: int = 1000
) -> LogisticFit:
    """Fit a logistic curve to ``(n,)`` scores and ``(n,)`` opinions, in either direction.

    Their units do not matter, nor do scores that lie far out. Searches start from the best places of a grid over the
    two parameters in which the form is not linear: quantiles of the scores, and widths of every order of magnitude that
    the scores have. Each search measures its steps by the width it starts from. The curve of 4 parameters is monotone
    by its form. That of 5 need not be, but a mapping of scores to opinions must be (ITU-T P.1401): where a better curve
    turns around within the data, it is passed over for the best monotone one, and ``reason`` says so.

    Args:
        scores: of the metric, in any direction.
        opinion: of people, in any direction.
        form: number of parameters, 4 or 5.
        max_evaluations: of the curve, before a search counts as failed.

    Returns:
        The fit. Scores that hold NaN or infinite values or are constant, fewer images than parameters plus one, scores
        or opinions beyond what floating point can hold, scores without any relation to the opinions, and a search
        without an end give ``converged=False``, the reason, and NaN. A fit is never worse than a straight line.

    Raises:
        ValueError: if ``form`` is neither 4 nor 5, for opinions that are fewer than 3, constant or not finite, or if
            there is not one score for each.

    >>> x = np.linspace(-4, 4, 50)
    >>> fit = fit_logistic(x, logistic_curve(x, (90.0, 10.0, 0.5, 0.8)))
    >>> fit.converged, [round(b, 3) for b in fit.parameters], round(fit.plcc, 6)
    (True, [90.0, 10.0, 0.5, 0.8], 1.0)
    >>> fit_logistic([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]).reason
    'is constant'
    """
    if form not in (4, 5):
        raise ValueError(f"`form` must be 4 or 5 parameters, got {form!r}")
    y = opinions(opinion)
    x = column(scores, "scores", len(y))
    reason = unusable(x) or not_finite(x)
    if not reason and len(x) <= form:
        reason = f"{len(x)} images are too few for {form} parameters"
    if reason:
        return _without(form, len(x), reason)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        centre, scale_x, scale_y = float(np.median(x)), _scale(x), float(y.std())
        u, v = (x - centre) / scale_x, (y - y.mean()) / scale_y
        held = np.isfinite(np.ptp(u) ** 2) and len(np.unique(u)) > 1
    if not (scale_x > 0 and scale_y > 0 and np.isfinite([scale_x, scale_y]).all() and held):
        return _without(form, len(x), "differs by less or more than floating point can hold")
    try:
        curve, reason = (_fit_4(u, v, max_evaluations), "") if form == 4 else _fit_5(u, v, max_evaluations)
    except RuntimeError:
        return _without(form, len(x), f"found no end in {max_evaluations} evaluations")
    parameters = _in_units(curve, centre, scale_x, float(y.mean()), scale_y)
    fitted = logistic_curve(u, curve) * scale_y + y.mean()
    if not (np.isfinite(fitted).all() and np.isfinite(parameters).all()):
        return _without(form, len(x), "went to infinity")
    if np.ptp(fitted) <= 1e-9 * scale_y:
        return _without(form, len(x), "has no relation to the opinion: the best curve is constant")
    residuals = y - fitted
    plcc = float(np.corrcoef(fitted, y)[0, 1])
    return LogisticFit(form, parameters, fitted, residuals, True, reason, plcc, float(np.sqrt((residuals**2).mean())))


def _without(form: Form, count: int, reason: str) -> LogisticFit:
    nothing = np.full(count, np.nan)
    return LogisticFit(form, (np.nan,) * form, nothing, nothing, False, reason, np.nan, np.nan)


def _scale(x: Floats) -> float:
    """The spread of the bulk of the scores: one far out must not make all others look alike."""
    for share in (0.25, 0.1, 0.05, 0.0):
        low, high = np.quantile(x, [share, 1 - share])
        if high > low:
            return float(high - low)
    return 0.0


def _fit_4(u: Floats, v: Floats, max_evaluations: int) -> tuple[float, ...]:
    """Parameters of the best curve for standardised scores and opinions."""
    shape = Shape(u, v, line=False)
    middle, width = search(shape, candidates(shape)[0], max_evaluations)
    height, _, constant = shape.solve(middle, width)
    return constant + height, constant, middle, width


def _fit_5(u: Floats, v: Floats, max_evaluations: int) -> tuple[tuple[float, ...], str]:
    """The form extends that of 4 parameters, from whose curve a search can only get better."""
    high, low, *place = _fit_4(u, v, max_evaluations)
    from_4 = (place[0], place[1])
    free = Shape(u, v, line=True)
    first, *others = candidates(free, from_4)
    best = search(free, first, max_evaluations)
    if is_monotone(free.parameters(*best), u):
        return free.parameters(*best), ""
    # Step and line of one sign never turn around; of two signs they may or may not.
    one_sign = Shape(u, v, line=True, sign=1 if high > low else -1)
    curves = [(one_sign, search(one_sign, candidates(one_sign, from_4)[0], max_evaluations))]
    others = [other for other in others if is_monotone(free.parameters(*other), u)]
    curves += [(free, search(free, other, max_evaluations)) for other in others[:1]]
    monotone = [(shape, end) for shape, end in curves if is_monotone(shape.parameters(*end), u)]
    shape, end = min(monotone, key=lambda one: one[0].error(*one[1]))
    return shape.parameters(*end), "a better curve turns around within the data: fitted among the monotone ones"


def _in_units(
    curve: tuple[float, ...], centre: float, scale_x: float, mean_y: float, scale_y: float
) -> tuple[float, ...]:
    """Parameters for standardised scores and opinions to those in their units."""
    if len(curve) == 4:
        high, low, middle, width = curve
        return (mean_y + scale_y * high, mean_y + scale_y * low, centre + scale_x * middle, scale_x * width)
    height, slope, middle, linear, constant = curve
    linear = linear * scale_y / scale_x
    moved = mean_y + scale_y * constant - linear * centre
    return (scale_y * height, slope / scale_x, centre + scale_x * middle, linear, moved)
