"""The tables of a comparison: Markdown and LaTeX to paste, CSV with every number, and the scores of each image."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.comparison.comparison import Comparison, Difference
from torchmetrics_fmiqa.comparison.mean_cells import mean_cells, set_cells
from torchmetrics_fmiqa.comparison.scores import MethodScores
from torchmetrics_fmiqa.comparison.set_rows import SETS_NOTE
from torchmetrics_fmiqa.comparison.unfinished import UNFINISHED
from torchmetrics_fmiqa.data.parquet import write_parquet
from torchmetrics_fmiqa.data.tables import write_table
from torchmetrics_fmiqa.report.markdown import code, escaped
from torchmetrics_fmiqa.report.markdown import table as markdown_table
from torchmetrics_fmiqa.report.numbers import capitalised, counted, p_value, signed, span
from torchmetrics_fmiqa.safe_write import printable, write_text

#: The files that :func:`write_tables` writes, one more where images were left out, and one where sets were measured.
FILES = ("scores.parquet", "table.csv", "differences.csv", "table.md", "table.tex")
LEFT_OUT = "left_out.csv"
SETS = "set_distances.csv"


def all_differences(comparison: Comparison) -> list[Difference]:
    """The difference of each pair of methods by each metric."""
    pairs = list(itertools.combinations(comparison.scores.methods, 2))
    return [comparison.difference(*pair, metric) for metric in comparison.scores.metrics for pair in pairs]


def _difference_row(difference: Difference) -> dict[str, Any]:
    row = {
        "metric": difference.metric,
        "first": difference.first,
        "second": difference.second,
        "difference": difference.value,
    }
    row |= {"low": difference.low, "high": difference.high, "p_holm": difference.p_holm, "first_won": difference.won}
    return {**row, "better": _verdict(difference)}


def _verdict(difference: Difference) -> str:
    return difference.better or ("not known" if math.isnan(difference.p_holm) else "tied")


def write_tables(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the tables of a comparison, each whole or not at all.

    Args:
        comparison: what to write.
        folder: where; it must exist.

    Returns:
        The files: :data:`FILES`, :data:`LEFT_OUT` where images were left out, :data:`SETS` where sets were measured.

    Raises:
        WriteError: if the system refuses.
    """
    write_scores(comparison.scores, folder / FILES[0])
    differences = [_difference_row(difference) for difference in all_differences(comparison)]
    for name, rows in (("table.csv", comparison.rows()), ("differences.csv", differences)):
        write_table(folder / name, rows, list(rows[0]))
    write_text(folder / "table.md", markdown(comparison))
    write_text(folder / "table.tex", latex(comparison))
    files = [folder / name for name in FILES]
    if comparison.sets is not None and comparison.sets.rows:
        table = comparison.sets.table()
        write_table(folder / SETS, table, list(table[0]))
        files.append(folder / SETS)
    else:
        (folder / SETS).unlink(missing_ok=True)
    if comparison.left_out:
        fields = ("method", "name", "kind", "reason")
        rows = [{field: getattr(one, field) for field in fields} for one in comparison.left_out]
        write_table(folder / LEFT_OUT, rows, fields)
        files.append(folder / LEFT_OUT)
    else:
        (folder / LEFT_OUT).unlink(missing_ok=True)  # of an earlier comparison in this folder
    return files


def is_comparison(folder: Path) -> bool:
    """Whether a folder holds the results of a comparison, which another one may replace."""
    return any((folder / name).is_file() for name in ("differences.csv", UNFINISHED))


def write_scores(scores: MethodScores, path: Path) -> None:
    """Write the scores as Parquet, a row for each image and method: image, method, group, files, a column a metric."""
    import pyarrow

    count = len(scores.images)
    columns: dict[str, Any] = {
        "ref": [printable(image.name) for _ in scores.methods for image in scores.images],
        "method": [printable(name) for name in scores.methods for _ in range(count)],
        "group": [printable(image.group) for _ in scores.methods for image in scores.images],
        "target": [printable(str(image.target)) for _ in scores.methods for image in scores.images],
        "preds": [printable(str(image.preds[name])) for name in scores.methods for image in scores.images],
    }
    columns |= {name: scores.values[:, k].ravel() for k, name in enumerate(scores.metrics)}
    write_parquet(path, pyarrow.table(columns))


