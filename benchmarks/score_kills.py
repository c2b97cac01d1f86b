"""Kill `fmiqa score --out FOLDER/` at random moments, start it again, and count what is there and what was done twice.

``python benchmarks/score_kills.py [KILLS] [PAIRS]``. Made images; the embedded network; parts of 20 pairs. In turn the
killed run is one process, and one of two shards. Each process notes every pair that it scores, so that repeated work
is counted.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from pyarrow import parquet

from torchmetrics_fmiqa.cli import main as fmiqa
from torchmetrics_fmiqa.scoring import Scored, ScorePairs
from torchmetrics_fmiqa.scoring.batches import AnyPair
from torchmetrics_fmiqa.scoring.collect import collect

_PART = 20


def make_pairs(folder: Path, count: int, side: int) -> None:
    """Smooth images, and the same with noise."""
    generator = np.random.default_rng(0)
    for name in ("ref", "dist"):
        (folder / name).mkdir()
    for number in range(count):
        coarse = generator.integers(30, 225, (8, 8, 3), dtype=np.uint8)
        clean = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)).astype(int)
        for name, noise in (("ref", 3), ("dist", 20)):
            pixels = (clean + generator.integers(-noise, noise + 1, clean.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:06d}.png", compress_level=1)


def start(pairs: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a run that writes a byte to ``out.log`` for each pair that it scores."""
    command = [sys.executable, __file__, "run", f"{out}.log", "score", str(pairs / "ref"), str(pairs / "dist")]
    command += ["--out", f"{out}/", "--rows", str(_PART), *options]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def run_and_count(log: str, arguments: list[str]) -> None:
    """The command, with a note of each pair scored."""
    stream = ScorePairs.stream

    def counted(self: ScorePairs, pairs: Iterable[AnyPair]) -> Iterator[Scored[AnyPair]]:
        with open(log, "ab", buffering=0) as file:
            for result in stream(self, pairs):
                file.write(b".")
                yield result

    ScorePairs.stream = counted  # type: ignore[method-assign]
    sys.argv = ["fmiqa", *arguments]
    fmiqa()


def rows_in(out: Path) -> int:
    """Rows in the parts of a folder."""
    return sum(parquet.read_metadata(path).num_rows for path in out.rglob("part-*.parquet"))


def main(kills: int = 20, count: int = 300) -> None:
    """Kill and start again."""
    random.seed(0)
    with tempfile.TemporaryDirectory() as name:
        pairs = Path(name)
        make_pairs(pairs, count, 64)
        began = time.monotonic()
        assert start(pairs, pairs / "whole").wait() == 0  # noqa: S101
        seconds = time.monotonic() - began
        expected = collect(pairs / "whole").scores
        repeated = []
        for number in range(kills):
            out = pairs / f"killed-{number}"
            shards = [()] if number % 2 == 0 else [("--shard", "0/2"), ("--shard", "1/2")]
            running = [start(pairs, out, *options) for options in shards]
            if number % 4:  # while it scores: some parts are there, and a part of the next
                parts = random.randrange(1, count // _PART // len(shards))
                while len(list(out.rglob("part-*.parquet"))) < parts and running[0].poll() is None:
                    time.sleep(0.01)
                time.sleep(random.uniform(0, 0.5))
            else:  # at any time, which is mostly before the first pair
                time.sleep(random.uniform(0, seconds))
            running[0].kill()
            statuses = [process.wait() for process in running]
            kept = rows_in(out)
            for options in shards:
                assert start(pairs, out, *options).wait() == 0  # noqa: S101
            assert collect(out).scores.equals(expected)  # noqa: S101
            repeated.append(Path(f"{out}.log").stat().st_size - count)
            print(f"{number:2d}: status {statuses}, {kept} of {count} pairs kept, {repeated[-1]} repeated", flush=True)
    print(
        f"{kills} kills: every pair once, equal bit for bit; repeated {np.mean(repeated):.1f} pairs a kill, "
        f"at most {max(repeated)} (parts of {_PART})"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        run_and_count(sys.argv[2], sys.argv[3:])
    else:
        main(*map(int, sys.argv[1:]))
