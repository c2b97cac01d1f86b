"""Tap statistics against a computation by hand: networks with hooks, tiles by numpy, weights of patches by counting."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conftest import RANDOM_VIT, make_pair
from tests.lightning_tools import one_thread  # noqa: F401
from torchmetrics_fmiqa import FeatureComparator, Recipe
from torchmetrics_fmiqa.comparator.pooling import pool_map
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics, TapStatisticsRequest
from torchmetrics_fmiqa.distances.joint import Joint
from torchmetrics_fmiqa.features.network import load_network
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache, References
from torchmetrics_fmiqa.features.tiles import plan_tiles, position_weights

VIT: dict[str, Any] = {**RANDOM_VIT, "taps": [0, 2]}
SQUEEZE: dict[str, Any] = {"backbone": "torchvision/squeezenet1_1", "weights": "random:0", "taps": [0, 2, 3]}

Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module", autouse=True)
def networks() -> Any:
    return [load_network(fields["backbone"], fields["weights"]) for fields in (VIT, SQUEEZE)]


def request_of(fields: dict[str, Any], of_images: Any = None) -> TapStatisticsRequest:
    return TapStatisticsRequest(Recipe(**fields), of_images)


def measure(
    fields: dict[str, Any],
    preds: Any,
    target: Any,
    mask: Any = None,
    tile_batch: int = 32,
    precision: Any = "float32",
) -> TapStatistics:
    comparator = FeatureComparator(request_of(fields), precision, tile_batch=tile_batch)
    measured: TapStatistics = comparator(preds, target, mask)[0]
    return measured


def parts(measured: TapStatistics) -> dict[str, Tensor]:
    return {name: getattr(measured, name) for name in ("spread", "summary", "reference", "of_images")}


def assert_same(one: TapStatistics, other: TapStatistics, **tolerance: float) -> None:
    assert one.labels == other.labels
    torch.testing.assert_close(parts(one), parts(other), **{"rtol": 1e-5, "atol": 1e-7, **tolerance})


# By hand


class Axis(NamedTuple):
    starts: list[int]
    side: int
    padded: int
    share: Array  # of each pixel of the image, in each tile: (tiles, length)


def axis_by_hand(length: int, tile: int | None, multiple: int, minimum: int) -> Axis:
    side = length if tile is None else min(tile, length)
    count = -(-length // side)
    starts = [0] if count == 1 else [round(i * (length - side) / (count - 1)) for i in range(count)]
    share = np.zeros((count, length))
    for number, start in enumerate(starts):
        share[number, start : start + side] = 1
    return Axis(starts, side, -(-max(side, minimum) // multiple) * multiple, share / share.sum(0))


def cells_by_hand(axis: Axis, count: int) -> Array:
    """How much each cell of each tile has of each pixel of the image, ``(tiles, count, length)``."""
    samples = np.arange(axis.side * count)  # so many of a pixel that each lies in one cell
    within = np.zeros((count, axis.side))
    np.add.at(within, (samples // axis.padded, samples // count), 1 / count)
    found = np.zeros((len(axis.starts), count, axis.share.shape[1]))
    for number, start in enumerate(axis.starts):
        columns = slice(start, start + axis.side)
        found[number][:, columns] = within * axis.share[number, columns]
    return found


def tokens_by_hand(fields: dict[str, Any], tiles: Tensor) -> list[tuple[Tensor, Tensor, tuple[int, int]]]:
    """For each tap the patches ``(n, T, C)``, what stands for the whole ``(n, C)``, and the grid."""
    network = load_network(fields["backbone"], fields["weights"])
    net = copy.deepcopy(network.on(torch.device("cpu"), torch.float32))
    mean, std = (torch.tensor(values)[:, None, None] for values in (network.mean, network.std))
    found: dict[str, Tensor] = {}
    names = network.resolve(fields["taps"])
    for name in names:
        net.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: found.update({name: output}))
    with torch.no_grad():
        net((tiles - mean) / std)
    outputs = [found[name].double() for name in names]
    if network.transformer:
        grid = (tiles.shape[2] // 16, tiles.shape[3] // 16)
        return [(output[:, 1:], output[:, 0], grid) for output in outputs]
    return [
        (output.flatten(2).transpose(1, 2), output.mean((2, 3)), (output.shape[2], output.shape[3]))
        for output in outputs
    ]


def distance_by_hand(name: str, one: Tensor, other: Tensor) -> Array:
    if name == "l2":
        return np.asarray(((one - other) ** 2).mean(-1))
    cosine = (one * other).sum(-1) / (one.norm(dim=-1) * other.norm(dim=-1))
    return np.asarray(1 - cosine if name == "cosine" else cosine.clamp(-1, 1).arccos() / torch.pi)


def percentile_by_hand(values: Array, weights: Array, share: float) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, share * reached[-1])])


class ByHand(NamedTuple):
    mean: Array
    spread: Array
    low: Array  # between these two the percentile lies: a share of 95 % may be met to the last digit
    high: Array
    summary: Array
    reference: Array


def by_hand(fields: dict[str, Any], preds: Tensor, target: Tensor, mask: Tensor | None = None) -> ByHand:
    """The tap statistics of one pair at the working size, ``(1, 3, H, W)``."""
    network = load_network(fields["backbone"], fields["weights"])
    tile = None if fields.get("resolution") == "resize" else fields.get("tile")
    if tile is None and fields.get("resolution", "auto") == "auto" and network.transformer:
        tile = 224
    rows, cols = (axis_by_hand(side, tile, network.multiple, network.minimum) for side in preds.shape[2:])
    tiles = []
    for images in (preds, target):
        for y in rows.starts:
            for x in cols.starts:
                own = images[0, :, y : y + rows.side, x : x + cols.side].numpy()
                border = ((0, 0), (0, rows.padded - rows.side), (0, cols.padded - cols.side))
                tiles.append(torch.from_numpy(np.pad(own, border, mode="reflect")))
    taps = tokens_by_hand(fields, torch.stack(tiles))
    count = len(rows.starts) * len(cols.starts)
    weight = np.ones(tuple(preds.shape[2:])) if mask is None else mask[0, 0].double().numpy()
    weight = weight / weight.sum()
    of_tiles = np.einsum("th,hw,uw->tu", rows.share, weight, cols.share).ravel()
    found: list[list[float]] = []
    distance = fields.get("distance", "cosine")
    for patches, whole, grid in taps:
        values = distance_by_hand(distance, patches[:count], patches[count:]).ravel()
        own = np.einsum("tah,hw,ubw->tuab", cells_by_hand(rows, grid[0]), weight, cells_by_hand(cols, grid[1])).ravel()
        assert own.sum() == pytest.approx(1)
        mean = float((values * own).sum())
        spread = float(np.sqrt(((values - mean) ** 2 * own).sum()))
        ends = [percentile_by_hand(values, own, share) for share in (0.95 - 1e-6, 0.95 + 1e-6)]
        summary = float((distance_by_hand(distance, whole[:count], whole[count:]) * of_tiles).sum())
        found.append([mean, spread, *ends, summary])
    reference = (taps[-1][1][count:].numpy() * of_tiles[:, None]).sum(0)
    return ByHand(*np.array(found).T, reference)


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False)


def made_mask(n: int, height: int, width: int) -> Tensor:
    """Weights of all kinds: nothing on the left, more and more to the right, noise over it."""
    ramp = torch.linspace(-0.5, 1, width).clamp(min=0).expand(n, 1, height, width)
    return ramp * torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(5))


class Case(NamedTuple):
    fields: dict[str, Any]
    size: tuple[int, int]
    n: int = 2
    masked: bool = False
    tile_batch: int = 32
    working: tuple[int, int] | None = None


CASES = {
    "vit_whole": Case(VIT, (48, 64)),
    "vit_whole_l2": Case({**VIT, "distance": "l2"}, (48, 64)),
    "vit_whole_masked": Case(VIT, (48, 64), masked=True),
    "vit_whole_in_portions": Case(VIT, (160, 176), n=3, tile_batch=1),
    "vit_padded": Case({**VIT, "distance": "angular"}, (40, 57)),
    "vit_smaller_than_a_patch": Case(VIT, (5, 7)),
    "vit_tiles": Case({**VIT, "tile": 32}, (64, 96)),
    "vit_tiles_overlap": Case({**VIT, "tile": 32}, (80, 70)),
    "vit_tiles_overlap_masked": Case({**VIT, "tile": 32, "distance": "l2"}, (80, 70), masked=True),
    "vit_portions_split_images": Case({**VIT, "tile": 32}, (80, 70), n=6, tile_batch=1),
    "vit_portions_split_images_masked": Case({**VIT, "tile": 32}, (80, 70), n=6, tile_batch=1, masked=True),
    "vit_default_tiles": Case({**VIT, "taps": [0]}, (240, 226), n=1),
    "vit_resize": Case({**VIT, "resolution": "resize", "tile": 32}, (60, 50), working=(32, 32)),
    "vit_resize_masked": Case({**VIT, "resolution": "resize", "tile": 32}, (64, 64), masked=True, working=(32, 32)),
    "vit_max_side": Case({**VIT, "max_side": 50}, (100, 80), working=(50, 40)),
    "vit_max_side_masked": Case({**VIT, "max_side": 50}, (100, 80), masked=True, working=(50, 40)),
    "cnn_whole": Case(SQUEEZE, (96, 64)),
    "cnn_whole_masked": Case(SQUEEZE, (96, 64), masked=True),
    "cnn_padded": Case({**SQUEEZE, "distance": "l2"}, (70, 90)),
    "cnn_padded_masked": Case(SQUEEZE, (70, 90), masked=True),
    "cnn_below_its_minimum": Case(SQUEEZE, (40, 33)),
    "cnn_in_portions": Case(SQUEEZE, (200, 210), n=3, tile_batch=1),
    "cnn_tiles": Case({**SQUEEZE, "resolution": "tile", "tile": 64}, (100, 90), masked=True),
}


@pytest.mark.parametrize("case", CASES)
def test_tap_statistics_equal_the_computation_by_hand(case: str) -> None:
    fields, size, n, masked, tile_batch, working = CASES[case]
    preds, target = make_pair(n, *size, seed=3)
    mask = made_mask(n, *size) if masked else None
    measured = measure(fields, preds, target, mask, tile_batch=tile_batch)
    if working is not None:
        factor = size[0] // working[0]
        mask = None if mask is None else F.avg_pool2d(mask, factor)
        preds, target = resized(preds, working), resized(target, working)
    for image in range(n):
        one = slice(image, image + 1)
        expected = by_hand(fields, preds[one], target[one], None if mask is None else mask[one])
        spread = measured.spread[image].double().numpy()
        assert spread[:, 0] == pytest.approx(expected.mean, rel=1e-4)
        assert spread[:, 1] == pytest.approx(expected.spread, rel=1e-4, abs=1e-9)
        assert (spread[:, 2] >= expected.low * (1 - 1e-4)).all()
        assert (spread[:, 2] <= expected.high * (1 + 1e-4)).all()
        assert measured.summary[image].double().numpy() == pytest.approx(expected.summary, rel=1e-3)
        assert measured.reference[image].double().numpy() == pytest.approx(expected.reference, rel=1e-4, abs=1e-5)
    assert measured.of_images.shape == (n, 0)
    assert measured.labels == load_network(fields["backbone"], fields["weights"]).resolve(fields["taps"])


@pytest.mark.parametrize("case", CASES)
def test_the_mean_of_tap_statistics_is_the_feature_distance(case: str) -> None:
    fields, size, n, masked, tile_batch, _ = CASES[case]
    pair, mask = make_pair(n, *size, seed=4), made_mask(n, *size) if masked else None
    measured = measure(fields, *pair, mask, tile_batch=tile_batch)
    (distances,) = FeatureComparator(Recipe(**fields))(*pair, mask)
    torch.testing.assert_close(measured.spread[..., 0], *distances.per_tap.values(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("combine", ["mean", "geometric"])
def test_joined_distances_are_pooled_as_their_map(combine: str) -> None:
    fields = {"backbone": "fmiqa/embedded", "weights": "random:0", "taps": [0, 2], "pooling": "mean"}
    joined = {"distance": {"cosine": 3, "symmetric_kl": 1, "l2": 2}, "combine": combine}
    pair = make_pair(2, 64, 96)
    measured = measure({**fields, **joined}, *pair)
    drawn = FeatureComparator(Recipe(**fields, **joined)).maps(*pair, per_layer=True)["cosine+l2+symmetric_kl"]
    expected = torch.stack([pool_map(drawn[tap]) for tap in ("stages.0", "stages.2")], 1)
    torch.testing.assert_close(measured.spread, expected, rtol=1e-4, atol=1e-8)
    singles = [measure({**fields, "distance": name}, *pair).summary for name in ("cosine", "l2")]
    torch.testing.assert_close(measured.summary, Joint(("cosine", "l2"), (0.6, 0.4), combine).score(singles))


@pytest.mark.parametrize("fields", [VIT, {**VIT, "resolution": "native"}], ids=["tiled", "native"])
def test_the_scene_as_a_whole_is_the_distance_of_the_class_token(fields: dict[str, Any]) -> None:
    pair = make_pair(2, 240, 64)
    (distances,) = FeatureComparator(Recipe(**{**fields, "tokens": "prefix"}))(*pair)
    torch.testing.assert_close(measure(fields, *pair).summary, *distances.per_tap.values())


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from([None, 32]),
)
def test_counting_samples_gives_the_weights_of_positions(
    size: tuple[int, int], grid: tuple[int, int], tile: int | None
) -> None:
    rows, cols = (axis_by_hand(side, tile, 16, 1) for side in size)
    cells = [cells_by_hand(axis, count) / axis.share.shape[1] for axis, count in zip((rows, cols), grid, strict=True)]
    expected = np.einsum("ta,ub->tuab", *(own.sum(-1) for own in cells)).reshape(-1, grid[0] * grid[1])
    found = position_weights(plan_tiles(*size, tile, 16), grid, torch.zeros((), dtype=torch.float64))
    assert found.numpy() == pytest.approx(expected, abs=1e-12)


# Lists, orders, flat


def test_lists_of_sizes_equal_one_by_one() -> None:
    sizes = [(32, 48), (64, 32), (32, 48), (17, 100), (64, 32)]
    pairs = [make_pair(1, *size, seed=seed) for seed, size in enumerate(sizes)]
    masks = [made_mask(1, *size) for size in sizes]
    fields = {**VIT, "tile": 32}
    for some in (None, masks):
        preds, target = ([pair[side][0] for pair in pairs] for side in (0, 1))
        together = measure(fields, preds, target, None if some is None else [mask[0] for mask in some])
        for image, pair in enumerate(pairs):
            alone = measure(fields, *pair, None if some is None else some[image])
            assert_same(together.rows([image]), alone)


def test_flat_and_back() -> None:
    def two(preds: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        return torch.stack([preds.mean((1, 2, 3)), target.mean((1, 2, 3))], 1)

    (measured,) = FeatureComparator(request_of(VIT, two))(*make_pair(3, 32, 32))
    flat = measured.flat()
    assert flat.shape == (3, 4 * 2 + 2 + 192)
    assert_same(TapStatistics.from_flat(flat, measured.labels, 2), measured, rtol=0, atol=0)
    assert_same(TapStatistics.from_flat(flat[[2, 0]], measured.labels, 2), measured.rows([2, 0]), rtol=0, atol=0)
    assert_same(measured.rows(torch.tensor([True, False, True]).nonzero()[:, 0]), measured.rows([0, 2]))
    assert len(measured.rows([]).flat()) == 0
    joined = measured.rows([1]).joined([measured.rows([2]), measured.rows([0])], [2, 0, 1])
    assert_same(joined, measured, rtol=0, atol=0)


# The reference


@pytest.mark.parametrize("fields", [{**VIT, "tile": 32}, SQUEEZE], ids=["vit", "cnn"])
def test_the_reference_does_not_depend_on_the_predictions(fields: dict[str, Any]) -> None:
    preds, target = make_pair(2, 80, 70)
    first = measure(fields, preds, target).reference
    for other in (target, 1 - preds, torch.zeros_like(preds)):
        torch.testing.assert_close(measure(fields, other, target).reference, first, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(measure(fields, target, preds).reference, first, rtol=1e-3)


def test_the_reference_has_no_gradient_and_targets_get_none() -> None:
    preds, target = (images.requires_grad_() for images in make_pair(1, 32, 32))
    measured = measure(VIT, preds, target)
    assert not measured.reference.requires_grad
    (measured.spread.sum() + measured.summary.sum()).backward()
    assert preds.grad is not None
    assert preds.grad.abs().sum() > 0
    assert target.grad is None


# One forward for several


def test_one_forward_serves_recipes_and_tap_statistics_alike(forwarded: list[int]) -> None:
    pair, mask = make_pair(2, 80, 70), made_mask(2, 80, 70)
    base = {**VIT, "tile": 32}
    requests = [
        Recipe(**{**base, "taps": [1, 2], "distance": "l2"}),
        request_of(base),
        request_of({**base, "taps": [2, 1, 0], "distance": "angular"}, lambda preds, target, mask: preds.mean((2, 3))),
        Recipe(**{**base, "tokens": "all", "distance": ["cosine", "l2"]}),
        request_of(base),
    ]
    for some in (None, mask):
        alone = [FeatureComparator(request)(*pair, some)[0] for request in requests]
        together = FeatureComparator(requests)
        forwarded.clear()
        found = together(*pair, some)
        assert len(forwarded) == 1
        assert sum(forwarded) == 2 * 2 * 9
        for one, other in zip(found, alone, strict=True):
            if isinstance(one, TapStatistics):
                assert_same(one, other)
            else:
                torch.testing.assert_close(one.per_tap, other.per_tap, rtol=1e-5, atol=1e-8)
    assert found[2].labels == ("blocks.2", "blocks.1", "blocks.0")
    torch.testing.assert_close(found[2].of_images, pair[0].mean((2, 3)))


def test_the_order_of_taps_is_that_of_the_recipe() -> None:
    pair = make_pair(2, 32, 32)
    one, other = (measure({**VIT, "taps": taps}, *pair) for taps in ([0, 2], [2, 0]))
    torch.testing.assert_close(one.spread, other.spread.flip(1))
    torch.testing.assert_close(one.summary, other.summary.flip(1))
    assert not torch.allclose(one.reference, other.reference, rtol=1e-3)  # of the last tap that was named


def test_tap_statistics_have_no_scores_and_no_map() -> None:
    comparator = FeatureComparator([request_of(VIT), Recipe(**VIT)])
    assert not comparator.has_maps
    with pytest.raises(ValueError, match="request 0 is not for scores"):
        comparator.labels()
    assert comparator.weights(1) == {"cosine": (0.5, 0.5)}


def test_forward_passes_that_differ_cannot_be_shared() -> None:
    with pytest.raises(ValueError, match="different forward passes"):
        FeatureComparator([Recipe(**VIT), request_of({**VIT, "tile": 32})])


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"distance": ["l2", "cosine"]}, "take one `distance`"),
        ({"distance": {"symmetric_kl": 1, "jensen_shannon": 1}}, "'jensen_shannon.symmetric_kl' compares many"),
        ({"distance": {"cosine": 1, "wasserstein": 1}}, "need positions.*'wasserstein'.*take distance='l2'"),
        ({"distance": "wasserstein"}, "need positions.*'wasserstein'.*take distance='l2'"),
        ({"distance": lambda one, other: one.mean((1, 2))}, "need positions"),
        ({"distance": "l2", "protocol": "zsiqa"}, "by the fmiqa protocol"),
    ],
)
def test_recipes_without_tap_statistics(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        request_of({**VIT, **fields})
    with pytest.raises(ValueError, match=match):
        request_of(VIT).replace(**fields)


def test_a_pooled_embedding_has_no_tap_statistics() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    recipe = Recipe(net, taps=["0", "2"], normalization="none", resolution="native")
    for preds in (make_pair(1, 16, 16)[0], make_pair(1, 16, 16)[0].requires_grad_()):
        with pytest.raises(ValueError, match="'2' is a pooled embedding"):
            FeatureComparator(TapStatisticsRequest(recipe))(preds, make_pair(1, 16, 16)[1])


# The cache of references

KEPT = {
    "whole": (VIT, (32, 48), False),
    "tiles": ({**VIT, "tile": 32}, (80, 70), False),
    "masked": ({**VIT, "tile": 32}, (80, 70), True),
    "cnn": (SQUEEZE, (70, 90), True),
}


@pytest.mark.parametrize("by_id", [False, True], ids=["content", "ids"])
@pytest.mark.parametrize("case", KEPT)
def test_known_references_change_nothing(case: str, by_id: bool, forwarded: list[int]) -> None:
    fields, size, masked = KEPT[case]
    preds, target = make_pair(3, *size)
    mask = made_mask(3, *size) if masked else None
    comparator, cache = FeatureComparator(request_of(fields), tile_batch=1), ReferenceCache("1GiB")
    (expected,) = comparator(preds, target, mask)
    plain = sum(forwarded)
    for known in (False, True):
        forwarded.clear()
        ids = tuple(range(3)) if by_id else None
        assert_same(comparator(preds, target, mask, references=References(cache, ids))[0], expected, atol=1e-6)
        assert sum(forwarded) == (plain // 2 if known else plain)
    # Some known, some not.
    cache = ReferenceCache("1GiB")
    comparator(preds[1:2], target[1:2], None, references=References(cache))
    assert_same(comparator(preds, target, mask, references=References(cache))[0], expected, atol=1e-6)
    assert cache.hits > 0


# Gradients and precisions


@pytest.mark.parametrize("case", ["vit_whole", "vit_portions_split_images_masked", "cnn_padded_masked", "vit_resize"])
def test_the_path_with_gradients_equals_that_without(case: str) -> None:
    fields, size, n, masked, tile_batch, _ = CASES[case]
    preds, target = make_pair(n, *size)
    mask = made_mask(n, *size) if masked else None
    plain = measure(fields, preds, target, mask, tile_batch=tile_batch)
    leaf = preds.clone().requires_grad_()
    graded = measure(fields, leaf, target, mask, tile_batch=tile_batch)
    assert_same(TapStatistics(*(part.detach() for part in parts(graded).values()), graded.labels), plain, atol=1e-6)
    for part in (graded.spread, graded.summary):
        (grad,) = torch.autograd.grad(part.sum(), leaf, retain_graph=True)
        assert grad.isfinite().all()
        assert (grad.flatten(1).abs().amax(1) > 0).all()


def test_equal_images_have_exact_zeros() -> None:
    target = make_pair(3, 80, 70)[1]
    for fields in ({**VIT, "tile": 32}, SQUEEZE):
        measured = measure(fields, target, target, tile_batch=1)
        assert torch.equal(measured.spread, torch.zeros_like(measured.spread))
        assert torch.equal(measured.summary, torch.zeros_like(measured.summary))
        assert measured.reference.abs().sum() > 0


def test_half_precision_stays_near_and_float64_is_exact() -> None:
    pair = make_pair(2, 80, 70, noise=0.3)
    fields = {**VIT, "tile": 32}
    plain = measure(fields, *pair)
    half = measure(fields, *pair, precision="bfloat16")
    for name, value in parts(half).items():
        assert value.dtype == torch.float32
        assert name == "of_images" or not torch.equal(value, parts(plain)[name])
    torch.testing.assert_close(half.spread[..., 0], plain.spread[..., 0], rtol=0.03, atol=0)
    torch.testing.assert_close(half.reference, plain.reference, rtol=0.05, atol=0.05)
    double = measure(fields, *pair, precision="float64")
    assert {value.dtype for value in parts(double).values()} == {torch.float64}
    for name, value in parts(plain).items():
        torch.testing.assert_close(value.double(), parts(double)[name], rtol=1e-4, atol=1e-6)


def test_what_is_taken_of_the_images_is_what_the_network_sees() -> None:
    seen: list[Sequence[Any]] = []

    def spy(preds: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        seen.append((preds, target, mask))
        return preds.new_zeros(len(preds), 1)

    preds, target = make_pair(2, 70, 60)
    mask = made_mask(2, 70, 60)
    comparator = FeatureComparator(request_of({**VIT, "resolution": "resize", "tile": 32}, spy))
    comparator(255 * preds, 255 * target, mask, data_range=255, crop_border=5)
    inner = (..., slice(5, -5), slice(5, -5))
    torch.testing.assert_close(seen[0][0], resized(preds[inner], (32, 32)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen[0][1], resized(target[inner], (32, 32)), rtol=1e-4, atol=1e-5)
    assert seen[0][2].shape == (2, 1, 32, 32)
    # Of the mask only the proportions count: the largest weight of an image is 1.
    whole = mask[inner] / mask[inner].amax((1, 2, 3), keepdim=True)
    assert seen[0][2].sum((1, 2, 3)).tolist() == pytest.approx(whole.sum((1, 2, 3)).tolist(), rel=1e-4)


# Copies


def test_pickles_and_deep_copies_measure_the_same() -> None:
    pair, comparator = make_pair(2, 32, 32), FeatureComparator([request_of(VIT), Recipe(**VIT)], tile_batch=3)
    assert copy.deepcopy(comparator) is comparator
    data = pickle.dumps(comparator)
    assert len(data) < 10_000
    other = pickle.loads(data)
    assert other.tile_batch == 3
    assert_same(other(*pair)[0], comparator(*pair)[0], rtol=0, atol=0)
    again = copy.deepcopy(request_of(VIT))
    assert again == request_of(VIT)
    assert again.digest == Recipe(**VIT).digest
    assert_same(*(FeatureComparator(one)(*pair)[0] for one in (again, request_of(VIT))), rtol=0, atol=0)


def test_a_pickle_is_refused_where_the_weights_changed(tmp_path: Path) -> None:
    state = load_network("torchvision/squeezenet1_1", "random:0").on(torch.device("cpu"), torch.float32).state_dict()
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    data = pickle.dumps(FeatureComparator(request_of({**SQUEEZE, "weights": str(path)})))
    pickle.loads(data)
    save_file({name: 2 * value for name, value in state.items()}, path)
    with pytest.raises(ValueError, match="another file"):
        pickle.loads(data)
