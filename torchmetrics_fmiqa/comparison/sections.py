"""The parts of a comparison's report, from the means to how it was made."""

from __future__ import annotations

import numpy as np

from torchmetrics_fmiqa.comparison.advantages import advantages, plane_metrics, scored_images
from torchmetrics_fmiqa.comparison.findings import Findings
from torchmetrics_fmiqa.comparison.gallery import Gallery
from torchmetrics_fmiqa.comparison.mean_cells import mean_cells
from torchmetrics_fmiqa.comparison.set_rows import SETS_NOTE
from torchmetrics_fmiqa.report import cells
from torchmetrics_fmiqa.report.document import Cell, Column, Figure, Name, Section, Table, Text
from torchmetrics_fmiqa.report.numbers import capitalised, counted, shortest, signed
from torchmetrics_fmiqa.report.svg import MOST_BARS, named_points, sorted_bars

#: Others that the best method is drawn against, image by image.
MOST_OTHERS = 6
#: Pairs that metrics settle in opposite ways, and that are told in a sentence each.
MOST_DISAGREEMENTS = 6


def facts(findings: Findings) -> list[tuple[str, Text]]:
    """How far the best is ahead, on how many images, what was left out, and when something is settled."""
    comparison, statistics = findings.comparison, findings.statistics
    best, second = findings.order[:2]
    interval = findings.difference_interval(best, second, 0)
    ahead = f": {findings.metrics[0]} {findings.difference(best, second, 0)} in the mean"
    within = f", 95\u00a0% interval {interval}" if interval else ""
    won = f"; {findings.won(best, second, 0)} of the images; "
    names = Name(findings.methods[best]), " against ", Name(findings.methods[second])
    count, given = len(findings.scores.images), comparison.references
    images = (
        f"{count:,}, all references"
        if count == given
        else f"{count:,} of {counted(given, 'reference')}: those that all methods have"
    )
    unscored = "".join(
        f"; {name} has a score of {count:,}"
        for name, count in zip(findings.metrics, statistics.images.tolist(), strict=True)
        if count < len(findings.scores.images)
    )
    rule = (
        f"A difference is settled where chance makes one among all pairs and metrics in at most "
        f"{shortest(100 * statistics.alpha)}\u00a0% of such comparisons (Holm). All else is tied."
    )
    return [
        ("First and next", (*names, ahead, within, won, *findings.verdict(best, second, 0), ".")),
        ("Images", (f"{images}{unscored}.",)),
        ("Left out", _left_out(findings)),
        ("Settled", (rule,)),
    ]


def _left_out(findings: Findings) -> Text:
    left_out = findings.comparison.left_out
    counts = {kind: sum(one.kind == kind for one in left_out) for kind in ("missing", "extra", "broken")}
    said = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
    return ("Nothing.",) if not said else (f"{said}; named under “How this was made”.",)


def scores_section(findings: Findings) -> Section:
    """The table of means: the best bold, the second underlined, ties with the best marked."""
    statistics = findings.statistics
    drawn_by = "groups of images" if findings.comparison.grouped else "images"
    how = (
        f"Means and their 95 % intervals, by bootstrap over {drawn_by}. Bold is the best, underlined the second; "
        "≈ marks what is tied with the best. ↑ higher is better, ↓ lower is better. Intervals of means may overlap "
        "though a difference is settled: methods are compared image by image, under “Differences”."
    )
    columns = [Column("method")]
    for label in findings.labels:
        columns += [Column(label), Column("95 %")]
    printed = mean_cells(findings.scores, statistics)
    rows = []
    for method in findings.order:
        row = [cells.row_name(findings.methods[method], method == findings.order[0])]
        for metric, cell in enumerate(printed[method]):
            value, low = float(statistics.mean[method, metric]), float(statistics.low[method, metric])
            mark = " ".join(filter(None, (("", "best", "second")[cell.place], "tied" if cell.tied else "")))
            note = "tied with the best" if cell.tied else ""
            row.append(Cell(findings.mean(method, metric), value, mark=mark, note=note))
            row.append(Cell(findings.interval(method, metric) or "—", low))
        rows.append(row)
    table = Table("scores", f"From the best to the worst by {findings.metrics[0]}.", columns, rows)
    return Section("scores", "Scores", (), [(how,)], tables=[table])


