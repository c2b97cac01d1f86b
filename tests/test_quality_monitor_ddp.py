"""QualityMonitor in two gloo processes, and in the examples for torchrun and accelerate: as in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import RANDOM_VIT
from tests.lightning_tools import vit
from tests.processes import SHARDS, Outcome
from tests.test_quality_monitor import by_hand, metrics, stepped, stretched, worst_first
from torchmetrics_fmiqa import QualityMonitor
from torchmetrics_fmiqa.features.network import load_network

pytestmark = pytest.mark.slow  # two processes import everything anew

EXAMPLES = Path(__file__).parents[1] / "examples"
CASES = {**SHARDS, "padded": (((0, 1), (2, 3)), ((3, 2, 1),))}


# What runs in the processes: rank in, results by case out


def _reports(rank: int) -> dict[Any, Any]:
    results: dict[Any, Any] = {}
    for case, shards in CASES.items():
        for with_ids in (True, False):
            monitor = QualityMonitor(metrics(), worst=3)
            stepped(monitor, shards[rank], with_ids)
            report = monitor.report()
            heats = [one.heat is not None for one in report.worst]
            counts = (report.samples, report.repeated, [one.id for one in report.worst], heats)
            results[case, with_ids] = (dict(report.numbers), counts)
    return results


def _differing(rank: int) -> dict[Any, Any]:
    monitor = QualityMonitor({"vit": vit(distance="l2" if rank else "cosine")}, worst=0)
    stepped(monitor, [[0]])
    try:
        monitor.report()
    except ValueError as error:
        return {"error": str(error)}
    return {"error": None}


WORKS = (_reports, _differing)


@pytest.fixture(scope="module", autouse=True)
def network() -> Any:
    return load_network(RANDOM_VIT["backbone"], RANDOM_VIT["weights"])


def test_each_id_counts_once_over_processes(outcome: Outcome) -> None:
    first, second = outcome(_reports)
    preds, target = stretched()
    for (case, with_ids), (numbers, counts) in first.items():
        dealt = [place for shard in CASES[case] for batch in shard for place in batch]
        places = sorted(set(dealt)) if with_ids else dealt
        assert numbers == second[case, with_ids][0] == by_hand(preds[places], target[places]), (case, with_ids)
        samples, repeated, worst, heats = counts
        assert (samples, repeated) == (len(places), len(dealt) - len(places))
        assert heats == [True] * 3
        if with_ids:
            assert worst == [place for place in worst_first(9) if place in places][:3]
        assert second[case, with_ids][1] == (samples, repeated, [], [])


def test_processes_that_measure_differently_are_told_on_each(outcome: Outcome) -> None:
    first, second = outcome(_differing)
    assert first == second
    assert "distance is" in str(first["error"])


# The examples


def _run(example: str, processes: int, out: Path, *options: str) -> tuple[dict[str, float], str]:
    """The numbers that an example writes last, and what it prints."""
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [*start, str(EXAMPLES / example), "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr
    assert len(list(out.rglob("*.png"))) >= 4
    (last,) = sorted(out.rglob("report.json"), key=lambda path: path.parent.name)[-1:]
    return dict(json.loads(last.read_text())["numbers"]), done.stdout


def test_the_example_for_torchrun_gives_the_numbers_of_one_process(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the example's photograph is of scikit-image")
    (alone, _), (both, said) = (_run("torchrun_validation.py", count, tmp_path / str(count)) for count in (1, 2))
    assert both == pytest.approx(alone, rel=1e-6)
    assert "35 samples (1 repeated sample left out)" in said


def test_the_example_for_accelerate_gives_the_numbers_of_one_process_and_learns(tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    pytest.importorskip("skimage", reason="the example's photographs are of scikit-image")
    alone, _ = _run("accelerate_vae.py", 1, tmp_path / "alone", "--epochs", "0")
    gathered, said = _run("accelerate_vae.py", 2, tmp_path / "gathered", "--epochs", "0", "--gather")
    assert gathered == pytest.approx(alone, rel=1e-6)
    assert "35 samples:" in said
    trained, said = _run("accelerate_vae.py", 2, tmp_path / "trained", "--epochs", "2")
    before = json.loads((tmp_path / "trained" / "quality" / "step=0" / "report.json").read_text())["numbers"]
    assert before == pytest.approx(alone, rel=1e-6)
    assert "35 samples (5 repeated samples left out)" in said
    assert trained["quality/distance"] < before["quality/distance"]
    assert trained["quality/psnr"] > before["quality/psnr"]
    assert torch.isfinite(torch.tensor(list(trained.values()))).all()
