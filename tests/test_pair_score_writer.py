"""Scores of predictions: the parts that `fmiqa collect` joins, each image once over ranks and starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from predict_scores import COUNT, Denoising, Photographs
from torch.utils.data import DataLoader

from tests.test_score_parts import RECIPE
from torchmetrics_fmiqa import feature_distance
from torchmetrics_fmiqa.callbacks import PairScoreWriter
from torchmetrics_fmiqa.one_writer import one_writer
from torchmetrics_fmiqa.scoring.collect import collect

EXAMPLE = Path(__file__).parents[1] / "examples" / "predict_scores.py"


def predict(writer: PairScoreWriter, module: pl.LightningModule, data: Any = None) -> None:
    trainer = pl.Trainer(
        accelerator="cpu", callbacks=[writer], logger=False, enable_progress_bar=False, enable_model_summary=False
    )
    trainer.predict(module, DataLoader(data or Photographs(), 2), return_predictions=False)


class Recorded(Denoising):
    """Notes what it gave; may change it, or stop."""

    def __init__(self, stop_at: int = 99, spoil: bool = False) -> None:
        super().__init__()
        self.stop_at, self.spoil = stop_at, spoil

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        if batch_idx == self.stop_at:
            raise RuntimeError("stopped")
        found = super().predict_step(batch, batch_idx)
        if self.spoil and batch_idx == 1:
            found["preds"] = found["preds"].clone()
            found["preds"][0, 0, 0, 0] = torch.nan
        return found


class OfSeveral(Denoising):
    """Takes several loaders."""

    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        return super().predict_step(batch, batch_idx)


def test_the_rows_are_the_distances_of_the_images(tmp_path):
    predict(PairScoreWriter(tmp_path / "s", RECIPE, rows=3), Recorded())
    found = collect(tmp_path / "s")
    assert found.missing == 0
    assert found.scores.column("id").to_pylist() == [f"image {n}" for n in range(COUNT)]
    images = [Photographs()[n] for n in range(COUNT)]
    pairs = [(one["noisy"].clamp(0, 1), one["target"]) for one in images]
    fields = {"backbone": RECIPE.backbone, "weights": RECIPE.weights, "taps": RECIPE.taps}
    expected = [float(feature_distance(p[None], t[None], **fields)) for p, t in pairs]
    assert found.numbers()[:, 0].tolist() == pytest.approx(expected, rel=1e-5)
    assert len(list((tmp_path / "s").rglob("part-*.parquet"))) == 3


def test_a_stopped_run_keeps_what_it_has_and_goes_on(tmp_path):
    with pytest.raises(RuntimeError, match="stopped"):
        predict(PairScoreWriter(tmp_path / "s", RECIPE), Recorded(stop_at=2))
    assert (collect(tmp_path / "s").scores.num_rows, collect(tmp_path / "s").missing) == (4, COUNT - 4)
    predict(PairScoreWriter(tmp_path / "s", RECIPE), Recorded())
    with pytest.warns(UserWarning, match=f"{COUNT} images have a row in .* and are not scored again"):
        predict(PairScoreWriter(tmp_path / "s", RECIPE), Recorded())
    found = collect(tmp_path / "s")
    assert (found.scores.num_rows, found.missing) == (COUNT, 0)
    with pytest.raises(ValueError, match=r"crop_border differ"):
        predict(PairScoreWriter(tmp_path / "s", RECIPE, crop_border=2), Recorded())
    with (
        one_writer(tmp_path / "s" / "parts" / "shard-0-of-1"),
        pytest.raises(ValueError, match="is being written by"),
    ):
        predict(PairScoreWriter(tmp_path / "s", RECIPE), Recorded())


def test_an_image_that_cannot_be_scored_is_a_row_with_its_reason(tmp_path):
    predict(PairScoreWriter(tmp_path / "s", RECIPE), Recorded(spoil=True))
    found = collect(tmp_path / "s")
    assert found.scores.num_rows == COUNT - 1
    assert found.failed.column("id").to_pylist() == ["image 2"]
    assert "finite" in found.failed.column("reason")[0].as_py() or "NaN" in found.failed.column("reason")[0].as_py()


def test_predictions_without_names_and_endless_data_are_errors(tmp_path):
    class Bare(Denoising):
        def predict_step(self, batch, batch_idx):
            return batch["noisy"]

    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            return (Photographs()[n] for n in range(COUNT))

    with pytest.raises(ValueError, match=r"`predict_step` must give a mapping .* got Tensor"):
        predict(PairScoreWriter(tmp_path / "s", RECIPE), Bare())
    with pytest.raises(ValueError, match="give the dataset a length"):
        predict(PairScoreWriter(tmp_path / "t", RECIPE), Denoising(), Endless())
    bare = pl.Trainer(accelerator="cpu", callbacks=[PairScoreWriter(tmp_path / "v", RECIPE)], logger=False)
    with pytest.raises(ValueError, match="give the dataset a length"):
        bare.predict(OfSeveral(), [[Photographs()[0]]], return_predictions=False)
    with pytest.raises(ValueError, match="`quality` is for SPIPS"):
        PairScoreWriter(tmp_path / "u", RECIPE, quality=True)


def test_an_id_that_comes_twice_is_an_error_and_not_an_image_less(tmp_path):
    class Twins(Photographs):
        def __getitem__(self, number):
            return {**super().__getitem__(number), "id": f"image {number % 5}"}

    with pytest.raises(ValueError, match="the id 'image 0' came twice: give each image of all dataloaders an id"):
        predict(PairScoreWriter(tmp_path / "s", RECIPE), Denoising(), Twins())
    assert (collect(tmp_path / "s").scores.num_rows, collect(tmp_path / "s").missing) == (4, COUNT - 4)


def test_loaders_may_come_by_name(tmp_path):
    class Others(Photographs):
        def __getitem__(self, number):
            return {**super().__getitem__(number), "id": f"other {number}"}

    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(accelerator="cpu", callbacks=[PairScoreWriter(tmp_path / "s", RECIPE)], **options)
    loaders = {"photographs": DataLoader(Photographs(), 2), "others": DataLoader(Others(), 2)}
    trainer.predict(OfSeveral(), loaders, return_predictions=False)
    assert (collect(tmp_path / "s").scores.num_rows, collect(tmp_path / "s").missing) == (2 * COUNT, 0)


@pytest.mark.slow
def test_two_processes_score_an_odd_number_of_images_once_each(tmp_path):
    out = tmp_path / "scores"
    ended = subprocess.run([sys.executable, str(EXAMPLE), str(out), "--devices", "2"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    found = collect(out)
    assert (found.scores.num_rows, found.missing) == (COUNT, 0)
    assert found.scores.column("id").to_pylist() == [f"image {n}" for n in range(COUNT)]
    assert sorted(path.name for path in (out / "parts").iterdir()) == ["shard-0-of-2", "shard-1-of-2"]
