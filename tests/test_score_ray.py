"""Scores by Ray: the rows of the plain door, in the same folder, whichever door begins and whichever goes on."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pyarrow
import pytest
from pyarrow import parquet

from tests.test_cli import VIT, fmiqa, picture, refused, save
from tests.test_score_parts import RECIPE
from tests.test_score_workers import processes_of, same
from torchmetrics_fmiqa.data.pair_tables import open_pair_table
from torchmetrics_fmiqa.scoring import ScorePairs
from torchmetrics_fmiqa.scoring.collect import collect

__all__ = ["refused"]  # a fixture
HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: pip install 'ray[data]'")
COUNT = 70  # more than two blocks
# By default Ray's workers give way to everything else, such as the other tests: they would take minutes to start.
os.environ.setdefault("RAY_worker_niceness", "0")


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Pairs of files by a table; one image is broken, and sizes differ."""
    folder = tmp_path_factory.mktemp("images")
    for seed in range(7):
        height = 32 + 8 * (seed % 3 == 2)
        save(folder / "ref" / f"{seed}.png", picture(seed, height=height))
        save(folder / "dist" / f"{seed}.png", picture(seed, noise=4 * seed, height=height))
    (folder / "dist" / "broken.png").write_bytes(b"broken")
    names = {side: [f"{side}/{n % 7}.png" for n in range(COUNT)] for side in ("ref", "dist")}
    names["dist"][33] = "dist/broken.png"
    parquet.write_table(pyarrow.table({"id": range(COUNT), **names}), folder / "pairs.parquet")
    return folder / "pairs.parquet"


@pytest.fixture(scope="module")
def plain(table, tmp_path_factory) -> Path:
    """The scores of one process."""
    out = tmp_path_factory.mktemp("plain") / "scores"
    fmiqa("score", table, "--out", f"{out}/", *VIT)
    return out


