"""SPIPS: metric, functional and loss give one number, by hand too; heads bind to what they were trained for."""

from __future__ import annotations

import copy
import csv
import gc
import json
import os
import pickle
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy import stats
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio
from torchmetrics.wrappers import BootStrapper, MetricTracker, MinMaxMetric, Running

from tests.conftest import ASSETS, RANDOM_VIT, losses_of_training, make_pair, needs
from tests.lightning_tools import loader, one_thread, pictures, validate  # noqa: F401
from tests.spips_heads import random_tap_statistics, recipe_of, trained
from torchmetrics_fmiqa import (
    SPIPS,
    FeatureDistance,
    FeatureMetricCollection,
    ImageQualityMonitor,
    Recipe,
    ScenePerceivedImagePerceptualScore,
    SpipsLoss,
    SpipsRecipe,
    feature_distance,
    spips,
)
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.features.network import load_network
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache, References
from torchmetrics_fmiqa.fitting.dataset import MeasuredSet
from torchmetrics_fmiqa.spips_model.checkpoint import load_spips, save_head, save_spips
from torchmetrics_fmiqa.spips_model.fusion_head import FusionHead
from torchmetrics_fmiqa.spips_model.model import INPUTS, PARTS, FixedHead, SpipsHead
from torchmetrics_fmiqa.spips_model.quality_maps import CONVENTIONAL, conventional, quality_maps
from torchmetrics_fmiqa.spips_model.recipe import as_spips_recipe
from torchmetrics_fmiqa.spips_model.scorer import SpipsScorer

VIT: dict[str, Any] = {**RANDOM_VIT, "taps": [0, 1, 2]}
SQUEEZE: dict[str, Any] = {"backbone": "torchvision/squeezenet1_1", "weights": "random:0", "taps": [0, 2, 3]}
SOME_PARTS = [PARTS, *((part,) for part in PARTS), *(tuple(p for p in PARTS if p != part) for part in PARTS)]


@pytest.fixture(scope="module", autouse=True)
def networks() -> Any:
    """Keep the networks in the process-wide registry, which is weak: built once, not once a test."""
    return [load_network(fields["backbone"], fields["weights"]) for fields in (VIT, SQUEEZE)]


# Doors


@cache
def vit_head(opinions: bool = True, **fields: Any) -> SpipsHead:
    return trained(recipe_of(VIT), opinions=opinions, **fields)


def way(name: str) -> dict[str, Any]:
    """Arguments of all doors."""
    return {
        "fixed": {},
        "parts": {"parts": ("low_level", "conventional")},
        "streams": {"low_level": [2, 0], "semantic": [1]},
        "trained": {"head": vit_head()},
        "linear": {"head": vit_head(linear=True, parts=("semantic", "conventional"))},
    }[name]


WAYS = ("fixed", "parts", "streams", "trained", "linear")
ways = pytest.mark.parametrize("name", WAYS)


def build(**fields: Any) -> ScenePerceivedImagePerceptualScore:
    return SPIPS(**{**VIT, **fields})


def twin(preds: Any, target: Any, **fields: Any) -> Tensor:
    return spips(preds, target, **{**VIT, **fields})


def quality(**fields: Any) -> ScenePerceivedImagePerceptualScore:
    return build(head=vit_head(), output="quality", **fields)


def batch(n: int = 2, seed: int = 0, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    return make_pair(n, 32, 32, seed=seed, noise=noise)


def assert_same(got: Any, expected: Any, rtol: float = 1e-5) -> None:
    torch.testing.assert_close(got, expected, rtol=rtol, atol=1e-8)


def measured_of(preds: Tensor, target: Tensor, **fields: Any) -> TapStatistics:
    measured: TapStatistics = SpipsScorer(recipe_of({**VIT, **fields})).comparator(preds, target)[0]
    return measured


# By hand


def test_the_fixed_score_is_the_mean_distance_over_taps() -> None:
    preds, target = make_pair(3, 70, 50)
    fields = {**VIT, "taps": [0, 1, 2, 3, 4]}
    taps = feature_distance(preds, target, per_layer=True, reduction="none", **fields)
    low, semantic = (sum(taps[f"blocks.{i}"] for i in some) / len(some) for some in ((0, 1, 2), (3, 4)))
    expected = {
        PARTS: feature_distance(preds, target, reduction="none", **fields),
        ("low_level",): low,
        ("semantic",): semantic,
        ("conventional",): quality_maps(preds, target)["ms_ssim"].mean((1, 2, 3)),
        ("conventional", "low_level"): low,
    }
    for parts, score in expected.items():
        assert_same(spips(preds, target, reduction="none", parts=parts, **fields), score)


def test_the_default_without_a_head_is_the_default_distance_at_two_taps() -> None:
    preds, target = make_pair(2, 48, 80)
    assert_same(spips(preds, target), feature_distance(preds, target, taps=(0, 1)))


def score_by_hand(head: SpipsHead, measured: TapStatistics) -> np.ndarray:
    """A trained head in numpy."""
    state = {name: value.double().numpy() for name, value in head.state_dict().items()}
    split, parts = len(head.low_level), head.parts

    def softmax(x: np.ndarray) -> np.ndarray:
        return np.exp(x) / np.exp(x).sum()

    spread, summary, reference, own = (
        part.double().numpy() for part in (measured.spread, measured.summary, measured.reference, measured.of_images)
    )
    spread, summary = spread / state["tap_size"][:, None], summary / state["whole_size"]
    share = np.full(len(spread), 0.5)
    if "semantic" in parts and "low_level" in parts:
        seen = (reference - state["reference_mean"]) / state["reference_std"]
        share = 1 / (1 + np.exp(-(seen @ state["gate.weight"][0] + state["gate.bias"])))
    columns = []
    if "semantic" in parts:
        weights = softmax(state["semantic_weights"])
        pooled = np.einsum("nlp,l->np", spread[:, split:], weights)
        columns.append(np.column_stack([pooled, summary[:, split:] @ weights]) * 2 * share[:, None])
    if "low_level" in parts:
        weights = softmax(state["low_level_weights"])
        columns.append(np.einsum("nlp,l->np", spread[:, :split], weights) * 2 * (1 - share[:, None]))
    if "conventional" in parts:
        columns.append(own)
    compressed = np.arcsinh(np.concatenate(columns, 1) / state["fusion.knee"])
    hidden = (compressed - state["fusion.mean"]) / state["fusion.std"]
    layers = sorted({int(name.split(".")[2]) for name in state if name.startswith("fusion.network")})
    for layer in layers:
        hidden = hidden @ state[f"fusion.network.{layer}.weight"].T + state[f"fusion.network.{layer}.bias"]
        if layer != layers[-1]:
            hidden = hidden * stats.norm.cdf(hidden)
    difference = (np.abs(compressed) / state["fusion.std"]).mean(1)
    return np.asarray(np.logaddexp(0, hidden[:, 0]) * -np.expm1(-difference))


@pytest.mark.parametrize("parts", SOME_PARTS, ids="+".join)
@pytest.mark.parametrize("shape", [{}, {"linear": True}, {"hidden": (5, 4, 3)}], ids=["default", "linear", "deep"])
def test_a_trained_head_equals_the_computation_by_hand(parts: tuple[str, ...], shape: dict[str, Any]) -> None:
    recipe = recipe_of({**VIT, "taps": [0, 1, 2, 3, 4]})
    head = trained(recipe, parts=parts, seed=3, **shape)
    measured = random_tap_statistics(recipe.taps, 192, 20, seed=9)
    assert head(measured).detach().numpy() == pytest.approx(score_by_hand(head, measured), rel=1e-4)
    assert head.fusion.names == tuple(name for part in head.parts for name in INPUTS[part])


def test_the_score_of_images_is_the_head_of_what_was_measured() -> None:
    preds, target = make_pair(3, 70, 50)
    expected = score_by_hand(vit_head(), measured_of(preds, target))
    assert twin(preds, target, head=vit_head(), reduction="none").numpy() == pytest.approx(expected, rel=1e-4)


# One number at every door


@ways
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_metric_functional_and_loss_agree(name: str, reduction: str) -> None:
    preds, target = make_pair(3, 40, 56)
    metric, loss = build(**way(name), reduction=reduction), SpipsLoss(**VIT, **way(name), reduction=reduction)
    values = twin(preds, target, **way(name), reduction="none")
    assert values.shape == (3,)
    assert (values > 0).all()
    expected = {"mean": values.mean(), "sum": values.sum(), "none": values}[reduction]
    for value in (metric(preds, target), metric.compute(), twin(preds, target, **way(name), reduction=reduction)):
        assert_same(value, expected)
    for leaf in (preds, preds.clone().requires_grad_()):
        assert_same(loss(leaf, target).detach(), expected)


def _uint16(images: Tensor) -> Tensor:
    return (images * 65535).round().to(torch.int32).to(torch.uint16)


UNITS: dict[str, tuple[Any, Callable[[Tensor], Tensor]]] = {
    "255": (255, lambda images: images * 255),
    "-1..1": ((-1, 1), lambda images: images * 2 - 1),
    "uint8": (1.0, lambda images: (images * 255).round().to(torch.uint8)),
    "uint16": (1.0, _uint16),
    "float64": (1.0, lambda images: images.double()),
}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", ["fixed", "trained"])
def test_units_agree_with_floats_in_0_to_1(unit: str, name: str) -> None:
    (data_range, convert), fields = UNITS[unit], way(name)
    preds, target = ((images * 255).round() / 255 for images in batch())
    expected = twin(preds, target, **fields)
    assert_same(build(data_range=data_range, **fields)(convert(preds), convert(target)), expected)
    assert_same(twin(convert(preds), convert(target), data_range=data_range, **fields), expected)
    loss = SpipsLoss(**VIT, data_range=data_range, **fields)(convert(preds), convert(target))
    assert_same(loss.float(), expected)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["fixed", "trained"])