def gallery_section(gallery: Gallery) -> Section:
    """The images themselves."""
    problems = [("Not readable any more", gallery.problems)]
    return Section("gallery", "See for yourself", [(gallery.note,)], viewer=gallery.viewer, lists=problems)


def plane_section(findings: Findings) -> Section | None:
    """Fidelity against perception; nothing without a metric of each kind."""
    metrics = plane_metrics(findings.scores)
    if metrics is None:
        return None
    statistics = findings.statistics
    across, up = metrics
    known = np.flatnonzero(np.isfinite(statistics.mean[:, [across, up]]).all(1))
    if not len(known):
        return None
    limits = [np.stack([statistics.low[known, k], statistics.high[known, k]], 1).tolist() for k in metrics]
    drawing = named_points(
        f"{findings.metrics[up]} against {findings.metrics[across]}",
        [findings.methods[method] for method in known],
        statistics.mean[known, across].tolist(),
        statistics.mean[known, up].tolist(),
        f"{findings.metrics[across]}: higher is better →",
        f"{findings.metrics[up]}: lower is better ↓",
        *limits,
    )
    caption: Text = (
        "Means with their 95 % intervals, which tell how much images differ. Better is to the right and below: ",
        Name(findings.metrics[across]), " rewards pixels that are right, ",
        Name(findings.metrics[up]), " what looks right.",
    )  # fmt: skip
    return Section("plane", "Fidelity and perception", (), figures=[Figure(drawing, caption, broad=True)])


def differences_section(findings: Findings) -> Section:
    """Every pair by every metric, with the verdict in words."""
    lead = (f"By {findings.metrics[0]}, {_settled(findings, 0)}.",)
    how = (
        "The mean of the first minus that of the second, on the same images. Share won: images on which the first is "
        "better; equal scores count half. p is corrected for all pairs and metrics (Holm); intervals are not."
    )
    tables = [_pairs_table(findings, place) for place in range(len(findings.metrics))]
    return Section("differences", "Differences", [lead], [(how,)], tables=tables)


def _settled(findings: Findings, metric: int) -> str:
    """How many of the pairs a metric settles."""
    pairs = findings.pairs()
    count = sum(bool(findings.statistics.settled[one, other, metric]) for one, other in pairs)
    return f"{count} of {counted(len(pairs), 'pair')} {'is' if count == 1 else 'are'} settled"


def _pairs_table(findings: Findings, metric: int) -> Table:
    statistics = findings.statistics
    columns = cells.columns("pair", "difference", "95 %", "p", "share won", "verdict")
    rows = []
    for one, other in findings.pairs():
        at = one, other, metric
        rows.append((
            Cell(f"{findings.methods[one]} − {findings.methods[other]}"),
            Cell(findings.difference(*at), float(statistics.difference[at])),
            Cell(findings.difference_interval(*at) or "—", float(statistics.difference_low[at])),
            cells.p_value(float(statistics.p_holm[at])),
            cells.percent(float(statistics.won[at])),
            Cell("".join(findings.verdict(*at))),
        ))  # fmt: skip
    name = findings.labels[metric]
    folded = f"{name}: {_settled(findings, metric)}"
    return Table(f"differences-{metric}", f"Pairs by {name}.", columns, rows, folded="" if metric == 0 else folded)


def images_section(findings: Findings) -> Section | None:
    """The best method against others, image by image; of many images a summary first."""
    best, *others = findings.order
    lead: list[Text] = []
    figures = []
    names_of = [findings.scores.images[place].name for place in scored_images(findings.scores, 0)]
    for other in others[:MOST_OTHERS]:
        gained = advantages(findings.scores, best, other, 0)
        if not len(gained):
            continue
        names = Name(findings.methods[best]), " against ", Name(findings.methods[other])
        won = f"{findings.won(best, other, 0)} of {counted(len(gained), 'image')}"
        if len(gained) > MOST_BARS:
            low, lower, middle, higher, high = (
                signed(float(value), findings.digits[0]) for value in np.quantile(gained, (0.05, 0.25, 0.5, 0.75, 0.95))
            )
            words = f"half of the images between {lower} and {higher}, nine of ten between {low} and {high}"
            lead.append((*names, f": {won}; median {middle}, {words}."))
        caption: Text = (*names, f": {won}. Highest {signed(gained.max(), findings.digits[0])}, lowest "
                         f"{signed(gained.min(), findings.digits[0])}.")  # fmt: skip
        figures.append(Figure(sorted_bars("".join(names), "".join(caption), gained.tolist(), names_of), caption))
    if not figures:
        return None
    drawn = f"{MOST_BARS} quantiles of the images" if lead else "Each bar is an image, named on hover"
    how = (
        f"How much better the best method is by {findings.metrics[0]}: above zero it wins. {drawn}, from its greatest "
        f"gain to its greatest loss."
    )
    more = f" Against {len(others) - MOST_OTHERS} more methods see the tables." if len(others) > MOST_OTHERS else ""
    return Section("images", "Image by image", lead, [(how + more,)], figures=figures)


