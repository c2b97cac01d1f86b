"""What all pictures share: colours that colour-blind people tell apart, axes, numbers and names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from torchmetrics_fmiqa.plotting import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

#: Of Okabe and Ito (2008), without yellow, which is too pale for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5D4A8A")
#: So that colour is never the only thing that tells two series apart.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
ACCENT, DARK, GREY, PALE = PALETTE[0], "#333333", "#8a8a8a", "#d9d9d9"
#: Of heat maps: even to the eye, and the same for colour-blind people.
SHADES = "cividis"
#: The direction is part of the label.
SRCC = "SRCC with human opinion (higher is better)"
SMALL, NORMAL = 7.5, 9


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """The given axes, or new ones in a figure of this size in inches."""
    chosen = new_figure(width, height).add_subplot() if ax is None else ax
    chosen.tick_params(labelsize=SMALL)
    return chosen


def heading(ax: Axes, title: str, below: str = "") -> None:
    """Title at the left, and a second, smaller line."""
    ax.set_title(title, loc="left", parse_math=False, fontsize=NORMAL + 1, pad=18 if below else 6)
    if below:
        ax.annotate(
            below,
            (0, 1),
            xytext=(0, 5),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=SMALL,
            color=DARK,
            va="bottom",
            parse_math=False,
        )


def open_frame(ax: Axes) -> None:
    """Take away the lines at the top and right."""
    ax.spines[["top", "right"]].set_visible(False)


def name_rows(ax: Axes, names: Sequence[str], places: Sequence[float] | None = None) -> None:
    """One row a name, the first at the top, with pale lines to guide the eye."""
    places = list(range(len(names))) if places is None else places
    ax.set_yticks(places, [shorten(name, 48) for name in names], fontsize=SMALL, parse_math=False)
    ax.set_ylim(max(places) + 0.7, min(places) - 0.7)
    ax.grid(axis="y", color=PALE, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def beside(ax: Axes, place: float, text: str) -> None:
    """Write at the right of a row."""
    ax.annotate(
        text,
        (1, place),
        xytext=(5, 0),
        xycoords=ax.get_yaxis_transform(),
        textcoords="offset points",
        fontsize=SMALL,
        color=DARK,
        va="center",
        annotation_clip=False,
        parse_math=False,
    )


def rows_height(count: float) -> float:
    """Inches for so many rows, with room for title and axis."""
    return 0.21 * count + 1.7


def legend_at_right(ax: Axes, **options: Any) -> None:
    """Legend outside, where it hides nothing."""
    options = {"fontsize": SMALL, "frameon": False, **options}
    _plain(ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0, **options))


def legend_at_bottom(ax: Axes, **options: Any) -> None:
    """Legend below the axis' label, half an inch down however high the axes are."""
    from matplotlib.transforms import ScaledTranslation

    down = ScaledTranslation(0, -0.5, ax.figure.dpi_scale_trans)
    options = {"ncols": 2, "fontsize": SMALL, "frameon": False, **options}
    place: dict[str, Any] = {"bbox_to_anchor": (0, 0), "bbox_transform": ax.transAxes + down}
    _plain(ax.legend(loc="upper left", borderaxespad=0, **place, **options))


def _plain(legend: Any) -> None:
    """Names are no formulas, whatever signs they have."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def for_legend(name: str) -> str:
    """A name that a legend shows: one that starts with an underscore would be hidden.

    >>> for_legend("_blur"), for_legend("blur")
    (' _blur', 'blur')
    """
    return f" {name}" if name.startswith("_") else name


def number(value: float, digits: int = 3) -> str:
    """A number without its leading zero; NaN is a dash.

    >>> number(0.8512), number(-0.5, 2), number(-3.41, 1), number(-0.001, 2), number(float("nan"))
    ('.851', '−.50', '−3.4', '.00', '—')
    """
    if math.isnan(value):
        return "—"
    text = f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")
    return text.replace("0.", ".", 1) if text.lstrip("−").startswith("0.") else text


def p_value(value: float) -> str:
    """A p-value; what is very small is told by its bound.

    >>> p_value(0.0312), p_value(1e-7), p_value(1.0), p_value(float("nan"))
    ('p = .031', 'p < .001', 'p = 1', 'p unknown')
    """
    if math.isnan(value):
        return "p unknown"
    if value < 0.001:
        return "p < .001"
    return "p = 1" if value > 0.9995 else f"p = {number(value)}"


def shorten(text: str, width: int) -> str:
    """A long name with its middle left out.

    >>> shorten("resnet50", 20), shorten("a_very_long_name.png", 11)
    ('resnet50', 'a_ver…e.png')
    """
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def write_cells(ax: Axes, values: Any, columns: Sequence[float], rows: Sequence[float], shades: Any) -> list[Text]:
    """Write each number of ``(rows, columns)`` on its shade, black on light, white on dark; a dash where it is NaN."""
    written = []
    for row, line in zip(rows, values, strict=True):
        for column, value in zip(columns, line, strict=True):
            colour: Any = GREY
            if not np.isnan(value):
                red, green, blue, _ = shades.cmap(shades.norm(value))
                colour = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
            text = number(float(value), 2)
            written.append(ax.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour))
    return written


def of_interest(names: Sequence[str], highlight: Sequence[str] | None) -> list[str]:
    """The series to draw in colour: those asked for, or the first ones, as many as there are colours.

    Raises:
        ValueError: for names that are not there, or more than there are colours.
    """
    if highlight is None:
        return list(names[: len(PALETTE)])
    unknown = [name for name in highlight if name not in names]
    if unknown:
        raise ValueError(f"`highlight` names {unknown[0]!r}, which is not here: {', '.join(names)}")
    if len(highlight) > len(PALETTE):
        raise ValueError(
            f"`highlight` can name {len(PALETTE)} metrics, as many as there are colours; got {len(highlight)}"
        )
    return list(highlight)
