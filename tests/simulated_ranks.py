"""Ranks of a monitor as threads of one process: cheap enough for a property test."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from torchmetrics_fmiqa.monitoring import evaluation, monitor, report_logging, worst_images

MODULES = (evaluation, monitor, report_logging, worst_images)


class _World(threading.local):
    rank = 0


@contextmanager
def ranks(count: int) -> Iterator[Callable[[Callable[[int], Any]], list[Any]]]:
    """Give a function that runs work of each rank, ``rank -> result``, at the same time, and returns the results."""
    world, barrier, slots = _World(), threading.Barrier(count), [b""] * count

    def gather(value: Any) -> list[Any]:
        slots[world.rank] = pickle.dumps(value)
        barrier.wait(60)
        values = [pickle.loads(one) for one in slots]
        barrier.wait(60)
        return values

    instead = {
        "several_ranks": lambda: count > 1,
        "own_rank": lambda: world.rank,
        "gather_objects": gather,
        "gather_on_first": lambda value: gather(value) if world.rank == 0 else gather(value) and [],
    }
    patches = [
        mock.patch.object(module, name, function)
        for module in MODULES
        for name, function in instead.items()
        if hasattr(module, name)
    ]

    def run(work: Callable[[int], Any]) -> list[Any]:
        results: list[Any] = [None] * count

        def one(rank: int) -> None:
            world.rank = rank
            try:
                results[rank] = work(rank)
            except Exception as error:
                results[rank] = error
                barrier.abort()

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        errors = [one for one in results if isinstance(one, Exception)]
        for error in sorted(errors, key=lambda one: isinstance(one, threading.BrokenBarrierError)):
            raise error  # what went wrong, not what broke by it
        return results

    for patch in patches:
        patch.start()
    try:
        yield run
    finally:
        for patch in patches:
            patch.stop()
