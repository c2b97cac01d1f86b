"""Metrics against what people chose, instead of what they thought: the scores, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.benchmark.metrics.metric import Skipped
from torchmetrics_fmiqa.data.pairs import Problem
from torchmetrics_fmiqa.statistics import holm, interval, jnd_map, two_afc
from torchmetrics_fmiqa.statistics.bootstrap import draws
from torchmetrics_fmiqa.statistics.inputs import Floats, Integers, groups
from torchmetrics_fmiqa.statistics.significance import p_by_standard_error

#: Which of two versions people found closer, or whether they saw a difference at all.
Kind = Literal["two_afc", "jnd_map"]

# Numbers held by a chunk of draws.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Choices:
    """What metrics and people say of the same ``n`` choices."""

    kind: Kind  #: ``"two_afc"`` for triplets, ``"jnd_map"`` for pairs
    #: By metric, lower is closer: ``(n, 2)`` of both versions of a triplet, or ``(n, 1)`` of a pair.
    distances: dict[str, Floats]
    share: Floats  #: ``(n,)`` share of people, in [0, 1], who found the second version closer, or saw no difference
    part: npt.NDArray[np.str_]  #: ``(n,)`` names of the data set's parts
    reference: npt.NDArray[np.str_]  #: ``(n,)`` ids; choices of one reference are drawn together


@dataclass(frozen=True)
class ChoiceScore:
    """How far a metric, or people themselves, agree with people's choices."""

    metric: str
    score: float  #: 2AFC or JND mAP, the mean over the parts, with the 95 % interval ``low`` to ``high``
    by_part: dict[str, float] = field(default_factory=dict)  #: of each part
    pooled: float = math.nan  #: of all choices together, so that larger parts count for more
    low: float = math.nan
    high: float = math.nan
    behind: float = math.nan  #: ``score`` less that of the best metric, with its 95 % interval, not corrected
    behind_low: float = math.nan
    behind_high: float = math.nan
    p_holm: float = math.nan  #: of a difference from the best, corrected for all pairs of metrics
    note: str = ""  #: why there is no score

    def row(self, kind: Kind) -> dict[str, Any]:
        """The row of a table: the score is called by its kind, and each part has a column."""
        rest = asdict(self)
        score, by_part, low, high = (rest.pop(name) for name in ("score", "by_part", "low", "high"))
        return {"metric": rest.pop("metric"), kind: score, f"{kind}_low": low, f"{kind}_high": high, **by_part, **rest}


