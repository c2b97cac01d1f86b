"""What `fmiqa fit` does between its arguments and its folder: read, train, compare with every feature, write."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from torchmetrics_fmiqa.benchmark.analysis.agreement import OpinionIs
from torchmetrics_fmiqa.benchmark.metrics.columns import parse_column
from torchmetrics_fmiqa.benchmark.scoring.run_folder import open_run_folder
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable, read_scored
from torchmetrics_fmiqa.data.opening import file_digest
from torchmetrics_fmiqa.data.tables import write_table
from torchmetrics_fmiqa.fitting.compare import agreement_rows
from torchmetrics_fmiqa.fitting.fit_table import CrossValidation, Training, check_folds, cross_validate, fit_head
from torchmetrics_fmiqa.fitting.report_table import FitFindings, write_fit_report
from torchmetrics_fmiqa.fitting.splits import grouped_folds
from torchmetrics_fmiqa.one_writer import one_writer
from torchmetrics_fmiqa.safe_write import write_text
from torchmetrics_fmiqa.spips_model.checkpoint import save_head
from torchmetrics_fmiqa.statistics import infer_direction, srcc
from torchmetrics_fmiqa.statistics.inputs import Floats

#: The row of agreement.csv that is the head's.
FUSED = "fused"

#: What the inputs of a head from a table were made by: whoever made the table.
MADE_FOR = "a table of scores"


@dataclass(frozen=True)
class Asked:
    """What to fit.

    Args:
        features: columns that go into the head.
        opinion: column of the opinions.
        group: column of the references.
        image: column of the images.
        opinion_is: what a higher opinion means.
        higher_is_better: the features that are qualities; ``None`` takes those that run against the others.
        folds: of references.
        resamples: of the bootstrap over references.
        training: how heads are trained; its seed is that of the folds and the bootstrap too.
    """

    features: tuple[str, ...]
    opinion: str
    group: str = "ref"
    image: str | None = None
    opinion_is: OpinionIs = "infer"
    higher_is_better: tuple[str, ...] | None = None
    folds: int = 5
    resamples: int = 1000
    training: Training = field(default_factory=Training)


def fit_table(scores: Path, out: Path, asked: Asked, command: str, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Train on a table, and write the folder.

    Args:
        scores: the table.
        out: the folder.
        asked: what to fit.
        command: what the report says it was made with.
        tell: is told what is being done.

    Returns:
        The rows of agreement.csv: the fused score, then the features by falling SRCC.

    Raises:
        ValueError: for a table that does not fit, naming the column, and for a folder made from other inputs; both
            before anything is trained.
    """
    digest = file_digest(scores)
    table = read_scored(scores, asked.opinion, asked.group, asked.image)
    columns = _columns(table, asked, scores)
    inputs = np.stack(list(columns.values()), axis=1)
    fold = grouped_folds(table.reference, asked.folds, asked.training.seed)
    check_folds(inputs, table.opinion, table.reference, fold, asked.features, asked.training)
    better, qualities, direction = _directions(columns, table.opinion, asked)
    with one_writer(out):
        open_run_folder(out, {"scores": digest, **_settings(asked)})
        data = (inputs, table.opinion, table.reference)
        found = cross_validate(*data, fold, asked.features, better, asked.training, tell)
        tell("training the head of all references")
        final = fit_head(*data, asked.features, better, asked.training, MADE_FOR)
        tell("comparing with every feature")
        rows = _agreement(columns, table, found, better, qualities, asked)
        write_table(out / "agreement.csv", rows, list(rows[0]))
        write_table(
            out / "predictions.csv", _predictions(table, found), ["ref", "dist", "fold", "opinion", "prediction"]
        )
        save_head(final.head, out / "head.safetensors")
        findings = FitFindings(scores.name, command, direction, rows, found, final, table.reference, asked.training)
        write_text(out / "report.md", write_fit_report(findings))
        return rows


