"""Drawings as SVG: small ones for the cells of tables, axes and frames, and points with names.

Colours are CSS classes, so that they follow the page into the dark and onto paper. From top to bottom: numbers to
places, drawings of one row of a table, what larger drawings share, and :func:`named_points`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup

from torchmetrics_fmiqa.report.numbers import amount, number, shortest

_STRIP = (220, 18)
# Of named points: size, box (left, right, bottom, top), radius, height of a line.
_SIZE = (720, 320)
_BOX = (46, 706, 276, 14)
_DOT = 4
_LINE = 14
# Where a name stands by its point: right, left, above, below, and then askew.
_SIDES = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers within a range.

    >>> ticks(0.31, 0.92)
    [0.4, 0.6, 0.8]
    >>> ticks(-3, 108)
    [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    """
    rough = (high - low) / most
    if not (math.isfinite(rough) and rough > 0):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def padded(low: float, high: float, share: float = 0.04) -> tuple[float, float]:
    """A range with some margin at its ends, and never empty."""
    margin = (high - low) * share or abs(high) * share or 1.0
    return low - margin, high + margin


def round_range(values: Sequence[float], step: float = 0.1) -> tuple[float, float]:
    """The least range of round ends that holds all that are known.

    >>> round_range([0.83, float("nan"), 0.41])
    (0.4, 0.9)
    """
    known = np.asarray([value for value in values if math.isfinite(value)])
    if not len(known):
        return 0.0, 1.0
    low, high = math.floor(known.min() / step + 1e-9), math.ceil(known.max() / step - 1e-9)
    return float(f"{low * step:.12g}"), float(f"{max(high, low + 1) * step:.12g}")


def scale(values: Sequence[float], axis: Sequence[float], start: float, stop: float) -> list[float]:
    """Values within a range as places between ``start`` and ``stop``."""
    low, high = axis
    return [start + (value - low) / (high - low) * (stop - start) for value in values]


def path(xs: Sequence[float], ys: Sequence[float]) -> str:
    """A line through points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))


def interval_strip(value: float, low: float, high: float, axis: tuple[float, float]) -> Markup:
    """A value and its interval on an axis that all rows share."""
    width, height = _STRIP
    if math.isnan(value):
        return Markup("")
    ends = [value, value] if math.isnan(low) or math.isnan(high) else [low, high]
    (x, x0, x1), y = scale([value, *ends], axis, 4, width - 4), height / 2
    rule = Markup('<line class="rule" x1="4" x2="{}" y1="{}" y2="{}"/>').format(width - 4, y, y)
    return _strip(rule + _range(x0, x1, y) + _dot(x, y, 3.2), width, height)


def interval_axis(axis: tuple[float, float]) -> Markup:
    """The axis of :func:`interval_strip`, for the column's head."""
    ends = '<text x="2" y="11">{}</text><text x="{}" y="11" text-anchor="end">{}</text>'
    width = _STRIP[0]
    return _strip(Markup(ends).format(number(axis[0], 2), width - 2, number(axis[1], 2)), width, 14)


def bar(share: float) -> Markup:
    """A bar as long as a share in [0, 1] of its room."""
    width, height = 96, 12
    bars = '<rect class="room" width="{}" height="{}"/><rect class="fill" width="{:.1f}" height="{}"/>'
    return _strip(Markup(bars).format(width, height, width * share, height), width, height)


def dumbbell(change: float, noise: float, furthest: float) -> Markup:
    """What an attack does (filled) beside what noise does (hollow), about zero."""
    width, height = 150, 18
    if math.isnan(change):
        return Markup("")
    middle, y = width / 2, height / 2
    x, at = scale([change, 0.0 if math.isnan(noise) else noise], (-furthest, furthest), 6, width - 6)
    zero = Markup('<line class="rule" x1="{}" x2="{}" y1="1" y2="{}"/>').format(middle, middle, height - 1)
    hollow = Markup("") if math.isnan(noise) else _dot(at, y, 3.6, "hollow")
    return _strip(zero + _range(middle, x, y) + _dot(x, y, 3.6) + hollow, width, height)


def _strip(parts: Markup, width: float, height: float) -> Markup:
    return Markup(
        '<svg class="strip" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true">{parts}</svg>'
    ).format(w=width, h=height, parts=parts)


def _range(x0: float, x1: float, y: float) -> Markup:
    return Markup('<line class="range" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>').format(x0, x1, y, y)


def _dot(x: float, y: float, radius: float, kind: str = "dot") -> Markup:
    return Markup('<circle class="{}" cx="{:.1f}" cy="{}" r="{}"/>').format(kind, x, y, radius)


