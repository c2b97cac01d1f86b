"""The monitor's knowledge of samplers agrees with what torch's and Lightning's samplers really deal out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    Sampler,
    WeightedRandomSampler,
)

from torchmetrics_fmiqa.callbacks.distributed_samples import DistributedSamples, flatten_loaders

quick = settings(max_examples=150, deadline=None)
sizes = st.integers(1, 40)
ranks = st.integers(1, 6)
batches = st.integers(1, 9)


def walk(loader: Any, world_size: int = 1) -> tuple[list[int], list[int] | None, DistributedSamples]:
    """Of a loader over whole numbers: the samples to count, their indices where all are told, and the teller."""
    teller, kept, told = DistributedSamples(loader, world_size), [], []
    for batch_idx, batch in enumerate(loader):
        values = batch.tolist()
        count, indices = teller.real_samples(batch_idx, len(values))
        assert 0 <= count <= len(values)
        kept += values[:count]
        told.append(indices)
    known = None if any(indices is None for indices in told) else [i for indices in told for i in indices]
    return kept, known, teller


@quick
@given(n=sizes, world=ranks, batch_size=batches, shuffle=st.booleans(), epoch=st.integers(0, 3))
def test_every_sample_counts_once_over_all_ranks(
    n: int, world: int, batch_size: int, shuffle: bool, epoch: int
) -> None:
    seen: list[int] = []
    for rank in range(world):
        sampler = DistributedSampler(range(n), world, rank, shuffle=shuffle)
        sampler.set_epoch(epoch)
        kept, indices, teller = walk(DataLoader(range(n), batch_size, sampler=sampler), world)
        assert indices == kept
        assert teller.certain
        seen += kept
    assert Counter(seen) == Counter(range(n))


@quick
@given(n=sizes, world=ranks, batch_size=batches, shuffle=st.booleans())
def test_a_sampler_that_drops_the_last_counts_what_it_deals(n: int, world: int, batch_size: int, shuffle: bool) -> None:
    seen: list[int] = []
    for rank in range(world):
        sampler = DistributedSampler(range(n), world, rank, shuffle=shuffle, drop_last=True)
        kept, indices, teller = walk(DataLoader(range(n), batch_size, sampler=sampler), world)
        assert indices == kept == list(sampler)
        assert teller.certain
        seen += kept
    assert len(set(seen)) == len(seen) == n // world * world


@quick
@given(n=sizes, world=ranks, batch_size=batches)
def test_a_loader_that_drops_the_last_batch_repeats_nothing(n: int, world: int, batch_size: int) -> None:
    seen: list[int] = []
    for rank in range(world):
        sampler = DistributedSampler(range(n), world, rank, shuffle=False)
        kept, indices, _ = walk(DataLoader(range(n), batch_size, sampler=sampler, drop_last=True), world)
        assert indices == kept
        seen += kept
    assert len(set(seen)) == len(seen)


@quick
@given(n=sizes, batch_size=batches, drop_last=st.booleans())
def test_one_process_in_order_knows_all_indices(n: int, batch_size: int, drop_last: bool) -> None:
    kept, indices, teller = walk(DataLoader(range(n), batch_size, drop_last=drop_last))
    assert indices == kept == list(range(n // batch_size * batch_size if drop_last else n))
    assert teller.certain


def test_one_process_shuffled_counts_all_and_draws_no_random_number() -> None:
    loader = DataLoader(range(9), 2, shuffle=True)
    order = [batch.tolist() for batch in loader]
    state, teller = torch.get_rng_state(), DistributedSamples(loader, 1)
    for batch_idx, batch in enumerate(order):
        assert teller.real_samples(batch_idx, len(batch)) == (len(batch), None)
    assert torch.equal(torch.get_rng_state(), state)
    assert teller.certain


@pytest.mark.parametrize("n", [2, 9, 10])
@pytest.mark.parametrize("kind", ["wrapper", "unrepeated"])
def test_lightnings_own_samplers_count_once(kind: str, n: int) -> None:
    seen: list[int] = []
    for rank in range(2):
        sampler: DistributedSampler[Any]
        if kind == "wrapper":
            inner = WeightedRandomSampler([1.0] * n, n, replacement=False, generator=torch.Generator().manual_seed(0))
            sampler = DistributedSamplerWrapper(inner, num_replicas=2, rank=rank, shuffle=False)
        else:
            sampler = UnrepeatedDistributedSampler(range(n), num_replicas=2, rank=rank, shuffle=False)
        kept, indices, teller = walk(DataLoader(range(n), 2, sampler=sampler), 2)
        assert teller.certain
        assert indices is None or not kept
        seen += kept
    assert Counter(seen) == Counter(range(n))


class Own(Sampler[int]):
    """A sampler of its own kind."""

    def __iter__(self) -> Any:
        return iter((3, 1, 2))

    def __len__(self) -> int:
        return 3


class OwnDistributed(DistributedSampler):
    """A distributed sampler of its own kind, which may pad as it likes."""


class OwnBatches(BatchSampler):
    """A batch sampler of its own kind."""


class Unsized(Sampler[int]):
    """A sampler that does not know its length."""

    def __iter__(self) -> Any:
        return iter((0, 1, 2))


class Stream(IterableDataset):
    """Samples without a number."""

    def __iter__(self) -> Any:
        return iter((0, 1, 2))


UNKNOWN: dict[str, Any] = {
    "sampler": lambda: DataLoader(range(4), 2, sampler=Own()),
    "distributed": lambda: DataLoader(range(3), 2, sampler=OwnDistributed(range(3), 1, 0, shuffle=False)),
    "batch_sampler": lambda: DataLoader(range(3), batch_sampler=OwnBatches(range(3), 2, False)),
    "no_batch_size": lambda: DataLoader(torch.arange(3).split(1), batch_size=None),
    "no_loader": lambda: [torch.arange(2), torch.arange(2, 3)],
    "unsized": lambda: DataLoader(range(3), 2, sampler=Unsized()),
    "stream": lambda: DataLoader(Stream(), 2),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_is_not_known_counts_all_and_says_so(kind: str) -> None:
    for world_size in (1, 2):
        kept, indices, teller = walk(UNKNOWN[kind](), world_size)
        assert sorted(kept) in ([0, 1, 2], [1, 2, 3])
        assert indices is None
        assert teller.certain == (world_size == 1)


def test_a_step_that_changes_the_count_of_images_is_counted_whole() -> None:
    sampler = DistributedSampler(range(3), 2, 1, shuffle=False)
    teller = DistributedSamples(DataLoader(range(3), 1, sampler=sampler), 2)
    assert teller.real_samples(0, 5) == (5, None)
    assert not teller.certain


def test_flatten_loaders_follows_lightnings_order() -> None:
    from lightning.pytorch.utilities import CombinedLoader

    nested = {"b": [DataLoader(range(1)), DataLoader(range(2))], "a": DataLoader(range(3))}
    assert list(map(id, flatten_loaders(nested))) == list(map(id, CombinedLoader(nested, "sequential").flattened))
    assert flatten_loaders(None) == []
