"""Training SPIPS heads on measured sets: what they learn, from which rows, how they stop, go on, and refuse."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from torchmetrics_fmiqa.benchmark.progress import SilentProgress
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.fitting.config import SpipsTraining
from torchmetrics_fmiqa.fitting.cross_validation import CrossValidation, check_sets, cross_validate, fit_head
from torchmetrics_fmiqa.fitting.dataset import Examples, MeasuredSet, epoch_batches, examples, ordered_pairs
from torchmetrics_fmiqa.fitting.heads import FittedHead, SpipsSpec
from torchmetrics_fmiqa.fitting.losses import choice_loss, opinion_loss, ranking_loss
from torchmetrics_fmiqa.fitting.splits import assign_folds, inner_rows
from torchmetrics_fmiqa.fitting.trainer import HeadTrainer
from torchmetrics_fmiqa.recipes import Recipe
from torchmetrics_fmiqa.spips_model.checkpoint import load_spips
from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe
from torchmetrics_fmiqa.statistics import two_afc

RECIPE = SpipsRecipe(Recipe("vit_tiny_patch16_224", weights="random:0", taps=[0, 1, 2, 3]))
CHANNELS = 8
QUICK = SpipsTraining(hidden=(8,), epochs=20, patience=8)


def spec(training: SpipsTraining) -> SpipsSpec:
    return SpipsSpec(RECIPE, training)


class Heard(SilentProgress):
    """Keeps what it is told, and pulls the plug after some texts."""

    def __init__(self, most: int = 10_000) -> None:
        self.most, self.texts = most, list[str]()

    def status(self, text: str) -> None:
        self.texts.append(text)
        if len(self.texts) == self.most:
            raise InterruptedError(text)


def measured(blur: np.ndarray, noise: np.ndarray, who: np.ndarray, rng: np.random.Generator) -> TapStatistics:
    """Low-level taps see the noise, semantic ones the blur, the maps their sum; all of them roughly."""
    count, taps = len(blur), len(RECIPE.taps)
    seen = np.where(np.arange(taps) < len(RECIPE.low_level), noise[:, None], blur[:, None])

    def roughly(*shape: int, by: float) -> np.ndarray:
        return np.exp(by * rng.normal(size=(count, *shape)))

    spread = seen[:, :, None] * np.array([1.0, 0.4, 2.0]) * roughly(taps, 3, by=0.1)
    own = (blur + noise)[:, None] * roughly(9, by=0.3) / 5
    reference = np.random.default_rng(99).normal(size=(1 + who.max(), CHANNELS))[who]
    parts = (spread, seen * roughly(taps, by=0.2), reference, own)
    return TapStatistics(*(torch.from_numpy(part).float() for part in parts), RECIPE.taps)


def damages(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    blur, noise = rng.exponential(size=(2, count))
    return blur, noise, rng


def severity(blur: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """How bad people find it, in [0, 1): the worse of the two counts. No single input says so."""
    worst = np.maximum(blur, noise)
    return worst / (1 + worst)


def names(prefix: str, numbers: np.ndarray) -> np.ndarray:
    return np.array([f"{prefix}{one:03}" for one in numbers])


def rated(count: int = 240, references: int = 12, seed: int = 0, better: bool = True, name: str = "rated", **kw: Any):
    """Opinions: a MOS of 1 ... 5, or a DMOS of 0 ... 100."""
    blur, noise, rng = damages(count, seed)
    who = np.arange(count) % references
    worse = severity(blur, noise) + 0.02 * rng.normal(size=count)
    said = 5 - 4 * worse if better else 100 * worse
    one = measured(blur, noise, who, rng)
    made = MeasuredSet(name, "opinion", (one,), said, names("r", who), names("i", np.arange(count)), better)
    return replace(made, **kw)


def chosen(count: int = 240, references: int = 12, seed: int = 0, name: str = "chosen") -> MeasuredSet:
    """Shares of people who found the second of two versions closer."""
    who = np.arange(count) % references
    versions, bad = [], []
    for version in (0, 1):
        blur, noise, rng = damages(count, seed + 100 * version)
        versions.append(measured(blur, noise, who, rng))
        bad.append(severity(blur, noise))
    share = 1 / (1 + np.exp(-12 * (bad[0] - bad[1])))
    return MeasuredSet(name, "choice", tuple(versions), share, names("r", who), names("i", np.arange(count)))


def ranked(references: int = 20, seed: int = 0, name: str = "ranked", levels: int = 4) -> MeasuredSet:
    """Three series a reference, of blur, noise or both; rows in no order, severities of different sizes."""
    rng = np.random.default_rng(seed)
    rows = [(who, kind, level) for who in range(references) for kind in range(3) for level in range(1, levels + 1)]
    who, kind, level = np.array(rows)[rng.permutation(len(rows))].T
    base = 0.2 * 2.0**level * rng.uniform(0.9, 1.1, size=len(level))
    blur, noise = np.where(kind == 1, 0.05, base), np.where(kind == 0, 0.05, base)
    one = measured(blur, noise, who, rng)
    series = np.array([f"r{w:03} {k}" for w, k in zip(who, kind, strict=True)])
    # Only the order within a series means something: each has its own scale.
    target = (10.0 ** (who % 3)) * level
    return MeasuredSet(name, "rank", (one,), target, names("r", who), names("i", np.arange(len(who))), series=series)


def agreement(found: CrossValidation, one: MeasuredSet) -> float:
    return float(stats.spearmanr(found.predictions[one.name].opinion, one.target).statistic)


def same(one: FittedHead, other: FittedHead) -> bool:
    """To the last bit."""
    a, b = one.head.state_dict(), other.head.state_dict()
    weights = a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    rest = (one.epoch, one.validation, one.head.fusion.scale) == (
        other.epoch,
        other.validation,
        other.head.fusion.scale,
    )
    return weights and rest


def broken(one: MeasuredSet, **parts: Callable[[torch.Tensor], torch.Tensor]) -> MeasuredSet:
    """A set with other measurements."""
    version = one.measured[0]
    changed = {part: change(getattr(version, part).clone()) for part, change in parts.items()}
    return replace(one, measured=(replace(version, **changed), *one.measured[1:]))


def put(value: float, *place: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(values: torch.Tensor) -> torch.Tensor:
        values[place] = value
        return values

    return change


# What is learned


@pytest.mark.parametrize("better", [True, False])
def test_opinions_of_unseen_references_are_predicted_in_their_own_units(better: bool) -> None:
    one = rated(better=better)
    found = cross_validate([one], spec(QUICK), 3)
    assert agreement(found, one) > 0.95
    assert np.abs(found.predictions["rated"].opinion - one.target).mean() < 0.1 * np.ptp(one.target)
    for fold, fitted in enumerate(found.fits):
        held, trained = found.predictions["rated"].fold == fold, one.target[found.predictions["rated"].fold != fold]
        score = fitted.head(one.rows(np.flatnonzero(held)).measured[0]).double()
        assert found.predictions["rated"].score[held] == pytest.approx(score.numpy())
        assert found.predictions["rated"].opinion[held] == pytest.approx(fitted.head.fusion.opinion(score).numpy())
        scale = fitted.head.fusion.scale
        ends = (trained.min(), trained.max()) if better else (trained.max(), trained.min())
        assert (scale.worst, scale.best, scale.higher_is_better) == (*ends, better)
        assert fitted.validation > 0.9
        assert not fitted.head.training
        assert not any(parameter.requires_grad for parameter in fitted.head.parameters())
    best_input = max(abs(stats.spearmanr(column, one.target).statistic) for column in one.measured[0].flat().T)
    assert agreement(found, one) > best_input + 0.05 > 0.8
    channels = torch.rand(1, CHANNELS)
    equal = TapStatistics(torch.zeros(1, 4, 3), torch.zeros(1, 4), channels, torch.zeros(1, 9), RECIPE.taps)
    assert (fitted.head(equal).item(), fitted.head.quality(fitted.head(equal)).item()) == (0, 100)


def test_ranks_alone_put_unseen_series_in_order() -> None:
    train, test = ranked(), ranked(references=30, seed=5)
    # One low-level tap is led astray: the head must learn to look elsewhere.
    train, test = (
        broken(one, spread=lambda values: values.index_copy(1, torch.tensor([0]), 3 / (1 + values[:, :1])))
        for one in (train, test)
    )
    fitted = fit_head([train], spec(QUICK))
    score = fitted.head(test.measured[0]).double().numpy()
    pairs = ordered_pairs(test.target, test.series)
    in_order = np.mean(score[pairs[:, 0]] > score[pairs[:, 1]])
    assert in_order > 0.97
    assert fitted.head.fusion.scale is None
    with pytest.raises(ValueError, match="not fitted to opinions"):
        fitted.head.quality(torch.zeros(1))


def test_choices_of_unseen_references_are_made_as_people_made_them() -> None:
    one = chosen()
    found = cross_validate([one], spec(QUICK), 3)
    ceiling = np.maximum(one.target, 1 - one.target).mean()
    assert found.predictions["chosen"].score.shape == (240, 2)
    assert found.predictions["chosen"].opinion is None
    assert two_afc(*found.predictions["chosen"].score.T, one.target) > ceiling - 0.02
    assert all(fitted.head.fusion.scale is None for fitted in found.fits)


def test_a_mixture_of_scales_and_directions_does_as_well_as_each_alone() -> None:
    mos, dmos = rated(160, 8), rated(160, 8, seed=1, better=False, name="other")
    found = cross_validate([mos, dmos], spec(QUICK), 2)
    for one in (mos, dmos):
        alone = cross_validate([one], spec(QUICK), 2)
        assert agreement(found, one) > agreement(alone, one) - 0.01 > 0.9
        # In the units and the direction of the set, though the head's own scale is another.
        assert np.abs(found.predictions[one.name].opinion - one.target).mean() < 0.1 * np.ptp(one.target)
    for fitted in found.fits:
        scale = fitted.head.fusion.scale
        assert (scale.worst, scale.best, scale.higher_is_better) == (0, 100, True)


@pytest.mark.parametrize(
    "options",
    [
        {"parts": ("semantic",)},
        {"parts": ("low_level", "conventional")},
        {"linear": True},
        {"gated": False},
    ],
    ids=str,
)
def test_ablations_train_what_they_say(options: dict) -> None:
    one = rated(120, 6)
    fitted = fit_head([one], spec(replace(QUICK, epochs=6, **options)))
    again = fit_head([one], spec(replace(QUICK, epochs=6)))
    head = fitted.head
    assert fitted.validation > 0.2
    assert head.parts == options.get("parts", again.head.parts)
    assert head.fusion.linear == options.get("linear", False)
    if head.gated:
        moved = not options.get("gated", True)
        assert bool((head.gate.weight == 0).all()) == moved
        assert bool((head.share(one.measured[0]) == 0.5).all()) == moved
    assert not same(fitted, again)


# Which rows


def test_nothing_of_a_held_out_fold_reaches_its_head() -> None:
    sets = [rated(120, 6), chosen(120, 6)]
    training = replace(QUICK, epochs=3)
    before = cross_validate(sets, spec(training), 3)
    changed = []
    for one in sets:
        held = torch.from_numpy(before.predictions[one.name].fold == 1)

        def otherwise(values: torch.Tensor, held: torch.Tensor = held) -> torch.Tensor:
            return torch.where(held.view(-1, *[1] * (values.ndim - 1)), 7 * values.flip(0), values)

        parts = dict.fromkeys(("spread", "summary", "reference", "of_images"), otherwise)
        target = np.where(held, one.target[::-1], one.target)
        changed.append(replace(broken(one, **parts), target=target))
    after = cross_validate(changed, spec(training), 3)
    assert same(before.fits[1], after.fits[1])
    assert not same(before.fits[0], after.fits[0])


def test_folds_hold_references_of_every_set_but_ranks() -> None:
    sets = [rated(120, 6), chosen(60, 5), ranked(4)]
    dealt = assign_folds(sets, 3, seed=0)
    assert set(dealt) == {"rated", "chosen"}
    for one in sets[:2]:
        assert set(dealt[one.name]) == {0, 1, 2}
        assert all(len(set(dealt[one.name][one.reference == ref])) == 1 for ref in one.reference)


def test_leaving_one_out_numbers_on_from_set_to_set() -> None:
    sets = [rated(24, 4), ranked(3), chosen(9, 3)]
    training = replace(QUICK, epochs=1)
    found = cross_validate(sets, spec(training), "leave-one-out")
    assert sorted(set(found.predictions["rated"].fold)) == [0, 1, 2, 3]
    assert sorted(set(found.predictions["chosen"].fold)) == [4, 5, 6]
    assert len(found.fits) == 7
    for name, kept in (("rated", "chosen"), ("chosen", "rated")):
        fold = int(found.predictions[name].fold[0])
        one, other = (next(part for part in sets if part.name == which) for which in (name, kept))
        rest = one.rows(np.flatnonzero(found.predictions[name].fold != fold))
        trained = [{name: rest, kept: other}.get(part.name, part) for part in sets]
        assert same(found.fits[fold], fit_head(trained, spec(training)))
    assert all(np.isfinite(own.score).all() for own in found.predictions.values())


def test_a_fifth_of_the_references_of_each_set_is_kept_to_stop_by() -> None:
    sets = [rated(240, 12), ranked(3), rated(30, 1, name="one")]
    inner = inner_rows(sets, seed=0)
    kept = [set(one.reference[rows]) for one, rows in zip(sets, inner, strict=True)]
    assert [len(refs) for refs in kept] == [3, 1, 0]
    for one, rows, refs in zip(sets, inner, kept, strict=True):
        assert refs.isdisjoint(one.reference[~rows])
    assert set(sets[0].reference[inner_rows(sets, seed=1)[0]]) != kept[0]


# Batches


def bare(kind: str, count: int, series: int, name: str = "") -> Examples:
    """Rows without measurements."""
    numbers = torch.arange(count) % series if kind == "rank" else None
    return Examples(name, kind, (), torch.arange(count).float(), numbers)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["opinion", "choice", "rank"]), st.integers(1, 300), st.integers(1, 40)),
        min_size=1,
        max_size=4,
    ),
    st.integers(2, 64),
    st.integers(0, 3),
)
def test_an_epoch_deals_every_row_once_in_batches_of_one_set(shapes: list, batch: int, seed: int) -> None:
    sets = [bare(*shape) for shape in shapes]
    generator = torch.Generator().manual_seed(seed)
    epochs = [epoch_batches(sets, batch, generator) for epoch in range(3)]
    assert len({len(epoch) for epoch in epochs}) == 1
    for epoch in epochs:
        for place, one in enumerate(sets):
            own = [rows for which, rows in epoch if which == place]
            assert sorted(torch.cat(own).tolist()) == list(range(len(one)))
            if one.kind == "rank":
                found = [set(one.series[rows].tolist()) for rows in own]
                assert sum(map(len, found)) == len(set().union(*found))  # no series in two batches
            else:
                assert len(set(map(len, own))) <= 2


def test_few_images_make_several_steps_and_epochs_differ() -> None:
    sets = [bare("opinion", 58, 1), bare("rank", 600, 120)]
    generator = torch.Generator().manual_seed(0)
    first, second = epoch_batches(sets, 64, generator), epoch_batches(sets, 64, generator)
    again, other = (epoch_batches(sets, 64, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert [sum(which == place for which, _ in first) for place in (0, 1)] == [7, 9]

    def flat(dealt: list) -> list:
        return [(which, rows.tolist()) for which, rows in dealt]

    assert flat(first) == flat(again)
    assert flat(first) not in (flat(second), flat(other))
    assert {which for which, _ in first[:7]} == {0, 1}  # sets alternate


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20))
def test_pairs_are_of_one_series_and_the_worse_comes_first(rows: list) -> None:
    severities, series = np.array(rows, dtype=np.float64).T
    every = range(len(rows))
    expected = {(i, j) for i in every for j in every if series[i] == series[j] and severities[i] > severities[j]}
    found = [tuple(pair) for pair in ordered_pairs(severities, names("s", series.astype(int))).tolist()]
    assert len(found) == len(expected)
    assert set(found) == expected


def test_opinions_are_turned_and_brought_to_one_scale() -> None:
    one, other = rated(better=True), rated(better=False)
    worse, also = examples(one).target, examples(other).target
    assert worse.numpy() == pytest.approx(also.numpy(), abs=1e-5)
    assert stats.pearsonr(worse, other.target).statistic == pytest.approx(1)
    assert (worse.mean().item(), worse.std(correction=0).item()) == pytest.approx((0, 1), abs=1e-5)


def test_each_kind_has_its_loss_and_its_agreement() -> None:
    sets = [rated(60, 6), chosen(60, 6), ranked(6)]
    parts = [examples(one) for one in sets]
    head = fit_head(sets, spec(replace(QUICK, epochs=1))).head
    trainer = HeadTrainer(head, parts, parts, QUICK)
    with torch.no_grad():
        trainer.log_sharpness.fill_(0.7)
    rows = torch.arange(0, 60, 2)
    scores = [[head(version.rows(rows)) for version in one.measured] for one in sets]
    series = torch.from_numpy(np.unique(sets[2].series, return_inverse=True)[1])[rows]
    expected = [
        opinion_loss(scores[0][0], -torch.from_numpy(sets[0].target)[rows].float()),
        choice_loss(*(math.exp(0.7) * score for score in scores[1]), torch.from_numpy(sets[1].target)[rows]),
        ranking_loss(scores[2][0], torch.from_numpy(sets[2].target)[rows], series),
    ]
    for part, loss in zip(parts, expected, strict=True):
        assert trainer.loss(part.rows(rows)).item() == pytest.approx(loss.item(), rel=1e-4)

    all_scores = [[head(version).numpy() for version in one.measured] for one in sets]
    right = [
        np.sign(all_scores[2][0][i] - all_scores[2][0][j]) / 2 + 0.5
        for i in range(len(sets[2]))
        for j in range(len(sets[2]))
        if sets[2].series[i] == sets[2].series[j] and sets[2].target[i] > sets[2].target[j]
    ]
    by_hand = [
        -stats.spearmanr(all_scores[0][0], sets[0].target).statistic,
        two_afc(*all_scores[1], sets[1].target),
        np.mean(right),
    ]
    assert trainer.validate() == pytest.approx([*by_hand, np.mean(by_hand)], abs=1e-4)


def test_decay_is_of_the_network_and_stronger_of_the_gate() -> None:
    sets = [examples(rated(60, 6))]
    head = fit_head([rated(60, 6)], spec(replace(QUICK, epochs=1))).head.requires_grad_(True)
    trainer = HeadTrainer(head, sets, sets, replace(QUICK, weight_decay=0.02, gate_decay=7))
    groups = trainer.optimizer.param_groups
    decay = {id(one): group["weight_decay"] for group in groups for one in group["params"]}
    assert decay[id(trainer.log_sharpness)] == 0
    named = {name: decay[id(one)] for name, one in head.named_parameters()}
    assert {name for name, value in named.items() if value == 7} == {"gate.weight", "gate.bias"}
    assert set(named.values()) == {7, 0.02}

    strong, weak = (fit_head([rated()], spec(replace(QUICK, epochs=6, gate_decay=one))) for one in (50.0, 0.0))
    assert strong.head.gate.weight.norm() < 0.5 * weak.head.gate.weight.norm()


# Stopping, going on


def test_training_stops_where_nothing_gets_better_and_takes_the_best() -> None:
    heard = Heard()
    fitted = fit_head([rated()], spec(replace(QUICK, epochs=60, patience=3)), progress=heard)
    seen = heard.texts
    assert len(seen) == fitted.epoch + 3 < 60
    assert seen[0].startswith("epoch 1 of at most 60: ")
    values = [float(text.split(": ")[1].split(",")[0]) for text in seen]
    assert values.index(max(values)) + 1 == fitted.epoch
    assert fitted.validation == pytest.approx(max(values), abs=1e-4)
    # The weights too are those of that epoch: less epochs would have given the same head.
    assert same(fitted, fit_head([rated()], spec(replace(QUICK, epochs=fitted.epoch, patience=3))))


def test_an_interrupted_training_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    sets = [rated(120, 6), chosen(120, 6), ranked(6)]
    training = replace(QUICK, epochs=12, patience=3)
    heard = Heard()
    whole = fit_head(sets, spec(training), tmp_path / "whole", heard)
    seen = heard.texts
    assert same(whole, fit_head(sets, spec(training)))  # a folder changes nothing
    assert not same(whole, fit_head(sets, spec(replace(training, seed=1))))
    last = len(seen)  # interrupted then, nothing is left to train
    assert whole.epoch > 1
    assert last > 4
    for k in (1, 3, last - 1, last):
        folder = tmp_path / str(k)
        with pytest.raises(InterruptedError):
            fit_head(sets, spec(training), folder, Heard(k))
        assert (folder / "last.ckpt").is_file()
        assert not (folder / "head.safetensors").exists()
        rest = Heard()
        assert same(whole, fit_head(sets, spec(training), folder, rest)), k
        assert rest.texts == seen[k:]


def test_an_epoch_that_was_cut_short_is_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = [rated(120, 6)]
    training = replace(QUICK, epochs=5)
    whole = fit_head(sets, spec(training))
    original, epochs = HeadTrainer.loss, list[int]()

    def failing(self: HeadTrainer, batch: Examples) -> torch.Tensor:
        epochs.append(self.epoch)
        if len(epochs) == 20:
            raise InterruptedError
        return original(self, batch)

    monkeypatch.setattr(HeadTrainer, "loss", failing)
    with pytest.raises(InterruptedError):
        fit_head(sets, spec(training), tmp_path)
    assert 0 < epochs.count(epochs[-1]) < epochs.count(0)  # in the middle of an epoch
    monkeypatch.undo()
    assert same(whole, fit_head(sets, spec(training), tmp_path))


def test_finished_folds_are_read_back_and_an_unfinished_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [rated(120, 6), ranked(3)]
    training = replace(QUICK, epochs=3)
    heard = Heard()
    whole = cross_validate(sets, spec(training), 3, None, heard)
    seen = heard.texts
    assert len(seen) == 9
    assert seen[4].startswith("training the head of fold 2 of 3: epoch 2 of at most 3: ")
    with pytest.raises(InterruptedError):
        cross_validate(sets, spec(training), 3, tmp_path, Heard(5))
    rest = Heard()
    found = cross_validate(sets, spec(training), 3, tmp_path, rest)
    assert rest.texts == seen[5:]
    monkeypatch.setattr(HeadTrainer, "run", None)
    back = cross_validate(sets, spec(training), 3, tmp_path)
    for other in (found, back):
        assert all(same(one, two) for one, two in zip(whole.fits, other.fits, strict=True))
        assert (other.predictions["rated"].opinion == whole.predictions["rated"].opinion).all()
        assert (other.predictions["rated"].score == whole.predictions["rated"].score).all()
    assert load_spips(tmp_path / "fold-001" / "head.safetensors", RECIPE).made_for == RECIPE.digest


def test_a_folder_made_from_anything_else_is_refused(tmp_path: Path) -> None:
    one, training = rated(120, 6), replace(QUICK, epochs=2)
    fit_head([one], spec(training), tmp_path)
    others = {
        "seed": ([one], replace(training, seed=1)),
        "sets": ([replace(one, target=one.target + 1)], training),
        "sets differ": ([broken(one, reference=put(0.1, 0, 0))], training),
        "epochs, hidden": ([one], replace(training, epochs=3, hidden=(4,))),
    }
    for named, (sets, options) in others.items():
        with pytest.raises(ValueError, match=f"made from other inputs .*{named}"):
            fit_head(sets, spec(options), tmp_path)
    with pytest.raises(InterruptedError):
        fit_head([one], spec(training), tmp_path / "new", Heard(1))
    (tmp_path / "new" / "last.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"last\.ckpt cannot be read, delete it"):
        fit_head([one], spec(training), tmp_path / "new")


def test_the_log_holds_each_epoch_also_of_a_training_that_went_on(tmp_path: Path) -> None:
    sets = [rated(120, 6), ranked(3)]
    training = replace(QUICK, epochs=4)
    with pytest.raises(InterruptedError):
        fit_head(sets, spec(training), tmp_path, Heard(2))
    fitted = fit_head(sets, spec(training), tmp_path)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    losses = ["loss/rated", "loss/ranked"]
    assert list(rows[0]) == ["epoch", *losses, "validation/rated", "validation/ranked", "validation"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    values = [float(row["validation"]) for row in rows]
    assert max(values) == fitted.validation == values[fitted.epoch - 1]
    assert values == [(float(row["validation/rated"]) + float(row["validation/ranked"])) / 2 for row in rows]
    assert all(float(row[name]) > 0 for row in rows for name in losses)


# One seed, one head


def test_the_caller_s_state_neither_matters_nor_changes() -> None:
    one, training = rated(60, 6), replace(QUICK, epochs=2)
    plain = fit_head([one], spec(training))
    with torch.inference_mode():
        inferred = broken(one, **{part: lambda values: values + 0 for part in ("spread", "summary", "reference")})
        assert inferred.measured[0].spread.is_inference()
        assert same(plain, fit_head([inferred], spec(training)))
    assert same(plain, fit_head([inferred], spec(training)))
    with torch.no_grad():
        assert same(plain, fit_head([one], spec(training)))
        assert not torch.is_grad_enabled()
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            found = fit_head([one], spec(training))
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.get_num_threads() == 2
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
    assert same(plain, found)
    assert torch.equal(torch.rand(4), expected)


def test_nothing_is_printed_warned_or_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_head([rated(60, 6)], spec(replace(QUICK, epochs=2)))
        assert not list(tmp_path.iterdir())
        fit_head([rated(60, 6)], spec(replace(QUICK, epochs=2)), tmp_path / "run")
    assert capfd.readouterr() == ("", "")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("inputs.json", "log.csv", "last.ckpt", "head.safetensors", "fitted.json")
    }


def test_lightning_is_not_imported() -> None:
    code = "import sys, torchmetrics_fmiqa.fitting.fit_images as _; print('lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ("semantics",)}, "`parts`"),
        ({"parts": ()}, "`parts`"),
        ({"hidden": (8, 0)}, r"`hidden`.*\(8, 0\)"),
        ({"epochs": 0}, "`epochs` must be at least 1, got 0"),
        ({"patience": 0}, "`patience`"),
        ({"batch": 1}, "`batch` must be at least 2, got 1"),
        ({"learning_rate": 0}, "`learning_rate` must be above 0"),
        ({"learning_rate": math.nan}, "`learning_rate`"),
        ({"weight_decay": -0.1}, "`weight_decay`.*-0.1"),
        ({"gate_decay": -1.0}, "`gate_decay`"),
        ({"seed": -1}, "`seed`"),
    ],
)
def test_trainings_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpipsTraining(**options)


def other_taps() -> MeasuredSet:
    one = rated()
    return replace(one, measured=(replace(one.measured[0], labels=("a", "b", "c", "d")),))


def constant_tap() -> MeasuredSet:
    return broken(rated(), spread=put(0.3, slice(None), slice(0, 2)))


def few_opinions() -> MeasuredSet:
    one = rated()
    return replace(one, target=np.round(one.target / 3))


def crossed_series() -> MeasuredSet:
    one = ranked()
    return replace(one, series=np.array([name.split()[1] for name in one.series]))


@pytest.mark.parametrize(
    ("sets", "folds", "message"),
    [
        ([], 2, "no sets"),
        ([rated(), chosen(name="rated")], 2, "two sets are called 'rated'"),
        ([other_taps()], 2, "rated: measured at the taps a, b, c, d .*wanted blocks.0"),
        ([rated(), broken(rated(name="two"), reference=lambda v: v[:, :5])], 2, "two: .* with 5 channels .* with 8"),
        ([broken(rated(), of_images=lambda values: values[:, :4])], 2, "4 numbers of the images; wanted .* 9"),
        ([broken(rated(), spread=put(math.nan, 7, 2, 1))], 2, "rated: `spread` of 'i007' is nan"),
        ([broken(rated(), summary=put(math.inf, 5, 0))], 2, "`summary` of 'i005' is inf"),
        ([broken(rated(), reference=put(math.nan, 3, 0))], 2, "`reference` of 'i003' is nan"),
        ([broken(chosen(), of_images=put(-math.inf, 3, 0))], 2, "chosen: `of_images` of 'i003' is -inf"),
        ([crossed_series()], None, "the series '0' has two references"),
        ([broken(rated(), of_images=put(0.2, slice(None), 4))], 2, r"'ssim_spread' is constant \(0.2\)"),
        ([broken(rated(), spread=put(0, slice(None), 1))], 2, "all distances at the tap 'blocks.1' are 0"),
        ([constant_tap()], 2, "'low_level_mean' is constant"),
        ([rated(references=1)], 2, "rated: all images have one reference, 'r000'"),
        ([rated(references=1)], "leave-one-out", "rated: all images have one reference"),
        ([rated(references=1)], None, "at least 2 references to train on"),
        ([rated(), chosen(references=4)], 5, "chosen: there are 4 references for 5 folds"),
        ([rated()], 1, "`folds` must be at least 2, got 1"),
        ([rated()], "leave-two-out", "`folds` must be a number or 'leave-one-out', got 'leave-two-out'"),
        ([ranked()], 2, "nothing to hold out"),
        ([rated(24, 12)], 12, "test fold 0 with fewer than 3 have different opinions"),
        ([rated(12, 6)], "leave-one-out", "rated: of the 2 images to stop early by fewer than 3"),
        ([few_opinions()], None, "rated: of the .* images to stop early by fewer than 3 have different opinions"),
        ([rated(40, 2)], "leave-one-out", "without fold 0: .*at least 2 references"),
        ([replace(ranked(), target=np.ones(240))], None, "ranked: .* no two of one series differ in severity"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_training(
    sets: list[MeasuredSet], folds: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HeadTrainer, "run", None)
    with pytest.raises(ValueError, match=message):
        check_sets(sets, spec(QUICK), folds)
    train = fit_head if folds is None else partial(cross_validate, folds=folds)
    with pytest.raises(ValueError, match=message):
        train(sets, spec(QUICK), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_input_that_is_constant_without_one_fold_alone_is_named() -> None:
    one = rated()
    held = torch.from_numpy(assign_folds([one], 3, QUICK.seed)["rated"] == 2)
    changed = broken(one, of_images=lambda values: values * held[:, None])
    check_sets([changed], spec(QUICK))
    check_sets([changed], spec(replace(QUICK, parts=("semantic", "low_level"))), 3)
    with pytest.raises(ValueError, match="without fold 2: the input 'psnr_mean' is constant"):
        check_sets([changed], spec(QUICK), 3)


def test_a_training_that_runs_away_says_so() -> None:
    with pytest.raises(ValueError, match=r"training failed.*learning rate of 1e\+30"):
        fit_head([rated(60, 6)], spec(replace(QUICK, epochs=3, learning_rate=1e30)))
