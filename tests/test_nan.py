"""Predictions that are not finite: an error that counts nothing, or images that are left out as if never given."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio

from tests.conftest import RANDOM_VIT, make_pair
from tests.lightning_tools import one_thread  # noqa: F401
from torchmetrics_fmiqa import FeatureDistance, FeatureMetricCollection
from torchmetrics_fmiqa.features.image_checks import finite_images
from torchmetrics_fmiqa.features.network import load_network
from torchmetrics_fmiqa.metrics import image_pair_metric as finite_module

KEPT = [0, 2, 4]
BAD = {1: float("nan"), 3: float("-inf")}
LEAVES_OUT = pytest.mark.parametrize("strategy", ["warn", "ignore"])
WAYS: dict[str, dict[str, Any]] = {
    "mean": {},
    "sum": {"reduction": "sum"},
    "none": {"reduction": "none"},
    "per_layer": {"per_layer": True},
    "several": {"distance": ["l2", "cosine"], "reduction": "none"},
}


@pytest.fixture(scope="module", autouse=True)
def network() -> Any:
    return load_network(RANDOM_VIT["backbone"], RANDOM_VIT["weights"])


def build(strategy: str, **fields: Any) -> FeatureDistance:
    return FeatureDistance(**RANDOM_VIT, nan_strategy=strategy, **fields)  # type: ignore[arg-type]


def batch(finite: bool = False) -> tuple[Tensor, Tensor]:
    """Five pairs, of which two predictions hold one bad value each."""
    preds, target = make_pair(5, 32, 32)
    for place, value in {} if finite else BAD.items():
        preds[place, 1, 4, 7] = value
    return preds, target


def finite() -> tuple[Tensor, Tensor]:
    preds, target = batch()
    return preds[KEPT], target[KEPT]


def assert_same(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-8)


def assert_same_or_nan(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-8, equal_nan=True)


def quiet(call: Any, *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*args, **options)


def states(metric: FeatureDistance) -> Any:
    return copy.deepcopy({name: getattr(metric, name) for name in metric._defaults})


# An error


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", ["update", "forward"])
def test_error_leaves_the_state_as_it_was(method: str, way: str) -> None:
    metric, untouched = (build("error", **WAYS[way]) for _ in range(2))
    for one in (metric, untouched):
        one.update(*finite())
    before = states(metric)
    with pytest.raises(ValueError, match="`preds` holds NaN or infinite values"):
        getattr(metric, method)(*batch())
    assert_same(states(metric), before)
    for one in (metric, untouched):
        one.update(*make_pair(2, 32, 32, seed=1))
    assert_same(metric.compute(), untouched.compute())


def test_error_is_the_default() -> None:
    assert FeatureDistance(**RANDOM_VIT).nan_strategy == "error"


@pytest.mark.parametrize("strategy", ["error", "warn", "ignore"])
def test_the_references_must_be_finite(strategy: str) -> None:
    preds, target = finite()
    target[1, 0, 0, 0] = float("nan")
    metric = build(strategy)
    with pytest.raises(ValueError, match="`target` holds NaN"):
        metric.update(preds, target)


@pytest.mark.parametrize("strategy", ["nan", "", None, 1.0])
def test_a_strategy_that_does_not_exist(strategy: Any) -> None:
    with pytest.raises(ValueError, match="`nan_strategy` must be one of error, warn, ignore; got") as caught:
        build(strategy)
    assert repr(strategy) in str(caught.value)


# Left out


@LEAVES_OUT
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", ["update", "forward"])
def test_those_images_are_left_out(method: str, way: str, strategy: str) -> None:
    metric, expected = build(strategy, **WAYS[way]), build("error", **WAYS[way])
    value = quiet(getattr(metric, method), *batch())
    other = getattr(expected, method)(*finite())
    if method == "forward":
        assert_same(value, other)
    for one in (metric, expected):
        one.update(*make_pair(2, 32, 32, seed=1))
    assert_same(metric.compute(), expected.compute())


def test_warn_says_how_many_and_ignore_says_nothing() -> None:
    with pytest.warns(UserWarning, match="2 of 5 predictions hold NaN or infinite values"):
        build("warn").update(*batch())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build("ignore").update(*batch())
        build("warn").update(*finite())


@LEAVES_OUT
def test_sample_ids_stay_with_their_images(strategy: str) -> None:
    metric, expected = build(strategy, reduction="none"), build("error", reduction="none")
    quiet(metric.update, *batch(), sample_ids=[9, 8, 7, 6, 5])
    expected.update(*finite(), sample_ids=[9, 7, 5])
    # A sample that was left out may come again, whole.
    whole = batch(finite=True)
    for one in (metric, expected):
        one.update(*whole, sample_ids=torch.tensor([9, 8, 7, 6, 5]))
    assert len(metric.compute()) == 5
    assert_same(metric.compute(), expected.compute())


@LEAVES_OUT
@pytest.mark.parametrize("kind", [list, tuple])
def test_lists_of_several_sizes(strategy: str, kind: Any) -> None:
    pairs = [make_pair(1, side, 32, seed=side) for side in (32, 40, 32, 40)]
    preds, target = ([one[side][0] for one in pairs] for side in (0, 1))
    preds[1] = preds[1] * float("inf")
    metric, expected = build(strategy, reduction="none"), build("error", reduction="none")
    quiet(metric.update, kind(preds), kind(target))
    expected.update([preds[i] for i in (0, 2, 3)], [target[i] for i in (0, 2, 3)])
    assert_same(metric.compute(), expected.compute())


@LEAVES_OUT
@pytest.mark.parametrize("as_list", [False, True])
def test_masks_stay_with_their_images(strategy: str, as_list: bool) -> None:
    mask = torch.rand(5, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    metric, expected = (build(s, reduction="none", distance="l2") for s in (strategy, "error"))
    given = (*batch(), mask)
    quiet(metric.update, *((list(images) for images in given) if as_list else given))
    expected.update(*finite(), mask[KEPT])
    assert_same(metric.compute(), expected.compute())


@LEAVES_OUT
@pytest.mark.parametrize(("way", "empty"), [("mean", torch.tensor(float("nan"))), ("sum", torch.tensor(0.0))])
def test_a_batch_of_nothing_else_counts_nothing(strategy: str, way: str, empty: Tensor) -> None:
    preds, target = batch()
    metric, expected = build(strategy, **WAYS[way]), build("error", **WAYS[way])
    value = quiet(metric, preds * float("nan"), target)
    torch.testing.assert_close(value, empty, equal_nan=True)
    torch.testing.assert_close(quiet(metric.compute), empty, equal_nan=True)
    for one in (metric, expected):
        one.update(*finite())
    assert_same(metric.compute(), expected.compute())


@LEAVES_OUT
def test_a_batch_of_nothing_else_gives_no_values_one_by_one(strategy: str) -> None:
    metric = build(strategy, reduction="none")
    assert quiet(metric, batch()[0] * float("nan"), batch()[1]).shape == (0,)
    assert metric.compute().shape == (0,)


@LEAVES_OUT
@pytest.mark.parametrize("keep", [[0, 1, 2, 3], [0, 1, 2, 3, 4, 0]], ids=["fewer", "more"])
def test_a_count_that_does_not_fit_stays_an_error(strategy: str, keep: list[int]) -> None:
    preds, target = batch(finite=True)
    preds[4] = float("nan")
    with pytest.raises(ValueError, match=r"`preds`.*`target`"):
        quiet(build(strategy).update, preds, target[keep])


@LEAVES_OUT
def test_whole_numbers_are_always_finite(strategy: str) -> None:
    preds, target = ((255 * images).to(torch.uint8) for images in batch(finite=True))
    metric, expected = build(strategy), build("error")
    for one in (metric, expected):
        one.update(preds, target)
    assert_same(metric.compute(), expected.compute())


# In collections


def members(strategy: str) -> dict[str, Any]:
    return {
        "mean": build(strategy),
        "none": build(strategy, reduction="none"),
        "other": FeatureDistance(**{**RANDOM_VIT, "weights": "random:1"}, nan_strategy=strategy),  # type: ignore[arg-type]
    }


@LEAVES_OUT
@pytest.mark.parametrize("method", ["update", "forward"])
@pytest.mark.parametrize("kind", [FeatureMetricCollection, MetricCollection])
def test_collections_leave_them_out(kind: Any, method: str, strategy: str) -> None:
    collection, expected = kind(members(strategy)), kind(members("error"))
    value = quiet(getattr(collection, method), *batch(), sample_ids=[4, 3, 2, 1, 0])
    other = getattr(expected, method)(*finite(), sample_ids=[4, 2, 0])
    if method == "forward":
        assert_same(value, other)
    quiet(collection.update, batch()[0] * float("nan"), batch()[1])
    assert_same(collection.compute(), expected.compute())


@pytest.mark.parametrize("nothing_left", [False, True])
@pytest.mark.parametrize("method", ["update", "forward"])
def test_a_collection_looks_once_and_warns_once(
    method: str, nothing_left: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four members in three groups; PSNR beside them has no strategy and must change nothing."""
    collection = FeatureMetricCollection(
        {**members("warn"), "lax": build("ignore"), "psnr": PeakSignalNoiseRatio(data_range=1.0)}
    )
    looks: list[int] = []
    monkeypatch.setattr(finite_module, "finite_images", lambda preds: looks.append(len(preds)) or finite_images(preds))
    preds, target = batch()
    preds = preds * float("nan") if nothing_left else preds
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(collection, method)(preds, target)
    told = [str(one.message) for one in caught if "NaN or infinite" in str(one.message)]
    assert told == [f"{5 if nothing_left else 2} of 5 predictions hold NaN or infinite values and are left out"]
    assert looks == [5]
    # What was seen of one batch must not be taken for the next.
    getattr(collection, method)(*finite())
    assert looks == [5, 3]


