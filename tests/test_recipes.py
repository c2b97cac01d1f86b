"""Recipes: what fixes a number, what changes its digest, and what is refused."""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.conftest import make_pair
from torchmetrics_fmiqa import RECIPES, FeatureComparator, FeatureDistance, Recipe, feature_distance
from torchmetrics_fmiqa.features.embedded import EMBEDDED, EmbeddedNetwork
from torchmetrics_fmiqa.recipes import as_recipe, named
from torchmetrics_fmiqa.recipes.facts import FACTS, SETS

VIT = Recipe("vit_tiny_patch16_224", weights="random:0")


def mean_square(preds: Tensor, target: Tensor, power: float = 2.0) -> Tensor:
    return (preds - target).abs().pow(power).mean((1, 2))


def scaled(factor: float):
    def distance(preds: Tensor, target: Tensor) -> Tensor:
        return factor * (preds - target).abs().mean((1, 2))

    return distance


class Conv(nn.Module):
    def __init__(self, seed: int = 0, gain: float = 1.0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layer1 = nn.Conv2d(3, 4, 3, padding=1)
        self.gain = gain

    def forward(self, images: Tensor) -> Tensor:
        return self.layer1(self.gain * images)


def conv_score(module: nn.Module) -> float:
    preds, target = make_pair(n=1, height=32, width=32)
    options = {"taps": ["layer1"], "distance": "l2", "normalization": "none"}
    return float(feature_distance(preds, target, backbone=module, **options))


# ---- fields and overrides


def test_a_recipe_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        VIT.tile = 64


def test_replace_leaves_the_original_alone():
    other = VIT.replace(distance="l2", tile=128)
    assert (other.distance, other.tile, other.weights) == ("l2", 128, "random:0")
    assert (VIT.distance, VIT.tile) == ("cosine", None)


def test_another_backbone_resets_what_belongs_to_a_backbone_and_keeps_the_rest():
    bound = {
        "weights": "random:7",
        "taps": [0, 3],
        "tap_weights": {0: 1.0, 3: 2.0},
        "channel_weights": {0: (1.0,), 3: (2.0,)},
        "normalization": "none",
        "resolution": "native",
        "tile": 112,
        "max_side": 500,
    }
    recipe = Recipe("vit_tiny_patch16_224", distance="l2", tokens="all", clamp_preds=True, **bound)
    other = recipe.replace(backbone="resnet18")
    defaults = {field.name: field.default for field in dataclasses.fields(Recipe)}
    assert {name: getattr(other, name) for name in bound} == {name: defaults[name] for name in bound}
    assert (other.distance, other.tokens, other.clamp_preds) == ("l2", "all", True)


def test_fields_given_beside_another_backbone_win():
    other = VIT.replace(backbone="resnet18", weights="random:3", taps=[1])
    assert (other.weights, other.taps) == ("random:3", (1,))


@pytest.mark.parametrize(("wrong", "near"), [("distnce", "distance"), ("tap", "taps"), ("normalisation", "normaliz")])
def test_an_unknown_field_names_the_nearest(wrong, near):
    with pytest.raises(ValueError, match=f"`{wrong}`.*did you mean `{near}"):
        VIT.replace(**{wrong: 1})


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ValueError, match=r"vit-tny.*vit-tiny"):
        named("vit-tny")


BAD = [
    ("distance", "l3"),
    ("distance", []),
    ("distance", ["l2", "l2"]),
    ("distance", 5),
    ("distance", None),
    ("distance", [3]),
    ("tokens", "cls"),
    ("tokens", ["patch"]),
    ("resolution", "fit"),
    ("normalization", "imagenet"),
    ("normalization", 5),
    ("normalization", ((0, 0, 0), (1, 0, 1))),
    ("normalization", ((0, 0), (1, 1))),
    ("tile", 0),
    ("tile", True),
    ("tile", 1.5),
    ("max_side", -1),
    ("taps", 3),
    ("taps", None),
    ("tap_weights", [1, 2]),
    ("tap_weights", {0: -1, 1: 1}),
    ("tap_weights", {0: 0, 1: 0}),
    ("tap_weights", {0: float("nan")}),
    ("tap_weights", {0: "heavy"}),
    ("tap_weights", {0: None}),
    ("protocol", "lpips"),
    ("clamp_preds", "yes"),
    ("backbone", 5),
    ("backbone", ""),
    ("weights", 5),
]


