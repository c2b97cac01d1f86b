"""`fmiqa benchmark` on a data set of choices: from its images to the folder with tables and reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.benchmark.choices import (
    Choices,
    ChoiceScore,
    ChoiceStudy,
    Kind,
    analyse_choices,
    check_recall,
)
from torchmetrics_fmiqa.benchmark.choices_report import write_choices, write_choices_html
from torchmetrics_fmiqa.benchmark.folder import claim
from torchmetrics_fmiqa.benchmark.pair_run import digests
from torchmetrics_fmiqa.benchmark.panel import Panel
from torchmetrics_fmiqa.benchmark.scored import read_scored
from torchmetrics_fmiqa.benchmark.scores import Reading, ScoreRun
from torchmetrics_fmiqa.data.opinions import JndPairs, RatedPair, RatedPairs, Triplets
from torchmetrics_fmiqa.one_writer import one_writer
from torchmetrics_fmiqa.safe_write import write_text
from torchmetrics_fmiqa.tables import write_table

if TYPE_CHECKING:
    from torchmetrics_fmiqa.benchmark.run import Display


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
