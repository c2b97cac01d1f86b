"""What `fmiqa fit` does with images between its arguments and its folder: measure, train, compare, write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from torchmetrics_fmiqa.benchmark.scoring.run_folder import open_run_folder
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading
from torchmetrics_fmiqa.comparator import Precision
from torchmetrics_fmiqa.data.tables import write_table
from torchmetrics_fmiqa.fitting.compare import AGREEMENT, Compared, Told, agreement_table, choices_table, compare_set
from torchmetrics_fmiqa.fitting.config import SpipsTraining
from torchmetrics_fmiqa.fitting.fit import FittedSpips, SpipsValidation, check_spips, cross_validate_spips, fit_spips
from torchmetrics_fmiqa.fitting.measure import Measured, Measurement, SpipsPanel, check_apart
from torchmetrics_fmiqa.fitting.measure_plan import SetPlan
from torchmetrics_fmiqa.fitting.report import ImageFindings, write_images_report
from torchmetrics_fmiqa.fitting.splits import Folds
from torchmetrics_fmiqa.one_writer import one_writer
from torchmetrics_fmiqa.safe_write import write_text
from torchmetrics_fmiqa.spips_model.checkpoint import save_spips
from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe
from torchmetrics_fmiqa.statistics.inputs import opinions

if TYPE_CHECKING:
    from torchmetrics_fmiqa.benchmark.progress import Progress

_PREDICTIONS = ("set", "ref", "dist", "fold", "opinion", "prediction", "score")


@dataclass(frozen=True)
class AskedImages:
    """What to fit.

    Args:
        trained: the sets to train on, and to test on by cross-validation; of graded photographs only the former.
        tested: the sets to test the head of all others on.
        recipe: what to measure with.
        reading: how images are read.
        precision: of the backbone.
        device: where to measure.
        batch: pairs between two saves of what is measured.
        folds: of references.
        training: how heads are trained; its seed is that of the folds and the bootstrap too.
        resamples: of the bootstrap over references.
        cache: folder of what is measured; ``None`` for ``measured`` in the folder of results.
    """

    trained: Sequence[SetPlan]
    tested: Sequence[SetPlan]
    recipe: SpipsRecipe
    reading: Reading = field(default_factory=Reading)
    precision: Precision = "float32"
    device: str = "cpu"
    batch: int = 8
    folds: Folds = 5
    training: SpipsTraining = field(default_factory=SpipsTraining)
    resamples: int = 1000
    cache: Path | None = None

    @property
    def validated(self) -> bool:
        """Whether there is anything to hold out: ranks are only trained on."""
        return any(one.kind != "rank" for one in self.trained)


def fit_images(asked: AskedImages, out: Path, command: str, progress: Progress) -> ImageFindings:
    """Measure data sets, train on them, and write the folder. An interrupted run goes on.

    Args:
        asked: what to fit.
        out: the folder.
        command: what the report says it was made with.
        progress: shows what is being done.

    Returns:
        What was found.

    Raises:
        ValueError: for sets that cannot be trained on or tested with, and for a folder made from other inputs, all
            before anything is measured; and for measurements that are not finite.
    """
    panel = SpipsPanel(asked.recipe, asked.precision)
    cache = out / "measured" if asked.cache is None else asked.cache

    def measurements(plans: Sequence[SetPlan]) -> list[Measurement]:
        return [Measurement(plan, panel, asked.reading, cache, asked.device, asked.batch) for plan in plans]

    trained, tested = measurements(asked.trained), measurements(asked.tested)
    _check(trained, tested, asked)
    with one_writer(out):
        open_run_folder(out, _inputs(trained, tested, asked))
        sets = [_measured(one, progress) for one in trained]
        others = [_measured(one, progress) for one in tested]
        learned, validation = [one.set for one in sets], None
        if asked.validated:
            folder = out / "training" / "folds"
            validation = cross_validate_spips(
                learned, asked.recipe, asked.folds, asked.training, folder, progress.status
            )
        final = fit_spips(learned, asked.recipe, asked.training, out / "training" / "final", progress.status)
        progress.status("comparing with every single input")
        found = _compared(sets, others, validation, final, asked)
        _write_tables(out, found, final)
        save_spips(final.head, out / "head.safetensors", asked.recipe)
        findings = ImageFindings(
            command, asked.recipe, asked.training, asked.folds, sets, others, found, validation, final
        )
        write_text(out / "report.md", write_images_report(findings))
        return findings


def _check(trained: Sequence[Measurement], tested: Sequence[Measurement], asked: AskedImages) -> None:
    """Check all that can be known before anything is measured."""
    check_spips([one.stand_in() for one in trained], asked.folds if asked.validated else None, asked.training)
    for one in tested:
        if one.plan.kind == "rank":
            raise ValueError(f"{one.plan.name} has neither opinions nor choices to test with")
        if one.plan.kind == "opinion":
            try:
                opinions([row.target for row in one.plan.rows])
            except ValueError as error:
                raise ValueError(f"{one.plan.name}: {error}") from None
            if len(one.references) < 2:
                raise ValueError(f"{one.plan.name}: all images have one reference: intervals are drawn from several")
    check_apart([*trained, *tested])


def _inputs(trained: Sequence[Measurement], tested: Sequence[Measurement], asked: AskedImages) -> dict[str, Any]:
    """What a folder depends on, as JSON has it."""
    settings = {
        **{f"set {one.plan.name}": one.inputs for one in trained},
        **{f"test set {one.plan.name}": one.inputs for one in tested},
        "recipe": asked.recipe.digest,
        "reading": asked.reading.identity,
        "precision": asked.precision,
        "device": asked.device,
        "measuring_batch": asked.batch,
        "folds": asked.folds if asked.validated else None,
        "resamples": asked.resamples,
        **asdict(asked.training),
    }
    found: dict[str, Any] = json.loads(json.dumps(settings))
    return found


def _measured(one: Measurement, progress: Progress) -> Measured:
    for _ in progress.pairs(one, len(one)):
        pass
    return one.result()


def _compared(
    sets: Sequence[Measured],
    others: Sequence[Measured],
    validation: SpipsValidation | None,
    final: FittedSpips,
    asked: AskedImages,
) -> list[Compared]:
    """Sets that were held out by the heads of their folds, others by the final head."""
    pairs = []
    for one in sets:
        if validation is not None and one.set.kind != "rank":
            name = one.set.name
            prediction = validation.prediction[name] if one.set.kind == "opinion" else None
            pairs.append((one, Told(validation.score[name], prediction, validation.fold[name])))
    for one in others:
        columns = [final.head(version).double().numpy() for version in one.set.measured]
        pairs.append((one, Told(np.stack(columns, 1) if one.set.kind == "choice" else columns[0])))
    seed = asked.training.seed
    return [compare_set(one, told, final.head, asked.resamples, seed) for one, told in pairs]


def _write_tables(out: Path, found: Sequence[Compared], final: FittedSpips) -> None:
    predictions = [row for one in found for row in _predictions(one, final)]
    write_table(out / "predictions.csv", predictions, _PREDICTIONS)
    write_table(out / "agreement.csv", agreement_table(found), AGREEMENT)
    choices = choices_table(found)
    if choices:
        write_table(out / "choices.csv", choices, list(choices[0]))


def _predictions(one: Compared, final: FittedSpips) -> list[dict[str, Any]]:
    """What was said of each image; of a choice in two rows, a version each, with the share of people who chose it."""
    own, told = one.measured.set, one.told
    fold = ["test"] * len(own) if told.fold is None else told.fold.tolist()
    common = (own.reference.tolist(), own.image.tolist(), fold, own.target.tolist())
    if own.kind == "choice":
        second = one.measured.second.tolist()
        rows = [
            (ref, image, number, share, "", score)
            for ref, *images, number, judge, scores in zip(
                common[0], common[1], second, *common[2:], told.score.tolist(), strict=True
            )
            for image, share, score in zip(images, (1 - judge, judge), scores, strict=True)
        ]
    else:
        rows = list(zip(*common, _said(one, final), told.score.tolist(), strict=True))
    return [dict(zip(_PREDICTIONS, (own.name, *row), strict=True)) for row in rows]


def _said(one: Compared, final: FittedSpips) -> Sequence[Any]:
    """Predicted opinions; of a set that is tested on alone the quality, where the head has one."""
    if one.told.prediction is not None:
        return list(one.told.prediction.tolist())
    if final.head.fusion.scale is None:
        return [""] * len(one.told.score)
    return list(final.head.quality(torch.from_numpy(one.told.score)).tolist())
