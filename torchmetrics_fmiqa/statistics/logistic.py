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
from scipy.optimize import minimize, nnls  # type: ignore[import-untyped]
from scipy.special import expit  # type: ignore[import-untyped]

from torchmetrics_fmiqa.statistics.inputs import Floats, column, not_finite, opinions, unusable

#: A logistic form, by its number of parameters.
Form = Literal[4, 5]

# In widths: how far beyond the data the middle may lie.
_REACH = 12.0
# Evaluations of a short search, enough to tell a good start from a bad one.
_SHORT = 25
# Share of the opinions' variance that is rounding.
_ROUNDING = 1e-18


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

    Scores and opinions are standardised inside, so that their units do not matter, and searches start from the best
    of a grid over the two parameters in which the form is not linear. The curve of 4 parameters is monotone by its
    form. That of 5 need not be, but a mapping of scores to opinions must be (ITU-T P.1401): where a better curve turns
    around within the data, it is passed over for the best monotone one, and ``reason`` says so.

    Args:
        scores: of the metric, in any direction.
        opinion: of people, in any direction.
        form: number of parameters, 4 or 5.
        max_evaluations: of the curve, before a search counts as failed.

    Returns:
        The fit. Scores that hold NaN or infinite values or are constant, fewer images than parameters plus one, and a
        search without an end give ``converged=False``, the reason, and NaN.

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
    with np.errstate(over="ignore", invalid="ignore"):
        scale_x, scale_y = float(x.std()), float(y.std())
    if not (scale_x > 0 and scale_y > 0 and np.isfinite([scale_x, scale_y]).all()):
        return _without(form, len(x), "differs by less or more than floating point can hold")
    u, v = (x - x.mean()) / scale_x, (y - y.mean()) / scale_y
    try:
        curve, reason = (_fit_4(u, v, max_evaluations), "") if form == 4 else _fit_5(u, v, max_evaluations)
    except RuntimeError:
        return _without(form, len(x), f"found no end in {max_evaluations} evaluations")
    parameters = _in_units(curve, float(x.mean()), scale_x, float(y.mean()), scale_y)
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


# Below all is standardised: u are scores, v opinions.


def _fit_4(u: Floats, v: Floats, max_evaluations: int) -> tuple[float, ...]:
    shape = _Shape(u, v, line=False)
    middle, width = _end(shape, _candidates(shape, _starts(shape))[0], max_evaluations)
    height, constant = shape.solve(middle, width)
    return constant + height, constant, middle, width


def _fit_5(u: Floats, v: Floats, max_evaluations: int) -> tuple[tuple[float, ...], str]:
    """The form extends that of 4 parameters, from whose curve a search can only get better."""
    high, low, *place = _fit_4(u, v, max_evaluations)
    from_4 = (place[0], place[1])
    free = _Shape(u, v, line=True)
    candidates = _candidates(free, [from_4, *_starts(free)])
    best = _end(free, candidates[0], max_evaluations)
    if _is_monotone(free.parameters(*best), u):
        return free.parameters(*best), ""
    # Step and line of one sign never turn around; of two signs they may or may not.
    one_sign = _Shape(u, v, line=True, sign=1 if high > low else -1)
    curves = [(one_sign, _end(one_sign, _candidates(one_sign, [from_4, *_starts(one_sign)])[0], max_evaluations))]
    others = [other for other in candidates[1:] if _is_monotone(free.parameters(*other), u)]
    curves += [(free, end) for end in (_end(free, other, max_evaluations) for other in others[:1])]
    monotone = [(shape, end) for shape, end in curves if _is_monotone(shape.parameters(*end), u)]
    shape, end = min(monotone, key=lambda one: one[0].error(*one[1]))
    return shape.parameters(*end), "a better curve turns around within the data: fitted among the monotone ones"