def markdown(comparison: Comparison) -> str:
    """The answer, the means and the differences as Markdown."""
    arrows = [f"{escaped(metric)} {arrow}" for metric, arrow in _directions(comparison)]
    marks = ("{}", "**{}**", "<u>{}</u>")
    rows = []
    for method, cells in zip(
        comparison.scores.methods, mean_cells(comparison.scores, comparison.statistics), strict=True
    ):
        texts = [f"{marks[cell.place].format(cell.mean)}{' ≈' * cell.tied} {cell.interval}".strip() for cell in cells]
        rows.append([escaped(method), *texts])
    gaps = []
    for difference in all_differences(comparison):
        value, interval = (
            signed(difference.value, difference.digits),
            span(difference.low, difference.high, difference.digits),
        )
        verdict = f"{escaped(difference.better)} is better" if difference.better else _verdict(difference)
        won = "—" if math.isnan(difference.won) else f"{100 * difference.won:.0f} %"
        names = map(escaped, (difference.metric, difference.first, difference.second))
        chance = p_value(difference.p_holm).removeprefix("p\u00a0").removeprefix("=\u00a0")
        gaps.append([*names, f"{value} {interval}".strip(), won, chance, verdict])
    heads = ("metric", "first", "second", "first minus second", "first is better on", "p (Holm)", "")
    parts = [
        escaped(comparison.answer),
        markdown_table(["method", *arrows], rows),
        f"Mean of {images_compared(comparison)}, in brackets its 95 % bootstrap interval. **Best**, <u>second</u>; "
        "≈ is tied with the best: the difference is not settled.",
        *(
            "".join(code(part) if type(part) is not str else escaped(part) for part in one)
            for one in (*comparison.lacking_images, *comparison.disagreements)
        ),
        markdown_table(heads, gaps),
        "Equal scores count half. Intervals of differences are not corrected; p is, for all pairs and metrics of this "
        "table together (Holm).",
        *_sets_markdown(comparison),
    ]
    return "\n\n".join(parts) + "\n"


def _sets_markdown(comparison: Comparison) -> list[str]:
    if comparison.sets is None or not comparison.sets.rows:
        return []
    heads = ("set distance ↓", "method", "value", "of infinitely many images", "95 % interval")
    rows = [[escaped(row.distance), escaped(row.method), *row.texts()] for row in comparison.sets.rows]
    return [markdown_table(heads, rows), escaped(" ".join(_sets_notes(comparison)))]


def _sets_notes(comparison: Comparison) -> list[str]:
    """What to know of distances between sets, in sentences; nothing where there are none."""
    sets = comparison.sets
    notes = (SETS_NOTE, sets.warning) if sets is not None and sets.rows else ()
    return [f"{capitalised(note)}." for note in notes if note]


def latex(comparison: Comparison) -> str:
    """The means as a LaTeX table: best bold, second underlined, what is tied with the best marked; then the sets."""
    arrows = {"↑": r"$\uparrow$", "↓": r"$\downarrow$"}
    sets = () if comparison.sets is None else comparison.sets.rows
    distances = dict.fromkeys(row.distance for row in sets)
    directions = [*_directions(comparison), *((distance, "↓") for distance in distances)]
    metrics = [f"{_tex(metric)} {arrows[arrow]}" for metric, arrow in directions]
    marks = ("{}", r"\textbf{{{}}}", r"\underline{{{}}}")
    lines = [
        f"% {' '.join(printable(comparison.answer).split())}",
        f"% Mean of {images_compared(comparison)}; bold: best; underlined: second; \\approx: tied with the best.",
        *(f"% {note}" for note in _sets_notes(comparison)),
        rf"\begin{{tabular}}{{l{'c' * len(metrics)}}}",
        r"\hline",
        rf"Method & {' & '.join(metrics)} \\",
        r"\hline",
    ]
    methods = comparison.scores.methods
    means = mean_cells(comparison.scores, comparison.statistics)
    for method, of_images, of_sets in zip(methods, means, set_cells(sets, methods), strict=True):
        cells = (*of_images, *of_sets)
        texts = [marks[cell.place].format(_tex_number(cell.mean)) + r"$^{\approx}$" * cell.tied for cell in cells]
        lines.append(rf"{_tex(method)} & {' & '.join(texts)} \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}"]) + "\n"


def _directions(comparison: Comparison) -> Sequence[tuple[str, str]]:
    scores = comparison.scores
    return [(metric, "↑" if metric in scores.qualities else "↓") for metric in scores.metrics]


def images_compared(comparison: Comparison) -> str:
    """How many images were compared, of how many references, and by how many groups they are drawn."""
    images = comparison.scores.images
    count = len(images)
    of = "" if count == comparison.references else f" that all methods have, of {comparison.references:,}"
    groups = f", drawn by {counted(len({image.group for image in images}), 'group')}" if comparison.grouped else ""
    return counted(count, "image") + of + groups


def _tex_number(text: str) -> str:
    """A number for LaTeX, with the zero before its point."""
    return re.sub(r"(?<!\d)\.", "0.", text.replace("—", "--").replace("−", "$-$"))


def _tex(text: str) -> str:
    """Text for LaTeX."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return re.sub(
        r"[\\~^&%$#_{}]", lambda match: special.get(match[0], f"\\{match[0]}"), " ".join(printable(text).split())
    )
