"""Agreement against the depth of features, and against the accuracy of the network they come from."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from torchmetrics_fmiqa.benchmark.analysis.imagenet_accuracy import AccuracyFinding
from torchmetrics_fmiqa.benchmark.analysis.layers import LayerCurve
from torchmetrics_fmiqa.report.document import (
    Cell,
    Column,
    Figure,
    Name,
    Section,
    Table,
    Text,
    chance,
    coefficient,
    correlation,
    limits,
    number,
    several,
    span,
)
from torchmetrics_fmiqa.report.svg import depth_curve, named_points, span_of

_ALPHA = 0.05


def layers_section(curves: Sequence[LayerCurve]) -> Section:
    """Intermediate features or the final ones."""
    axis = span_of([v for one in curves for v in (*one.srcc, *one.low, *one.high, one.joined)])
    figures = tuple(
        Figure(depth_curve(one.metric, one.taps, one.srcc, one.low, one.high, one.joined, axis), _curve_words(one))
        for one in curves
    )
    columns = tuple(map(Column, ("metric", "tap", "SRCC", "95 %")))
    rows = tuple(
        (Cell(one.metric), Cell(tap, float(place)), correlation(value), limits(low, high))
        for one in curves
        for place, (tap, value, low, high) in enumerate(zip(one.taps, one.srcc, one.low, one.high, strict=True))
    )
    how: Text = (
        "SRCC of each tap alone, shallow to deep, with its 95 % interval; the filled dot is the best tap, the dashed "
        "line all taps joined. All drawings have one scale.",
    )
    table = Table("layers", "Each tap alone.", columns, rows)
    return Section("layers", "Against depth", (_depth_words(curves),), (how,), figures, (table,))


def _depth_words(curves: Sequence[LayerCurve]) -> Text:
    """Where the best tap lies, and whether all taps joined beat the last one."""
    told = [one for one in curves if not all(map(math.isnan, one.srcc))]
    before = [one for one in told if _best(one) < len(one.taps) - 1]
    beating = [one for one in curves if one.joined > one.srcc[-1] and one.final_p < _ALPHA]
    beaten = [one for one in curves if one.joined < one.srcc[-1] and one.final_p < _ALPHA]
    text = (
        f"Intermediate or final: in {len(before)} of {several(len(told), 'metric')} the best tap lies before the last "
        f"one. All taps joined beat the last tap alone, beyond chance, in {len(beating)} of {len(curves)}"
    )
    text += f", and are beaten by it in {len(beaten)}" if beaten else ""
    unknown = sum(math.isnan(one.final_p) for one in curves)
    return (text + (f"; it cannot be told in {unknown}." if unknown else "."),)


def _best(curve: LayerCurve) -> int:
    return max(range(len(curve.taps)), key=lambda place: -math.inf if math.isnan(v := curve.srcc[place]) else v)


def _curve_words(one: LayerCurve) -> Text:
    best = _best(one)
    last = f"last {number(one.srcc[-1])}, joined {number(one.joined)}"
    tested = "" if math.isnan(one.final_p) else f" (joined against last: p\u00a0{chance(one.final_p)})"
    return (Name(one.metric), ": best at ", Name(one.taps[best]), f" {number(one.srcc[best])}, {last}{tested}.")


def accuracy_section(findings: Sequence[AccuracyFinding]) -> Section:
    """Whether backbones that classify better also see more as people do."""
    figures = tuple(
        Figure(
            named_points(
                f"{one.what} against ImageNet accuracy", one.backbones, one.top1, one.values, "top-1, per cent"
            ),
            (f"{one.what[:1].upper() + one.what[1:]} of each backbone's best metric.",),
            broad=True,
        )
        for one in findings
        if one.backbones
    )
    rows = tuple(
        (Cell(backbone), Cell(metric), Cell(one.what), Cell(f"{top1:.2f}", top1), coefficient(value))
        for one in findings
        for backbone, metric, top1, value in zip(one.backbones, one.metrics, one.top1, one.values, strict=True)
    )
    columns = tuple(map(Column, ("backbone", "its best metric", "figure", "top-1, %", "value")))
    lead = tuple(_accuracy_words(one) for one in findings)
    table = Table("accuracy", "Each backbone stands with its best metric.", columns, rows)
    return Section("accuracy", "Against ImageNet accuracy", lead, _notes(findings), figures, (table,))


def _notes(findings: Sequence[AccuracyFinding]) -> tuple[Text, ...]:
    """What to know of the findings: once where it is the same of all, in whatever order it names the metrics."""
    notes = {one.what: one.note for one in findings if one.note}
    if len({tuple(sorted(re.findall(r"[^\s,;:()]+", note))) for note in notes.values()}) == 1:
        note = next(iter(notes.values()))
        return ((f"{note[:1].upper()}{note[1:]}.",),)
    return tuple((f"{what}: {note}.",) for what, note in notes.items())


def _accuracy_words(one: AccuracyFinding) -> Text:
    count = several(len(one.backbones), "backbone")
    if math.isnan(one.rho):
        return (f"{one.what}: {count}, too few for a correlation.",)
    settled = "follows" if one.rho > 0 else "runs against"
    verdict = (
        f"{settled} ImageNet accuracy" if one.p < _ALPHA else "is not shown to go with ImageNet accuracy, either way"
    )
    return (
        f"{one.what[:1].upper() + one.what[1:]} {verdict}: rank correlation {number(one.rho)} {span(*one.interval)}, "
        f"p\u00a0{chance(one.p)}, over {count}.",
    )
