"""From scores to a study: every analysis that the scores, and the images where they are at hand, allow."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.analysis.agreement import OpinionIs, analyse
from torchmetrics_fmiqa.benchmark.analysis.attacks import AttackResult, attack_metric
from torchmetrics_fmiqa.benchmark.analysis.cost import measure_cost
from torchmetrics_fmiqa.benchmark.analysis.desirability import Desirability, desirability, factors_of
from torchmetrics_fmiqa.benchmark.analysis.imagenet_accuracy import FEWEST, AccuracyFinding, accuracy_finding
from torchmetrics_fmiqa.benchmark.analysis.layers import layer_curves
from torchmetrics_fmiqa.benchmark.analysis.loss_suitability import loss_suitability
from torchmetrics_fmiqa.benchmark.analysis.outliers import WorstCase, outlier_finding
from torchmetrics_fmiqa.benchmark.gallery import gallery
from torchmetrics_fmiqa.benchmark.metrics.metric import Metric, Skipped
from torchmetrics_fmiqa.benchmark.progress import Progress, SilentProgress
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import ScoreRun
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
from torchmetrics_fmiqa.benchmark.study import GalleryItem, Study
from torchmetrics_fmiqa.comparator import FeatureComparator
from torchmetrics_fmiqa.data.rows import csv_rows, need_columns

# How many metrics, best first, have their outliers looked at.
_OUTLIERS_OF = 5
# References on which metrics are tried as losses.
_LOSS_IMAGES = 3


@dataclass(frozen=True)
class StudySettings:
    """What to find out from scores, and how."""

    opinion_is: OpinionIs = "infer"  #: what a higher opinion means
    #: The metrics that are qualities; ``None`` takes those that run against the majority.
    higher_is_better: Collection[str] | None = None
    resamples: int = 1000  #: of the bootstraps over references
    seed: int = 0  #: of everything random
    attacked: int = 3  #: images that attacks are tried on; 0 for no attacks
    #: For each metric its SRCC on other data sets, for the aggregate's worst set.
    other_sets: Mapping[str, Sequence[float]] | None = None
    worst: int = 10  #: images in the gallery


def study_table(
    table: ScoredTable,
    title: str = "scores",
    command: str = "",
    settings: StudySettings | None = None,
    progress: Progress | None = None,
) -> Study:
    """Study a table of scores; the report has the title, and says that it was made with the command.

    Raises:
        ValueError: for an opinion whose direction the metrics do not settle.

    >>> from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
    >>> rng = np.random.default_rng(0)
    >>> mos, names = rng.uniform(1, 5, 60), np.arange(60).astype(str)
    >>> scores = {"near": 5 - mos + 0.1 * rng.normal(size=60), "far": 5 - mos + rng.normal(size=60)}
    >>> table = ScoredTable(scores, {}, mos, np.repeat(np.arange(10), 6).astype(str), names, None)
    >>> study = study_table(table, settings=StudySettings(opinion_is="better", resamples=200))
    >>> [agreement.metric for agreement in study.analysis.agreements], study.analysis.ties()
    (['near', 'far'], [])
    """
    settings = settings or StudySettings()
    return _add_summaries(_study_scores(table, title, command, settings, progress or SilentProgress()), settings)


def study_images(run: ScoreRun, table: ScoredTable, command: str, settings: StudySettings, progress: Progress) -> Study:
    """Study the scores of a complete run, whose images and metrics are at hand: attacks, loss, cost and gallery too."""
    settings = replace(settings, higher_is_better=run.panel.qualities)
    study = _study_scores(table, run.rated.name, command, settings, progress)
    metrics = run.panel.metrics()
    attacks, failed = _attacks(run, metrics, study, settings, progress)
    count = min(_LOSS_IMAGES, len(run.rated.references))
    references = [_pair(run, run.rated.reference_ids.index(number))[1] for number in range(count)]
    suitability = []
    for metric in metrics:
        images = [image for image in references if min(image.shape[-2:]) >= metric.minimum_side]
        if images:
            progress.status(f"trying {metric.name} as a loss")
            suitability.append(loss_suitability(metric, images, settings.seed))
    pair = _pair(run, 0)
    costs = []
    for metric in metrics:
        if min(pair[0].shape[2:]) >= metric.minimum_side:
            progress.status(f"timing {metric.name}")
            costs.append(measure_cost(metric, *pair))
    study = replace(
        study,
        attacks=tuple(attacks),
        loss_suitability=tuple(suitability),
        cost=tuple(costs),
        skipped=(*run.panel.skipped, *failed),
        missing=(*run.rated.missing, *run.unscored()),
        folder=run.rated.root,
    )
    study = _add_summaries(study, settings)
    progress.status("gathering the worst images")
    return replace(study, gallery=tuple(_gallery(run, study)))


def other_sets(folders: Sequence[Path]) -> dict[str, list[float]]:
    """SRCC of each metric in the folders of other benchmarks.

    Raises:
        ValueError: for a folder that is none.
    """
    by_metric: dict[str, list[float]] = {}
    for folder in folders:
        path = folder / "agreement.csv"
        if not path.is_file():
            raise ValueError(f"there is no {path}: give the folder of a benchmark")
        rows, columns = csv_rows(path)
        need_columns(path, columns, ("metric", "srcc"))
        for _, row in rows:
            if not math.isnan(float(row["srcc"])):
                by_metric.setdefault(row["metric"], []).append(float(row["srcc"]))
    return by_metric


def _study_scores(table: ScoredTable, title: str, command: str, settings: StudySettings, progress: Progress) -> Study:
    """Agreement, and how it goes with depth where the table has taps."""
    progress.status(f"comparing {len(table.scores)} metrics on {len(table.opinion)} images with people")
    bootstrap = settings.resamples, settings.seed
    analysis = analyse(table, settings.opinion_is, settings.higher_is_better, *bootstrap)
    if table.taps:
        progress.status("following agreement through the networks")
    layers = layer_curves(table, analysis.opinion_higher_is_better, *bootstrap)
    return Study(title, command, table, analysis, layers)


def _add_summaries(study: Study, settings: StudySettings) -> Study:
    """Add what rests on all the rest: the aggregate, its relation to accuracy, and the best metrics' outliers."""
    aggregate = _desirability(study, settings)
    outliers = tuple(
        outlier_finding(agreement, study.table, study.table.features, settings.worst)
        for agreement in study.analysis.agreements[:_OUTLIERS_OF]
        if agreement.fit.converged
    )
    accuracy = tuple(_accuracy(study, aggregate, settings.seed))
    return replace(study, desirability=aggregate, accuracy=accuracy, outliers=outliers)


