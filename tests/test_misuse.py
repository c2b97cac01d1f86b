"""Legal misuse warns once and names the fix; ordinary use says nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import make_pair
from torchmetrics_fmiqa import (
    SPIPS,
    FeatureDistance,
    FeatureDistanceLoss,
    FeatureMetricCollection,
    Recipe,
    SpipsLoss,
    feature_distance,
    feature_distance_map,
    spips,
)
from torchmetrics_fmiqa.functional import clear_cache

PREDS, TARGET = make_pair(1, 32, 32)


def said(call: Callable[[], Any]) -> list[str]:
    """What a call warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(one.message) for one in caught if issubclass(one.category, UserWarning)]


def doors() -> dict[str, Callable[..., Any]]:
    """One fresh door of each kind."""
    clear_cache()
    return {
        "FeatureDistance": FeatureDistance(),
        "update": FeatureDistance().update,
        "SPIPS": SPIPS(),
        "collection": FeatureMetricCollection({"one": FeatureDistance(), "two": FeatureDistance(distance="l2")}),
        "FeatureDistanceLoss": FeatureDistanceLoss(),
        "SpipsLoss": SpipsLoss(),
        "feature_distance": feature_distance,
        "spips": spips,
    }


LOSSES = ("FeatureDistanceLoss", "SpipsLoss", "feature_distance", "spips")
METRICS = ("FeatureDistance", "SPIPS", "collection")


def test_swapped_arguments_warn_where_a_gradient_is_lost() -> None:
    learned = PREDS.clone().requires_grad_()
    for name, door in doors().items():
        if name in LOSSES:
            first = said(lambda door=door: door(TARGET, learned))
            assert len(first) == 1, name
            assert "`target` requires a gradient" in first[0]
            assert not said(lambda door=door: door(TARGET, learned)), name


def test_a_metric_that_is_given_a_gradient_names_the_losses() -> None:
    learned = PREDS.clone().requires_grad_()
    for name, door in doors().items():
        found = said(lambda door=door: (door(learned, TARGET), door(learned, TARGET)))
        if name in METRICS:
            assert len(found) == 1, name
            assert "FeatureDistanceLoss" in found[0]
            assert "SpipsLoss" in found[0]
        else:
            assert not found, name


def test_ordinary_use_says_nothing() -> None:
    learned, also = PREDS.clone().requires_grad_(), TARGET.clone().requires_grad_()
    beyond = TARGET * 1.05 - 0.02
    for name, door in doors().items():
        with torch.no_grad():
            assert not said(lambda door=door: (door(learned, TARGET), door(TARGET, learned))), name
        assert not said(lambda door=door: (door(PREDS, TARGET), door(beyond, TARGET))), name
        if name in LOSSES:
            assert not said(lambda door=door: (door(learned, TARGET), door(learned, also))), name
            untrained = torch.randn(PREDS.shape, generator=torch.Generator().manual_seed(0)).mul(0.5).requires_grad_()
            assert not said(lambda door=door, images=untrained: door(images, TARGET)), name


def test_predictions_of_tanh_beside_images_in_the_unit_range_warn_at_every_door() -> None:
    wrong = 2 * TARGET - 1
    wrong[..., 0, 0] = -0.9
    for name, door in doors().items():
        found = said(lambda door=door: (door(wrong, TARGET), door(wrong, TARGET)))
        assert len(found) == 1, (name, found)
        assert "`preds` spans -0.9" in found[0]
        assert "range" in found[0]
    assert len(said(lambda: feature_distance_map(wrong, TARGET, distance="angular"))) == 1
    assert len(said(lambda: FeatureDistanceLoss()(wrong.requires_grad_(), TARGET))) == 1
    assert not said(lambda: FeatureDistance(validate=False)(wrong.detach(), TARGET))


