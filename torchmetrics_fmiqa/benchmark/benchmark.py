"""`fmiqa benchmark`: from its arguments to the folder with its tables and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.benchmark.analysis.image_properties import image_features
from torchmetrics_fmiqa.benchmark.analysis.preference import (
    Choices,
    ChoiceScore,
    ChoiceStudy,
    Kind,
    analyse_choices,
    check_recall,
)
from torchmetrics_fmiqa.benchmark.build_study import Asking, study_images, study_table
from torchmetrics_fmiqa.benchmark.csv_tables import write_results
from torchmetrics_fmiqa.benchmark.distortions import parse_changes
from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
from torchmetrics_fmiqa.benchmark.scoring.digests import digests
from torchmetrics_fmiqa.benchmark.scoring.run_folder import claim, content
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading, ScoreRun
from torchmetrics_fmiqa.benchmark.scoring.score_table import read_scored
from torchmetrics_fmiqa.benchmark.sections.preference import write_choices, write_choices_html
from torchmetrics_fmiqa.benchmark.study import Study
from torchmetrics_fmiqa.data.rated_pairs import JndPairs, RatedPair, RatedPairs, Triplets
from torchmetrics_fmiqa.data.tables import write_table
from torchmetrics_fmiqa.one_writer import one_writer
from torchmetrics_fmiqa.safe_write import write_text


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
        columns: arguments of :func:`~torchmetrics_fmiqa.benchmark.scoring.score_table.read_scored`.
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
        changes: names of changes for the robustness:
            :func:`~torchmetrics_fmiqa.benchmark.distortions.parse_changes`.
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


def as_rated(source: Triplets | JndPairs, root: Path | None = None) -> RatedPairs:
    """Choices as pairs to be scored: two for a triplet, one after the other, or one for a pair of a JND test.

    The opinion of an image is the share of people who chose it, or who took it for its reference ``p0``.

    Args:
        source: the choices.
        root: the data set's folder.

    >>> from torchmetrics_fmiqa.data.rated_pairs import Triplet
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
    ``unscored.csv``, ``report.html`` and ``report.md``.

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
    rated = as_rated(source, root)
    run = ScoreRun(rated, panel, out, reading, device=device, batch=batch)
    kind: Kind = "two_afc" if isinstance(source, Triplets) else "jnd_map"
    taken = sorted(set(rated.types) & set(ChoiceScore("", 0.0).row(kind)))
    if taken:
        raise ValueError(f"a part of {source.name} is called {taken[0]!r}, as a column of choices.csv is: rename it")
    check_recall(kind, np.array([pair.opinion for pair in rated.pairs]), np.array([pair.type for pair in rated.pairs]))
    with one_writer(out):
        claim(out, {"choices": kind, **run.inputs, "bootstrap": [resamples, seed]})
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
            write_text(out / "report.md", write_choices(study))
            write_text(out / "report.html", write_choices_html(study))
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
    known = digests(paths)
    return np.array([known[path] for path in paths])