@pytest.fixture(scope="module")
def ray():
    """Ray on this machine, for all tests of the file that use it from Python."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
    folder = str(Path(__file__).parents[1])  # workers find the package and this file there
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])}}
    at_sigterm = signal.getsignal(signal.SIGTERM)
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield ray
    ray.shutdown()
    signal.signal(signal.SIGTERM, at_sigterm)  # Ray has put its own there, which tests of signals would meet


@needs_ray
@pytest.mark.slow
def test_a_dataset_has_the_scores_of_score_pairs(ray, table):
    from torchmetrics_fmiqa.scoring.ray import score

    folder = table.parent
    rows = parquet.read_table(table).to_pydict()
    rows = {"id": rows["id"], **{side: [str(folder / name) for name in rows[side]] for side in ("ref", "dist")}}
    expected = ScorePairs(RECIPE)(rows)
    dataset = ray.data.from_arrow(pyarrow.table(rows))
    found = score(dataset, RECIPE, actors=2, rows_per_block=20).to_pandas().sort_values("id")
    assert found.columns.tolist() == ["id", "ref", "dist", "score", "outside", "reason"]
    for name in ("id", "score", "outside"):
        np.testing.assert_array_equal(found[name].to_numpy(), expected[name])
    assert found["reason"].tolist() == expected["reason"].tolist()
    assert bool(found["reason"].iloc[33])
    with pytest.raises(ValueError, match="`device` is what"):
        score(dataset, RECIPE, device="cuda")


@needs_ray
@pytest.mark.slow
def test_tasks_that_read_and_actors_that_score_give_the_same(ray, table, plain, monkeypatch):
    """As with GPUs, with none: `num_gpus` is asked for and taken away."""
    from torchmetrics_fmiqa.scoring import ray as door

    data = {side: [(table.parent / name).read_bytes() for name in names] for side, names in _columns(table).items()}
    rows = {"id": list(range(COUNT)), **data}
    expected = ScorePairs(RECIPE)(rows)
    whole = ray.data.Dataset.map_batches

    def without_gpus(self, call, **how):
        how.pop("num_gpus", None)
        return whole(self, call, **{**how, "num_cpus": how.get("num_cpus") or 1})

    monkeypatch.setattr(ray.data.Dataset, "map_batches", without_gpus)
    monkeypatch.setattr(door, "ScorePairs", lambda recipe, device: ScorePairs(recipe))
    dataset = ray.data.from_arrow(pyarrow.table(rows))
    found = door.score(dataset, RECIPE, gpus_per_actor=1, rows_per_block=20).to_pandas().sort_values("id")
    assert found.columns.tolist() == ["id", "score", "outside", "reason"]
    np.testing.assert_array_equal(found["score"].to_numpy(), expected["score"])
    assert found["reason"].tolist() == expected["reason"].tolist()
    source, _ = open_pair_table(table)
    engine = door.RayEngine(actors=2, gpus_per_actor=1)
    scored = {one.pair.row: one for one in engine(ScorePairs(RECIPE), source, np.arange(COUNT))}
    kept = collect(plain).scores
    by_id = dict(zip(kept.column("id").to_pylist(), kept.column("score").to_pylist(), strict=True))
    assert {row: one.values["score"] for row, one in scored.items() if not one.error} == by_id
    assert [row for row, one in scored.items() if one.error] == [33]


def _columns(table: Path) -> dict[str, list[str]]:
    return parquet.read_table(table, columns=["ref", "dist"]).to_pydict()


def ray_command(table: Path, out: Path, *options: str) -> list[str]:
    command = [sys.executable, "-m", "torchmetrics_fmiqa", "score", str(table), "--out", f"{out}/", *VIT]
    return [*command, "--engine", "ray", "--actors", "2", *options]


@needs_ray
@pytest.mark.slow
def test_a_killed_driver_leaves_no_process_and_the_plain_door_goes_on(table, plain, tmp_path):
    out = tmp_path / "scores"
    environment = {**os.environ, "SCORED_INTO": str(out)}
    running = subprocess.Popen(ray_command(table, out, "--rows", "5"), stderr=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + 600
    while not list(out.rglob("part-*.parquet")) and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait(60)
    deadline = time.monotonic() + 60
    while processes_of(out) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes_of(out)
    fmiqa("score", table, "--out", f"{out}/", *VIT)
    assert same(out, plain)


@needs_ray
@pytest.mark.slow
def test_the_command_starts_a_killed_actor_again_and_writes_the_folder_of_the_plain_door(table, plain, tmp_path):
    out = tmp_path / "scores"
    environment = {**os.environ, "SCORED_INTO": str(out)}
    command = ray_command(table, out, "--rows", "5")
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    killed = False
    while not killed and running.poll() is None:
        for pid in processes_of(out):
            with suppress(psutil.Error):
                if not killed and "_ScoreRows" in "".join(psutil.Process(pid).cmdline()[:1]):
                    os.kill(pid, signal.SIGKILL)
                    killed = True
        time.sleep(0.01)
    said = running.communicate(timeout=600)[1]
    assert running.returncode == 0, said
    assert killed
    assert "shard 0/1: 0 pairs were there, 70 scored now; 1 of them could not be scored" in said
    assert same(out, plain)
    again = fmiqa("score", table, "--out", f"{out}/", *VIT)
    assert "70 pairs were there, 0 scored now" in again.stderr


def test_options_of_ray_that_do_not_go_together_are_refused(table, tmp_path, refused):
    out = ("--out", f"{tmp_path}/scores/")
    assert "`--engine` must be ray" in refused("score", table, *out, "--engine", "dask")
    assert "`--actors` is for Ray" in refused("score", table, *out, "--actors", 2)
    assert "with --engine ray give --actors" in refused("score", table, *out, "--engine", "ray", "--workers", 2)
    assert "give --gpus-per-actor" in refused("score", table, *out, "--engine", "ray", "--device", "cuda")
    assert "`--engine` is for a folder" in refused("score", *[table] * 2, "--engine", "ray")


def test_without_ray_the_command_says_what_to_install(table, tmp_path, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    told = refused("score", table, "--out", f"{tmp_path}/scores/", "--engine", "ray")
    assert "pip install 'torchmetrics-fmiqa[ray]'" in told
