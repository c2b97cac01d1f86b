"""Several processes of one machine on the same pairs.

On a CPU each scores pairs as a whole: its network takes most of the time. For a GPU they read images, which then takes
most of the time, and this process feeds the network by their batches.
"""

from __future__ import annotations

import multiprocessing
import pickle
import queue
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from torchmetrics_fmiqa.data.stored_pairs import PairSource, StoredPair
from torchmetrics_fmiqa.scoring.batches import AnyPair, Item, Loaded, Result, Scored, in_order
from torchmetrics_fmiqa.scoring.table_rows import ScorePairs

#: Pairs that a process scores between two messages.
_CHUNK = 4
#: What each process is asked for ahead of its use.
_AHEAD = 2


class WorkerError(ChildProcessError):
    """A process has ended that should not: it was killed, or it crashed."""


def score_by_workers(
    scorer: ScorePairs, source: PairSource, rows: npt.NDArray[np.int64], workers: int
) -> Iterator[Scored[StoredPair]]:
    """Score pairs of a source in order by several processes; the numbers are those of one.

    Args:
        scorer: scores them.
        source: the pairs.
        rows: which of them.
        workers: number of processes.

    Raises:
        WorkerError: if a process has ended.
    """
    pairs = source.pairs(rows)
    if scorer.device.type == "cpu":
        for chunk, found in _by_processes(_chunks(pairs), partial(_score, scorer), workers):
            for pair, (values, outside, error) in zip(chunk, found, strict=True):
                yield Scored(pair, values, outside, error)
    else:
        yield from scorer.stream(pairs, partial(_read_by_processes, workers=workers))


def _score(scorer: ScorePairs, pairs: list[AnyPair]) -> list[tuple[dict[str, float], float, str]]:
    return [(one.values, one.outside, one.error) for one in scorer.stream(pairs)]


def _read_by_processes(pairs: Iterable[Any], load: Callable[[Any], Any], workers: int) -> Iterator[Any]:
    """A reader for :func:`~torchmetrics_fmiqa.scoring.score_pairs`."""
    for pair, (images, error) in _by_processes(pairs, partial(_load, load), workers):
        yield Scored(pair, {}, error=error) if images is None else Loaded(pair, *map(torch.from_numpy, images))


def _load(load: Callable[[Any], Any], pair: Any) -> tuple[Any, str]:
    """The images of a pair as arrays: tensors would go through shared memory, of which containers have little."""
    loaded = load(pair)
    if isinstance(loaded, Loaded):
        return (loaded.preds.numpy(), loaded.target.numpy()), ""
    return None, loaded.error


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


def _by_processes(items: Iterable[Item], call: Callable[[Item], Result], count: int) -> Iterator[tuple[Item, Result]]:
    """Items with what a function gives for them, in order, by processes of this machine.

    They are spawned, not forked, and do not see the signals of a terminal or a batch system: this process ends them. If
    it is killed, they end by themselves. Each has a pipe of its own, so that a killed one holds nothing up.
    """
    spawn = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = []
    free: queue.SimpleQueue[tuple[BaseProcess, Connection]] = queue.SimpleQueue()

    def ask(item: Item) -> tuple[Item, Result]:
        process, connection = free.get()
        try:
            connection.send(item)
            answer, error, trace = connection.recv()
        except (EOFError, OSError):
            process.join(5)
            raise WorkerError(_how_it_ended(process)) from None
        finally:
            free.put((process, connection))
        if error is not None:
            raise error from RuntimeError(trace)
        return item, answer

    pool = ThreadPoolExecutor(count)  # a thread waits for each process
    try:
        with _signals_held():
            for _ in range(count):
                here, there = spawn.Pipe()
                process = spawn.Process(target=_answer, args=(there, call), daemon=True)
                process.start()
                processes.append(process)
                there.close()  # so that reading fails once the process has ended
                free.put((process, here))
        yield from in_order(pool, items, ask, _AHEAD * count)
    finally:
        for one in processes:
            one.kill()  # it holds nothing, and the thread that waits for it ends
        pool.shutdown(cancel_futures=True)
        for one in processes:
            one.join()


def _answer(connection: Connection, call: Callable[[Any], Any]) -> None:
    """What a process does, until the other end of its pipe is closed."""
    torch.set_num_threads(1)
    with suppress(EOFError, OSError):
        while True:
            item = connection.recv()
            answer: tuple[Any, Exception | None, str]
            try:
                answer = call(item), None, ""
            except Exception as error:
                answer = None, _that_pickles(error), traceback.format_exc()
            connection.send(answer)


def _that_pickles(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _how_it_ended(process: BaseProcess) -> str:
    code = process.exitcode
    how = f"ended with status {code}"
    if code is not None and code < 0:
        with suppress(ValueError):
            how = f"was ended by {signal.Signals(-code).name}"
        if how.endswith("SIGKILL"):
            how += ", as systems do when memory runs out"
    return f"process {process.pid} of --workers {how}; what was scored is kept: the same command goes on from there"


@contextmanager
def _signals_held() -> Iterator[None]:
    """Signals that end a run wait meanwhile; processes that start inherit that and never see them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would let signals pass when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
