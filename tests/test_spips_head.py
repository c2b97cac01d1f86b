"""The parts of a fused score: folds, objectives, the head, its curve of quality, its file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy import stats

from torchmetrics_fmiqa.fitting.calibration import calibrate
from torchmetrics_fmiqa.fitting.losses import choice_loss, opinion_loss, plcc_loss, ranking_loss
from torchmetrics_fmiqa.fitting.splits import grouped_folds
from torchmetrics_fmiqa.spips_model.checkpoint import load_head, save_head
from torchmetrics_fmiqa.spips_model.fusion_head import FusionHead


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    """Positive and skewed, as distances are."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).exp()


def calibrated(anchored: bool = False) -> FusionHead:
    head = FusionHead(["near", "far", "psnr"], anchored=anchored, made_for="recipe 1")
    inputs = numbers(80, 3)
    head.fit_inputs(inputs)
    head.requires_grad_(False)
    score = head(inputs).double().numpy()
    opinion = 5 - 4 * stats.rankdata(score) / 80 + 0.1 * np.random.default_rng(0).normal(size=80)
    calibrate(head, score, opinion, higher_is_better=True)
    return head.eval()


# Folds


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=20), seed=st.integers(0, 99), data=st.data())
def test_folds_share_no_group_and_are_balanced(sizes: list[int], seed: int, data: st.DataObject) -> None:
    folds = data.draw(st.integers(2, len(sizes)))
    group = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    fold = grouped_folds(group, folds, seed)
    assert all(len(set(fold[group == one])) == 1 for one in range(len(sizes)))
    filled = np.bincount(fold, minlength=folds)
    assert len(filled) == folds
    assert filled.min() > 0
    assert filled.max() - filled.min() <= max(sizes)


def test_seeds_deal_otherwise_and_again_alike() -> None:
    group = np.repeat(np.arange(25), 4)
    dealt = {tuple(grouped_folds(group, 5, seed)) for seed in range(5)}
    assert len(dealt) == 5
    assert tuple(grouped_folds(group, 5, 0)) in dealt
    assert set(np.bincount(grouped_folds(group, 5, 0))) == {20}


def test_as_many_folds_as_groups_is_leave_one_out() -> None:
    group = np.repeat(["b", "c", "a"], 2)
    assert grouped_folds(group, "leave-one-out").tolist() == [1, 1, 2, 2, 0, 0]
    fold = grouped_folds(group, 3)
    assert len(set(zip(fold, group, strict=True))) == 3


def test_folds_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="one reference, 'a'"):
        grouped_folds(["a", "a"], 2)
    with pytest.raises(ValueError, match="2 references for 3 folds"):
        grouped_folds(["a", "b"], 3)
    with pytest.raises(ValueError, match="at least 2, got 1"):
        grouped_folds(["a", "b"], 1)
    with pytest.raises(ValueError, match="one reference"):
        grouped_folds([3, 3], "leave-one-out")


# Objectives


def test_plcc_loss_is_scipys() -> None:
    preds, target = numbers(50), numbers(50, seed=1)
    expected = 1 - stats.pearsonr(preds.double(), target.double()).statistic
    assert plcc_loss(preds, target).item() == pytest.approx(expected, abs=1e-6)
    assert plcc_loss(1e-9 * preds - 3e-9, target).item() == pytest.approx(expected, abs=1e-4)


def test_ranking_loss_is_the_mean_over_pairs_of_a_group() -> None:
    preds, target = numbers(12), numbers(12, seed=1).round(decimals=0)
    group = torch.arange(12) % 3
    for own in (None, group):
        costs = []
        for i in range(12):
            for j in range(i):
                if target[i] != target[j] and (own is None or own[i] == own[j]):
                    ahead = (preds[i] - preds[j]).item() * math.copysign(1, (target[i] - target[j]).item())
                    costs.append(math.log1p(math.exp(-ahead)))
        assert 0 < len(costs) < 66
        assert ranking_loss(preds, target, own).item() == pytest.approx(np.mean(costs), rel=1e-5)
    total = plcc_loss(preds, target) + ranking_loss(preds, target)
    assert torch.equal(opinion_loss(preds, target), total)


def test_choice_loss_is_the_cross_entropy() -> None:
    first, second, share = numbers(9), numbers(9, seed=1), torch.linspace(0, 1, 9)
    chance = 1 / (1 + np.exp(-(first - second).double().numpy()))
    h = share.double().numpy()
    expected = -(h * np.log(chance) + (1 - h) * np.log(1 - chance)).mean()
    assert choice_loss(first, second, share).item() == pytest.approx(expected, rel=1e-5)
    # The second is closer, and everybody says so.
    assert choice_loss(torch.ones(1), torch.zeros(1), torch.ones(1)) < choice_loss(
        torch.zeros(1), torch.ones(1), torch.ones(1)
    )


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("constant", ["preds", "target", "both"])
def test_constant_batches_have_finite_values_and_gradients(count: int, constant: str) -> None:
    # 0.1 is no float32: its mean over a batch is rounded, and must not be taken for a relation.
    preds = torch.full((count,), 0.1) if constant != "target" else numbers(count)
    target = torch.full((count,), 0.1) if constant != "preds" else numbers(count, seed=1)
    preds.requires_grad_()
    for loss in (plcc_loss(preds, target), ranking_loss(preds, target)):
        (gradient,) = torch.autograd.grad(loss, preds)
        assert loss.isfinite()
        assert gradient.isfinite().all()
        assert gradient.abs().max() <= 10
    assert plcc_loss(preds, target).item() == 1


