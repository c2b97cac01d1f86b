"""Every door from four threads at once: each call gets the numbers that a plain loop gets."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tests.conftest import RANDOM_VIT, make_pair
from tests.lightning_tools import QUIET
from torchmetrics_fmiqa import (
    FeatureDistance,
    FeatureDistanceLoss,
    FeatureMetricCollection,
    Recipe,
    ScenePerceivedImagePerceptualScore,
    SpipsLoss,
    feature_distance,
    feature_distance_map,
    spips,
)
from torchmetrics_fmiqa.features.building import OwnRandomNumbers, built_in_the_open
from torchmetrics_fmiqa.features.network import load_network
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache, References

THREADS = 4
PAIRS = [make_pair(1, 32, 32, seed, 0.02 * (seed + 1)) for seed in range(8)]


class Forgetful(nn.Module):
    """A user's network that keeps what it computes in itself between two of its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.kept = self.first(x)
        for _ in range(20):
            x = x.sin()  # time for another thread
        return self.second(self.kept + x.mean())


def _gradient(loss: nn.Module, pair: tuple[Tensor, Tensor]) -> Tensor:
    preds = pair[0].clone().requires_grad_()
    loss(preds, pair[1]).backward()
    return preds.grad  # type: ignore[return-value]


def _forgetful() -> Callable[[tuple[Tensor, Tensor]], Any]:
    torch.manual_seed(0)
    metric = FeatureDistance(backbone=Forgetful(), taps=["first", "second"], normalization="none")
    return lambda pair: next(iter(metric.comparator(*pair)[0].per_tap.values()))


def _beside_its_clone() -> Callable[[tuple[Tensor, Tensor]], Any]:
    metric = FeatureDistance(**RANDOM_VIT)
    return lambda pair: copy.deepcopy(metric)(*pair)


def _cached() -> Callable[[tuple[Tensor, Tensor]], Any]:
    metric, cache = FeatureDistance(), ReferenceCache("1MB")
    return lambda pair: next(iter(metric.comparator(*pair, references=References(cache))[0].per_tap.values()))


def _whole(metric: Any) -> Callable[[tuple[Tensor, Tensor]], Any]:
    return lambda pair: metric(*pair)


DOORS: dict[str, Callable[[], Callable[[tuple[Tensor, Tensor]], Any]]] = {
    "functional": lambda: lambda pair: feature_distance(*pair),
    "map": lambda: lambda pair: feature_distance_map(*pair),
    "spips": lambda: lambda pair: spips(*pair),
    "metric": lambda: _whole(FeatureDistance(**RANDOM_VIT)),
    "clone": _beside_its_clone,
    "users network": _forgetful,
    "cache": _cached,
    "loss": lambda: _loss(FeatureDistanceLoss()),
    "checkpointed loss": lambda: _loss(FeatureDistanceLoss(**RANDOM_VIT, grad_checkpointing=True)),
    "spips loss": lambda: _loss(SpipsLoss()),
    "collection": lambda: _whole(
        FeatureMetricCollection({"a": FeatureDistance(), "b": FeatureDistance(distance="l2", reduction="none")})
    ),
}


def _loss(loss: nn.Module) -> Callable[[tuple[Tensor, Tensor]], Any]:
    return lambda pair: _gradient(loss, pair)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_gives_in_four_threads_what_it_gives_in_one(door: str) -> None:
    call = DOORS[door]()
    expected = [call(pair) for pair in PAIRS]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(call, PAIRS))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


class Restorer(LightningModule):
    """Trains on a loss, and validates by a metric and by a comparator; all are its own or another module's too."""

    def __init__(self, metric: FeatureDistance, loss: FeatureDistanceLoss, pairs: list[tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        nn.init.dirac_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)
        self.metric, self.loss, self.pairs = metric, loss, pairs
        self.losses: list[Tensor] = []
        self.found: list[Tensor] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.loss(self.conv(batch[0]), batch[1])
        self.losses.append(loss.detach())
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        preds = self.conv(batch[0])
        measured = self.metric.comparator(preds, batch[1])[0]
        self.found += [self.metric(preds, batch[1]), next(iter(measured.per_tap.values()))]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.pairs, batch_size=None)  # type: ignore[arg-type]

    val_dataloader = train_dataloader


