"""Pictures of numbers that stand in tables of the documentation: read from the pages, so that they cannot differ.

python benchmarks/docs_figures.py       # writes docs/findings/{agreement,intermediate,fusion}.svg
"""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

DOCS = Path(__file__).parents[1] / "docs"
SETS = ("LIVE, 58 images", "super-resolution, 4K", "super-resolution, grey", "LIVE, 149 images")
STRONG, WEAK = "#2b6cb0", "#a0aec0"


def rows(page: str, first: str) -> dict[str, list[str]]:
    """Cells of each row of the table whose head begins with a text, by the plain text of its first cell."""
    lines = (DOCS / page).read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first}"))
    found = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip().replace("*", "") for cell in line.strip("|").split("|"))
        found[name] = cells
    return found


def numbers(cell: str) -> list[float]:
    """The numbers of a cell, the point first or a sign: `+.065 [.038, .090]` has three."""
    return [float(one.replace("−", "-")) for one in re.findall(r"[+−-]?\d*\.\d+", cell)]


def bare(axes: Axes) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e2e8f0")
    axes.set_axisbelow(True)


def agreement() -> None:
    """The default beside the usual metrics, on each set."""
    table = rows("findings.md", "SRCC (mean within a reference)")
    ours = next(name for name in table if name.startswith("embedded: cosine + symmetric KL"))
    shown = {"the default": table[ours]} | {n: table[n] for n in ("LPIPS-squeeze", "MS-SSIM", "SSIM", "PSNR")}
    figure, panels = plt.subplots(1, 4, figsize=(8.4, 2.3), sharey=True, layout="constrained")
    for column, (axes, title) in enumerate(zip(panels, SETS, strict=True)):
        values = [numbers(cells[column])[0] for cells in shown.values()]
        colours = [STRONG, *[WEAK] * (len(values) - 1)]
        axes.hlines(range(len(values)), 0.4, values, colors=colours, linewidth=2)
        axes.scatter(values, range(len(values)), color=colours, s=40, zorder=3)
        for place, value in enumerate(values):
            axes.annotate(f"{value:.3f}"[1:], (value, place), (5, 5), textcoords="offset points", fontsize=8)
        axes.set(title=title, xlim=(0.4, 1.06), yticks=range(len(values)), yticklabels=list(shown))
        axes.title.set_fontsize(9.5)
        axes.set_ylim(len(values) - 0.5, -0.6)
        bare(axes)
    figure.supxlabel("rank correlation with people (SRCC)", fontsize=9)
    save(figure, "agreement.svg")


def intermediate() -> None:
    """By how much intermediate features are ahead of final ones, with intervals."""
    table = rows("findings.md", "intermediate (cosine, all blocks)")
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 2.5), sharey=True, layout="constrained")
    for axes, title, column in zip(panels, ("TID2013", "LIVE"), (1, 4), strict=True):
        for place, cells in enumerate(table.values()):
            middle, low, high = numbers(cells[column])
            colour = STRONG if low > 0 else WEAK
            axes.hlines(place, low, high, colors=colour, linewidth=2)
            axes.scatter(middle, place, color=colour, s=40, zorder=3)
        axes.axvline(0, color="#4a5568", linewidth=1)
        axes.set(title=title, yticks=range(len(table)), yticklabels=list(table), xlim=(-0.02, 0.12))
        axes.set_ylim(len(table) - 0.5, -0.5)
        bare(axes)
    figure.supxlabel("SRCC of intermediate features − SRCC of final ones, 95 % intervals", fontsize=9)
    save(figure, "intermediate.svg")


def fusion() -> None:
    """What the parts of SPIPS are worth on published scores."""
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 2.5), sharey=True, layout="constrained")
    for axes, title in zip(panels, ("TID2013", "LIVE"), strict=True):
        table = rows("spips.md", f"{title} | inputs")
        values = [numbers(cells[1])[0] for cells in table.values()]
        names = ["best single input" if name.startswith("best") else name for name in table]
        colours = [STRONG, *[WEAK] * (len(values) - 1)]
        axes.scatter(values, range(len(values)), color=colours, s=40, zorder=3)
        for place, value in enumerate(values):
            axes.annotate(f"{value:.3f}"[1:], (value, place), (6, 4), textcoords="offset points", fontsize=8)
        axes.set(title=title, yticks=range(len(values)), yticklabels=names, xlim=(0.84, 0.99))
        axes.set_ylim(len(values) - 0.5, -0.6)
        bare(axes)
    figure.supxlabel("mean SRCC over five folds that share no reference", fontsize=9)
    save(figure, "fusion.svg")


def save(figure: plt.Figure, name: str) -> None:
    figure.savefig(DOCS / "findings" / name, metadata={"Date": None}, facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    plt.rcParams |= {"svg.hashsalt": "docs", "svg.fonttype": "path", "font.size": 9}
    agreement()
    intermediate()
    fusion()
