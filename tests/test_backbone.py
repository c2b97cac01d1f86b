"""Frozen networks: hidden, shared, truncated, built in the open, read at the right taps."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn

from tests.conftest import RANDOM_VIT, make_pair
from torchmetrics_fmiqa import FeatureComparator, FeatureDistance, FeatureDistanceLoss, Recipe
from torchmetrics_fmiqa.comparator import comparator as comparator_module
from torchmetrics_fmiqa.features.builders import UserModule
from torchmetrics_fmiqa.features.network import load_network
from torchmetrics_fmiqa.features.tokens import Tokens
from torchmetrics_fmiqa.memory import peak_bytes

CPU = torch.device("cpu")


def read(comparator: FeatureComparator, images: Tensor) -> dict[str, Tokens]:
    with torch.no_grad():
        return dict(zip(comparator.backbone.taps, comparator.backbone(images), strict=True))


def master(recipe: Recipe) -> Any:
    return load_network(recipe.backbone, str(recipe.weights)).on(CPU, torch.float32)


class Tiny(nn.Module):
    """A user's network, with the traps of one: in-place activations, a layer that runs twice, a head of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.body = nn.Conv2d(8, 8, 3, padding=1, stride=2)
        self.head = nn.Linear(8, 4)
        self.calls: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.body(self.act(self.stem(x))))
        return self.head(x.mean((2, 3)))


class Module(lightning.LightningModule):
    """What people do to a module that holds a metric and a loss."""

    def __init__(self, metric: FeatureDistance, loss: FeatureDistanceLoss) -> None:
        super().__init__()
        self.net, self.metric, self.loss = nn.Conv2d(3, 3, 1), metric, loss


def test_the_backbone_is_in_no_module() -> None:
    metric, loss = FeatureDistance(**RANDOM_VIT), FeatureDistanceLoss(**RANDOM_VIT)
    module = Module(metric, loss)
    assert sorted(module.state_dict()) == ["net.bias", "net.weight"]
    assert len(list(module.parameters())) == 2
    module.unfreeze()
    module.train()
    module.requires_grad_(True)
    module.half()
    net = master(metric.recipe)
    assert not any(p.requires_grad or p.dtype != torch.float32 for p in net.parameters())
    assert not any(m.training for m in net.modules())
    for held in (metric, loss):
        view = held.comparator.backbone._of(CPU, torch.float32).first.module
        assert not any(m.training for m in view.modules())
        assert not any(p.requires_grad for p in view.parameters())


def test_one_copy_of_the_weights_serves_everybody() -> None:
    metric, loss = FeatureDistance(**RANDOM_VIT), FeatureDistanceLoss(**{**RANDOM_VIT, "taps": [3]})
    views = [held.comparator.backbone._of(CPU, torch.float32).first.module for held in (metric, loss)]
    assert views[0] is not views[1], "hooks of one must not be seen by the other"
    pointers = [{p.data_ptr() for p in view.parameters()} for view in views]
    assert pointers[0] == pointers[1] == {p.data_ptr() for p in master(metric.recipe).parameters()}
    assert copy.deepcopy(metric).comparator is metric.comparator
    assert copy.deepcopy(loss).comparator is loss.comparator


def test_weights_are_let_go_with_their_last_user() -> None:
    import weakref

    comparator = FeatureComparator(Recipe("vit_tiny_patch16_224", weights="random:77", taps=[0]))
    held = weakref.ref(comparator.backbone.network)
    double = weakref.ref(comparator.backbone._of(CPU, torch.float64).first.net)
    assert comparator.backbone.network.on(CPU, torch.float64) is double(), "the copy of a dtype is shared"
    del comparator
    gc.collect()
    assert held() is None
    assert double() is None


def test_a_comparator_pickles_as_its_spec() -> None:
    comparator = FeatureComparator(Recipe(**RANDOM_VIT))
    data = pickle.dumps(comparator)
    assert len(data) < 5_000
    preds, target = make_pair(1)
    again = pickle.loads(data)
    assert torch.equal(again(preds, target)[0].scores()["cosine"], comparator(preds, target)[0].scores()["cosine"])


def test_a_comparator_refuses_weights_that_changed_on_disk(tmp_path: Any) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "w.safetensors"
    save_file(dict(master(Recipe(**RANDOM_VIT)).state_dict()), path)
    data = pickle.dumps(FeatureComparator(Recipe("vit_tiny_patch16_224", weights=str(path))))
    save_file(dict(master(Recipe("vit_tiny_patch16_224", weights="random:1")).state_dict()), path)
    with pytest.raises(ValueError, match="another file"):
        pickle.loads(data)


