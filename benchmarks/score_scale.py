"""Whether reading the input, the anti-join and collect stay linear: ids by the million and a scorer of 50 microseconds.

``python benchmarks/score_scale.py [IDS ...]``, each in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import csv, parquet

from torchmetrics_fmiqa.data.pair_tables import open_pair_table
from torchmetrics_fmiqa.data.stored_pairs import StoredPair, keys_of
from torchmetrics_fmiqa.scoring import Scored
from torchmetrics_fmiqa.scoring.collect import collect
from torchmetrics_fmiqa.scoring.parts import Parts
from torchmetrics_fmiqa.scoring.score_parts import score_parts
from torchmetrics_fmiqa.scoring.shards import Shard


class Fake:
    """A score in 50 microseconds."""

    columns = ("score",)
    measured_by = "nothing"

    def stream(self, pairs: Iterable[StoredPair]) -> Iterator[Scored[StoredPair]]:
        for pair in pairs:
            end = time.perf_counter() + 50e-6
            while time.perf_counter() < end:
                pass
            yield Scored(pair, {"score": pair.row % 1000 / 1000})


def timed(what: str, call: Callable[[], object]) -> Any:
    """Call, and print seconds and the peak memory so far."""
    began = time.process_time()
    result = call()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {what:28} {time.process_time() - began:7.1f} s of the CPU, peak {peak:5.0f} MiB", flush=True)
    return result


def measure(count: int) -> None:
    """Score half of the ids by one of two shards, the rest by the other, start again, collect."""
    timed(f"{count} ids; imports", lambda: None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sides = {
            side: [f"{side}/{row // 10:07d}/image_{row:07d}.png" for row in range(count)] for side in ("ref", "dist")
        }
        table = pyarrow.table(sides)
        parquet.write_table(table, folder / "pairs.parquet")
        csv.write_csv(table, folder / "pairs.csv")
        del table, sides
        source = timed("read the input, Parquet", lambda: open_pair_table(folder / "pairs.parquet")[0])
        score = partial(score_parts, source, Fake(), folder / "out", inputs := {"count": count, "quality": False})
        for index in range(2):
            timed(f"score shard {index}/2", partial(score, Shard(index, 2)))
        timed("anti-join, nothing left", partial(Parts(folder / "out", inputs).done, keys_of(source.names)))
        found = timed("collect", lambda: collect(folder / "out"))
        timed("means with intervals", found.means)
        assert (found.scores.num_rows, found.missing) == (count, 0)  # noqa: S101
        del found, source, score
        timed("read the input, CSV", lambda: open_pair_table(folder / "pairs.csv"))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        measure(int(sys.argv[1]))
    else:
        for one in sys.argv[1:] or ("250000", "500000", "1000000"):
            subprocess.run([sys.executable, __file__, one], check=True)
