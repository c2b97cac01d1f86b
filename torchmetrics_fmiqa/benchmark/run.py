"""`fmiqa benchmark`: from its arguments to the folder with its tables and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.benchmark.build import Asking, study_images, study_table
from torchmetrics_fmiqa.benchmark.changes import parse_changes
from torchmetrics_fmiqa.benchmark.folder import claim, content
from torchmetrics_fmiqa.benchmark.image_features import image_features
from torchmetrics_fmiqa.benchmark.panel import Panel
from torchmetrics_fmiqa.benchmark.results import write_results
from torchmetrics_fmiqa.benchmark.scored import read_scored
from torchmetrics_fmiqa.benchmark.scores import Reading, ScoreRun
from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.data.rated import RatedPairs
from torchmetrics_fmiqa.one_writer import one_writer


@dataclass(frozen=True)
class Display:
    """How a run shows what it does.

    Args:
        telling: a context in which a text says what is being done.
        progress: shows the number of pairs done, of a total.
    """

    telling: Callable[[], AbstractContextManager[Callable[[str], None]]]
    progress: Callable[[Iterable[int], int], Iterable[int]]


def benchmark_table(
    scores: Path, out: Path, columns: Mapping[str, Any], asking: Asking, command: str, display: Display
) -> Study:
    """Study a table of scores, and write the folder.

    Args:
        scores: the table.
        out: the folder.
        columns: arguments of :func:`~torchmetrics_fmiqa.benchmark.scored.read_scored`.
        asking: what to ask.
        command: what the reports say they were made with.
        display: how to show what is done.

    Raises:
        ValueError: for a table that does not fit, and for a folder made from other inputs.
    """
    digest = content(scores)
    table = read_scored(scores, **columns)
    with one_writer(out):
        claim(out, {"scores": digest, "columns": dict(columns), **_asked(asking)})
        with display.telling() as tell:
            study = study_table(table, scores.name, command, asking, tell)
            write_results(study, out)
        return study


def benchmark_images(
    rated: RatedPairs,
    panel: Panel,
    out: Path,
    reading: Reading,
    changes: str,
    type_from: str | None,
    device: str,
    batch: int,
    asking: Asking,
    command: str,
    display: Display,
) -> Study:
    """Score pairs of images, study the scores, and write the folder. An interrupted run goes on.

    Args:
        rated: the pairs, and what people said.
        panel: the metrics.
        out: the folder.
        reading: how images are read.
        changes: names of changes for the robustness, see :func:`~torchmetrics_fmiqa.benchmark.changes.parse_changes`.
        type_from: expression that finds a distortion's type in an image's name.
        device: where to measure.
        batch: pairs between two parts of the scores.
        asking: what to ask.
        command: what the reports say they were made with.
        display: how to show what is done.

    Raises:
        ValueError: for arguments that do not fit, for a folder made from other inputs, and if no metric or no pair is
            left.
    """
    run = ScoreRun(rated, panel, out, reading, parse_changes(changes), image_features, device, batch)
    inputs = {
        **run.inputs,
        "changes": changes,
        "type_from": type_from,
        "direction": rated.higher_is_better,
        **_asked(asking),
    }
    with one_writer(out):
        claim(out, inputs)
        for _ in display.progress(run, len(rated)):
            pass
        table = read_scored(run.path, "opinion", "ref", "dist", type_from=type_from, metrics=None)
        if asking.opinion_is == "infer" and rated.higher_is_better is not None:
            asking = replace(asking, opinion_is="better" if rated.higher_is_better else "worse")
        with display.telling() as tell:
            try:
                study = study_images(run, table, rated.name, command, asking, tell)
            except ValueError as error:
                lost = run.unscored()
                if not lost:
                    raise
                named = "; ".join(f"{one.name}: {one.reason}" for one in lost[:3])
                raise ValueError(f"{error}. {len(lost)} could not be scored, see unscored.csv: {named}") from error
            how = {"column": "as its column's name says", "dataset": "as the dataset says", "flag": "as was said"}
            if rated.direction in how:
                said = study.analysis.direction.replace("as was said", how[rated.direction])
                study = replace(study, analysis=replace(study.analysis, direction=said))
            write_results(study, out)
        return study


def _asked(asking: Asking) -> dict[str, Any]:
    """What of the asking a folder depends on, as JSON has it."""
    qualities = None if asking.higher_is_better is None else sorted(asking.higher_is_better)
    others = {name: list(values) for name, values in (asking.other_sets or {}).items()}
    return {
        "directions": [asking.opinion_is, qualities],
        "bootstrap": [asking.resamples, asking.seed],
        "attacked": asking.attacked,
        "other_sets": others,
    }