def _settings(asked: Asked) -> dict[str, Any]:
    """What a folder depends on beside the table, field by field, as JSON has it."""
    fields = asdict(asked)
    fields |= fields.pop("training")
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def _columns(table: ScoredTable, asked: Asked, path: Path) -> dict[str, Floats]:
    """The features by name: scores, distances of single taps, or scores of changed images."""
    if len(asked.features) < 2:
        raise ValueError(f"`--features` must name at least two columns, got {', '.join(asked.features) or 'none'}")
    found = {}
    for name in asked.features:
        if name in found:
            raise ValueError(f"`--features` names {name!r} twice")
        if name in (FUSED, asked.opinion, asked.group):
            what = {FUSED: "the name of what is fitted", asked.opinion: "the opinion"}.get(name, "the group")
            raise ValueError(f"`--features` cannot hold {name!r}, {what}")
        held = parse_column(name)
        if held.change:
            values = table.changed.get(held.change, {}).get(held.metric)
        elif held.tap:
            values = table.taps.get(held.metric, {}).get(held.tap)
        else:
            values = table.features.get((held.feature, held.side)) if held.feature else table.scores.get(held.metric)
        if values is None:
            raise ValueError(f"{path} has no column of scores {name!r}: it has {_some(table.scores)}")
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise ValueError(
                f"{path}: {name!r} is {values[bad[0]]} for {str(table.image[bad[0]])!r}, and not finite for {len(bad)} "
                f"of {len(values)} images: leave out the images or the column"
            )
        found[name] = values
    return found


def _some(names: Collection[str]) -> str:
    shown = list(names)[:12]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _directions(columns: dict[str, Floats], opinion: Floats, asked: Asked) -> tuple[bool, list[str], str]:
    """Whether a higher opinion is better, which features are qualities, and how that was settled."""
    said = asked.higher_is_better
    unknown = sorted(set(said or ()) - set(columns))
    if unknown:
        raise ValueError(f"`--higher-is-better` names {unknown[0]!r}, which is no feature: {', '.join(columns)}")
    if asked.opinion_is == "infer":
        flags = [name in (said or ()) for name in columns]
        heard = infer_direction(np.stack(list(columns.values()), axis=1), opinion, flags)
        better = heard.opinion_higher_is_better
        word = "better" if better else "worse"
        direction = f"a higher opinion is taken for {word}: {heard.agreeing} of {heard.asked} features say so"
    else:
        better = asked.opinion_is == "better"
        direction = f"a higher opinion is {asked.opinion_is}, as was said"
    if said is not None:
        return better, list(said), direction
    sign = 1 if better else -1
    qualities = [name for name, values in columns.items() if sign * srcc(values, opinion).value > 0]
    if qualities:
        direction += f"; taken for qualities, as they run the other way: {', '.join(qualities)}"
    return better, qualities, direction


def _agreement(
    columns: dict[str, Floats],
    table: ScoredTable,
    found: CrossValidation,
    better: bool,
    qualities: list[str],
    asked: Asked,
) -> list[dict[str, Any]]:
    """A row for the fused score, then one for each feature: pooled over all images, and by fold."""
    # A prediction is an opinion, and has its direction; nobody may turn it by what it correlates with.
    turned = [*qualities, FUSED] if better else qualities
    everything = {FUSED: found.prediction, **columns}
    against = ScoredTable(everything, {}, table.opinion, table.reference, table.image, table.type, std=table.std)
    return agreement_rows(FUSED, against, found.fold, better, turned, asked.resamples, asked.training.seed)


def _predictions(table: ScoredTable, found: CrossValidation) -> list[dict[str, Any]]:
    columns = (table.reference, table.image, found.fold, table.opinion, found.prediction)
    names = ("ref", "dist", "fold", "opinion", "prediction")
    return [dict(zip(names, row, strict=True)) for row in zip(*(one.tolist() for one in columns), strict=True)]
