"""What small changes made against a metric do to its score, beside noise that is as strong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torchmetrics_fmiqa.benchmark.analysis.attacks import AttackResult
from torchmetrics_fmiqa.benchmark.plots.style import (
    DARK,
    GREY,
    PALE,
    PALETTE,
    SMALL,
    axes,
    for_legend,
    heading,
    legend_at_right,
    of_interest,
    open_frame,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Of each attack: line and marker.
_LOOKS: dict[str, tuple[Any, str]] = {"fgsm": ("--", "o"), "pgd": ("-", "s")}


def plot_attacks(
    results: Sequence[AttackResult], ax: Axes | None = None, highlight: Sequence[str] | None = None
) -> Axes:
    """Draw the mean change of the score, in its standard deviations, against the strength of the attack.

    Attacks that raise a score go up, those that lower it go down. Dotted, with hollow markers, is random noise of the
    same PSNR: what an attack must be held against.

    Args:
        results: of one metric or several.
        ax: axes to draw into; by default those of a new figure.
        highlight: metrics to draw in colour; by default the first, as many as there are colours. Others are grey.

    Raises:
        ValueError: without a result, or for a metric that has none.
        ModuleNotFoundError: without matplotlib.

    >>> found = [AttackResult("ours", "pgd", "raise", e, 2.0 * e, 0.1 * e, 48.0, 5) for e in (1.0, 2.0)]
    >>> ax = plot_attacks(found)
    >>> [line.get_ydata().tolist() for line in ax.get_lines() if line.get_gid() in ("pgd", "noise")]
    [[2.0, 4.0], [0.1, 0.2]]
    """
    if not results:
        raise ValueError("there is no attack to draw: run attack_metric() on a metric that has a gradient")
    strange = next((one.attack for one in results if one.attack not in _LOOKS), None)
    if strange is not None:
        raise ValueError(f"attacks are {' or '.join(_LOOKS)}, got {strange!r}")
    metrics = list(dict.fromkeys(one.metric for one in results))
    coloured = of_interest(metrics, highlight)
    ax = axes(ax, 7.6, 4.8)
    for series in dict.fromkeys((one.metric, one.attack, one.goal) for one in results):
        metric, attack, _ = series
        mine = sorted(
            (one for one in results if (one.metric, one.attack, one.goal) == series), key=lambda one: one.epsilon
        )
        x = [one.epsilon for one in mine]
        change, noise = [one.change for one in mine], [one.noise for one in mine]
        line, marker = _LOOKS[attack]
        if metric not in coloured:
            ax.plot(x, change, line, color=PALE, linewidth=0.7, zorder=1, gid="others")
            continue
        colour = PALETTE[coloured.index(metric)]
        ax.plot(x, change, line, marker=marker, color=colour, markersize=5, linewidth=1.4, gid=attack)
        ax.plot(
            x, noise, ":", marker=marker, color=colour, markerfacecolor="white", markersize=4, linewidth=1, gid="noise"
        )
    ax.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    ax.set_xticks(
        sorted({one.epsilon for one in results}), [f"{e:g}" for e in sorted({one.epsilon for one in results})]
    )
    ax.set_xlabel("largest change of a value, in 1/255", fontsize=9)
    directions = "(raised up, lowered down; nearer 0 is more robust)"
    ax.set_ylabel(f"mean change of the score, in its standard deviations\n{directions}", fontsize=9)
    fewest, most = min(one.n for one in results), max(one.n for one in results)
    heading(ax, "Attacks on metrics", f"mean of {fewest if fewest == most else f'{fewest} to {most}'} images")
    open_frame(ax)
    legend_at_right(
        ax, handlelength=3, handles=_handles(coloured, len(metrics) > len(coloured), {one.attack for one in results})
    )
    return ax


def _handles(coloured: list[str], others: bool, attacks: set[str]) -> list[Any]:
    """Colours tell metrics, lines and markers tell attacks."""
    from matplotlib.lines import Line2D

    handles: list[Any] = [Line2D([], [], color=PALETTE[at], label=for_legend(name)) for at, name in enumerate(coloured)]
    if others:
        handles.append(Line2D([], [], color=PALE, label="others"))
    for name, (line, marker) in _LOOKS.items():
        if name in attacks:
            handles.append(
                Line2D([], [], color=DARK, linestyle=line, marker=marker, markersize=SMALL / 1.5, label=name.upper())
            )
    handles.append(
        Line2D([], [], color=DARK, linestyle=":", marker="o", markerfacecolor="white", label="noise of equal PSNR")
    )
    return handles
