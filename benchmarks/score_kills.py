"""Kill `fmiqa score --out FOLDER/` at random moments, start it again, and count what is there and what was done twice.

``python benchmarks/score_kills.py [KILLS] [PAIRS] [MODES ...]``: so many kills of each of the modes below. Made images;
the embedded network; parts of 20 pairs. Each process notes every pair that it scores, so that repeated work is counted.
The second start is the plain door, whichever door was killed.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from pyarrow import parquet

from torchmetrics_fmiqa.scoring.collect import collect

_PART = 20


@dataclass(frozen=True)
class Mode:
    """What is started, and which process of it is killed.

    Args:
        runs: options of each run that is started.
        named: text in the command of the process that is killed, a descendant of the first run; empty for that itself.
        ends_well: whether the run survives it.
    """

    runs: tuple[tuple[str, ...], ...] = ((),)
    named: str = ""
    ends_well: bool = False


MODES = {
    "plain": Mode(),
    "shard": Mode((("--shard", "0/2"), ("--shard", "1/2"))),
    "workers' parent": Mode((("--workers", "2"),)),
    "a worker": Mode((("--workers", "2"),), "spawn_main"),
    "Ray's driver": Mode((("--engine", "ray", "--actors", "2"),)),
    "a Ray actor": Mode((("--engine", "ray", "--actors", "2"),), "_ScoreRows", ends_well=True),
}


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
    """Start a run that writes a byte to ``out.log`` for each pair that any process of it scores."""
    command = [sys.executable, "-m", "benchmarks.counted_pairs", "score", str(pairs / "ref"), str(pairs / "dist")]
    command += ["--out", f"{out}/", "--rows", str(_PART), *options]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "SCORED_LOG": f"{out}.log"})


def victim(process: subprocess.Popen[bytes], named: str) -> psutil.Process | None:
    """The process to kill."""
    try:
        family = psutil.Process(process.pid)
        found = [one for one in family.children(recursive=True) if named in " ".join(one.cmdline())]
    except psutil.Error:
        return None
    return family if not named else random.choice(found) if found else None


def rows_in(out: Path) -> int:
    """Rows in the parts of a folder."""
    return sum(parquet.read_metadata(path).num_rows for path in out.rglob("part-*.parquet"))


def wait_for(is_so: Callable[[], bool], running: subprocess.Popen[bytes]) -> None:
    """Wait until something is so, or the run has ended."""
    while not is_so() and running.poll() is None:
        time.sleep(0.01)


def kill_once(pairs: Path, out: Path, mode: Mode, count: int, at_once: bool, seconds: float) -> tuple[int, int, str]:
    """Kill and start again; the rows that were kept, the pairs that were scored more than once, and exit statuses."""
    running = [start(pairs, out, *options) for options in mode.runs]
    if at_once:  # at any time, which is mostly before the first pair
        time.sleep(random.uniform(0, seconds))
    else:  # while it scores: some parts are there, and a part of the next
        parts = random.randrange(1, count // _PART // len(running))
        wait_for(lambda: len(list(out.rglob("part-*.parquet"))) >= parts, running[0])
        time.sleep(random.uniform(0, 0.5))
    wait_for(lambda: victim(running[0], mode.named) is not None, running[0])
    struck = victim(running[0], mode.named)
    if struck is not None:
        struck.kill()
    statuses = [process.wait() for process in running]
    assert not mode.ends_well or statuses == [0]  # noqa: S101
    kept = rows_in(out)
    assert start(pairs, out).wait() == 0  # noqa: S101
    return kept, Path(f"{out}.log").stat().st_size - count, f"{'status' if struck else 'too late, status'} {statuses}"


def main(kills: int = 20, count: int = 300, modes: tuple[str, ...] = tuple(MODES)) -> None:
    """Kill and start again."""
    random.seed(0)
    with tempfile.TemporaryDirectory() as name:
        pairs = Path(name)
        make_pairs(pairs, count, 64)
        began = time.monotonic()
        assert start(pairs, pairs / "whole").wait() == 0  # noqa: S101
        seconds = time.monotonic() - began
        expected = collect(pairs / "whole").scores
        for place, mode in enumerate(modes):
            repeated = []
            for number in range(kills):
                out = pairs / f"killed-{place}-{number}"
                kept, twice, told = kill_once(pairs, out, MODES[mode], count, number % 4 == 0, seconds)
                assert collect(out).scores.equals(expected)  # noqa: S101
                repeated.append(twice)
                print(f"{mode}, {number:2d}: {told}, {kept} of {count} pairs kept, {twice} repeated", flush=True)
            print(
                f"{mode}: {kills} kills, after a second start every pair once, equal bit for bit; repeated "
                f"{np.mean(repeated):.1f} pairs a kill, at most {max(repeated)} (parts of {_PART})",
                flush=True,
            )


if __name__ == "__main__":
    numbers = [int(one) for one in sys.argv[1:] if one.isdecimal()]
    main(*numbers, modes=tuple(one for one in sys.argv[1:] if not one.isdecimal()) or tuple(MODES))