@pytest.mark.parametrize(("field", "value"), BAD, ids=[f"{field}={value!r}" for field, value in BAD])
def test_a_bad_value_is_a_value_error_that_names_its_field(field, value):
    with pytest.raises(ValueError, match=f"`{field}`"):
        Recipe(**{"backbone": "vit_tiny_patch16_224", field: value})


@pytest.mark.parametrize("weights", ["nofile.pth", "random:x", "random:"])
def test_weights_that_do_not_exist_are_named_when_they_are_needed(weights):
    with pytest.raises(ValueError, match="`weights`"):
        _ = Recipe("vit_tiny_patch16_224", weights=weights).digest


def test_weights_beside_a_module_are_refused():
    with pytest.raises(ValueError, match="`weights="):
        Recipe(Conv(), weights="random:0")


# ---- YAML

ROUND_TRIPS = {
    "plain": VIT,
    "many": Recipe(
        "vit_tiny_patch16_224",
        weights="random:0",
        taps=[0, -1, "norm"],
        tap_weights={0: 1.0, "norm": 2.0},
        distance=["l2", "cosine"],
        tokens="all",
        normalization=((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
        resolution="native",
        tile=112,
        max_side=640,
        clamp_preds=True,
    ),
    "zsiqa": Recipe.zsiqa("vit_tiny_patch16_224", "wsd", "random:0"),
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_yaml_text_and_file_read_back_equal(name, tmp_path):
    recipe = ROUND_TRIPS[name]
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.to_yaml())
    for back in (Recipe.from_yaml(recipe.to_yaml()), Recipe.from_yaml(file), as_recipe(str(file))):
        assert back == recipe
        assert back.digest == recipe.digest


def test_yaml_starts_from_a_named_recipe():
    recipe = Recipe.from_yaml("recipe: zsiqa-vit-b16\ndistance: wsd\n")
    assert recipe == named("zsiqa-vit-b16").replace(distance="wsd")


def test_yaml_weights_count_from_the_folder_of_the_file(tmp_path):
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "mine.pth").write_bytes(b"content")
    (folder / "recipe.yaml").write_text("backbone: vit_tiny_patch16_224\nweights: mine.pth\n")
    recipe = Recipe.from_yaml(folder / "recipe.yaml")
    assert Path(recipe.weights) == folder / "mine.pth"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backbone: resnet18\ndistnce: l2\n", "did you mean `distance`"),
        ("- a\n- b\n", "mapping"),
        ("a: b: c\n", "no YAML"),
        ("", "mapping"),
        ("weights: random:0\n", "backbone"),
        ("recipe: vit-tny\n", "vit-tiny"),
        ("recipe: 5\n", "5"),
        ("recipe: [a]\n", "a"),
    ],
)
def test_yaml_that_is_no_recipe_is_a_value_error(text, message):
    with pytest.raises(ValueError, match=message):
        Recipe.from_yaml(text)


def test_a_missing_recipe_file_is_named():
    with pytest.raises(ValueError, match=r"no recipe file 'missing\.yaml'"):
        Recipe.from_yaml("missing.yaml")


@pytest.mark.parametrize("overrides", [{"distance": mean_square}, {"backbone": Conv()}])
def test_what_yaml_cannot_hold_is_an_error(overrides):
    with pytest.raises(ValueError, match="no YAML form"):
        VIT.replace(**overrides).to_yaml()


# ---- digest


@functools.cache
def digests_elsewhere(hash_seed: str) -> list[str]:
    """Digests of the same recipes in a fresh process."""
    code = """
from torchmetrics_fmiqa import Recipe
many = Recipe("vit_tiny_patch16_224", weights="random:0", tap_weights={0: 1.0, "norm": 2.0}, distance=["l2", "cosine"])
def plain(a, b): return (a - b).abs().mean((1, 2))
def nested(a, b): return sum(map(lambda s: (a - b).abs().pow(s).mean((1, 2)), (1, 2)))
def members(a, b): return (a - b).mean((1, 2)) if a.device.type in {"cpu", "cuda", "mps", "xla"} else a.mean((1, 2))
distances = (plain, nested, members)
print(many.digest, *(Recipe("vit_tiny_patch16_224", weights="random:0", distance=d).digest for d in distances))
"""
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("which", ["names", "function", "nested function", "set constant"])
def test_the_digest_is_the_same_in_every_process(which):
    index = ["names", "function", "nested function", "set constant"].index(which)
    assert len({digests_elsewhere(seed)[index] for seed in ("1", "2")}) == 1