def test_a_users_module_is_copied_frozen_and_pickled_whole() -> None:
    net = Tiny()
    recipe = Recipe(net, taps=["stem", "body"], normalization="none", resolution="native")
    comparator = FeatureComparator(recipe)
    preds, target = make_pair(1, 20, 20)
    before = comparator(preds, target)[0].scores()["cosine"]
    nn.init.zeros_(net.stem.weight)
    assert net.stem.weight.requires_grad, "the user's own module is left alone"
    assert torch.equal(FeatureComparator(recipe)(preds, target)[0].scores()["cosine"], before)
    assert torch.equal(pickle.loads(pickle.dumps(comparator))(preds, target)[0].scores()["cosine"], before)
    assert UserModule(net).identity != recipe.backbone.identity  # type: ignore[union-attr]


def test_an_in_place_activation_does_not_rewrite_a_tap() -> None:
    recipe = Recipe(Tiny(), taps=["stem", "body"], normalization="none", distance="l2", resolution="native")
    comparator = FeatureComparator(recipe)
    preds, target = make_pair(1, 16, 16)
    apart = comparator(preds.requires_grad_(), target)[0].per_tap["l2"].detach()
    torch.testing.assert_close(apart, comparator(preds.detach(), target)[0].per_tap["l2"])
    stem = master(recipe).stem(preds.detach())
    assert (stem < 0).any()
    torch.testing.assert_close(read(comparator, preds.detach())["stem"].values, stem.flatten(2).transpose(1, 2))


def test_a_module_that_runs_twice_is_read_at_its_first_run() -> None:
    comparator = FeatureComparator(Recipe(Tiny(), taps=["act", "body"], normalization="none", resolution="native"))
    found = read(comparator, torch.rand(1, 3, 16, 16))
    assert found["act"].grid == (16, 16)


def test_nothing_runs_after_the_last_tap() -> None:
    comparator = FeatureComparator(Recipe(**{**RANDOM_VIT, "taps": [3, 1]}))
    ran: list[int] = []
    view = comparator.backbone._of(CPU, torch.float32).first.module
    for number, block in enumerate(view.blocks):
        block.register_forward_pre_hook(lambda *_, number=number: ran.append(number))
    comparator(*make_pair(1))
    assert ran == [0, 1, 2, 3]


def test_predictions_and_targets_take_one_forward() -> None:
    comparator = FeatureComparator(Recipe(**{**RANDOM_VIT, "taps": [0, 1, 2]}))
    ran: list[str] = []
    view = comparator.backbone._of(CPU, torch.float32).first.module
    view.patch_embed.register_forward_pre_hook(lambda _, args: ran.append(f"forward {len(args[0])}"))
    for number, block in enumerate(view.blocks):
        block.register_forward_pre_hook(lambda *_, number=number: ran.append(f"block {number}"))
    comparator(*make_pair(2))
    assert ran == ["forward 4", "block 0", "block 1", "block 2"]


TAPS = {"backbone": "vit_tiny_patch16_224", "weights": "random:0"}
#: Bytes of a tap of one tile of 224 x 224: a class token and 14 x 14 patches, 192 channels each.
TAP = (1 + 14 * 14) * 192 * 4


def test_the_features_of_one_portion_live_at_a_time() -> None:
    pair = make_pair(1, 224, 6 * 224)
    deepest, every = (
        FeatureComparator(Recipe(**TAPS, taps=taps, distance="l2"), tile_batch=2) for taps in ([-1], "all")
    )
    with torch.no_grad():
        alone, together = (peak_bytes(lambda one=one: one(*pair)) for one in (deepest, every))
    # The last block's input, which is the tap before, lives in any case.
    assert together - alone == pytest.approx(2 * 2 * 10 * TAP, rel=0.01), "ten more taps of two tiles a side"


def test_portions_are_as_large_as_their_features_allow(monkeypatch: pytest.MonkeyPatch, forwarded: list[int]) -> None:
    pair = make_pair(1, 224, 6 * 224)
    comparator = FeatureComparator(Recipe(**TAPS, distance="l2"))
    expected = comparator(*pair)[0].scores()["l2"]
    monkeypatch.setattr(comparator_module, "_BUDGET", 4 * (2 * 12 * TAP) + 1)
    torch.testing.assert_close(comparator(*pair)[0].scores()["l2"], expected)
    monkeypatch.setattr(comparator_module, "_BUDGET", 1)
    torch.testing.assert_close(comparator(*pair)[0].scores()["l2"], expected)
    assert forwarded == [12, 8, 4, *[2] * 6], "tiles of both sides"


def test_taps_by_index_and_name_bind_by_name() -> None:
    network = load_network("vit_tiny_patch16_224", "random:0")
    assert network.resolve([-1, 0, "blocks.5"]) == ("blocks.11", "blocks.0", "blocks.5")
    images = torch.rand(1, 3, 224, 224)
    comparator = FeatureComparator(Recipe(**{**RANDOM_VIT, "taps": [2, 0]}, normalization="none"))
    found = read(comparator, images)
    assert list(found) == ["blocks.2", "blocks.0"]
    expected = network.on(CPU, torch.float32).forward_intermediates(  # type: ignore[operator]
        images, indices=[0, 2], intermediates_only=True, output_fmt="NLC", norm=False
    )
    for name, values in zip(["blocks.0", "blocks.2"], expected, strict=True):
        torch.testing.assert_close(found[name].values[:, 1:], values)
    preds, target = make_pair(1)
    one = FeatureComparator(Recipe(**{**RANDOM_VIT, "taps": [2, 0]}, tap_weights={0: 3.0, "blocks.2": 1.0}))
    other = FeatureComparator(Recipe(**{**RANDOM_VIT, "taps": [0, 2]}, tap_weights={2: 1.0, 0: 3.0}))
    assert one.labels()["cosine"] == ("blocks.2", "blocks.0")
    torch.testing.assert_close(one(preds, target)[0].scores()["cosine"], other(preds, target)[0].scores()["cosine"])


