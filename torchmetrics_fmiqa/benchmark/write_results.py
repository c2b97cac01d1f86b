"""The folder of a benchmark: its tables as CSV, and its report as HTML and Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.benchmark.analysis.desirability import Desirability
from torchmetrics_fmiqa.benchmark.analysis.imagenet_accuracy import AccuracyFinding
from torchmetrics_fmiqa.benchmark.analysis.layers import LayerCurve
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
    analysis, comparison = study.analysis, study.analysis.comparison
    tables: dict[str, Sequence[Row]] = {
        "agreement": analysis.rows(),
        "types": [{"metric": one.metric, **one.by_type} for one in analysis.agreements if one.by_type],
        "beats": [
            {"metric": name, **dict(zip(comparison.metrics, outcomes, strict=True))}
            for name, outcomes in zip(comparison.metrics, comparison.beats.tolist(), strict=True)
        ]
        if comparison
        else [],
        "layers": [row for curve in study.layers for row in _taps(curve)],
        "attacks": [dataclasses.asdict(result) for result in study.attacks],
        "usefulness": [dataclasses.asdict(finding) for finding in study.loss_suitability],
        "cost": [dataclasses.asdict(cost) for cost in study.cost],
        "desirability": _ranks(study.desirability) if study.desirability else [],
        "accuracy": [row for finding in study.accuracy for row in _backbones(finding)],
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
    """Write ``choices.csv`` (one row per metric), ``ceilings.csv`` (the same of people), and both reports."""
    groups = {"choices": study.scores, "ceilings": study.ceilings}
    tables = {name: [score.row(study.kind) for score in scores] for name, scores in groups.items()}
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


def _taps(curve: LayerCurve) -> list[Row]:
    joined = {"joined": curve.joined, "joined_against_last_p": curve.final_p}
    return [
        {"metric": curve.metric, "tap": tap, "srcc": srcc, "srcc_low": low, "srcc_high": high, **joined}
        for tap, srcc, low, high in zip(curve.taps, curve.srcc, curve.low, curve.high, strict=True)
    ]


def _ranks(ranking: Desirability) -> list[Row]:
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


def _backbones(finding: AccuracyFinding) -> list[Row]:
    names = ("figure", "backbone", "metric", "top1", "value", "rho", "p", "rho_low", "rho_high")
    whole = finding.rho, finding.p, *finding.interval
    columns = finding.backbones, finding.metrics, finding.top1, finding.values
    return [dict(zip(names, (finding.what, *row, *whole), strict=True)) for row in zip(*columns, strict=True)]
