"""Scores against opinions: the data that the page's script draws, and the best metric drawn without it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.report import svg
from torchmetrics_fmiqa.report.document import Scatter, Section, Text
from torchmetrics_fmiqa.report.numbers import amount, counted, number, percent, shortest
from torchmetrics_fmiqa.statistics import Agreement

#: Scores that a page holds at most; some 7 bytes each. Of more images an even selection is drawn.
MOST_SCORES = 450_000
# Size of the drawing, its box (left, right, bottom, top), and points of a curve.
_SIZE = (720, 476)
_BOX = (70, 706, 410, 40)
_CURVE = 61


def scatter_section(study: Study) -> Section:
    """The drawing, and the words above it."""
    count, shown = len(study.table.opinion), len(_shown(study))
    lead: Text = (f"{counted(len(study.analysis.agreements), 'metric')}, one at a time; the best first.",)
    how: list[Text] = [
        (
            "Each dot is an image: the metric's score against what people said, with the logistic curve that PLCC and "
            "RMSE are taken from. Rings are outliers. Point at a dot, or move with the arrow keys, to see which it is.",
        )
    ]
    if shown < count:
        how.append((f"Drawn are {shown:,} of {count:,} images, evenly chosen, to keep this page small.",))
    data = scatter_data(study)
    return Section("scatter", "Image by image", [lead], how, scatter=Scatter(data, _drawing(data)))


def scatter_data(study: Study) -> dict[str, Any]:
    """Everything that is drawn, the metrics in the order of the analysis, as JSON takes it.

    Scores are rounded to 4 digits, opinions to 5; what is not finite is ``None``.
    """
    table, chosen = study.table, _shown(study)
    types = [] if table.type is None else sorted(set(table.type.tolist()))
    place = {name: index for index, name in enumerate(types)}
    return {
        "size": _SIZE,
        "box": _BOX,
        "way": f"higher is {'better' if study.analysis.opinion_higher_is_better else 'worse'}",
        "opinionRange": _range(table.opinion),
        "opinions": _rounded(table.opinion[chosen], 5),
        "names": table.image[chosen].tolist(),
        "references": table.reference[chosen].tolist(),
        "types": types,
        "typeOf": [] if table.type is None else [place[name] for name in table.type[chosen].tolist()],
        "metrics": [_metric(study, agreement, chosen) for agreement in study.analysis.agreements],
    }


def _drawing(data: dict[str, Any]) -> Markup:
    """The first metric, drawn without a script, which then redraws the parts that have an id."""
    metric, opinions = data["metrics"][0], data["opinionRange"]
    x0, x1, y0, y1 = _BOX
    width, height = _SIZE

    def across(values: Sequence[float]) -> list[float]:
        return svg.scale(values, metric["range"], x0, x1)

    def marks(places: Iterable[int], mark: str) -> str:
        return "".join(f"M{xs[place]:.1f} {ys[place]:.1f}{mark}" for place in places if place in xs)

    known = [place for place, x in enumerate(metric["scores"]) if x is not None]
    xs = dict(zip(known, across([metric["scores"][place] for place in known]), strict=True))
    ys = dict(zip(known, svg.scale([data["opinions"][place] for place in known], opinions, y0, y1), strict=True))
    curve = ""
    if metric["curve"]:
        curve = svg.path(across(metric["curve"][0]), svg.scale(metric["curve"][1], opinions, y0, y1))
    labels = (svg.label(across([at])[0], y0 + 24, text) for at, text in metric["ticks"])
    return Markup(
        '<svg class="chart scatter" id="scatter-svg" viewBox="0 0 {w} {h}" role="img" aria-labelledby="scatter-words">'
        "<g>{levels}</g>"
        '<text class="soft" x="0" y="16">↑ opinion ({way})</text>'
        '<g id="scatter-ticks">{labels}</g>'
        '<text class="soft" id="scatter-label" x="{x1}" y="{end}" text-anchor="end">score of {name} →</text>'
        '<path class="cloud" id="scatter-points" d="{points}"/><path class="chosen" id="scatter-type" d=""/>'
        '<path class="rings" id="scatter-outliers" d="{rings}"/><path class="line" id="scatter-curve" d="{curve}"/>'
        '<circle class="finger" id="scatter-finger" r="9" cx="-99" cy="-99"/></svg>'
    ).format(
        w=width,
        h=height,
        levels=svg.frame(opinions, _BOX, most=6),
        x1=x1,
        end=height - 8,
        way=data["way"],
        labels=Markup("").join(labels),
        name=metric["name"],
        points=marks(xs, "h0"),
        rings=marks(metric["outliers"], "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0"),
        curve=curve,
    )


def _shown(study: Study) -> npt.NDArray[np.int64]:
    count = len(study.table.opinion)
    most = max(MOST_SCORES // max(len(study.analysis.agreements), 1), 200)
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def _metric(study: Study, agreement: Agreement, chosen: npt.NDArray[np.int64]) -> dict[str, Any]:
    scores = study.table.scores[agreement.metric]
    low, high = _range(scores)
    return {
        "name": agreement.metric,
        "words": _words(agreement, int((~np.isfinite(scores)).sum())),
        "range": [low, high],
        "ticks": [[tick, shortest(tick)] for tick in svg.ticks(low, high)],
        "scores": _rounded(scores[chosen], 4),
        "outliers": np.flatnonzero(agreement.outliers.outlying[chosen]).tolist(),
        "curve": _curve(study, agreement, scores),
    }


def _words(agreement: Agreement, missing: int) -> str:
    text = (
        f"{agreement.metric}: SRCC {number(agreement.srcc)}, PLCC {number(agreement.plcc)}, "
        f"RMSE {amount(agreement.rmse)}, {percent(agreement.outlier_ratio)} outliers."
    )
    text += f" {counted(missing, 'image')} without a score." if missing else ""
    return text if agreement.fit.converged else f"{text} No curve: {agreement.fit.reason}."


def _curve(study: Study, agreement: Agreement, scores: npt.NDArray[np.float64]) -> list[list[float | None]]:
    """The fitted curve in the units of the table: the fit was made on both turned so that higher is better."""
    if not agreement.fit.converged:
        return []
    score_sign = 1.0 if agreement.metric in study.analysis.higher_is_better else -1.0
    opinion_sign = 1.0 if study.analysis.opinion_higher_is_better else -1.0
    *_, middle, width = agreement.fit.parameters
    # The slope may be a small part of the range, as where one score lies far out.
    slope = score_sign * (middle + abs(width) * np.linspace(-8, 8, 33))
    on_slope = scores[np.abs(score_sign * scores - middle) < 8 * abs(width)][:_CURVE]
    xs = np.concatenate([np.linspace(scores.min(), scores.max(), _CURVE), slope, on_slope])
    xs = np.unique(np.clip(xs, scores.min(), scores.max()))
    ys = opinion_sign * agreement.fit(score_sign * xs)
    return [_rounded(xs, 9), _rounded(ys, 5)]


def _range(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return svg.padded(float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def _rounded(values: npt.NDArray[np.float64], digits: int) -> list[float | None]:
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values.tolist()]
