r"""Fit logistic curves with 4 or 5 parameters from a metric's scores to human opinion.

The forms are those of VQEG (final report on FR-TV phase I, 2000) and of Sheikh, Sabir and Bovik (IEEE TIP 15(11),
2006):

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
    """A logistic curve fitted by least squares, or the reason why there is none.

    Args:
        form: 4 or 5 parameters.
        parameters: b1, b2 ... in the units of the scores and opinions; NaN without a fit.
        fitted: ``(n,)`` opinions that the curve predicts; NaN without a fit.
        residuals: ``(n,)`` opinion minus fitted.
        converged: whether there is a fit.
        reason: why there is no fit, or a note about the fit; else empty.
        plcc: Pearson's correlation of fitted with real opinions, in [-1, 1]; NaN without a fit. The curve follows
            either direction, so this is not negative for a metric that ranks images in reverse.
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
        """Predict the opinions for scores of any shape."""
        return logistic_curve(scores, self.parameters)


def logistic_curve(scores: npt.ArrayLike, parameters: tuple[float, ...]) -> Floats:
    """Evaluate the curve of 4 or 5 parameters at scores of any shape.

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

    Units and extreme scores do not matter. Searches start from the best points of a grid over the two parameters in
    which the form is not linear. These are quantiles of the scores, and widths of every order of magnitude in the
    scores. Each search measures its steps by its initial width.

    The mapping must be monotone (ITU-T P.1401). The curve of 4 parameters always is; that of 5 may not be. If its best
    curve turns around within the data, the best monotone one is used instead, and ``reason`` says so.

    Args:
        scores: scores of the metric, in any direction.
        opinion: human opinions, in any direction.
        form: number of parameters, 4 or 5.
        max_evaluations: evaluations of the curve before a search counts as failed.

    Returns:
        The fit, never worse than a straight line. It has ``converged=False``, the reason, and NaN for scores that are
        constant or not finite; for too few images; for ranges that floating point cannot represent; for scores
        without any relation to the opinions; and for a search that does not converge.

    Raises:
        ValueError: if ``form`` is neither 4 nor 5, if there are fewer than 3 opinions, they are constant or not finite,
            or if the lengths differ.

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
        return _no_fit(form, len(x), reason)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        centre, scale_x, scale_y = float(np.median(x)), _scale(x), float(y.std())
        u, v = (x - centre) / scale_x, (y - y.mean()) / scale_y
        is_representable = np.isfinite(np.ptp(u) ** 2) and len(np.unique(u)) > 1
    if not (scale_x > 0 and scale_y > 0 and np.isfinite([scale_x, scale_y]).all() and is_representable):
        return _no_fit(form, len(x), "differs by less or more than floating point can hold")
    try:
        curve, reason = (_fit_4(u, v, max_evaluations), "") if form == 4 else _fit_5(u, v, max_evaluations)
    except RuntimeError:
        return _no_fit(form, len(x), f"found no end in {max_evaluations} evaluations")
    parameters = _in_units(curve, centre, scale_x, float(y.mean()), scale_y)
    fitted = logistic_curve(u, curve) * scale_y + y.mean()
    if not (np.isfinite(fitted).all() and np.isfinite(parameters).all()):
        return _no_fit(form, len(x), "went to infinity")
    if np.ptp(fitted) <= 1e-9 * scale_y:
        return _no_fit(form, len(x), "has no relation to the opinion: the best curve is constant")
    residuals = y - fitted
    plcc = float(np.corrcoef(fitted, y)[0, 1])
    return LogisticFit(form, parameters, fitted, residuals, True, reason, plcc, float(np.sqrt((residuals**2).mean())))


def _no_fit(form: Form, count: int, reason: str) -> LogisticFit:
    nans = np.full(count, np.nan)
    return LogisticFit(form, (np.nan,) * form, nans, nans, False, reason, np.nan, np.nan)


def _scale(x: Floats) -> float:
    """The spread of the bulk of the scores, so that an extreme score does not make all others look equal."""
    for share in (0.25, 0.1, 0.05, 0.0):
        low, high = np.quantile(x, [share, 1 - share])
        if high > low:
            return float(high - low)
    return 0.0


def _fit_4(u: Floats, v: Floats, max_evaluations: int) -> tuple[float, ...]:
    """Parameters of the best curve for standardised scores ``u`` and opinions ``v``."""
    shape = Shape(u, v, line=False)
    middle, width = search(shape, candidates(shape)[0], max_evaluations)
    height, _, constant = shape.solve(middle, width)
    return constant + height, constant, middle, width


def _fit_5(u: Floats, v: Floats, max_evaluations: int) -> tuple[tuple[float, ...], str]:
    """Parameters of the best monotone curve, and a note if a better one is not monotone.

    The search starts from the fit with 4 parameters, which this form includes.
    """
    high, low, middle, width = _fit_4(u, v, max_evaluations)
    start = (middle, width)
    free = Shape(u, v, line=True)
    best_start, *other_starts = candidates(free, start)
    best = search(free, best_start, max_evaluations)
    if is_monotone(free.parameters(*best), u):
        return free.parameters(*best), ""
    # If step and line have the same sign, the curve is monotone; otherwise it may or may not be.
    same_sign = Shape(u, v, line=True, sign=1 if high > low else -1)
    curves = [(same_sign, search(same_sign, candidates(same_sign, start)[0], max_evaluations))]
    monotone_starts = [place for place in other_starts if is_monotone(free.parameters(*place), u)]
    curves += [(free, search(free, place, max_evaluations)) for place in monotone_starts[:1]]
    monotone = [(shape, end) for shape, end in curves if is_monotone(shape.parameters(*end), u)]
    shape, end = min(monotone, key=lambda curve: curve[0].error(*curve[1]))
    return shape.parameters(*end), "a better curve turns around within the data: fitted among the monotone ones"


def _in_units(
    curve: tuple[float, ...], centre: float, scale_x: float, mean_y: float, scale_y: float
) -> tuple[float, ...]:
    """Convert parameters for standardised scores and opinions to the original units."""
    if len(curve) == 4:
        high, low, middle, width = curve
        return (mean_y + scale_y * high, mean_y + scale_y * low, centre + scale_x * middle, scale_x * width)
    height, slope, middle, linear, constant = curve
    linear = linear * scale_y / scale_x
    constant = mean_y + scale_y * constant - linear * centre
    return (scale_y * height, slope / scale_x, centre + scale_x * middle, linear, constant)
