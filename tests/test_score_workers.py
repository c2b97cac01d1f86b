"""Scores by several processes of one machine: the same rows, and nothing lost or left behind when one of them dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from tests.test_cli import VIT, fmiqa, picture, refused, save
from tests.test_score_parts import COUNT, INPUTS, RECIPE, Numbers, listed
from torchmetrics_fmiqa.data.pair_tables import open_pair_table
from torchmetrics_fmiqa.scoring import ScorePairs
from torchmetrics_fmiqa.scoring.collect import collect
from torchmetrics_fmiqa.scoring.score_parts import in_process
from torchmetrics_fmiqa.scoring.workers import WorkerError, score_by_workers

__all__ = ["refused"]  # a fixture
MANY = 300
pytestmark = pytest.mark.slow  # each process imports PyTorch


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("images")
    for seed in range(11):
        height = 32 + 8 * (seed % 3 == 2)  # pairs of two sizes
        save(folder / "ref" / f"{seed:02d}.png", picture(seed, height=height))
        save(folder / "dist" / f"{seed:02d}.png", picture(seed, noise=4 * seed, height=height))
    (folder / "dist" / "05.png").write_bytes(b"broken")
    return folder / "ref", folder / "dist"


@pytest.fixture(scope="module")
def plain(folders, tmp_path_factory) -> Path:
    """The scores of one process."""
    out = tmp_path_factory.mktemp("plain") / "scores"
    fmiqa("score", *folders, "--out", f"{out}/", *VIT)
    return out


def same(found: Path, expected: Path) -> bool:
    one, other = collect(found), collect(expected)
    return one.scores.equals(other.scores) and one.failed.equals(other.failed) and not one.missing


def test_workers_change_no_bit_and_retry_what_failed(folders, plain, tmp_path):
    out = tmp_path / "scores"
    result = fmiqa("score", *folders, "--out", f"{out}/", *VIT, "--workers", 2, "--rows", 4)
    assert "11 scored now; 1 of them could not be scored" in result.stderr
    assert same(out, plain)
    broken = folders[1] / "05.png"
    before = broken.read_bytes()
    try:
        save(broken, picture(5, height=40))
        fmiqa("score", *folders, "--out", f"{out}/", *VIT, "--workers", 2, "--retry")
    finally:
        broken.write_bytes(before)
    assert collect(out).failed.num_rows == 0
    assert collect(out).scores.num_rows == 11


def test_workers_that_only_read_feed_the_network_as_threads_do(folders, monkeypatch):
    """A GPU takes groups of pairs: they are the same groups, so that the numbers are."""
    table = folders[0].parent / "pairs.csv"
    table.write_text("ref,dist\n" + "".join(f"ref/{n:02d}.png,dist/{n:02d}.png\n" for n in range(11)))
    source, _ = open_pair_table(table)
    scorer = ScorePairs(RECIPE)
    monkeypatch.setattr(ScorePairs, "device", torch.device("meta"))  # anything but the CPU, for the choice of the way
    groups: list[int] = []
    measure = scorer._loaded[0].__call__

    def counted(preds, target, border):
        groups.append(len(preds))
        return measure(preds, target, border)

    monkeypatch.setattr(type(scorer._loaded[0]), "__call__", lambda _, *images: counted(*images))
    monkeypatch.setattr("torchmetrics_fmiqa.scoring.table_rows.score_pairs", _in_groups)
    rows = np.arange(11)
    found = list(score_by_workers(scorer, source, rows, 2))
    by_workers, groups[:] = list(groups), []
    expected = list(in_process(scorer, source, rows))
    assert by_workers == groups
    assert max(groups) == 2
    assert [(one.pair.row, one.values, one.error) for one in found] == [
        (one.pair.row, one.values, one.error) for one in expected
    ]


def _in_groups(*arguments, alone, **options):
    from torchmetrics_fmiqa.scoring.batches import score_pairs

    return score_pairs(*arguments, alone=False, **options)


def processes_of(folder: Path) -> list[int]:
    """Running processes that were started with a folder in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("SCORED_INTO") == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def start(folders: tuple[Path, Path], out: Path) -> subprocess.Popen[str]:
    """A run of two workers that has written some parts, in a process group of its own."""
    command = [sys.executable, "-m", "torchmetrics_fmiqa", "score", *map(str, folders), "--out", f"{out}/", *VIT]
    environment = {**os.environ, "SCORED_INTO": str(out)}
    running = subprocess.Popen(
        [*command, "--workers", "2", "--rows", "1"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        # a shell's background jobs ignore Ctrl+C, and their children would
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 600
    while not list(out.rglob("part-*.parquet")) and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    return running


@pytest.fixture(scope="module")
def many(folders) -> tuple[Path, Path]:
    """So many pairs that a run is still at work when it is struck."""
    folder = folders[0].parent / "many"
    for side in folders:
        (folder / side.name).mkdir(parents=True)
        for number in range(MANY):
            os.link(side / f"{number % 5:02d}.png", folder / side.name / f"{number:04d}.png")
    return folder / "ref", folder / "dist"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("struck", ["worker", "parent", "group by SIGINT"])
def test_a_struck_run_leaves_no_process_and_loses_nothing(many, tmp_path, struck):
    out = tmp_path / "scores"
    running = start(many, out)
    family = psutil.Process(running.pid).children()
    workers = [one for one in family if "spawn_main" in " ".join(one.cmdline())]
    assert len(workers) == 2
    if struck == "worker":
        workers[0].kill()
    elif struck == "parent":
        running.kill()
    else:
        os.killpg(running.pid, signal.SIGINT)
    status, said = running.wait(300), running.stderr.read().strip()
    kept = collect(out).scores
    assert 0 < kept.num_rows < MANY
    if struck == "worker":
        assert status == 2
        assert said.startswith(f"error: process {workers[0].pid} of --workers was ended by SIGKILL")
        assert len(said.splitlines()) == 1
    elif struck != "parent":
        assert status == 128 + signal.SIGINT
        assert len(said.splitlines()) == 1, said
    deadline = time.monotonic() + 60
    while processes_of(out) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes_of(out)
    fmiqa("score", *many, "--out", f"{out}/", *VIT)
    found = collect(out)
    assert (found.scores.num_rows, found.missing) == (MANY, 0)


def crash(scorer, pairs):
    os._exit(3)


def fail(scorer, pairs):
    raise RuntimeError("a defect")


@pytest.mark.parametrize(
    ("work", "kind", "told"), [(crash, WorkerError, "ended with status 3"), (fail, RuntimeError, "a defect")]
)
def test_a_crash_is_told(monkeypatch, work, kind, told):
    monkeypatch.setattr("torchmetrics_fmiqa.scoring.workers._score", work)
    with pytest.raises(kind, match=told):
        list(score_by_workers(ScorePairs(RECIPE), listed(), np.arange(COUNT), 2))


def test_workers_need_a_folder(folders, refused):
    assert "`--workers` is for a folder of scores" in refused("score", *folders, "--workers", 2)


def test_nothing_starts_where_nothing_is_left(tmp_path):
    from torchmetrics_fmiqa.scoring.score_parts import score_parts

    score_parts(listed(), Numbers(), tmp_path, INPUTS)

    def engine(*_):
        pytest.fail("started")

    assert score_parts(listed(), Numbers(), tmp_path, INPUTS, engine=engine).before == COUNT