def test_a_collection_that_ignores_says_nothing_and_one_that_is_strict_does_not_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []
    monkeypatch.setattr(finite_module, "finite_images", lambda preds: looks.append(len(preds)) or finite_images(preds))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FeatureMetricCollection(members("ignore")).update(*batch())
        FeatureMetricCollection(members("error")).update(*finite())
    assert looks == [5]


def test_members_of_a_collection_that_warns_count_what_they_count_alone() -> None:
    """Strategies mixed in one collection, over a batch with bad images, one of them all, and a whole one."""
    built = {**members("warn"), "lax": build("ignore", distance="l2"), "sum": build("warn", reduction="sum")}
    alone = copy.deepcopy(built)
    collection = FeatureMetricCollection(built)
    batches = [batch(), (batch()[0] * float("nan"), batch()[1]), make_pair(2, 32, 32, seed=1)]
    for preds, target in batches:
        value = quiet(collection, preds, target)
        assert_same_or_nan(value, {name: quiet(metric, preds, target) for name, metric in alone.items()})
    assert_same(collection.compute(), {name: metric.compute() for name, metric in alone.items()})


def test_members_of_one_backbone_may_differ_in_strategy() -> None:
    collection = FeatureMetricCollection({"strict": build("error"), "lax": build("ignore")})
    with pytest.raises(ValueError, match="`preds` holds NaN"):
        collection.update(*batch())
    assert float(quiet(collection["lax"].compute)) != float(quiet(collection["lax"].compute))  # NaN: nothing counted
    collection.update(*finite())
    assert_same(collection.compute()["strict"], collection.compute()["lax"])


def test_collection_errors_count_nothing() -> None:
    collection, expected = FeatureMetricCollection(members("error")), FeatureMetricCollection(members("error"))
    for one in (collection, expected):
        one.update(*finite())
    with pytest.raises(ValueError, match="`preds` holds NaN"):
        collection.update(*batch())
    assert_same(collection.compute(), expected.compute())


def test_other_members_are_their_own_affair() -> None:
    collection = FeatureMetricCollection({"vit": build("ignore"), "psnr": PeakSignalNoiseRatio(data_range=1.0)})
    collection.update(*batch())
    expected = build("error")
    expected.update(*finite())
    assert_same(collection.compute()["vit"], expected.compute())
