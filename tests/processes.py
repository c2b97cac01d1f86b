"""Two gloo processes for tests: all work of all files runs in one pair of them, since starting them takes longest.

A file names its work in ``WORKS`` and its tests take the fixture ``outcome``.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from torch import multiprocessing as mp

from tests.conftest import RANDOM_VIT, make_pair
from torchmetrics_fmiqa.features.network import load_network

RANKS = 2
TIMEOUT = 900

#: Positions of images, by rank and update.
Shards = tuple[tuple[tuple[int, ...], ...], ...]
SHARDS: dict[str, Shards] = {
    "uneven": (((0, 1), (2,)), ((3,),)),
    "rank_1_empty": (((0,), (1, 2, 3)), ()),
    "rank_0_empty": ((), ((0, 1, 2, 3),)),
}

#: What runs in a process: rank in, results by case out.
Work = Callable[[int], dict[Any, Any]]
#: What each rank found.
Outcome = Callable[[Work], list[dict[Any, Any]]]


def pair_at(places: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """The images at these positions of nine: predictions and targets."""
    preds, target = make_pair(9, 32, 32)
    return preds[list(places)], target[list(places)]


def _name(work: Work) -> str:
    return f"{work.__module__}.{work.__name__}"


def _process(rank: int, folder: str, works: Sequence[Work]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", f"file://{folder}/meeting", rank=rank, world_size=RANKS, timeout=timedelta(seconds=TIMEOUT)
    )
    kept = load_network(RANDOM_VIT["backbone"], RANDOM_VIT["weights"])  # built once for all the work
    try:
        for work in works:
            torch.save(work(rank), f"{folder}/{_name(work)}.{rank}.pt")
    except Exception:
        Path(folder, f"{rank}.error").write_text(traceback.format_exc())
        raise
    del kept
    distributed.destroy_process_group()


def run_in_processes(works: Sequence[Work], folder: Path) -> Outcome:
    """Run all the work, in its order; hand out what each rank found. A work without results fails its own test."""
    processes = mp.start_processes(_process, (str(folder), works), RANKS, join=False, start_method="spawn")
    deadline = time.monotonic() + TIMEOUT
    failure = "no result"
    try:
        while not processes.join(timeout=1):
            if time.monotonic() > deadline:
                failure = "it hangs: the ranks do not agree on what to exchange"
                break
    except (mp.ProcessRaisedException, mp.ProcessExitedException) as error:
        failure = "\n".join([str(error), *(path.read_text() for path in folder.glob("*.error"))])
    finally:
        for process in processes.processes:
            if process.is_alive():
                process.kill()

    def found(work: Work) -> list[dict[Any, Any]]:
        files = [folder / f"{_name(work)}.{rank}.pt" for rank in range(RANKS)]
        if not all(file.exists() for file in files):
            pytest.fail(failure)
        return [torch.load(file) for file in files]

    return found