@dataclass(frozen=True)
class ChoiceStudy:
    """All that was found."""

    title: str  #: name of the data set
    command: str  #: the command that made it
    kind: Kind  #: see :class:`Choices`
    scores: tuple[ChoiceScore, ...]  #: of the metrics, by falling score, those without one last
    ceilings: tuple[ChoiceScore, ...]  #: of people, see :func:`analyse_choices`
    parts: dict[str, int]  #: number of choices in each part
    references: int  #: number of references
    lost: int = 0  #: choices left out because one of their images could not be scored
    skipped: tuple[Skipped, ...] = ()  #: metrics that could not run
    missing: tuple[Problem, ...] = ()  #: files that are absent or broken, and pairs that could not be scored

    @property
    def label(self) -> str:
        """What the score is called."""
        return {"two_afc": "2AFC", "jnd_map": "JND mAP"}[self.kind]

    @property
    def ties(self) -> list[str]:
        """The metrics that the best one does not beat beyond chance."""
        return [score.metric for score in self.scores[1:] if not math.isnan(score.score) and not score.p_holm < 0.05]


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
    corrected for all pairs of metrics (Holm): the same choices have named the best. A metric with a NaN has no score,
    and a note.

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
    >>> [(score.metric, score.score) for score in scores], [round(ceiling.score, 3) for ceiling in ceilings]
    ([('ours', 0.9), ('theirs', 0.5)], [0.9, 0.84])
    """
    share, count = choices.share, len(choices.share)
    if resamples < 1:
        raise ValueError(f"`resamples` must be at least 1, got {resamples}")
    parts, codes = groups(choices.part, "part", count)
    rows = {part: np.flatnonzero(codes == place) for place, part in enumerate(parts)}
    check_recall(choices.kind, share, choices.part)

    def choice_score(name: str, value: Callable[[Integers], float]) -> ChoiceScore:
        by_part = {part: value(members) for part, members in rows.items()}
        return ChoiceScore(name, _mean(by_part.values()), by_part, value(np.arange(count)))

    def of_metric(name: str, distances: Floats) -> ChoiceScore:
        return choice_score(name, lambda members: _score(choices.kind, distances[members], share[members]))

    if choices.kind == "jnd_map":
        ceilings = [of_metric("people's own shares", 1 - share[:, None])]
    else:
        ceilings = [of_metric("majority of people", np.stack([share, 1 - share], 1))]
        agreed = share**2 + (1 - share) ** 2
        ceilings.append(choice_score("one person", lambda members: float(agreed[members].mean())))
    missing = {name: int(np.isnan(distances).any(1).sum()) for name, distances in choices.distances.items()}
    known = {name: distances for name, distances in choices.distances.items() if not missing[name]}
    scores = sorted((of_metric(*item) for item in known.items()), key=lambda score: score.score, reverse=True)
    drawn = _resampled(choices, [known[score.metric] for score in scores], list(rows.values()), resamples, seed)
    references = len(np.unique(choices.reference))
    unknown = [
        ChoiceScore(name, math.nan, dict.fromkeys(parts, math.nan), note=f"has no value for {lost} of {count} choices")
        for name, lost in missing.items()
        if lost
    ]
    return (*_with_intervals(scores, drawn, references), *unknown), tuple(ceilings)


def _score(kind: Kind, distances: Floats, share: Floats) -> float:
    if kind == "two_afc":
        return two_afc(distances[:, 0], distances[:, 1], share)
    return jnd_map(distances[:, 0], share)


def check_recall(kind: Kind, share: Floats, part: npt.NDArray[np.str_]) -> None:
    """Check that each part has a recall, for ``"jnd_map"``.

    Raises:
        ValueError: for a part in which nobody took any pair for the same.
    """
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
    scores: list[list[float]] = []
    if len(names) > 1:
        for chunk in draws(len(names), resamples, seed, max(1, _CHUNK // len(names))):
            for times in chunk.T.astype(np.int64):
                drawn = [np.repeat(members, times[reference[members]]) for members in parts]
                shares = [choices.share[rows] for rows in drawn]
                if all(share.any() if choices.kind == "jnd_map" else len(share) for share in shares):
                    kept = list(zip(drawn, shares, strict=True))
                    scores.append([_mean([_score(choices.kind, d[rows], h) for rows, h in kept]) for d in metrics])
    return np.array(scores, dtype=np.float64).reshape(len(scores), len(metrics))


def _with_intervals(scores: Sequence[ChoiceScore], drawn: Floats, references: int) -> list[ChoiceScore]:
    """Add the intervals, and how far each is behind the first."""
    scores = [replace(score, behind=score.score - scores[0].score) for score in scores]
    if len(drawn) < 2 or not scores:
        return scores
    values = np.array([score.score for score in scores])
    first, second = np.triu_indices(len(scores), 1)
    p = p_by_standard_error(values[first] - values[second], drawn[:, first] - drawn[:, second], references - 1)
    limits = (*interval(drawn), *interval(drawn - drawn[:, :1]))
    # The first pairs are those of the best metric.
    rows = zip(*map(np.ndarray.tolist, limits), [1.0, *holm(p)[: len(scores) - 1].tolist()], strict=True)
    names = ("low", "high", "behind_low", "behind_high", "p_holm")
    return [replace(score, **dict(zip(names, row, strict=True))) for score, row in zip(scores, rows, strict=True)]


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))
