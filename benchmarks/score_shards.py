"""Rate of `fmiqa score --out FOLDER/`: one process against two shards together, each with one thread; and peak memory.

``python benchmarks/score_shards.py [PAIRS] [TURNS]``: made pairs of 256 x 256, the embedded network. The measures take
turns, and the least time of each counts, with and without the start of the processes. Then 500 and 5,000 pairs by one
process, for its peak memory; they name the same files many times over.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import perf_counter, sleep

import psutil
import pyarrow
from pyarrow import parquet

from benchmarks.common import least
from benchmarks.score_kills import make_pairs
from torchmetrics_fmiqa.scoring.collect import collect

_FILES = 100


def start(table: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a run."""
    command = [sys.executable, "-m", "torchmetrics_fmiqa", "score", str(table), "--out", f"{out}/", *options]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def cpu_of_children() -> float:
    """Seconds of the CPU that ended processes took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def finish(running: list[subprocess.Popen[bytes]]) -> None:
    """Wait until all have ended well."""
    statuses = [process.wait() for process in running]
    assert not any(statuses)  # noqa: S101


def write_table(folder: Path, count: int) -> Path:
    """A table of pairs with ids, that names the files again and again."""
    names = {side: [f"{side}/{row % _FILES:06d}.png" for row in range(count)] for side in ("ref", "dist")}
    parquet.write_table(pyarrow.table({"id": range(count), **names}), folder / f"{count}.parquet")
    return folder / f"{count}.parquet"


def seconds(table: Path, shards: int) -> tuple[float, float]:
    """Wall time of shards that run together, and the time of the CPU that they take."""
    with tempfile.TemporaryDirectory() as name:
        began, before = perf_counter(), cpu_of_children()
        running = [start(table, Path(name) / "out", "--shard", f"{index}/{shards}") for index in range(shards)]
        finish(running)
        return perf_counter() - began, cpu_of_children() - before


def peak(table: Path) -> float:
    """Peak memory of one process, in MiB."""
    with tempfile.TemporaryDirectory() as name:
        process = start(table, Path(name) / "out")
        watched, most = psutil.Process(process.pid), 0
        while process.poll() is None:
            with suppress(psutil.Error):  # it may end just now
                most = max(most, watched.memory_info().rss)
            sleep(0.05)
        return most / 2**20


def main(count: int = 1000, turns: int = 3) -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pairs(folder, _FILES, 256)
        some, few = write_table(folder, count), write_table(folder, 2)
        measures = {
            f"{shards} {what}": partial(seconds, table, shards)
            for shards in (1, 2)
            for what, table in (("start", few), ("all", some))
        }
        found = least(measures, turns)
        rates = {}
        for shards in (1, 2):
            (begin, begin_cpu), (whole, whole_cpu) = found[f"{shards} start"], found[f"{shards} all"]
            rates[shards] = count / (whole - begin)
            cpu = 1000 * (whole_cpu - begin_cpu) / count
            print(
                f"{shards} process: {rates[shards]:.1f} pairs/s after {begin:.1f} s, {count / whole:.1f} with it; "
                f"{cpu:.1f} ms of the CPU a pair"
            )
        print(f"two shards: {rates[2] / rates[1]:.2f} times the rate")
        for shards in (1, 2):
            running = [start(some, folder / f"of-{shards}", "--shard", f"{index}/{shards}") for index in range(shards)]
            finish(running)
        equal = collect(folder / "of-1").scores.equals(collect(folder / "of-2").scores)
        print(f"rows of one process and of two shards are equal bit for bit: {equal}")
        for pairs in (500, 5000):
            print(f"{pairs} pairs: peak {peak(write_table(folder, pairs)):.0f} MiB", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
