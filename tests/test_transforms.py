"""What PyTorch does to functions and modules: `vmap`, `jacrev`, counters of work, a device by default, `gradcheck`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.conftest import RANDOM_VIT, make_pair
from torchmetrics_fmiqa import SPIPS, FeatureDistance, FeatureDistanceLoss, SpipsLoss, feature_distance_map

#: Losses whose parts differ: information pooling, tokens in tiles, a divergence, and features beside maps.
LOSSES: dict[str, Callable[..., Any]] = {
    "embedded": FeatureDistanceLoss,
    "transformer": lambda **options: FeatureDistanceLoss(**RANDOM_VIT, **options),
    "divergence": lambda **options: FeatureDistanceLoss(distance="symmetric_kl", **options),
    "spips": SpipsLoss,
}


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_vmap_gives_each_pair_its_number(name: str, validate: bool) -> None:
    preds, target = make_pair(3, 48, 48)
    loss = LOSSES[name](reduction="none", validate=validate)
    found = torch.vmap(lambda one, other: loss(one[None], other[None])[0])(preds, target)
    torch.testing.assert_close(found, loss(preds, target), atol=1e-5, rtol=1e-4)


def test_vmap_of_a_gradient_is_the_gradient_of_each_pair() -> None:
    preds, target = make_pair(3, 48, 48)
    loss = FeatureDistanceLoss(reduction="sum")
    found = torch.vmap(torch.func.grad(lambda one, other: loss(one[None], other[None])))(preds, target)
    leaf = preds.clone().requires_grad_()
    loss(leaf, target).backward()
    torch.testing.assert_close(found, leaf.grad, atol=1e-6, rtol=1e-3)


def test_vmap_of_a_map() -> None:
    preds, target = make_pair(2, 48, 48)
    found = torch.vmap(lambda one, other: feature_distance_map(one[None], other[None])[0])(preds, target)
    torch.testing.assert_close(found, feature_distance_map(preds, target), atol=1e-5, rtol=1e-4)


def test_later_work_is_not_counted_as_the_networks() -> None:
    preds, target = make_pair(1, 48, 48)
    with FlopCounterMode(display=False) as alone:
        FeatureDistance()(preds, target)
    layer = nn.Linear(64, 64)
    with FlopCounterMode(display=False) as counter:
        FeatureDistance()(preds, target)
        layer(torch.rand(1000, 64))
    ours = {name for name in counter.flop_counts if name not in ("Global", "Linear")}
    assert ours == {name for name in alone.flop_counts if name != "Global"}
    for name in ours:
        assert sum(counter.flop_counts[name].values()) == sum(alone.flop_counts[name].values()), name
    assert counter.get_total_flops() == alone.get_total_flops() + 2 * 1000 * 64 * 64


@pytest.mark.parametrize("metric", [FeatureDistance, SPIPS])
def test_states_are_on_the_device_that_a_metric_is_built_on(metric: Callable[..., Any]) -> None:
    with torch.device("meta"):
        built = metric()
    assert str(built.device) == "meta"
    states = [value for name in built._defaults for value in [getattr(built, name)] if isinstance(value, torch.Tensor)]
    assert states
    assert all(value.device.type == "meta" for value in states)
    preds, target = make_pair(2, 48, 48)  # the network was built in the open
    torch.testing.assert_close(metric()(preds, target), metric()(preds, target))


@pytest.mark.parametrize("move", ["to", "to_empty", "parent"])
def test_a_metric_built_on_the_meta_device_measures_once_it_is_moved(move: str) -> None:
    preds, target = make_pair(2, 48, 48)
    with torch.device("meta"):
        built = FeatureDistance()
    with pytest.raises(ValueError, match=r"meta device.*metric\.to\('cpu'\)"):
        built.update(preds, target)
    if move == "parent":
        nn.Sequential(built).to_empty(device="cpu")
    else:
        getattr(built, move)(device="cpu")
    built.update(preds, target)
    assert built.device == torch.device("cpu")
    torch.testing.assert_close(built.compute(), FeatureDistance()(preds, target))
    assert built.double().device == torch.device("cpu")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"pooling": "mean"},
        {"pooling": "mean", "distance": "jensen_shannon"},
        {"distance": "angular"},
        {**RANDOM_VIT, "resolution": "tile"},
    ],
    ids=["default", "mean", "divergence", "angular", "tiles"],
)
def test_gradients_in_double_precision_are_those_of_differences(fields: dict[str, Any]) -> None:
    preds, target = (images.double() for images in make_pair(1, 20, 20, noise=0.05))
    preds = preds.clamp(0.02, 0.98).requires_grad_()
    loss = FeatureDistanceLoss(precision="float64", **fields)
    assert torch.autograd.gradcheck(lambda images: loss(images, target), (preds,), fast_mode=True)


def test_gradients_of_spips_in_double_precision() -> None:
    preds, target = (images.double() for images in make_pair(1, 20, 20, noise=0.05))
    preds = preds.clamp(0.02, 0.98).requires_grad_()
    loss = SpipsLoss(precision="float64")
    assert torch.autograd.gradcheck(lambda images: loss(images, target), (preds,), fast_mode=True)