def test_crop_border_equals_cropping_by_hand(masked: bool, name: str) -> None:
    preds, target = make_pair(2, 40, 48)
    mask = torch.rand(2, 1, 40, 48) if masked else None
    inner = (..., slice(5, -5), slice(5, -5))
    expected = twin(preds[inner], target[inner], mask=None if mask is None else mask[inner], **way(name))
    assert_same(build(crop_border=5, **way(name))(preds, target, mask), expected)
    assert_same(twin(preds, target, mask=mask, crop_border=5, **way(name)), expected)
    assert_same(SpipsLoss(**VIT, crop_border=5, **way(name))(preds, target, mask), expected)


@pytest.mark.parametrize("name", ["fixed", "trained"])
@pytest.mark.parametrize("size", [(32, 48), (37, 250)])
def test_a_mask_of_ones_is_no_mask(name: str, size: tuple[int, int]) -> None:
    preds, target = make_pair(2, *size)
    for dtype in (torch.bool, torch.float32):
        mask = torch.ones(2, 1, *size, dtype=dtype)
        assert_same(build(**way(name))(preds, target, mask), twin(preds, target, **way(name)), rtol=1e-4)


@pytest.mark.parametrize("parts", [PARTS, *((part,) for part in PARTS)], ids="+".join)
def test_a_mask_turns_to_a_region(parts: tuple[str, ...]) -> None:
    preds, target = make_pair(1, 64, 96)
    preds = torch.cat([target[..., :48], preds[..., 48:]], -1)
    left = torch.zeros(1, 1, 64, 96)
    left[..., :48] = 1
    plain, damaged, intact = (float(twin(preds, target, mask=mask, parts=parts)) for mask in (None, 1 - left, left))
    assert damaged >= plain >= intact
    assert damaged > intact or parts == ("semantic",)  # the class token sees the tile as a whole


def test_lists_of_sizes_equal_one_by_one() -> None:
    sizes = [(32, 48), (64, 32), (32, 48), (17, 240), (5, 7)]
    pairs = [make_pair(1, *size, seed=seed) for seed, size in enumerate(sizes)]
    masks = [torch.rand(1, 1, *size) + 0.1 for size in sizes]
    preds, target = ([pair[side][0] for pair in pairs] for side in (0, 1))
    for fields in (way("fixed"), way("trained")):
        single = torch.cat([twin(*pair, **fields, reduction="none") for pair in pairs])
        metric = build(reduction="none", **fields)
        metric.update(preds, target, sample_ids=[7, 3, 9, 1, 2])
        assert_same(metric.compute(), single[[3, 4, 1, 0, 2]])
        assert_same(twin(preds, target, **fields), single.mean())
        masked = [twin(*pair, mask=mask, **fields, reduction="none") for pair, mask in zip(pairs, masks, strict=True)]
        found = twin(preds, target, mask=[mask[0] for mask in masks], **fields, reduction="none")
        assert_same(found, torch.cat(masked))


@pytest.mark.parametrize(
    "fields",
    [SQUEEZE, {**VIT, "resolution": "resize", "tile": 32}, {**VIT, "max_side": 40}, {**VIT, "distance": "angular"}],
    ids=["cnn", "resize", "max_side", "angular"],
)
def test_other_recipes_agree_too(fields: dict[str, Any]) -> None:
    preds, target = make_pair(2, 80, 64)
    recipe = recipe_of(fields)
    channels = SpipsScorer(recipe).comparator(preds, target)[0].reference.shape[1]
    for head in (None, trained(recipe, channels)):
        value = spips(preds, target, recipe, head)
        assert value > 0
        assert spips(target, target, recipe, head) == 0
        assert_same(SPIPS(recipe, head)(preds, target), value)
        leaf = preds.clone().requires_grad_()
        loss = SpipsLoss(recipe, head)(leaf, target)
        loss.backward()
        assert_same(loss.detach(), value)
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


# Axioms

sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))


@cache
def losses(name: str) -> SpipsLoss:
    return SpipsLoss(**VIT, **way(name), reduction="none", precision="float32")


@settings(deadline=None, max_examples=25)
@given(size=sizes, seed=st.integers(0, 999), n=st.integers(1, 3), name=st.sampled_from(WAYS))
def test_equal_images_are_exactly_zero(size: tuple[int, int], seed: int, n: int, name: str) -> None:
    target = make_pair(n, *size, seed=seed)[1]
    for preds in (target.clone(), target.clone().requires_grad_()):
        assert torch.equal(losses(name)(preds, target).detach(), torch.zeros(n))


@settings(deadline=None, max_examples=30)
@given(
    size=sizes,
    seed=st.integers(0, 999),
    noise=st.floats(1e-4, 1.0),
    name=st.sampled_from(WAYS),
    outside=st.booleans(),
)
def test_images_that_differ_are_above_zero(
    size: tuple[int, int], seed: int, noise: float, name: str, outside: bool
) -> None:
    preds, target = make_pair(2, *size, seed=seed, noise=noise)
    preds = 1.3 * preds - 0.15 if outside else preds
    values = losses(name)(preds, target)
    assert values.isfinite().all()
    assert (values > 0).all() or torch.equal(preds, target)
    assert (values >= 0).all()


@pytest.mark.parametrize("head", ["fixed", "trained"])
def test_scores_do_not_depend_on_the_rest_of_the_batch(head: str) -> None:
    preds, target = batch(5)
    together = twin(preds, target, **way(head), reduction="none")
    order = [3, 0, 4]
    assert_same(twin(preds[order], target[order], **way(head), reduction="none"), together[order], rtol=1e-4)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99), factor=st.floats(1.1, 10))
def test_a_fixed_head_grows_with_each_of_its_distances(seed: int, factor: float) -> None:
    head = FixedHead(["a", "b"], ["c"])
    measured = random_tap_statistics(("a", "b", "c"), 8, 4, seed)
    larger = TapStatistics(
        factor * measured.spread,
        factor * measured.summary,
        measured.reference,
        factor * measured.of_images,
        measured.labels,
    )
    torch.testing.assert_close(head(larger), factor * head(measured))


@pytest.mark.parametrize("picture", ["kodim03", "kodim19"])
def test_more_noise_scores_higher_on_photographs(picture: str, vit_tiny: dict[str, str]) -> None:
    target = read_image(needs(ASSETS / "images" / "kodak" / f"{picture}.png"))[None, :, 100:228, 100:228] / 255
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    levels = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
    preds = torch.cat([(target + level * noise).clamp(0, 1) for level in levels])
    scorer = SpipsScorer(recipe_of({"recipe": "vit-tiny", "weights": vit_tiny["weights"]}))
    measured = scorer.comparator(preds, target.expand_as(preds))[0]
    for parts in (PARTS, *((part,) for part in PARTS)):
        values = FixedHead(scorer.recipe.low_level, scorer.recipe.semantic, parts)(measured)
        assert values[0] == 0
        assert (values.diff() > 0).all(), parts


# Quality


def test_quality_is_100_for_equal_images_and_falls_with_the_distance() -> None:
    preds, target = batch(6)
    preds = torch.lerp(target, preds, torch.linspace(0, 3, 6)[:, None, None, None])
    metric = quality(reduction="none")
    found, distance = metric(preds, target), twin(preds, target, head=vit_head(), reduction="none")
    assert found[0] == 100
    assert (found >= 0).all()
    assert (found <= 100).all()
    assert_same(found, vit_head().quality(distance).detach())
    order = distance.argsort()
    assert (found[order].diff() < 0).all()
    assert_same(quality()(preds, target), found.mean())


def test_directions() -> None:
    assert build().higher_is_better is False
    assert quality().higher_is_better is True
    for metric in (build(), quality()):
        assert (metric.is_differentiable, metric.full_state_update) == (False, False)


