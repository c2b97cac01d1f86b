"""What `fmiqa fuse` does between its arguments and its folder: read a table, train, compare, write."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torchmetrics_fmiqa.benchmark.analysis.agreement import OpinionIs, settle_directions
from torchmetrics_fmiqa.benchmark.metrics.columns import parse_column
from torchmetrics_fmiqa.benchmark.progress import Progress
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable, read_scored
from torchmetrics_fmiqa.data.opening import file_digest
from torchmetrics_fmiqa.data.run_folder import open_run_folder
from torchmetrics_fmiqa.data.tables import write_table
from torchmetrics_fmiqa.fitting.compare import PREDICTIONS, CompareOptions, compare_set, predictions_table
from torchmetrics_fmiqa.fitting.config import HeadTraining
from torchmetrics_fmiqa.fitting.cross_validation import check_sets, cross_validate, fit_head
from torchmetrics_fmiqa.fitting.dataset import MeasuredSet
from torchmetrics_fmiqa.fitting.heads import TableSpec
from torchmetrics_fmiqa.fitting.report import FitResult, write_fuse_report
from torchmetrics_fmiqa.one_writer import one_writer
from torchmetrics_fmiqa.safe_write import write_text
from torchmetrics_fmiqa.spips_model.checkpoint import save_head
from torchmetrics_fmiqa.spips_model.model import fusion_of
from torchmetrics_fmiqa.statistics.inputs import Floats, opinions

#: The row of agreement.csv that is the head's.
FUSED = "fused"

#: What the inputs of a head from a table were made by: whoever made the table.
MADE_FOR = "a table of scores"


@dataclass(frozen=True)
class FuseConfig:
    """What to fuse, and how: the table, its columns, and what the options of `fmiqa fuse` of these names say.

    ``higher_is_better`` names the features that are qualities; ``None`` takes those that run against the others. The
    seed of the training is that of the folds and the bootstrap too.
    """

    scores: Path
    features: tuple[str, ...]
    opinion: str
    group: str = "ref"
    image: str | None = None
    opinion_is: OpinionIs = "infer"
    higher_is_better: tuple[str, ...] | None = None
    folds: int = 5
    resamples: int = 1000
    training: HeadTraining = field(default_factory=HeadTraining)

    @property
    def inputs(self) -> dict[str, Any]:
        """What a folder depends on, field by field, in values that JSON has; of the table its content."""
        fields = {**asdict(self), **asdict(self.training), "scores": file_digest(self.scores)}
        del fields["training"]
        return fields


def fuse_scores(config: FuseConfig, out: Path, command: str, progress: Progress) -> FitResult:
    """Train on a table, and write the folder ``out``; its report says that the ``command`` made it.

    Raises:
        ValueError: for a table that does not fit, naming the column, and for a folder made from other inputs; both
            before anything is trained.
    """
    inputs = config.inputs
    table = read_scored(config.scores, config.opinion, config.group, config.image)
    columns = _columns(table, config)
    values = torch.from_numpy(np.stack(list(columns.values()), axis=1))
    opinion = opinions(table.opinion)
    data = MeasuredSet(
        config.scores.name, "opinion", (values,), opinion, table.reference, table.image, part=table.type, std=table.std
    )
    spec = TableSpec(config.features, config.training, made_for=MADE_FOR)
    check_sets([data], spec, config.folds)
    given = config.higher_is_better
    unknown = sorted(set(given or ()) - set(columns))
    if unknown:
        raise ValueError(f"`--higher-is-better` names {unknown[0]!r}, which is no feature: {', '.join(columns)}")
    better, qualities, direction = settle_directions(columns, opinion, config.opinion_is, given, "features")
    data = replace(data, higher_is_better=better)
    with one_writer(out):
        open_run_folder(out, inputs)
        validation = cross_validate([data], spec, config.folds, progress=progress)
        progress.status("training the head of all references")
        final = fit_head([data], spec, progress=progress)
        progress.status("comparing with every feature")
        how = CompareOptions(FUSED, qualities, config.resamples, config.training.seed)
        compared = compare_set(data, validation.predictions[data.name], [columns], how)
        write_table(out / "agreement.csv", compared.rows, list(compared.rows[0]))
        fusion = fusion_of(final.head)
        write_table(out / "predictions.csv", predictions_table(compared, fusion), PREDICTIONS[1:-1])
        save_head(fusion, out / "head.safetensors")
        result = FitResult(command, spec, validation, final, [compared], [data])
        write_text(out / "report.md", write_fuse_report(result, direction))
        return result


def _columns(table: ScoredTable, config: FuseConfig) -> dict[str, Floats]:
    """The features by name: scores, distances of single taps, or scores of changed images."""
    if len(config.features) < 2:
        raise ValueError(f"`--features` must name at least two columns, got {', '.join(config.features) or 'none'}")
    taken = {FUSED: "the name of what is fitted", config.opinion: "the opinion", config.group: "the group"}
    columns: dict[str, Floats] = {}
    for name in config.features:
        if name in columns:
            raise ValueError(f"`--features` names {name!r} twice")
        if name in taken:
            raise ValueError(f"`--features` cannot hold {name!r}, {taken[name]}")
        column = parse_column(name)
        if column.change:
            values = table.changed.get(column.change, {}).get(column.metric)
        elif column.tap:
            values = table.taps.get(column.metric, {}).get(column.tap)
        elif column.feature:
            values = table.features.get((column.feature, column.side))
        else:
            values = table.scores.get(column.metric)
        if values is None:
            some = ", ".join(list(table.scores)[:12])
            raise ValueError(f"{config.scores} has no column of scores {name!r} among its {len(table.scores)}: {some}")
        columns[name] = values
    return columns
