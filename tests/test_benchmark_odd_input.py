"""`fmiqa benchmark` on odd input: names of digits, files that are missing, few references, folders that are damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pyarrow import parquet

from tests.test_benchmark_scores import refusal
from tests.test_benchmark_scoring import dataset
from tests.test_cli import fmiqa
from torchmetrics_fmiqa.benchmark.scoring.pair_run import PairRun
from torchmetrics_fmiqa.benchmark.scoring.score_table import read_scored
from torchmetrics_fmiqa.data.tables import write_table
from torchmetrics_fmiqa.one_writer import one_writer

QUICK = ("--changes", "none", "--attacked", "0", "--resamples", "10")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_names_made_of_digits_stay_text(ending: str, tmp_path: Path) -> None:
    rows = [
        {
            "ref": f"{ref:02d}",
            "image": f"{kind:02d}{ref:02d}{level}",
            "mos": 5 - level,
            "ours": 0.1 * level + 0.01 * ref,
        }
        for ref in (1, 2, 3)
        for kind in (1, 2, 10)
        for level in (1, 2, 3)
    ]
    path = tmp_path / f"scores.{ending}"
    write_table(path, rows, ["ref", "image", "mos", "ours"])
    table = read_scored(path, "mos", type_from=r"^(\d\d)")
    assert set(table.type.tolist()) == {"01", "02", "10"}
    assert set(table.reference.tolist()) == {"01", "02", "03"}


@pytest.mark.parametrize("name", ["NA", "nan", "null", "true", "1e5", "2026-01-02"])
def test_words_that_look_like_values_are_names(name: str, tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text(
        "ref,image,mos,ours\n" + "".join(f"{name},{name}{level},{5 - level},{level / 10}\n" for level in range(4))
    )
    assert set(read_scored(tmp_path / "scores.csv", "mos").reference.tolist()) == {name}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    pairs = dataset(tmp_path / "data", references=1, levels=4)
    (tmp_path / "data" / "d0_2.png").unlink()
    done = fmiqa("benchmark", "--pairs", pairs, "--metrics", "psnr", "--out", tmp_path / "out", *QUICK, status=1)
    assert "d0_2.png" in done.output


@pytest.mark.parametrize("references", [1, 2])
@pytest.mark.parametrize("metrics", ["psnr", "psnr,ssim"])
def test_few_references_are_studied_and_settle_nothing(references: int, metrics: str, tmp_path: Path) -> None:
    pairs = dataset(tmp_path / "data", references=references, levels=5)
    fmiqa("benchmark", "--pairs", pairs, "--metrics", metrics, "--out", tmp_path / "out", *QUICK)
    assert "Too few references" in (tmp_path / "out" / "report.md").read_text()


class _EndedError(BaseException):
    """Stands for a run that was killed."""


@pytest.fixture
def half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[object], Path]:
    """A command, and the folder that it left when it was killed after two parts."""
    pairs = dataset(tmp_path / "data", references=3, levels=8)
    command = ["benchmark", "--pairs", pairs, "--metrics", "psnr", *QUICK, "--batch", "4", "--out", tmp_path / "out"]
    write, written = PairRun._write, []

    def write_two(run: PairRun, path: Path, rows: object) -> None:
        if len(written) == 2:
            raise _EndedError
        write(run, path, rows)  # type: ignore[arg-type]
        written.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(PairRun, "_write", write_two)
        with pytest.raises(_EndedError):
            fmiqa(*command)
    return command, tmp_path / "out"


@pytest.mark.parametrize("content", ["", "[]", '{"metr', "\x00" * 20])
def test_damaged_notes_of_a_run_are_named(content: str, half_done: tuple[list[object], Path]) -> None:
    command, out = half_done
    (out / "inputs.json").write_text(content)
    assert "inputs.json" in refusal(*command)


def test_a_part_that_is_doubled_or_cut_is_scored_again(half_done: tuple[list[object], Path]) -> None:
    command, out = half_done
    first, second = sorted((out / "parts").glob("*.parquet"))
    shutil.copy(second, first)
    second.write_bytes(second.read_bytes()[:100])
    fmiqa(*command)
    names = parquet.read_table(out / "scores.parquet").column("dist").to_pylist()
    assert len(names) == len(set(names)) == 24


def test_a_folder_has_one_writer(half_done: tuple[list[object], Path]) -> None:
    command, out = half_done
    with one_writer(out):
        assert "is being written by" in refusal(*command)
    fmiqa(*command)