@pytest.mark.parametrize(
    ("preds", "target", "data_range", "side"),
    [
        (2 * TARGET, TARGET, 1.0, "preds"),
        (TARGET, 255 * TARGET, 255, "preds"),
        (TARGET, (255 * TARGET).byte(), 255, "preds"),
        (2 * TARGET - 1, 255 * TARGET, 255, "preds"),
        (TARGET / TARGET.max(), torch.where(TARGET < 0.3, -0.9, 2 * TARGET - 1), (-1, 1), "preds"),
        (TARGET, TARGET, 255, "target"),
        (255 * TARGET, TARGET, 255, "target"),
        ((255 * TARGET).byte(), TARGET, 255, "target"),
    ],
)
def test_each_pair_of_ranges(preds: Tensor, target: Tensor, data_range: Any, side: str) -> None:
    found = said(lambda: FeatureDistance(data_range=data_range)(preds, target))
    assert any(f"`{side}` spans" in message for message in found)


@pytest.mark.parametrize(
    ("preds", "target", "data_range"),
    [
        ((255 * TARGET).byte(), TARGET, 1.0),
        (TARGET, (255 * TARGET).byte(), 1.0),
        ((255 * TARGET).byte(), 2 * TARGET - 1, (-1, 1)),
        (255 * TARGET, 255 * TARGET, 255),
        ((TARGET > 0.5).float(), (TARGET > 0.5).float(), 255),  # a black frame of a film
        (torch.zeros_like(TARGET), 2 * TARGET - 1, (-1, 1)),
    ],
)
def test_ranges_that_fit_say_nothing(preds: Tensor, target: Tensor, data_range: Any) -> None:
    assert not said(lambda: FeatureDistance(data_range=data_range)(preds, target))


def test_a_shift_that_evaluation_mode_turns_off_warns_where_a_gradient_flows() -> None:
    learned = PREDS.clone().requires_grad_()
    loss = FeatureDistanceLoss(random_shift=True).eval()
    with torch.no_grad():
        assert not said(lambda: loss(learned, TARGET))
    found = said(lambda: (loss(learned, TARGET), loss(learned, TARGET)))
    assert len(found) == 1
    assert "`random_shift`" in found[0]
    assert not said(lambda: FeatureDistanceLoss(random_shift=True)(learned, TARGET))
    assert not said(lambda: FeatureDistanceLoss().eval()(learned, TARGET))


def test_the_warning_names_the_line_of_the_call() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        FeatureDistanceLoss()(TARGET, PREDS.clone().requires_grad_())
    assert [one.filename for one in caught] == [__file__]


@pytest.mark.parametrize("channels", [2, 4, 6, 13])
def test_the_advice_for_channels_can_be_followed(channels: int) -> None:
    images = torch.rand(1, channels, 16, 16)
    with pytest.raises(ValueError, match="band") as error:
        feature_distance(images, images)
    advice = str(error.value).split("preds[")[1].split("]")[0]
    if channels == 4:
        assert "alpha" in str(error.value)
    assert advice == (":, :1" if channels == 2 else ":, :3")


@pytest.mark.parametrize(
    "shape", [(1, 3, 2, 16, 16), (1, 2, 3, 16, 16), (1, 2, 16, 16, 3), (3, 16, 16), (16, 16, 3), (2, 16, 16), (16, 16)]
)
def test_the_advice_for_other_layouts_gives_images(shape: tuple[int, ...]) -> None:
    preds = torch.rand(shape)
    with pytest.raises(ValueError, match="must be") as error:
        feature_distance(preds, preds)
    advice = str(error.value).rsplit("preds", 1)[1].split(";")[0].rstrip(":")
    followed = eval(f"preds{advice}")
    assert followed.ndim == 4
    assert followed.shape[1] == 3


def test_clamp_target_lets_reflectance_leave_the_range_a_little() -> None:
    bright = TARGET * 1.3
    with pytest.raises(ValueError, match="clamp_target=True"):
        feature_distance(PREDS, bright)
    clamped = feature_distance(PREDS, bright, clamp_target=True)
    assert torch.allclose(clamped, feature_distance(PREDS, bright.clamp(0, 1)))
    recipe = Recipe.from_yaml("recipe: default\nclamp_target: true")
    assert torch.allclose(FeatureDistance(recipe)(PREDS, bright), clamped)
    assert torch.allclose(SPIPS(clamp_target=True)(PREDS, bright), spips(PREDS, bright.clamp(0, 1)))
    assert any("`target` spans" in one for one in said(lambda: FeatureDistance(recipe)(PREDS, 2 * bright)))
    with pytest.raises(ValueError, match="`target` spans"):
        feature_distance(PREDS, 255 * bright, clamp_target=True)
