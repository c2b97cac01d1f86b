"""Pooling by information: positions weigh by how much there is to see in the target there."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import RANDOM_VIT, make_pair
from torchmetrics_fmiqa import FeatureDistance, FeatureDistanceLoss, FeatureMetricCollection, Recipe
from torchmetrics_fmiqa.comparator.preprocess import information
from torchmetrics_fmiqa.functional import feature_distance, feature_distance_map

INFORMED = {"pooling": "information"}
#: Of each kind of tiling: whole images, and tiles that overlap.
RECIPES = {
    "native": Recipe("fmiqa/embedded", weights="random:0", taps=[0, 1]),
    "tiles": Recipe(**RANDOM_VIT),
    "all tokens": Recipe(**RANDOM_VIT, tokens="all"),
}


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    scale=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_weights_are_finite_and_above_zero_for_any_image(height: int, width: int, scale: float, seed: int) -> None:
    image = scale * torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    weights = information(image)
    assert weights.shape == (2, 1, height, width)
    assert weights.isfinite().all()
    assert weights.min() >= 0.5
    # at most 1/4 is the variance of what lies in [0, 1]
    assert weights.max() <= 0.5 + float(torch.log1p(torch.tensor(0.25 / 0.02**2))) + 1e-4


@given(added=st.floats(-0.3, 0.3), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_light_does_not_count(added: float, seed: int) -> None:
    image = 0.3 + 0.3 * torch.rand(1, 3, 40, 33, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(information(image + added), information(image), rtol=1e-3, atol=1e-3)


def test_more_contrast_weighs_more() -> None:
    image = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    weak, strong = (information(0.5 + share * (image - 0.5)) for share in (0.1, 0.6))
    assert (weak < strong).all()
    assert (information(torch.full_like(image, 0.3)) == 0.5).all()


@pytest.mark.parametrize("name", RECIPES)
def test_it_is_a_mask_made_of_the_target(name: str) -> None:
    preds, target = make_pair(2, 250, 300)
    target[..., :150] = target[..., :1]  # rows of one colour: hardly anything to see
    informed, plain = (
        feature_distance(preds, target, RECIPES[name].replace(pooling=how)) for how in ("information", "mean")
    )
    by_hand = feature_distance(preds, target, RECIPES[name], mask=information(target))
    torch.testing.assert_close(informed, by_hand)
    assert abs(float(informed - plain)) > 1e-3 * float(plain)


@pytest.mark.parametrize("name", RECIPES)
def test_a_mask_of_the_user_counts_beside_it(name: str) -> None:
    preds, target = make_pair(2, 250, 300)
    mask = torch.rand(2, 1, 250, 300, generator=torch.Generator().manual_seed(3))
    informed = feature_distance(preds, target, RECIPES[name].replace(**INFORMED), mask=mask)
    torch.testing.assert_close(
        informed, feature_distance(preds, target, RECIPES[name], mask=mask * information(target))
    )


@pytest.mark.parametrize("name", ["native", "tiles"])
@pytest.mark.parametrize("size", [(250, 300), (20, 31), (1, 1)])
def test_the_mean_of_the_map_is_the_score(name: str, size: tuple[int, int]) -> None:
    preds, target = make_pair(1, *size)
    recipe = RECIPES[name].replace(**INFORMED, max_side=200)
    drawn = feature_distance_map(preds, target, recipe)
    assert drawn.shape == (1, 1, *size)
    torch.testing.assert_close(drawn.mean(), feature_distance(preds, target, recipe), rtol=1e-4, atol=1e-6)


def test_where_there_is_more_to_see_a_distortion_counts_more() -> None:
    generator = torch.Generator().manual_seed(0)
    target = 0.5 + 0.02 * torch.randn(1, 3, 64, 128, generator=generator)
    target[..., 64:] = torch.rand(1, 3, 64, 64, generator=generator)
    noise = 0.1 * torch.randn(1, 3, 64, 128, generator=generator)
    recipe = RECIPES["native"]
    even, busy = (noise * (torch.arange(128) < 64), noise * (torch.arange(128) >= 64))

    def share(pooling: str) -> float:
        there, here = (
            float(feature_distance((target + one).clamp(0, 1), target, recipe.replace(pooling=pooling)))
            for one in (busy, even)
        )
        return there / (there + here)

    assert share("information") > 2 * share("mean")


def test_distances_without_positions_weigh_tiles() -> None:
    preds, target = make_pair(1, 224, 448)
    target[..., :224] = 0.5
    recipe = Recipe(**RANDOM_VIT, distance="wasserstein")
    halves = [
        float(feature_distance(preds[..., part], target[..., part], recipe)) for part in (slice(224), slice(224, 448))
    ]
    weights = [float(information(target)[..., part].mean()) for part in (slice(224), slice(224, 448))]
    expected = sum(w * d for w, d in zip(weights, halves, strict=True)) / sum(weights)
    assert float(feature_distance(preds, target, recipe, **INFORMED)) == pytest.approx(expected, rel=1e-4)


def test_equal_images_have_no_distance_and_black_ones_a_gradient() -> None:
    recipe = RECIPES["native"].replace(**INFORMED)
    black = torch.zeros(1, 3, 40, 40)
    assert feature_distance(black, black, recipe) == 0
    preds = black.clone().requires_grad_()
    FeatureDistanceLoss(recipe)(preds, black + 0.2).backward()
    assert preds.grad is not None
    assert preds.grad.isfinite().all()


def test_the_gradient_goes_to_preds_alone() -> None:
    preds, target = make_pair(1, 64, 64)
    preds.requires_grad_()
    target.requires_grad_()
    FeatureDistanceLoss(RECIPES["native"].replace(**INFORMED))(preds, target).backward()
    assert target.grad is None
    assert preds.grad is not None
    assert preds.grad.abs().sum() > 0


def test_a_collection_holds_both() -> None:
    preds, target = make_pair(2, 64, 64)
    recipes = {"mean": RECIPES["native"], "information": RECIPES["native"].replace(**INFORMED)}
    together = FeatureMetricCollection({name: FeatureDistance(recipe) for name, recipe in recipes.items()})
    together.update(preds, target)
    for name, value in together.compute().items():
        torch.testing.assert_close(value, feature_distance(preds, target, recipes[name]))


def test_recipes_of_before_keep_their_digests() -> None:
    assert Recipe("vit_tiny_patch16_224", weights="random:0").digest == "26d0fc3d7d57"
    assert RECIPES["native"].digest != RECIPES["native"].replace(**INFORMED).digest


def test_yaml_holds_it() -> None:
    plain = Recipe("resnet18", weights="random:0")
    recipe = plain.replace(**INFORMED)
    assert "pooling: information" in recipe.to_yaml()
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    assert "pooling" not in plain.to_yaml()


@pytest.mark.parametrize("value", ["max", None, 2])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=f"`pooling` must be one of mean, information; got {value!r}"):
        Recipe("resnet18", pooling=value)


def test_the_published_protocol_has_its_own_pooling() -> None:
    with pytest.raises(ValueError, match="not known to the zsiqa protocol: take 'mean'"):
        Recipe.zsiqa("vit_tiny_patch16_224").replace(**INFORMED)
