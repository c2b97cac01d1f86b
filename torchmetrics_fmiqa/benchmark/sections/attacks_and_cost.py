"""What metrics stand beyond agreement: attacks, use as a loss, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torchmetrics_fmiqa.benchmark.analysis.attacks import AttackResult
from torchmetrics_fmiqa.benchmark.analysis.cost import Cost
from torchmetrics_fmiqa.benchmark.analysis.loss_suitability import LossSuitability
from torchmetrics_fmiqa.report import cells
from torchmetrics_fmiqa.report.document import DRAWN, Cell, Name, Section, Table, Text, enumerate_names
from torchmetrics_fmiqa.report.numbers import shortest, signed
from torchmetrics_fmiqa.report.svg import bar, dumbbell


def attacks_section(results: Sequence[AttackResult]) -> Section:
    """What changes made against a metric do, beside noise of the same PSNR."""
    how = (
        "Mean change of the score, in standard deviations of the scores over the benchmark's images. An attack must be "
        "held against random noise of the same PSNR (hollow): only what goes beyond it is the attack's."
    )
    sizes = [abs(size) for result in results for size in (result.change, result.noise) if math.isfinite(size)]
    furthest = max(sizes, default=1.0) or 1.0
    tables = (_strongest_attacks(results, furthest), _every_attack(results, furthest))
    return Section("attacks", "Under attack", [_attack_words(results)], [(how,)], tables=tables)


def _strongest_attacks(results: Sequence[AttackResult], furthest: float) -> Table:
    """A row for each metric: every attack at the largest bound."""
    bound = max((result.epsilon for result in results), default=0.0)
    kinds = list(dict.fromkeys((result.attack, result.goal) for result in results))
    at_bound = {(result.metric, result.attack, result.goal): result for result in results if result.epsilon == bound}
    rows = []
    for metric in dict.fromkeys(result.metric for result in results):
        attacks = [at_bound.get((metric, *kind)) for kind in kinds]
        known = [result for result in attacks if result is not None]
        worst = max(known, key=lambda result: _size(result.change), default=None)
        changes = [cells.difference(math.nan if result is None else result.change) for result in attacks]
        noise = cells.difference(math.nan if worst is None else worst.noise)
        rows.append((cells.row_name(metric), *changes, noise, _dumbbell(worst, furthest) if worst else cells.UNKNOWN))
    columns = cells.columns(
        "metric",
        *(f"{attack}, {goal}" for attack, goal in kinds),
        ("by noise", "of the same PSNR as the strongest"),
        (DRAWN, "filled: the strongest attack; hollow: noise"),
    )
    return Table("attacks-strongest", f"At equal PSNR, within {shortest(bound)}/255.", columns, rows)


def _size(change: float) -> float:
    """How far an attack moves a score; one that gave no number comes last."""
    return abs(change) if math.isfinite(change) else -1.0


def _dumbbell(result: AttackResult, furthest: float) -> Cell:
    return Cell("", result.change, drawing=dumbbell(result.change, result.noise, furthest))


def _every_attack(results: Sequence[AttackResult], furthest: float) -> Table:
    columns = cells.columns(
        *("metric", "attack", "goal", ("ε, /255", "the most that a value changes")),
        ("change", "of the score, in its standard deviations"),
        ("by noise", "of the same PSNR"),
        (DRAWN, "filled: the attack; hollow: noise"),
        *("PSNR, dB", "images"),
    )
    rows = [
        (
            *(Cell(text) for text in (result.metric, result.attack, result.goal)),
            Cell(shortest(result.epsilon), result.epsilon),
            cells.difference(result.change),
            cells.difference(result.noise),
            _dumbbell(result, furthest),
            Cell(f"{result.psnr:.1f}", result.psnr) if math.isfinite(result.psnr) else cells.amount(result.psnr),
            cells.count(result.n),
        )
        for result in results
    ]
    return Table("attacks", "Every attack.", columns, rows, folded="Every attack")


def _attack_words(results: Sequence[AttackResult]) -> Text:
    """The metrics that their worst attack moves the most and the least."""
    worst: dict[str, AttackResult] = {}
    for result in results:
        if _size(result.change) >= _size(worst.get(result.metric, result).change) >= 0:
            worst[result.metric] = result
    if not worst:
        return ("No attack could be measured.",)
    ranked = sorted(worst.values(), key=lambda result: abs(result.change))

    def words(result: AttackResult) -> Text:
        noise = "" if math.isnan(result.noise) else f", noise {signed(result.noise, 2)}"
        how = f"{result.attack}, ε {shortest(result.epsilon)}/255{noise}"
        return (Name(result.metric), f" is moved by {signed(result.change, 2)} ({how})")

    if len(ranked) == 1:
        return ("By its worst attack ", *words(ranked[0]), ".")
    return ("By their worst attack, the least ", *words(ranked[0]), "; the most ", *words(ranked[-1]), ".")


def loss_suitability_section(findings: Sequence[LossSuitability]) -> Section:
    """Whether metrics can be trained against."""
    meaning = {
        "finite gradient": "share of trying pairs whose gradient is finite everywhere and not zero everywhere",
        "identity": "share of images that the metric holds best when compared with themselves",
        "symmetry": "1 less the mean of |d(x, y) − d(y, x)| over the mean of |d|",
        "monotone": "share of neighbouring levels of graded distortions that it puts in order",
    }
    rows = [
        (cells.row_name(finding.metric), *(cells.coefficient(value, value) for value in finding.parts))
        for finding in findings
    ]
    sound = [finding.metric for finding in findings if min(finding.finite_gradient, finding.identity) >= 1]
    without = [finding.metric for finding in findings if finding.finite_gradient == 0]
    count = f"{len(sound)} of {len(findings)}"
    lead: Text = (f"{count} have finite gradients on all trying pairs and are best at equality",)
    lead += (": ", *enumerate_names(sound), ". ") if sound else (". ",)
    lead += ("No gradient flows through ", *enumerate_names(without), ".") if without else ()
    terms = [((term,), (words,)) for term, words in meaning.items()]
    table = Table("loss-suitability", "Each from 0 to 1.", cells.columns("metric", *meaning), rows)
    return Section("loss-suitability", "As a loss", [lead], tables=[table], terms=terms)


def cost_section(costs: Sequence[Cost]) -> Section:
    """Time and parameters."""
    times = {cost.metric: cost.seconds_per_megapixel for cost in costs}
    known = {metric: seconds for metric, seconds in times.items() if math.isfinite(seconds)}
    slowest = max(known.values(), default=1.0) or 1.0
    rows = [
        (
            cells.row_name(cost.metric),
            cells.amount(times[cost.metric]),
            Cell("", times[cost.metric], drawing=bar(known[cost.metric] / slowest) if cost.metric in known else None),
            Cell(shortest(cost.parameters), cost.parameters),
        )
        for cost in sorted(costs, key=lambda cost: (cost.metric not in known, times[cost.metric]))
    ]
    columns = cells.columns("metric", "seconds per megapixel", DRAWN, "parameters, million")
    lead: list[Text] = []
    if len(known) > 1:
        first, last = (pick(known, key=known.__getitem__) for pick in (min, max))
        ratio = f"{known[last] / known[first]:,.0f}" if known[first] else "∞"
        lead.append((Name(first), " is the fastest, ", Name(last), f" takes {ratio} times as long."))
    how = "Median time of a pair, alone, on the machine that made this report: compare within this table only."
    return Section("cost", "Cost", lead, [(how,)], tables=[Table("cost", "By rising time.", columns, rows)])