def test_a_weights_file_counts_by_its_content_not_its_path(tmp_path):
    paths = [tmp_path / name for name in ("one.pth", "copy.pth", "other.pth")]
    for path, content in zip(paths, (b"same", b"same", b"else"), strict=True):
        path.write_bytes(content)
    one, copy, other = (Recipe("resnet18", weights=path).digest for path in paths)
    assert one == copy != other


def test_the_digest_differs_for_each_field():
    changes = [
        {"backbone": "vit_small_patch16_224", "weights": "random:0"},
        {"weights": "random:1"},
        {"taps": [0, 1]},
        {"taps": [1, 0]},
        {"tap_weights": {0: 2.0}},
        {"distance": "l2"},
        {"distance": ["cosine", "l2"]},
        {"tokens": "all"},
        {"normalization": "none"},
        {"normalization": ((0.5,) * 3, (0.5,) * 3)},
        {"resolution": "native"},
        {"tile": 112},
        {"max_side": 500},
        {"clamp_preds": True},
        {"clamp_target": True},
        {"protocol": "zsiqa", "distance": "l2"},
        {"pooling": "information"},
        {"distance": {"cosine": 1, "l2": 1}},
        {"distance": {"cosine": 1, "l2": 1}, "combine": "geometric"},
        {"channel_weights": {0: [1.0, 2.0]}},
        {"channel_weights": {0: [2.0, 1.0]}},
        {"channel_weights": {1: [1.0, 2.0]}},
        {"tap_reduction": "sum"},
    ]
    assert {name for change in changes for name in change} == {field.name for field in dataclasses.fields(Recipe)}
    digests = [VIT.digest, *(VIT.replace(**change).digest for change in changes)]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 12 and int(digest, 16) >= 0 for digest in digests)


def with_keyword(value: float):
    def distance(preds: Tensor, target: Tensor, *, factor: float = value) -> Tensor:
        return factor * (preds - target).mean((1, 2))

    return distance


def with_default(value: float):
    def distance(preds: Tensor, target: Tensor, factor: float = value) -> Tensor:
        return factor * (preds - target).mean((1, 2))

    return distance


def one_hot(index: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(index), 5000)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda a, b: (a - b).abs().mean((1, 2)), lambda a, b: (a - b).pow(2).mean((1, 2))),
        (lambda a, b: 2 * (a - b).mean((1, 2)), lambda a, b: 3 * (a - b).mean((1, 2))),
        (scaled(1.0), scaled(2.0)),
        (with_default(1.0), with_default(2.0)),
        (functools.partial(mean_square, power=1.0), functools.partial(mean_square, power=2.0)),
        (with_keyword(1.0), with_keyword(2.0)),
        (scaled(one_hot(2000)), scaled(one_hot(3000))),
    ],
    ids=["body", "constant", "closure", "default", "partial", "keyword default", "tensor in closure"],
)
def test_two_callables_of_one_name_have_two_digests(one, other):
    digests = [VIT.replace(distance=distance).digest for distance in (one, other)]
    assert digests[0] != digests[1]
    assert VIT.replace(distance=one).digest == digests[0]


def test_a_partial_scores():
    preds, target = make_pair(n=2, height=32, width=32)
    options = {"backbone": "vit_tiny_patch16_224", "weights": "random:0", "taps": [0], "reduction": "none"}
    one = feature_distance(preds, target, distance=functools.partial(mean_square, power=2.0), **options)
    torch.testing.assert_close(one, feature_distance(preds, target, distance=mean_square, **options))


def test_equal_recipes_are_equal_and_hash_alike():
    assert {VIT, Recipe("vit_tiny_patch16_224", weights="random:0")} == {VIT}


# ---- modules


