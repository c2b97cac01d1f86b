"""ReferenceCache: what is known is not computed again, the results are the same, and nothing is ever mixed up."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import RANDOM_VIT, make_pair
from tests.lightning_tools import one_thread  # noqa: F401
from torchmetrics_fmiqa import FeatureComparator, FeatureDistance, FeatureMetricCollection
from torchmetrics_fmiqa.comparator import Images
from torchmetrics_fmiqa.features.network import load_network
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache, References, parse_bytes
from torchmetrics_fmiqa.recipes import as_recipe

#: Bytes of one image's features in float32: two taps of a class token and 2 x 2 patches, 192 channels each.
TILE = 2 * (1 + 2 * 2) * 192 * 4
EXACT: dict[str, float] = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(scope="module", autouse=True)
def network() -> Any:
    return load_network(RANDOM_VIT["backbone"], RANDOM_VIT["weights"])


def comparator(tile_batch: int = 32, precision: Any = "float32", **fields: Any) -> FeatureComparator:
    return FeatureComparator(
        as_recipe("default", **{**RANDOM_VIT, **fields}), precision=precision, tile_batch=tile_batch
    )


def measure(
    cache: ReferenceCache | None,
    preds: Images,
    target: Images,
    ids: Sequence[Hashable] | None = None,
    by: FeatureComparator | None = None,
    **options: Any,
) -> Tensor:
    references = None if cache is None else References(cache, None if ids is None else tuple(ids))
    (distances,) = (by or comparator())(preds, target, references=references, **options)
    return torch.stack(list(distances.scores().values()), 1)


def pair(n: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    return make_pair(n, 32, 32, seed=seed)


def sides(*sizes: tuple[int, int]) -> tuple[list[Tensor], list[Tensor]]:
    pairs = [make_pair(1, height, width, seed=seed) for seed, (height, width) in enumerate(sizes)]
    return [preds[0] for preds, _ in pairs], [target[0] for _, target in pairs]


# The results are the same

MASK = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))
SAME: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "batch": (lambda: pair(), {}, {}),
    "one_size_a_list": (lambda: sides((32, 32), (32, 32)), {}, {}),
    "sizes": (lambda: sides((32, 32), (24, 40), (32, 32), (40, 24)), {}, {}),
    "tiles": (lambda: make_pair(1, 40, 250), {}, {}),
    "many_portions": (lambda: make_pair(2, 232, 250), {"tile_batch": 3}, {}),
    "crop": (lambda: pair(), {}, {"crop_border": 5}),
    "mask": (lambda: pair(), {"distance": "l2"}, {"mask": MASK}),
    "range": (lambda: tuple(2 * images - 1 for images in pair()), {}, {"data_range": (-1, 1)}),
    "uint8": (lambda: tuple((255 * images).to(torch.uint8) for images in pair()), {}, {}),
    "several": (lambda: pair(), {"distance": ["cosine", "wasserstein"]}, {}),
    "published": (lambda: make_pair(1, 224, 240), {"distance": "l2", "protocol": "zsiqa"}, {}),
    "max_side": (lambda: make_pair(1, 60, 40), {"max_side": 32}, {}),
}


@pytest.mark.parametrize("by_id", [False, True], ids=["content", "ids"])
@pytest.mark.parametrize("case", SAME)
def test_results_are_the_same_and_the_second_pass_hits(case: str, by_id: bool, forwarded: list[int]) -> None:
    build, fields, options = SAME[case]
    preds, target = build()
    by, cache = comparator(**fields), ReferenceCache("1GiB")
    ids = [("v1", i) for i in range(len(preds))] if by_id else None
    expected = measure(None, preds, target, by=by, **options)
    plain = sum(forwarded)
    for epoch in range(3):
        forwarded.clear()
        cache.start_epoch()
        torch.testing.assert_close(measure(cache, preds, target, ids, by=by, **options), expected, **EXACT)
        report = cache.report()
        assert report["hit_rate"] == (1.0 if epoch else 0.0)
        assert cache.hits + cache.misses == plain // 2
        assert sum(forwarded) == (plain // 2 if epoch else plain)
        assert report["kept_bytes"] == report["wanted_bytes"] <= report["budget_bytes"]


def test_a_batch_with_hits_and_misses(forwarded: list[int]) -> None:
    preds, target = pair(5)
    cache = ReferenceCache("1GiB")
    measure(cache, preds[[1, 3]], target[[1, 3]])
    forwarded.clear()
    torch.testing.assert_close(measure(cache, preds, target), measure(None, preds, target), **EXACT)
    assert forwarded == [5 + 3, 10]
    assert (cache.hits, cache.misses) == (2, 2 + 3)


def test_a_reference_that_comes_twice_is_kept_once() -> None:
    preds, target = pair(2)
    cache = ReferenceCache("1GiB")
    twice = torch.cat([target, target])
    torch.testing.assert_close(
        measure(cache, torch.cat([preds, preds]), twice), measure(None, preds, target).repeat(2, 1), **EXACT
    )
    assert cache.size == cache.report()["wanted_bytes"] == 2 * TILE


def test_features_outlive_the_mode_that_they_were_computed_in() -> None:
    preds, target = pair()
    cache = ReferenceCache("1GiB")
    with torch.inference_mode():
        measure(cache, preds, target)
    torch.testing.assert_close(measure(cache, preds, target), measure(None, preds, target), **EXACT)
    assert cache.hits == 3


def test_the_gradient_path_ignores_the_cache() -> None:
    preds, target = pair()
    cache = ReferenceCache("1GiB")
    measure(cache, *pair(3, seed=1), ids=range(3))  # wrong features under the same names
    kept = dict(cache._kept)
    cache.start_epoch()
    grads = []
    for known, ids in ((None, None), (cache, range(3)), (cache, None)):
        leaf = preds.clone().requires_grad_()
        value = measure(known, leaf, target, ids).sum()
        grads.append((value.detach(), torch.autograd.grad(value, leaf)[0]))
    for found in grads[1:]:
        torch.testing.assert_close(found, grads[0])
    assert cache._kept.keys() == kept.keys()
    assert (cache.hits, cache.misses) == (0, 0)


# The budget


@pytest.mark.parametrize("room", [0, 1, 2.5, 4])
def test_what_was_admitted_stays_and_the_budget_holds(room: float) -> None:
    preds, target = pair(6)
    cache = ReferenceCache(int(room * TILE))
    expected, kept = measure(None, preds, target), None
    for _ in range(3):
        cache.start_epoch()
        for start in range(0, 6, 2):
            part = slice(start, start + 2)
            torch.testing.assert_close(measure(cache, preds[part], target[part]), expected[part], **EXACT)
            assert cache.size <= cache.budget
        assert kept is None or list(cache._kept) == kept
        kept = list(cache._kept)
    assert len(kept) == int(room)
    assert cache.size == int(room) * TILE
    assert cache.report() == {
        "hit_rate": int(room) / 6,
        "kept_bytes": int(room) * TILE,
        "wanted_bytes": 6 * TILE,
        "budget_bytes": int(room * TILE),
    }
    assert cache.full


def test_the_size_is_that_of_the_tensors() -> None:
    cache = ReferenceCache("1GiB")
    measure(cache, *sides((32, 32), (40, 250)))
    tensors = [tensor for features in cache._kept.values() for tensor in features]
    assert cache.size == sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def test_clear_forgets_everything() -> None:
    cache = ReferenceCache(TILE)
    measure(cache, *pair())
    assert cache.full
    cache.clear()
    assert (cache.size, cache.full, cache.hits, cache.misses, cache.report()["wanted_bytes"]) == (0, False, 0, 0, 0)
    measure(cache, *pair(1))
    assert cache.size == TILE


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2), (torch.float32, 1e-6)])
def test_half_types_take_half_the_memory_and_round(dtype: torch.dtype, bound: float) -> None:
    preds, target = pair()
    cache = ReferenceCache("1GiB", dtype=dtype)
    expected = measure(None, preds, target)
    torch.testing.assert_close(measure(cache, preds, target), expected, **EXACT)  # nothing was rounded yet
    torch.testing.assert_close(measure(cache, preds, target), expected, rtol=bound, atol=0)
    assert cache.size == cache.report()["wanted_bytes"] == 3 * TILE * dtype.itemsize // 4
    assert all(tensor.dtype == dtype for features in cache._kept.values() for tensor in features)


# Nothing is mixed up


def test_content_that_changes_is_never_answered_stale() -> None:
    preds, target = pair()
    cache = ReferenceCache("1GiB")
    for step in range(3):
        target[1, 0, 3, step] = 1 - target[1, 0, 3, step]  # one value, in place
        torch.testing.assert_close(measure(cache, preds, target), measure(None, preds, target), **EXACT)
        assert cache.misses == 3 + step


def test_names_are_believed_without_a_look_at_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    preds, target = pair()
    cache = ReferenceCache("1GiB")
    expected = measure(cache, preds, target, [("v1", i) for i in range(3)])
    monkeypatch.setattr(
        "torchmetrics_fmiqa.features.reference_cache._content", lambda tile: pytest.fail("looked at the pixels")
    )
    other = target.flip(-1)
    torch.testing.assert_close(measure(cache, preds, other, [("v1", i) for i in range(3)]), expected, **EXACT)
    torch.testing.assert_close(
        measure(cache, preds, other, [("v2", i) for i in range(3)]), measure(None, preds, other), **EXACT
    )
    assert (cache.hits, cache.misses) == (3, 6)


def test_names_follow_their_images_through_lists_and_orders() -> None:
    preds, target = sides((32, 32), (24, 40), (32, 32), (24, 40))
    cache = ReferenceCache("1GiB")
    expected = measure(None, preds, target)
    measure(cache, preds, target, "abcd")
    order = [3, 0, 2, 1]
    blank = [torch.zeros_like(target[i]) for i in order]  # never looked at
    got = measure(cache, [preds[i] for i in order], blank, ["abcd"[i] for i in order])
    torch.testing.assert_close(got, expected[order], **EXACT)


#: What a second comparator does otherwise, on the same images: fields of its recipe, options, how it is called.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "taps": ({"taps": [1]}, {}),
    "order_of_taps": ({"taps": [1, 0], "tap_weights": {1: 1, 0: 3}}, {}),
    "weights": ({"weights": "random:1"}, {}),
    "backbone": ({"backbone": "deit_tiny_patch16_224"}, {}),
    "normalization": ({"normalization": "none"}, {}),
    "resolution": ({"resolution": "resize", "tile": 64}, {}),
    "bfloat16": ({"precision": "bfloat16"}, {}),
    "float64": ({"precision": "float64"}, {}),
    "data_range": ({}, {"data_range": (-1, 1)}),
    "crop": ({}, {"crop_border": 3}),
}


@pytest.mark.parametrize("by_id", [False, True], ids=["content", "ids"])
@pytest.mark.parametrize("change", CHANGES)
def test_comparators_that_share_a_cache_do_not_mix(change: str, by_id: bool) -> None:
    fields, options = CHANGES[change]
    doors: list[tuple[FeatureComparator, dict[str, Any]]] = [(comparator(), {}), (comparator(**fields), options)]
    cache, ids = ReferenceCache("1GiB"), range(3) if by_id else None
    expected = [measure(None, *pair(), by=by, **called) for by, called in doors]
    assert change == "float64" or not torch.equal(*expected)
    for _ in range(2):
        for (by, called), value in zip(doors, expected, strict=True):
            torch.testing.assert_close(measure(cache, *pair(), ids, by, **called), value, **EXACT)


@pytest.mark.parametrize("by_id", [False, True], ids=["content", "ids"])
def test_an_image_whose_size_changes_is_not_mixed_up(by_id: bool) -> None:
    cache, ids = ReferenceCache("1GiB"), range(3) if by_id else None
    for height, width in ((32, 32), (32, 48), (48, 32), (32, 32)):
        images = make_pair(3, height, width)
        torch.testing.assert_close(measure(cache, *images, ids), measure(None, *images), **EXACT)
    assert (cache.hits, cache.misses) == (3, 9)
    for width in (250, 270):  # two tiles of one size each
        images = make_pair(1, 32, width)
        torch.testing.assert_close(measure(cache, *images, ids and [0]), measure(None, *images), **EXACT)


def test_equal_comparators_share_what_is_known() -> None:
    cache = ReferenceCache("1GiB")
    measure(cache, *pair(), by=comparator())
    measure(cache, *pair(), by=comparator(distance="l2"))
    assert cache.hits == 3


# The collection


def _members() -> dict[str, FeatureDistance]:
    return {
        "early": FeatureDistance(**{**RANDOM_VIT, "taps": [0]}),
        "l2": FeatureDistance(**RANDOM_VIT, distance="l2", reduction="none"),
        "other": FeatureDistance(**{**RANDOM_VIT, "weights": "random:1"}),
    }


@pytest.mark.parametrize("by_id", [False, True], ids=["content", "ids"])
def test_a_collection_of_two_backbones_shares_one_cache(by_id: bool) -> None:
    cache, plain = ReferenceCache("1GiB"), FeatureMetricCollection(_members())
    batches = [pair(3), pair(2, seed=1)]
    for batch in batches:
        plain.update(*batch)
    known = FeatureMetricCollection(_members())
    for epoch in range(2):
        known.reset()
        cache.start_epoch()
        for number, batch in enumerate(batches):
            ids = tuple((number, i) for i in range(len(batch[0]))) if by_id else None
            known.update(*batch, references=References(cache, ids))
        torch.testing.assert_close(known.compute(), plain.compute(), **EXACT)
        assert (cache.hits, cache.misses) == ((10, 0) if epoch else (0, 10))


def test_a_collection_leaves_out_what_is_not_finite_and_keeps_names_apart() -> None:
    preds, target = pair(4)
    broken = preds.clone()
    broken[1] = float("nan")
    cache = ReferenceCache("1GiB")
    metrics = FeatureMetricCollection({"vit": FeatureDistance(**RANDOM_VIT, reduction="none", nan_strategy="ignore")})
    metrics.update(broken, target, references=References(cache, tuple(range(4))))
    order = [3, 0, 2]
    got = measure(cache, preds[order], torch.zeros(3, 3, 32, 32), order)  # by their names alone
    torch.testing.assert_close(got, measure(None, preds[order], target[order]), **EXACT)
    assert cache.hits == 3


# Sizes and arguments


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, 0),
        (1000, 1000),
        ("8GiB", 8 * 2**30),
        ("500MB", 500 * 10**6),
        (" 1.5 kb ", 1500),
        (".5MiB", 2**19),
        ("7B", 7),
    ],
)
def test_parse_bytes(size: int | str, expected: int) -> None:
    assert parse_bytes(size) == expected


@pytest.mark.parametrize("size", ["", "8", "8 apples", "GiB", "-1GiB", "1e3MB", "8TiB", -1, 1.5, True, None])
def test_parse_bytes_names_what_is_no_size(size: Any) -> None:
    with pytest.raises(ValueError, match="a size must be a number of bytes or a text") as caught:
        parse_bytes(size)
    assert repr(size) in str(caught.value)


def test_features_are_kept_in_floating_point() -> None:
    with pytest.raises(ValueError, match=r"floating point type, got torch\.int8"):
        ReferenceCache("1GiB", dtype=torch.int8)
