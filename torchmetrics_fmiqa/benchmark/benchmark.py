"""`fmiqa benchmark`: from its arguments to the folder with its tables and reports.

There are three ways in: a table of scores, images with opinions, and images between which people chose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis.preference import (
    Choices,
    ChoiceScore,
    ChoiceStudy,
    Kind,
    analyse_choices,
    check_recall,
)
from torchmetrics_fmiqa.benchmark.build_study import StudySettings, study_images, study_table
from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
from torchmetrics_fmiqa.benchmark.progress import Progress, SilentProgress
from torchmetrics_fmiqa.benchmark.scoring.digests import digests
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import ScoreOptions, ScoreRun
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable, read_scored
from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.benchmark.write_results import write_choice_study, write_study
from torchmetrics_fmiqa.data.opening import file_digest
from torchmetrics_fmiqa.data.rated_pairs import JndPairs, RatedPair, RatedPairs, Triplets
from torchmetrics_fmiqa.data.run_folder import open_run_folder
from torchmetrics_fmiqa.one_writer import one_writer

# How the direction of opinions was settled, by how it is known of the pairs.
_DIRECTION = {"column": "as its column's name says", "dataset": "as the dataset says", "flag": "as was said"}


@dataclass(frozen=True)
class Output:
    """Where the results of a benchmark go, what the reports say they were made with, and what shows the progress."""

    folder: Path
    command: str = "fmiqa benchmark"
    progress: Progress = field(default_factory=SilentProgress)


def benchmark_table(scores: Path, columns: Mapping[str, Any], settings: StudySettings, output: Output) -> Study:
    """Study a table of scores, and write the folder.

    ``columns`` are arguments of :func:`~torchmetrics_fmiqa.benchmark.scoring.score_table.read_scored`.

    Raises:
        ValueError: for a table that does not fit, and for a folder made from other inputs.
    """
    digest = file_digest(scores)
    table = read_scored(scores, **columns)
    with one_writer(output.folder):
        open_run_folder(output.folder, {"scores": digest, "columns": dict(columns), **_settings_inputs(settings)})
        study = study_table(table, scores.name, output.command, settings, output.progress)
        write_study(study, output.folder)
    return study


def benchmark_images(
    rated: RatedPairs,
    panel: Panel,
    options: ScoreOptions,
    settings: StudySettings,
    output: Output,
    type_from: str | None = None,
) -> Study:
    """Score pairs of images, study the scores, and write the folder. An interrupted run goes on.

    ``type_from`` is an expression that finds a distortion's type in an image's name.

    Raises:
        ValueError: for arguments that do not fit, for a folder made from other inputs, and if no metric or no pair is
            left.
    """
    run = ScoreRun(rated, panel, output.folder, replace(options, properties=True))
    inputs = {"changes": options.changes, "type_from": type_from, "direction": rated.higher_is_better}
    with one_writer(output.folder):
        open_run_folder(output.folder, {**run.inputs, **inputs, **_settings_inputs(settings)})
        table = _scored(run, output.progress, type_from)
        if settings.opinion_is == "infer" and rated.higher_is_better is not None:
            settings = replace(settings, opinion_is="better" if rated.higher_is_better else "worse")
        try:
            study = study_images(run, table, output.command, settings, output.progress)
        except ValueError as error:
            lost = run.unscored()
            if not lost:
                raise
            reasons = "; ".join(f"{problem.name}: {problem.reason}" for problem in lost[:3])
            raise ValueError(f"{error}. {len(lost)} could not be scored, see unscored.csv: {reasons}") from error
        if rated.direction in _DIRECTION:
            direction = study.analysis.direction.replace("as was said", _DIRECTION[rated.direction])
            study = replace(study, analysis=replace(study.analysis, direction=direction))
        write_study(study, output.folder)
    return study


def _scored(run: ScoreRun, progress: Progress, type_from: str | None = None) -> ScoredTable:
    """Score what is not scored yet, and read all scores."""
    for _ in progress.pairs(run, len(run.rated)):
        pass
    return run.table(type_from)


def _settings_inputs(settings: StudySettings) -> dict[str, Any]:
    """The settings that a folder depends on, as JSON has them."""
    qualities = None if settings.higher_is_better is None else sorted(settings.higher_is_better)
    return {
        "directions": [settings.opinion_is, qualities],
        "bootstrap": [settings.resamples, settings.seed],
        "attacked": settings.attacked,
        "other_sets": {name: list(values) for name, values in (settings.other_sets or {}).items()},
    }


def as_rated(source: Triplets | JndPairs, root: Path | None = None) -> RatedPairs:
    """Choices as pairs to be scored: two for a triplet, one after the other, or one for a pair of a JND test.

    The opinion of an image is the share of people who chose it, or who took it for its reference ``p0``.

    >>> from torchmetrics_fmiqa.data.rated_pairs import Triplet
    >>> triplet = Triplet(Path("ref.png"), Path("p0.png"), Path("p1.png"), 0.75, "cnn")
    >>> [(pair.dist.name, pair.opinion) for pair in as_rated(Triplets("bapps_2afc", (triplet,))).pairs]
    [('p0.png', 0.25), ('p1.png', 0.75)]
    """
    if isinstance(source, Triplets):
        pairs = [
            RatedPair(triplet.ref, image, share, triplet.type)
            for triplet in source.triplets
            for image, share in ((triplet.p0, 1 - triplet.judge), (triplet.p1, triplet.judge))
        ]
    else:
        pairs = [RatedPair(pair.p0, pair.p1, pair.same, pair.type) for pair in source.pairs]
    return RatedPairs(source.name, tuple(pairs), True, "dataset", source.missing, root=root)


def benchmark_choices(
    source: Triplets | JndPairs,
    root: Path | None,
    panel: Panel,
    options: ScoreOptions,
    settings: StudySettings,
    output: Output,
) -> ChoiceStudy:
    """Score the images of a data set of choices, and write the folder. An interrupted run goes on.

    Writes ``choices.csv`` (one row per metric), ``ceilings.csv`` (the same of people), ``scores.parquet``,
    ``unscored.csv``, ``report.html`` and ``report.md``. Images are named from ``root``, the data set's folder. Metrics
    that are qualities are turned round; changes are left out. Of the settings only those of the bootstrap count.

    Raises:
        ValueError: for a folder made from other inputs, if no metric or no choice is left, and for what
            :func:`~torchmetrics_fmiqa.benchmark.analysis.preference.analyse_choices` raises.
    """
    rated = as_rated(source, root)
    run = ScoreRun(rated, panel, output.folder, replace(options, changes="none"))
    kind: Kind = "two_afc" if isinstance(source, Triplets) else "jnd_map"
    taken = sorted(set(rated.types) & set(ChoiceScore("", 0.0).row(kind)))
    if taken:
        raise ValueError(f"a part of {source.name} is called {taken[0]!r}, as a column of choices.csv is: rename it")
    check_recall(kind, np.array([pair.opinion for pair in rated.pairs]), np.array([pair.type for pair in rated.pairs]))
    bootstrap = settings.resamples, settings.seed
    with one_writer(output.folder):
        open_run_folder(output.folder, {"choices": kind, **run.inputs, "bootstrap": list(bootstrap)})
        choices = _choices(run, _scored(run, output.progress), kind)
        output.progress.status(f"comparing {len(panel.names)} metrics with what people chose")
        scores, ceilings = analyse_choices(choices, *bootstrap)
        parts, sizes = np.unique(choices.part, return_counts=True)
        study = ChoiceStudy(
            title=source.name,
            command=output.command,
            kind=kind,
            scores=scores,
            ceilings=ceilings,
            parts=dict(zip(parts.tolist(), sizes.tolist(), strict=True)),
            references=len(np.unique(choices.reference)),
            lost=len(source) - len(choices.share),
            skipped=tuple(panel.skipped),
            missing=(*source.missing, *run.unscored()),
        )
        write_choice_study(study, output.folder)
    return study


def _choices(run: ScoreRun, table: ScoredTable, kind: Kind) -> Choices:
    """The choices of which every image was scored."""
    row_of = {key: row for row, key in enumerate(zip(table.reference.tolist(), table.image.tolist(), strict=True))}
    width = 2 if kind == "two_afc" else 1
    rows: list[list[int]] = []
    pairs: list[RatedPair] = []
    for start in range(0, len(run.rated), width):
        versions = [row_of.get((pair.ref, pair.dist)) for pair in run.short[start : start + width]]
        if None not in versions:
            rows.append([row for row in versions if row is not None])
            pairs.append(run.rated.pairs[start + width - 1])
    if not rows:
        raise ValueError(
            f"no triplet of {run.rated.name} is left: none had both of its images scored, see unscored.csv"
        )
    index = np.array(rows)
    distances = {name: -values if name in run.panel.qualities else values for name, values in table.scores.items()}
    # One reference may lie beside each of its versions under a new name: its content tells it.
    content = digests(pair.ref for pair in pairs)
    return Choices(
        kind,
        {name: values[index] for name, values in distances.items()},
        np.array([pair.opinion for pair in pairs]),
        np.array([pair.type or "all" for pair in pairs]),
        np.array([content[pair.ref] for pair in pairs]),
    )