def test_modules_of_equal_content_have_one_digest():
    assert Recipe(Conv(0)).digest == Recipe(Conv(0)).digest != Recipe(Conv(1)).digest


def test_a_module_that_differs_in_a_plain_attribute_is_another_backbone():
    assert Recipe(Conv(gain=1.0)).digest != Recipe(Conv(gain=3.0)).digest
    assert conv_score(Conv(gain=1.0)) != conv_score(Conv(gain=3.0))


def test_training_the_original_changes_no_score():
    preds, target = make_pair(n=1, height=32, width=32)
    module = Conv().train()
    recipe = Recipe(module, taps=["layer1"], distance="l2", normalization="none")
    before, digest = feature_distance(preds, target, recipe), recipe.digest
    with torch.no_grad():
        module.layer1.weight.mul_(5)
    assert module.training
    assert module.layer1.weight.requires_grad
    assert torch.equal(feature_distance(preds, target, recipe), before)
    assert recipe.digest == digest != Recipe(module, **{"taps": ["layer1"], "distance": "l2"}).digest
    assert not any(parameter.requires_grad for parameter in recipe.backbone.module.parameters())
    assert not recipe.backbone.module.training


# ---- the table


@functools.cache
def built(backbone: str) -> nn.Module:
    with torch.device("meta"):
        if backbone.startswith("torchvision/"):
            from torchvision import models

            return models.get_model(backbone.removeprefix("torchvision/"), weights=None)
        if backbone == EMBEDDED:
            return EmbeddedNetwork()
        return timm.create_model(backbone)


@pytest.mark.parametrize("name", RECIPES)
def test_a_named_recipe_is_what_the_table_says(name):
    entry = RECIPES[name]
    backbone = str(entry.recipe.backbone)
    net = built(backbone)
    millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    # The table has one decimal, which is more than 1 % for the smallest.
    assert entry.parameters == pytest.approx(millions, rel=0.01, abs=0.05)
    if not backbone.startswith(("torchvision/", "fmiqa/")):
        assert timm.is_model(backbone.split(".")[0])
        assert backbone in timm.list_pretrained()
        assert entry.licence == (net.pretrained_cfg.get("license") or entry.licence)


def test_the_default_is_the_embedded_network():
    assert named("default").backbone == EMBEDDED
    assert as_recipe() == named("embedded")
    assert named("accurate") == named("dino-vit-b16")


@pytest.mark.parametrize("name", ["embedded", "squeezenet", "vit-tiny"])
def test_the_cost_of_a_recipe_is_what_the_table_says(name: str) -> None:
    comparator = FeatureComparator(as_recipe(name, weights="random:0"))
    image = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(0))
    # Which fused attention a version picks, and whether the counter sees it, is no property of the recipe.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        comparator(image, image.flip(3))
    assert counter.get_total_flops() / 2e9 == pytest.approx(RECIPES[name].facts.gmacs, abs=0.051)


def test_figures_of_the_table_are_correlations_or_unknown() -> None:
    assert set(FACTS) == set(RECIPES) - {"default", "accurate"}
    for facts in FACTS.values():
        assert set(facts.people) <= set(SETS)
        for one in facts.people.values():
            assert 0.5 < one.low < one.srcc < one.high < 1
            assert 0.5 < one.within < 1
        for value in (facts.tid2013, facts.live):
            assert value is None or 0.5 < value < 1


def test_a_network_given_as_recipe_is_an_error_that_says_where_it_belongs() -> None:
    with pytest.raises(ValueError, match="got a Conv2d; a network is `backbone=`"):
        FeatureDistance(nn.Conv2d(3, 4, 3))


def test_another_backbone_brings_its_own_input() -> None:
    name = str(named("vit-tiny").backbone)
    assert as_recipe("vgg16", backbone=name).normalization == named("vit-tiny").normalization == "none"
    assert as_recipe("vit-tiny", backbone="torchvision/vgg16") == named("vgg16")
    assert as_recipe("vit-tiny", backbone="torchvision/vgg16", normalization="none").normalization == "none"


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_survive_yaml(name: str) -> None:
    recipe = RECIPES[name].recipe
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    plain = Recipe(recipe.backbone)  # the class's defaults, not the backbone's
    assert Recipe.from_yaml(plain.to_yaml()) == plain