@pytest.mark.parametrize("fields", [{}, {"head": "none"}], ids=["fixed", "not_calibrated"])
def test_without_opinions_there_is_no_quality(fields: dict[str, Any]) -> None:
    fields = {name: vit_head(opinions=False) for name in fields}
    with pytest.raises(ValueError, match="needs a head that was fitted to opinions"):
        build(**fields, output="quality")
    with pytest.raises(ValueError, match="needs a head that was fitted to opinions"):
        SpipsScorer(recipe_of(VIT), **fields).quality(torch.zeros(1))


# The contract of torchmetrics.Metric

OUTPUTS: dict[str, Callable[..., ScenePerceivedImagePerceptualScore]] = {
    "fixed": build,
    "trained": lambda **fields: build(head=vit_head(), **fields),
    "quality": quality,
}
outputs = pytest.mark.parametrize("make", OUTPUTS.values(), ids=OUTPUTS)


@outputs
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_forward_accumulates_as_update_does(make: Any, reduction: str) -> None:
    def reduced(values: Tensor) -> Tensor:
        return {"mean": values.mean(), "sum": values.sum(), "none": values}[reduction]

    pairs, each = [batch(step + 1, seed=step) for step in range(3)], make(reduction="none")
    values = [each(*pair) for pair in pairs]
    for with_ids in (False, True):
        forward, update = make(reduction=reduction), make(reduction=reduction)
        for step, pair in enumerate(pairs):
            ids = {"sample_ids": torch.arange(step + 1) + 10 * step} if with_ids else {}
            assert_same(forward(*pair, **ids), reduced(values[step]))
            update.update(*pair, **ids)
        assert forward.update_count == update.update_count == 3
        assert_same(forward.compute(), update.compute())
        assert_same(update.compute(), reduced(torch.cat(values)))


@outputs
def test_ids_count_a_sample_once(make: Any) -> None:
    preds, target = batch(4)
    values = make(reduction="none")(preds, target)
    for reduction, expected in (("mean", values.mean()), ("sum", values.sum()), ("none", values)):
        metric = make(reduction=reduction)
        metric.update(preds[[0, 1, 1]], target[[0, 1, 1]], sample_ids=[0, 1, 1])
        metric(preds[[1, 2, 0]], target[[1, 2, 0]], sample_ids=torch.tensor([1, 2, 0]))
        metric.update(preds[3:], target[3:], sample_ids=[3])
        assert_same(metric.compute(), expected)


