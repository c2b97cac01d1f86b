"""From scores to a study: every analysis that the scores, and the images where they are at hand, allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.analysis.agreement import Analysis, OpinionIs, analyse
from torchmetrics_fmiqa.benchmark.analysis.attacks import AttackResult, attack_metric
from torchmetrics_fmiqa.benchmark.analysis.cost import Cost, measure_cost
from torchmetrics_fmiqa.benchmark.analysis.desirability import Desirability, desirability, factors_of
from torchmetrics_fmiqa.benchmark.analysis.imagenet_accuracy import AccuracyFinding, accuracy_finding
from torchmetrics_fmiqa.benchmark.analysis.layers import layer_curves
from torchmetrics_fmiqa.benchmark.analysis.loss_suitability import Usefulness, usefulness
from torchmetrics_fmiqa.benchmark.analysis.outliers import WorstCase, outlier_finding
from torchmetrics_fmiqa.benchmark.gallery import gallery
from torchmetrics_fmiqa.benchmark.metrics.metric import Measure, Skipped
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import ScoreRun
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
from torchmetrics_fmiqa.benchmark.study import GalleryItem, Study
from torchmetrics_fmiqa.comparator import FeatureComparator
from torchmetrics_fmiqa.data.rows import csv_rows, need_columns

# Metrics whose outliers are looked at, best first.
_MISJUDGING = 5

#: Says what is being done, for a progress display.
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Asking:
    """What to ask of the scores.

    Args:
        opinion_is: what a higher opinion means.
        higher_is_better: the metrics that are qualities; ``None`` takes those that run against the majority.
        resamples: of the bootstraps over references.
        seed: of everything random.
        attacked: images that attacks are tried on; 0 for no attacks.
        other_sets: for each metric its SRCC on other data sets, for the aggregate's worst set.
        worst: images in the gallery.
    """

    opinion_is: OpinionIs = "infer"
    higher_is_better: Collection[str] | None = None
    resamples: int = 1000
    seed: int = 0
    attacked: int = 3
    other_sets: Mapping[str, Sequence[float]] | None = None
    worst: int = 10


def _silent(what: str) -> None:
    """Tell nobody."""


def study_table(
    table: ScoredTable, title: str = "scores", command: str = "", asking: Asking | None = None, tell: Tell = _silent
) -> Study:
    """Study a table of scores.

    Args:
        table: the scores.
        title: what they are of.
        command: what the report says it was made with.
        asking: what to ask.
        tell: is told what is being done.

    Raises:
        ValueError: for an opinion whose direction the metrics do not settle.

    >>> from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
    >>> rng = np.random.default_rng(0)
    >>> mos, names = rng.uniform(1, 5, 60), np.arange(60).astype(str)
    >>> scores = {"near": 5 - mos + 0.1 * rng.normal(size=60), "far": 5 - mos + rng.normal(size=60)}
    >>> table = ScoredTable(scores, {}, mos, np.repeat(np.arange(10), 6).astype(str), names, None)
    >>> study = study_table(table, asking=Asking(opinion_is="better", resamples=200))
    >>> [one.metric for one in study.analysis.agreements], study.analysis.ties()
    (['near', 'far'], [])
    """
    asking = asking or Asking()
    return _condensed(_compared(table, title, command, asking, tell), asking)


def _compared(table: ScoredTable, title: str, command: str, asking: Asking, tell: Tell) -> Study:
    """What the scores tell by themselves: agreement, and how it goes with depth."""
    tell(f"comparing {len(table.scores)} metrics on {len(table.opinion)} images with people")
    analysis = analyse(table, asking.opinion_is, asking.higher_is_better, asking.resamples, asking.seed)
    study = Study(title, command, table, analysis)
    if table.taps:
        tell("following agreement through the networks")
        better = analysis.opinion_higher_is_better
        study = replace(study, layers=layer_curves(table, better, asking.resamples, asking.seed))
    return study


def study_images(run: ScoreRun, table: ScoredTable, title: str, command: str, asking: Asking, tell: Tell) -> Study:
    """Study scores whose images and metrics are at hand: attacks, use as a loss, cost and gallery too.

    Args:
        run: the complete run that made the scores.
        table: the scores.
        title: what they are of.
        command: what the report says it was made with.
        asking: what to ask.
        tell: is told what is being done.
    """
    asking = replace(asking, higher_is_better=run.panel.qualities)
    study = _compared(table, title, command, asking, tell)
    measures = run.panel.measures()
    attacks, unattacked = _attacks(run, measures, study, asking, tell)
    study = replace(
        study,
        attacks=tuple(attacks),
        usefulness=tuple(_usefulness(run, measures, asking, tell)),
        cost=tuple(_cost(run, measures, tell)),
        skipped=(*run.panel.skipped, *unattacked),
        missing=(*run.rated.missing, *run.unscored()),
        folder=run.rated.root,
    )
    study = _condensed(study, asking)
    return replace(study, gallery=_gallery(run, study, tell))


def other_sets(folders: Sequence[Path]) -> dict[str, list[float]]:
    """SRCC of each metric in the folders of other benchmarks.

    Raises:
        ValueError: for a folder that is none.
    """
    found: dict[str, list[float]] = {}
    for folder in folders:
        path = folder / "agreement.csv"
        if not path.is_file():
            raise ValueError(f"there is no {path}: give the folder of a benchmark")
        rows, columns = csv_rows(path)
        need_columns(path, columns, ("metric", "srcc"))
        for _, row in rows:
            if not math.isnan(float(row["srcc"])):
                found.setdefault(row["metric"], []).append(float(row["srcc"]))
    return found


def _condensed(study: Study, asking: Asking) -> Study:
    """Add what rests on all the rest: the aggregate, its relation to accuracy, and the best metrics' outliers."""
    condensed = _desirability(study, asking)
    outliers = tuple(
        outlier_finding(one, study.table, study.table.features, asking.worst)
        for one in study.analysis.agreements[:_MISJUDGING]
        if one.fit.converged
    )
    accuracy = _accuracy(study.analysis, condensed, asking)
    return replace(study, desirability=condensed, accuracy=accuracy, outliers=outliers)


