"""Small drawings as SVG. Colours are CSS classes, so that they follow the page into the dark and onto paper."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from torchmetrics_fmiqa.report.document import amount, number, plain

_STRIP = (220, 18)
_PLOT = (340, 230)
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 44


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
    """A range with some air at its ends, and never empty."""
    air = (high - low) * share or abs(high) * share or 1.0
    return low - air, high + air


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
    return Markup(
        '<svg class="strip" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true">'
        '<line class="rule" x1="4" x2="{e}" y1="{y}" y2="{y}"/>'
        '<line class="range" x1="{x0:.1f}" x2="{x1:.1f}" y1="{y}" y2="{y}"/>'
        '<circle class="dot" cx="{x:.1f}" cy="{y}" r="3.2"/></svg>'
    ).format(w=width, h=height, e=width - 4, y=y, x=x, x0=x0, x1=x1)


def interval_axis(axis: tuple[float, float]) -> Markup:
    """The axis of :func:`interval_strip`, for the column's head."""
    width, _ = _STRIP
    return Markup(
        '<svg class="strip" viewBox="0 0 {w} 14" width="{w}" height="14" aria-hidden="true">'
        '<text x="2" y="11">{low}</text><text x="{e}" y="11" text-anchor="end">{high}</text></svg>'
    ).format(w=width, e=width - 2, low=number(axis[0], 2), high=number(axis[1], 2))


def bar(share: float) -> Markup:
    """A bar as long as a share in [0, 1] of its room."""
    width, height = 96, 12
    return Markup(
        '<svg class="strip" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true">'
        '<rect class="room" width="{w}" height="{h}"/><rect class="fill" width="{x:.1f}" height="{h}"/></svg>'
    ).format(w=width, h=height, x=width * share)


def dumbbell(change: float, noise: float, furthest: float) -> Markup:
    """What an attack does (filled) beside what noise does (hollow), about zero."""
    width, height = 150, 18
    if math.isnan(change):
        return Markup("")
    middle, y = width / 2, height / 2
    x, at = scale([change, 0.0 if math.isnan(noise) else noise], (-furthest, furthest), 6, width - 6)
    hollow = "" if math.isnan(noise) else Markup('<circle class="hollow" cx="{:.1f}" cy="{}" r="3.6"/>').format(at, y)
    return Markup(
        '<svg class="strip" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true">'
        '<line class="rule" x1="{m}" x2="{m}" y1="1" y2="{b}"/>'
        '<line class="range" x1="{m}" x2="{x:.1f}" y1="{y}" y2="{y}"/>'
        '<circle class="dot" cx="{x:.1f}" cy="{y}" r="3.6"/>{hollow}</svg>'
    ).format(w=width, h=height, m=middle, b=height - 1, x=x, y=y, hollow=hollow)


def depth_curve(
    title: str,
    taps: Sequence[str],
    values: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    joined: float,
    axis: tuple[float, float],
) -> Markup:
    """Agreement of each tap, shallow to deep, with its interval; all taps joined as a dashed line."""
    x0, x1, y0, y1 = _LEFT, _PLOT[0] - _RIGHT, _PLOT[1] - _BOTTOM, _TOP
    xs = scale(range(len(taps)), (0, max(len(taps) - 1, 1)), x0 + 10, x1 - 10)
    ys = scale(values, axis, y0, y1)
    parts = [frame(axis, (x0, x1, y0, y1))]
    known = [place for place, value in enumerate(values) if not math.isnan(value)]
    banded = [place for place in known if not (math.isnan(low[place]) or math.isnan(high[place]))]
    if len(banded) > 1:
        lows, highs = (scale([ends[place] for place in banded], axis, y0, y1) for ends in (low, high))
        across = [xs[place] for place in banded]
        outline = path([*across, *across[::-1]], [*highs, *lows[::-1]])
        parts.append(Markup('<path class="band" d="{}Z"/>').format(outline))
    if not math.isnan(joined):
        y = scale([joined], axis, y0, y1)[0]
        parts.append(Markup('<line class="joined" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(x0, x1, y, y))
    if known:
        line = path([xs[place] for place in known], [ys[place] for place in known])
        parts.append(Markup('<path class="line" d="{}"/>').format(line))
    best = max(known, key=lambda place: values[place], default=-1)
    for place in known:
        words = f"{taps[place]}: SRCC {number(values[place])}" + (", the best" if place == best else "")
        parts.append(
            Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>').format(
                "dot" if place == best else "hollow", xs[place], ys[place], 4.6 if place == best else 3.4, words
            )
        )
    # Names of taps are long: the first and the last say where the ends are, titles tell the others.
    ends = {"start": (taps[0], x0), "end": (taps[-1], x1)} if len(taps) > 1 else {"start": (taps[0], x0)}
    for anchor, (tap, x) in ends.items():
        label = tap if len(tap) <= 18 else "…" + tap[-17:]
        parts.append(Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, y0 + 18, anchor, label))
    if len(taps) > 1:
        parts.append(
            Markup('<text class="soft" x="{}" y="{}" text-anchor="middle">shallow → deep</text>').format(
                (x0 + x1) / 2, y0 + 36
            )
        )
    words = f"SRCC of each tap of {title}, shallow to deep: " + ", ".join(
        f"{tap} {number(value)}" for tap, value in zip(taps, values, strict=True)
    )
    return svg(f"Agreement against depth: {title}", f"{words}; all joined {number(joined)}.", parts, _PLOT)


