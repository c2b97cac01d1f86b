"""Scores against opinions: the data that the page's script draws, and the best metric drawn without it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.report.document import Section, Text, amount, number, percent, plain, several
from torchmetrics_fmiqa.report.svg import padded, path, scale, ticks
from torchmetrics_fmiqa.statistics import Agreement

#: Scores that a page holds at most; some 7 bytes each. Of more images an even selection is drawn.
MOST_SCORES = 450_000
_SIZE = (720, 476)
_BOX = (70, 706, 410, 40)  # left, right, bottom, top
_CURVE = 61


def scatter_section(study: Study) -> Section:
    """The words above the drawing."""
    count, shown = len(study.table.opinion), len(_shown(study))
    lead: Text = (f"{several(len(study.analysis.agreements), 'metric')}, one at a time; the best first.",)
    how: list[Text] = [
        (
            "Each dot is an image: the metric's score against what people said, with the logistic curve that PLCC and "
            "RMSE are taken from. Rings are outliers. Point at a dot, or move with the arrow keys, to see which it is.",
        )
    ]
    if shown < count:
        how.append((f"Drawn are {shown:,} of {count:,} images, evenly chosen, to keep this page small.",))
    return Section("scatter", "Image by image", (lead,), tuple(how))


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
        "metrics": [_metric(study, one, chosen) for one in study.analysis.agreements],
    }


def scatter_drawing(data: dict[str, Any]) -> Markup:
    """The first metric, drawn without a script, which then redraws the parts that have an id."""
    one = data["metrics"][0]
    x0, x1, y0, y1 = _BOX
    width, height = _SIZE
    axis = Markup("")
    for tick in ticks(*data["opinionRange"]):
        y = scale([tick], data["opinionRange"], y0, y1)[0]
        axis += Markup(
            '<line class="rule" x1="{x0}" x2="{x1}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text x="{x}" y="{t:.1f}" text-anchor="end">{label}</text>'
        ).format(x0=x0, x1=x1, y=y, x=x0 - 8, t=y + 5, label=plain(tick))
    across = Markup("").join(
        Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            scale([at], one["range"], x0, x1)[0], y0 + 24, label
        )
        for at, label in one["ticks"]
    )
    return Markup(
        '<svg class="chart scatter" id="scatter-svg" viewBox="0 0 {w} {h}" role="img" aria-labelledby="scatter-words">'
        "<g>{axis}</g>"
        '<text class="soft" x="0" y="16">↑ opinion ({way})</text>'
        '<g id="scatter-ticks">{across}</g>'
        '<text class="soft" id="scatter-label" x="{x1}" y="{end}" text-anchor="end">score of {name} →</text>'
        '<path class="cloud" id="scatter-points" d="{points}"/><path class="chosen" id="scatter-type" d=""/>'
        '<path class="rings" id="scatter-outliers" d="{rings}"/><path class="line" id="scatter-curve" d="{curve}"/>'
        '<circle class="finger" id="scatter-finger" r="9" cx="-99" cy="-99"/></svg>'
    ).format(
        w=width,
        h=height,
        axis=axis,
        x0=x0,
        x1=x1,
        end=height - 8,
        way=data["way"],
        across=across,
        name=one["name"],
        points=_dots(data, one, range(len(one["scores"])), "h0"),
        rings=_dots(data, one, one["outliers"], "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0"),
        curve=_curve_path(data, one),
    )


def _shown(study: Study) -> npt.NDArray[np.int64]:
    count = len(study.table.opinion)
    most = max(MOST_SCORES // max(len(study.analysis.agreements), 1), 200)
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).round().astype(np.int64)


def _metric(study: Study, one: Agreement, chosen: npt.NDArray[np.int64]) -> dict[str, Any]:
    scores = study.table.scores[one.metric]
    low, high = _range(scores)
    return {
        "name": one.metric,
        "words": _words(one, int((~np.isfinite(scores)).sum())),
        "range": [low, high],
        "ticks": [[tick, plain(tick)] for tick in ticks(low, high)],
        "scores": _rounded(scores[chosen], 4),
        "outliers": np.flatnonzero(one.outliers.outlying[chosen]).tolist(),
        "curve": _curve(study, one, scores),
    }


def _words(one: Agreement, missing: int) -> str:
    text = (
        f"{one.metric}: SRCC {number(one.srcc)}, PLCC {number(one.plcc)}, RMSE {amount(one.rmse)}, "
        f"{percent(one.outlier_ratio)} outliers."
    )
    text += f" {several(missing, 'image')} without a score." if missing else ""
    return text if one.fit.converged else f"{text} No curve: {one.fit.reason}."


def _curve(study: Study, one: Agreement, scores: npt.NDArray[np.float64]) -> list[list[float]]:
    """The fitted curve in the units of the table: the fit was made on both turned so that higher is better."""
    if not one.fit.converged:
        return []
    score_sign = 1.0 if one.metric in study.analysis.higher_is_better else -1.0
    opinion_sign = 1.0 if study.analysis.opinion_higher_is_better else -1.0
    *_, middle, width = one.fit.parameters
    # The slope may be a small part of the range, as where one score lies far out.
    slope = score_sign * (middle + abs(width) * np.linspace(-8, 8, 33))
    on_slope = scores[np.abs(score_sign * scores - middle) < 8 * abs(width)][:_CURVE]
    xs = np.concatenate([np.linspace(scores.min(), scores.max(), _CURVE), slope, on_slope])
    xs = np.unique(np.clip(xs, scores.min(), scores.max()))
    ys = opinion_sign * one.fit(score_sign * xs)
    return [_finite(xs, 9), _finite(ys, 5)]


def _curve_path(data: dict[str, Any], one: dict[str, Any]) -> str:
    if not one["curve"]:
        return ""
    x0, x1, y0, y1 = _BOX
    xs, ys = one["curve"]
    return path(scale(xs, one["range"], x0, x1), scale(ys, data["opinionRange"], y0, y1))


def _dots(data: dict[str, Any], one: dict[str, Any], places: Any, mark: str) -> str:
    x0, x1, y0, y1 = _BOX
    places = [place for place in places if one["scores"][place] is not None]
    xs = scale([one["scores"][place] for place in places], one["range"], x0, x1)
    ys = scale([data["opinions"][place] for place in places], data["opinionRange"], y0, y1)
    return "".join(f"M{x:.1f} {y:.1f}{mark}" for x, y in zip(xs, ys, strict=True))


def _range(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return padded(float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def _rounded(values: npt.NDArray[np.float64], digits: int) -> list[float | None]:
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values.tolist()]


def _finite(values: npt.NDArray[np.float64], digits: int) -> list[float]:
    return [float(f"{value:.{digits}g}") for value in values.tolist()]