@pytest.mark.parametrize(
    ("taps", "message"),
    [
        ([12], "out of range"),
        ([-13], "out of range"),
        ([0, "blocks.0"], "more than once"),
        (["block.0"], "no module 'block.0'.*blocks"),
        ("blocks.0", "list of indices"),
        ([], "list of indices"),
        ([True], "index or a module name"),
    ],
)
def test_wrong_taps_are_errors(taps: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureComparator(Recipe("vit_tiny_patch16_224", weights="random:0", taps=taps))


@pytest.mark.parametrize("weights", [{0: 1.0}, {0: 1.0, 1: 1.0, 2: 1.0}, {0: 1.0, "blocks.0": 1.0}])
def test_tap_weights_that_do_not_match_the_taps_are_errors(weights: Any) -> None:
    with pytest.raises(ValueError, match=r"tap_weights|more than once"):
        FeatureDistance(**RANDOM_VIT, tap_weights=weights)


def test_a_network_is_built_in_the_open() -> None:
    """First use under inference mode, a meta device, a half default dtype and Lightning's init context."""
    from lightning.fabric.utilities.init import _EmptyInit

    expected = Recipe("vit_tiny_patch16_224", weights="random:5", taps=[0])
    preds, target = make_pair(1)
    score = FeatureComparator(expected)(preds, target)[0].scores()["cosine"]
    gc.collect()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.inference_mode(), torch.device("meta"), _EmptyInit(enabled=True):
            loss = FeatureDistanceLoss(backbone="vit_tiny_patch16_224", weights="random:5", taps=[0])
    finally:
        torch.set_default_dtype(torch.float32)
    net = master(expected)
    assert all(p.device == CPU and p.dtype == torch.float32 and not p.is_inference() for p in net.parameters())
    preds.requires_grad_()
    value = loss(preds, target)
    value.backward()
    torch.testing.assert_close(value.detach(), score[0])


def test_random_weights_leave_the_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_network("vit_tiny_patch16_224", "random:9")
    assert torch.equal(torch.rand(2), expected)


def test_normalisation_is_the_models_own_or_what_is_given() -> None:
    preds, target = make_pair(1)
    own = FeatureComparator(Recipe(**RANDOM_VIT))(preds, target)[0].scores()["cosine"]
    half = ((0.5,) * 3, (0.5,) * 3)  # what this model was trained with
    given = FeatureComparator(Recipe(**RANDOM_VIT, normalization=half))(preds, target)[0].scores()["cosine"]
    raw = FeatureComparator(Recipe(**RANDOM_VIT, normalization="none"))(2 * preds - 1, 2 * target - 1, validate=False)
    torch.testing.assert_close(own, given)
    torch.testing.assert_close(own, raw[0].scores()["cosine"])
    with pytest.raises(ValueError, match="normalization='none'"):
        FeatureComparator(Recipe(Tiny(), taps=["stem"]))


def test_prefix_tokens_are_chosen_and_weighed() -> None:
    preds, target = make_pair(1, 224, 224)
    parts = {
        choice: FeatureComparator(Recipe(**RANDOM_VIT, tokens=choice))(preds, target)[0].scores()["cosine"].item()
        for choice in ("patch", "prefix", "all")
    }
    assert parts["all"] == pytest.approx((196 * parts["patch"] + parts["prefix"]) / 197, rel=1e-4)
    tiled = make_pair(1, 300, 250)
    parts = {
        choice: FeatureComparator(Recipe(**RANDOM_VIT, tokens=choice))(*tiled)[0].scores()["cosine"].item()
        for choice in ("patch", "prefix", "all")
    }
    assert parts["all"] == pytest.approx((196 * parts["patch"] + parts["prefix"]) / 197, rel=1e-4)
    with pytest.raises(ValueError, match="no prefix tokens"):
        FeatureComparator(Recipe("resnet18", weights="random:0", tokens="prefix"))(preds, target)


def test_the_float32_metric_takes_no_notice_of_a_surrounding_autocast() -> None:
    preds, target = make_pair(1)
    comparator = FeatureComparator(
        Recipe(Tiny().eval(), taps=["body"], normalization="none", distance="l2", resolution="native")
    )
    exact = comparator(preds, target)[0].scores()["l2"]
    with torch.autocast("cpu", torch.bfloat16):
        inside = comparator(preds, target)[0].scores()["l2"]
    assert torch.equal(exact, inside)