def sets_section(findings: Findings) -> Section | None:
    """Distances between sets of images; nothing where nobody asked."""
    sets = findings.comparison.sets
    if sets is None:
        return None
    heads = cells.columns("distance ↓", "method", "value", "of infinitely many images", "95 %")
    rows = []
    for row in sets.rows:
        value, extrapolated, interval = row.texts()
        numbers = (Cell(value, row.value), Cell(extrapolated, row.extrapolated), Cell(interval, row.low))
        rows.append((Cell(row.distance), Cell(row.method), *numbers))
    lead = [(f"{capitalised(sets.warning)}.",)] if sets.warning else []
    caption = f"Of {counted(sets.rows[0].images, 'image')} a side." if sets.rows else "None could run here."
    lists = [
        ("Set distances that could not run", list(sets.skipped.items())),
        ("What they depend on", list(sets.identities.items())),
    ]
    notes = [(f"{capitalised(SETS_NOTE)}.",)]
    return Section(
        "sets", "Distances between sets", lead, notes, tables=[Table("sets", caption, heads, rows)], lists=lists
    )


def metrics_section(findings: Findings) -> Section:
    """Ranks by each metric, and where metrics contradict each other."""
    contrary = list(findings.comparison.disagreements)
    lead = contrary[:MOST_DISAGREEMENTS] or [("No two metrics settle a pair in opposite ways.",)]
    if len(contrary) > MOST_DISAGREEMENTS:
        more = counted(len(contrary) - MOST_DISAGREEMENTS, "more pair")
        lead.append((f"So it is with {more}; all are under “Differences”.",))
    how = (
        "A rank is one more than the number of methods that are settled to be better: methods that are tied share it, "
        "and a method may be tied with two others of which one is better than the other."
    )
    columns = cells.columns("method", *findings.labels)
    ranks = findings.statistics.rank
    known = np.isfinite(findings.statistics.mean)
    rows = [
        (
            cells.row_name(findings.methods[method], method == findings.order[0]),
            *(
                Cell(str(rank), float(rank), mark="best" if rank == 1 else "") if there else cells.UNKNOWN
                for rank, there in zip(ranks[method].tolist(), known[method], strict=True)
            ),
        )
        for method in findings.order
    ]
    tables = [Table("ranks", "Ranks by each metric.", columns, rows)]
    return Section("metrics", "Where metrics disagree", lead, [(how,)], tables=tables)


def provenance_section(findings: Findings, command: str) -> Section:
    """What was left out and why, what the numbers depend on, and the command."""
    comparison = findings.comparison
    border = comparison.crop_border
    matched = {"crop": "cut to the part that both have", "resize": "resized to the reference"}.get(
        comparison.match or ""
    )
    how = [
        f"{counted(border, 'pixel')} of each side {'was' if border == 1 else 'were'} cut off before scoring."
        if border
        else "Images were scored to their borders.",
        f"Images of another size than their reference were {matched}." if matched else "",
    ]
    lists = [
        (
            title,
            [
                (f"{one.method or 'reference'}: {one.name}", one.reason)
                for one in comparison.left_out
                if one.kind == kind
            ],
        )
        for kind, title in (("missing", "Missing"), ("extra", "Extra"), ("broken", "Broken"))
    ]
    lists.append(("Metrics that could not run", list(comparison.skipped.items())))
    lists.append(("What the numbers depend on", list(comparison.identities.items())))
    text = (" ".join(filter(None, how)),)
    return Section("provenance", "How this was made", [text], lists=lists, command=command)