def test_two_trainers_in_two_threads_share_a_metric_a_loss_and_a_comparator() -> None:
    def train(metric: FeatureDistance, loss: FeatureDistanceLoss, pairs: list[tuple[Tensor, Tensor]]) -> Restorer:
        module = Restorer(metric, loss, pairs)
        Trainer(**QUIET, num_sanity_val_steps=0).fit(module)
        return module

    def made() -> tuple[FeatureDistance, FeatureDistanceLoss]:
        return FeatureDistance(**RANDOM_VIT), FeatureDistanceLoss(**RANDOM_VIT)

    halves = [PAIRS[:4], PAIRS[4:]]
    alone = [train(*made(), half) for half in halves]
    metric, loss = made()
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda half: train(metric, loss, half), halves))
    for found, expected in zip(both, alone, strict=True):
        torch.testing.assert_close(found.losses, expected.losses, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(found.found, expected.found, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(found.conv.weight, expected.conv.weight, rtol=1e-5, atol=1e-7)
    assert not torch.equal(alone[0].conv.weight, alone[1].conv.weight)
    expected_mean = torch.stack([one for module in alone for one in module.found[::2]]).mean()
    torch.testing.assert_close(metric.compute(), expected_mean)  # all that both have counted


def test_no_update_of_a_shared_metric_is_lost() -> None:
    for shared in (FeatureDistance(**RANDOM_VIT), ScenePerceivedImagePerceptualScore(reduction="none", **RANDOM_VIT)):
        alone = copy.deepcopy(shared)
        for pair in PAIRS:
            alone.update(*pair)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda pair: shared.update(*pair), PAIRS))  # noqa: B023
        torch.testing.assert_close(shared.compute().sort().values, alone.compute().sort().values)


def test_a_member_used_alone_while_its_collection_runs_is_not_served() -> None:
    member = FeatureDistance()
    collection = FeatureMetricCollection({"member": member, "other": FeatureDistance(distance="l2")})
    with collection._serving(*PAIRS[0], {}), ThreadPoolExecutor(1) as pool:
        found = pool.submit(member, *PAIRS[7]).result()
    torch.testing.assert_close(found, feature_distance(*PAIRS[7]))


def test_each_thread_has_its_own_last_scores() -> None:
    collection = FeatureMetricCollection({"one": FeatureDistance(), "two": FeatureDistance(distance="l2")})
    both = Barrier(2)

    def last(pair: tuple[Tensor, Tensor]) -> Tensor:
        collection.update(*pair)
        both.wait(20)
        scores = collection.last_scores("one")
        assert scores is not None
        return scores[0]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(last, PAIRS[:2]))
    torch.testing.assert_close(found, [feature_distance(*pair) for pair in PAIRS[:2]])


def test_a_compiled_loss_is_one_graph_in_every_thread() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    loss = FeatureDistanceLoss(backbone=net, taps=["0", "2"], normalization="none")
    expected = [loss(*pair) for pair in PAIRS]
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    compiled(*PAIRS[0])
    with torch.compiler.set_stance("fail_on_recompile"), ThreadPoolExecutor(THREADS) as pool:
        mixed = [pool.submit(loss if number % 3 == 0 else compiled, *pair) for number, pair in enumerate(PAIRS)]
        found = [one.result() for one in mixed]
    torch.testing.assert_close(found, expected)


def test_metrics_and_caches_copy_and_pickle_with_locks_of_their_own() -> None:
    metric, cache = FeatureDistance(), ReferenceCache("1MB")
    collection = FeatureMetricCollection([FeatureDistance()])
    with metric._lock:
        for again in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
            assert again._lock is not metric._lock
            with ThreadPoolExecutor(1) as pool:
                pool.submit(again.update, *PAIRS[0]).result(20)
    assert pickle.loads(pickle.dumps(cache)).find("x") is None
    assert pickle.loads(pickle.dumps(collection)).last_scores("FeatureDistance") is None


def test_networks_are_built_alike_while_other_threads_draw() -> None:
    """Random weights come from a generator of their own, and the process's is not rewound under another thread."""
    expected = load_network("resnet10t", "random:5").on(torch.device("cpu"), torch.float32).state_dict()
    torch.manual_seed(7)
    stream = torch.rand(40)
    torch.manual_seed(7)
    with OwnRandomNumbers(5):
        import timm

        first = timm.create_model("resnet10t")
        half = torch.rand(20, generator=torch.default_generator)
    torch.testing.assert_close(torch.cat([half, torch.rand(20)]), stream)
    torch.testing.assert_close(dict(first.state_dict()), dict(expected))


def test_the_default_dtype_is_set_back_when_two_threads_build() -> None:
    inside, first_left = Barrier(2), Barrier(2)

    def build(leaves_first: bool) -> torch.dtype:
        with built_in_the_open():
            inside.wait(20)
            if not leaves_first:
                first_left.wait(20)
            found = torch.empty(1).dtype
        if leaves_first:
            first_left.wait(20)
        return found

    torch.set_default_dtype(torch.bfloat16)
    try:
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(build, [True, False])) == [torch.float32] * 2
        assert torch.get_default_dtype() == torch.bfloat16
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_burst_of_threads_leaves_few_views_behind() -> None:
    views = FeatureDistanceLoss(Recipe(**RANDOM_VIT)).comparator.backbone._of(torch.device("cpu"), torch.float32)
    everyone = Barrier(12)

    def use(_: int) -> int:
        with views.acquire() as view:
            everyone.wait(20)
            return id(view)

    with ThreadPoolExecutor(12) as pool:
        assert len(set(pool.map(use, range(12)))) == 12
    assert len(views._idle) < 12
    assert not views.in_use
