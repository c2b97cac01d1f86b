"""Training a fusion head on a table of numbers, and what it is worth on references that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from torchmetrics_fmiqa.fitting.calibration import calibrate
from torchmetrics_fmiqa.fitting.config import SpipsTraining
from torchmetrics_fmiqa.fitting.dataset import Examples
from torchmetrics_fmiqa.fitting.splits import INNER_FOLDS, grouped_folds
from torchmetrics_fmiqa.fitting.trainer import apart
from torchmetrics_fmiqa.spips_model.fusion_head import FusionHead
from torchmetrics_fmiqa.statistics import srcc
from torchmetrics_fmiqa.statistics.inputs import FEWEST, Floats, Integers, groups, opinions, table


@dataclass(frozen=True)
class Training:
    """How a head is trained. The defaults were chosen by inner validation on TID2013, never on held-out references.

    Args:
        hidden: widths of the hidden layers.
        linear: no hidden layer, for the ablation.
        anchored: all inputs are 0 for equal images, and so must the score be; see :class:`FusionHead`.
        epochs: at most.
        patience: epochs without a better SRCC on the inner validation, after which training stops.
        batch: images in a step; fewer if an epoch would have less than 8 steps, but at least 8.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        seed: of the initial weights, the batches and the inner validation.

    Raises:
        ValueError: for values below 1 (epochs, patience), 2 (batch) or 0, or a learning rate of 0.
    """

    hidden: tuple[int, ...] = (32, 16)
    linear: bool = False
    anchored: bool = False
    epochs: int = 80
    patience: int = 20
    batch: int = 64
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("patience", 1), ("batch", 2), ("weight_decay", 0), ("seed", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"`{name}` must be at least {least}, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"`learning_rate` must be above 0, got {self.learning_rate}")


@dataclass(frozen=True)
class Fitted:
    """A head that was trained.

    Args:
        head: in eval mode, on the CPU, calibrated.
        epoch: the epoch that it was taken from, counted from 1.
        validation_srcc: its SRCC on the inner validation.
    """

    head: FusionHead
    epoch: int
    validation_srcc: float


@dataclass(frozen=True)
class CrossValidation:
    """What heads say of images whose references they have not seen.

    Args:
        fold: ``(n,)`` the fold of each image.
        prediction: ``(n,)`` its opinion as predicted by the head of the other folds.
        fits: the heads, by fold.
        srcc: by fold, SRCC of predictions with opinions, positive for a head that agrees with people.
    """

    fold: Integers
    prediction: Floats
    fits: tuple[Fitted, ...]
    srcc: tuple[float, ...]


def fit_head(
    inputs: npt.ArrayLike,
    opinion: npt.ArrayLike,
    reference: npt.ArrayLike,
    names: Sequence[str],
    higher_is_better: bool,
    training: Training | None = None,
    made_for: str = "",
) -> Fitted:
    """Train a head to predict opinions.

    It minimises 1 - PLCC + a pairwise ranking loss (:func:`~torchmetrics_fmiqa.fitting.losses.opinion_loss`) over
    batches, by AdamW, on standardised inputs and opinions. A fifth of the references (one of less than ten) is kept for
    early stopping: the weights of the epoch with the highest SRCC there are taken. Both are our choice.

    One seed gives one head on one machine.

    Args:
        inputs: ``(n, F)``.
        opinion: ``(n,)``.
        reference: ``(n,)`` ids of the references.
        names: of the inputs.
        higher_is_better: direction of the opinions.
        training: how, see :class:`Training`.
        made_for: what computes the inputs, see :class:`FusionHead`.

    Raises:
        ValueError: for inputs that are not finite or constant, opinions that are not finite or constant, fewer than two
            references, and an inner validation in which fewer than 3 opinions differ.

    >>> rng = np.random.default_rng(0)
    >>> mos = rng.uniform(1, 5, 120)
    >>> inputs = np.stack([5 - mos + 0.5 * rng.normal(size=120), mos + 0.5 * rng.normal(size=120)], 1)
    >>> fitted = fit_head(inputs, mos, np.arange(120) // 12, ["distance", "similarity"], True, Training(epochs=10))
    >>> score = fitted.head(torch.from_numpy(inputs).float())
    >>> srcc(fitted.head.opinion(score).numpy(), mos).value > 0.9
    True
    """
    training = training or Training()
    x, y, ids = _checked(inputs, opinion, reference, names)
    inner = _inner(ids, y, training.seed)
    # The head's score is higher for worse images, whatever the opinions are.
    worse = (y - y.mean()) / y.std() * (-1 if higher_is_better else 1)
    with apart():
        head = FusionHead(names, training.hidden, training.linear, training.anchored, training.seed, made_for)
        features = torch.from_numpy(x).float()
        head.fit_inputs(features)
        epoch, found = _train(head, features, torch.from_numpy(worse).float(), torch.from_numpy(inner), training)
        head.eval().requires_grad_(False)
        calibrate(head, head(features).double().numpy(), y, higher_is_better)
    return Fitted(head, epoch, found)


def cross_validate(
    inputs: npt.ArrayLike,
    opinion: npt.ArrayLike,
    reference: npt.ArrayLike,
    fold: npt.ArrayLike,
    names: Sequence[str],
    higher_is_better: bool,
    training: Training | None = None,
    tell: Callable[[str], None] | None = None,
) -> CrossValidation:
    """Train a head for each fold on the references of the others, and let it predict the opinions of that fold.

    All that is fitted, from the inputs' sizes to the curve of quality, is fitted on the other folds alone.

    Args:
        inputs: ``(n, F)``.
        opinion: ``(n,)``.
        reference: ``(n,)`` ids of the references.
        fold: ``(n,)`` the fold of each image, from 0, such as
            :func:`~torchmetrics_fmiqa.fitting.splits.grouped_folds` deals.
        names: of the inputs.
        higher_is_better: direction of the opinions.
        training: how, see :class:`Training`.
        tell: is told what is being done.

    Raises:
        ValueError: as :func:`check_folds`, before anything is trained.
    """
    training = training or Training()
    check_folds(inputs, opinion, reference, fold, names, training)
    x, y, ids = _checked(inputs, opinion, reference, names)
    folds = np.asarray(fold, dtype=np.int64)
    prediction = np.empty(len(y))
    fits = []
    for one in np.unique(folds):
        if tell is not None:
            tell(f"training the head of fold {one + 1} of {folds.max() + 1}")
        held = folds == one
        fitted = fit_head(x[~held], y[~held], ids[~held], names, higher_is_better, training)
        score = fitted.head(torch.from_numpy(x[held]).float()).double()
        prediction[held] = fitted.head.opinion(score).numpy()
        fits.append(fitted)
    found = tuple(srcc(prediction[folds == one], y[folds == one]).value for one in np.unique(folds))
    return CrossValidation(folds, prediction, tuple(fits), found)


def check_folds(
    inputs: npt.ArrayLike,
    opinion: npt.ArrayLike,
    reference: npt.ArrayLike,
    fold: npt.ArrayLike,
    names: Sequence[str],
    training: Training,
) -> None:
    """Check that every fold can be trained without and tested with, before any work is done.

    Args:
        inputs: ``(n, F)``.
        opinion: ``(n,)``.
        reference: ``(n,)`` ids of the references.
        fold: ``(n,)`` the fold of each image.
        names: of the inputs.
        training: how.

    Raises:
        ValueError: for inputs that are not finite, inputs that are constant in the training data of a fold, opinions
            that are not finite or constant, a reference in two folds, a fold without which there are fewer than 2
            references, and for folds or inner validations in which fewer than 3 opinions differ.

    >>> check_folds([[1.0], [2.0], [3.0]], [1, 2, 3], ["a", "a", "b"], [0, 1, 1], ["psnr"], Training())
    Traceback (most recent call last):
    ...
    ValueError: reference 'a' is in folds 0 and 1: images of one reference belong in one fold
    """
    x, y, ids = _checked(inputs, opinion, reference, names)
    FusionHead(names).fit_inputs(torch.from_numpy(x).float())
    folds = np.asarray(fold)
    if folds.shape != y.shape:
        raise ValueError(f"`fold` must hold {len(y)} folds, one an image, got shape {folds.shape}")
    for name in np.unique(ids):
        own = np.unique(folds[ids == name])
        if len(own) > 1:
            label = np.asarray(reference)[ids == name][0]
            raise ValueError(
                f"reference {str(label)!r} is in folds {own[0]} and {own[1]}: "
                "images of one reference belong in one fold"
            )
    for one in np.unique(folds):
        held = folds == one
        if len(np.unique(y[held])) < FEWEST:
            raise ValueError(
                f"fold {one} has {held.sum()} images, of which fewer than {FEWEST} have different opinions: "
                "take fewer folds"
            )
    for one in np.unique(folds):
        held = folds == one
        try:
            FusionHead(names).fit_inputs(torch.from_numpy(x[~held]).float())
            _inner(ids[~held], y[~held], training.seed)
        except ValueError as error:
            raise ValueError(f"without fold {one}: {error}") from None


def _train(
    head: FusionHead, inputs: torch.Tensor, worse: torch.Tensor, inner: torch.Tensor, training: Training
) -> tuple[int, float]:
    """Train a head in place, and leave it with the weights of its best epoch; that epoch, and its SRCC."""
    from torchmetrics_fmiqa.fitting.trainer import HeadModule, run

    names = ("epochs", "patience", "batch", "learning_rate", "weight_decay", "seed")
    options = SpipsTraining(**{name: getattr(training, name) for name in names})
    learned, kept = (Examples("table", "opinion", (inputs[rows],), worse[rows]) for rows in (~inner, inner))
    return run(HeadModule(head, [learned], [kept], options), None, None)


def _checked(
    inputs: npt.ArrayLike, opinion: npt.ArrayLike, reference: npt.ArrayLike, names: Sequence[str]
) -> tuple[Floats, Floats, Integers]:
    y = opinions(opinion)
    _, x = table(inputs, len(y))
    if x.shape[1] != len(names):
        raise ValueError(f"`inputs` must be (n, {len(names)}), a column for each name, got {x.shape}")
    for name, one in zip(names, x.T, strict=True):
        bad = np.flatnonzero(~np.isfinite(one))
        if len(bad):
            raise ValueError(f"the input {name!r} is {one[bad[0]]} in row {bad[0]}: leave out the image or the input")
    return x, y, groups(reference, "reference", len(y))[1]


def _inner(reference: Integers, opinion: Floats, seed: int) -> npt.NDArray[np.bool_]:
    """The images for early stopping: ``(n,)``, those of a fifth of the references."""
    count = len(np.unique(reference))
    if count < 2:
        raise ValueError("a head needs at least 2 references to train on: one to learn from, one to stop early by")
    inner = grouped_folds(reference, min(INNER_FOLDS, count), seed) == 0
    for part, what in ((inner, "stop early by"), (~inner, "learn from")):
        if len(np.unique(opinion[part])) < FEWEST:
            raise ValueError(f"of the images to {what} fewer than {FEWEST} have different opinions: give more images")
    return np.asarray(inner)
