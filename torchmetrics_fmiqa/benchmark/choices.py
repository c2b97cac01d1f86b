"""Metrics against what people chose, instead of what they thought: from two versions of an image to a report."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from torchmetrics_fmiqa.benchmark.folder import claim
from torchmetrics_fmiqa.benchmark.measures import Skipped
from torchmetrics_fmiqa.benchmark.page.numbers import number, several, span
from torchmetrics_fmiqa.benchmark.page.section import (
    Cell,
    Column,
    Name,
    Section,
    Table,
    Text,
    change,
    coefficient,
    join,
    p_value,
    shade,
    shades,
)
from torchmetrics_fmiqa.benchmark.panel import Panel
from torchmetrics_fmiqa.benchmark.scored import read_scored
from torchmetrics_fmiqa.benchmark.scores import Reading, ScoreRun, content_of
from torchmetrics_fmiqa.data.opinions import JndPairs, RatedPair, RatedPairs, Triplets
from torchmetrics_fmiqa.data.pairs import Problem
from torchmetrics_fmiqa.statistics import holm, interval, jnd_map, two_afc
from torchmetrics_fmiqa.statistics.bootstrap import draws
from torchmetrics_fmiqa.statistics.inputs import Floats, Integers, groups
from torchmetrics_fmiqa.tables import write_table

if TYPE_CHECKING:
    from torchmetrics_fmiqa.benchmark.run import Display

#: Which of two versions people found closer, or whether they saw a difference at all.
Kind = Literal["two_afc", "jnd_map"]

# Numbers held by a chunk of draws.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Choices:
    """What metrics and people say of the same ``n`` choices.

    Args:
        kind: ``"two_afc"`` for triplets, ``"jnd_map"`` for pairs.
        distances: by metric, lower is closer: ``(n, 2)`` of both versions of a triplet, or ``(n, 1)`` of a pair.
        share: ``(n,)`` share of people, in [0, 1], who found the second version closer, or saw no difference.
        part: ``(n,)`` names of the data set's parts.
        reference: ``(n,)`` ids; choices of one reference are drawn together.
    """

    kind: Kind
    distances: dict[str, Floats]
    share: Floats
    part: npt.NDArray[np.str_]
    reference: npt.NDArray[np.str_]


@dataclass(frozen=True)
class ChoiceScore:
    """How far a metric, or people themselves, agree with people's choices.

    Args:
        metric: its name.
        score: 2AFC or JND mAP, the mean over the parts.
        by_part: of each part.
        pooled: of all choices together, so that larger parts count for more.
        low: lower limit of the 95 % interval of ``score``.
        high: upper limit.
        behind: ``score`` less that of the best metric.
        behind_low: lower limit of its 95 % interval, not corrected.
        behind_high: upper limit.
        p_holm: of a difference from the best, corrected for all pairs of metrics.
        note: why there is no score.
    """

    metric: str
    score: float
    by_part: dict[str, float] = field(default_factory=dict)
    pooled: float = math.nan
    low: float = math.nan
    high: float = math.nan
    behind: float = math.nan
    behind_low: float = math.nan
    behind_high: float = math.nan
    p_holm: float = math.nan
    note: str = ""

    def row(self, kind: Kind) -> dict[str, Any]:
        """The row of a table: the score is called by its kind, and each part has a column."""
        rest = asdict(self)
        score, by_part, low, high = (rest.pop(name) for name in ("score", "by_part", "low", "high"))
        return {"metric": rest.pop("metric"), kind: score, f"{kind}_low": low, f"{kind}_high": high, **by_part, **rest}


@dataclass(frozen=True)
class ChoiceStudy:
    """All that was found.

    Args:
        title: name of the data set.
        command: the command that made it.
        kind: see :class:`Choices`.
        scores: of the metrics, by falling score, those without one last.
        ceilings: of people, see :func:`analyse_choices`.
        parts: number of choices in each part.
        references: number of references.
        lost: choices left out because one of their images could not be scored.
        skipped: metrics that could not run.
        missing: files that are absent or broken, and pairs that could not be scored.
    """

    title: str
    command: str
    kind: Kind
    scores: tuple[ChoiceScore, ...]
    ceilings: tuple[ChoiceScore, ...]
    parts: dict[str, int]
    references: int
    lost: int = 0
    skipped: tuple[Skipped, ...] = ()
    missing: tuple[Problem, ...] = ()

    @property
    def rivals(self) -> list[str]:
        """The metrics that the best one does not beat beyond chance."""
        return [one.metric for one in self.scores[1:] if not math.isnan(one.score) and not one.p_holm < 0.05]


def as_rated(source: Triplets | JndPairs, root: Path | None = None) -> RatedPairs:
    """Choices as pairs to be scored: two for a triplet, one after the other, or one for a pair of a JND test.

    The opinion of an image is the share of people who chose it, or who took it for its reference ``p0``.

    Args:
        source: the choices.
        root: the data set's folder.

    >>> from torchmetrics_fmiqa.data.opinions import Triplet
    >>> triplet = Triplet(Path("ref.png"), Path("p0.png"), Path("p1.png"), 0.75, "cnn")
    >>> [(pair.dist.name, pair.opinion) for pair in as_rated(Triplets("bapps_2afc", (triplet,))).pairs]
    [('p0.png', 0.25), ('p1.png', 0.75)]
    """
    if isinstance(source, Triplets):
        found = [
            RatedPair(one.ref, image, share, one.type)
            for one in source.triplets
            for image, share in ((one.p0, 1 - one.judge), (one.p1, one.judge))
        ]
    else:
        found = [RatedPair(one.p0, one.p1, one.same, one.type) for one in source.pairs]
    return RatedPairs(source.name, tuple(found), True, "dataset", source.missing, root=root)


def analyse_choices(
    choices: Choices, resamples: int = 1000, seed: int = 0
) -> tuple[tuple[ChoiceScore, ...], tuple[ChoiceScore, ...]]:
    """Score metrics by how they choose, beside the people themselves.

    The score is the mean over the parts, as that of triplets is in the tables of R. Zhang et al., "The Unreasonable
    Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018. A metric that cannot tell two versions apart gets
    half of a triplet. A person agrees with another at the mean of h² + (1 - h)² for a share h; siding with the majority
    gives the mean of max(h, 1 - h), which no metric exceeds.

    Intervals come from a bootstrap over references, with all choices of one; resamples that miss a part, or in which
    nobody took any pair for the same, are left out. The difference from the best is tested as
    :func:`~torchmetrics_fmiqa.statistics.compare` does, by its standard error over resamples against Student's t, and
    corrected for all pairs of metrics (Holm): the same choices have named the best.

    Args:
        choices: of people and metrics. A metric with a NaN has no score, and a note.
        resamples: how many.
        seed: of the draws.

    Returns:
        Scores of the metrics, by falling score, and those of people: ``majority of people`` and ``one person`` for
        triplets, ``people's own shares`` for pairs. No metric exceeds the first.

    Raises:
        ValueError: for columns of different lengths, shares outside [0, 1], fewer than one resample, and a part in
            which nobody took any pair for the same.

    >>> share = np.array([0.0, 0.2, 0.8, 1.0])
    >>> distances = {"ours": np.stack([share, 1 - share], 1), "theirs": np.ones((4, 2))}
    >>> names = np.array(list("abcd"))
    >>> choices = Choices("two_afc", distances, share, np.array(["cnn"] * 4), names)
    >>> scores, ceilings = analyse_choices(choices, resamples=50)
    >>> [(one.metric, one.score) for one in scores], [(one.metric, round(one.score, 3)) for one in ceilings]
    ([('ours', 0.9), ('theirs', 0.5)], [('majority of people', 0.9), ('one person', 0.84)])
    """
    share, count = choices.share, len(choices.share)
    if resamples < 1:
        raise ValueError(f"`resamples` must be at least 1, got {resamples}")
    parts, codes = groups(choices.part, "part", count)
    rows = {part: np.flatnonzero(codes == place) for place, part in enumerate(parts)}
    _check_recall(choices.kind, share, choices.part)

    def scored(name: str, value: Callable[[Integers], float]) -> ChoiceScore:
        by_part = {part: value(members) for part, members in rows.items()}
        return ChoiceScore(name, _mean(by_part.values()), by_part, value(np.arange(count)))

    def of_metric(name: str, distances: Floats) -> ChoiceScore:
        return scored(name, lambda members: _score(choices.kind, distances[members], share[members]))

    if choices.kind == "jnd_map":
        ceilings = [of_metric("people's own shares", 1 - share[:, None])]
    else:
        ceilings = [of_metric("majority of people", np.stack([share, 1 - share], 1))]
        agreed = share**2 + (1 - share) ** 2
        ceilings.append(scored("one person", lambda members: float(agreed[members].mean())))
    lacking = {name: int(np.isnan(one).any(1).sum()) for name, one in choices.distances.items()}
    known = {name: one for name, one in choices.distances.items() if not lacking[name]}
    found = sorted((of_metric(*one) for one in known.items()), key=lambda one: one.score, reverse=True)
    drawn = _resampled(choices, [known[one.metric] for one in found], list(rows.values()), resamples, seed)
    references = len(np.unique(choices.reference))
    none = dict.fromkeys(parts, math.nan)
    without = [
        ChoiceScore(name, math.nan, none, note=f"has no value for {lost} of {count} choices")
        for name, lost in lacking.items()
        if lost
    ]
    return (*_settled(found, drawn, references), *without), tuple(ceilings)


def benchmark_choices(
    source: Triplets | JndPairs,
    root: Path | None,
    panel: Panel,
    out: Path,
    reading: Reading,
    device: str,
    batch: int,
    resamples: int,
    seed: int,
    command: str,
    display: Display,
) -> ChoiceStudy:
    """Score the images of a data set of choices, and write the folder. An interrupted run goes on.

    Writes ``choices.csv`` (one row a metric), ``ceilings.csv`` (the same of people), ``scores.parquet``,
    ``unscored.csv`` and ``report.md``.

    Args:
        source: the choices, such as :func:`~torchmetrics_fmiqa.data.datasets.read_bapps_2afc` reads.
        root: the data set's folder, from which images are named.
        panel: the metrics; qualities are turned round.
        out: the folder.
        reading: how images are read.
        device: where to measure.
        batch: pairs between two parts of the scores.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        command: what the report says it was made with.
        display: how to show what is done.

    Raises:
        ValueError: for a folder made from other inputs, if no metric or no choice is left, and for what
            :func:`analyse_choices` raises.
    """
    if not panel.names:
        raise ValueError("no metric can run here: " + "; ".join(f"{one.name}: {one.reason}" for one in panel.skipped))
    rated = as_rated(source, root)
    kind: Kind = "two_afc" if isinstance(source, Triplets) else "jnd_map"
    taken = sorted(set(rated.types) & set(ChoiceScore("", 0.0).row(kind)))
    if taken:
        raise ValueError(f"a part of {source.name} is called {taken[0]!r}, as a column of choices.csv is: rename it")
    _check_recall(kind, np.array([pair.opinion for pair in rated.pairs]), np.array([pair.type for pair in rated.pairs]))
    run = ScoreRun(rated, panel, out, reading, device=device, batch=batch)
    inputs = {
        "choices": kind,
        "pairs": content_of(rated),
        "metrics": panel.identities,
        "reading": [reading.match, reading.max_side, reading.crop_border, reading.to_rgb],
        "device": device,
        "batch": batch,
        "bootstrap": [resamples, seed],
    }
    claim(out, inputs)
    for _ in display.progress(run, len(rated)):
        pass
    with display.telling() as tell:
        tell(f"comparing {len(panel.names)} metrics with what people chose")
        choices = _choices(run, kind)
        scores, ceilings = analyse_choices(choices, resamples, seed)
        names, sizes = np.unique(choices.part, return_counts=True)
        study = ChoiceStudy(
            source.name,
            command,
            kind,
            scores,
            ceilings,
            dict(zip(names.tolist(), sizes.tolist(), strict=True)),
            len(np.unique(choices.reference)),
            len(source) - len(choices.share),
            tuple(panel.skipped),
            (*source.missing, *run.unscored()),
        )
        for name, found in (("choices", scores), ("ceilings", ceilings)):
            table = [one.row(kind) for one in found]
            write_table(out / f"{name}.csv", table, list(table[0]))
        (out / "report.md").write_text(write_choices(study), encoding="utf-8")
    return study


def _choices(run: ScoreRun, kind: Kind) -> Choices:
    """The choices of which every image was scored."""
    table = read_scored(run.path, "opinion", "ref", "dist", metrics=list(run.panel.names))
    rows = {key: row for row, key in enumerate(zip(table.reference.tolist(), table.image.tolist(), strict=True))}
    width = 2 if kind == "two_afc" else 1
    places: list[list[int]] = []
    last: list[RatedPair] = []
    for start in range(0, len(run.rated), width):
        found = [rows.get((short.ref, short.dist)) for short in run.short[start : start + width]]
        if None not in found:
            places.append([row for row in found if row is not None])
            last.append(run.rated.pairs[start + width - 1])
    if not places:
        raise ValueError(
            f"no triplet of {run.rated.name} is left: none had both of its images scored, see unscored.csv"
        )
    index = np.array(places)
    sign = {name: -1.0 if name in run.panel.qualities else 1.0 for name in table.scores}
    return Choices(
        kind,
        {name: sign[name] * values[index] for name, values in table.scores.items()},
        np.array([pair.opinion for pair in last]),
        np.array([pair.type or "all" for pair in last]),
        _by_content([pair.ref for pair in last]),
    )


def _by_content(paths: Sequence[Path]) -> npt.NDArray[np.str_]:
    """Digests of files: one reference may lie beside each of its versions under a new name."""
    known = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in dict.fromkeys(paths)}
    return np.array([known[path] for path in paths])


def _score(kind: Kind, distances: Floats, share: Floats) -> float:
    if kind == "two_afc":
        return two_afc(distances[:, 0], distances[:, 1], share)
    return jnd_map(distances[:, 0], share)


def _check_recall(kind: Kind, share: Floats, part: npt.NDArray[np.str_]) -> None:
    for name in np.unique(part) if kind == "jnd_map" else ():
        if not share[part == name].any():
            raise ValueError(
                f"nobody took any pair of the part {str(name)!r} for the same, so that it has no recall: leave it out"
            )


def _resampled(
    choices: Choices, metrics: Sequence[Floats], parts: Sequence[Integers], resamples: int, seed: int
) -> Floats:
    """Scores ``(B, M)`` in resamples of references, without those that have none; all metrics meet the same."""
    names, reference = groups(choices.reference, "reference", len(choices.share))
    found: list[list[float]] = []
    if len(names) > 1:
        for chunk in draws(len(names), resamples, seed, max(1, _CHUNK // len(names))):
            for times in chunk.T.astype(np.int64):
                drawn = [np.repeat(members, times[reference[members]]) for members in parts]
                shares = [choices.share[rows] for rows in drawn]
                if all(one.any() if choices.kind == "jnd_map" else len(one) for one in shares):
                    kept = list(zip(drawn, shares, strict=True))
                    found.append([_mean([_score(choices.kind, d[rows], h) for rows, h in kept]) for d in metrics])
    return np.array(found, dtype=np.float64).reshape(len(found), len(metrics))


def _settled(found: Sequence[ChoiceScore], drawn: Floats, references: int) -> list[ChoiceScore]:
    """Add the intervals, and how far each is behind the first."""
    if not found or len(drawn) < 2:
        return [replace(one, behind=one.score - found[0].score) for one in found]
    score = np.array([one.score for one in found])
    first, second = np.triu_indices(len(found), 1)
    difference = score[first] - score[second]
    error = (drawn[:, first] - drawn[:, second]).std(0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Two metrics that choose alike in every resample differ by nothing.
        t = np.where((difference == 0) & (error == 0), 0.0, difference / error)
    # The first pairs are those of the best metric.
    p = [1.0, *holm(2 * stats.t.sf(np.abs(t), references - 1))[: len(found) - 1].tolist()]
    low, high = interval(drawn)
    behind_low, behind_high = interval(drawn - drawn[:, :1])
    return [
        replace(
            one,
            low=float(low[place]),
            high=float(high[place]),
            behind=float(score[place] - score[0]),
            behind_low=float(behind_low[place]),
            behind_high=float(behind_high[place]),
            p_holm=p[place],
        )
        for place, one in enumerate(found)
    ]


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


_LABELS: dict[Kind, str] = {"two_afc": "2AFC", "jnd_map": "JND mAP"}


def write_choices(study: ChoiceStudy) -> str:
    r"""A study as a Markdown page: the answer, then a table of the metrics, one of the parts, and how it was made.

    Args:
        study: what was found.

    >>> found = (ChoiceScore("near", 0.7, {"cnn": 0.7}), ChoiceScore("far", 0.6, {"cnn": 0.6}, p_holm=0.01))
    >>> study = ChoiceStudy("bapps_2afc", "fmiqa benchmark", "two_afc", found, (), {"cnn": 9}, 9)
    >>> print("\n".join(write_choices(study).splitlines()[:5]))
    # Agreement with human choices: bapps_2afc
    <BLANKLINE>
    `fmiqa benchmark`
    <BLANKLINE>
    **near** agrees best with people, at a 2AFC of .700, beyond chance.
    """
    # Names of metrics, parts and files are from outside: the report's own writer escapes them.
    from torchmetrics_fmiqa.benchmark import markdown

    parts = [
        f"# Agreement with human choices: {markdown._escaped(study.title)}",
        markdown._code(study.command),
        markdown._text(choices_headline(study), "**"),
        *map(markdown._section, choices_sections(study)),
    ]
    return "\n\n".join(parts).encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def choices_headline(study: ChoiceStudy) -> Text:
    """The answer in a sentence."""
    best, label = study.scores[0], _LABELS[study.kind]
    if math.isnan(best.score):
        return ("No metric could be ranked: none has a value for every choice.",)
    at = f"at a {label} of {number(best.score)}"
    others = [one for one in study.scores[1:] if not math.isnan(one.score)]
    if not others:
        return (Name(best.metric), f" agrees with people {at}.")
    if not study.rivals:
        return (Name(best.metric), f" agrees best with people, {at}, beyond chance.")
    also = "may be as good." if len(study.rivals) == 1 else "may each be as good."
    return (Name(best.metric), f" agrees best with people, {at}; ", *join(study.rivals, 3), f" {also}")


def choices_sections(study: ChoiceStudy) -> list[Section]:
    """What was found: agreement, agreement by part, and how it was made."""
    return [_agreement_section(study), _parts_section(study), _made_section(study)]


def _agreement_section(study: ChoiceStudy) -> Section:
    label = _LABELS[study.kind]
    what = {
        "two_afc": "2AFC is the mean share of people who choose as the metric does; half of a triplet for equal "
        "distances. A person agrees with another at the mean of h² + (1 − h)² for a share h, and siding with the "
        "majority, which no metric exceeds, gives the mean of max(h, 1 − h). The score is the mean over the parts, as "
        "in the tables of LPIPS (Zhang et al., CVPR 2018)",
        "jnd_map": "JND mAP is the area under precision and recall of “people see no difference”. No order of the "
        "pairs exceeds that of people's own shares. The score is the mean over the parts",
    }[study.kind]
    how = (
        f"{what}; pooled takes all choices together. Intervals are 95 %, by bootstrap over references, told apart by "
        "their content. Differences from the best are corrected for all pairs of metrics (Holm), since the same "
        "choices named the best.",
    )
    lead = tuple((f"{one.metric[:1].upper()}{one.metric[1:]}: {number(one.score)}.",) for one in study.ceilings)
    columns = [Column(name) for name in ("metric", label, "95 %", "pooled", "behind the best", "95 % of it", "p")]
    rows = tuple(
        (
            Cell(one.metric, mark="best" if place == 0 else "", note=one.note),
            coefficient(one.score),
            Cell(span(one.low, one.high) or "—", one.low),
            coefficient(one.pooled),
            change(one.behind, 3) if place else Cell("", math.nan),
            Cell(span(one.behind_low, one.behind_high) if place else "", one.behind_low),
            p_value(one.p_holm) if place else Cell("", math.nan),
        )
        for place, one in enumerate(study.scores)
    )
    table = Table("agreement", f"By falling {label}.", tuple(columns), rows)
    return Section("agreement", "Agreement", lead, (how,), tables=(table,))


def _parts_section(study: ChoiceStudy) -> Section:
    found = [value for one in study.scores for value in one.by_part.values()]
    low, high = shades(found)
    rows = [
        (
            Cell(one.metric),
            *(coefficient(value, shade(value, low, high)) for value in one.by_part.values()),
        )
        for one in (*study.scores, *study.ceilings)
    ]
    columns = (Column("metric"), *(Column(part, f"{count:,} choices") for part, count in study.parts.items()))
    table = Table("parts", f"{_LABELS[study.kind]} in each part; people last.", columns, tuple(rows))
    return Section("parts", "By part", (), tables=(table,))


def _made_section(study: ChoiceStudy) -> Section:
    sizes = ", ".join(f"{part} {count:,}" for part, count in study.parts.items())
    total = several(sum(study.parts.values()), "choice")
    lead: list[Text] = [(f"{total} ({sizes}) of {several(study.references, 'reference')}.",)]
    if study.lost:
        lost = (
            f"{several(study.lost, 'choice')} left out, as an image could not be scored; the images are listed below."
        )
        lead.append((lost,))
    lists = (
        ("Metrics that did not run", tuple((one.name, one.reason) for one in study.skipped)),
        ("Missing or broken", tuple((one.name, one.reason) for one in study.missing)),
        ("Notes", tuple((one.metric, one.note) for one in study.scores if one.note)),
    )
    shown = tuple((f"{title} ({len(items):,})", items) for title, items in lists if items)
    return Section("made", "How this was made", tuple(lead), lists=shown)
