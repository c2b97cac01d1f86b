"""What all pictures share: colours that colour-blind people tell apart, axes, legends, numbers and names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torchmetrics_fmiqa.plotting import new_figure
from torchmetrics_fmiqa.report import numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Of Okabe and Ito (2008), without yellow, which is too pale for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5D4A8A")
#: So that colour is never the only thing that tells two series apart.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
ACCENT, DARK, GREY, PALE = PALETTE[0], "#333333", "#8a8a8a", "#d9d9d9"
#: Label of the axis, with its direction.
SRCC = "SRCC with human opinion (higher is better)"
SMALL, NORMAL = 7.5, 9


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """The given axes, or new ones in a figure of this size in inches."""
    chosen = new_figure(width, height).add_subplot() if ax is None else ax
    chosen.tick_params(labelsize=SMALL)
    return chosen


def heading(ax: Axes, title: str, subtitle: str = "") -> None:
    """Title at the left, and a smaller line below it."""
    ax.set_title(title, loc="left", parse_math=False, fontsize=NORMAL + 1, pad=18 if subtitle else 6)
    if subtitle:
        annotate(ax, subtitle, (0, 1), (0, 5), xycoords="axes fraction", va="bottom")


def annotate(ax: Axes, text: str, place: tuple[float, float], offset: tuple[float, float], **options: Any) -> Any:
    """Write at a place, moved by an offset in points. Signs in the text are no formula."""
    options = {"fontsize": SMALL, "color": DARK, "annotation_clip": False, "parse_math": False, **options}
    return ax.annotate(text, place, xytext=offset, textcoords="offset points", **options)


def open_frame(ax: Axes) -> None:
    """Take away the lines at the top and right."""
    ax.spines[["top", "right"]].set_visible(False)


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """One row for each name, the first at the top, with pale lines to guide the eye."""
    ax.set_yticks(range(len(names)), [shorten(name, 48) for name in names], fontsize=SMALL, parse_math=False)
    ax.set_ylim(len(names) - 0.3, -0.7)
    ax.grid(axis="y", color=PALE, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def write_beside(ax: Axes, row: float, text: str) -> None:
    """Write at the right of a row."""
    annotate(ax, text, (1, row), (5, 0), xycoords=ax.get_yaxis_transform(), va="center")


def rows_height(count: float) -> float:
    """Inches for so many rows, with room for title and axis."""
    return 0.21 * count + 1.7


def legend_at_right(ax: Axes, **options: Any) -> None:
    """Legend outside, where it hides nothing."""
    options = {"fontsize": SMALL, "frameon": False, "bbox_to_anchor": (1.02, 1), **options}
    for text in ax.legend(loc="upper left", borderaxespad=0, **options).get_texts():
        text.set_parse_math(False)


def legend_at_bottom(ax: Axes, **options: Any) -> None:
    """Legend half an inch below the axes, however high they are: under the label."""
    from matplotlib.transforms import ScaledTranslation

    place = ax.transAxes + ScaledTranslation(0, -0.5, ax.figure.dpi_scale_trans)
    legend_at_right(ax, bbox_to_anchor=(0, 0), bbox_transform=place, **{"ncols": 2, **options})


def for_legend(name: str) -> str:
    """A name that a legend shows: one that starts with an underscore would be hidden.

    >>> for_legend("_blur"), for_legend("blur")
    (' _blur', 'blur')
    """
    return f" {name}" if name.startswith("_") else name


def shorten(text: str, width: int) -> str:
    """A long name with its middle left out.

    >>> shorten("resnet50", 20), shorten("a_very_long_name.png", 11)
    ('resnet50', 'a_ver…e.png')
    """
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def p_value(value: float) -> str:
    """A p-value as reports print it, with plain spaces.

    >>> p_value(0.0312), p_value(1e-7), p_value(1.0), p_value(float("nan"))
    ('p = .031', 'p < .001', 'p = 1', 'p unknown')
    """
    return numbers.p_value(value).replace("\u00a0", " ").replace("= 1.000", "= 1")


def coloured_names(names: Sequence[str], highlight: Sequence[str] | None) -> list[str]:
    """The series to draw in colour: those asked for, or the first ones, as many as there are colours.

    Raises:
        ValueError: for names that are not there, or more than there are colours.
    """
    if highlight is None:
        return list(names[: len(PALETTE)])
    unknown = [name for name in highlight if name not in names]
    if unknown:
        raise ValueError(f"`highlight` names {unknown[0]!r}, which is not here: {', '.join(names)}")
    most = len(PALETTE)
    if len(highlight) > most:
        raise ValueError(f"`highlight` can name {most} metrics, as many as there are colours; got {len(highlight)}")
    return list(highlight)