class _Shape:
    """A logistic form as a function of its middle and width; the others follow by linear least squares.

    So two parameters are searched for instead of four or five, and those that run off together to infinity where the
    data look like a line, a parabola or an exponential (height, line and constant) are no part of the search.
    """

    def __init__(self, u: Floats, v: Floats, line: bool, sign: int = 0) -> None:
        self.u, self.v, self.line, self.sign = u, v, line, sign
        # Wider is a straight line and narrower a step: the data tell no more, and a step has no slope to search by.
        span, central = float(np.ptp(u)), float(np.diff(np.quantile(u, [0.05, 0.95]))[0])
        self.low = (float(u.min()) - 20 * span, float(np.log(1e-3 * (central or span))))
        self.high = (float(u.max()) + 20 * span, float(np.log(20 * span)))

    def within_reach(self, middle: float, width: float) -> float:
        """The middle, no further out than where all that is left within the data is an exponential.

        Beyond, the height would grow until nothing is left of the digits of their product.
        """
        return float(np.clip(middle, self.u.min() - _REACH * width, self.u.max() + _REACH * width))

    def solve(self, middle: float, width: float) -> tuple[float, ...]:
        """Height, with a line its slope, and constant; of one sign if the curve has to be monotone."""
        terms = self._terms(middle, width)
        lengths = np.sqrt((terms**2).sum(0))
        lengths[lengths == 0] = 1.0
        # A triangle holds all that the rows say.
        triangle = np.asarray(np.linalg.qr(np.column_stack([terms / lengths, self.v]), mode="r"))
        left, right = triangle[:, :-1], triangle[:, -1]
        if self.sign:
            both = np.column_stack([self.sign * left[:, :-1], left[:, -1], -left[:, -1]])
            found, _ = nnls(both, right)
            solution = np.array([*(self.sign * found[:-2]), found[-2] - found[-1]])
        else:
            solution = np.linalg.lstsq(left, right, rcond=1e-13)[0]
        return tuple(float(b) for b in solution / lengths)

    def parameters(self, middle: float, width: float) -> tuple[float, ...]:
        """Those of the form with 5 parameters."""
        height, line, constant = self.solve(middle, width)
        return height, 1 / width, middle, line, constant + height / 2

    def curve(self, middle: float, width: float) -> Floats:
        """The best curve ``(n,)`` of this middle and width."""
        return np.asarray(self._terms(middle, width) @ np.array(self.solve(middle, width)))

    def error(self, middle: float, width: float) -> float:
        """Mean squared error of the best curve; 1 is that of a constant."""
        return float(((self.v - self.curve(middle, width)) ** 2).mean())

    def _terms(self, middle: float, width: float) -> Floats:
        share = expit((self.u - self.within_reach(middle, width)) / width)
        return np.column_stack([share, self.u, np.ones_like(share)] if self.line else [share, np.ones_like(share)])


def _starts(shape: _Shape) -> list[tuple[float, float]]:
    """The three most promising places of a grid to start from, each with another middle."""
    found = []
    for middle in np.unique(np.quantile(shape.u, [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98])):
        errors = {width: shape.error(middle, width) for width in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)}
        width = min(errors, key=lambda one: errors[one])
        found.append((errors[width], float(middle), width))
    return [(middle, width) for _, middle, width in sorted(found)[:3]]


def _candidates(shape: _Shape, starts: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where short searches from some starts arrive, the best first."""
    found = [_descend(shape, start, _SHORT)[0] for start in starts]
    return sorted([*found, starts[0]], key=lambda place: shape.error(*place))


def _end(shape: _Shape, start: tuple[float, float], max_evaluations: int) -> tuple[float, float]:
    """The best middle and width near a start, which is its own end if it is perfect already.

    Raises:
        RuntimeError: if the search finds no end.
    """
    if shape.error(*start) <= _ROUNDING:
        return start
    end, found = _descend(shape, start, max_evaluations)
    if not found:
        raise RuntimeError(f"no end in {max_evaluations} evaluations")
    return end


def _descend(shape: _Shape, start: tuple[float, float], max_evaluations: int) -> tuple[tuple[float, float], bool]:
    """Search downhill; return the place and whether it is an end.

    By Nelder and Mead's simplex: where the curve is a narrow step between two images there are no slopes to follow, and
    Gauss and Newton's method creeps where, as here, opinions scatter widely about the best curve.
    """
    middle, log_width = np.clip((start[0], np.log(start[1])), shape.low, shape.high)
    corners = [[middle, log_width], [middle + 0.2, log_width], [middle, log_width - 0.2]]
    found = minimize(
        lambda place: shape.error(place[0], float(np.exp(place[1]))),
        (middle, log_width),
        method="Nelder-Mead",
        bounds=list(zip(shape.low, shape.high, strict=True)),
        options={
            "maxfev": max_evaluations,
            "xatol": 1e-5,
            "fatol": 1e-12,
            "initial_simplex": np.clip(corners, shape.low, shape.high),
        },
    )
    width = float(np.exp(found.x[1]))
    # On a plateau (an exponential, a step between two images) the corners stay apart and equally good.
    ended = bool(found.success) or bool(found.final_simplex[1].max() - found.fun <= 1e-9)
    return (shape.within_reach(float(found.x[0]), width), width), ended


def _is_monotone(parameters: tuple[float, ...], u: Floats) -> bool:
    """Whether the curve of 5 parameters keeps its direction from the lowest to the highest score.

    Its slope is ``linear + height * slope * s (1 - s)``: extreme at the ends and in the middle.
    """
    height, slope, middle, linear, _ = parameters
    ends = np.array([u.min(), u.max()])
    places = np.append(ends, middle) if ends[0] < middle < ends[1] else ends
    share = expit(slope * (places - middle))
    steepness = linear + height * slope * share * (1 - share)
    return bool((steepness >= 0).all() or (steepness <= 0).all())


def _in_units(
    curve: tuple[float, ...], mean_x: float, scale_x: float, mean_y: float, scale_y: float
) -> tuple[float, ...]:
    """Parameters for standardised scores and opinions to those in their units."""
    if len(curve) == 4:
        high, low, middle, width = curve
        return (mean_y + scale_y * high, mean_y + scale_y * low, mean_x + scale_x * middle, scale_x * width)
    height, slope, middle, linear, constant = curve
    linear = linear * scale_y / scale_x
    moved = mean_y + scale_y * constant - linear * mean_x
    return (scale_y * height, slope / scale_x, mean_x + scale_x * middle, linear, moved)