def frame(y_axis: Sequence[float], box: tuple[float, float, float, float], most: int = 4) -> Markup:
    """Level lines with their numbers, in a box of left, right, bottom and top."""
    x0, x1, y0, y1 = box
    lines = Markup("")
    levels = ticks(y_axis[0], y_axis[1], most)
    # Two digits, and more where the levels would read the same.
    digits = 2 if len(levels) < 2 else max(2, -math.floor(math.log10(levels[1] - levels[0]) + 1e-9))
    for tick in levels:
        y = scale([tick], y_axis, y0, y1)[0]
        lines += Markup('<line class="rule" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(x0, x1, y, y)
        lines += label(x0 - 6, y + 4, number(tick, digits) if abs(tick) <= 1 else shortest(tick), "end")
    return lines


def label(x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> Markup:
    """A text whose ``anchor`` (start, middle, end) is at a place; ``kind`` gives its looks."""
    classes = Markup(' class="{}"').format(kind) if kind else ""
    return Markup('<text{} x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(classes, x, y, anchor, text)


def svg(title: str, words: str, parts: Sequence[Markup], size: tuple[int, int]) -> Markup:
    """A drawing of this size, with a title in words to those who cannot see it."""
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img"><title>{title}</title><desc>{words}</desc>{parts}</svg>'
    ).format(w=size[0], h=size[1], title=title, words=words, parts=Markup("").join(parts))


def named_points(
    title: str,
    names: Sequence[str],
    xs: Sequence[float],
    ys: Sequence[float],
    across: str,
    up: str = "",
    x_limits: Sequence[Sequence[float]] = (),
    y_limits: Sequence[Sequence[float]] = (),
) -> Markup:
    """Points with a name each, written where it hides nothing; a name that finds no such place shows on hover.

    ``across`` says what the values ``xs`` ``(n,)`` are, and ``up`` what ``ys`` are, where the title does not tell.
    Limits are ``(n, 2)`` intervals of the values; ends that are NaN are left out. Without them none are drawn.
    """
    x0, x1, y0, y1 = _BOX
    x_axis, y_axis = (_axis(*every) for every in ((xs, x_limits, 0.1), (ys, y_limits, 0.12)))
    parts = [frame(y_axis, _BOX)]
    parts += [label(scale([tick], x_axis, x0, x1)[0], y0 + 18, shortest(tick)) for tick in ticks(*x_axis)]
    parts.append(label((x0 + x1) / 2, y0 + 36, across, kind="soft"))
    parts += [label(x0, y1 - 2, up, "start", "soft")] * bool(up)
    points = list(zip(scale(xs, x_axis, x0, x1), scale(ys, y_axis, y0, y1), strict=True))
    whisker = Markup('<line class="whisker" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>')
    for (_, y), limits in zip(points, x_limits, strict=False):
        parts += [whisker.format(*scale(limits, x_axis, x0, x1), y, y)] * all(map(math.isfinite, limits))
    for (x, _), limits in zip(points, y_limits, strict=False):
        parts += [whisker.format(x, x, *scale(limits, y_axis, y0, y1))] * all(map(math.isfinite, limits))
    words = [f"{name}: {amount(x)}, {number(y)}" for name, x, y in zip(names, xs, ys, strict=True)]
    dot = Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>')
    parts += [dot.format(x, y, _DOT, text) for (x, y), text in zip(points, words, strict=True)]
    parts += _labels(points, names)
    return svg(title, "; ".join(words), parts, _SIZE)


def _axis(values: Sequence[float], limits: Sequence[Sequence[float]], air: float) -> tuple[float, float]:
    """A range that holds values and the ends of their intervals."""
    every = [*values, *(end for pair in limits for end in pair if math.isfinite(end))]
    return padded(min(every), max(every), air)


#: Bars of :func:`sorted_bars`; of more values quantiles are drawn.
MOST_BARS = 200


def sorted_bars(title: str, words: str, values: Sequence[float], names: Sequence[str]) -> Markup:
    """Values ``(n,)``, finite, from the greatest to the least, as bars from zero with names on hover.

    Of more than :data:`MOST_BARS` their quantiles are drawn. ``words`` say the same to those who cannot see it.

    >>> sorted_bars("t", "w", [0.5, -0.25, 1.0], "abc").count('class="won"')
    2
    """
    box = (46, 356, 170, 10)
    order = np.argsort(-np.asarray(values, dtype=np.float64), kind="stable")
    shown = np.asarray(values, dtype=np.float64)[order]
    told = [f"{names[place]}: {amount(values[place])}" for place in order]
    if len(shown) > MOST_BARS:
        shown, told = np.quantile(shown, np.linspace(1, 0, MOST_BARS)), [""] * MOST_BARS
    axis = padded(min(0.0, float(shown[-1])), max(0.0, float(shown[0])))
    width = (box[1] - box[0]) / len(shown)
    zero, *tops = scale([0.0, *map(float, shown)], axis, box[2], box[3])
    rect = Markup('<rect class="{}" x="{:.2f}" width="{:.2f}" y="{:.1f}" height="{:.1f}"><title>{}</title></rect>')
    bars = [
        rect.format(
            "won" if top < zero else "lost", box[0] + place * width, width * 0.9, min(top, zero), abs(top - zero), name
        )
        for place, (top, name) in enumerate(zip(tops, told, strict=True))
    ]
    line = Markup('<line class="zero" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(box[0], box[1], zero, zero)
    return svg(title, words, [frame(axis, box), *bars, line], (360, 180))


def _width(name: str) -> float:
    """What a name takes in the widest fonts that the page may come to: which one it will be, nobody knows here."""
    return sum(7.6 if letter.isascii() and not letter.isupper() and letter not in "mw@%" else 12.5 for letter in name)


def _labels(points: Sequence[tuple[float, float]], names: Sequence[str]) -> Iterator[Markup]:
    """Each name on the first side of its point that is free."""
    x0, x1, y0, y1 = _BOX
    taken = [(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for x, y in points]
    for (x, y), name in zip(points, names, strict=True):
        width = _width(name)
        for right, down in _SIDES:
            at, middle = x + right * (4 if down else 7), y + _LINE * down
            start, above = at - width * (1 - right) / 2, middle - _LINE / 2
            end, below = start + width, middle + _LINE / 2
            met = (start < x3 and x2 < end and above < y3 and y2 < below for x2, y2, x3, y3 in taken)
            if x0 <= start and end <= x1 and y1 <= above and below <= y0 and not any(met):
                taken.append((start, above, end, below))
                anchor = {1: "start", 0: "middle", -1: "end"}[right]
                yield label(at, middle + 4, name, anchor, "soft name")
                break