def test_gradients_of_the_objectives() -> None:
    preds, target = numbers(6).double().requires_grad_(), numbers(6, seed=1).double()
    assert torch.autograd.gradcheck(lambda x: opinion_loss(x, target), preds)
    assert torch.autograd.gradcheck(lambda x: choice_loss(x, target, target / target.max()), preds)


def test_columns_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        plcc_loss(numbers(3), numbers(2))
    with pytest.raises(ValueError, match="`group`"):
        ranking_loss(numbers(3), numbers(3), torch.zeros(2))
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        ranking_loss(numbers(2, 2), numbers(2, 2))
    with pytest.raises(ValueError, match="`share`"):
        choice_loss(numbers(3), numbers(3), numbers(4))


# The head


def test_inputs_are_compressed_and_standardised() -> None:
    inputs = numbers(201, 2) * torch.tensor([1e-4, 300.0])
    head = FusionHead(["small", "large"], linear=True)
    head.fit_inputs(inputs)
    x = inputs.double().numpy()
    squeezed = np.arcsinh(30 * x / np.median(np.abs(x), axis=0))
    z = (squeezed - squeezed.mean(0)) / squeezed.std(0, ddof=1)
    layer = head.network[0]
    expected = z @ layer.weight.detach().double().numpy()[0] + layer.bias.item()
    assert head(inputs).detach().numpy() == pytest.approx(expected, abs=1e-4)


def test_units_of_inputs_do_not_matter() -> None:
    inputs = numbers(60, 2)
    one, other = FusionHead(["a", "b"]), FusionHead(["a", "b"])
    one.fit_inputs(inputs)
    other.fit_inputs(inputs * torch.tensor([1000.0, 0.01]))
    scaled = other(inputs * torch.tensor([1000.0, 0.01]))
    assert torch.allclose(one(inputs), scaled, atol=1e-4)


def test_constant_and_broken_inputs_are_named() -> None:
    inputs = numbers(20, 2)
    inputs[:, 1] = 0.3
    with pytest.raises(ValueError, match=r"'psnr' is constant \(0.3\)"):
        FusionHead(["ssim", "psnr"]).fit_inputs(inputs)
    inputs[:, 1] = 0
    with pytest.raises(ValueError, match="'psnr' is constant"):
        FusionHead(["ssim", "psnr"]).fit_inputs(inputs)
    inputs[7, 1] = torch.inf
    with pytest.raises(ValueError, match="'psnr' is inf in row 7"):
        FusionHead(["ssim", "psnr"]).fit_inputs(inputs)


def test_mostly_zero_inputs_are_no_constant() -> None:
    inputs = numbers(20, 1) * (torch.arange(20) > 15)[:, None]
    head = FusionHead(["rare"])
    head.fit_inputs(inputs)
    assert head(inputs).isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": []}, "`names`"),
        ({"names": "psnr"}, "`names`"),
        ({"names": ["a", "b", "a"]}, "'a' is named twice"),
        ({"names": ["a"], "hidden": (4, 0)}, r"\(4, 0\)"),
    ],
)
def test_heads_that_cannot_be(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FusionHead(**arguments)


def test_inputs_bind_by_name() -> None:
    head = FusionHead(["a", "b"])
    inputs = numbers(5, 2)
    gathered = head.gather({"c": inputs[:, 0], "b": inputs[:, 1], "a": inputs[:, 0]})
    assert torch.equal(gathered, inputs)
    with pytest.raises(ValueError, match="'b' is missing"):
        head.gather({"a": inputs[:, 0]})
    with pytest.raises(ValueError, match=r"\(N, 2\).*a, b.*\(5, 3\)"):
        head(numbers(5, 3))


def test_a_seed_is_one_head_and_leaves_random_numbers_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one, again, other = FusionHead(["a"], seed=0), FusionHead(["a"], seed=0), FusionHead(["a"], seed=1)
    assert torch.equal(torch.rand(3), expected)
    weights = [head.network[0].weight for head in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_autocast_does_not_round_scores() -> None:
    head, inputs = calibrated(), numbers(10, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(inputs), head(inputs.double()))
    assert head(inputs).dtype == torch.float32


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), size=st.floats(1e-6, 1e6))
def test_anchored_scores_are_distances(seed: int, size: float) -> None:
    head = FusionHead(["a", "b", "c"], (8,), anchored=True, seed=seed)
    head.fit_inputs(numbers(30, 3, seed=seed))
    inputs = numbers(20, 3, seed=seed + 1) * size
    inputs[0] = 0
    inputs.requires_grad_()
    distance = head(inputs)
    assert distance[0].item() == 0
    assert (distance[1:] > 0).all()
    (gradient,) = torch.autograd.grad(distance.sum(), inputs)
    assert gradient.isfinite().all()


