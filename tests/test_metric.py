"""FeatureDistance and its collection keep torchmetrics' contract, and agree with their functional twins."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio
from torchmetrics.wrappers import BootStrapper, MetricTracker, MinMaxMetric, Running

from tests.conftest import RANDOM_VIT, make_pair
from torchmetrics_fmiqa import FeatureDistance, FeatureMetricCollection, feature_distance, feature_distance_map
from torchmetrics_fmiqa.features.network import load_network
from torchmetrics_fmiqa.metrics.image_pair_metric import served

TAPS = ("blocks.0", "blocks.1")
CASTS = {
    "half": lambda module: module.half(),
    "bfloat16": lambda module: module.to(torch.bfloat16),
    "bfloat16()": lambda module: module.bfloat16(),
    "double": lambda module: module.double(),
    "train": lambda module: module.train(),
    "requires_grad": lambda module: module.requires_grad_(True),
}
WAYS = {
    "score": {},
    "sum": {"reduction": "sum"},
    "none": {"reduction": "none"},
    "per_layer": {"per_layer": True},
    "several": {"distance": ["cosine", "wasserstein"]},
    "both_none": {"distance": ["l2", "jensen_shannon"], "per_layer": True, "reduction": "none"},
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@pytest.fixture(scope="module", autouse=True)
def network() -> Any:
    """Keep the network in the process-wide registry, which is weak: built once, not once a test."""
    return load_network(RANDOM_VIT["backbone"], RANDOM_VIT["weights"])


def build(**fields: Any) -> FeatureDistance:
    return FeatureDistance(**{**RANDOM_VIT, **fields})


def twin(preds: Any, target: Any, **fields: Any) -> Any:
    return feature_distance(preds, target, **{**RANDOM_VIT, **fields})


def batch(n: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    return make_pair(n, 32, 32, seed=seed)


def assert_same(got: Any, expected: Any, rtol: float = 1e-5) -> None:
    torch.testing.assert_close(got, expected, rtol=rtol, atol=1e-8)


def parameters(metric: FeatureDistance) -> list[nn.Parameter]:
    return list(metric.comparator.backbone._of(torch.device("cpu"), torch.float32).first.module.parameters())


def sums(metric: FeatureDistance) -> list[Tensor]:
    return [getattr(metric, name) for name in metric._defaults if isinstance(getattr(metric, name), Tensor)]


def parent_of(metric: nn.Module) -> nn.Module:
    parent = nn.Module()
    parent.linear, parent.metric = nn.Linear(1, 1), metric
    return parent


# The contract of torchmetrics.Metric


@pytest.mark.parametrize(
    "name",
    ["is_differentiable", "higher_is_better", "full_state_update", "plot_lower_bound", "plot_legend_name"],
)
def test_class_constants_cannot_be_set_on_an_instance(name: str) -> None:
    with pytest.raises(RuntimeError, match="const"):
        setattr(build(), name, True)


def test_direction_is_lower_is_better() -> None:
    metric = build()
    assert (metric.higher_is_better, metric.is_differentiable, metric.full_state_update) == (False, False, False)


@ways
@pytest.mark.parametrize("with_ids", [False, True])
def test_forward_accumulates_as_update_does(way: dict[str, Any], with_ids: bool) -> None:
    class TwoUpdates(FeatureDistance):
        full_state_update = True

    forward, full, update = build(**way), TwoUpdates(**{**RANDOM_VIT, **way}), build(**way)
    for step in range(3):
        pair = batch(step + 1, seed=step)
        ids = {"sample_ids": torch.arange(step + 1) + 10 * step} if with_ids else {}
        value = forward(*pair, **ids)
        assert_same(value, twin(*pair, **way))
        assert_same(full(*pair, **ids), value)
        update.update(*pair, **ids)
    assert forward.update_count == update.update_count == 3
    assert_same(forward.compute(), update.compute())
    assert_same(full.compute(), update.compute())


@pytest.mark.parametrize("copied", [lambda m: m.clone(), copy.deepcopy], ids=["clone", "deepcopy"])
@pytest.mark.parametrize("use", ["fresh", "updated", "forwarded"])
def test_copies_share_the_backbone_and_nothing_else(copied: Any, use: str) -> None:
    metric = build(reduction="none")
    if use == "updated":
        metric.update(*batch())
    if use == "forwarded":
        metric(batch()[0].requires_grad_(), batch()[1])
    other = copied(metric)
    assert other.comparator.backbone is metric.comparator.backbone
    for one in (metric, other):
        one.update(*batch(3, seed=1))
    assert_same(other.compute(), metric.compute())
    other.update(*batch(1, seed=2))
    assert len(other.compute()) == len(metric.compute()) + 1


@ways
def test_pickle_round_trip_is_small_and_scores_the_same(way: dict[str, Any]) -> None:
    metric = build(**way)
    metric.update(*batch())
    data = pickle.dumps(metric)
    assert len(data) < 50_000
    other = pickle.loads(data)
    for one in (metric, other):
        one.update(*batch(1, seed=1))
    assert_same(other.compute(), metric.compute())


def test_metrics_of_the_same_weights_share_their_storage() -> None:
    one, other = build(), build(taps=[1], distance="l2")
    own = {parameter.data_ptr() for parameter in parameters(one)}
    assert own
    assert own == {parameter.data_ptr() for parameter in parameters(other)}
    assert own == {parameter.data_ptr() for parameter in parameters(pickle.loads(pickle.dumps(one)))}


def test_hash_differs_between_instances() -> None:
    assert hash(build()) != hash(build())
    assert len({build(), build()}) == 2


def test_backbone_is_in_no_state_dict_and_no_submodule() -> None:
    metric = build()
    metric.update(*batch())
    assert metric.state_dict() == {}
    assert [list(metric.parameters()), list(metric.buffers())] == [[], []]
    assert list(metric.modules()) == [metric]
    parent = parent_of(metric)
    assert set(parent.state_dict()) == {"linear.weight", "linear.bias"}
    parent.load_state_dict(parent.state_dict(), strict=True)


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in_a_module"])
@pytest.mark.parametrize("cast", CASTS.values(), ids=CASTS)
def test_casts_leave_sums_backbone_and_score_alone(cast: Any, inside: bool) -> None:
    metric, plain = build(), build()
    cast(parent_of(metric) if inside else metric)
    metric.update(*batch())
    cast(parent_of(metric) if inside else metric)
    metric.update(*batch(seed=1))
    plain.update(*batch())
    plain.update(*batch(seed=1))
    assert {state.dtype for state in sums(metric)} == {torch.float64}
    assert {(p.requires_grad, p.dtype) for p in parameters(metric)} == {(False, torch.float32)}
    assert not metric.comparator.backbone._of(torch.device("cpu"), torch.float32).first.module.training
    assert float(metric.compute()) == float(plain.compute())
    metric.reset()
    assert {state.dtype for state in sums(metric)} == {torch.float64}


@ways
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_set_dtype_chooses_the_result_and_keeps_the_sums(way: dict[str, Any], dtype: torch.dtype) -> None:
    metric, plain = build(**way).set_dtype(dtype), build(**way)
    for one in (metric, plain):
        one.update(*batch(3))
    result, expected = metric.compute(), plain.compute()
    for value in result.values() if isinstance(result, dict) else [result]:
        assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert {state.dtype for state in sums(metric)} == {torch.float64}
    torch.testing.assert_close(result, expected, check_dtype=False)


@ways
def test_reset_forgets_everything(way: dict[str, Any]) -> None:
    metric = build(**way)
    metric.update(*batch(3), sample_ids=[0, 1, 2])
    metric.update(*batch(seed=5))
    metric.reset()
    assert metric.update_count == 0
    metric.update(*batch(seed=1))
    assert_same(metric.compute(), twin(*batch(seed=1), **way))


@ways
@pytest.mark.parametrize("with_ids", [False, True])
def test_merge_state_equals_one_metric_for_all(way: dict[str, Any], with_ids: bool) -> None:
    one, other, both = build(**way), build(**way), build(**way)
    first = {"sample_ids": [0, 1]} if with_ids else {}
    second = {"sample_ids": [2, 3, 4]} if with_ids else {}
    one.update(*batch(2), **first)
    other.update(*batch(3, seed=1), **second)
    # torchmetrics puts the incoming state first
    both.update(*batch(3, seed=1), **second)
    both.update(*batch(2), **first)
    one.merge_state(other)
    assert_same(one.compute(), both.compute())


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_compute_on_cpu_changes_nothing(reduction: str) -> None:
    metric = build(reduction=reduction, compute_on_cpu=True)
    metric.update(*batch(1))
    metric(*batch(2, seed=1))
    metric.update(*batch(1, seed=2))
    pairs = [batch(1), batch(2, seed=1), batch(1, seed=2)]
    assert_same(metric.compute(), twin(*map(torch.cat, zip(*pairs, strict=True)), reduction=reduction))


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [("mean", torch.tensor(float("nan"))), ("sum", torch.tensor(0.0)), ("none", torch.empty(0))],
)
def test_compute_before_update_warns(reduction: str, expected: Tensor) -> None:
    metric = build(reduction=reduction)
    with pytest.warns(UserWarning, match="before"):
        result = metric.compute()
    torch.testing.assert_close(result, expected, equal_nan=True)


def test_compute_is_cached_until_the_next_update() -> None:
    metric = build()
    metric.update(*batch())
    assert metric.compute() is metric.compute()
    before = float(metric.compute())
    metric.update(*batch(seed=1))
    assert float(metric.compute()) != before


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"reduction": "median"}, "mean, sum, none"),
        ({"crop_border": -1}, "crop_border"),
        ({"crop_border": 1.5}, "crop_border"),
        ({"data_range": 0}, "data_range"),
        ({"data_range": (1, 1)}, "data_range"),
        ({"distanse": "l2"}, "did you mean `distance`"),
        ({"precision": "int8"}, "precision"),
        ({"tile_batch": 0}, "tile_batch"),
        ({"tap_weights": {0: 1.0}}, "tap_weights"),
        ({"taps": [0, "blocks.0"]}, "more than once"),
    ],
)
def test_wrong_argument_is_an_error_at_construction(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build(**fields)


# Values


@ways
def test_score_equals_the_functional_twin(way: dict[str, Any]) -> None:
    pair, metric = batch(3), build(**way)
    metric.update(*pair)
    assert_same(metric.compute(), twin(*pair, **way))


def test_score_is_the_weighted_mean_of_taps_and_the_mean_of_images() -> None:
    metric = build(tap_weights={0: 3.0, "blocks.1": 1.0})
    layers = build(per_layer=True, reduction="none")
    for seed, size in enumerate((1, 3)):
        metric.update(*batch(size, seed))
        layers.update(*batch(size, seed))
    by_tap = layers.compute()
    expected = ((3 * by_tap["blocks.0"] + by_tap["blocks.1"]) / 4).mean()
    assert expected > 0
    assert_same(metric.compute(), expected)


@pytest.mark.parametrize("n", [1, 3])
def test_reductions_agree(n: int) -> None:
    values = {}
    for reduction in ("mean", "sum", "none"):
        metric = build(reduction=reduction)
        assert_same(metric(*batch(n)), twin(*batch(n), reduction=reduction))
        values[reduction] = metric.compute()
    assert values["none"].shape == (n,)
    assert values["mean"].shape == values["sum"].shape == ()
    assert_same(values["mean"], values["none"].mean())
    assert_same(values["sum"], values["none"].sum())
    assert build(reduction=None).reduction == "none"


@pytest.mark.parametrize(
    ("way", "names"),
    [
        ({"per_layer": True}, TAPS),
        ({"per_layer": True, "distance": ["cosine"]}, TAPS),
        ({"distance": ["cosine", "l2"]}, ("cosine", "l2")),
        ({"distance": ["cosine", "l2"], "per_layer": True}, [f"{d}/{tap}" for d in ("cosine", "l2") for tap in TAPS]),
    ],
)
def test_names_of_results(way: dict[str, Any], names: tuple[str, ...]) -> None:
    metric = build(**way)
    metric.update(*batch())
    assert list(metric.compute()) == list(names)


def test_tap_weights_bind_by_name_not_by_order() -> None:
    weights = {0: 0.9, 1: 0.1}
    one, other = build(taps=[0, 1], tap_weights=weights), build(taps=[1, 0], tap_weights=weights)
    swapped = build(taps=[0, 1], tap_weights={0: 0.1, 1: 0.9})
    assert_same(one(*batch()), other(*batch()))
    assert abs(float(swapped(*batch())) / float(one(*batch())) - 1) > 1e-3


@ways
def test_equal_images_score_zero(way: dict[str, Any]) -> None:
    target = batch()[1]
    result = build(**way)(target, target)
    for value in result.values() if isinstance(result, dict) else [result]:
        assert torch.equal(value, torch.zeros_like(value))


class RoundsByPlace(nn.Module):
    """What some processors do to a row of a matrix."""

    def forward(self, images: Tensor) -> Tensor:
        return images * (1 + 1e-6 * torch.arange(len(images)).view(-1, 1, 1, 1))


def test_equal_images_score_zero_where_rounding_goes_by_the_place_in_the_batch() -> None:
    preds, target = batch(3)
    preds[1] = target[1]
    pair = (preds, target)
    fields = {"backbone": nn.Sequential(RoundsByPlace()), "taps": ["0"], "normalization": "none", "distance": "l2"}
    values, drawn = feature_distance(*pair, **fields, reduction="none"), feature_distance_map(*pair, **fields)
    for found in (values, drawn.amax((1, 2, 3))):
        assert (found == 0).tolist() == [False, True, False]


def test_lists_of_different_sizes_equal_one_by_one() -> None:
    sizes = [(32, 48), (64, 32), (32, 48), (17, 240), (5, 7)]
    pairs = [make_pair(1, *size, seed=seed) for seed, size in enumerate(sizes)]
    together = build(reduction="none")
    together.update([preds[0] for preds, _ in pairs], [target[0] for _, target in pairs])
    single = torch.cat([twin(*pair, reduction="none") for pair in pairs])
    assert_same(together.compute(), single)
    mean = build()
    mean.update([preds[0] for preds, _ in pairs], [target[0] for _, target in pairs])
    assert_same(mean.compute(), single.mean())


def test_lists_take_masks_and_ids() -> None:
    pairs = [make_pair(1, *size) for size in ((32, 48), (64, 32))]
    masks = [torch.rand(1, *preds.shape[-2:]) for preds, _ in pairs]
    metric = build(reduction="none")
    metric.update(*[[side[0] for side in sides] for sides in zip(*pairs, strict=True)], masks, sample_ids=[7, 3])
    expected = [twin(*pair, mask=mask[None], reduction="none") for pair, mask in zip(pairs, masks, strict=True)]
    assert_same(metric.compute(), torch.cat(expected[::-1]))


# sample_ids


def test_ids_count_a_sample_once_within_and_over_updates() -> None:
    preds, target = batch(4)
    values = twin(preds, target, reduction="none")
    for reduction, expected in (("mean", values.mean()), ("sum", values.sum()), ("none", values)):
        metric = build(reduction=reduction)
        metric.update(preds[[0, 1, 1]], target[[0, 1, 1]], sample_ids=[0, 1, 1])
        metric(preds[[1, 2, 0]], target[[1, 2, 0]], sample_ids=torch.tensor([1, 2, 0]))
        metric.update(preds[3:], target[3:], sample_ids=torch.tensor([3], dtype=torch.uint8))
        assert_same(metric.compute(), expected)


def test_ids_sort_the_values_of_reduction_none() -> None:
    pair, metric = batch(3), build(reduction="none")
    metric.update(*pair, sample_ids=[9, 4, 6])
    assert_same(metric.compute(), twin(*pair, reduction="none")[[1, 2, 0]])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_images_without_ids_count_however_often_they_come(reduction: str) -> None:
    pair, metric = batch(2), build(reduction=reduction)
    metric.update(*pair, sample_ids=[1, 0])
    metric.update(*pair)
    metric.update(*pair, sample_ids=[0, 1])
    metric.update(*pair)
    values = twin(*pair, reduction="none")
    together = torch.cat([values, values, values[[1, 0]]])
    expected = {"mean": together.mean(), "sum": together.sum(), "none": together}[reduction]
    assert_same(metric.compute(), expected)


@pytest.mark.parametrize("ids", [[0], [0, 1, 2], [0.0, 1.0], [-1, 0], [True, False], [[0, 1]]])
def test_ids_that_do_not_fit_are_errors(ids: list[Any]) -> None:
    metric = build()
    with pytest.raises(ValueError, match="sample_ids"):
        metric.update(*batch(), sample_ids=torch.tensor(ids))
    with pytest.raises(ValueError, match="sample_ids"):
        metric(*batch(), sample_ids=ids)
    assert all(not len(getattr(metric, name)) for name in metric._defaults if name.startswith(("ids", "values")))


# Masks and borders


@pytest.mark.parametrize("distance", ["l2", "cosine", "angular"])
@pytest.mark.parametrize("size", [(32, 32), (37, 250)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_mask_of_ones_is_no_mask(distance: str, size: tuple[int, int], dtype: torch.dtype) -> None:
    pair, mask = make_pair(2, *size), torch.ones(2, 1, *size, dtype=dtype)
    assert_same(build(distance=distance)(*pair, mask), build(distance=distance)(*pair))
    assert_same(build(distance=distance)(*pair, mask=mask), twin(*pair, distance=distance, mask=mask))


def test_mask_selects_a_region() -> None:
    preds, target = batch()
    preds = torch.cat([target[..., :16], preds[..., 16:]], -1)
    left = torch.zeros(2, 1, 32, 32)
    left[..., :16] = 1
    plain, damaged, intact = (float(build()(preds, target, mask)) for mask in (None, 1 - left, left))
    assert damaged > plain > intact


@pytest.mark.parametrize(
    ("mask", "match"),
    [
        (torch.ones(2, 32, 32), r"must be \(2, 1, 32, 32\)"),
        (torch.ones(2, 3, 32, 32), r"must be \(2, 1, 32, 32\)"),
        (torch.ones(1, 1, 32, 32), r"must be \(2, 1, 32, 32\)"),
        (-torch.ones(2, 1, 32, 32), "at least 0"),
        (torch.full((2, 1, 32, 32), float("nan")), "finite"),
        (torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1).expand(2, 1, 32, 32), "image 1 of the batch: leave"),
    ],
    ids=["3d", "channels", "batch", "negative", "nan", "zero"],
)
def test_mask_that_does_not_fit_is_an_error(mask: Tensor, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build().update(*batch(), mask)


@pytest.mark.parametrize("distance", ["wasserstein", "sliced_wasserstein"])
def test_mask_with_a_distance_of_sorted_values_is_an_error(distance: str) -> None:
    with pytest.raises(ValueError, match="take distance='l2'"):
        build(distance=distance).update(*batch(), torch.ones(2, 1, 32, 32))


@pytest.mark.parametrize("masked", [False, True])
def test_crop_border_equals_cropping_by_hand(masked: bool) -> None:
    preds, target = make_pair(2, 40, 48)
    mask = torch.rand(2, 1, 40, 48) if masked else None
    inner = (..., slice(5, -5), slice(5, -5))
    assert_same(
        build(crop_border=5)(preds, target, mask),
        build()(preds[inner], target[inner], None if mask is None else mask[inner]),
    )


def test_crop_border_that_leaves_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="leave pixels"):
        build(crop_border=16).update(*batch())


# Ranges and wrong input


def _uint16(images: Tensor) -> Tensor:
    return (images * 65535).round().to(torch.int32).to(torch.uint16)


UNITS = {
    "255": (255, lambda images: images * 255),
    "-1..1": ((-1, 1), lambda images: images * 2 - 1),
    "65535": (65535, lambda images: images * 65535),
    "uint8": (1.0, lambda images: (images * 255).round().to(torch.uint8)),
    "uint16": (1.0, _uint16),
    "float64": (1.0, lambda images: images.double()),
}


@pytest.mark.parametrize(("data_range", "convert"), UNITS.values(), ids=UNITS)
def test_units_agree_with_floats_in_0_to_1(data_range: Any, convert: Any) -> None:
    preds, target = ((images * 255).round() / 255 for images in batch())
    assert_same(build(data_range=data_range)(convert(preds), convert(target)), build()(preds, target))


def test_preds_and_target_may_have_different_units_of_their_own() -> None:
    preds, target = ((images * 255).round() / 255 for images in batch())
    assert_same(build()(preds, (target * 255).to(torch.uint8)), build()(preds, target))


def _nan(images: Tensor) -> Tensor:
    images = images.clone()
    images[0, 0, 0, 0] = float("nan")
    return images


def _both(change: Any) -> Any:
    return lambda preds, target: (change(preds), change(target))


BAD = {
    "grey": (_both(lambda x: x[:, :1]), r"preds\.repeat\(1, 3, 1, 1\)"),
    "grey_target": (lambda p, t: (p, t[:, :1]), r"target\.repeat\(1, 3, 1, 1\)"),
    "rgba": (_both(lambda x: torch.cat([x, x[:, :1]], 1)), r"to composite \(or preds\[:, :3\]"),
    "channels_last": (_both(lambda x: x.permute(0, 2, 3, 1)), r"preds\.permute\(0, 3, 1, 2\)"),
    "two_channels": (_both(lambda x: x[:, :2]), "must have 3 channels"),
    "3d": (_both(lambda x: x[0]), r"preds\[None\]"),
    "5d": (_both(lambda x: x[None]), r"preds\.flatten\(0, 1\)"),
    "sizes": (lambda p, t: (p[..., :-1], t), "crop or resize"),
    "batches": (lambda p, t: (p[:1], t), "must have one shape"),
    "target_255": (lambda p, t: (p * 255, t * 255), "`target` spans .*give data_range=255"),
    "target_-1..1": (lambda p, t: (p, t * 2 - 1), r"give data_range=\(-1, 1\)"),
    "preds_255": (lambda p, t: (p * 255, t), "`preds` spans .*give data_range=255"),
    "nan": (lambda p, t: (_nan(p), t), "`preds` holds NaN .*mask or replace"),
    "infinite": (lambda p, t: (p / 0, t), "`preds` holds NaN"),
    "nan_target": (lambda p, t: (p, _nan(t)), "`target` holds NaN"),
    "empty": (_both(lambda x: x[:0]), "leave out empty batches"),
    "no_pixels": (_both(lambda x: x[..., :0]), "no pixels"),
    "int64": (_both(lambda x: (x * 255).long()), "got torch.int64: convert it first"),
    "bool": (_both(lambda x: x > 0.5), "got torch.bool: convert it first"),
    "list_and_tensor": (lambda p, t: (list(p), t), r"two tensors \(N, 3, H, W\) or two lists"),
    "lengths": (lambda p, t: (list(p), list(t)[:1]), "one length"),
    "empty_lists": (lambda p, t: ([], []), "at least 1"),
    "list_sizes": (lambda p, t: ([p[0], p[1, :, :9]], list(t)), r"`preds\[1\]`.*crop or resize"),
}


@pytest.mark.parametrize(("change", "match"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_bad_input_names_its_fix_and_leaves_the_state_alone(change: Any, match: str, reduction: str) -> None:
    metric = build(reduction=reduction)
    expected = metric(*batch())
    with pytest.raises(ValueError, match=match):
        metric.update(*change(*batch()))
    with pytest.raises(ValueError, match=match):
        metric(*change(*batch()))
    with pytest.raises(ValueError, match=match):
        twin(*change(*batch()))
    assert_same(metric.compute(), expected)
    metric(*batch())
    torch.testing.assert_close(metric.compute(), torch.cat([expected] * 2) if reduction == "none" else expected)


def test_an_error_in_forward_leaves_ids_and_flags_alone() -> None:
    metric = build(reduction="none", compute_on_cpu=True)
    metric(*batch(), sample_ids=[3, 1])
    with pytest.raises(ValueError, match="sample_ids"):
        metric(*batch(), sample_ids=[3, -1])
    with pytest.raises(ValueError, match="NaN"):
        metric(_nan(batch()[0]), batch()[1], sample_ids=[3, 1])
    assert metric.update_count == 1
    assert metric.compute_on_cpu
    assert metric._to_sync
    assert metric._should_unsync
    assert not metric._enable_grad
    metric.update(*batch(1, seed=1), sample_ids=[2])
    values = twin(*batch(), reduction="none")
    assert_same(metric.compute(), torch.stack([values[1], twin(*batch(1, seed=1)), values[0]]))


def test_preds_may_leave_their_range_a_little() -> None:
    preds, target = batch()
    preds = preds * 1.05 - 0.02
    assert preds.min() < 0
    assert preds.max() > 1
    value = build()(preds, target)
    assert value.isfinite()
    assert value != build(clamp_preds=True)(preds, target)
    assert_same(build(clamp_preds=True)(preds, target), build()(preds.clamp(0, 1), target))


def test_validate_false_looks_at_shapes_only() -> None:
    preds, target = batch()
    metric = build(validate=False)
    assert metric(_nan(preds), target).isnan()
    with pytest.raises(ValueError, match="one shape"):
        metric(preds[:1], target)


# Names of states, and torchmetrics' own collection and wrappers

DIFFERENT = {
    "distance": ({"distance": "cosine"}, {"distance": "l2"}),
    "tap_weights": ({"tap_weights": {0: 1, 1: 3}}, {"tap_weights": {0: 3, 1: 1}}),
    "weights": ({"weights": "random:0"}, {"weights": "random:1"}),
    "tokens": ({"tokens": "patch"}, {"tokens": "all"}),
    "crop_border": ({}, {"crop_border": 8}),
    "data_range": ({}, {"data_range": 2.0}),
    "precision": ({}, {"precision": "bfloat16"}),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_a_collection_does_not_merge_metrics_that_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert not set(build(**one)._defaults) & set(build(**other)._defaults)
    collection = MetricCollection({"one": build(**one), "other": build(**other)})
    alone = {"one": build(**one), "other": build(**other)}
    for preds, target in [(batch()[1], batch()[1]), batch(3, seed=1), batch(1, seed=2)]:
        collection.update(preds, target)
        for metric in alone.values():
            metric.update(preds, target)
    result = collection.compute()
    for name, metric in alone.items():
        assert_same(result[name], metric.compute())
    assert result["one"] != result["other"]


def test_equal_recipes_have_equal_state_names() -> None:
    assert set(build()._defaults) == set(build()._defaults)
    assert set(build(data_range=1)._defaults) == set(build(data_range=(0.0, 1.0))._defaults)
    assert set(build(taps=(0, 1))._defaults) == set(build(taps=[0, 1])._defaults)


@pytest.mark.parametrize("reductions", [("mean", "sum"), ("none", "mean"), ("sum", "none")])
@pytest.mark.parametrize("with_ids", [(False,) * 3, (True,) * 3, (True, False, False), (False, True, False)])
def test_a_collection_of_equal_recipes_keeps_each_reduction(
    reductions: tuple[str, str], with_ids: tuple[bool, ...]
) -> None:
    collection = MetricCollection({name: build(reduction=name) for name in reductions})
    alone = {name: build(reduction=name) for name in reductions}
    for step, ids in enumerate(with_ids):
        preds, target = batch(2, seed=step)
        if step == 0:
            preds = target
        for metric in (collection, *alone.values()):
            metric.update(preds, target, **({"sample_ids": [2 * step, 2 * step + 1]} if ids else {}))
    result = collection.compute()
    for name, metric in alone.items():
        assert_same(result[name], metric.compute())


def test_tracker_copies_share_the_backbone() -> None:
    tracker = MetricTracker(build(), maximize=False)
    for noise in (0.2, 0.05, 0.1):
        tracker.increment()
        tracker.update(*make_pair(1, 32, 32, noise=noise))
    kept = [member for member in tracker.modules() if isinstance(member, FeatureDistance)]
    assert len(kept) > 3
    assert len({id(member.comparator.backbone) for member in kept}) == 1
    assert tracker.compute_all().shape == (3,)
    best, step = tracker.best_metric(return_step=True)
    assert (step, best) == (1, pytest.approx(float(tracker.compute_all().min())))


def test_min_max_metric_keeps_the_extremes() -> None:
    metric, values = MinMaxMetric(build()), []
    for noise in (0.1, 0.3, 0.05):
        metric.update(*make_pair(1, 32, 32, noise=noise))
        result = metric.compute()
        values.append(float(result["raw"]))
    assert result["min"] == pytest.approx(min(values))
    assert result["max"] == pytest.approx(max(values))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_running_keeps_the_last_batches(reduction: str) -> None:
    metric, last = Running(build(reduction=reduction), window=2), build(reduction=reduction)
    for seed in range(4):
        metric(*batch(2, seed=seed))
    for seed in (2, 3):
        last.update(*batch(2, seed=seed))
    # torchmetrics joins the batches of its window in an order of its own.
    assert_same(metric.compute().reshape(-1).sort().values, last.compute().reshape(-1).sort().values)


@pytest.mark.parametrize("strategy", ["poisson", "multinomial"])
def test_bootstrapper_resamples(strategy: str) -> None:
    torch.manual_seed(0)
    metric = BootStrapper(build(), num_bootstraps=4, sampling_strategy=strategy, raw=True)
    metric.update(*batch(6))
    metric.update(*batch(5, seed=1))
    result = metric.compute()
    assert result["raw"].unique().numel() > 1
    assert result["std"] > 0
    assert len({id(member.comparator.backbone) for member in metric.metrics}) == 1


def test_bootstrapper_with_ids_says_why_not() -> None:
    torch.manual_seed(0)
    metric = BootStrapper(build(), num_bootstraps=2)
    with pytest.warns(UserWarning, match="BootStrapper repeats samples on purpose"):
        metric.update(*batch(4), sample_ids=torch.arange(4))


@pytest.mark.parametrize("way", [{}, {"per_layer": True}, {"distance": ["l2", "cosine"]}])
@pytest.mark.parametrize("several", [False, True])
def test_plot_returns_a_figure(way: dict[str, Any], several: bool) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    metric = build(**way)
    values = [metric(*batch(seed=seed)) for seed in range(2)]
    figure, axes = metric.plot(values if several else None)
    assert isinstance(figure, pyplot.Figure)
    assert axes is not None
    pyplot.close(figure)


# FeatureMetricCollection


def members() -> dict[str, Any]:
    return {
        "early": build(taps=[0]),
        "both": build(per_layer=True),
        "l2": build(taps=[1, 0], tap_weights={0: 2, 1: 1}, distance="l2", reduction="none"),
        "several": build(taps=[1], distance=["wasserstein", "angular"]),
    }


def expect(collection: MetricCollection, alone: dict[str, Any], got: dict[str, Any], expected: dict[str, Any]) -> None:
    flat: dict[str, Any] = {}
    for name, value in expected.items():
        flat.update(value if isinstance(value, dict) else {name: value})
    assert set(got) == set(flat)
    for name, value in flat.items():
        assert_same(got[name], value)


@pytest.mark.parametrize("method", ["update", "forward"])
def test_collection_equals_separate_metrics_with_one_forward_pass(method: str, forwarded: list[int]) -> None:
    collection = FeatureMetricCollection({**members(), "psnr": PeakSignalNoiseRatio(data_range=1.0)})
    alone = {**members(), "psnr": PeakSignalNoiseRatio(data_range=1.0)}
    for step in range(3):
        pair = batch(step + 1, seed=step)
        forwarded.clear()
        got = getattr(collection, method)(*pair)
        assert len(forwarded) == 1
        expected = {name: getattr(metric, method)(*pair) for name, metric in alone.items()}
        if method == "forward":
            expect(collection, alone, got, expected)
    forwarded.clear()
    expect(collection, alone, collection.compute(), {name: metric.compute() for name, metric in alone.items()})
    assert not forwarded


def test_collection_hands_masks_and_ids_to_those_who_take_them(forwarded: list[int]) -> None:
    pointwise = {"early": build(taps=[0]), "l2": build(distance="l2", reduction="none")}
    collection = FeatureMetricCollection({**pointwise, "psnr": PeakSignalNoiseRatio(data_range=1.0)})
    preds, target = batch(3)
    mask = torch.rand(3, 1, 32, 32)
    collection.update(preds, target, mask=mask, sample_ids=[2, 0, 0])
    assert len(forwarded) == 1
    collection(preds[:1], target[:1], mask=mask[:1], sample_ids=torch.tensor([1]))
    result = collection.compute()
    keep = [1, 0, 0]
    pair = (preds[keep], target[keep])
    assert_same(result["early"], twin(*pair, mask=mask[keep], taps=[0]))
    assert_same(result["l2"], twin(*pair, mask=mask[keep], distance="l2", reduction="none"))


def test_collection_of_different_backbones_runs_each_once(forwarded: list[int]) -> None:
    other = {"weights": "random:1", "taps": [0]}
    collection = FeatureMetricCollection({"a": build(), "b": build(taps=[0]), "c": build(**other)})
    collection.update(*batch())
    assert len(forwarded) == 2
    result = collection.compute()
    assert_same(result["a"], twin(*batch()))
    assert_same(result["b"], twin(*batch(), taps=[0]))
    assert_same(result["c"], twin(*batch(), **other))


@pytest.mark.parametrize("way", [{"crop_border": 4}, {"data_range": 2.0}, {"precision": "bfloat16"}])
def test_collection_keeps_forward_passes_apart_that_differ(way: dict[str, Any], forwarded: list[int]) -> None:
    collection = FeatureMetricCollection({"plain": build(), "other": build(**way)})
    collection.update(*batch())
    assert len(forwarded) == 2
    result = collection.compute()
    assert_same(result["plain"], build()(*batch()))
    assert_same(result["other"], build(**way)(*batch()))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c)), lambda c: c.clone("x_")])
def test_collection_copies_go_on_by_themselves(copied: Any) -> None:
    collection = FeatureMetricCollection(members())
    collection.update(*batch())
    other = copied(collection)
    for one in (collection, other):
        one.update(*batch(3, seed=1))
    expected = collection.compute()
    got = {name.removeprefix("x_"): value for name, value in other.compute().items()}
    assert_same(got, expected)
    other.update(*batch(1, seed=2))
    assert_same(collection.compute(), expected)


def test_collection_pickle_is_small() -> None:
    collection = FeatureMetricCollection(members())
    collection.update(*batch())
    assert len(pickle.dumps(collection)) < 200_000
    assert collection.state_dict() == {}


def test_collection_prefixes_names_and_resets() -> None:
    collection = FeatureMetricCollection([build()], prefix="val/", postfix="_x")
    collection.update(*batch())
    collection.reset()
    collection.update(*batch(seed=1))
    assert_same(collection.compute(), {"val/FeatureDistance_x": twin(*batch(seed=1))})


@pytest.mark.parametrize("method", ["update", "forward"])
def test_collection_errors_leave_its_members_alone(method: str) -> None:
    collection = FeatureMetricCollection(members())
    collection.update(*batch())
    before = collection.compute()
    with pytest.raises(ValueError, match="NaN"):
        getattr(collection, method)(_nan(batch()[0]), batch()[1])
    with pytest.raises(ValueError, match="sample_ids"):
        getattr(collection, method)(*batch(), sample_ids=[0, -1])
    assert not served.get()
    assert_same(collection.compute(), before)
    collection["early"].update(*batch(seed=1))
    assert_same(collection["early"].compute(), twin(*map(torch.cat, zip(batch(), batch(seed=1))), taps=[0]))  # noqa: B905


# The functional twins


@ways
def test_gradients_reach_preds(way: dict[str, Any]) -> None:
    preds, target = batch()
    preds.requires_grad_()
    result = twin(preds, target, **way)
    for value in result.values() if isinstance(result, dict) else [result]:
        (grad,) = torch.autograd.grad(value.sum(), preds, retain_graph=True)
        assert grad.isfinite().all()
        assert (grad.flatten(1).abs().amax(1) > 0).all()


def test_metric_keeps_no_graph() -> None:
    metric = build(reduction="none")
    value = metric(batch()[0].requires_grad_(), batch()[1])
    assert not value.requires_grad
    assert not metric.compute().requires_grad


SIZES = [(64, 64, None), (100, 300, None), (5, 7, None), (1, 1, None), (300, 211, 100)]


@pytest.mark.parametrize("distance", ["l2", "cosine", "angular"])
@pytest.mark.parametrize(("height", "width", "max_side"), SIZES)
def test_mean_of_the_map_is_the_score(height: int, width: int, max_side: int | None, distance: str) -> None:
    pair, fields = make_pair(2, height, width), {"distance": distance, "max_side": max_side}
    drawn = feature_distance_map(*pair, **RANDOM_VIT, **fields)
    assert drawn.shape == (2, 1, height, width)
    assert drawn.min() >= 0
    assert_same(drawn.mean((1, 2, 3)), twin(*pair, reduction="none", **fields))


def test_map_by_layer_and_distance() -> None:
    pair, weights = batch(), {0: 3.0, 1: 1.0}
    drawn = feature_distance_map(*pair, per_layer=True, **RANDOM_VIT, tap_weights=weights)
    assert list(drawn) == ["score", *TAPS]
    assert_same(drawn["score"], (3 * drawn[TAPS[0]] + drawn[TAPS[1]]) / 4)
    layers = twin(*pair, per_layer=True, reduction="none")
    for tap in TAPS:
        assert_same(drawn[tap].mean((1, 2, 3)), layers[tap])
    assert list(feature_distance_map(*pair, **RANDOM_VIT, distance=["l2", "cosine"])) == ["l2", "cosine"]
    both = feature_distance_map(*pair, per_layer=True, **RANDOM_VIT, distance=["l2", "cosine"])
    assert list(both) == [f"{distance}/{label}" for distance in ("l2", "cosine") for label in ("score", *TAPS)]


@pytest.mark.parametrize("max_side", [None, 20])
def test_map_after_crop_border_is_that_of_the_cropped_images(max_side: int | None) -> None:
    preds, target = make_pair(1, 40, 48)
    inner = (..., slice(5, -5), slice(5, -5))
    drawn = feature_distance_map(preds, target, crop_border=5, max_side=max_side, **RANDOM_VIT)
    assert drawn.shape == (1, 1, 30, 38)
    assert_same(drawn, feature_distance_map(preds[inner], target[inner], max_side=max_side, **RANDOM_VIT))


def test_map_shows_where_the_damage_is() -> None:
    preds, target = make_pair(1, 64, 64, noise=0.0)
    preds[..., 32:, 32:] = 0
    drawn = feature_distance_map(preds, target, **{**RANDOM_VIT, "taps": [0]})[0, 0]
    assert drawn[32:, 32:].mean() > 2 * drawn[:32, :32].mean()


def test_map_gives_gradients() -> None:
    preds, target = batch()
    feature_distance_map(preds.requires_grad_(), target, **RANDOM_VIT).mean().backward()
    assert preds.grad is not None
    assert preds.grad.isfinite().all()
    assert preds.grad.abs().max() > 0


@pytest.mark.parametrize("distance", ["wasserstein", "sliced_wasserstein"])
def test_map_of_a_distance_of_sorted_values_is_an_error(distance: str) -> None:
    with pytest.raises(ValueError, match=r"has no map: take distance='l2' .*sorted value has lost its place"):
        feature_distance_map(*batch(), **RANDOM_VIT, distance=distance)


@pytest.mark.parametrize(("tokens", "allowed"), [("prefix", False), ("all", True)])
def test_map_needs_tokens_with_a_place(tokens: str, allowed: bool) -> None:
    if allowed:
        assert feature_distance_map(*batch(), **RANDOM_VIT, tokens=tokens).shape == (2, 1, 32, 32)
    else:
        with pytest.raises(ValueError, match="take tokens='patch'"):
            feature_distance_map(*batch(), **RANDOM_VIT, tokens=tokens)
