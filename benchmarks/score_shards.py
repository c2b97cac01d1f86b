"""Rates of `fmiqa score --out FOLDER/` by each of its doors, their peak memory, and whether their rows are equal.

``python benchmarks/score_shards.py [PAIRS] [TURNS] [DOORS ...]``: made pairs of 256 x 256, the embedded network, each
process with one thread. 20000 takes about half an hour on two cores. The doors take turns, and the least time of each
counts. A rate is that of the pairs beyond the first ones, so that the start of processes does not count. Peak memory is
that of the process and of all that it has started, shared pages counted once. The table names the same files again and
again. A process reads images by a thread of its own, so that one takes more than a core: "one core" holds it to one.
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
_FIRST = 64  # pairs of the run that is taken as the start: two blocks of Ray

#: The options of each run of a door.
DOORS = {
    "one core": ((),),
    "one process": ((),),
    "two shards": (("--shard", "0/2"), ("--shard", "1/2")),
    "two workers": (("--workers", "2"),),
    "Ray, two actors": (("--engine", "ray", "--actors", "2"),),
}


def cpu_of_children() -> float:
    """Seconds of the CPU that ended processes took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory_of(process: psutil.Process) -> int:
    """Bytes of a process and of all that it has started."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error):  # it may end just now
            total += one.memory_full_info().pss
    return total


def write_table(folder: Path, count: int) -> Path:
    """A table of pairs with ids, that names the files again and again."""
    names = {side: [f"{side}/{row % _FILES:06d}.png" for row in range(count)] for side in ("ref", "dist")}
    parquet.write_table(pyarrow.table({"id": range(count), **names}), folder / f"{count}.parquet")
    return folder / f"{count}.parquet"


def run(table: Path, door: str, out: Path) -> tuple[float, float, float]:
    """Wall time of a door's runs together, the time of the CPU that they take, and their peak memory in MiB."""
    began, before, most = perf_counter(), cpu_of_children(), 0
    command = [sys.executable, "-m", "torchmetrics_fmiqa", "score", str(table), "--out", f"{out}/"]
    running = [subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL) for options in DOORS[door]]
    watched = [psutil.Process(process.pid) for process in running]
    if door == "one core":
        watched[0].cpu_affinity([0])
    while any(process.poll() is None for process in running):
        with suppress(psutil.Error):
            most = max(most, sum(map(memory_of, watched)))
        sleep(0.5)
    assert not any(process.returncode for process in running)  # noqa: S101
    return perf_counter() - began, cpu_of_children() - before, most / 2**20


def measure(folder: Path, table: Path, door: str) -> tuple[float, float, float]:
    """A run into a new folder, which is kept as the latest of the door and the table."""
    out = Path(tempfile.mkdtemp(dir=folder))
    found = run(table, door, out / "scores")
    latest = folder / f"{door} {table.stem}"
    latest.unlink(missing_ok=True)
    latest.symlink_to(out / "scores")
    return found


def main(count: int = 2000, turns: int = 1, doors: tuple[str, ...] = tuple(DOORS)) -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pairs(folder, _FILES, 256)
        tables = [write_table(folder, pairs) for pairs in (_FIRST, max(count // 10, _FIRST + 1), count)]
        calls = {(door, table.stem): partial(measure, folder, table, door) for door in doors for table in tables}
        found = least({f"{door} {stem}": call for (door, stem), call in calls.items()}, turns)
        print(f"{count} pairs, {turns} turns, {psutil.cpu_count()} cores, load before {psutil.getloadavg()[2]:.1f}")
        rates: dict[str, float] = {}
        for door in doors:
            (first, first_cpu, _), (_, _, some), (whole, whole_cpu, most) = (found[f"{door} {t.stem}"] for t in tables)
            rates[door] = (count - _FIRST) / (whole - first)
            print(
                f"{door}: {rates[door]:.1f} pairs/s after {first - _FIRST / rates[door]:.1f} s, "
                f"{rates[door] / rates[doors[0]]:.2f} times {doors[0]}, {count / whole:.1f} with the start; "
                f"{1000 * (whole_cpu - first_cpu) / (count - _FIRST):.1f} ms of the CPU a pair; "
                f"peak {some:.0f} MiB at {tables[1].stem} pairs, {most:.0f} at {count}"
            )
        rows = [collect(folder / f"{door} {count}").scores for door in doors]
        print(f"rows equal bit for bit: {all(one.equals(rows[0]) for one in rows)}, {rows[0].num_rows} of {count}")


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:] if one.isdecimal()]
    main(*given, doors=tuple(one for one in sys.argv[1:] if not one.isdecimal()) or tuple(DOORS))