def _desirability(study: Study, asking: Asking) -> Desirability | None:
    use = {one.metric: one for one in study.usefulness}
    cost = {one.metric: one for one in study.cost}
    robustness = study.analysis.robustness
    factors = {
        one.metric: factors_of(
            one,
            {change: found[one.metric] for change, found in robustness.items() if one.metric in found},
            use.get(one.metric),
            cost.get(one.metric),
            (asking.other_sets or {}).get(one.metric, ()),
        )
        for one in study.analysis.agreements
        if not math.isnan(one.srcc)
    }
    return desirability(factors, seed=asking.seed) if factors else None


def _accuracy(analysis: Analysis, condensed: Desirability | None, asking: Asking) -> tuple[AccuracyFinding, ...]:
    figures = {"SRCC": {one.metric: one.srcc for one in analysis.agreements if not math.isnan(one.srcc)}}
    if condensed is not None:
        aggregates = zip(condensed.metrics, condensed.aggregate.tolist(), condensed.group, strict=True)
        # Aggregates of different factors cannot be compared; group 0 is the largest.
        figures["desirability"] = {name: value for name, value, group in aggregates if group == 0}
    found = (accuracy_finding(values, what, seed=asking.seed) for what, values in figures.items())
    return tuple(one for one in found if len(one.backbones) > 3)


def _attacks(
    run: ScoreRun, measures: Sequence[Measure], study: Study, asking: Asking, tell: Tell
) -> tuple[list[AttackResult], list[Skipped]]:
    """The attacks, and the metrics that could not be attacked."""
    found: list[AttackResult] = []
    failed: list[Skipped] = []
    if not asking.attacked:
        return found, failed
    pairs = [_pair(run, index) for index in _spread(len(run.rated), asking.attacked)]
    for measure in measures:
        tell(f"attacking {measure.name}")
        try:
            found += attack_metric(measure, pairs, float(np.std(study.table.scores[measure.name])), seed=asking.seed)
        except ValueError as error:
            failed.append(Skipped(f"attacks on {measure.name}", str(error)))
    return found, failed


def _usefulness(run: ScoreRun, measures: Sequence[Measure], asking: Asking, tell: Tell) -> list[Usefulness]:
    references = [_pair(run, run.rated.reference_ids.index(i))[1] for i in range(min(3, len(run.rated.references)))]
    found = []
    for measure in measures:
        large = [image for image in references if min(image.shape[-2:]) >= measure.minimum_side]
        if large:
            tell(f"trying {measure.name} as a loss")
            found.append(usefulness(measure, large, asking.seed))
    return found


def _cost(run: ScoreRun, measures: Sequence[Measure], tell: Tell) -> list[Cost]:
    preds, target = _pair(run, 0)
    found = []
    for measure in measures:
        if min(preds.shape[2:]) >= measure.minimum_side:
            tell(f"timing {measure.name}")
            found.append(measure_cost(measure, preds, target))
    return found


def _gallery(run: ScoreRun, study: Study, tell: Tell) -> tuple[GalleryItem, ...]:
    if not study.outliers:
        return ()
    tell("gathering the worst images")
    finding = study.outliers[0]
    # The best metric may have no map, as PSNR has none: then the best of those that have one shows the place.
    ranked = ((one.metric, run.panel.comparator(one.metric)) for one in study.analysis.agreements)
    name, drawing = next(((name, one) for name, one in ranked if one is not None and one.has_maps), ("", None))
    by_name = {(short.ref, short.dist): place for place, short in enumerate(run.rated.as_pairs())}

    def load(case: WorstCase) -> tuple[Tensor, Tensor]:
        preds, target = run.reading(run.rated.pairs[by_name[case.ref, case.dist]])
        shown = [(side * 255).round().to(torch.uint8) for side in (target, preds)]
        return shown[0], shown[1]

    items = gallery(finding, load, None if drawing is None else _heat(drawing))
    return tuple(replace(item, heat_of=name) for item in items)


def _heat(comparator: FeatureComparator) -> Callable[[Tensor, Tensor], Tensor]:
    def heat(preds: Tensor, target: Tensor) -> Tensor:
        return next(iter(comparator.maps(preds, target).values()))["score"]

    return heat


def _pair(run: ScoreRun, index: int) -> tuple[Tensor, Tensor]:
    preds, target = run.reading(run.rated.pairs[index])
    device = torch.device(run.device)
    return preds[None].to(device), target[None].to(device)


def _spread(count: int, wanted: int) -> list[int]:
    """Places spread evenly over all pairs."""
    return sorted({round((place + 0.5) * count / wanted - 0.5) for place in range(min(wanted, count))})
