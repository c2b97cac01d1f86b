"""LPIPS as recipes, learned weights of channels, and images without a mirrored border."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.conftest import SQUEEZENET, make_pair, needs
from tests.lpips_trunks import trunks, weights_of  # noqa: F401
from torchmetrics_fmiqa import (
    RECIPES,
    FeatureComparator,
    FeatureDistance,
    FeatureDistanceLoss,
    Recipe,
    distances,
    feature_distance,
    feature_distance_map,
    spips,
)
from torchmetrics_fmiqa.benchmark.metrics.network_baselines import lpips_network
from torchmetrics_fmiqa.cli import main
from torchmetrics_fmiqa.cli.options import read_recipe
from torchmetrics_fmiqa.comparator import piecewise
from torchmetrics_fmiqa.features.channel_weights import LPIPS_BACKBONES, read_channel_weights
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache, References

#: LPIPS with a random trunk, for mechanics.
RANDOM = {"recipe": "lpips-squeeze", "weights": "random:0"}
#: Two taps of 64 and 128 channels.
SMALL = {"backbone": "torchvision/squeezenet1_1", "weights": "random:0", "taps": [0, "features.4"]}
ONES = {0: [1.0] * 64, "features.4": [1.0] * 128}


def some_weights(seed: int = 0) -> dict[str | int, list[float]]:
    """Weights of the taps of :data:`SMALL`, a third of them 0."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {tap: torch.rand(len(ones), generator=generator) for tap, ones in ONES.items()}
    return {tap: (values * (values > 0.33)).tolist() for tap, values in drawn.items()}


