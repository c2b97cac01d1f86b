"""What metrics stand beyond agreement: attacks, use as a loss, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torchmetrics_fmiqa.benchmark.analysis.attacks import AttackResult
from torchmetrics_fmiqa.benchmark.analysis.cost import Cost
from torchmetrics_fmiqa.benchmark.analysis.loss_suitability import Usefulness
from torchmetrics_fmiqa.report.document import (
    Cell,
    Column,
    Name,
    Section,
    Table,
    Text,
    amount,
    change,
    coefficient,
    join,
    plain,
    signed,
    whole,
)
from torchmetrics_fmiqa.report.svg import bar, dumbbell


def attacks_section(results: Sequence[AttackResult]) -> Section:
    """What changes made against a metric do, held against noise of the same PSNR."""
    how: Text = (
        "Mean change of the score, in standard deviations of the scores over the benchmark's images. An attack must be "
        "held against random noise of the same PSNR (hollow): only what goes beyond it is the attack's.",
    )
    tables = (_strongest(results), _every_attack(results))
    return Section("attacks", "Under attack", (_attack_words(results),), (how,), tables=tables)


def _strongest(results: Sequence[AttackResult]) -> Table:
    """A row a metric: every attack at the largest bound."""
    bound = max((one.epsilon for one in results), default=0.0)
    kinds = tuple(dict.fromkeys((one.attack, one.goal) for one in results))
    found = {(one.metric, one.attack, one.goal): one for one in results if one.epsilon == bound}
    most = _furthest(results)
    rows = []
    for metric in dict.fromkeys(one.metric for one in results):
        mine = [found.get((metric, *kind)) for kind in kinds]
        known = [one for one in mine if one is not None]
        worst = max(known, key=lambda one: abs(one.change) if math.isfinite(one.change) else -1.0, default=None)
        rows.append(
            (
                Cell(metric),
                *(change(math.nan if one is None else one.change) for one in mine),
                change(math.nan if worst is None else worst.noise),
                Cell("—", math.nan)
                if worst is None
                else Cell("", worst.change, drawing=dumbbell(worst.change, worst.noise, most)),
            )
        )
    columns = (
        Column("metric"),
        *(Column(f"{attack}, {goal}") for attack, goal in kinds),
        Column("by noise", "of the same PSNR as the strongest"),
        Column("drawn", "filled: the strongest attack; hollow: noise"),
    )
    return Table("attacks-strongest", f"At equal PSNR, within {plain(bound)}/255.", columns, tuple(rows))


def _every_attack(results: Sequence[AttackResult]) -> Table:
    columns = (
        Column("metric"),
        Column("attack"),
        Column("goal"),
        Column("ε, /255", "the most that a value changes"),
        Column("change", "of the score, in its standard deviations"),
        Column("by noise", "of the same PSNR"),
        Column("drawn", "filled: the attack; hollow: noise"),
        Column("PSNR, dB"),
        Column("images"),
    )
    most = _furthest(results)
    rows = tuple(
        (
            Cell(one.metric),
            Cell(one.attack),
            Cell(one.goal),
            Cell(plain(one.epsilon), one.epsilon),
            change(one.change),
            change(one.noise),
            Cell("", one.change, drawing=dumbbell(one.change, one.noise, most)),
            Cell(f"{one.psnr:.1f}" if math.isfinite(one.psnr) else amount(one.psnr), one.psnr),
            whole(one.n),
        )
        for one in results
    )
    return Table("attacks", "Every attack.", columns, rows, folded="Every attack")


def _furthest(results: Sequence[AttackResult]) -> float:
    return max((abs(v) for one in results for v in (one.change, one.noise) if math.isfinite(v)), default=1.0) or 1.0


def _attack_words(results: Sequence[AttackResult]) -> Text:
    """The metrics that their worst attack moves the most and the least."""
    worst: dict[str, AttackResult] = {}
    for one in results:
        if math.isfinite(one.change) and abs(one.change) >= abs(worst.get(one.metric, one).change):
            worst[one.metric] = one
    if not worst:
        return ("No attack could be measured.",)
    order = sorted(worst.values(), key=lambda one: abs(one.change))

    def told(one: AttackResult) -> Text:
        noise = "" if math.isnan(one.noise) else f", noise {signed(one.noise, 2)}"
        text = f" is moved by {signed(one.change, 2)} ({one.attack}, ε {plain(one.epsilon)}/255{noise})"
        return (Name(one.metric), text)

    if len(order) == 1:
        return ("By its worst attack ", *told(order[0]), ".")
    return ("By their worst attack, the least ", *told(order[0]), "; the most ", *told(order[-1]), ".")


def usefulness_section(findings: Sequence[Usefulness]) -> Section:
    """Whether metrics can be trained against."""
    parts = ("finite gradient", "identity", "symmetry", "monotone")
    rows = tuple(
        (
            Cell(one.metric),
            *(coefficient(v, v) for v in (one.finite_gradient, one.identity, one.symmetry, one.monotone)),
        )
        for one in findings
    )
    whole_marks = [one.metric for one in findings if min(one.finite_gradient, one.identity) >= 1]
    without = [one.metric for one in findings if one.finite_gradient == 0]
    lead: Text = (
        f"{len(whole_marks)} of {len(findings)} have finite gradients on all trying pairs and are best at equality",
    )
    lead += (": ", *join(whole_marks), ". ") if whole_marks else (". ",)
    lead += ("No gradient flows through ", *join(without), ".") if without else ()
    terms: tuple[tuple[Text, Text], ...] = (
        (("finite gradient",), ("share of trying pairs whose gradient is finite everywhere and not zero everywhere",)),
        (("identity",), ("share of images that the metric holds best when compared with themselves",)),
        (("symmetry",), ("1 less the mean of |d(x, y) − d(y, x)| over the mean of |d|",)),
        (("monotone",), ("share of neighbouring levels of graded distortions that it puts in order",)),
    )
    table = Table("usefulness", "Each from 0 to 1.", (Column("metric"), *map(Column, parts)), rows)
    return Section("usefulness", "As a loss", (lead,), tables=(table,), terms=terms)


def cost_section(costs: Sequence[Cost]) -> Section:
    """Time and parameters."""
    known = [one for one in costs if math.isfinite(one.seconds_per_megapixel)]
    slowest = max((one.seconds_per_megapixel for one in known), default=1.0) or 1.0
    rows = tuple(
        (
            Cell(one.metric),
            Cell(amount(one.seconds_per_megapixel), one.seconds_per_megapixel),
            Cell(
                "",
                one.seconds_per_megapixel,
                drawing=bar(one.seconds_per_megapixel / slowest) if math.isfinite(one.seconds_per_megapixel) else None,
            ),
            Cell(plain(one.parameters), one.parameters),
        )
        for one in sorted(costs, key=lambda one: (math.isnan(one.seconds_per_megapixel), one.seconds_per_megapixel))
    )
    columns = tuple(map(Column, ("metric", "seconds per megapixel", "drawn", "parameters, million")))
    lead: list[Text] = []
    if len(known) > 1:
        fast, slow = (pick(known, key=lambda one: one.seconds_per_megapixel) for pick in (min, max))
        ratio = f"{slow.seconds_per_megapixel / fast.seconds_per_megapixel:,.0f}" if fast.seconds_per_megapixel else "∞"
        lead.append((Name(fast.metric), " is the fastest, ", Name(slow.metric), f" takes {ratio} times as long."))
    how: Text = ("Median time of a pair, alone, on the machine that made this report: compare within this table only.",)
    return Section("cost", "Cost", tuple(lead), (how,), tables=(Table("cost", "By rising time.", columns, rows),))
