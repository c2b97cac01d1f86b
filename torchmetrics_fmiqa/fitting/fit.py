"""Training SPIPS heads on data sets measured once, and what they are worth on references that they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from torchmetrics_fmiqa.fitting.calibration import calibrate
from torchmetrics_fmiqa.fitting.config import SpipsTraining
from torchmetrics_fmiqa.fitting.dataset import MeasuredSet, examples, plain
from torchmetrics_fmiqa.fitting.run_folder import claim, made_from, read_fitted, write_fitted
from torchmetrics_fmiqa.fitting.splits import Folds, check_rows, deal_folds, inner_rows
from torchmetrics_fmiqa.fitting.trainer import apart
from torchmetrics_fmiqa.one_writer import one_writer
from torchmetrics_fmiqa.spips_model.model import SpipsHead
from torchmetrics_fmiqa.spips_model.quality_maps import CONVENTIONAL
from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe
from torchmetrics_fmiqa.statistics.inputs import Floats, Integers


@dataclass(frozen=True)
class FittedSpips:
    """A head that was trained.

    Args:
        head: in eval mode, frozen, on the CPU; calibrated if any of the sets has opinions.
        epoch: the epoch that it was taken from, counted from 1.
        validation: its agreement on the inner validation, the mean over sets: SRCC of opinions, 2AFC score of choices,
            share of pairs of one series in the right order.
    """

    head: SpipsHead
    epoch: int
    validation: float


@dataclass(frozen=True)
class SpipsValidation:
    """What heads say of pairs whose references they have not seen, by name of the set; not of ranks, which only train.

    Args:
        fold: ``(n,)`` the fold of each row, from 0.
        prediction: ``(n,)`` opinions in the set's own units and direction; of choices ``(n, 2)`` distances.
        score: ``(n,)`` or ``(n, 2)`` the same heads' distances, lower is better.
        fits: the heads, by fold.
    """

    fold: dict[str, Integers]
    prediction: dict[str, Floats]
    score: dict[str, Floats]
    fits: tuple[FittedSpips, ...]


def fit_spips(
    sets: Sequence[MeasuredSet],
    recipe: SpipsRecipe,
    training: SpipsTraining | None = None,
    folder: Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> FittedSpips:
    """Train a SPIPS head on one set or a mixture.

    Each batch is of one set, and its loss follows from what is known there: opinions (1 - PLCC + a pairwise ranking
    loss), choices (cross-entropy with a learned sharpness) or ranks (a pairwise ranking loss within series). So sets on
    different scales, in different directions and of different kinds can be mixed. AdamW; a fifth of each set's
    references (one of less than ten) is kept for early stopping: the weights of the epoch with the highest mean
    agreement there are taken. All of this is our choice; the paper says nothing of it.

    With opinions the head gets a curve of quality. Of several such sets each is mapped to 0 ... 100 by its own worst
    and best opinion first, and the head's own opinion is on that scale.

    One seed gives one head on one machine, also if the training was interrupted and went on.

    Args:
        sets: measured by the recipe; references are told apart by set and name.
        recipe: what measured them.
        training: how, see :class:`SpipsTraining`.
        folder: for logs (CSV, and TensorBoard where it is installed), ``last.ckpt``, and the head. The same training
            goes on from there, or is read back if it had ended. ``None`` writes nothing.
        tell: is told each epoch.

    Raises:
        ValueError: as :func:`check_spips`, before anything is trained; and for a folder made from other inputs.

    >>> from torchmetrics_fmiqa.comparator.tap_statistics import Profiled
    >>> from torchmetrics_fmiqa.recipes import Recipe
    >>> recipe = SpipsRecipe(Recipe("vit_tiny_patch16_224", weights="random:0", taps=[0, 1]))
    >>> rng = np.random.default_rng(0)
    >>> level = rng.uniform(size=120)
    >>> noise = torch.from_numpy(1 + 0.2 * rng.normal(size=(120, 2 * 4 + 9))).float().abs()
    >>> flat = torch.cat([torch.from_numpy(level).float()[:, None] * noise, torch.rand(120, 192)], 1)
    >>> measured = Profiled.from_flat(flat, recipe.taps, of_images=9)
    >>> names = np.array([f"photo {one % 10}" for one in range(120)])
    >>> rated = MeasuredSet("rated", "opinion", (measured,), 5 - 4 * level, names, np.arange(120).astype(str))
    >>> fitted = fit_spips([rated], recipe, SpipsTraining(epochs=5))
    >>> fitted.validation > 0.9, fitted.head.quality(torch.zeros(1))
    (True, tensor([100.]))
    """
    training = training or SpipsTraining()
    check_spips(sets, None, training, recipe)
    return _fit(sets, recipe, training, folder, tell)


def cross_validate_spips(
    sets: Sequence[MeasuredSet],
    recipe: SpipsRecipe,
    folds: Folds,
    training: SpipsTraining | None = None,
    folder: Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> SpipsValidation:
    """Train a head for each fold on the references of the others, and let it score those of that fold.

    References of opinions and choices are dealt into folds, see
    :func:`~torchmetrics_fmiqa.fitting.splits.deal_folds`; ranks always train. All that is fitted, from the sizes
    of taps to the curve of quality, is fitted on the training rows alone.

    Args:
        sets: as of :func:`fit_spips`.
        recipe: likewise.
        folds: how many, or ``"leave-one-out"``: one for each reference of each set.
        training: how; its seed deals the folds too.
        folder: one within for each fold, as of :func:`fit_spips`: folds that had ended are read back.
        tell: is told what is being done.

    Raises:
        ValueError: as :func:`check_spips`, before anything is trained; and for a folder made from other inputs.
    """
    training = training or SpipsTraining()
    check_spips(sets, folds, training, recipe)
    dealt = deal_folds(sets, folds, training.seed)
    width = {one.name: (len(one), 2) if one.kind == "choice" else (len(one),) for one in sets}
    score = {name: np.empty(width[name]) for name in dealt}
    prediction = {name: np.empty(width[name]) for name in dealt}
    count, fits = _count(dealt), []
    for fold in range(count):
        told = None if tell is None else _prefixed(tell, f"training the head of fold {fold + 1} of {count}")
        trained = _without(sets, dealt, fold)
        fitted = _fit(trained, recipe, training, folder and folder / f"fold-{fold:03}", told)
        for one, own in zip(sets, trained, strict=True):
            held = np.flatnonzero(dealt.get(one.name, np.full(len(one), -1)) == fold)
            if len(held):
                found = _scores(fitted.head, one.rows(held))
                score[one.name][held] = found
                prediction[one.name][held] = _opinions(fitted.head, found, own) if one.kind == "opinion" else found
        fits.append(fitted)
    return SpipsValidation(dealt, prediction, score, tuple(fits))


def check_spips(
    sets: Sequence[MeasuredSet],
    folds: Folds | None = None,
    training: SpipsTraining | None = None,
    recipe: SpipsRecipe | None = None,
) -> None:
    """Check that heads can be trained and tested, before any work is done.

    Args:
        sets: what they are trained on.
        folds: as of :func:`cross_validate_spips`; ``None`` holds nothing out.
        training: how.
        recipe: what measured the sets; ``None`` leaves out what follows from it: whether the taps are its own, and
            whether an input is constant in the training data of a fold.

    Raises:
        ValueError: for no sets, sets of one name, of different taps or backbones, and measurements that are not finite;
            for a series of two references; if there is nothing to hold out, for a set to be held out with one reference
            or with fewer than folds; for folds (but with ``"leave-one-out"``), inner validations and what is left to
            learn from, with fewer than 3 different opinions, or no two ranks to compare; for less than two references
            to train on; and for inputs that are constant in the training data, naming them.

    >>> check_spips([])
    Traceback (most recent call last):
    ...
    ValueError: there are no sets to train on
    """
    training = training or SpipsTraining()
    if not sets:
        raise ValueError("there are no sets to train on")
    for place, one in enumerate(sets):
        if one.name in [other.name for other in sets[:place]]:
            raise ValueError(f"two sets are called {one.name!r}: give one of them another name")
        _check_measured(one, sets[0], recipe)
    dealt = {} if folds is None else deal_folds(sets, folds, training.seed)
    for one in sets:
        if isinstance(folds, int) and one.name in dealt:
            for fold in range(folds):
                check_rows(one, dealt[one.name] == fold, f"test fold {fold} with")
    _check_training(sets, recipe, training)
    for fold in range(_count(dealt)):
        trained = _without(sets, dealt, fold)
        try:
            _check_training(trained, recipe, training)
        except ValueError as error:
            raise ValueError(f"without fold {fold}: {error}") from None


def _check_measured(one: MeasuredSet, first: MeasuredSet, recipe: SpipsRecipe | None) -> None:
    labels = first.measured[0].labels if recipe is None else recipe.taps
    sizes = first.measured[0].reference.shape[1], len(CONVENTIONAL)
    for measured in one.measured:
        found = measured.reference.shape[1], measured.of_images.shape[1]
        if measured.labels != labels or found != sizes:
            raise ValueError(
                f"{one.name}: measured at the taps {', '.join(measured.labels)} with {found[0]} channels at the last "
                f"and {found[1]} numbers of the images; wanted {', '.join(labels)} with {sizes[0]} and {sizes[1]}: "
                "measure all sets by one recipe"
            )
        for what in ("spread", "summary", "reference", "of_images"):
            bad = (~getattr(measured, what).isfinite()).nonzero()
            if len(bad):
                value = getattr(measured, what)[tuple(bad[0])].item()
                image = str(one.image[int(bad[0, 0])])
                raise ValueError(f"{one.name}: `{what}` of {image!r} is {value}: leave out that pair")
    if one.series is not None:
        pairs = np.unique(np.stack([one.series.astype(str), one.reference.astype(str)]), axis=1)
        twice = [str(name) for name in np.unique(pairs[0]) if (pairs[0] == name).sum() > 1]
        if twice:
            raise ValueError(f"{one.name}: the series {twice[0]!r} has two references: each version belongs to one")


def _check_training(sets: Sequence[MeasuredSet], recipe: SpipsRecipe | None, training: SpipsTraining) -> None:
    """Check what one head is trained on."""
    inner_rows(sets, training.seed)
    if recipe is not None:
        with apart():
            _new_head(sets, recipe, training)


def _fit(
    sets: Sequence[MeasuredSet],
    recipe: SpipsRecipe,
    training: SpipsTraining,
    folder: Path | None,
    tell: Callable[[str], None] | None,
) -> FittedSpips:
    if folder is None:
        return _fit_anew(sets, recipe, training, None, tell)
    with one_writer(folder):
        claim(folder, made_from(sets, recipe, training))
        ended = read_fitted(folder, recipe)
        if ended is not None:
            return FittedSpips(*ended)
        found = _fit_anew(sets, recipe, training, folder, tell)
        write_fitted(folder, recipe, found.head, found.epoch, found.validation)
    return found


def _fit_anew(
    sets: Sequence[MeasuredSet],
    recipe: SpipsRecipe,
    training: SpipsTraining,
    folder: Path | None,
    tell: Callable[[str], None] | None,
) -> FittedSpips:
    from torchmetrics_fmiqa.fitting.trainer import HeadModule, run

    with apart():
        head = _new_head(sets, recipe, training)
        if head.gated:
            head.gate.requires_grad_(training.gated)
        split = list(zip(map(examples, sets), map(torch.from_numpy, inner_rows(sets, training.seed)), strict=True))
        learned = [one.rows(torch.nonzero(~inner)[:, 0]) for one, inner in split]
        kept = [one.rows(torch.nonzero(inner)[:, 0]) for one, inner in split if inner.any()]
        epoch, validation = run(HeadModule(head, learned, kept, training), folder, tell)
        head.eval().requires_grad_(False)
        _calibrate(head, [one for one in sets if one.kind == "opinion"])
    return FittedSpips(head, epoch, validation)


def _new_head(sets: Sequence[MeasuredSet], recipe: SpipsRecipe, training: SpipsTraining) -> SpipsHead:
    """A head that knows the sizes of its inputs, and nothing else."""
    measured = [plain(version) for one in sets for version in one.measured]
    head = SpipsHead(
        recipe.low_level,  # type: ignore[arg-type]  # a recipe's streams are names once it is made
        recipe.semantic,  # type: ignore[arg-type]
        measured[0].reference.shape[1],
        training.parts,
        training.hidden,
        training.linear,
        training.seed,
        recipe.digest,
    )
    head.fit_inputs(measured[0].joined(measured[1:], range(sum(len(one.spread) for one in measured))))
    return head


def _calibrate(head: SpipsHead, rated: Sequence[MeasuredSet]) -> None:
    """Fit the curve of quality: to one set's opinions as they are, or to those of several on a scale of 0 to 100."""
    scores = [_scores(head, one) for one in rated]
    if len(rated) == 1:
        calibrate(head.fusion, scores[0], rated[0].target, rated[0].higher_is_better)
    elif rated:
        shares = []
        for one in rated:
            worst, best = _ends(one)
            shares.append((one.target - worst) / (best - worst) * 100)
        calibrate(head.fusion, np.concatenate(scores), np.concatenate(shares), higher_is_better=True)


