"""An analysis as a Markdown page: the answer first, then the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torchmetrics_fmiqa.benchmark.analysis import Analysis
from torchmetrics_fmiqa.statistics import Agreement, Comparison


def write_page(analysis: Analysis, title: str, command: str) -> str:
    """Return the page.

    Args:
        analysis: what was found.
        title: what was analysed.
        command: the command that made it.
    """
    parts = [f"# Agreement with human opinion: {title}", f"`{command}`", _answer(analysis), _agreement(analysis)]
    if analysis.robustness:
        parts.append(_robustness(analysis))
    if any(one.by_type for one in analysis.agreements):
        parts.append(_types(analysis))
    else:
        parts.append("## By type of distortion\n\nNot available: the table has no types.")
    if analysis.comparison is not None:
        parts.append(_beats(analysis, analysis.comparison))
    notes = [f"- `{one.metric}`: {note}" for one in analysis.agreements for note in one.notes]
    if notes:
        parts.append("## Notes\n\n" + "\n".join(notes))
    return "\n\n".join(parts) + "\n"


def _answer(analysis: Analysis) -> str:
    best = analysis.agreements[0]
    text = f"**{best.metric}** agrees best with people: SRCC {_number(best.srcc)}{_span(best, 'srcc')}. "
    ties = analysis.ties()
    if len(analysis.agreements) > 1:
        text += (
            f"Beyond chance it beats {len(analysis.agreements) - 1 - len(ties)} of the {len(analysis.agreements) - 1} "
            "others" + (f"; not settled against {', '.join(ties)}. " if ties else ". ")
        )
    return (
        text + f"{best.n} images of {analysis.references} references; {analysis.direction}. Intervals are 95 %, by "
        "bootstrap over references; wins are corrected for the number of pairs (Holm)."
    )


def _agreement(analysis: Analysis) -> str:
    header = ["metric", "SRCC", "95 %", "KRCC", "PLCC", "PLCC raw", "RMSE", "outliers", "within a reference"]
    rows = [
        [
            one.metric,
            _number(one.srcc),
            _span(one, "srcc").strip(),
            _number(one.krcc),
            _number(one.plcc),
            _number(one.plcc_raw),
            f"{one.rmse:.3g}",
            f"{one.outlier_ratio:.1%}",
            _number(one.within_reference),
        ]
        for one in analysis.agreements
    ]
    rules = sorted({one.outlier_rule for one in analysis.agreements if one.outlier_rule})
    return (
        "## Agreement\n\nPLCC and RMSE after a logistic fit with 4 parameters, PLCC raw without. An outlier is a "
        f"{' or '.join(rules)}.\n\n{_table(header, rows)}"
    )


def _robustness(analysis: Analysis) -> str:
    changes = list(analysis.robustness)
    header = [
        "metric",
        "SRCC",
        *(f"{change}: SRCC" for change in changes),
        *(f"{change}: change" for change in changes),
    ]
    rows = []
    for one in analysis.agreements:
        found = [analysis.robustness[change].get(one.metric) for change in changes]
        if any(found):
            cells = [_number(part.srcc) if part else "—" for part in found]
            cells += [f"{part.sensitivity:.3f}" if part else "—" for part in found]
            rows.append([one.metric, _number(one.srcc), *cells])
    return (
        "## Robustness\n\nThe images under test slightly changed, the opinions those of the unchanged. *Change*: mean "
        f"absolute change of the score over the standard deviation of the scores.\n\n{_table(header, rows)}"
    )


def _types(analysis: Analysis) -> str:
    types = list(analysis.agreements[0].by_type)
    rows = [[one.metric, *(_number(one.by_type[name]) for name in types)] for one in analysis.agreements]
    return f"## By type of distortion\n\nSRCC.\n\n{_table(['metric', *types], rows)}"


def _beats(analysis: Analysis, comparison: Comparison) -> str:
    rows = []
    for one in analysis.agreements:
        row = comparison.beats[comparison.metrics.index(one.metric)]
        rows.append([one.metric, str(int((row > 0).sum())), str(int((row == 0).sum()) - 1), str(int((row < 0).sum()))])
    return (
        "## Who beats whom\n\nDifferences of SRCC, by bootstrap over references, corrected for all pairs at "
        f"{comparison.alpha:g}. The whole matrix is in `beats.csv`.\n\n"
        f"{_table(['metric', 'beats', 'not settled', 'is beaten by'], rows)}"
    )


def _number(value: float) -> str:
    text = f"{value:.4f}"
    return "—" if math.isnan(value) else text.replace("0.", ".", 1) if abs(value) < 1 else text


def _span(one: Agreement, name: str) -> str:
    if name not in one.intervals:
        return ""
    low, high = one.intervals[name]
    return f" [{_number(low)}, {_number(high)}]"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