@outputs
@pytest.mark.parametrize(
    "copied",
    [lambda m: m.clone(), copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
    ids=["clone", "deepcopy", "pickle"],
)
def test_copies_go_on_by_themselves(make: Any, copied: Any) -> None:
    metric = make(reduction="none")
    metric.update(*batch())
    other = copied(metric)
    for one in (metric, other):
        one.update(*batch(3, seed=1))
    assert_same(other.compute(), metric.compute())
    other.update(*batch(1, seed=2))
    assert len(other.compute()) == len(metric.compute()) + 1
    other.reset()
    other.update(*batch(1, seed=2))
    assert_same(other.compute(), make(reduction="none")(*batch(1, seed=2)))
    assert other.higher_is_better == metric.higher_is_better


@outputs
def test_pickles_are_small_and_need_no_file(make: Any, tmp_path: Path) -> None:
    assert len(pickle.dumps(make())) < 50_000
    path = tmp_path / "head.safetensors"
    save_spips(vit_head(), path, recipe_of(VIT))
    metric = build(head=path)
    expected = metric(*batch())
    data = pickle.dumps(metric)
    path.unlink()
    assert_same(pickle.loads(data)(*batch()), expected)


@outputs
def test_nothing_is_a_submodule_and_nothing_trains(make: Any) -> None:
    metric, loss = make(), SpipsLoss(**VIT, head=vit_head())
    metric.update(*batch())
    for module in (metric, loss):
        assert dict(module.state_dict()) == {}
        assert [list(module.parameters()), list(module.buffers())] == [[], []]
        assert list(module.modules()) == [module]
        module.train().requires_grad_(True)
    for one in (metric.scorer, loss.scorer):
        if isinstance(one.head, SpipsHead):
            assert not any(parameter.requires_grad for parameter in one.head.parameters())
            assert not one.head.training
    head = copy.deepcopy(vit_head())
    build(head=head)
    assert all(parameter.requires_grad for parameter in head.parameters()), "the given head is left alone"


def test_a_head_is_copied_when_a_metric_is_made() -> None:
    head = copy.deepcopy(vit_head())
    metric = build(head=head)
    expected = metric(*batch())
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(2)
    assert_same(metric(*batch()), expected, rtol=0)
    assert build(head=head)(*batch()) != expected


@pytest.mark.parametrize(
    "cast",
    [lambda m: m.half(), lambda m: m.bfloat16(), lambda m: m.double(), lambda m: m.train()],
    ids=["half", "bfloat16", "double", "train"],
)
def test_casts_change_nothing(cast: Any) -> None:
    metric, plain = build(head=vit_head()), build(head=vit_head())
    cast(metric)
    for one in (metric, plain):
        one.update(*batch())
    assert float(metric.compute()) == float(plain.compute())
    assert {getattr(metric, name).dtype for name in metric._defaults if name.startswith("sum")} == {torch.float64}


@outputs
def test_reset_and_merge(make: Any) -> None:
    metric, other, both = make(), make(), make()
    metric.update(*batch(seed=5))
    metric.reset()
    metric.update(*batch(2))
    other.update(*batch(3, seed=1))
    both.update(*batch(2))
    both.update(*batch(3, seed=1))
    metric.merge_state(other)
    assert_same(metric.compute(), both.compute())


def test_float64_in_and_out() -> None:
    preds, target = batch()
    for fields in (way("fixed"), way("trained")):
        exact = twin(preds.double(), target.double(), precision="float64", **fields)
        assert exact.dtype == torch.float64
        assert float(twin(preds, target, **fields)) == pytest.approx(float(exact), rel=1e-4)
        metric = build(precision="float64", **fields).set_dtype(torch.float64)
        metric.update(preds.double(), target.double())
        torch.testing.assert_close(metric.compute(), exact, rtol=1e-12, atol=0)
        loss = SpipsLoss(**VIT, **fields)(preds.double(), target.double())
        torch.testing.assert_close(loss, exact, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["fixed", "trained"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_reaches_the_backbone_of_the_loss_alone(name: str, dtype: torch.dtype) -> None:
    preds, target = batch(noise=0.3)
    exact = twin(preds, target, **way(name))
    with torch.autocast("cpu", dtype):
        assert build(**way(name))(preds, target) == exact
        assert twin(preds, target, **way(name)) == exact
        value = SpipsLoss(**VIT, **way(name))(preds, target)
        fixed = SpipsLoss(**VIT, **way(name), precision="float32")(preds, target)
    assert fixed == exact
    assert value != exact
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(exact), rel=0.05)


def test_gradients_of_the_loss_reach_preds_only() -> None:
    preds, target = (image.requires_grad_() for image in make_pair(1, 32, 32))
    SpipsLoss(**VIT, head=vit_head())(preds, target).backward()  # the quality maps see the images themselves
    assert preds.grad is not None
    assert target.grad is None


@pytest.mark.parametrize("name", ["fixed", "trained"])
def test_half_images_are_raised(name: str) -> None:
    preds, target = (images.bfloat16() for images in batch())
    expected = twin(preds.float(), target.float(), **way(name))
    assert_same(twin(preds, target, **way(name)), expected)
    leaf = preds.clone().requires_grad_()
    loss = SpipsLoss(**VIT, **way(name))(leaf, target)
    loss.backward()
    assert loss.dtype == torch.float32
    assert leaf.grad is not None
    assert leaf.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["fixed", "trained"])
def test_what_was_made_in_inference_mode_serves_the_loss(name: str) -> None:
    preds, target = batch()
    fields = {**VIT, "weights": "random:43"}
    head = trained(recipe_of(fields)) if name == "trained" else None
    with torch.inference_mode():
        metric, loss = SPIPS(**fields, head=head), SpipsLoss(**fields, head=head)
        metric.update(preds, target)
        inferred = loss(preds, target)
    leaf = preds.clone().requires_grad_()
    value = loss(leaf, target)
    value.backward()
    assert leaf.grad is not None
    assert leaf.grad.abs().sum() > 0
    metric.update(preds, target)
    for found in (metric.compute(), inferred, value.detach()):
        assert_same(found.clone(), spips(preds, target, **fields, head=head))


def test_metric_keeps_no_graph() -> None:
    value = build(reduction="none", head=vit_head())(batch()[0].requires_grad_(), batch()[1])
    assert not value.requires_grad


BAD: dict[str, tuple[Callable[[Tensor, Tensor], Any], str]] = {
    "grey": (lambda p, t: (p[:, :1], t[:, :1]), r"repeat\(1, 3, 1, 1\)"),
    "3d": (lambda p, t: (p[0], t[0]), r"preds\[None\]"),
    "sizes": (lambda p, t: (p[..., :-1], t), "crop or resize"),
    "range": (lambda p, t: (p * 255, t * 255), "data_range=255"),
    "nan": (lambda p, t: (p * float("nan"), t), "`preds` holds NaN"),
    "nan_target": (lambda p, t: (p, t * float("nan")), "`target` holds NaN"),
    "empty": (lambda p, t: (p[:0], t[:0]), "leave out empty batches"),
    "int64": (lambda p, t: ((p * 255).long(), t), "got torch.int64"),
    "mask": (lambda p, t: (p, t, torch.ones(2, 32, 32)), r"`mask` must be \(2, 1, 32, 32\)"),
    "negative_mask": (lambda p, t: (p, t, -torch.ones(2, 1, 32, 32)), "at least 0"),
    "empty_mask": (lambda p, t: (p, t, torch.zeros(2, 1, 32, 32)), "zero everywhere in image 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_images_name_their_fix_and_leave_the_state_alone(case: str) -> None:
    change, match = BAD[case]
    metric = build()
    expected = metric(*batch())
    preds, target, *mask = change(*batch())
    with pytest.raises(ValueError, match=match):
        metric.update(preds, target, *mask)
    with pytest.raises(ValueError, match=match):
        metric(preds, target, *mask)
    with pytest.raises(ValueError, match=match):
        twin(preds, target, mask=mask[0] if mask else None)
    with pytest.raises(ValueError, match=match):
        SpipsLoss(**VIT)(preds, target, *mask)
    assert metric.compute() == expected


@pytest.mark.parametrize("strategy", ["warn", "ignore"])
@outputs
def test_predictions_that_are_not_finite_are_left_out(strategy: str, make: Any) -> None:
    preds, target = batch(4)
    broken = preds.clone()
    broken[1, 0, 3, 3], broken[3, 2, 0, 0] = float("nan"), float("inf")
    metric = make(nan_strategy=strategy, reduction="none")
    if strategy == "warn":
        with pytest.warns(UserWarning, match="2 of 4 predictions"):
            metric.update(broken, target, sample_ids=[5, 6, 3, 4])
    else:
        metric.update(broken, target, sample_ids=[5, 6, 3, 4])
    assert_same(metric.compute(), make(reduction="none")(preds[[2, 0]], target[[2, 0]]))
    metric.reset()
    metric.update(broken[[1]], target[[1]])
    assert metric.compute().shape == (0,)


# Beside other metrics

DIFFERENT: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "head": (build, lambda: build(head=vit_head())),
    "heads": (lambda: build(head=vit_head(seed=1)), lambda: build(head=vit_head())),
    "parts": (build, lambda: build(parts=("semantic",))),
    "streams": (build, lambda: build(low_level=[0], semantic=[1, 2])),
    "output": (lambda: build(head=vit_head()), quality),
    "distance": (build, lambda: build(distance="l2")),
    "weights": (build, lambda: build(weights="random:1")),
    "border": (build, lambda: build(crop_border=3)),
    "feature_distance": (build, lambda: FeatureDistance(**VIT)),
}

#: Without a head all taps count alike, in whichever stream they are, as in FeatureDistance.
SAME_NUMBER = {"streams", "feature_distance"}


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_plain_collection_does_not_merge_what_differs(case: str) -> None:
    makes = dict(zip(("one", "other"), DIFFERENT[case], strict=True))
    collection, alone = MetricCollection({name: make() for name, make in makes.items()}), {}
    assert not set(makes["one"]()._defaults) & set(makes["other"]()._defaults)
    for name, make in makes.items():
        alone[name] = make()
    for preds, target in [(batch()[1], batch()[1]), batch(3, seed=1), batch(1, seed=2)]:
        for metric in (collection, *alone.values()):
            metric.update(preds, target)
    result = collection.compute()
    for name, metric in alone.items():
        assert_same(result[name], metric.compute())
    if case not in SAME_NUMBER:
        assert result["one"] != result["other"]


def test_equal_metrics_have_equal_states(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    save_spips(vit_head(), path, recipe_of(VIT))
    assert set(build()._defaults) == set(SPIPS(recipe_of(VIT))._defaults)
    assert set(build(head=path)._defaults) == set(build(head=vit_head())._defaults)
    assert set(build(parts=["conventional", "low_level"])._defaults) == set(build(**way("parts"))._defaults)


def members() -> dict[str, Any]:
    return {
        "spips": build(),
        "trained": build(head=vit_head(), reduction="none"),
        "quality": quality(),
        "other_streams": build(low_level=[3], semantic=[4, 1]),
        "early": FeatureDistance(**{**VIT, "taps": [0]}),
        "late": FeatureDistance(**{**VIT, "taps": [5], "distance": "l2"}, per_layer=True),
        "class_token": FeatureDistance(**VIT, tokens="prefix", reduction="sum"),
    }


@pytest.mark.parametrize(("method", "masked"), [("forward", False), ("update", True)])
def test_a_feature_collection_shares_one_forward(method: str, masked: bool, forwarded: list[int]) -> None:
    collection = FeatureMetricCollection({**members(), "psnr": PeakSignalNoiseRatio(data_range=1.0)})
    plain, alone = MetricCollection(members()), members()
    for step in range(2):
        # With two tiles an image where there is a mask.
        pair = make_pair(step + 2, 32, 226 if masked else 32, seed=step)
        others = {"mask": torch.rand(step + 2, 1, 32, 226) + 0.1} if masked else {}
        others |= {"sample_ids": [10 * step + i for i in range(step + 2)]}
        forwarded.clear()
        found = getattr(collection, method)(*pair, **others)
        assert forwarded == [2 * (1 + masked) * (step + 2)]
        plain.update(*pair, **others)
        expected = {name: getattr(metric, method)(*pair, **others) for name, metric in alone.items()}
        if method == "forward":
            for name in ("spips", "trained", "quality", "other_streams", "early"):
                assert_same(found[name], expected[name])
        values = build(head=vit_head(), reduction="none")(*pair, **others)
        assert_same(collection.last_scores("trained"), values)
        assert_same(collection.last_scores("quality"), vit_head().quality(values).detach())
    found, others = collection.compute(), plain.compute()
    for name in ("spips", "trained", "quality", "other_streams", "early", "class_token", "blocks.5"):
        assert_same(found[name], others[name])
    for name in ("spips", "trained", "quality", "other_streams", "early", "class_token"):
        assert_same(found[name], alone[name].compute())


def test_a_collection_with_known_references_gives_the_same(forwarded: list[int]) -> None:
    pair, cache = batch(3), ReferenceCache("1GiB")
    plain = FeatureMetricCollection(members())
    plain.update(*pair)
    for known in (False, True):
        collection = FeatureMetricCollection(members())
        forwarded.clear()
        collection.update(*pair, references=References(cache, (0, 1, 2)))
        assert forwarded == [3 if known else 6]
        torch.testing.assert_close(collection.compute(), plain.compute(), rtol=1e-5, atol=1e-6)


def test_a_collection_keeps_apart_what_measures_otherwise(forwarded: list[int]) -> None:
    collection = FeatureMetricCollection({"one": build(), "two": build(crop_border=2), "three": build(tile=32)})
    collection.update(*make_pair(1, 40, 40))
    assert len(forwarded) == 3
    result = collection.compute()
    assert_same(result["two"], twin(*make_pair(1, 40, 40), crop_border=2))
    assert_same(result["three"], twin(*make_pair(1, 40, 40), tile=32))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c)), lambda c: c.clone()])
def test_copies_of_a_collection_go_on_by_themselves(copied: Any) -> None:
    collection = FeatureMetricCollection(members())
    collection.update(*batch())
    other = copied(collection)
    for one in (collection, other):
        one.update(*batch(3, seed=1))
    assert_same(other.compute(), collection.compute())


def test_tracker_knows_the_direction() -> None:
    for metric, better in ((build(), min), (quality(), max)):
        tracker = MetricTracker(metric, maximize=None)
        for noise in (0.2, 0.02, 0.1):
            tracker.increment()
            tracker.update(*batch(1, noise=noise))
        best, step = tracker.best_metric(return_step=True)
        assert (step, best) == (1, pytest.approx(float(better(tracker.compute_all()))))


@outputs
def test_wrappers(make: Any) -> None:
    torch.manual_seed(0)
    booted = BootStrapper(make(), num_bootstraps=4, raw=True)
    booted.update(*batch(6))
    booted.update(*batch(5, seed=1))
    result = booted.compute()
    assert result["raw"].unique().numel() > 1
    assert result["std"] > 0
    assert len({id(member.comparator.backbone) for member in booted.metrics}) == 1
    running, last = Running(make(), window=2), make()
    for seed in range(4):
        running(*batch(2, seed=seed))
    for seed in (2, 3):
        last.update(*batch(2, seed=seed))
    assert_same(running.compute(), last.compute())
    extremes = MinMaxMetric(make())
    extremes.update(*batch())
    assert extremes.compute()["min"] == extremes.compute()["raw"]


def test_bootstrapper_with_ids_says_why_not() -> None:
    with pytest.warns(UserWarning, match="BootStrapper repeats samples on purpose"):
        BootStrapper(build(), num_bootstraps=2).update(*batch(4), sample_ids=torch.arange(4))


