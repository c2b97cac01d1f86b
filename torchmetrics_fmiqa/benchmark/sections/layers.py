"""Agreement against the depth of features, and against the accuracy of the network they come from."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from markupsafe import Markup

from torchmetrics_fmiqa.benchmark.analysis.imagenet_accuracy import AccuracyFinding
from torchmetrics_fmiqa.benchmark.analysis.layers import LayerCurve
from torchmetrics_fmiqa.report import cells, svg
from torchmetrics_fmiqa.report.document import Cell, Figure, Name, Section, Table, Text
from torchmetrics_fmiqa.report.numbers import capitalised, counted, number, p_value, span

_ALPHA = 0.05
# Size of a curve, and its box: left, right, bottom, top.
_SIZE = (340, 230)
_BOX = (46, 326, 186, 14)


def layers_section(curves: Sequence[LayerCurve]) -> Section:
    """Intermediate features or the final ones."""
    axis = svg.round_range([v for curve in curves for v in (*curve.srcc, *curve.low, *curve.high, curve.joined)])
    figures = [Figure(_drawing(curve, axis), _curve_words(curve)) for curve in curves]
    rows = [
        (
            cells.row_name(curve.metric),
            Cell(tap, float(place)),
            cells.correlation(value),
            cells.interval(low, high, fine=True),
        )
        for curve in curves
        for place, (tap, value, low, high) in enumerate(zip(curve.taps, curve.srcc, curve.low, curve.high, strict=True))
    ]
    how = (
        "SRCC of each tap alone, shallow to deep, with its 95 % interval; the filled dot is the best tap, the dashed "
        "line all taps joined. All drawings have one scale."
    )
    table = Table("layers", "Each tap alone.", cells.columns("metric", "tap", "SRCC", "95 %"), rows)
    return Section("layers", "Against depth", [_depth_words(curves)], [(how,)], figures, [table])


def _depth_words(curves: Sequence[LayerCurve]) -> Text:
    """Where the best tap lies, and whether all taps joined beat the last one."""
    known = [curve for curve in curves if not all(map(math.isnan, curve.srcc))]
    before = [curve for curve in known if _best(curve) < len(curve.taps) - 1]
    settled = [curve for curve in curves if curve.final_p < _ALPHA]
    beating = sum(curve.joined > curve.srcc[-1] for curve in settled)
    beaten = sum(curve.joined < curve.srcc[-1] for curve in settled)
    unknown = sum(math.isnan(curve.final_p) for curve in curves)
    text = (
        f"Intermediate or final: in {len(before)} of {counted(len(known), 'metric')} the best tap lies before the last "
        f"one. All taps joined beat the last tap alone, beyond chance, in {beating} of {len(curves)}"
    )
    text += f", and are beaten by it in {beaten}" if beaten else ""
    return (text + (f"; it cannot be told in {unknown}." if unknown else "."),)


def _best(curve: LayerCurve) -> int:
    """The place of the best tap."""
    return max(range(len(curve.taps)), key=lambda place: -math.inf if math.isnan(v := curve.srcc[place]) else v)


def _curve_words(curve: LayerCurve) -> Text:
    best = _best(curve)
    last = f"last {number(curve.srcc[-1])}, joined {number(curve.joined)}"
    tested = "" if math.isnan(curve.final_p) else f" (joined against last: {p_value(curve.final_p)})"
    return (Name(curve.metric), ": best at ", Name(curve.taps[best]), f" {number(curve.srcc[best])}, {last}{tested}.")


def _drawing(curve: LayerCurve, axis: tuple[float, float]) -> Markup:
    """Agreement of each tap, shallow to deep, with its interval; all taps joined as a dashed line."""
    x0, x1, y0, y1 = _BOX
    taps, count = curve.taps, len(curve.taps)
    xs = svg.scale(range(count), (0, max(count - 1, 1)), x0 + 10, x1 - 10)
    ys, lows, highs = (svg.scale(values, axis, y0, y1) for values in (curve.srcc, curve.low, curve.high))
    parts = [svg.frame(axis, _BOX)]
    known = [place for place in range(count) if not math.isnan(ys[place])]
    banded = [place for place in known if not (math.isnan(lows[place]) or math.isnan(highs[place]))]
    if len(banded) > 1:
        there, back = [(xs[place], highs[place]) for place in banded], [(xs[place], lows[place]) for place in banded]
        outline = svg.path(*zip(*there, *back[::-1], strict=True))
        parts.append(Markup('<path class="band" d="{}Z"/>').format(outline))
    if not math.isnan(curve.joined):
        y = svg.scale([curve.joined], axis, y0, y1)[0]
        parts.append(Markup('<line class="joined" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(x0, x1, y, y))
    if known:
        line = svg.path([xs[place] for place in known], [ys[place] for place in known])
        parts.append(Markup('<path class="line" d="{}"/>').format(line))
    dot = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>')
    for place in known:
        kind, radius, end = ("dot", 4.6, ", the best") if place == _best(curve) else ("hollow", 3.4, "")
        words = f"{taps[place]}: SRCC {number(curve.srcc[place])}{end}"
        parts.append(dot.format(kind, xs[place], ys[place], radius, words))
    # Names of taps are long: the first and the last say where the ends are, titles tell the others.
    ends = [(taps[0], x0, "start"), (taps[-1], x1, "end")][: min(count, 2)]
    parts += [svg.label(x, y0 + 18, tap if len(tap) <= 18 else f"…{tap[-17:]}", anchor) for tap, x, anchor in ends]
    if count > 1:
        parts.append(svg.label((x0 + x1) / 2, y0 + 36, "shallow → deep", kind="soft"))
    words = ", ".join(f"{tap} {number(value)}" for tap, value in zip(taps, curve.srcc, strict=True))
    words = f"SRCC of each tap of {curve.metric}, shallow to deep: {words}; all joined {number(curve.joined)}."
    return svg.svg(f"Agreement against depth: {curve.metric}", words, parts, _SIZE)


def accuracy_section(findings: Sequence[AccuracyFinding]) -> Section:
    """Whether backbones that classify better also see more as people do."""
    figures = []
    for finding in findings:
        title, axis = f"{finding.what} against ImageNet accuracy", "top-1, per cent"
        points = svg.named_points(title, finding.backbones, finding.top1, finding.values, axis)
        caption = f"{capitalised(finding.what)} of each backbone's best metric."
        figures.append(Figure(points, (caption,), broad=True))
    rows = [
        (Cell(backbone), Cell(metric), Cell(finding.what), Cell(f"{top1:.2f}", top1), cells.coefficient(value))
        for finding in findings
        for backbone, metric, top1, value in zip(
            finding.backbones, finding.metrics, finding.top1, finding.values, strict=True
        )
    ]
    columns = cells.columns("backbone", "its best metric", "figure", "top-1, %", "value")
    table = Table("accuracy", "Each backbone stands with its best metric.", columns, rows)
    lead = [_accuracy_words(finding) for finding in findings]
    return Section("accuracy", "Against ImageNet accuracy", lead, _accuracy_notes(findings), figures, [table])


def _accuracy_words(finding: AccuracyFinding) -> Text:
    count = counted(len(finding.backbones), "backbone")
    if math.isnan(finding.rho):
        return (f"{finding.what}: {count}, too few for a correlation.",)
    verdict = "is not shown to go with ImageNet accuracy, either way"
    if finding.p < _ALPHA:
        verdict = f"{'follows' if finding.rho > 0 else 'runs against'} ImageNet accuracy"
    rho = f"rank correlation {number(finding.rho)} {span(*finding.interval)}, {p_value(finding.p)}"
    return (f"{capitalised(finding.what)} {verdict}: {rho}, over {count}.",)


def _accuracy_notes(findings: Sequence[AccuracyFinding]) -> list[Text]:
    """What to know of the findings: once where it is the same of all, in whatever order it names the metrics."""
    notes = {finding.what: finding.note for finding in findings if finding.note}
    if len({tuple(sorted(re.findall(r"[^\s,;:()]+", note))) for note in notes.values()}) == 1:
        return [(f"{capitalised(next(iter(notes.values())))}.",)]
    return [(f"{what}: {note}.",) for what, note in notes.items()]
