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
from scipy.optimize import minimize  # type: ignore[import-untyped]
from scipy.special import expit, logit  # type: ignore[import-untyped]

from torchmetrics_fmiqa.statistics.inputs import Floats, column, not_finite, opinions, unusable

#: A logistic form, by its number of parameters.
Form = Literal[4, 5]

# In widths: how far beyond the data the middle may lie, and how far from an image it counts as past it.
_REACH, _PAST = 12.0, 40.0
# In ranges of the scores: a curve of this width is a straight line.
_STRAIGHT = 20.0
# Of the grid: steps a decade of widths, and places among the scores.
_PER_DECADE, _PLACES = 2.5, (0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995)
# With so few different scores, each and each gap between two is a place of the grid.
_FEW = 40
# Evaluations of a short search, enough to tell a good start from a bad one, and how many there are.
_SHORT, _STARTS = 25, 8
# Few scores cost little, and have many curves that are almost the best.
_PER_DECADE_OF_FEW, _STARTS_OF_FEW = 6.0, 12
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


# Below all is standardised: u are scores, v opinions of mean 0 and variance 1. A place is a middle and a width.
Place = tuple[float, float]


def _fit_4(u: Floats, v: Floats, max_evaluations: int) -> tuple[float, ...]:
    shape = _Shape(u, v, line=False)
    middle, width = _end(shape, _candidates(shape, _starts(shape))[0], max_evaluations)
    height, _, constant = shape.solve(middle, width)
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

    Args:
        u: ``(n,)`` scores.
        v: ``(n,)`` opinions.
        line: whether the form has a line beside the step.
        sign: of step and line, if the curve has to be monotone; 0 leaves both free.
    """

    def __init__(self, u: Floats, v: Floats, line: bool, sign: int = 0) -> None:
        self.u, self.v, self.line, self.sign = u, v, line, sign
        self.straight = _STRAIGHT * float(np.ptp(u))
        self.slant = u - u.mean()
        self.slant /= np.sqrt((self.slant**2).sum())

    def within_reach(self, middle: float, width: float) -> float:
        """The middle, no further out than where all that is left within the data is an exponential.

        Beyond, the height would grow until nothing is left of the digits of their product.
        """
        return float(np.clip(middle, self.u.min() - _REACH * width, self.u.max() + _REACH * width))

    def error(self, middle: float, width: float) -> float:
        """Mean squared error of the best curve; 1 is that of a constant."""
        return float(self.errors(np.array([middle]), width)[0])

    def errors(self, middles: Floats, width: float) -> Floats:
        """Mean squared errors ``(m,)`` of the best curves of some middles and one width."""
        step = expit((self.u - middles[:, None]) / width)
        step -= step.mean(1, keepdims=True)
        height, slope = self._factors(step)
        rest = self.v - height[:, None] * step
        if self.line:
            rest -= slope[:, None] * self.slant
        return np.asarray((rest**2).mean(1))

    def solve(self, middle: float, width: float) -> tuple[float, float, float]:
        """Height, slope of the line, and constant of the best curve."""
        step = expit((self.u - middle) / width)
        mean = step.mean()
        (height,), (slope,) = self._factors((step - mean)[None])
        # Of the slope in terms of u.
        slope *= 1 / np.sqrt(((self.u - self.u.mean()) ** 2).sum())
        return float(height), float(slope), float(-height * mean - slope * self.u.mean())

    def _factors(self, step: Floats) -> tuple[Floats, Floats]:
        """Those of steps ``(m, n)``, each of mean 0, and of the slant beside each: ``(m,)`` and ``(m,)``."""
        if not self.line:
            return _ratio(step @ self.v, (step**2).sum(1)), np.zeros(len(step))
        along = step @ self.slant
        apart = step - along[:, None] * self.slant
        height = _ratio(apart @ self.v, (apart**2).sum(1))
        own = self.slant @ self.v
        slope = own - height * along
        if not self.sign:
            return height, slope
        # Where one of them has the wrong sign, the best of those allowed has only one of them.
        alone = _ratio(step @ self.v, (step**2).sum(1))
        by_step, by_line = np.maximum(self.sign * (step @ self.v), 0) * np.abs(alone), max(self.sign * own, 0.0) ** 2
        both = (self.sign * height >= 0) & (self.sign * slope >= 0)
        stepped = by_step >= by_line
        allowed = self.sign * np.maximum(self.sign * alone, 0)
        return (
            np.where(both, height, np.where(stepped, allowed, 0.0)),
            np.where(both, slope, np.where(stepped, 0.0, self.sign * max(self.sign * own, 0.0))),
        )

    def parameters(self, middle: float, width: float) -> tuple[float, ...]:
        """Those of the form with 5 parameters."""
        height, line, constant = self.solve(middle, width)
        return height, 1 / width, middle, line, constant + height / 2


def _ratio(upper: Floats, lower: Floats) -> Floats:
    """The quotient, 0 where nothing is divided by nothing."""
    return np.asarray(np.divide(upper, lower, out=np.zeros_like(upper), where=lower > 0))


def _starts(shape: _Shape) -> list[Place]:
    """The most promising places to start from: the best of a grid that are better than those around them, and steps."""
    levels = np.unique(shape.u)
    gaps = np.diff(levels)
    few = len(levels) <= _FEW
    middles = np.sort(np.append(levels, levels[:-1] + gaps / 2)) if few else np.unique(np.quantile(levels, _PLACES))
    # From the gap between two neighbours to a straight line.
    narrow, straight = float(gaps.min() if few else np.median(gaps)) / 3, shape.straight
    steps_of_width = (_PER_DECADE_OF_FEW if few else _PER_DECADE) * np.log10(straight / narrow)
    widths = np.geomspace(narrow, straight, min(200, max(2, round(steps_of_width))))
    # Beyond both ends the tail of the step is an exponential.
    beyond = np.array([_REACH, _REACH / 4])
    places = np.array(
        [[*(levels[0] - beyond * width), *middles, *(levels[-1] + beyond[::-1] * width)] for width in widths]
    )
    errors = np.array([shape.errors(row, width) for row, width in zip(places, widths, strict=True)])
    around = np.pad(errors, 1, constant_values=np.inf)
    neighbours = np.stack([around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]])
    found = [(errors[i, j], places[i, j], widths[i]) for i, j in np.argwhere(errors <= neighbours.min(0))]
    best = [(float(middle), float(width)) for _, middle, width in sorted(found)[: _STARTS_OF_FEW if few else _STARTS]]
    steps = sorted(_steps(shape), key=lambda place: shape.error(*place))
    return sorted([*best, *steps[:2]], key=lambda place: shape.error(*place))


def _steps(shape: _Shape) -> list[Place]:
    """The best steps so narrow that one image lies on the slope, and all others on one side.

    No search finds them, for beside them nothing changes; but sums over the sorted scores tell the error of each.
    """
    levels, place, counts = np.unique(shape.u, return_inverse=True, return_counts=True)
    total, count = np.asarray(np.bincount(place, shape.v), np.float64), np.asarray(counts, np.float64)
    own = total / count
    before_n, before = np.cumsum(count) - count, np.cumsum(total) - total
    after_n, after = len(shape.u) - before_n - count, -(before + total)  # the sum of all is 0
    left, right = _ratio(before, before_n), _ratio(after, after_n)
    share = np.clip(_ratio(own - left, right - left), 1e-6, 1 - 1e-6)
    share[[0, -1]] = [1 - 1e-6, 1e-6]  # at the ends nothing is left on one side
    value = np.where(share < 0.5, left, right)
    inner = (share > 1e-6) & (share < 1 - 1e-6)
    value = np.where(inner, own, value)
    gain = left * before + right * after + 2 * value * total - value**2 * count
    gaps = np.diff(levels)
    width = np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps)) / _PAST
    middle = levels - width * logit(share)
    chosen = np.argsort(-gain, kind="stable")[:4]
    return [(float(middle[one]), float(width[one])) for one in chosen]


def _candidates(shape: _Shape, starts: list[Place]) -> list[Place]:
    """Where short searches from some starts arrive, the best first."""
    found = [_descend(shape, start, _SHORT)[0] for start in starts]
    return sorted([*found, *starts], key=lambda place: shape.error(*place))


def _end(shape: _Shape, start: Place, max_evaluations: int) -> Place:
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


def _descend(shape: _Shape, start: Place, max_evaluations: int) -> tuple[Place, bool]:
    """Search downhill; return the place and whether it is an end.

    By Nelder and Mead's simplex: where the curve is a narrow step between two images there are no slopes to follow, and
    Gauss and Newton's method creeps where, as here, opinions scatter widely about the best curve.
    """
    middle, width = start

    def place(moved: Floats) -> Place:
        """Steps are measured by the width of the start, whatever the scale of the scores is there."""
        # Wider is a straight line, and the height would grow until no digit of the curve is left.
        wide = min(width * float(np.exp(np.clip(moved[1], -40, 40))), shape.straight)
        return shape.within_reach(middle + float(moved[0]) * width, wide), wide

    found = minimize(
        lambda moved: shape.error(*place(moved)),
        (0.0, 0.0),
        method="Nelder-Mead",
        options={
            "maxfev": max_evaluations,
            "xatol": 1e-5,
            "fatol": 1e-12,
            "initial_simplex": [[0.0, 0.0], [0.5, 0.0], [0.0, -0.3]],
        },
    )
    # On a plateau (an exponential, a step between two images) the corners stay apart and equally good.
    ended = bool(found.success) or bool(found.final_simplex[1].max() - found.fun <= 1e-9)
    return place(found.x), ended


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