@outputs
def test_plot_returns_a_figure(make: Any) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    metric = make()
    figure, _ = metric.plot([metric(*batch(seed=seed)) for seed in range(2)])
    assert isinstance(figure, pyplot.Figure)
    pyplot.close(figure)


# The monitor


@pytest.mark.parametrize("worst_by", ["spips", "quality", "vit", None])
def test_the_monitor_logs_and_ranks_by_spips(worst_by: str | None, tmp_path: Path, forwarded: list[int]) -> None:
    from lightning.pytorch.loggers import CSVLogger

    preds, target = pictures()
    metrics = {"spips": build(), "quality": quality(), "vit": FeatureDistance(**{**VIT, "taps": [4]})}
    values = {name: metric.clone()(preds, target) for name, metric in metrics.items()}
    by = worst_by or "quality"  # the first in the order of a collection, which is that of names
    each = {
        "spips": twin(preds, target, reduction="none"),
        "quality": -quality(reduction="none")(preds, target),
        "vit": feature_distance(preds, target, **{**VIT, "taps": [4]}, reduction="none"),
    }[by]
    forwarded.clear()
    monitor = ImageQualityMonitor(metrics, worst=3, maps=False, worst_by=worst_by)
    logged = validate(monitor, loader(batch_size=4), logger=CSVLogger(tmp_path, "", ""))
    assert forwarded == [8, 8, 2]
    for name, value in values.items():
        assert logged[f"quality/{name}"] == pytest.approx(float(value), rel=1e-5)
    files = sorted(path.name for path in tmp_path.rglob("*.png"))
    order = each.argsort(descending=True)[:3].tolist()
    assert files == [f"{by}_worst_{place:02d}_index_{i}.png" for place, i in enumerate(order, 1)]


def test_the_monitor_takes_spips_alone_and_draws_no_map(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import CSVLogger

    logged = validate(ImageQualityMonitor(build(), worst=1), loader(3), logger=CSVLogger(tmp_path, "", ""))
    assert_same(torch.tensor(logged["quality/ScenePerceivedImagePerceptualScore"]), twin(*pictures(3)))
    assert len(list(tmp_path.rglob("*.png"))) == 1


# Gradients


def gradient(loss: SpipsLoss, preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    preds = preds.clone().requires_grad_()
    value = loss(preds, target)
    value.backward()
    assert preds.grad is not None
    return value.detach(), preds.grad


@ways
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("case", ["equal", "black", "white", "constant", "one pixel", "all equal but one image"])
def test_gradients_are_finite_where_images_tie(name: str, autocast: bool, case: str) -> None:
    target = batch(3)[1]
    if case in ("black", "white", "constant"):
        target = torch.full_like(target, {"black": 0.0, "white": 1.0, "constant": 0.5}[case])
    preds = target.clone()
    if case == "one pixel":
        preds[:, 0, 3, 4] += 0.1
    if case == "all equal but one image":
        preds[1] = batch(3)[0][1]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        value, grad = gradient(SpipsLoss(**VIT, **way(name)), preds, target)
    assert value.isfinite()
    assert grad.isfinite().all()
    if case in ("equal", "black", "white", "constant"):
        assert value == 0
    else:
        assert value > 0
        assert grad.abs().sum() > 0


@ways
def test_gradients_are_finite_under_a_mask(name: str) -> None:
    preds, target = make_pair(2, 40, 56)
    mask = torch.zeros(2, 1, 40, 56)
    mask[0, :, 10:20, :30], mask[1, :, 3, 4] = 1, 0.01
    preds[0, :, :25] = target[0, :, :25]  # the images differ outside alone
    leaf = preds.clone().requires_grad_()
    value = SpipsLoss(**VIT, **way(name))(leaf, target, mask)
    value.backward()
    assert_same(value.detach(), twin(preds, target, mask=mask, **way(name)), rtol=1e-4)
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert (leaf.grad.flatten(1).abs().amax(1) > 0).all()


@pytest.mark.parametrize("parts", [("low_level", "semantic"), PARTS], ids="+".join)
@pytest.mark.parametrize("door", ["spips", "SpipsLoss"])
def test_gradients_reach_preds_only(parts: tuple[str, ...], door: str) -> None:
    preds, target = (images.requires_grad_() for images in batch())
    value = twin(preds, target, parts=parts) if door == "spips" else SpipsLoss(**VIT, parts=parts)(preds, target)
    value.backward()
    assert preds.grad is not None
    assert (preds.grad.flatten(1).abs().amax(1) > 0).all()
    assert target.grad is None


def test_targets_alone_make_no_graph() -> None:
    preds, target = batch()
    assert not SpipsLoss(**VIT)(preds, target.requires_grad_()).requires_grad


def tiny() -> SpipsRecipe:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(4, 5, 3, padding=1)).double()
    return SpipsRecipe(Recipe(net, taps=["0", "2"], distance="l2", normalization="none", resolution="native"))


@pytest.mark.parametrize("parts", SOME_PARTS[:4], ids="+".join)
@pytest.mark.parametrize("kind", ["fixed", "trained"])
def test_gradcheck_in_double(kind: str, parts: tuple[str, ...]) -> None:
    recipe = tiny()
    head = trained(recipe, channels=5, parts=parts) if kind == "trained" else None
    loss = SpipsLoss(recipe, head, parts=parts, validate=False)
    preds, target = (images.double()[..., :6, :6] for images in make_pair(1, 8, 8))
    assert loss(preds, target).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda x: loss(x, target), preds.clone().requires_grad_())


@pytest.mark.parametrize(("name", "share"), [("fixed", 0.7), ("trained", 0.95)])
def test_training_with_the_loss_lowers_it(name: str, share: float) -> None:
    preds, target = batch(1)
    loss = SpipsLoss(**VIT, **way(name))
    values = losses_of_training(loss, preds, target)
    assert values[-1] < share * values[0]


def test_options_of_the_loss() -> None:
    preds, target = batch(1)
    plain = gradient(SpipsLoss(**VIT), preds, target)
    checkpointed = gradient(SpipsLoss(**VIT, grad_checkpointing=True), preds, target)
    torch.testing.assert_close(checkpointed, plain, rtol=1e-5, atol=1e-9)
    shifted = SpipsLoss(**VIT, random_shift=True)
    torch.manual_seed(0)
    assert len({round(shifted(preds, target).item(), 9) for _ in range(6)}) > 1
    assert shifted(target, target) == 0
    assert shifted.eval()(preds, target) == plain[0]
    again = pickle.loads(pickle.dumps(SpipsLoss(**VIT, head=vit_head())))
    assert_same(again(preds, target), twin(preds, target, head=vit_head()))
    assert copy.deepcopy(again)(preds, target) == again(preds, target)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fixed", "trained"])