def _opinions(head: SpipsHead, score: Floats, trained: MeasuredSet) -> Floats:
    """Scores in the units and the direction of a set's opinions, by those that the head was trained on."""
    worst, best = _ends(trained)
    quality: Floats = head.quality(torch.from_numpy(score)).numpy()
    return worst + (best - worst) * quality / 100


def _ends(one: MeasuredSet) -> tuple[float, float]:
    """The worst and the best opinion."""
    low, high = float(one.target.min()), float(one.target.max())
    return (low, high) if one.higher_is_better else (high, low)


def _scores(head: SpipsHead, one: MeasuredSet) -> Floats:
    """``(n,)``, of choices ``(n, 2)``."""
    columns = [head(plain(version)).double().numpy() for version in one.measured]
    return np.stack(columns, 1) if one.kind == "choice" else columns[0]


def _without(sets: Sequence[MeasuredSet], dealt: dict[str, Integers], fold: int) -> list[MeasuredSet]:
    """The rows to train on."""
    return [one.rows(np.flatnonzero(dealt[one.name] != fold)) if one.name in dealt else one for one in sets]


def _count(dealt: dict[str, npt.NDArray[np.int64]]) -> int:
    return 1 + max((int(fold.max()) for fold in dealt.values()), default=-1)


def _prefixed(tell: Callable[[str], None], what: str) -> Callable[[str], None]:
    return lambda text: tell(f"{what}: {text}")
