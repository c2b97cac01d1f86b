"""The search for the best logistic curve: a middle and a width; all else follows by linear least squares.

All is standardised here: ``u`` are scores, ``v`` opinions of mean 0 and variance 1.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize  # type: ignore[import-untyped]
from scipy.special import expit, logit  # type: ignore[import-untyped]

from torchmetrics_fmiqa.statistics.inputs import Floats

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

#: A middle and a width.
Place = tuple[float, float]


class Shape:
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


def _starts(shape: Shape) -> list[Place]:
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


def _steps(shape: Shape) -> list[Place]:
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


def candidates(shape: Shape, *more: Place) -> list[Place]:
    """Where short searches from the best places of a grid arrive, and from ``more``; these too; the best first."""
    starts = [*more, *_starts(shape)]
    found = [_descend(shape, start, _SHORT)[0] for start in starts]
    return sorted([*found, *starts], key=lambda place: shape.error(*place))


def search(shape: Shape, start: Place, max_evaluations: int) -> Place:
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


def _descend(shape: Shape, start: Place, max_evaluations: int) -> tuple[Place, bool]:
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


def is_monotone(parameters: tuple[float, ...], u: Floats) -> bool:
    """Whether the curve of 5 parameters keeps its direction from the lowest to the highest score.

    Its slope is ``linear + height * slope * s (1 - s)``: extreme at the ends and in the middle.
    """
    height, slope, middle, linear, _ = parameters
    ends = np.array([u.min(), u.max()])
    places = np.append(ends, middle) if ends[0] < middle < ends[1] else ends
    share = expit(slope * (places - middle))
    steepness = linear + height * slope * share * (1 - share)
    return bool((steepness >= 0).all() or (steepness <= 0).all())
