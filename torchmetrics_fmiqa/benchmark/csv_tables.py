"""The folder of a benchmark: its tables as CSV, and its reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.benchmark.study_report import write_html, write_markdown
from torchmetrics_fmiqa.data.tables import write_table
from torchmetrics_fmiqa.safe_write import write_text

Row = Mapping[str, Any]


def write_results(study: Study, folder: Path) -> None:
    """Write ``agreement.csv``, a table for each other part that the study has, ``report.md`` and ``report.html``."""
    tables = {
        "agreement": study.analysis.rows(),
        "types": _types(study),
        "beats": _beats(study),
        "layers": _layers(study),
        "attacks": [dataclasses.asdict(one) for one in study.attacks],
        "usefulness": [dataclasses.asdict(one) for one in study.usefulness],
        "cost": [dataclasses.asdict(one) for one in study.cost],
        "desirability": _desirability(study),
        "accuracy": _accuracy(study),
        "outliers": [
            {"metric": one.metric, **dataclasses.asdict(case)} for one in study.outliers for case in one.worst
        ],
        "outlier_tests": _outlier_tests(study),
    }
    for name, rows in tables.items():
        path = folder / f"{name}.csv"
        if rows:
            write_table(path, rows, list(rows[0]))
        else:  # of an earlier run of the same inputs
            path.unlink(missing_ok=True)
    write_text(folder / "report.md", write_markdown(study))
    write_text(folder / "report.html", write_html(study))


def _types(study: Study) -> Sequence[Row]:
    agreements = study.analysis.agreements
    return [{"metric": one.metric, **one.by_type} for one in agreements] if agreements[0].by_type else []


def _beats(study: Study) -> Sequence[Row]:
    comparison = study.analysis.comparison
    if comparison is None:
        return []
    return [
        {"metric": name, **dict(zip(comparison.metrics, row.tolist(), strict=True))}
        for name, row in zip(comparison.metrics, comparison.beats, strict=True)
    ]


def _layers(study: Study) -> Sequence[Row]:
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


def _desirability(study: Study) -> Sequence[Row]:
    found = study.desirability
    if found is None:
        return []
    names = [factor.name for factor in found.factors]
    return [
        {
            "metric": metric,
            "desirability": float(found.aggregate[i]),
            "group": int(found.group[i]),
            "rank": int(found.rank[i]),
            **dict(zip(names, found.values[i].tolist(), strict=True)),
            **{f"rank_without_{name}": int(found.without[i, f]) for f, name in enumerate(names)},
            "rank_low": float(found.rank_interval[i, 0]),
            "rank_high": float(found.rank_interval[i, 1]),
            "first_share": float(found.first_share[i]),
        }
        for i, metric in enumerate(found.metrics)
    ]


def _accuracy(study: Study) -> Sequence[Row]:
    return [
        {"figure": one.what, "backbone": backbone, "metric": metric, "top1": top1, "value": value, "rho": one.rho}
        | {"p": one.p, "rho_low": one.interval[0], "rho_high": one.interval[1]}
        for one in study.accuracy
        for backbone, metric, top1, value in zip(one.backbones, one.metrics, one.top1, one.values, strict=True)
    ]


def _outlier_tests(study: Study) -> Sequence[Row]:
    return [
        {"metric": one.metric, "tests": kind, **dataclasses.asdict(test)}
        for one in study.outliers
        for kind, tests in (("pooled", one.pooled), ("stratified", one.stratified))
        for test in tests
    ]
