"""The folder of a benchmark: its tables as CSV, and its report as HTML and Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.benchmark.analysis.preference import ChoiceStudy
from torchmetrics_fmiqa.benchmark.reports import choice_report, study_report
from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.data.tables import write_table
from torchmetrics_fmiqa.report.document import Report
from torchmetrics_fmiqa.report.html import render_html
from torchmetrics_fmiqa.report.markdown import render_markdown
from torchmetrics_fmiqa.safe_write import write_text

Row = Mapping[str, Any]


def write_study(study: Study, folder: Path) -> None:
    """Write ``agreement.csv``, a table for each other part that the study has, ``report.md`` and ``report.html``."""
    tables: dict[str, Sequence[Row]] = {
        "agreement": study.analysis.rows(),
        "types": _types(study),
        "beats": _pairwise(study),
        "layers": _layers(study),
        "attacks": _fields(study.attacks),
        "usefulness": _fields(study.loss_suitability),
        "cost": _fields(study.cost),
        "desirability": _desirability(study),
        "accuracy": _accuracy(study),
        "outliers": [
            {"metric": finding.metric, **dataclasses.asdict(case)}
            for finding in study.outliers
            for case in finding.worst
        ],
        "outlier_tests": [
            {"metric": finding.metric, "tests": kind, **dataclasses.asdict(test)}
            for finding in study.outliers
            for kind, tests in (("pooled", finding.pooled), ("stratified", finding.stratified))
            for test in tests
        ],
    }
    _write(folder, tables, study_report(study))


def write_choice_study(study: ChoiceStudy, folder: Path) -> None:
    """Write ``choices.csv`` (one row a metric), ``ceilings.csv`` (the same of people), and both reports."""
    tables = {
        name: [score.row(study.kind) for score in scores]
        for name, scores in (("choices", study.scores), ("ceilings", study.ceilings))
    }
    _write(folder, tables, choice_report(study))


def _write(folder: Path, tables: Mapping[str, Sequence[Row]], report: Report) -> None:
    for name, rows in tables.items():
        path = folder / f"{name}.csv"
        if rows:
            write_table(path, rows, list(rows[0]))
        else:  # of an earlier run of the same inputs
            path.unlink(missing_ok=True)
    write_text(folder / "report.md", render_markdown(report))
    write_text(folder / "report.html", render_html(report))


def _fields(results: Iterable[Any]) -> list[Row]:
    return [dataclasses.asdict(result) for result in results]


def _types(study: Study) -> list[Row]:
    agreements = study.analysis.agreements
    return (
        [{"metric": agreement.metric, **agreement.by_type} for agreement in agreements] if agreements[0].by_type else []
    )


def _pairwise(study: Study) -> list[Row]:
    comparison = study.analysis.comparison
    if comparison is None:
        return []
    names = comparison.metrics
    rows = zip(names, comparison.beats.tolist(), strict=True)
    return [{"metric": name, **dict(zip(names, outcomes, strict=True))} for name, outcomes in rows]


def _layers(study: Study) -> list[Row]:
    return [
        {
            "metric": curve.metric,
            "tap": tap,
            "srcc": srcc,
            "srcc_low": low,
            "srcc_high": high,
            "joined": curve.joined,
            "joined_against_last_p": curve.final_p,
        }
        for curve in study.layers
        for tap, srcc, low, high in zip(curve.taps, curve.srcc, curve.low, curve.high, strict=True)
    ]


def _desirability(study: Study) -> list[Row]:
    ranking = study.desirability
    if ranking is None:
        return []
    names = [factor.name for factor in ranking.factors]
    return [
        {
            "metric": metric,
            "desirability": float(ranking.aggregate[i]),
            "group": int(ranking.group[i]),
            "rank": int(ranking.rank[i]),
            **dict(zip(names, ranking.values[i].tolist(), strict=True)),
            **{f"rank_without_{name}": int(ranking.without[i, f]) for f, name in enumerate(names)},
            "rank_low": float(ranking.rank_interval[i, 0]),
            "rank_high": float(ranking.rank_interval[i, 1]),
            "first_share": float(ranking.first_share[i]),
        }
        for i, metric in enumerate(ranking.metrics)
    ]


def _accuracy(study: Study) -> list[Row]:
    return [
        {
            "figure": finding.what,
            "backbone": backbone,
            "metric": metric,
            "top1": top1,
            "value": value,
            "rho": finding.rho,
            "p": finding.p,
            "rho_low": finding.interval[0],
            "rho_high": finding.interval[1],
        }
        for finding in study.accuracy
        for backbone, metric, top1, value in zip(
            finding.backbones, finding.metrics, finding.top1, finding.values, strict=True
        )
    ]