# Quality


@pytest.mark.parametrize("anchored", [False, True])
def test_quality_falls_with_the_score_from_100_to_0(anchored: bool) -> None:
    head = calibrated(anchored)
    low, high = (0.0, 1e4) if anchored else (-1e4, 1e4)
    quality = head.quality(torch.linspace(low, high, 20_001, dtype=torch.float64))
    assert quality[0].item() == 100
    assert quality[-1].item() == pytest.approx(0, abs=1e-6)
    assert (quality.diff() <= 0).all()
    score = torch.tensor([0.0], requires_grad=True)
    head.quality(score).backward()
    assert score.grad.isfinite().all()
    assert score.grad < 0


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("better", [False, True])
def test_calibration_finds_the_curve_that_made_the_opinions(anchored: bool, better: bool) -> None:
    score = np.linspace(0, 9, 400)
    curve = stats.logistic.sf(score, 3, 0.8) / (stats.logistic.sf(0, 3, 0.8) if anchored else 1)
    head = FusionHead(["a"], anchored=anchored)
    opinion = 1 + 4 * (curve if better else 1 - curve)
    opinion[0], opinion[-1] = (5, 1) if better else (1, 5)  # the ends of the scale were given too
    calibrate(head, score, opinion, better)
    assert head.curve.tolist() == pytest.approx([3, 0.8], rel=0.02)
    assert head.opinion(torch.from_numpy(score)).numpy()[1:-1] == pytest.approx(opinion[1:-1], abs=0.05)
    assert head.scale.mean == pytest.approx(opinion.mean())
    assert head.scale.std == pytest.approx(opinion.std())


@pytest.mark.parametrize("anchored", [False, True])
def test_calibration_of_scores_that_say_nothing_is_finite(anchored: bool) -> None:
    head = FusionHead(["a"], anchored=anchored)
    calibrate(head, np.full(5, 0.7), np.array([1.0, 2, 3, 4, 5]), True)
    assert head.quality(torch.tensor([0.7])).isfinite().all()


def test_a_head_without_opinions_has_no_quality() -> None:
    with pytest.raises(ValueError, match="not fitted to opinions"):
        FusionHead(["a"]).quality(torch.zeros(1))
    with pytest.raises(ValueError, match="not fitted to opinions"):
        FusionHead(["a"]).opinion(torch.zeros(1))


# The file


@pytest.mark.parametrize("anchored", [False, True])
def test_a_saved_head_is_the_same_head(tmp_path: Path, anchored: bool) -> None:
    head, inputs = calibrated(anchored), numbers(10, 3, seed=5)
    save_head(head, tmp_path / "head.safetensors")
    loaded = load_head(tmp_path / "head.safetensors", ["near", "far", "psnr"], "recipe 1")
    score = loaded(inputs)
    assert torch.equal(score, head(inputs))
    assert torch.equal(loaded.opinion(score), head.opinion(score))
    assert loaded.scale == head.scale
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_linear_head_comes_back_linear(tmp_path: Path) -> None:
    save_head(FusionHead(["a", "b"], linear=True), tmp_path / "head.safetensors")
    assert load_head(tmp_path / "head.safetensors").linear


def test_heads_for_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    save_head(calibrated(), path)
    with pytest.raises(ValueError, match="near, far, psnr; got far, near, psnr"):
        load_head(path, ["far", "near", "psnr"])
    with pytest.raises(ValueError, match="made for 'recipe 1', not for 'recipe 2'"):
        load_head(path, made_for="recipe 2")
    with pytest.raises(ValueError, match=r"\.safetensors, got"):
        save_head(calibrated(), tmp_path / "head.pth")


def test_files_that_are_no_head_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no head"):
        load_head(tmp_path / "none.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"no \.safetensors file"):
        load_head(broken)
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, other)
    with pytest.raises(ValueError, match="no fusion head"):
        load_head(other)
    path = tmp_path / "head.safetensors"
    save_head(calibrated(), path)
    tensors = load_file(path)
    about = {"version": 1, "names": ["a"], "hidden": [3], "anchored": False, "made_for": "", "opinion": None}
    save_file(tensors, other, {"fmiqa_fusion_head": json.dumps(about)})
    with pytest.raises(ValueError, match="does not hold what its metadata says"):
        load_head(other)
    save_file(tensors, other, {"fmiqa_fusion_head": json.dumps({**about, "version": 2})})
    with pytest.raises(ValueError, match="version 2, this package reads 1"):
        load_head(other)
