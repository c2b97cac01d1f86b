"""SPIPS in two gloo processes is SPIPS in one: uneven, empty and padded shards, distances and qualities."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch.utils.data import DistributedSampler
from torchmetrics import MetricCollection

from tests.conftest import RANDOM_VIT
from tests.processes import RANKS, SHARDS, Outcome, pair_at
from tests.spips_heads import recipe_of, trained
from torchmetrics_fmiqa import SPIPS, FeatureDistance, FeatureMetricCollection, ScenePerceivedImagePerceptualScore
from torchmetrics_fmiqa.features.network import load_network
from torchmetrics_fmiqa.spips_model.model import SpipsHead

WAYS: dict[str, dict[str, Any]] = {
    "mean": {},
    "sum": {"reduction": "sum"},
    "none": {"reduction": "none"},
    "parts": {"parts": ("conventional", "semantic")},
    "trained": {"head": True},
    "trained_none": {"head": True, "reduction": "none"},
    "quality": {"head": True, "output": "quality"},
    "quality_none": {"head": True, "output": "quality", "reduction": "none"},
}


@cache
def _head() -> SpipsHead:
    return trained(recipe_of(RANDOM_VIT))


def _metric(way: str, **options: Any) -> ScenePerceivedImagePerceptualScore:
    fields = {**WAYS[way]}
    if "head" in fields:
        fields["head"] = _head()
    return SPIPS(**RANDOM_VIT, **fields, **options)


def _collection() -> dict[str, Any]:
    early = FeatureDistance(**{**RANDOM_VIT, "taps": [0]}, reduction="none")
    return {"spips": _metric("mean"), "quality": _metric("quality"), "each": _metric("trained_none"), "early": early}


def _sampled(rank: int) -> list[tuple[int, ...]]:
    """Nine images in batches of two, with the padding of ``DistributedSampler``."""
    places = list(DistributedSampler(range(9), RANKS, rank, shuffle=False))
    return [tuple(places[start : start + 2]) for start in range(0, len(places), 2)]


# What runs in the processes: rank in, results by case out


def _shards(rank: int) -> dict[str, Any]:
    results = {}
    for way in WAYS:
        for name, shards in SHARDS.items():
            metric = _metric(way)
            for places in shards[rank]:
                metric.update(*pair_at(places))
            results[name, way] = metric.compute()
        metric = _metric(way)
        for places in _sampled(rank):
            metric(*pair_at(places), sample_ids=torch.tensor(places))
        results["sampler", way] = metric.compute()
    return results


def _life_goes_on(rank: int) -> dict[str, Any]:
    results = {}
    for way in WAYS:
        metric = _metric(way)
        if rank == 0:
            metric.update(*pair_at((0, 1)))
        results["first", way] = metric.compute()
        metric.update(*pair_at((2 + rank,)))
        results["second", way] = metric.compute()
        metric.reset()
        results["on_step", way] = _metric(way, dist_sync_on_step=True)(*pair_at((rank,)))
    return results


def _collections(rank: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for kind in (FeatureMetricCollection, MetricCollection):
        for name, shards in SHARDS.items():
            collection = kind(_collection())
            for places in shards[rank]:
                collection.update(*pair_at(places))
            results[kind.__name__, name] = collection.compute()
        collection = kind(_collection())
        for places in _sampled(rank):
            collection.update(*pair_at(places), sample_ids=torch.tensor(places))
        results[kind.__name__, "sampler"] = collection.compute()
    return results


WORKS = (_shards, _life_goes_on, _collections)


@pytest.fixture(scope="module", autouse=True)
def network() -> Any:
    """Keep the network for the references, which are computed in this process."""
    return load_network(RANDOM_VIT["backbone"], RANDOM_VIT["weights"])


def assert_same(got: Any, expected: Any, case: Any) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-8, msg=lambda text: f"{case}: {text}")


def _alone(way: str, places: tuple[int, ...]) -> Any:
    return _metric(way)(*pair_at(places))


def test_shards_equal_one_process(outcome: Outcome) -> None:
    expected = {way: {False: _alone(way, (0, 1, 2, 3)), True: _alone(way, tuple(range(9)))} for way in WAYS}
    for result in outcome(_shards):
        assert len(result) == (len(SHARDS) + 1) * len(WAYS)
        for (name, way), value in result.items():
            assert_same(value, expected[way][name == "sampler"], (name, way))


def test_a_metric_goes_on_after_a_synchronised_compute(outcome: Outcome) -> None:
    for result in outcome(_life_goes_on):
        for way in WAYS:
            assert_same(result["first", way], _alone(way, (0, 1)), ("first", way))
            assert_same(result["second", way], _alone(way, (0, 1, 2, 3)), ("second", way))
            assert_same(result["on_step", way], _alone(way, (0, 1)), ("on_step", way))


def test_collections_equal_one_process(outcome: Outcome) -> None:
    whole, every = FeatureMetricCollection(_collection()), FeatureMetricCollection(_collection())
    whole.update(*pair_at((0, 1, 2, 3)))
    every.update(*pair_at(tuple(range(9))))
    for result in outcome(_collections):
        assert len(result) == 2 * (len(SHARDS) + 1)
        for case, value in result.items():
            assert_same(value, (every if case[1] == "sampler" else whole).compute(), case)
