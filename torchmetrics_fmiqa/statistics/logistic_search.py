"""Search for the middle and width of the best logistic curve; its other parameters follow by linear least squares.

All values are standardised here: ``u`` are scores, ``v`` are opinions of mean 0 and variance 1.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize  # type: ignore[import-untyped]
from scipy.special import expit, logit  # type: ignore[import-untyped]

from torchmetrics_fmiqa.statistics.inputs import Floats

# In widths: how far beyond the data the middle may be, and how far from an image the curve is flat.
_REACH, _PAST = 12.0, 40.0
# In ranges of the scores: width from which a curve counts as a straight line.
_STRAIGHT = 20.0
# The grid: steps a decade of widths, and quantiles of the scores.
_PER_DECADE, _PLACES = 2.5, (0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995)
# With at most so many distinct scores, the grid has every score and every gap between two.
_FEW = 40
# Evaluations of a short search, enough to tell a good start from a bad one; and number of short searches.
_SHORT, _STARTS = 25, 8
# The same for few scores: they cost little, and have many curves that are almost the best.
_PER_DECADE_OF_FEW, _STARTS_OF_FEW = 6.0, 12
# Share of the opinions' variance that counts as rounding error.
_ROUNDING = 1e-18

#: A middle and a width.
Place = tuple[float, float]


class Shape:
    """A logistic form as a function of its middle and width; the others follow by linear least squares.

    So the search has two parameters instead of four or five. The others (height, slope of the line, constant) would go
    to infinity together where the data look like a line, a parabola or an exponential.

    Args:
        u: ``(n,)`` scores.
        v: ``(n,)`` opinions.
        line: whether the form has a line beside the step.
        sign: sign of step and line, for a monotone curve; 0 leaves both free.
    """

    def __init__(self, u: Floats, v: Floats, line: bool, sign: int = 0) -> None:
        self.u, self.v, self.line, self.sign = u, v, line, sign
        self.straight = _STRAIGHT * float(np.ptp(u))
        self.slant = u - u.mean()
        self.slant /= np.sqrt((self.slant**2).sum())

    def within_reach(self, middle: float, width: float) -> float:
        """The middle, clipped to the region where the curve is more than an exponential within the data.

        Further out the height would grow until the curve loses all digits.
        """
        return float(np.clip(middle, self.u.min() - _REACH * width, self.u.max() + _REACH * width))

    def error(self, middle: float, width: float) -> float:
        """Mean squared error of the best curve; 1 is that of a constant."""
        return float(self.errors(np.array([middle]), width)[0])

    def errors(self, middles: Floats, width: float) -> Floats:
        """Mean squared errors ``(m,)`` of the best curves with these middles and this width."""
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
        # The slant has unit length; convert its factor to the slope in terms of u.
        slope *= 1 / np.sqrt(((self.u - self.u.mean()) ** 2).sum())
        return float(height), float(slope), float(-height * mean - slope * self.u.mean())

    def _factors(self, step: Floats) -> tuple[Floats, Floats]:
        """Least-squares factors ``(m,)`` of steps ``(m, n)`` of mean 0, and ``(m,)`` of the slant beside each."""
        if not self.line:
            return _ratio(step @ self.v, (step**2).sum(1)), np.zeros(len(step))
        along = step @ self.slant
        orthogonal = step - along[:, None] * self.slant
        height = _ratio(orthogonal @ self.v, (orthogonal**2).sum(1))
        slant_only = self.slant @ self.v
        slope = slant_only - height * along
        if not self.sign:
            return height, slope
        # If step or line has the wrong sign, the best allowed curve has only one of the two.
        step_only = _ratio(step @ self.v, (step**2).sum(1))
        step_gain = np.maximum(self.sign * (step @ self.v), 0) * np.abs(step_only)
        line_gain = max(self.sign * slant_only, 0.0) ** 2
        both_allowed = (self.sign * height >= 0) & (self.sign * slope >= 0)
        step_wins = step_gain >= line_gain
        allowed_step = self.sign * np.maximum(self.sign * step_only, 0)
        allowed_slope = self.sign * max(self.sign * slant_only, 0.0)
        return (
            np.where(both_allowed, height, np.where(step_wins, allowed_step, 0.0)),
            np.where(both_allowed, slope, np.where(step_wins, 0.0, allowed_slope)),
        )

    def parameters(self, middle: float, width: float) -> tuple[float, ...]:
        """The parameters of the form with 5."""
        height, line, constant = self.solve(middle, width)
        return height, 1 / width, middle, line, constant + height / 2


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """The quotient; 0 where the denominator is 0."""
    return np.asarray(np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0))


def _starts(shape: Shape) -> list[Place]:
    """Starting points of the searches: the best local minima of a grid, and the best narrow steps."""
    levels = np.unique(shape.u)
    gaps = np.diff(levels)
    few = len(levels) <= _FEW
    middles = np.sort(np.append(levels, levels[:-1] + gaps / 2)) if few else np.unique(np.quantile(levels, _PLACES))
    # Widths from a third of the gap between neighbours to a straight line.
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
    minima = [(errors[i, j], places[i, j], widths[i]) for i, j in np.argwhere(errors <= neighbours.min(0))]
    best = [(float(middle), float(width)) for _, middle, width in sorted(minima)[: _STARTS_OF_FEW if few else _STARTS]]
    steps = sorted(_steps(shape), key=lambda place: shape.error(*place))
    return sorted([*best, *steps[:2]], key=lambda place: shape.error(*place))


def _steps(shape: Shape) -> list[Place]:
    """The best steps that are so narrow that only one score is on the slope.

    A search cannot find them, because the error is flat around them. But sums over the sorted scores give the error of
    every such step.
    """
    levels, level, counts = np.unique(shape.u, return_inverse=True, return_counts=True)
    total, count = np.asarray(np.bincount(level, shape.v), np.float64), np.asarray(counts, np.float64)
    mean = total / count
    before_n, before = np.cumsum(count) - count, np.cumsum(total) - total
    after_n, after = len(shape.u) - before_n - count, -(before + total)  # the opinions sum to 0
    left, right = _ratio(before, before_n), _ratio(after, after_n)
    share = np.clip(_ratio(mean - left, right - left), 1e-6, 1 - 1e-6)
    share[[0, -1]] = [1 - 1e-6, 1e-6]  # at the ends one side is empty
    value = np.where(share < 0.5, left, right)
    inner = (share > 1e-6) & (share < 1 - 1e-6)
    value = np.where(inner, mean, value)
    gain = left * before + right * after + 2 * value * total - value**2 * count
    gaps = np.diff(levels)
    width = np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps)) / _PAST
    middle = levels - width * logit(share)
    best = np.argsort(-gain, kind="stable")[:4]
    return [(float(middle[index]), float(width[index])) for index in best]


def candidates(shape: Shape, *extra_starts: Place) -> list[Place]:
    """Starting points and the results of short searches from them, the best first."""
    starts = [*extra_starts, *_starts(shape)]
    improved = [_descend(shape, start, _SHORT)[0] for start in starts]
    return sorted([*improved, *starts], key=lambda place: shape.error(*place))


def search(shape: Shape, start: Place, max_evaluations: int) -> Place:
    """The best middle and width near a start; the start itself if its error is already zero.

    Raises:
        RuntimeError: if the search does not converge.
    """
    if shape.error(*start) <= _ROUNDING:
        return start
    end, converged = _descend(shape, start, max_evaluations)
    if not converged:
        raise RuntimeError(f"no end in {max_evaluations} evaluations")
    return end


def _descend(shape: Shape, start: Place, max_evaluations: int) -> tuple[Place, bool]:
    """Minimise the error by Nelder-Mead; return the result and whether it converged.

    A curve that is a narrow step between two images has no gradient to follow. And Gauss-Newton converges slowly here,
    because opinions scatter widely about the best curve.
    """
    middle, width = start

    def place(offset: Floats) -> Place:
        """Middle and width at an offset from the start, measured in the start's width."""
        # A wider curve is a straight line, and its height would grow until the curve loses all digits.
        new_width = min(width * float(np.exp(np.clip(offset[1], -40, 40))), shape.straight)
        return shape.within_reach(middle + float(offset[0]) * width, new_width), new_width

    result = minimize(
        lambda offset: shape.error(*place(offset)),
        (0.0, 0.0),
        method="Nelder-Mead",
        options={
            "maxfev": max_evaluations,
            "xatol": 1e-5,
            "fatol": 1e-12,
            "initial_simplex": [[0.0, 0.0], [0.5, 0.0], [0.0, -0.3]],
        },
    )
    # On a plateau (an exponential, a step between two images) the simplex does not shrink but has equal errors.
    converged = bool(result.success) or bool(result.final_simplex[1].max() - result.fun <= 1e-9)
    return place(result.x), converged


def is_monotone(parameters: tuple[float, ...], u: Floats) -> bool:
    """Whether the curve of 5 parameters keeps its direction from the lowest to the highest score.

    Its derivative is ``linear + height * slope * s (1 - s)``, with extremes at the ends and in the middle.
    """
    height, slope, middle, linear, _ = parameters
    ends = np.array([u.min(), u.max()])
    places = np.append(ends, middle) if ends[0] < middle < ends[1] else ends
    share = expit(slope * (places - middle))
    steepness = linear + height * slope * share * (1 - share)
    return bool((steepness >= 0).all() or (steepness <= 0).all())
