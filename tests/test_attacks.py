"""Attacks on metrics: optima that are known, bounds, goals, noise of the same PSNR, and real metrics."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.conftest import ASSETS, RANDOM_VIT, VIT_TINY, make_pair, needs
from torchmetrics_fmiqa import feature_distance
from torchmetrics_fmiqa.benchmark.analysis.attacks import ATTACKS, Attack, AttackResult, attack, attack_metric
from torchmetrics_fmiqa.benchmark.metrics.metric import Metric, Scorer
from torchmetrics_fmiqa.data.images import read_image

#: Rounding of a float32 near 1: bounds cannot be kept closer.
ROUNDING = 1.2e-7


FGSM = [how for how in ATTACKS if how.method == "fgsm"]


def every(epsilon: float, steps: int = 10) -> list[Attack]:
    """Both goals by both methods."""
    return [replace(how, steps=steps) for how in ATTACKS if how.epsilon == epsilon]


def squared(preds: Tensor, target: Tensor) -> Tensor:
    return (preds - target).square().mean((1, 2, 3))


def metric_of(score: Scorer = squared, name: str = "mine", differentiable: bool = True) -> Metric:
    return Metric(name, score, higher_is_better=False, differentiable=differentiable, identity="test")


def pair(seed: int = 0, height: int = 12, width: int = 15) -> tuple[Tensor, Tensor]:
    preds, target = make_pair(1, height, width, seed)
    return preds, target


# ---- one image ----


def apart(distance: float) -> tuple[Tensor, Tensor]:
    """Images whose values all differ by ``distance``, up or down, far from 0 and 1."""
    generator = torch.Generator().manual_seed(3)
    target = 0.3 + 0.4 * torch.rand(2, 3, 9, 7, generator=generator)
    return target + distance * torch.sign(torch.rand(target.shape, generator=generator) - 0.5), target


@pytest.mark.parametrize("method", ["fgsm", "pgd"])
@pytest.mark.parametrize("epsilon", [1, 2, 4])
def test_the_known_optimum_of_a_quadratic_is_reached(method: str, epsilon: float) -> None:
    preds, target = apart(0.1)
    reach = epsilon / 255
    away = attack(squared, preds, target, Attack(epsilon, "raise", method))
    torch.testing.assert_close(away, preds + reach * (preds - target).sign(), rtol=0, atol=2 * ROUNDING)
    torch.testing.assert_close(squared(away, target), torch.full((2,), (0.1 + reach) ** 2), rtol=1e-5, atol=0)
    near = attack(squared, preds, target, Attack(epsilon, "lower", method))
    torch.testing.assert_close(near, preds - reach * (preds - target).sign(), rtol=0, atol=2 * ROUNDING)


def test_pgd_stops_at_an_optimum_within_the_bound_and_fgsm_jumps_over_it() -> None:
    preds, target = apart(0.5 / 255)
    near = attack(squared, preds, target, Attack(4, "lower", "pgd", steps=40))
    assert (squared(near, target) < 0.1 * squared(preds, target)).all()
    over = attack(squared, preds, target, Attack(4, "lower", "fgsm"))
    torch.testing.assert_close(squared(over, target), torch.full((2,), (3.5 / 255) ** 2), rtol=1e-3, atol=0)


def test_values_at_the_ends_of_the_range_stop_there() -> None:
    target = torch.full((1, 3, 4, 4), 0.5)
    preds = torch.tensor([0.0, 1.0, 1 / 255, 254 / 255]).expand(1, 3, 4, 4)
    for method in ("fgsm", "pgd"):
        attacked = attack(squared, preds, target, Attack(4, "raise", method))
        assert torch.equal(attacked, torch.tensor([0.0, 1.0, 0.0, 1.0]).expand(1, 3, 4, 4))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    epsilon=st.floats(0.1, 16),
    goal=st.sampled_from(["raise", "lower"]),
    method=st.sampled_from(["fgsm", "pgd"]),
    double=st.booleans(),
)
def test_never_beyond_epsilon_nor_outside_the_range(
    seed: int, epsilon: float, goal: str, method: str, double: bool
) -> None:
    preds, target = pair(seed)
    if double:
        preds, target = preds.double(), target.double()
    before = preds.clone(), target.clone()
    attacked = attack(squared, preds, target, Attack(epsilon, goal, method, steps=4), seed)
    assert attacked.dtype == preds.dtype
    assert attacked.shape == preds.shape
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert (attacked.double() - preds.double()).abs().max() <= epsilon / 255 + (1e-15 if double else ROUNDING)
    assert not attacked.requires_grad
    assert torch.equal(preds, before[0])
    assert torch.equal(target, before[1])


def test_equal_images_do_not_stall_pgd() -> None:
    _, target = apart(0)
    assert torch.equal(attack(squared, target, target, Attack(2, "raise", "fgsm")), target)  # a gradient of zero
    attacked = attack(squared, target, target, Attack(2))
    torch.testing.assert_close(squared(attacked, target), torch.full((2,), (2 / 255) ** 2), rtol=1e-4, atol=0)


@pytest.mark.parametrize("goal", ["raise", "lower"])
def test_the_best_image_seen_is_kept_for_each_image(goal: str) -> None:
    seen = []

    def wavy(preds: Tensor, target: Tensor) -> Tensor:
        scores = torch.sin(4000 * (preds - target)).mean((1, 2, 3))
        seen.append(scores.detach())
        return scores

    preds, target = make_pair(3, 8, 8)
    attacked = attack(wavy, preds, target, Attack(4, goal, steps=7))
    rows = torch.stack(seen)
    assert len(rows) == 8
    best = rows.amax(0) if goal == "raise" else rows.amin(0)
    assert not torch.equal(best, rows[-1])  # this score is one where the last is not the best
    torch.testing.assert_close(wavy(attacked, target), best)


def test_images_of_a_batch_are_attacked_apart() -> None:
    preds, target = apart(0.1)
    together = attack(squared, preds, target, Attack(2, "raise", "fgsm"))
    assert torch.equal(together[1:], attack(squared, preds[1:], target[1:], Attack(2, "raise", "fgsm")))


def test_equal_seeds_give_equal_images() -> None:
    preds, target = make_pair(1, 32, 32)

    def score(preds: Tensor, target: Tensor) -> Tensor:
        return torch.sin(900 * (preds - target)).mean((1, 2, 3))

    first, again, other = (attack(score, preds, target, Attack(2), seed) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_modes_and_parameters_of_the_caller_are_left_alone() -> None:
    net = nn.Conv2d(3, 4, 3)

    def score(preds: Tensor, target: Tensor) -> Tensor:
        return (net(preds) - net(target)).square().mean((1, 2, 3))

    preds, target = make_pair(1, 16, 16)
    expected = attack(score, preds, target, Attack(2))
    with torch.no_grad():
        assert torch.equal(attack(score, preds, target, Attack(2)), expected)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        assert torch.equal(attack(score, preds.clone(), target.clone(), Attack(2)), expected)
    assert all(parameter.grad is None for parameter in net.parameters())


# ---- a metric, over pairs ----


def test_noise_has_the_psnr_of_the_attack_exactly() -> None:
    # of equal images the mean squared error *is* the score: attack and noise must come out alike
    target = torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    target[..., :10], target[..., 10:20] = 0, 1  # where noise has one way to go
    results = attack_metric(
        metric_of(), [(target, target)], 0.5, [Attack(e, g) for g in ("raise", "lower") for e in (1, 4)]
    )
    for result in results:
        error = 10 ** (-result.psnr / 10)
        assert result.change == pytest.approx(error / 0.5, rel=1e-4)
        assert result.noise == pytest.approx(error / 0.5, rel=1e-4)
    assert results[0].psnr > results[1].psnr + 11  # four times the change is 12 dB


def test_what_is_reported_is_what_attack_does() -> None:
    pairs = [pair(1), pair(2, 20, 9)]
    (result,) = attack_metric(metric_of(), pairs, 0.25, [Attack(2, "lower", "fgsm")])
    changes, psnrs = [], []
    for preds, target in pairs:
        attacked = attack(squared, preds, target, Attack(2, "lower", "fgsm"))
        changes.append(float(squared(attacked, target) - squared(preds, target)))
        psnrs.append(-10 * math.log10(float(squared(attacked.double(), preds.double()))))
    assert result == AttackResult("mine", "fgsm", "lower", 2.0, result.change, result.noise, result.psnr, 2)
    assert result.change == pytest.approx(sum(changes) / 2 / 0.25, rel=1e-5)
    assert result.psnr == pytest.approx(sum(psnrs) / 2, abs=1e-6)
    assert result.change < 0


def test_order_seeds_and_independence_of_what_else_is_asked() -> None:
    pairs = [pair(1, 16, 16), pair(2, 16, 16)]

    def score(preds: Tensor, target: Tensor) -> Tensor:
        return torch.sin(900 * (preds - target)).mean((1, 2, 3))

    quick = [replace(how, steps=3) for how in ATTACKS]
    results = attack_metric(metric_of(score), pairs, 1.0, quick)
    assert [(r.attack, r.goal, r.epsilon) for r in results] == [
        (method, goal, epsilon) for method in ("fgsm", "pgd") for goal in ("raise", "lower") for epsilon in (1, 2, 4)
    ]
    assert attack_metric(metric_of(score), pairs, 1.0, quick) == results
    assert attack_metric(metric_of(score), pairs, 1.0, [quick[10]]) == [results[10]]
    other = attack_metric(metric_of(score), pairs, 1.0, quick, seed=1)
    assert [r.noise for r in other] != [r.noise for r in results]
    assert other[6].change != results[6].change


def test_fgsm_without_a_gradient_changes_nothing_and_says_so() -> None:
    target = pair()[1]
    (result,) = attack_metric(metric_of(), [(target, target)], 1.0, [Attack(2, "raise", "fgsm")])
    assert (result.change, result.noise, result.psnr) == (0, 0, math.inf)
    # beside an image that changes, the mean PSNR is that one's
    pairs = [(target, target), pair(1)]
    (both,) = attack_metric(metric_of(), pairs, 1.0, [Attack(2, "raise", "fgsm")])
    (alone,) = attack_metric(metric_of(), pairs[1:], 1.0, [Attack(2, "raise", "fgsm")])
    assert both.psnr == pytest.approx(alone.psnr)
    assert both.change == pytest.approx(alone.change / 2)


def test_large_images_are_attacked_in_their_middle() -> None:
    sizes = []

    def score(preds: Tensor, target: Tensor) -> Tensor:
        sizes.append((tuple(preds.shape), tuple(target.shape)))
        return squared(preds, target)

    preds, target = pair(0, 31, 12)
    attacks = [Attack(2, "raise", "fgsm")]
    (cut,) = attack_metric(metric_of(score), [(preds, target)], 1.0, attacks, side=20)
    assert set(sizes) == {((1, 3, 20, 12), (1, 3, 20, 12))}
    (same,) = attack_metric(metric_of(), [(preds[:, :, 5:25], target[:, :, 5:25])], 1.0, attacks)
    assert cut == same


# ---- errors ----


def not_finite(preds: Tensor, target: Tensor) -> Tensor:
    return (preds - target).square().mean((1, 2, 3)).sqrt()  # its gradient at equal images


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": lambda p, t: squared(p, t).detach()}, "no gradient flows through Mine"),
        ({"score": lambda p, t: squared(p.round(), t.requires_grad_()) + 0 * p.sum() / 0}, "Mine gives scores.*finite"),
        ({"score": lambda p, t: t.requires_grad_().mean((1, 2, 3))}, "no gradient flows from Mine to the images"),
        ({"score": not_finite, "how": Attack(2, "raise", "fgsm")}, "Mine has a gradient that is not finite"),
    ],
)
def test_what_does_not_fit_an_attack(change: dict[str, object], message: str) -> None:
    images = torch.full((1, 3, 8, 8), 0.5)
    arguments = {"score": squared, "preds": images, "target": images, "how": Attack(2), "name": "Mine", **change}
    with pytest.raises(ValueError, match=message):
        attack(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": metric_of(differentiable=False)}, "mine is not differentiable and cannot be attacked"),
        ({"metric": metric_of(not_finite, "rmse"), "attacks": FGSM}, "rmse has a gradient that is not finite"),
        (
            {"metric": metric_of(lambda p, t: -squared(p, t).log10(), "PSNR"), "attacks": FGSM},
            "PSNR gives inf for a pair",
        ),
        ({"metric": replace(metric_of(), minimum_side=9)}, "mine needs images of at least 9 pixels.*pair 0 is 8x8"),
        ({"metric": replace(metric_of(), minimum_side=5), "side": 4}, "at least 5 pixels.*`side` 4"),
        ({"spread": 0.0}, "`spread`.*got 0.0"),
        ({"spread": math.nan}, "`spread`.*nan"),
    ],
)
def test_what_does_not_fit_a_metric(change: dict[str, object], message: str) -> None:
    images = torch.full((1, 3, 8, 8), 0.5)
    arguments = {"metric": metric_of(), "pairs": [(images, images)], "spread": 1.0, **change}
    with pytest.raises(ValueError, match=message):
        attack_metric(**arguments)  # type: ignore[arg-type]


# ---- real metrics ----


def photographs() -> tuple[Tensor, Tensor]:
    """A distorted photograph and its reference, the middle of both."""
    root = needs(ASSETS / "iqa" / "live58")
    preds, target = (
        read_image(root / name)[None].float() / 255 for name in ("jpeg/buildings_3.png", "ref_images/buildings.png")
    )
    return preds, target


def by_case(results: list[AttackResult]) -> dict[tuple[str, str], AttackResult]:
    return {(result.attack, result.goal): result for result in results}


def test_a_feature_distance_of_random_weights() -> None:
    def score(preds: Tensor, target: Tensor) -> Tensor:
        measured = feature_distance(preds, target, reduction="none", validate=False, **RANDOM_VIT)
        assert isinstance(measured, Tensor)
        return measured

    preds, target = make_pair(1, 48, 64)
    spread = float(score(preds, target))
    found = by_case(attack_metric(metric_of(score), [(preds, target)], spread, every(2, steps=5)))
    assert found["pgd", "raise"].change > abs(found["pgd", "raise"].noise)
    assert found["pgd", "raise"].change > 0 > found["pgd", "lower"].change


@pytest.mark.slow
def test_the_real_vit_is_moved_far_more_than_by_noise(vit_tiny: dict[str, str]) -> None:
    needs(VIT_TINY)

    def score(preds: Tensor, target: Tensor) -> Tensor:
        measured = feature_distance(preds, target, reduction="none", validate=False, **vit_tiny)
        assert isinstance(measured, Tensor)
        return measured

    # 0.2 is about the spread of its scores over live58
    preds, target = photographs()
    found = by_case(attack_metric(metric_of(score), [(preds, target)], 0.2, every(2)))
    risen, fallen = found["pgd", "raise"], found["pgd", "lower"]
    assert risen.change > 5 * abs(risen.noise)
    assert risen.change > 0.5
    assert risen.change >= found["fgsm", "raise"].change > 0
    assert fallen.change < 0
    assert -fallen.change > 2 * abs(fallen.noise)
    assert fallen.change <= found["fgsm", "lower"].change
    assert 42.1 <= risen.psnr < 48  # at least 20 log10(255 / 2)


@pytest.mark.parametrize(("name", "side"), [("ssim", 96), ("ms-ssim", 176)])
def test_ssim_of_torchmetrics(name: str, side: int) -> None:
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure,
        structural_similarity_index_measure,
    )

    of = multiscale_structural_similarity_index_measure if name == "ms-ssim" else structural_similarity_index_measure

    def score(preds: Tensor, target: Tensor) -> Tensor:
        scores = of(preds, target, data_range=1.0, reduction="none")
        assert isinstance(scores, Tensor)
        return scores.reshape(-1)

    ssim = Metric(name, score, True, True, "test", minimum_side=side)
    found = by_case(attack_metric(ssim, [photographs()], 0.1, every(2), side=side))
    assert found["pgd", "raise"].change > 0 > found["pgd", "raise"].noise  # noise lowers it, the attack raises it
    assert found["pgd", "lower"].change < 3 * found["pgd", "lower"].noise < 0
    # nearly linear within the bound, so one step does almost all
    assert found["pgd", "raise"].change > 0.98 * found["fgsm", "raise"].change
    assert found["pgd", "lower"].change < 0.98 * found["fgsm", "lower"].change