def test_a_compiled_step_is_one_graph_and_gives_the_same(name: str) -> None:
    preds, target = make_pair(1, 64, 64)
    net = nn.Conv2d(3, 3, 3, padding=1)
    loss = SpipsLoss(**VIT, **way(name))

    def step(images: Tensor) -> Tensor:
        value: Tensor = loss(net(images), target)
        return value

    step(preds).backward()
    assert isinstance(net.weight.grad, Tensor)
    expected = net.weight.grad.clone()
    net.zero_grad()
    torch._dynamo.reset()
    value = torch.compile(step, fullgraph=True, backend="aot_eager")(preds)
    value.backward()
    torch.testing.assert_close(value, step(preds), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(net.weight.grad, expected, rtol=1e-3, atol=1e-7)


# Parts and the gate


def noisy(measured: TapStatistics, part: str, split: int) -> TapStatistics:
    """Other numbers in one part."""
    spread, summary, reference, own = (
        part.clone() for part in (measured.spread, measured.summary, measured.reference, measured.of_images)
    )
    if part == "low_level":
        spread[:, :split] *= 3
    if part == "semantic":
        spread[:, split:] *= 3
        summary[:, split:] *= 3
    if part == "conventional":
        own *= 3
    if part == "reference":
        reference += 3
    return TapStatistics(spread, summary, reference, own, measured.labels)


@pytest.mark.parametrize("parts", SOME_PARTS, ids="+".join)
def test_a_part_that_is_off_is_not_read(parts: tuple[str, ...]) -> None:
    recipe = recipe_of({**VIT, "taps": [0, 1, 2, 3, 4]})
    split = len(recipe.low_level)
    measured = random_tap_statistics(recipe.taps, 192, 8)
    gated = {"semantic", "low_level"} <= {*parts}
    read_by = {
        trained(recipe, parts=parts): {*parts, *(["reference"] if gated else [])},
        FixedHead(recipe.low_level, recipe.semantic, parts): {*parts} - {"conventional"} or {*parts},
    }
    for head, read in read_by.items():
        for part in (*PARTS, "reference"):
            found, same = head(noisy(measured, part, split)), head(measured)
            if part in read:
                assert (found != same).all(), part
            else:
                assert torch.equal(found, same), part
        # What stands for the whole counts for the semantic taps alone.
        other = TapStatistics(measured.spread, measured.summary.clone(), *vars_of(measured))
        other.summary[:, :split] += 1
        assert torch.equal(head(other), head(measured))


def vars_of(measured: TapStatistics) -> tuple[Any, ...]:
    return measured.reference, measured.of_images, measured.labels


def test_images_see_the_same_parts() -> None:
    """Through a whole door: a change of colour that luma does not show is none to the conventional part."""
    target = torch.full((1, 3, 32, 32), 0.5)
    preds = target.clone()
    preds[:, 0], preds[:, 1] = 0.5 + 0.587 * 0.2, 0.5 - 0.299 * 0.2
    assert float(twin(preds, target, parts=("conventional",))) < 1e-6
    assert float(twin(preds, target, parts=("low_level",))) > 1e-4
    assert float(conventional(preds, target)[0, 0]) > 0.1  # but the map of PSNR shows it


def test_the_gate_does_nothing_at_first() -> None:
    recipe = recipe_of(VIT)
    measured = random_tap_statistics(recipe.taps, 192, 30)
    head = SpipsHead(recipe.low_level, recipe.semantic, 192)
    head.fit_inputs(measured)
    assert torch.equal(head.share(measured).detach(), torch.full((30,), 0.5))
    assert torch.equal(head(noisy(measured, "reference", 2)), head(measured))
    both = head.inputs(measured)
    for part in ("semantic", "low_level"):
        alone = SpipsHead(recipe.low_level, recipe.semantic, 192, parts=(part,))
        alone.fit_inputs(measured)
        assert not alone.gated
        columns = [head.fusion.names.index(name) for name in INPUTS[part]]
        assert_same(both[:, columns].detach(), alone.inputs(measured).detach())


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999))
def test_the_gate_moves_weight_from_one_stream_to_the_other(seed: int) -> None:
    recipe = recipe_of(VIT)
    head, measured = trained(recipe, seed=seed), random_tap_statistics(recipe.taps, 192, 20, seed + 1)
    share = head.share(measured).detach()
    assert (share > 0).all()
    assert (share < 1).all()
    assert share.std() > 0
    found = head.inputs(measured).detach()
    with torch.no_grad():
        head.gate.weight.zero_()
        head.gate.bias.zero_()
    plain = head.inputs(measured).detach()
    factors = {"semantic": 2 * share, "low_level": 2 - 2 * share, "conventional": torch.ones(20)}
    for part, factor in factors.items():
        columns = [head.fusion.names.index(name) for name in INPUTS[part]]
        torch.testing.assert_close(found[:, columns], plain[:, columns] * factor[:, None], rtol=1e-4, atol=1e-6)


def test_a_gate_starts_with_a_gradient() -> None:
    recipe = recipe_of(VIT)
    measured = random_tap_statistics(recipe.taps, 192, 30)
    head = SpipsHead(recipe.low_level, recipe.semantic, 192)
    head.fit_inputs(measured)
    head(measured).sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # Softmax of one weight is 1, whatever it is.
        assert parameter.grad.abs().sum() > 0 or parameter.numel() == 1, name


def test_inputs_are_fitted_to_the_training_data() -> None:
    recipe = recipe_of(VIT)
    measured = random_tap_statistics(recipe.taps, 192, 31)
    measured.spread[:5, 1, 0] = 0  # equal images say nothing of the size of a distance
    measured.reference[:, 7] = 2.5  # all references share a channel
    head = SpipsHead(recipe.low_level, recipe.semantic, 192)
    head.fit_inputs(measured)
    assert float(head.tap_size[1]) == float(measured.spread[5:, 1, 0].median())
    assert head.tap_size[0] == measured.spread[:, 0, 0].median()
    assert head.whole_size[2] == measured.summary[:, 2].median()
    assert float(head.reference_std[7]) == 1
    assert_same(head.reference_std[:7], measured.reference.std(0, correction=0)[:7])
    assert head(measured).isfinite().all()