def value_and_gradient(score: Callable[[Tensor, Tensor], Tensor], pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    image = pair[0].clone().requires_grad_()
    value = score(image, pair[1]).flatten()
    return value.detach(), torch.autograd.grad(value.sum(), image)[0]


# ---- the recipes


@pytest.mark.usefixtures("trunks")
@pytest.mark.parametrize(
    ("net", "size"), [("squeeze", (100, 76)), ("squeeze", (17, 32)), ("alex", (31, 65)), ("vgg", (32, 32))]
)
def test_lpips_is_that_of_torchmetrics_in_value_and_gradient(net: str, size: tuple[int, int]):
    if net == "squeeze":
        needs(SQUEEZENET)
    # The gradient of a random VGG jumps where a rounding changes the sign of a feature: float64 shows what is equal.
    precision = "float64" if net == "vgg" else "float32"
    dtype = getattr(torch, precision)
    theirs = lpips_network(net, pretrained=False).to(dtype)
    preds, target = make_pair(height=size[0], width=size[1])
    pair = preds.to(dtype), target.to(dtype)
    value, gradient = value_and_gradient(lambda *pair: theirs(*pair, normalize=True), pair)
    options = {"weights": weights_of(net), "reduction": "none", "precision": precision}
    found, slope = value_and_gradient(lambda *pair: feature_distance(*pair, f"lpips-{net}", **options), pair)
    torch.testing.assert_close(found, value, rtol=0, atol=1e-6)
    torch.testing.assert_close(slope, gradient, rtol=0, atol=1e-6)
    assert float(value.min()) > 1e-3


def test_the_layers_add_up_to_the_score():
    preds, target = make_pair()
    layers = feature_distance(preds, target, **RANDOM, per_layer=True)
    assert len(layers) == 7
    torch.testing.assert_close(sum(layers.values()), feature_distance(preds, target, **RANDOM))


def test_features_that_are_all_zero_have_a_value_and_a_gradient(tmp_path: Path):
    file = tmp_path / "zeros.safetensors"
    network = FeatureComparator(Recipe(**{**SMALL, "taps": [0]})).backbone.network
    save_file({name: torch.zeros_like(value) for name, value in network._master.state_dict().items()}, file)
    found, slope = value_and_gradient(
        lambda *pair: feature_distance(*pair, "lpips-squeeze", weights=file, reduction="none"), make_pair()
    )
    assert torch.equal(found, torch.zeros(2))
    assert torch.equal(slope, torch.zeros_like(slope))


def test_a_map_has_the_score_as_its_mean_and_a_mask_selects():
    preds, target = make_pair(height=80, width=100)
    drawn = feature_distance_map(preds, target, **RANDOM)
    assert drawn.shape == (2, 1, 80, 100)
    score = feature_distance(preds, target, **RANDOM, reduction="none")
    torch.testing.assert_close(drawn.mean((1, 2, 3)), score)
    mask = torch.ones(2, 1, 80, 100)
    torch.testing.assert_close(feature_distance(preds, target, **RANDOM, reduction="none", mask=mask), score)
    mask[..., 50:] = 0
    kept = feature_distance(preds, torch.where(mask > 0, target, preds), **RANDOM, mask=mask)
    assert float(kept) > 0
    assert float(feature_distance(preds, torch.where(mask > 0, preds, target), **RANDOM, mask=mask)) < 0.3 * float(kept)


def test_large_images_go_in_pieces_with_the_same_number(monkeypatch: pytest.MonkeyPatch):
    preds, target = make_pair(n=1, height=321, width=577)
    whole = feature_distance(preds, target, **RANDOM, per_layer=True)
    monkeypatch.setattr(piecewise, "_SMALL", 1)
    monkeypatch.setattr(piecewise, "BUDGET", 30_000_000)
    comparator = FeatureComparator(RECIPES["lpips-squeeze"].recipe.replace(weights="random:0"))
    plan = comparator.preprocess.plan(preds)
    pieces = comparator._piecewise.pieces(plan)
    assert pieces is not None
    assert len(pieces.rectangles) > 2
    with torch.no_grad():
        found = comparator(preds, target)[0].by_tap()
    for tap, value in whole.items():
        torch.testing.assert_close(found[tap][0], value, rtol=1e-5, atol=1e-9)


def test_references_are_kept(forwarded: list[int]):
    preds, target = make_pair()
    comparator = FeatureComparator(RECIPES["lpips-squeeze"].recipe.replace(weights="random:0"))
    plain = comparator(preds, target)[0].scores()["normalized_l2"]
    references = References(ReferenceCache("100MB"))
    forwarded.clear()
    for _ in range(2):
        kept = comparator(preds, target, references=references)[0].scores()["normalized_l2"]
        torch.testing.assert_close(kept, plain)
    assert forwarded == [4, 2]


def test_one_forward_serves_lpips_and_other_distances(forwarded: list[int]):
    lpips = RECIPES["lpips-squeeze"].recipe.replace(weights="random:0")
    others = [lpips.replace(channel_weights=None, tap_reduction="mean", distance=name) for name in ("cosine", "l2")]
    comparator = FeatureComparator([lpips, *others])
    preds, target = make_pair()
    forwarded.clear()
    found = comparator(preds, target)
    assert forwarded == [4]
    torch.testing.assert_close(found[0].scores()["normalized_l2"], feature_distance(preds, target, lpips, "none"))
    torch.testing.assert_close(found[1].scores()["cosine"], feature_distance(preds, target, others[0], "none"))


def test_the_loss_has_the_number_of_the_metric_also_in_mixed_precision():
    pair = make_pair()
    loss, metric = FeatureDistanceLoss(**RANDOM), FeatureDistance(**RANDOM)
    value, slope = value_and_gradient(loss, pair)
    torch.testing.assert_close(value[0], metric(*pair))
    with torch.autocast("cpu", torch.bfloat16):
        half, half_slope = value_and_gradient(loss, pair)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, value, rtol=0.05, atol=0)
    assert bool(half_slope.isfinite().all())
    assert float(slope.abs().max()) > 0
    assert not loss.state_dict()


def test_a_loss_made_in_inference_mode_trains():
    with torch.inference_mode():
        loss = FeatureDistanceLoss(**SMALL, distance="normalized_l2", channel_weights=some_weights())
        loss(*make_pair())
    assert float(value_and_gradient(loss, make_pair())[1].abs().max()) > 0


def test_spips_takes_it_as_its_recipe():
    preds, target = make_pair()
    assert float(spips(preds, target, **RANDOM)) > 0
    assert float(spips(preds, target, **RANDOM)) != float(spips(preds, target, **RANDOM, channel_weights=None))


def test_it_compiles():
    loss = FeatureDistanceLoss(**SMALL, distance="normalized_l2", channel_weights=some_weights())
    pair = make_pair()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    for own, plain in zip(value_and_gradient(compiled, pair), value_and_gradient(loss, pair), strict=True):
        torch.testing.assert_close(own, plain)


