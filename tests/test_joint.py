"""Distances of one forward pass that are joined into one score: its rule, its map, and every door it goes through."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from typer.testing import CliRunner

from tests.conftest import RANDOM_VIT, make_pair
from tests.test_pieces import in_pieces, noisy_pair, small  # noqa: F401
from torchmetrics_fmiqa import (
    FeatureComparator,
    FeatureDistance,
    FeatureDistanceLoss,
    FeatureMetricCollection,
    Recipe,
    feature_distance,
    feature_distance_map,
)
from torchmetrics_fmiqa.benchmark.metrics.panel import RecipeMember
from torchmetrics_fmiqa.cli import app
from torchmetrics_fmiqa.cli.options import split_names, with_distance
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.distances.joint import Joint
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache, References

RULES = ["mean", "geometric"]
each_rule = pytest.mark.parametrize("rule", RULES)
few = settings(max_examples=50, deadline=None, derandomize=True)
WEIGHTS = {"cosine": 1.0, "symmetric_kl": 2.0}
NAME = "cosine+symmetric_kl"
EMBEDDED = {"backbone": "fmiqa/embedded", "weights": "random:0", "taps": [1, 2], "pooling": "mean"}
values = st.lists(st.floats(0, 1e3), min_size=2, max_size=4)


def joint_recipe(rule: str, fields: dict[str, Any] = EMBEDDED, **others: Any) -> Recipe:
    return Recipe(**{**fields, "distance": WEIGHTS, "combine": rule, **others})


def joint_of(count: int, rule: str) -> Joint:
    weights = [place + 1 for place in range(count)]
    return Joint(tuple("abcd"[:count]), tuple(weight / sum(weights) for weight in weights), rule)  # type: ignore[arg-type]


def tensors(numbers: list[float]) -> list[Tensor]:
    return [torch.tensor([number], dtype=torch.float64) for number in numbers]


# The rule


@each_rule
@few
@given(numbers=values, scale=st.floats(1.5, 10))
def test_axioms(rule: str, numbers: list[float], scale: float) -> None:
    joint = joint_of(len(numbers), rule)
    score = float(joint.score(tensors(numbers)))
    slack = 1e-9 * (1 + max(numbers))
    assert min(numbers) - slack <= score <= max(numbers) + slack
    assert float(joint.score(tensors([0.0] * len(numbers)))) == 0
    grown = [number * scale for number in numbers]
    assert float(joint.score(tensors(grown))) >= score - slack
    assert math.isclose(
        float(joint.score(tensors([numbers[0]] * len(numbers)))), numbers[0], rel_tol=1e-9, abs_tol=1e-15
    )


@few
@given(numbers=st.lists(st.floats(0.01, 100), min_size=2, max_size=4))
def test_geometric_is_the_geometric_mean_of_what_is_not_tiny(numbers: list[float]) -> None:
    joint = joint_of(len(numbers), "geometric")
    product = math.prod(number**weight for number, weight in zip(numbers, joint.weights, strict=True))
    assert float(joint.score(tensors(numbers))) == pytest.approx(product, rel=2e-4)
    exact = 1e-6 * (math.prod((1 + n / 1e-6) ** w for n, w in zip(numbers, joint.weights, strict=True)) - 1)
    assert float(joint.score(tensors(numbers))) == pytest.approx(exact, rel=1e-9)


@each_rule
@few
@given(numbers=values)
def test_factors_make_the_mean_of_the_map_the_score(rule: str, numbers: list[float]) -> None:
    joint = joint_of(len(numbers), rule)
    means = tensors(numbers)
    drawn = sum(factor * mean for factor, mean in zip(joint.factors(means), means, strict=True))
    torch.testing.assert_close(drawn, joint.score(means), rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("at", [[0.0, 0.0], [0.0, 1.0], [1e-9, 1e-7], [1e-3, 2.0], [1.0, 1e4]])
@each_rule
def test_gradients_are_the_derivatives_and_finite(rule: str, at: list[float]) -> None:
    joint = joint_of(2, rule)
    means = [one.requires_grad_() for one in tensors(at)]
    (*slopes,) = torch.autograd.grad(joint.score(means).sum(), means)
    assert all(slope.isfinite() and slope > 0 for slope in slopes)
    for place, slope in enumerate(slopes):
        step = 1e-5 * max(at[place], 1e-6)
        near = [list(at), list(at)]
        near[1][place] += step
        change = (joint.score(tensors(near[1])) - joint.score(tensors(near[0]))) / step
        torch.testing.assert_close(slope, change, rtol=1e-3, atol=1e-7)
    if rule == "geometric":
        assert all(one.isfinite() for one in torch.autograd.grad(joint.factors(means)[0].sum(), means))


@each_rule
def test_float32_agrees_with_float64(rule: str) -> None:
    joint = joint_of(3, rule)
    drawn = [10 ** torch.empty(500, dtype=torch.float64).uniform_(-8, 3) for _ in range(3)]
    exact = joint.score([one.float().double() for one in drawn])
    torch.testing.assert_close(joint.score([one.float() for one in drawn]).double(), exact, rtol=5e-6, atol=0)


# Recipes


def test_a_recipe_says_how_it_joins_and_goes_by_its_digest(tmp_path: Path) -> None:
    recipe = joint_recipe("geometric")
    assert recipe.results == (NAME,)
    assert recipe.joint.weights == (1 / 3, 2 / 3)
    assert recipe == joint_recipe("geometric", distance=dict(reversed(WEIGHTS.items())))
    assert recipe.digest == joint_recipe("geometric", distance={"cosine": 3, "symmetric_kl": 6}).digest
    others = [joint_recipe("mean"), recipe.replace(distance={"cosine": 1, "symmetric_kl": 1}), Recipe(**EMBEDDED)]
    assert len({recipe.digest, *(other.digest for other in others)}) == 4
    assert Recipe(**EMBEDDED, distance=WEIGHTS).combine == "mean"
    for again in (Recipe.from_yaml(recipe.to_yaml()), pickle.loads(pickle.dumps(recipe)), copy.deepcopy(recipe)):
        assert again == recipe
        assert again.digest == recipe.digest
    path = tmp_path / "joint.yaml"
    path.write_text(recipe.to_yaml())
    assert "combine: geometric" in path.read_text()
    assert Recipe.from_yaml(path) == recipe
    json.dumps(recipe.identity)


def test_another_distance_is_no_longer_joined() -> None:
    recipe = joint_recipe("geometric")
    assert recipe.replace(distance="l2").combine is None
    assert recipe.replace(distance=["l2", "cosine"]).results == ("l2", "cosine")
    assert recipe.replace(distance={"l2": 1, "cosine": 1}).combine == "geometric"
    assert recipe.replace(tokens="all").combine == "geometric"


def test_digests_of_before_stay() -> None:
    fields = {"backbone": "resnet18", "weights": "random:0"}
    assert Recipe(**fields, distance=["l2", "symmetric_kl"]).digest == "87bca3131396"
    assert Recipe(**fields, tap_weights={0: 1, 1: 2}, taps=[0, 1]).digest == "12009b7c5bd3"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"distance": {}}, r"two or more distances.*got \{\}: take distance='cosine'"),
        ({"distance": {"l2": 1}}, "two or more distances.*take distance='l2' for one"),
        ({"distance": {"cosine": 1, "cosin": 1}}, "'cosin' is not known.*which has l2, cosine"),
        ({"distance": {"cosine": 1e308, "l2": 1e308}}, "has weights without a finite sum: only proportions count"),
        ({"distance": {"cosine": 0, "l2": 1}}, "gives 'cosine' the weight 0: weights are finite numbers above 0"),
        ({"distance": {"cosine": -1, "l2": 1}}, "gives 'cosine' the weight -1"),
        ({"distance": {"cosine": math.nan, "l2": 1}}, "'cosine' the weight nan"),
        ({"distance": {"cosine": math.inf, "l2": 1}}, "'cosine' the weight inf"),
        ({"distance": {"cosine": "1", "l2": 1}}, "'cosine' the weight '1'"),
        ({"distance": {"cosine": True, "l2": 1}}, "'cosine' the weight True"),
        ({"distance": {"cosine": None, "l2": 1}}, "'cosine' the weight None"),
        ({"distance": {3: 1, "l2": 1}}, "`distance` must be a name, a callable"),
        ({"distance": "l2", "combine": "mean"}, "`combine='mean'` joins several.*give distance={'cosine': 1"),
        ({"distance": ["l2", "cosine"], "combine": "geometric"}, "give distance={'cosine': 1"),
        ({"distance": WEIGHTS, "combine": "median"}, "`combine` must be one of mean, geometric; got 'median'"),
        ({"distance": {"l2": 1, "jsd": 1}, "protocol": "zsiqa"}, "zsiqa protocol does not: name one of its published"),
    ],
)
def test_what_does_not_join_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**EMBEDDED, **fields)


# Scores


@each_rule
@pytest.mark.parametrize("pooling", ["mean", "information"])
@pytest.mark.parametrize("fields", [EMBEDDED, RANDOM_VIT], ids=["native", "tiles"])
def test_the_score_joins_at_each_tap_and_the_map_has_it_as_its_mean(rule: str, pooling: str, fields: dict) -> None:
    preds, target = make_pair(2, 230, 250)
    recipe = joint_recipe(rule, fields, pooling=pooling, tap_weights={fields["taps"][0]: 1, fields["taps"][1]: 3})
    found = FeatureComparator(recipe)(preds, target)[0]
    alone = FeatureComparator(recipe.replace(distance=list(WEIGHTS)))(preds, target)[0]
    for name, one in alone.per_tap.items():
        assert torch.equal(found.singles[name], one)
    expected = recipe.joint.score(list(alone.per_tap.values()))
    assert torch.equal(found.per_tap[NAME], expected)
    torch.testing.assert_close(found.scores()[NAME], (expected[:, 0] + 3 * expected[:, 1]) / 4)
    drawn = feature_distance_map(preds, target, recipe, per_layer=True)
    assert list(drawn) == ["score", *found.labels[NAME]]
    torch.testing.assert_close(drawn["score"].mean((1, 2, 3)), found.scores()[NAME], rtol=1e-5, atol=0)
    for tap, column in zip(found.labels[NAME], expected.unbind(1), strict=True):
        torch.testing.assert_close(drawn[tap].mean((1, 2, 3)), column, rtol=1e-5, atol=0)
    assert drawn["score"].min() >= 0
    equal = FeatureComparator(recipe).maps(target, target.clone())[NAME]["score"]
    assert not equal.any()


@each_rule
def test_per_layer_gives_the_joint_and_each_distance(rule: str) -> None:
    preds, target = make_pair(2, 48, 48)
    recipe = joint_recipe(rule)
    metric = FeatureDistance(recipe, per_layer=True)
    found, twin = metric(preds, target), feature_distance(preds, target, recipe, per_layer=True)
    taps = metric.comparator.labels()[NAME]
    assert list(found) == list(twin) == [*taps, *(f"{name}/{tap}" for name in WEIGHTS for tap in taps)]
    for name in found:
        torch.testing.assert_close(found[name], twin[name])
        torch.testing.assert_close(metric.compute()[name], twin[name])
    torch.testing.assert_close(FeatureDistance(recipe)(preds, target), feature_distance(preds, target, recipe))


@each_rule
def test_pieces_give_the_number_of_the_whole(in_pieces: list[int], rule: str) -> None:  # noqa: F811
    preds, target = (side.double() for side in noisy_pair(251, 317))
    mask = torch.rand(1, 1, 251, 317, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    comparator = FeatureComparator(small(distance=WEIGHTS, combine=rule), precision="float64")
    pieces, drawn = comparator(preds, target, mask)[0].scores(), comparator.maps(preds, target)[NAME]["score"]
    assert min(in_pieces) > 4
    comparator._piecewise.__dict__["_in_pieces"] = False
    torch.testing.assert_close(pieces, comparator(preds, target, mask)[0].scores(), rtol=1e-9, atol=0)
    torch.testing.assert_close(drawn, comparator.maps(preds, target)[NAME]["score"], rtol=1e-9, atol=1e-12)


@each_rule
def test_a_collection_shares_one_forward_and_a_cache_serves_it(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    preds, target = make_pair(2, 48, 48)
    recipe = joint_recipe(rule)
    members = {"joint": FeatureDistance(recipe), "single": FeatureDistance(recipe.replace(distance="symmetric_kl"))}
    collection = FeatureMetricCollection(members)
    calls: list[int] = []
    forward = FeatureComparator.__call__
    monkeypatch.setattr(FeatureComparator, "__call__", lambda self, *args: calls.append(1) or forward(self, *args))
    found = collection(preds, target)
    assert len(calls) == 1
    torch.testing.assert_close(found["joint"], feature_distance(preds, target, recipe))
    torch.testing.assert_close(collection.last_scores("joint"), feature_distance(preds, target, recipe, "none"))
    cache = ReferenceCache("64MiB")
    for _ in range(2):
        collection.reset()
        collection.update(preds, target, references=References(cache))
        torch.testing.assert_close(collection.compute()["joint"], found["joint"])


@each_rule
def test_masks_lists_and_types(rule: str) -> None:
    preds, target = make_pair(2, 48, 64)
    recipe = joint_recipe(rule)
    mask = torch.zeros(2, 1, 48, 64)
    mask[..., :24, :] = 1
    found = FeatureComparator(recipe)(preds, target, mask)[0]
    torch.testing.assert_close(found.per_tap[NAME], recipe.joint.score(list(found.singles.values())))
    score = feature_distance(preds, target, recipe, reduction="none")
    listed = feature_distance(list(preds), list(target), recipe, reduction="none")
    torch.testing.assert_close(listed, score)
    bytes_ = [(255 * side).round().to(torch.uint8) for side in (preds, target)]
    torch.testing.assert_close(feature_distance(*bytes_, recipe, reduction="none"), score, rtol=0.05, atol=0)
    assert FeatureDistance(recipe, precision="float64")(preds.double(), target.double()).isfinite()
    torch.testing.assert_close(
        FeatureComparator(recipe, precision="float64")(preds.double(), target.double())[0].scores()[NAME],
        score.double(),
        rtol=1e-4,
        atol=0,
    )


# The loss


@each_rule
@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-3, 0.1])
def test_the_loss_has_a_finite_gradient_at_and_near_equality(rule: str, noise: float) -> None:
    _, target = make_pair(1, 40, 40)
    generator = torch.Generator().manual_seed(0)
    preds = (target + noise * torch.randn(target.shape, generator=generator)).requires_grad_()
    value = FeatureDistanceLoss(joint_recipe(rule))(preds, target)
    value.backward()
    assert preds.grad.isfinite().all()
    assert (value > 0) == bool(preds.grad.any()) == (noise > 0)


@each_rule
def test_gradcheck_of_the_loss(rule: str) -> None:
    target = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    other = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    preds = (0.8 * target + 0.2 * other).requires_grad_()
    recipe = joint_recipe(rule, {**EMBEDDED, "taps": [0], "normalization": "none"})
    loss = FeatureDistanceLoss(recipe, precision="float64")
    assert torch.autograd.gradcheck(lambda images: loss(images, target), (preds,), fast_mode=True)


@each_rule
def test_compiled_and_vmapped(rule: str) -> None:
    preds, target = make_pair(2, 48, 48)
    loss = FeatureDistanceLoss(joint_recipe(rule), reduction="none")
    expected = loss(preds, target)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    leaf = preds.clone().requires_grad_()
    torch.testing.assert_close(compiled(leaf, target), expected, rtol=1e-4, atol=1e-7)
    found = torch.vmap(lambda one, other: loss(one[None], other[None])[0])(preds, target)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    drawn = torch.vmap(lambda a, b: feature_distance_map(a[None], b[None], joint_recipe(rule))[0])(preds, target)
    torch.testing.assert_close(drawn, feature_distance_map(preds, target, joint_recipe(rule)), rtol=1e-3, atol=1e-6)


# Doors


def absolute(preds: Tensor, target: Tensor) -> Tensor:
    return (preds - target).abs().mean((1, 2))


def test_a_callable_joins_but_has_no_map_and_no_yaml() -> None:
    preds, target = make_pair(1, 32, 32)
    recipe = Recipe(**EMBEDDED, distance={absolute: 1, "l2": 1}, combine="geometric")
    assert recipe.results == ("absolute+l2",)
    assert len(recipe.digest) == 12
    assert feature_distance(preds, target, recipe) > 0
    assert not FeatureComparator(recipe).has_maps
    with pytest.raises(ValueError, match=r"'absolute' has no map: take distance='l2'.*a callable gives one number"):
        feature_distance_map(preds, target, recipe)
    with pytest.raises(ValueError, match="no YAML form"):
        recipe.to_yaml()


def test_one_without_a_map_takes_the_map_and_the_mask_away() -> None:
    preds, target = make_pair(1, 32, 32)
    recipe = Recipe(**EMBEDDED, distance={"wasserstein": 1, "l2": 1})
    assert feature_distance(preds, target, recipe) > 0
    with pytest.raises(ValueError, match="'wasserstein' has no map: take"):
        feature_distance_map(preds, target, recipe)
    with pytest.raises(ValueError, match="'wasserstein' does not keep: take"):
        feature_distance(preds, target, recipe, mask=torch.ones(1, 1, 32, 32))
    assert FeatureComparator(joint_recipe("geometric")).has_maps


def test_a_benchmark_takes_it_as_one_metric() -> None:
    member = RecipeMember("own", joint_recipe("geometric"), "float32")
    assert member.names == ("own",)
    preds, target = make_pair(2, 32, 32)
    comparator = FeatureComparator(joint_recipe("geometric"))
    found = member.scores(comparator(preds, target)[0], taps=True)
    assert len(found) == 1 + len(comparator.labels()[NAME])


@pytest.fixture
def pair_of_files(tmp_path: Path) -> tuple[str, str]:
    from PIL import Image

    for name, side in zip(("ref", "dist"), make_pair(1, 40, 48), strict=True):
        pixels = (255 * side[0]).round().to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return str(tmp_path / "ref.png"), str(tmp_path / "dist.png")


def test_the_command_line_joins(pair_of_files: tuple[str, str], tmp_path: Path) -> None:
    ref, dist = pair_of_files
    fields = ["--set", "weights=random:0", "--set", "taps=[1, 2]", "--set", "pooling=mean"]
    options = ["--distance", "cosine=1,symmetric_kl=2", "--combine", "geometric"]
    out = tmp_path / "scores.json"
    run = CliRunner().invoke(app, ["score", ref, dist, *fields, *options, "--layers", "--out", str(out)])
    assert run.exit_code == 0, run.output
    (row,) = json.loads(out.read_text())
    target, preds = (read_image(path)[None] for path in (ref, dist))
    recipe = joint_recipe("geometric")
    assert row["score"] == pytest.approx(float(feature_distance(preds, target, recipe)), rel=1e-5)
    for name, one in feature_distance(preds, target, recipe, per_layer=True).items():
        assert row[name] == pytest.approx(float(one), rel=1e-5)
    drawn = CliRunner().invoke(app, ["map", ref, dist, *fields, *options, "--out", str(tmp_path / "map.png")])
    assert drawn.exit_code == 0, drawn.output
    assert f"{NAME} distance" in drawn.output
    assert split_names("a:distance={l2: 1, cosine: 2},b") == ["a:distance={l2: 1, cosine: 2}", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosine=1,symmetric_kl", "a number as weight of each name or of none; got 'cosine=1,symmetric_kl'"),
        ("cosine=many,l2=1", "a number as weight"),
        ("cosine,cosine", "one or more different names"),
        (",", "one or more different names"),
        ("=1,l2=2", "one or more different names"),
    ],
)
def test_a_distance_option_that_says_nothing_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_distance(None, text, None)


def test_distance_options_stand_for_fields() -> None:
    assert with_distance(["tokens=all"], "l2", None) == ["tokens=all", 'distance="l2"']
    assert with_distance(None, "l2,cosine", None) == ['distance=["l2", "cosine"]']
    assert with_distance(None, None, None) == []
    with pytest.raises(ValueError, match="`--distance` and `--set distance` say the same"):
        with_distance(["distance=l2"], "cosine", None)
