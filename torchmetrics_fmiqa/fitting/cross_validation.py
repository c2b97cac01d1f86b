"""Train a head on data sets, and tell what heads are worth on references that they have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from torchmetrics_fmiqa.benchmark.progress import Progress, SilentProgress
from torchmetrics_fmiqa.data.run_folder import open_run_folder
from torchmetrics_fmiqa.fitting.calibration import calibrate
from torchmetrics_fmiqa.fitting.dataset import MeasuredSet, examples, plain
from torchmetrics_fmiqa.fitting.heads import FittedHead, Head, HeadSpec
from torchmetrics_fmiqa.fitting.splits import Folds, assign_folds, check_rows, inner_rows
from torchmetrics_fmiqa.fitting.trainer import HeadTrainer, isolated
from torchmetrics_fmiqa.one_writer import one_writer
from torchmetrics_fmiqa.spips_model.model import fusion_of
from torchmetrics_fmiqa.statistics.inputs import Floats, Integers

_SILENT = SilentProgress()


@dataclass(frozen=True)
class Predictions:
    """What heads predict for a set."""

    score: Floats  #: ``(n,)`` distances, lower is better; of choices ``(n, 2)``.
    #: ``(n,)`` opinions in the set's own units and direction; ``None`` of choices, and where the head was not trained
    #: on the set.
    opinion: Floats | None = None
    fold: Integers | None = None  #: ``(n,)`` the fold of each row, from 0; ``None`` for a set that is tested on alone.


@dataclass(frozen=True)
class CrossValidation:
    """What heads are worth on references that they have not seen."""

    predictions: dict[str, Predictions]  #: by name of the set; not of ranks, which only train.
    fits: tuple[FittedHead, ...]  #: the heads, by fold.


def fit_head(
    sets: Sequence[MeasuredSet], spec: HeadSpec, folder: Path | None = None, progress: Progress = _SILENT
) -> FittedHead:
    """Train a head on one set or a mixture.

    Each batch is of one set, and its loss follows from what is known there: opinions (1 - PLCC + a pairwise ranking
    loss), choices (cross-entropy with a learned sharpness) or ranks (a pairwise ranking loss within series). So sets on
    different scales, in different directions and of different kinds can be mixed. AdamW; a fifth of each set's
    references (one of less than ten) is kept for early stopping: the weights of the epoch with the highest mean
    agreement there are taken. All of this is our choice; the paper says nothing of it.

    With opinions the head gets a curve of quality. Of several such sets each is mapped to 0 ... 100 by its own worst
    and best opinion first, and the head's own opinion is on that scale.

    One seed gives one head on one machine, also if the training was interrupted and went on.

    Args:
        sets: the inputs of the head, and what is known; references are told apart by set and name.
        spec: which head, and how it is trained.
        folder: for ``log.csv``, ``last.ckpt`` and the head. The same training goes on from there, or is read back if
            it had ended. ``None`` writes nothing.
        progress: is told each epoch.

    Raises:
        ValueError: as :func:`check_sets`, before anything is trained; and for a folder made from other inputs.

    >>> from torchmetrics_fmiqa.fitting.config import HeadTraining
    >>> from torchmetrics_fmiqa.fitting.heads import TableSpec
    >>> rng = np.random.default_rng(0)
    >>> mos = rng.uniform(1, 5, 120)
    >>> columns = np.stack([5 - mos + 0.5 * rng.normal(size=120), mos + 0.5 * rng.normal(size=120)], 1)
    >>> photo, image = np.arange(120) // 12, np.arange(120).astype(str)
    >>> rated = MeasuredSet("rated", "opinion", (torch.from_numpy(columns),), mos, photo, image)
    >>> fitted = fit_head([rated], TableSpec(("distance", "similarity"), HeadTraining(epochs=10)))
    >>> fitted.validation > 0.9
    True
    """
    check_sets(sets, spec)
    return _fit(sets, spec, folder, progress)


def cross_validate(
    sets: Sequence[MeasuredSet], spec: HeadSpec, folds: Folds, folder: Path | None = None, progress: Progress = _SILENT
) -> CrossValidation:
    """Train a head for each fold on the references of the others, and let it score those of that fold.

    References of opinions and choices are dealt into folds, see
    :func:`~torchmetrics_fmiqa.fitting.splits.assign_folds`; ranks always train. All that is fitted, from the sizes
    of inputs to the curve of quality, is fitted on the training rows alone.

    Args:
        sets: as of :func:`fit_head`.
        spec: likewise; the seed of its training deals the folds too.
        folds: how many, or ``"leave-one-out"``: one for each reference of each set.
        folder: has a folder for each fold, as of :func:`fit_head`: folds that had ended are read back.
        progress: is told each fold and epoch.

    Raises:
        ValueError: as :func:`fit_head`.
    """
    check_sets(sets, spec, folds)
    fold_of = assign_folds(sets, folds, spec.training.seed)
    predictions = {
        data.name: Predictions(
            np.empty((len(data), 2) if data.kind == "choice" else len(data)),
            np.empty(len(data)) if data.kind == "opinion" else None,
            fold_of[data.name],
        )
        for data in sets
        if data.name in fold_of
    }
    count, fits = _count(fold_of), []
    for fold in range(count):
        training_sets = _without(sets, fold_of, fold)
        of_fold = _FoldProgress(progress, f"training the head of fold {fold + 1} of {count}")
        fitted = _fit(training_sets, spec, folder and folder / f"fold-{fold:03}", of_fold)
        for data, trained in zip(sets, training_sets, strict=True):
            held_out = np.flatnonzero(fold_of.get(data.name, np.full(len(data), -1)) == fold)
            if len(held_out):
                own, scores = predictions[data.name], head_scores(fitted.head, data.rows(held_out))
                own.score[held_out] = scores
                if own.opinion is not None:
                    own.opinion[held_out] = _predicted_opinions(fitted.head, scores, trained)
        fits.append(fitted)
    return CrossValidation(predictions, tuple(fits))


def check_sets(sets: Sequence[MeasuredSet], spec: HeadSpec, folds: Folds | None = None) -> None:
    """Check that heads can be trained and tested, before any work is done. Without folds nothing is held out.

    Raises:
        ValueError: for no sets, sets of one name, of different taps or backbones, and inputs that are not finite;
            for a series of two references; if there is nothing to hold out, for a set to be held out with one reference
            or with fewer than folds; for folds (but with ``"leave-one-out"``), inner validations and what is left to
            learn from, with fewer than 3 different opinions, or no two ranks to compare; for less than two references
            to train on; and for inputs that are constant in the training data, naming them.
    """
    if not sets:
        raise ValueError("there are no sets to train on")
    for place, data in enumerate(sets):
        if data.name in [other.name for other in sets[:place]]:
            raise ValueError(f"two sets are called {data.name!r}: give one of them another name")
        spec.check(data, sets[0])
        _check_series(data)
    fold_of = {} if folds is None else assign_folds(sets, folds, spec.training.seed)
    for data in sets:
        if isinstance(folds, int) and data.name in fold_of:
            for fold in range(folds):
                check_rows(data, fold_of[data.name] == fold, f"test fold {fold} with")
    _check_training(sets, spec)
    for fold in range(_count(fold_of)):
        training_sets = _without(sets, fold_of, fold)
        try:
            _check_training(training_sets, spec)
        except ValueError as error:
            raise ValueError(f"without fold {fold}: {error}") from None


def head_scores(head: Head, data: MeasuredSet) -> Floats:
    """The scores of a head: ``(n,)``, of choices ``(n, 2)``."""
    columns = [head(plain(version)).double().numpy() for version in data.measured]
    return np.stack(columns, 1) if data.kind == "choice" else np.asarray(columns[0])


class _FoldProgress(SilentProgress):
    """Says of which fold the head is that is being trained."""

    def __init__(self, progress: Progress, fold: str) -> None:
        self.progress, self.fold = progress, fold

    def status(self, text: str) -> None:
        self.progress.status(f"{self.fold}: {text}")


def _check_series(data: MeasuredSet) -> None:
    if data.series is not None:
        pairs = np.unique(np.stack([data.series.astype(str), data.reference.astype(str)]), axis=1)
        twice = [str(name) for name in np.unique(pairs[0]) if (pairs[0] == name).sum() > 1]
        if twice:
            raise ValueError(f"{data.name}: the series {twice[0]!r} has two references: each version belongs to one")


def _check_training(sets: Sequence[MeasuredSet], spec: HeadSpec) -> None:
    """Check what one head is trained on."""
    inner_rows(sets, spec.training.seed)
    with isolated():
        spec.build(sets)


def _fit(sets: Sequence[MeasuredSet], spec: HeadSpec, folder: Path | None, progress: Progress) -> FittedHead:
    if folder is None:
        return _train(sets, spec, None, progress)
    contents = {data.name: data.digest for data in sets}
    with one_writer(folder):
        open_run_folder(folder, {"recipe": spec.made_for, "sets": contents, **asdict(spec.training)})
        fitted = FittedHead.read(folder, spec)
        if fitted is None:
            fitted = _train(sets, spec, folder, progress)
            fitted.write(folder, spec)
    return fitted


def _train(sets: Sequence[MeasuredSet], spec: HeadSpec, folder: Path | None, progress: Progress) -> FittedHead:
    with isolated():
        head = spec.build(sets)
        inner = map(torch.from_numpy, inner_rows(sets, spec.training.seed))
        split = [(examples(data), rows) for data, rows in zip(sets, inner, strict=True)]
        learned = [data.rows(torch.nonzero(~rows)[:, 0]) for data, rows in split]
        kept = [data.rows(torch.nonzero(rows)[:, 0]) for data, rows in split if rows.any()]
        epoch, validation = HeadTrainer(head, learned, kept, spec.training).run(folder, progress)
        head.eval().requires_grad_(False)
        _calibrate(head, [data for data in sets if data.kind == "opinion"])
    return FittedHead(head, epoch, validation)


def _calibrate(head: Head, rated: Sequence[MeasuredSet]) -> None:
    """Fit the curve of quality: to one set's opinions as they are, or to those of several on a scale of 0 to 100."""
    scores = [head_scores(head, data) for data in rated]
    if len(rated) == 1:
        calibrate(fusion_of(head), scores[0], rated[0].target, rated[0].higher_is_better)
    elif rated:
        shares = []
        for data in rated:
            worst, best = data.worst_and_best
            shares.append((data.target - worst) / (best - worst) * 100)
        calibrate(fusion_of(head), np.concatenate(scores), np.concatenate(shares), higher_is_better=True)


def _predicted_opinions(head: Head, score: Floats, trained: MeasuredSet) -> Floats:
    """Scores in the units and the direction of a set's opinions, by those that the head was trained on."""
    worst, best = trained.worst_and_best
    quality: Floats = fusion_of(head).quality(torch.from_numpy(score)).numpy()
    return worst + (best - worst) * quality / 100


def _without(sets: Sequence[MeasuredSet], fold_of: dict[str, Integers], fold: int) -> list[MeasuredSet]:
    """The rows to train on."""
    return [data.rows(np.flatnonzero(fold_of[data.name] != fold)) if data.name in fold_of else data for data in sets]


def _count(fold_of: dict[str, Integers]) -> int:
    return 1 + max((int(folds.max()) for folds in fold_of.values()), default=-1)