@pytest.mark.parametrize("place", ["spread", "summary", "of_images"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_training_data_that_say_nothing_are_named(place: str, value: float) -> None:
    recipe = recipe_of(VIT)
    measured = random_tap_statistics(recipe.taps, 192, 12)
    head = SpipsHead(recipe.low_level, recipe.semantic, 192)
    broken = getattr(measured, place)
    if value == 0:
        broken[:, 1] = 0
    else:
        broken.view(12, -1)[3, 3 if place == "spread" else 1] = value
    names = {"spread": "'blocks.1'", "summary": "'blocks.1'", "of_images": f"{CONVENTIONAL[1]!r}"}
    with pytest.raises(ValueError, match=names[place]):
        head.fit_inputs(measured)


# Streams


def test_streams_of_a_recipe() -> None:
    recipe = Recipe(**{**RANDOM_VIT, "taps": [0, 1, 6, 10, 11]})

    def split(**fields: Any) -> tuple[list[int], list[int]]:
        streams = SpipsRecipe(recipe, **fields)
        assert streams.taps == streams.recipe.taps
        one, other = ([int(tap.split(".")[1]) for tap in taps] for taps in (streams.low_level, streams.semantic))
        return one, other

    assert split() == ([0, 1, 6], [10, 11])
    assert split(low_level=[0]) == ([0], [1, 6, 10, 11])
    assert split(semantic=[11, "blocks.6"]) == ([0, 1, 10], [11, 6])
    assert split(low_level=[3], semantic=[-1]) == ([3], [11])


def test_a_recipe_keeps_what_is_measured_and_nothing_else() -> None:
    plain = SpipsRecipe(Recipe(**VIT))
    assert SpipsRecipe(Recipe(**VIT, tap_weights={0: 1, 1: 5, 2: 0}, tokens="prefix")) == plain
    assert SpipsRecipe(plain.recipe, plain.low_level, plain.semantic).digest == plain.digest
    assert as_spips_recipe(plain) is plain
    assert copy.deepcopy(plain) is plain
    assert pickle.loads(pickle.dumps(plain)) == plain
    assert len({plain, pickle.loads(pickle.dumps(plain))}) == 1


CHANGES: dict[str, dict[str, Any]] = {
    "weights": {"weights": "random:1"},
    "backbone": {"backbone": "deit_tiny_patch16_224"},
    "distance": {"distance": "l2"},
    "normalization": {"normalization": "none"},
    "resolution": {"resolution": "native"},
    "tile": {"tile": 112},
    "max_side": {"max_side": 100},
    "clamp": {"clamp_preds": True},
    "taps": {"taps": [0, 1, 3]},
    "order": {"taps": [0, 2, 1]},
    "low_level": {"low_level": [0]},
    "split": {"low_level": [1, 0]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_head_is_refused_to_another_recipe(change: str, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    save_spips(vit_head(), path, recipe_of(VIT))
    fields = {**VIT, **CHANGES[change]}
    other = recipe_of(fields)
    assert other.digest != recipe_of(VIT).digest
    for door in (SPIPS, SpipsLoss, lambda **kw: spips(*batch(), **kw)):
        with pytest.raises(ValueError, match=rf"was trained for .*{recipe_of(VIT).digest}.*{other.digest}"):
            door(head=path, **fields)
        with pytest.raises(
            ValueError, match=rf"trained for the recipe {recipe_of(VIT).digest}, not for {other.digest}"
        ):
            door(head=vit_head(), **fields)
    with pytest.raises(ValueError, match="cannot be saved"):
        save_spips(vit_head(), path, other)


def test_a_head_that_nobody_trained_for_anything_is_refused() -> None:
    recipe = recipe_of(VIT)
    with pytest.raises(ValueError, match=r"for the recipe \(none\)"):
        build(head=SpipsHead(recipe.low_level, recipe.semantic, 192))


# The file


SAVED: dict[str, tuple[bool, dict[str, Any]]] = {
    "default": (True, {}),
    "without_opinions": (False, {}),
    "linear": (True, {"linear": True}),
    "deep": (False, {"hidden": (5, 4, 3)}),
    "semantic": (True, {"parts": ("semantic",)}),
    "without_gate": (False, {"parts": ("low_level", "conventional"), "linear": True}),
}


@pytest.mark.parametrize("case", SAVED)
def test_a_saved_head_is_the_same_head(tmp_path: Path, case: str) -> None:
    opinions, fields = SAVED[case]
    recipe, path = recipe_of(VIT), tmp_path / "head.safetensors"
    head = trained(recipe, opinions=opinions, **fields)
    save_spips(head, path, recipe)
    loaded = load_spips(path, recipe)
    for name in ("parts", "taps", "low_level", "semantic", "channels", "made_for", "gated"):
        assert getattr(loaded, name) == getattr(head, name), name
    assert loaded.fusion.scale == head.fusion.scale
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    measured = random_tap_statistics(recipe.taps, 192, 9, seed=7)
    assert torch.equal(loaded(measured), head(measured).detach())
    for same in (path, str(path), loaded):
        assert twin(*batch(), head=same) == twin(*batch(), head=head)
    if opinions:
        assert build(head=path, output="quality")(*batch()) == build(head=head, output="quality")(*batch())


def test_a_file_that_was_trained_anew_is_read_anew(tmp_path: Path) -> None:
    recipe, path = recipe_of(VIT), tmp_path / "head.safetensors"
    values = []
    for seed in (0, 1):
        save_spips(trained(recipe, seed=seed), path, recipe)
        values.append(twin(*batch(), head=path))
        assert values[-1] == twin(*batch(), head=trained(recipe, seed=seed))
    assert values[0] != values[1]


def test_a_head_goes_by_the_content_of_the_weights(tmp_path: Path) -> None:
    state = load_network("torchvision/squeezenet1_1", "random:0").on(torch.device("cpu"), torch.float32).state_dict()
    files = [tmp_path / name for name in ("one.safetensors", "same.safetensors", "other.safetensors")]
    for file in files:
        factor = 2 if file.stem == "other" else 1
        save_file({name: (factor * value).contiguous() for name, value in state.items()}, file)
    recipes = [recipe_of({**SQUEEZE, "weights": str(file)}) for file in files]
    path = tmp_path / "head.safetensors"
    save_spips(trained(recipes[0], 384), path, recipes[0])
    pair = make_pair(1, 64, 64)
    assert spips(*pair, recipes[1], path) == spips(*pair, recipes[0], path)
    with pytest.raises(ValueError, match="train a head for this one"):
        spips(*pair, recipes[2], path)


def test_files_that_are_no_spips_head_are_refused(tmp_path: Path) -> None:
    recipe, path = recipe_of(VIT), tmp_path / "head.safetensors"
    with pytest.raises(ValueError, match="there is no head"):
        build(head=tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="is a folder, not a file"):
        build(head=tmp_path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"no \.safetensors file"):
        build(head=path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="holds tensors, but no SPIPS head"):
        build(head=path)
    save_head(FusionHead(["a"]), path)
    with pytest.raises(ValueError, match="holds a fusion head, but no SPIPS head"):
        build(head=path)
    save_spips(vit_head(), path, recipe)
    data = path.read_bytes()
    for length in (0, 5, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"no \.safetensors file"):
            build(head=path)
    with pytest.raises(ValueError, match=r"saved as \.safetensors, got"):
        save_spips(vit_head(), tmp_path / "head.pt", recipe)


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], None]) -> Path:
    """A head's file with other metadata or tensors."""
    save_spips(vit_head(), path, recipe_of(VIT))
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        ((key, text),) = file.metadata().items()
    about = json.loads(text)
    change(about, tensors)
    save_file(tensors, path, {key: json.dumps(about)})
    return path


REWRITTEN: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "version": (lambda about, tensors: about.update(version=99), "version 99, this package reads 1"),
    "hidden": (lambda about, tensors: about.update(hidden=[4]), "does not hold what its metadata says"),
    "channels": (lambda about, tensors: about.update(channels=7), "does not hold what its metadata says"),
    "tensor": (lambda about, tensors: tensors.pop("tap_size"), "does not hold what its metadata says"),
    "parts": (lambda about, tensors: about.update(parts=["semantic"]), "does not hold what its metadata says"),
    "made_for": (lambda about, tensors: about.update(made_for="0123456789ab"), "digest 0123456789ab"),
}


@pytest.mark.parametrize("case", REWRITTEN)
def test_files_that_contradict_themselves_are_refused(case: str, tmp_path: Path) -> None:
    change, match = REWRITTEN[case]
    with pytest.raises(ValueError, match=match):
        build(head=rewritten(tmp_path / "head.safetensors", change))


# Arguments


ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown_part": ({"parts": ("semantics",)}, "`parts` must be one or more of semantic, low_level, conventional"),
    "part_twice": ({"parts": ("semantic", "semantic")}, "each once"),
    "no_part": ({"parts": ()}, "one or more"),
    "reduction": ({"reduction": "median"}, "mean, sum, none"),
    "precision": ({"precision": "int8"}, "`precision` must be one of"),
    "typo": ({"distanse": "l2"}, "did you mean `distance`"),
    "several": ({"distance": ["l2", "cosine"]}, "take one `distance`"),
    "not_pointwise": ({"distance": "wasserstein"}, "'wasserstein'.*take distance='l2'"),
    "published": ({"protocol": "zsiqa", "distance": "l2"}, "fmiqa protocol"),
    "unknown_tap": ({"low_level": ["blocks.77"]}, "no module 'blocks.77'"),
    "tap_out_of_range": ({"semantic": [12]}, "tap 12 is out of range"),
    "tap_in_both": ({"low_level": [0, 1], "semantic": [1, 2]}, "'blocks.1' is in both streams"),
    "all_low": ({"low_level": [0, 1, 2]}, "`semantic` has no taps"),
    "all_semantic": ({"semantic": [2, 1, 0]}, "`low_level` has no taps"),
    "one_tap": ({"taps": [3]}, "`semantic` has no taps"),
    "empty_stream": ({"low_level": []}, "list of (tap )?indices and module names"),
    "a_word": ({"low_level": "all"}, "`low_level` must be a list"),
    "tokens": ({"tokens": "all"}, "`tokens` would do nothing"),
    "tap_weights": ({"tap_weights": {0: 1, 1: 1, 2: 1}}, "`tap_weights` would do nothing"),
    "no_list": ({"semantic": 1}, "list of (tap )?indices and module names"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_that_do_not_fit(case: str) -> None:
    fields, match = ARGUMENTS[case]
    for door in (SPIPS, SpipsLoss, lambda **kw: spips(*batch(), **kw)):
        with pytest.raises(ValueError, match=match):
            door(**{**VIT, **fields})


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"output": "score"}, "`output` must be one of distance, quality; got 'score'"),
        ({"crop_border": -1}, "`crop_border`"),
        ({"crop_border": 1.5}, "`crop_border`"),
        ({"data_range": 0}, "`data_range`"),
        ({"tile_batch": 0}, "`tile_batch`"),
        ({"nan_strategy": "drop"}, "`nan_strategy`"),
    ],
)
def test_arguments_of_the_metric_that_do_not_fit(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build(**fields)


def test_a_spips_recipe_has_all_its_fields() -> None:
    recipe = recipe_of(VIT)
    for door in (SPIPS, SpipsLoss, lambda *args, **kw: spips(*batch(), *args, **kw)):
        for fields in ({"low_level": [0]}, {"semantic": [2]}, {"distance": "l2"}, {"taps": [0]}):
            with pytest.raises(ValueError, match=f"has its own `{next(iter(fields))}`"):
                door(recipe, **fields)


def test_parts_beside_a_head_that_has_others() -> None:
    head = trained(recipe_of(VIT), parts=("semantic", "conventional"))
    assert build(head=head, parts=("conventional", "semantic")).scorer.head.parts == ("semantic", "conventional")
    for door in (build, lambda **kw: SpipsLoss(**VIT, **kw), lambda **kw: twin(*batch(), **kw)):
        with pytest.raises(ValueError, match="trained with semantic, conventional, not semantic, low_level, conv"):
            door(head=head, parts=PARTS)


def test_heads_refuse_what_was_measured_at_other_taps() -> None:
    recipe = recipe_of(VIT)
    head, measured = vit_head(), random_tap_statistics(recipe.taps, 192, 5)
    for other in (
        TapStatistics(measured.spread, measured.summary, *vars_of(measured)[:2], measured.labels[::-1]),
        random_tap_statistics(recipe.taps, 191, 5),
        random_tap_statistics(("blocks.0", "blocks.1"), 192, 5),
    ):
        for call in (head, head.inputs, copy.deepcopy(head).fit_inputs):
            with pytest.raises(ValueError, match=r"takes the taps blocks.0, blocks.1, blocks.2 with 192 channels"):
                call(other)
    for make in (SpipsHead, lambda low, semantic, _, parts: FixedHead(low, semantic, parts)):
        for parts in ((), ("deep",), ("semantic", "semantic")):
            with pytest.raises(ValueError, match="`parts` must be"):
                make(["a"], ["b"], 8, parts)
    with pytest.raises(ValueError, match="not fitted to opinions"):
        vit_head(opinions=False).quality(torch.zeros(1))


# MeasuredSet


def a_set(**fields: Any) -> MeasuredSet:
    kind = fields.get("kind", "opinion")
    measured = tuple(random_tap_statistics(("a", "b"), 4, 3, seed) for seed in range(2 if kind == "choice" else 1))
    names = np.array(["x", "y", "z"])
    return MeasuredSet(
        **{
            "name": "live",
            "kind": kind,
            "measured": measured,
            "target": np.array([0.1, 0.5, 0.9]),
            "reference": np.array(["r", "r", "s"]),
            "image": names,
            "series": names if kind == "rank" else None,
            **fields,
        }
    )


@pytest.mark.parametrize("kind", ["opinion", "choice", "rank"])
def test_rows_of_a_set(kind: str) -> None:
    whole = a_set(kind=kind, higher_is_better=False)
    some = whole.rows([2, 0])
    assert (len(whole), len(some)) == (3, 2)
    assert some.image.tolist() == ["z", "x"]
    assert some.target.tolist() == [0.9, 0.1]
    assert some.reference.tolist() == ["s", "r"]
    assert (some.name, some.kind, some.higher_is_better) == ("live", kind, False)
    for one, other in zip(some.measured, whole.measured, strict=True):
        assert torch.equal(one.flat(), other.flat()[[2, 0]])
    assert some.series is None or some.series.tolist() == ["z", "x"]


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"kind": "choice", "measured": ()}, "kind 'choice' has 2 `measured`, got 0"),
        ({"measured": (None, None)}, "kind 'opinion' has 1 `measured`, got 2"),
        ({"reference": np.array(["r"])}, r"live: `target` has 3 rows, but not so reference \(1\)"),
        ({"image": np.array(["r"] * 4)}, r"not so image \(4\)"),
        ({"target": np.array([1.0, 2.0])}, r"`target` has 2 rows.*measured\[0\] \(3\)"),
        ({"kind": "rank", "series": np.array(["r"])}, r"not so series \(1\)"),
        ({"target": np.array([1.0, np.nan, 2.0])}, "live: the target of 'y' is nan"),
        ({"target": np.array([1.0, 2.0, np.inf])}, "live: the target of 'z' is inf"),
        ({"kind": "choice", "target": np.array([0, 0.5, 1.2])}, r"shares must lie in \[0, 1\], got 0.0 ... 1.2"),
        ({"kind": "choice", "target": np.array([0, -0.5, 1])}, r"got -0.5 ... 1.0"),
        ({"kind": "rank", "series": None}, "ranks need `series`"),
    ],
)
def test_sets_that_cannot_be(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        a_set(**fields)


# Real weights


@pytest.mark.slow
def test_agreement_with_people_on_live(vit_tiny: dict[str, str]) -> None:
    root = needs(ASSETS / "iqa" / "live58")
    with (root / "pairs.csv").open() as file:
        rows = list(csv.DictReader(file))[::5]  # all references, all types
    metrics = FeatureMetricCollection(
        {
            "spips": SPIPS("vit-tiny", weights=vit_tiny["weights"], reduction="none"),
            "vit": FeatureDistance("vit-tiny", weights=vit_tiny["weights"], reduction="none"),
        }
    )
    for row in rows:
        metrics.update(*(read_image(root / row[side])[None] for side in ("dist", "ref")))
    opinion = [float(row["dmos"]) for row in rows]
    found = {name: stats.spearmanr(values.numpy(), opinion).statistic for name, values in metrics.compute().items()}
    assert found["vit"] >= 0.92
    assert found["spips"] >= 0.893  # of MS-SSIM, docs/findings.md
    assert found["spips"] >= found["vit"] - 0.01


# Broken today


def test_the_functional_sees_that_a_head_was_trained_on() -> None:
    head = copy.deepcopy(vit_head())
    before = twin(*batch(), head=head)
    with torch.no_grad():
        for parameter in head.fusion.network.parameters():
            parameter.mul_(2)
    assert twin(*batch(), head=head) == build(head=head)(*batch())
    assert twin(*batch(), head=head) != before


def test_the_functional_sees_a_new_file_of_the_same_time(tmp_path: Path) -> None:
    recipe, path = recipe_of(VIT), tmp_path / "head.safetensors"
    values = []
    for seed in (0, 1):
        save_spips(trained(recipe, seed=seed), path, recipe)
        os.utime(path, ns=(1, 1))  # as after `cp -p` or a checkout
        values.append(twin(*batch(), head=path))
    assert values[0] != values[1]


def test_a_single_part_may_be_a_word() -> None:
    assert build(parts="semantic")(*batch()) == SpipsLoss(**VIT, parts="semantic")(*batch())
    assert twin(*batch(), parts="semantic") == build(parts=("semantic",))(*batch())


@pytest.mark.parametrize(
    "head", [FusionHead(["a"]), FixedHead(["blocks.0"], ["blocks.1"]), 3], ids=["fusion", "fixed", "3"]
)
def test_what_is_no_head_is_named(head: Any) -> None:
    with pytest.raises(ValueError, match="head"):
        build(head=head)


def _drop(name: str) -> Callable[[Any, Any], Any]:
    return lambda about, tensors: about.pop(name)


METADATA: dict[str, Callable[[Any, Any], Any]] = {
    "no_version": _drop("version"),
    "no_recipe": _drop("made_for"),
    "no_hidden": _drop("hidden"),
    "no_opinion": _drop("opinion"),
    "nothing": lambda about, tensors: about.clear(),
    "odd_opinion": lambda about, tensors: about.update(opinion={"mean": 3}),
}


@pytest.mark.parametrize("case", METADATA)
def test_files_with_broken_metadata_are_refused(case: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="head"):
        build(head=rewritten(tmp_path / "head.safetensors", METADATA[case]))


def test_a_file_with_weights_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    def diverge(about: Any, tensors: dict[str, Tensor]) -> None:
        tensors["fusion.network.0.weight"][0, 0] = float("nan")

    with pytest.raises(ValueError, match="finite"):
        build(head=rewritten(tmp_path / "head.safetensors", diverge))


def test_saving_into_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="folder"):
        save_spips(vit_head(), tmp_path / "none" / "head.safetensors", recipe_of(VIT))