def _desirability(study: Study, settings: StudySettings) -> Desirability | None:
    suitability = {finding.metric: finding for finding in study.loss_suitability}
    cost = {finding.metric: finding for finding in study.cost}
    factors = {}
    for agreement in study.analysis.agreements:
        name = agreement.metric
        if not math.isnan(agreement.srcc):
            robustness = {change: found[name] for change, found in study.analysis.robustness.items() if name in found}
            others = (settings.other_sets or {}).get(name, ())
            factors[name] = factors_of(agreement, robustness, suitability.get(name), cost.get(name), others)
    return desirability(factors, seed=settings.seed) if factors else None


def _accuracy(study: Study, aggregate: Desirability | None, seed: int) -> Iterator[AccuracyFinding]:
    figures = {"SRCC": {one.metric: one.srcc for one in study.analysis.agreements if not math.isnan(one.srcc)}}
    if aggregate is not None:
        rows = zip(aggregate.metrics, aggregate.aggregate.tolist(), aggregate.group, strict=True)
        # Aggregates of different factors cannot be compared; group 0 is the largest.
        figures["desirability"] = {name: value for name, value, group in rows if group == 0}
    for what, values in figures.items():
        finding = accuracy_finding(values, what, seed=seed)
        if len(finding.backbones) >= FEWEST:
            yield finding


def _attacks(
    run: ScoreRun, metrics: Sequence[Metric], study: Study, settings: StudySettings, progress: Progress
) -> tuple[list[AttackResult], list[Skipped]]:
    """The attacks, and the metrics that could not be attacked."""
    results: list[AttackResult] = []
    failed: list[Skipped] = []
    count, wanted = len(run.rated), settings.attacked
    # Spread evenly over all pairs.
    places = sorted({round((place + 0.5) * count / wanted - 0.5) for place in range(min(wanted, count))})
    pairs = [_pair(run, place) for place in places]
    for metric in metrics if pairs else ():
        progress.status(f"attacking {metric.name}")
        spread = float(np.std(study.table.scores[metric.name]))
        try:
            results += attack_metric(metric, pairs, spread, seed=settings.seed)
        except ValueError as error:
            failed.append(Skipped(f"attacks on {metric.name}", str(error)))
    return results, failed


def _gallery(run: ScoreRun, study: Study) -> Iterator[GalleryItem]:
    # The best metric may have no map, as PSNR has none: then the best of those that have one shows the place.
    ranked = ((agreement.metric, run.panel.comparator(agreement.metric)) for agreement in study.analysis.agreements)
    with_maps = ((name, comparator) for name, comparator in ranked if comparator is not None and comparator.has_maps)
    name, comparator = next(with_maps, ("", None))
    places = {(pair.ref, pair.dist): place for place, pair in enumerate(run.rated.as_pairs())}

    def load(case: WorstCase) -> tuple[Tensor, Tensor]:
        preds, target = run.reading(run.rated.pairs[places[case.ref, case.dist]])
        reference, distorted = ((side * 255).round().to(torch.uint8) for side in (target, preds))
        return reference, distorted

    for finding in study.outliers[:1]:
        for item in gallery(finding, load, None if comparator is None else partial(_heat, comparator)):
            yield replace(item, heat_of=name)


def _heat(comparator: FeatureComparator, preds: Tensor, target: Tensor) -> Tensor:
    return next(iter(comparator.maps(preds, target).values()))["score"]


def _pair(run: ScoreRun, index: int) -> tuple[Tensor, Tensor]:
    """One pair for a metric: preds and target, ``(1, 3, H, W)`` on the run's device."""
    preds, target = (side[None].to(run.device) for side in run.reading(run.rated.pairs[index]))
    return preds, target