def test_the_command_line_lists_and_prints_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def said(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["fmiqa", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return capsys.readouterr().out

    assert all(f"lpips-{net}" in said("recipes") for net in LPIPS_BACKBONES)
    assert Recipe.from_yaml(said("recipes", "lpips-vgg")) == RECIPES["lpips-vgg"].recipe
    assert "recipe lpips-alex" in said("recipes", "--cite", "lpips-alex")


@pytest.mark.usefixtures("trunks")
def test_the_weights_are_those_that_torchmetrics_ships():
    for net, backbone in LPIPS_BACKBONES.items():
        weights = read_channel_weights("lpips", backbone)
        layers = lpips_network(net, pretrained=False).lins
        assert list(weights) == list(range(len(layers)))
        for tap, layer in enumerate(layers):
            assert torch.equal(torch.tensor(weights[tap]), layer.model[1].weight.flatten())


# ---- weights of channels


@pytest.mark.parametrize("name", distances.POINTWISE)
def test_weights_of_one_change_nothing_and_others_what_they_say(name: str):
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, 2, 9, 6, dtype=torch.float64, generator=generator)
    weights = torch.tensor([0.0, 2.0, 0.5, 1.0, 0.0, 3.0], dtype=torch.float64)
    measure = distances.POINTWISE[name]
    torch.testing.assert_close(measure(one, other, torch.ones(6, dtype=torch.float64)), measure(one, other))
    found = measure(one, other, weights)
    if name == "normalized_l2":
        a, b = (tokens / tokens.norm(dim=-1, keepdim=True) for tokens in (one, other))
        torch.testing.assert_close(found, ((a - b) ** 2 * weights).sum(-1), rtol=0, atol=1e-7)
        torch.testing.assert_close(measure(one, other), 2 * distances.cosine_map(one, other), rtol=0, atol=1e-7)
    else:  # channels of another scale
        scale = weights.sqrt()
        torch.testing.assert_close(found, measure(one * scale, other * scale))
    changed = other.clone()
    changed[..., 0] += 1  # a channel that does not count, but in the length
    assert torch.allclose(measure(one, changed, weights), found) is (name != "normalized_l2")
    torch.testing.assert_close(measure(other, one, weights), found)
    assert torch.equal(measure(one, one, weights), torch.zeros(2, 9, dtype=torch.float64))


@pytest.mark.parametrize("name", distances.POINTWISE)
def test_gradients_are_finite_at_zero_and_right_elsewhere(name: str):
    weights = torch.tensor([0.0, 2.0, 0.5], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, 1, 4, 3, dtype=torch.float64, generator=generator).unbind()
    one.requires_grad_()
    assert torch.autograd.gradcheck(lambda tokens: distances.POINTWISE[name](tokens, other, weights), one)
    for zero in (torch.zeros(1, 4, 3), torch.zeros(1, 4, 3) + torch.tensor([5.0, 0.0, 0.0])):
        zero.requires_grad_()
        value = distances.POINTWISE[name](zero, zero.detach(), weights.float())
        assert not value.any()
        value.sum().backward()
        assert bool(zero.grad.isfinite().all())


def files(folder: Path) -> dict[str, Path]:
    """The same weights in every form of a file."""
    by_name = {"features.1" if tap == 0 else tap: torch.tensor(values) for tap, values in some_weights().items()}
    lpips = {f"lin{place}.model.1.weight": one[None, :, None, None] for place, one in enumerate(by_name.values())}
    paths = {kind: folder / kind for kind in ("names.safetensors", "names.pth", "layers.pth", "copy.safetensors")}
    save_file(by_name, paths["names.safetensors"])
    save_file(by_name, paths["copy.safetensors"])
    torch.save(by_name, paths["names.pth"])
    torch.save(lpips, paths["layers.pth"])
    return paths


def test_files_and_mappings_give_the_same_number(tmp_path: Path):
    preds, target = make_pair()
    options: dict[str, Any] = {**SMALL, "distance": "normalized_l2", "tap_reduction": "sum"}
    expected = feature_distance(preds, target, **options, channel_weights=some_weights())
    for kind, path in files(tmp_path).items():
        # LPIPS counts its layers: these are taps 0 and 1 of the network.
        taps = {"taps": [0, 1]} if kind == "layers.pth" else {}
        torch.testing.assert_close(
            feature_distance(preds, target, **{**options, **taps}, channel_weights=path), expected
        )
    as_tensors = {tap: torch.tensor(values) for tap, values in some_weights().items()}
    as_arrays = {tap: np.asarray(values) for tap, values in some_weights().items()}
    for weights in (as_tensors, as_arrays):
        found = feature_distance(preds, target, **options, channel_weights=weights)
        torch.testing.assert_close(found, expected)
    assert float(expected) != float(feature_distance(preds, target, **options, channel_weights=some_weights(1)))


def test_weights_bind_by_name_whatever_their_order():
    preds, target = make_pair()
    weights = some_weights()
    turned = dict(reversed(weights.items()))
    options = {**SMALL, "distance": ["l2", "normalized_l2"], "per_layer": True}
    one, other = (feature_distance(preds, target, **options, channel_weights=each) for each in (weights, turned))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_digest_is_of_the_content_not_the_path(tmp_path: Path):
    paths = files(tmp_path)
    options = {**SMALL, "distance": "normalized_l2"}
    digests = {kind: Recipe(**options, channel_weights=path).digest for kind, path in paths.items()}
    assert digests["names.safetensors"] == digests["copy.safetensors"] == digests["names.pth"]
    named = {"features.1": some_weights()[0], "features.4": some_weights()["features.4"]}
    assert Recipe(**options, channel_weights=named).digest == digests["names.pth"]
    assert Recipe(**options).digest != digests["names.pth"] != Recipe(**options, channel_weights=ONES).digest
    comparator = pickle.dumps(FeatureComparator(Recipe(**options, channel_weights=paths["names.safetensors"])))
    assert pickle.loads(comparator)
    save_file({"features.1": torch.ones(64), "features.4": torch.ones(128)}, paths["names.safetensors"])
    with pytest.raises(ValueError, match="another file"):
        pickle.loads(comparator)


def test_yaml_keeps_every_digit_and_a_path_is_relative(tmp_path: Path):
    recipe = Recipe(**SMALL, distance="l2", channel_weights=some_weights(), tap_reduction="sum")
    again = Recipe.from_yaml(recipe.to_yaml())
    assert again == recipe
    assert again.digest == recipe.digest
    assert pickle.loads(pickle.dumps(recipe)) == copy.deepcopy(recipe) == recipe
    assert hash(again) == hash(recipe)
    assert len(repr(recipe)) < 600
    path = files(tmp_path)["names.safetensors"]
    text = "backbone: torchvision/squeezenet1_1\nweights: random:0\ndistance: l2\nchannel_weights: names.safetensors\n"
    (tmp_path / "own.yaml").write_text(text)
    assert Recipe.from_yaml(tmp_path / "own.yaml").channel_weights == str(path)


def test_set_of_the_command_line_takes_them(tmp_path: Path):
    path = files(tmp_path)["names.safetensors"]
    recipe = read_recipe("lpips-squeeze", [f"channel_weights={path}", "tap_reduction=mean"])
    assert (recipe.channel_weights, recipe.tap_reduction) == (str(path), "mean")


BAD = {
    "list": ([1.0, 2.0], "must map each tap"),
    "nothing": ({}, "must map each tap"),
    "number": (5, "must map each tap"),
    "suffix": ("weights.csv", "'lpips', a file"),
    "absent": ("absent.safetensors", "absent.safetensors"),
    "negative": ({0: [1.0, -0.5]}, r"tap 0 .*got -0.5.*set negative ones to 0"),
    "nan": ({0: [1.0, float("nan")]}, "got nan"),
    "infinite": ({"features.4": [float("inf")]}, "tap 'features.4'.*got inf"),
    "no numbers": ({0: ["much"]}, "tap 0"),
    "no list": ({0: 1.0}, "tap 0.*got 1.0"),
    "text": ({0: "11"}, "tap 0"),
    "empty": ({0: []}, "tap 0"),
    "key": ({1.5: [1.0]}, "got 1.5"),
    "all 0": ({0: [0.0] * 64, "features.4": [0.0] * 128}, "all 0"),
    "too few": ({0: [1.0] * 63, "features.4": [1.0] * 128}, "'features.1' 63 weights, but it has 64 channels"),
    "a tap too few": ({0: [1.0] * 64}, "'features.4' is in only one"),
    "a tap too many": ({**ONES, 2: [1.0]}, "'features.7' is in only one"),
    "no such tap": ({**ONES, "features.99": [1.0]}, "features.99"),
    "twice": ({**ONES, "features.1": [1.0] * 64}, "more than once"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_weights_are_an_error_that_names_them(case: str):
    weights, message = BAD[case]
    with pytest.raises(ValueError, match=message) as error:
        FeatureDistance(**SMALL, distance="l2", channel_weights=weights)
    assert "channel_weights" in str(error.value) or case in ("no such tap", "twice")


def test_a_file_with_wrong_weights_is_named(tmp_path: Path):
    path = tmp_path / "negative.safetensors"
    save_file({"features.1": torch.tensor([-1.0] * 64), "features.4": torch.ones(128)}, path)
    with pytest.raises(ValueError, match=r"'features.1'.*-1.*negative.safetensors"):
        FeatureDistance(**SMALL, distance="l2", channel_weights=path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"negative.safetensors"):
        FeatureDistance(**SMALL, distance="l2", channel_weights=path)


@pytest.mark.parametrize("backbone", ["torchvision/vgg11", "vit_tiny_patch16_224"])
def test_lpips_has_weights_for_its_own_networks_alone(backbone: str):
    recipe = Recipe(backbone, weights="random:0", distance="l2", channel_weights="lpips")
    with pytest.raises(ValueError, match=r"torchvision/alexnet.*not of"):
        FeatureComparator(recipe)


@pytest.mark.parametrize(
    ("distance", "why"),
    [
        ("wasserstein", "how each channel is spread"),
        ("symmetric_kl", "how each channel is spread"),
        (["l2", "jensen_shannon"], "how each channel is spread"),
        ({"cosine": 1, "symmetric_kl": 1}, "how each channel is spread"),
        (lambda a, b: (a - b).abs().mean((1, 2)), "callable"),
    ],
)
def test_where_weights_have_no_meaning_an_error_says_so(distance: Any, why: str):
    with pytest.raises(ValueError, match=f"`channel_weights` have no meaning.*{why}.*'normalized_l2'"):
        Recipe(**SMALL, distance=distance, channel_weights=ONES)


@pytest.mark.parametrize("fields", [{"channel_weights": {0: [1.0]}}, {"tap_reduction": "sum"}])
def test_the_published_protocol_has_neither(fields: dict[str, Any]):
    with pytest.raises(ValueError, match="not known to the zsiqa protocol"):
        Recipe.zsiqa("vit_tiny_patch16_224").replace(**fields)


def test_taps_are_added_up_by_their_weights():
    preds, target = make_pair()
    options = {**SMALL, "distance": "l2"}
    layers = list(feature_distance(preds, target, **options, per_layer=True).values())
    added = feature_distance(preds, target, **options, tap_weights={0: 3, "features.4": 0.5}, tap_reduction="sum")
    torch.testing.assert_close(added, 3 * layers[0] + 0.5 * layers[1])
    torch.testing.assert_close(feature_distance(preds, target, **options, tap_reduction="sum"), layers[0] + layers[1])
    drawn = feature_distance_map(preds, target, **options, tap_reduction="sum")
    torch.testing.assert_close(drawn.mean(), layers[0] + layers[1])


@pytest.mark.parametrize("argument", ["normalize", "net", "net_type"])
def test_an_argument_of_lpips_leads_to_compat(argument: str):
    with pytest.raises(ValueError, match=r"torchmetrics_fmiqa\.compat"):
        FeatureDistance(**{argument: "vgg"})


# ---- without a mirrored border


def test_unpadded_is_native_where_nothing_would_be_mirrored_and_another_number_elsewhere():
    for size, same in (((64, 96), True), ((70, 96), False)):
        preds, target = make_pair(height=size[0], width=size[1])
        one, other = (feature_distance(preds, target, **SMALL, resolution=how) for how in ("native", "unpadded"))
        assert (float(one) == float(other)) is same


def test_images_that_are_too_small_are_an_error_and_the_smallest_are_not():
    for net, least in (("squeeze", 17), ("alex", 31)):
        metric = FeatureDistance(f"lpips-{net}", weights="random:0")
        small = torch.rand(1, 3, least, 80, generator=torch.Generator().manual_seed(0))
        assert bool(metric(small, 1 - small) > 0)
        with pytest.raises(ValueError, match=rf"at least {least} pixels.*{least - 1}x80.*'native'"):
            metric(small[:, :, 1:], small[:, :, 1:])


def test_a_transformer_needs_whole_patches():
    metric = FeatureDistance("vit-tiny", weights="random:0", resolution="unpadded")
    assert bool(metric(*make_pair(height=48, width=80)) > 0)
    with pytest.raises(ValueError, match=r"multiples of 16.*40x80.*'native'"):
        metric(*make_pair(height=40, width=80))


# ---- two processes


def _shards(rank: int) -> dict[str, float]:
    """Each process sees two images of four."""
    preds, target = make_pair(n=4)
    metric = FeatureDistance(**RANDOM, per_layer=True)
    metric.update(preds[rank::2], target[rank::2])
    return {name: float(value) for name, value in metric.compute().items()}


WORKS = (_shards,)


def test_two_processes_give_the_number_of_one(outcome: Any):
    expected = feature_distance(*make_pair(n=4), **RANDOM, per_layer=True)
    for found in outcome(_shards):
        assert found == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-5)
