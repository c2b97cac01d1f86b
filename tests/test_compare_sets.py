"""Distances between sets in a comparison: the figures of the metrics, in every output, with their warning."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.cli_runs import run_command
from tests.method_images import NOISE, make_methods
from torchmetrics_fmiqa import FrechetFeatureDistance, KernelFeatureDistance, compare
from torchmetrics_fmiqa.comparison.set_rows import SetDistances, SetRow
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.features.weights import WeightsUnavailableError

run = partial(run_command, "compare")
pytestmark = pytest.mark.filterwarnings("ignore:figures of .* images:UserWarning")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_methods(tmp_path_factory.mktemp("images"))


def methods(root: Path) -> list[str]:
    return [text for name in NOISE for text in ("--method", f"{name}={root / name}")]


def test_the_figures_are_those_of_the_metrics(images: Path) -> None:
    folders = {name: images / name for name in NOISE}
    found = compare(images / "ref", folders, ["psnr"], set_distances=["frechet", "kernel:embedded"])
    read = {
        name: torch.stack([read_image(path) for path in sorted((images / name).iterdir())]) for name in ("ref", *NOISE)
    }
    assert found.sets is not None
    for row, metric in zip(
        found.sets.rows[:: len(NOISE)], (FrechetFeatureDistance(), KernelFeatureDistance()), strict=True
    ):
        metric.update(read[row.method], read["ref"])
        assert row.value == pytest.approx(float(metric.compute()), rel=1e-4)
    of = {(row.distance, row.method): row.value for row in found.sets.rows}
    assert of["frechet", "weak"] < of["frechet", "strong"]
    assert "figures of 8 images a side are mostly noise" in found.sets.warning


def test_every_output_has_them_with_their_warning(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (images / "ref", *methods(images), "--metrics", "psnr", "--out", out)
    status, printed = run(*arguments, "--set-distances", "frechet,kernel")
    assert status == 0
    assert "figures of 8 images a side are mostly noise" in printed
    with (out / "set_distances.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["distance"] for row in rows] == ["frechet"] * 3 + ["kernel"] * 3
    assert rows[0]["images"] == "8"
    assert rows[0]["extrapolated"] == ""  # 8 images of hundreds of channels
    for name in ("table.md", "report.html"):
        text = (out / name).read_text()
        assert "igures of 8 images a side are mostly noise" in text
        assert "set distance" in text or "Distances between sets" in text
    lines = (out / "table.tex").read_text().splitlines()
    assert any(line.startswith("% Figures of 8 images a side are mostly noise") for line in lines)
    assert r"\begin{tabular}{lccc}" in lines
    heads, *table = [line.removesuffix(r" \\").split(" & ") for line in lines if " & " in line]
    assert heads[2:] == [r"frechet $\downarrow$", r"kernel $\downarrow$"]
    for place, column in ((2, rows[:3]), (3, rows[3:])):
        cells = {cells[0]: cells[place] for cells in table}
        first, second, third = sorted(column, key=lambda row: float(row["value"]))
        assert cells[first["method"]].startswith(r"\textbf{")
        assert cells[second["method"]].startswith(r"\underline{")
        assert float(cells[third["method"]]) == pytest.approx(float(third["value"]), rel=1e-3)
        assert r"\approx" not in "".join(cells.values())
    assert run(*arguments)[0] == 0
    assert "downarrow" not in (out / "table.tex").read_text()
    assert not (out / "set_distances.csv").exists()
    assert "Distances between sets" not in (out / "report.html").read_text()


def test_an_unknown_one_ends_the_command_before_anything_is_measured(images: Path, tmp_path: Path) -> None:
    arguments = (images / "ref", *methods(images), "--out", tmp_path / "out", "--set-distances")
    for text, message in (
        ("fid", "no set distance 'fid': take frechet, kernel, fd-dinov2, cmmd"),
        ("cmmd:vit-tiny", "no set distance 'cmmd:vit-tiny'"),
        ("frechet:nothing", "no recipe 'nothing'"),
        ("frechet,frechet", "'frechet' is named twice"),
    ):
        status, printed = run(*arguments, text)
        assert status == 2
        assert message in printed
    assert not (tmp_path / "out").exists()


def test_one_without_weights_is_left_out_by_name(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(**options: object) -> None:
        raise WeightsUnavailableError("no pretrained weights here")

    monkeypatch.setattr(FrechetFeatureDistance, "fd_dinov2", unavailable)
    status, printed = run(
        *(images / "ref", *methods(images), "--metrics", "psnr", "--out", tmp_path / "out"),
        *("--set-distances", "fd-dinov2"),
    )
    assert status == 0
    assert "fd-dinov2 left out: no pretrained weights here" in printed
    assert "None could run here" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("value", "texts"),
    [(24970.123, ("24970.", "24970.")), (0.0123456, (".01235", ".01235")), (0.0, (".000000000", ".000000000"))],
)
def test_figures_have_four_digits_whatever_their_size(value: float, texts: tuple[str, str]) -> None:
    row = SetRow("frechet", "a", 3000, value, value, float("nan"), float("nan"))
    found = row.texts()
    assert found[2] == "—"
    assert [text.rstrip(".") for text in found[:2]] == [text.rstrip(".") for text in texts]
    assert SetDistances((row,)).table()[0]["low"] is None
