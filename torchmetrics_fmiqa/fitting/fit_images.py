"""What `fmiqa fit` does between its arguments and its folder: measure, train, compare, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from torchmetrics_fmiqa.benchmark.progress import Progress
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading
from torchmetrics_fmiqa.comparator import Precision
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.data.run_folder import open_run_folder
from torchmetrics_fmiqa.fitting.compare import SPIPS, CompareOptions, compare_set, spips_inputs, write_tables
from torchmetrics_fmiqa.fitting.config import SpipsTraining
from torchmetrics_fmiqa.fitting.cross_validation import (
    CrossValidation,
    Predictions,
    check_sets,
    cross_validate,
    fit_head,
    head_scores,
)
from torchmetrics_fmiqa.fitting.heads import SpipsSpec
from torchmetrics_fmiqa.fitting.measure import Measurement, SpipsPanel, check_apart
from torchmetrics_fmiqa.fitting.report import FitResult, write_fit_report
from torchmetrics_fmiqa.fitting.sources import SetPlan
from torchmetrics_fmiqa.fitting.splits import Folds
from torchmetrics_fmiqa.one_writer import one_writer
from torchmetrics_fmiqa.safe_write import write_text
from torchmetrics_fmiqa.spips_model.checkpoint import save_spips
from torchmetrics_fmiqa.spips_model.model import SpipsHead
from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe
from torchmetrics_fmiqa.statistics.inputs import opinions


@dataclass(frozen=True)
class FitConfig:
    """What to fit, and how: the fields are what the options of `fmiqa fit` of these names say, and three more."""

    #: the sets to train on, and to test on by cross-validation; of graded photographs only the former.
    trained: Sequence[SetPlan]
    tested: Sequence[SetPlan]  #: the sets to test the head of all others on.
    recipe: SpipsRecipe
    reading: Reading = field(default_factory=Reading)
    precision: Precision = "float32"
    device: str = "cpu"
    batch: int = 8
    folds: Folds = 5
    #: how heads are trained; its seed is that of the folds and the bootstrap too.
    training: SpipsTraining = field(default_factory=SpipsTraining)
    resamples: int = 1000
    cache: Path | None = None

    @property
    def validated(self) -> bool:
        """Whether there is anything to hold out: ranks are only trained on."""
        return any(plan.kind != "rank" for plan in self.trained)


def fit_images(config: FitConfig, out: Path, command: str, progress: Progress) -> FitResult:
    """Measure data sets, train on them, and write the folder ``out``; its report says that the ``command`` made it.

    An interrupted run goes on.

    Raises:
        ValueError: for sets that cannot be trained on or tested with, and for a folder made from other inputs, all
            before anything is measured; and for measurements that are not finite.
    """
    panel = SpipsPanel(config.recipe, config.precision)
    cache = out / "measured" if config.cache is None else config.cache
    trained, tested = (
        [Measurement(plan, panel, config.reading, cache, config.device, config.batch) for plan in plans]
        for plans in (config.trained, config.tested)
    )
    spec = SpipsSpec(config.recipe, config.training)
    check_sets([data.placeholder() for data in trained], spec, config.folds if config.validated else None)
    _check_tested(tested)
    check_apart([*trained, *tested])
    with one_writer(out):
        open_run_folder(out, _inputs(trained, tested, config))
        for data in (*trained, *tested):
            for _ in progress.pairs(data, len(data)):
                pass
        learned, unseen = ([data.result() for data in measured] for measured in (trained, tested))
        validation = CrossValidation({}, ())
        if config.validated:
            validation = cross_validate(learned, spec, config.folds, out / "training" / "folds", progress)
        final = fit_head(learned, spec, out / "training" / "final", progress)
        head = cast("SpipsHead", final.head)
        progress.status("comparing with every single input")
        how = CompareOptions(SPIPS, (), config.resamples, config.training.seed)
        held_out = validation.predictions
        predicted = [(own, held_out[own.name]) for own in learned if own.name in held_out]
        predicted += [(own, Predictions(head_scores(head, own))) for own in unseen]
        compared = []
        for own, predictions in predicted:
            inputs = [spips_inputs(version, head) for version in cast("tuple[TapStatistics, ...]", own.measured)]
            compared.append(compare_set(own, predictions, inputs, how))
        write_tables(out, compared, head.fusion)
        save_spips(head, out / "head.safetensors", config.recipe)
        result = FitResult(command, spec, validation, final, compared, learned, unseen)
        write_text(out / "report.md", write_fit_report(result))
        return result


def _check_tested(tested: Sequence[Measurement]) -> None:
    """Check what a head is tested on before anything is measured."""
    for data in tested:
        plan = data.plan
        if plan.kind == "rank":
            raise ValueError(f"{plan.name} has neither opinions nor choices to test with")
        if plan.kind == "opinion":
            try:
                opinions([row.target for row in plan.rows])
            except ValueError as error:
                raise ValueError(f"{plan.name}: {error}") from None
            if len(data.references) < 2:
                raise ValueError(f"{plan.name}: all images have one reference: intervals are drawn from several")


def _inputs(trained: Sequence[Measurement], tested: Sequence[Measurement], config: FitConfig) -> dict[str, Any]:
    """What a folder depends on, in values that JSON has."""
    return {
        **{f"set {data.plan.name}": data.inputs for data in trained},
        **{f"test set {data.plan.name}": data.inputs for data in tested},
        "recipe": config.recipe.digest,
        "reading": config.reading.identity,
        "precision": config.precision,
        "device": config.device,
        "measuring_batch": config.batch,
        "folds": config.folds if config.validated else None,
        "resamples": config.resamples,
        **asdict(config.training),
    }