def frame(y_axis: tuple[float, float], box: tuple[float, float, float, float]) -> Markup:
    """Level lines with their numbers, in a box of left, right, bottom and top."""
    x0, x1, y0, y1 = box
    lines = Markup("")
    for tick in ticks(*y_axis, most=4):
        y = scale([tick], y_axis, y0, y1)[0]
        lines += Markup(
            '<line class="rule" x1="{x0}" x2="{x1}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text x="{x}" y="{t:.1f}" text-anchor="end">{label}</text>'
        ).format(x0=x0, x1=x1, y=y, x=x0 - 6, t=y + 4, label=number(tick, 2) if abs(tick) <= 1 else plain(tick))
    return lines


def svg(title: str, words: str, parts: Sequence[Markup], size: tuple[int, int]) -> Markup:
    """A drawing of this size, told in words to those who cannot see it."""
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img"><title>{title}</title><desc>{words}</desc>{parts}</svg>'
    ).format(w=size[0], h=size[1], title=title, words=words, parts=Markup("").join(parts))


def span_of(values: Sequence[float], step: float = 0.1) -> tuple[float, float]:
    """The least range of round ends that holds all that are known.

    >>> span_of([0.83, float("nan"), 0.41])
    (0.4, 0.9)
    """
    known = np.asarray([value for value in values if math.isfinite(value)])
    if not len(known):
        return 0.0, 1.0
    low, high = math.floor(known.min() / step + 1e-9), math.ceil(known.max() / step - 1e-9)
    return float(f"{low * step:.12g}"), float(f"{max(high, low + 1) * step:.12g}")


_SIZE = (720, 320)
_BOX = (46, 706, 276, 14)  # left, right, bottom, top
_DOT = 4
_LINE = 14
# Right, left, above, below, and then askew.
_SIDES = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def named_points(title: str, names: Sequence[str], xs: Sequence[float], ys: Sequence[float], across: str) -> Markup:
    """Points with a name each, written where it hides nothing; a name that finds no such place is told on hover.

    Args:
        title: what is drawn.
        names: of the points.
        xs: ``(n,)`` values across.
        ys: ``(n,)`` values upwards.
        across: what ``xs`` are.
    """
    x0, x1, y0, y1 = _BOX
    x_axis, y_axis = padded(min(xs), max(xs), 0.1), padded(min(ys), max(ys), 0.12)
    parts = [frame(y_axis, _BOX)]
    for tick in ticks(*x_axis):
        x = scale([tick], x_axis, x0, x1)[0]
        parts.append(Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(x, y0 + 18, plain(tick)))
    parts.append(
        Markup('<text class="soft" x="{}" y="{}" text-anchor="middle">{}</text>').format((x0 + x1) / 2, y0 + 36, across)
    )
    points = list(zip(scale(xs, x_axis, x0, x1), scale(ys, y_axis, y0, y1), strict=True))
    for (x, y), name, x_value, y_value in zip(points, names, xs, ys, strict=True):
        parts.append(
            Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}: {}, {}</title></circle>').format(
                x, y, _DOT, name, amount(x_value), number(y_value)
            )
        )
    parts += _labels(points, names)
    words = "; ".join(f"{n}: {amount(x)}, {number(y)}" for n, x, y in zip(names, xs, ys, strict=True))
    return svg(title, words, parts, _SIZE)


def _width(name: str) -> float:
    """What a name takes in the widest fonts that the page may come to: which one it will be, nobody knows here."""
    return sum(7.6 if letter.isascii() and not letter.isupper() and letter not in "mw@%" else 12.5 for letter in name)


def _labels(points: Sequence[tuple[float, float]], names: Sequence[str]) -> Iterator[Markup]:
    """Each name on the first side of its point that is free."""
    x0, x1, y0, y1 = _BOX
    taken = [_Box(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for x, y in points]
    for (x, y), name in zip(points, names, strict=True):
        width = _width(name)
        for right, down in _SIDES:
            at, middle = x + right * (4 if down else 7), y + _LINE * down
            left = at - width * (1 - right) / 2
            box = _Box(left, middle - _LINE / 2, left + width, middle + _LINE / 2)
            inside = x0 <= box.left and box.right <= x1 and y1 <= box.top and box.bottom <= y0
            if inside and not any(map(box.meets, taken)):
                taken.append(box)
                anchor = {1: "start", 0: "middle", -1: "end"}[right]
                yield Markup('<text class="soft name" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
                    at, middle + 4, anchor, name
                )
                break