def test_an_empty_stream_beside_a_spips_recipe_is_an_error() -> None:
    with pytest.raises(ValueError, match="has its own `low_level`"):
        SPIPS(recipe_of(VIT), low_level=[])


def test_a_stream_that_is_off_may_hold_anything() -> None:
    recipe = recipe_of(VIT)
    measured = random_tap_statistics(recipe.taps, 192, 12)
    measured.spread[:, : len(recipe.low_level)] = 0
    head = SpipsHead(recipe.low_level, recipe.semantic, 192, parts=("semantic", "conventional"))
    head.fit_inputs(measured)


def test_rounding_of_references_does_not_move_the_gate() -> None:
    recipe = recipe_of(VIT)
    head, measured = trained(recipe), random_tap_statistics(recipe.taps, 192, 12)
    measured.reference[:, 7] = 2.5 + 2e-7 * torch.arange(12).remainder(2)
    head.fit_inputs(measured)
    other = random_tap_statistics(recipe.taps, 192, 12, seed=1)
    share = head.share(other)
    assert ((share > 1e-6) & (share < 1 - 1e-6)).all()


def test_a_fixed_head_checks_its_taps() -> None:
    with pytest.raises(ValueError, match="taps"):
        FixedHead(["a"], ["b"])(random_tap_statistics(("b", "a", "c"), 8, 2))


def test_clear_cache_lets_go_of_spips_too() -> None:
    from torchmetrics_fmiqa.functional import clear_cache

    twin(*batch(), weights="random:77")
    clear_cache()
    assert ("vit_tiny_patch16_224", "random:77") not in _loaded()


def _loaded() -> set[tuple[object, str]]:
    from torchmetrics_fmiqa.features import network

    gc.collect()
    return set(network._networks.keys())


def test_a_file_tells_what_it_was_trained_for(tmp_path: Path) -> None:
    recipe = as_spips_recipe(low_level=[2, 0], semantic=[1], **VIT)
    path = tmp_path / "head.safetensors"
    save_spips(trained(recipe), path, recipe)
    expected = SPIPS(recipe, head=path)(*batch())
    assert SPIPS(head=path)(*batch()) == spips(*batch(), head=path) == SpipsLoss(head=path)(*batch()) == expected
    assert "blocks.2" in repr(SPIPS(head=path))
    with pytest.raises(ValueError, match="was trained for"):
        SPIPS(head=path, weights="random:3")


def test_a_file_of_a_module_needs_the_module(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 5, 3)).eval()
    recipe = as_spips_recipe(backbone=module, taps=["0", "1"], normalization="none")
    path = tmp_path / "head.safetensors"
    save_spips(trained(recipe, channels=5), path, recipe)
    assert SPIPS(recipe, head=path)(*batch()) > 0
    with pytest.raises(ValueError, match="give it as `recipe`"):
        SPIPS(head=path)


def test_the_words_of_other_packages_lead_to_ours() -> None:
    with pytest.raises(ValueError, match="data_range"):
        SPIPS(normalize=True)
    with pytest.raises(ValueError, match="backbone"):
        SPIPS(net_type="alex")
    with pytest.raises(ValueError, match="would do nothing"):
        SPIPS(**VIT, tokens="all")


def test_a_part_that_counts_for_nothing_is_told() -> None:
    with pytest.warns(UserWarning, match="conventional part counts only where it is the only one"):
        build(parts=("low_level", "conventional"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for parts in (None, ("conventional",), ("low_level", "semantic")):
            build(parts=parts)
