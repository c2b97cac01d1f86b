"""Points with their names beside them, none over another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from torchmetrics_fmiqa.benchmark.page.charts import frame, padded, scale, svg, ticks
from torchmetrics_fmiqa.benchmark.page.numbers import amount, number, plain

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
