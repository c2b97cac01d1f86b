"""Two gloo processes give the result of one, whatever the shards: uneven, padded with repeats, or empty."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DistributedSampler
from torchmetrics import MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio

from tests.conftest import RANDOM_VIT
from tests.processes import RANKS, SHARDS, Outcome, Shards, pair_at
from torchmetrics_fmiqa import FeatureDistance, FeatureMetricCollection
from torchmetrics_fmiqa.features.network import load_network

WAYS: dict[str, dict[str, Any]] = {
    "mean": {},
    "sum": {"reduction": "sum"},
    "none": {"reduction": "none"},
    "per_layer": {"per_layer": True},
    "several": {"distance": ["cosine", "wasserstein"]},
    "both_none": {"distance": ["l2", "jensen_shannon"], "per_layer": True, "reduction": "none"},
}
CASES = [(way, None) for way in WAYS] + [(way, torch.float64) for way in ("mean", "none", "both_none")]
# The ids of the images where they have some, by rank; no ids where None.
WITH_IDS: dict[str, tuple[Shards, tuple[bool, ...]]] = {
    "repeats": ((((0, 1), (2, 1)), ((3, 0), (2,))), (True, True)),
    "rank_1_empty": ((((3, 2), (1, 0, 3)), ()), (True, True)),
    "rank_0_empty": (((), ((3, 2, 1, 0, 3),)), (True, True)),
    "rank_1_without": ((((0, 1, 1), (0,)), ((2, 3),)), (True, False)),
}


def _sampled(count: int) -> Shards:
    """What ``DistributedSampler`` hands to each rank in batches of 2, with its padding by repeats."""
    shards = []
    for rank in range(RANKS):
        places = list(DistributedSampler(range(count), RANKS, rank, shuffle=False))
        shards.append(tuple(tuple(places[start : start + 2]) for start in range(0, len(places), 2)))
    return tuple(shards)


def _metric(way: dict[str, Any], dtype: torch.dtype | None = None, **options: Any) -> FeatureDistance:
    metric = FeatureDistance(**RANDOM_VIT, **way, **options)
    return metric if dtype is None else metric.set_dtype(dtype)


def _collection() -> FeatureMetricCollection:
    return FeatureMetricCollection(
        {
            "early": FeatureDistance(**{**RANDOM_VIT, "taps": [0]}),
            "per_image": FeatureDistance(**RANDOM_VIT, distance="l2", reduction="none"),
            "psnr": PeakSignalNoiseRatio(data_range=1.0),
        }
    )


def _reference(way: dict[str, Any], places: tuple[int, ...], dtype: torch.dtype | None = None) -> Any:
    metric = _metric(way, dtype)
    metric.update(*pair_at(places))
    return metric.compute()


# What runs in the processes: rank in, results by case out


def _sums_and_lists(rank: int) -> dict[str, Any]:
    results = {}
    for name, shards in SHARDS.items():
        for way, dtype in CASES:
            metric = _metric(WAYS[way], dtype)
            for places in shards[rank]:
                metric.update(*pair_at(places))
            results[name, way, dtype] = metric.compute()
    return results


def _ids(rank: int) -> dict[str, Any]:
    results = {}
    for way, fields in WAYS.items():
        for name, (shards, has_ids) in WITH_IDS.items():
            metric = _metric(fields, torch.float64 if way == "sum" else None)
            for places in shards[rank]:
                metric.update(*pair_at(places), sample_ids=places if has_ids[rank] else None)
            results[name, way] = metric.compute()
        metric = _metric(fields)
        for places in _sampled(9)[rank]:
            metric(*pair_at(places), sample_ids=torch.tensor(places))
        results["sampler", way] = metric.compute()
    return results


def _life_goes_on(rank: int) -> dict[str, Any]:
    results = {}
    for way, fields in WAYS.items():
        metric = _metric(fields)
        if rank == 0:
            metric.update(*pair_at((0, 1)))
        results["first", way] = metric.compute()
        metric.update(*pair_at((2 + rank,)))
        results["second", way] = metric.compute()
        metric.reset()
        metric.update(*pair_at((rank,)))
        results["after_reset", way] = metric.compute()
        results["on_step", way] = _metric(fields, dist_sync_on_step=True)(*pair_at((rank,)))
        local = _metric(fields, sync_on_compute=False)
        local.update(*pair_at((rank,)))
        results["local", way, rank] = local.compute()
    return results


def _collections(rank: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for name, shards in SHARDS.items():
        collection = _collection()
        for places in shards[rank]:
            collection.update(*pair_at(places))
        results[name] = collection.compute()
    collection = _collection()
    for places in _sampled(9)[rank]:
        collection(*pair_at(places), sample_ids=places)
    results["sampler"] = collection.compute()
    plain = MetricCollection(
        {"mean": _metric({}), "sum": _metric({"reduction": "sum"}), "l2": _metric({"distance": "l2"})}
    )
    for places in SHARDS["uneven"][rank]:
        plain.update(*pair_at(places))
    results["plain"] = plain.compute()
    return results


def _other_settings(rank: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    metric = _metric({"distance": ("cosine", "l2")[rank]})
    members: list[dict[str, Any]] = [{"a": metric.clone()}, {"a": PeakSignalNoiseRatio(data_range=1.0)}]
    for name, one in {"metric": metric, "collection": FeatureMetricCollection(members[rank])}.items():
        one.update(*pair_at((0, 1)))
        with pytest.raises(ValueError, match="cannot be joined") as error:
            one.compute()
        results[name] = str(error.value)
    equal = _metric({})
    equal.update(*pair_at((rank,)))
    results["afterwards"] = equal.compute()
    return results


WORKS = (_sums_and_lists, _ids, _life_goes_on, _collections, _other_settings)


def assert_same(got: Any, expected: Any, case: Any) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9, msg=lambda text: f"{case}: {text}")


@pytest.fixture(scope="module", autouse=True)
def network() -> Any:
    """Keep the network for the references, which are computed in this process."""
    return load_network(RANDOM_VIT["backbone"], RANDOM_VIT["weights"])


def test_uneven_and_empty_ranks_equal_one_process(outcome: Outcome) -> None:
    references = {(way, dtype): _reference(WAYS[way], (0, 1, 2, 3), dtype) for way, dtype in CASES}
    for result in outcome(_sums_and_lists):
        assert len(result) == len(SHARDS) * len(CASES)
        for (name, way, dtype), value in result.items():
            assert_same(value, references[way, dtype], (name, way, dtype))


def test_repeated_ids_count_once_over_all_ranks(outcome: Outcome) -> None:
    assert sum(len(places) for shard in _sampled(9) for places in shard) == 10
    for result in outcome(_ids):
        assert len(result) == len(WAYS) * (len(WITH_IDS) + 1)
        for (name, way), value in result.items():
            dtype = torch.float64 if way == "sum" and name != "sampler" else None
            # Images without ids come first.
            order = {"sampler": tuple(range(9)), "rank_1_without": (2, 3, 0, 1)}.get(name, (0, 1, 2, 3))
            assert_same(value, _reference(WAYS[way], order, dtype), (name, way))
        assert result["sampler", "none"].shape == (9,)


def test_a_metric_goes_on_after_a_synchronised_compute(outcome: Outcome) -> None:
    for rank, result in enumerate(outcome(_life_goes_on)):
        for way, fields in WAYS.items():
            assert_same(result["first", way], _reference(fields, (0, 1)), ("first", way))
            assert_same(result["second", way], _reference(fields, (0, 1, 2, 3)), ("second", way))
            assert_same(result["after_reset", way], _reference(fields, (0, 1)), ("after_reset", way))
            assert_same(result["on_step", way], _reference(fields, (0, 1)), ("on_step", way))
            assert_same(result["local", way, rank], _reference(fields, (rank,)), ("local", way))


def test_collections_equal_one_process(outcome: Outcome) -> None:
    whole, padded = _collection(), _collection()
    whole.update(*pair_at((0, 1, 2, 3)))
    padded.update(*pair_at((*range(9), 0)), sample_ids=(*range(9), 0))
    plain = {
        "mean": _reference({}, (0, 1, 2, 3)),
        "sum": _reference({"reduction": "sum"}, (0, 1, 2, 3)),
        "l2": _reference({"distance": "l2"}, (0, 1, 2, 3)),
    }
    for result in outcome(_collections):
        for name, value in result.items():
            expected = {"sampler": padded.compute(), "plain": plain}.get(name, whole.compute())
            assert_same(value, expected, name)


def test_ranks_with_other_settings_are_an_error_on_every_rank(outcome: Outcome) -> None:
    for result in outcome(_other_settings):
        assert "distance is ['cosine'] on rank 0 and ['l2'] on rank 1" in result["metric"]
        assert "a: metric is 'FeatureDistance' on rank 0 and 'PeakSignalNoiseRatio' on rank 1" in result["collection"]
        assert_same(result["afterwards"], _reference({}, (0, 1)), "afterwards")
