"""Metrics as losses: metrics broken by hand in one way each, and well-known ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from tests.conftest import RANDOM_VIT, make_pair
from torchmetrics_fmiqa.benchmark.analysis.loss_suitability import LossSuitability, loss_suitability
from torchmetrics_fmiqa.benchmark.distortions import GRADED
from torchmetrics_fmiqa.benchmark.metrics.metric import Metric
from torchmetrics_fmiqa.comparator import FeatureComparator
from torchmetrics_fmiqa.recipes import Recipe

IMAGES = [make_pair(1, 64, 80, seed=seed)[0] for seed in (0, 1)]


def found(
    score: Callable[[Tensor, Tensor], Tensor], higher: bool = False, differentiable: bool = True, minimum: int = 1
) -> LossSuitability:
    return loss_suitability(Metric("made up", score, higher, differentiable, "made up", minimum), IMAGES)


def mse(preds: Tensor, target: Tensor) -> Tensor:
    return (preds - target).square().mean((1, 2, 3))


def test_a_good_distance_and_its_negative_are_perfect() -> None:
    assert found(mse) == LossSuitability("made up", 1, 1, 1, 1)
    assert found(lambda preds, target: 1 - mse(preds, target), higher=True) == LossSuitability("made up", 1, 1, 1, 1)


def test_a_wrong_direction_orders_nothing() -> None:
    wrong = found(mse, higher=True)
    assert (wrong.identity, wrong.monotone) == (0, 0)


def test_a_root_has_no_gradient_at_zero() -> None:
    # NaN for the three pairs of equal images, and only for them.
    assert found(lambda preds, target: mse(preds, target).sqrt()) == LossSuitability(
        "made up", 0.5, 1, pytest.approx(1, abs=1e-6), 1
    )


def test_normalised_features_of_a_black_image_have_no_gradient() -> None:
    def unit(images: Tensor) -> Tensor:
        return images / images.square().sum(1, keepdim=True).sqrt()

    # Black against black and black against the image: 4 of 6 pairs are left.
    assert found(lambda preds, target: mse(unit(preds), unit(target))).finite_gradient == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    "score",
    [
        lambda preds, target: mse(preds.detach(), target),
        lambda preds, target: ((preds - target) * 255).round().abs().mean((1, 2, 3)),  # zero everywhere
    ],
)
def test_without_a_gradient_nothing_is_learnt(score: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert found(score).finite_gradient == 0


def test_a_metric_that_is_not_differentiable_is_not_asked_for_a_gradient() -> None:
    needed: list[bool] = []

    def score(preds: Tensor, target: Tensor) -> Tensor:
        needed.append(preds.requires_grad)
        return mse(preds, target)

    assert found(score, differentiable=False) == LossSuitability("made up", 0, 1, 1, 1)
    assert not any(needed)


def test_a_gradient_that_ignores_some_pixels() -> None:
    def corner(preds: Tensor, target: Tensor) -> Tensor:
        return mse(preds[..., :20, :20], target[..., :20, :20])

    # Only the pair that differs in its middle pixel gives a gradient of zeros.
    assert found(corner).finite_gradient == pytest.approx(5 / 6)


def test_asymmetry_is_one_minus_the_difference_over_the_size() -> None:
    def relative(preds: Tensor, target: Tensor) -> Tensor:
        return ((preds - target) / (target + 0.1)).square().mean((1, 2, 3))

    forth, back = [], []
    for image in IMAGES:
        crop = image[..., 8:72]
        for distortion in GRADED.values():
            levels = distortion.levels
            version = distortion(crop, levels[len(levels) // 2], torch.Generator().manual_seed(0))
            forth.append(relative(version, crop).item())
            back.append(relative(crop, version).item())
    size = (sum(map(abs, forth)) + sum(map(abs, back))) / 2
    expected = 1 - sum(abs(a - b) for a, b in zip(forth, back, strict=True)) / size
    measured = loss_suitability(Metric("made up", relative, False, True, "made up"), IMAGES, side=64)
    assert measured.symmetry == pytest.approx(expected, abs=1e-5)
    assert 0.2 < measured.symmetry < 0.95
    signed = found(lambda preds, target: (preds - target).mean((1, 2, 3)))
    assert signed.symmetry == 0


def test_a_constant_says_nothing() -> None:
    assert found(lambda preds, target: 0 * preds.mean((1, 2, 3))) == LossSuitability("made up", 0, 0, 1, 0)


def test_a_metric_of_nan_is_worth_nothing() -> None:
    assert found(lambda preds, target: mse(preds, target) * float("nan")) == LossSuitability("made up", 0, 0, 0, 0)


@pytest.mark.parametrize(("offset", "identity"), [(1e-9, 1), (1e-4, 0)])
def test_a_distance_from_itself_may_be_rounding_only(offset: float, identity: float) -> None:
    assert found(lambda preds, target: mse(preds, target) + offset).identity == identity
    # A quality has no zero that it must reach.
    assert found(lambda preds, target: 1 - mse(preds, target) - offset, higher=True).identity == 1


def test_monotone_counts_neighbouring_levels() -> None:
    def saturating(preds: Tensor, target: Tensor) -> Tensor:
        return mse(preds, target).clamp(max=1e-4)

    steps, rising = 0, 0
    for image in IMAGES:
        for distortion in GRADED.values():
            scores = [saturating(version, image).item() for version in distortion.series(image)]
            rising += sum(b > a for a, b in itertools.pairwise(scores))
            steps += len(scores) - 1
    assert found(saturating).monotone == pytest.approx(rising / steps)
    assert 0 < rising < steps


def test_psnr_and_ssim_of_torchmetrics() -> None:
    psnr = found(
        lambda preds, target: peak_signal_noise_ratio(
            preds, target, data_range=1.0, reduction="none", dim=(1, 2, 3)
        ).reshape(-1),
        higher=True,
    )
    # Infinite for equal images, which is its best value, but has no gradient there.
    assert psnr == LossSuitability("made up", 0.5, 1, 1, 1)
    ssim = found(
        lambda preds, target: torch.as_tensor(
            structural_similarity_index_measure(preds, target, data_range=1.0, reduction="none")
        ).reshape(-1),
        higher=True,
    )
    assert (ssim.finite_gradient, ssim.identity) == (1, 1)
    assert ssim.symmetry == pytest.approx(1, abs=1e-5)


def test_our_distance_is_a_loss() -> None:
    comparator = FeatureComparator(Recipe(**RANDOM_VIT))
    ours = found(lambda preds, target: comparator(preds, target)[0].scores()["cosine"])
    assert (ours.finite_gradient, ours.identity) == (1, 1)
    assert ours.symmetry == pytest.approx(1, abs=1e-5)
    assert ours.monotone > 0.8


def test_the_callers_mode_does_not_matter() -> None:
    with torch.inference_mode():
        images = [image.clone() for image in IMAGES]
        assert loss_suitability(Metric("mse", mse, False, True, "mse"), images) == LossSuitability("mse", 1, 1, 1, 1)
    with torch.no_grad():
        assert found(mse) == LossSuitability("made up", 1, 1, 1, 1)


def test_crops_are_central_and_large_enough() -> None:
    sizes: set[tuple[int, ...]] = set()
    image = torch.linspace(0, 1, 100).expand(1, 3, 60, 100)

    def score(preds: Tensor, target: Tensor) -> Tensor:
        sizes.add(tuple(target.shape[-2:]))
        return mse(preds, target)

    loss_suitability(Metric("mse", score, False, False, "mse"), [image], side=32)
    assert sizes == {(32, 32)}
    sizes.clear()
    loss_suitability(Metric("mse", score, False, False, "mse", minimum_side=48), [image], side=32)
    assert sizes == {(48, 48)}
    sizes.clear()
    loss_suitability(Metric("mse", score, False, False, "mse"), [image])
    assert sizes == {(60, 100)}


def test_the_seed_is_that_of_the_noise() -> None:
    def first_noise(seed: int) -> float:
        seen: list[Tensor] = []

        def score(preds: Tensor, target: Tensor) -> Tensor:
            seen.append(preds.detach())
            return mse(preds, target)

        loss_suitability(Metric("mse", score, False, True, "mse"), IMAGES[:1], seed=seed)
        return torch.cat(seen).double().sum().item()

    assert first_noise(0) == first_noise(0) != first_noise(1)


def test_images_too_small_for_the_blur_are_an_error() -> None:
    with pytest.raises(ValueError, match="17 pixels a side, got 16 x 80"):
        loss_suitability(Metric("mse", mse, False, True, "mse"), [IMAGES[0][..., :16, :]])
