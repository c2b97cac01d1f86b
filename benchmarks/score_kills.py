"""Kill `fmiqa score --out FOLDER/` at random moments, start it again, and count what is there and what was done twice.

``python benchmarks/score_kills.py [KILLS] [PAIRS]``. Made images; the embedded network; parts of 20 pairs. In turn the
killed run is one process, and one of two shards.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from pyarrow import parquet

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
    """Start a run."""
    command = [sys.executable, "-m", "torchmetrics_fmiqa", "score", str(pairs / "ref"), str(pairs / "dist")]
    command += ["--out", f"{out}/", "--rows", str(_PART), *options]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


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
        kept = []
        for number in range(kills):
            out = pairs / f"killed-{number}"
            shards = [()] if number % 2 == 0 else [("--shard", "0/2"), ("--shard", "1/2")]
            running = [start(pairs, out, *options) for options in shards]
            # Most of the time is spent before the first pair; so count from the first part half of the times.
            if number % 4 > 1:
                while not list(out.rglob("part-*.parquet")) and running[0].poll() is None:
                    time.sleep(0.002)
                time.sleep(random.uniform(0, 0.4 * seconds))
            else:
                time.sleep(random.uniform(0, 1.3 * seconds))
            running[0].kill()
            statuses = [process.wait() for process in running]
            kept.append(rows_in(out))
            for options in shards:
                assert start(pairs, out, *options).wait() == 0  # noqa: S101
            assert collect(out).scores.equals(expected)  # noqa: S101
            drafts = [path.name for path in out.rglob(".*") if ".tmp" in path.name]
            print(f"{number:2d}: status {statuses}, {kept[-1]} of {count} pairs kept, drafts left {drafts}", flush=True)
    print(f"{kills} kills: every pair once and equal bit for bit; a kill repeats at most {_PART - 1} scored pairs")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
