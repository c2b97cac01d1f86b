"""The monitor in two gloo processes: every sample counts once, the same on both ranks, as in one process."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.environments import LightningEnvironment
from PIL import Image
from torch import Tensor, distributed
from torch.utils.data import Sampler
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from tests.conftest import RANDOM_VIT
from tests.lightning_tools import Restorer, loader, pictures, psnr_by_hand, trainer, vit, vit_by_hand
from tests.processes import RANKS, Outcome
from torchmetrics_fmiqa import ImageQualityMonitor
from torchmetrics_fmiqa.features.network import load_network

pytestmark = pytest.mark.slow  # two processes import everything anew

STRENGTHS = (0.8, 0.4, 0.6, 0.7, 0.9)
COUNTS = [(n, size, shuffle) for n in (9, 1, 2) for size in (1, 2, 4) for shuffle in (False, True)]


class Joined(LightningEnvironment):
    """A process that somebody else has started."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self._rank = rank

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def local_rank(self) -> int:
        return self._rank


class Halves(Sampler[int]):
    """Rank 0 gets six of nine samples, rank 1 three."""

    def __init__(self, rank: int) -> None:
        self.places = range(6) if rank == 0 else range(6, 9)

    def __iter__(self) -> Any:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


class Padded(Halves):
    """Both ranks get sample 4."""

    def __init__(self, rank: int) -> None:
        self.places = range(5) if rank == 0 else range(4, 9)


def metrics() -> dict[str, Any]:
    ssim = StructuralSimilarityIndexMeasure(data_range=1.0)
    return {"vit": vit(), "psnr": PeakSignalNoiseRatio(data_range=1.0), "ssim": ssim}


def faded(strength: float) -> tuple[Tensor, Tensor]:
    preds, target = pictures()
    return torch.lerp(target, preds, strength), target


def _run(rank: int, *callbacks: Any, **options: Any) -> Any:
    warnings.filterwarnings("ignore", module="lightning")
    ranks = {"devices": RANKS, "strategy": "ddp", "plugins": [Joined(rank)]}
    return trainer(*callbacks, **{**ranks, **options})


def _validate(rank: int, monitor: Any, loaders: Any, **options: Any) -> dict[str, float]:
    run = _run(rank, monitor, **options)
    run.validate(Restorer(), loaders, verbose=False)
    assert run.world_size == RANKS
    return {name: float(value) for name, value in run.callback_metrics.items()}


def _folder() -> Path:
    """A folder that both ranks agree on."""
    name = [tempfile.mkdtemp() if distributed.get_rank() == 0 else None]
    distributed.broadcast_object_list(name)
    assert name[0] is not None
    return Path(name[0])


# What runs in the processes: rank in, results by case out


def _counts(rank: int) -> dict[Any, Any]:
    return {
        (n, size, shuffle): _validate(rank, ImageQualityMonitor(metrics()), loader(n, batch_size=size, shuffle=shuffle))
        for n, size, shuffle in COUNTS
    }


def _loaders(rank: int) -> dict[Any, Any]:
    names = ImageQualityMonitor(metrics(), cache_references="1GiB", reference_version="v1")
    return {"values": _validate(rank, names, [loader(9, batch_size=2), loader(1, seed=1)])}


def _samplers(rank: int) -> dict[Any, Any]:
    results: dict[str, Any] = {}
    for kind in (Halves, Padded):
        monitor = ImageQualityMonitor(metrics(), worst=3)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run = _run(rank, monitor, use_distributed_sampler=False, num_sanity_val_steps=0, max_epochs=2)
            run.fit(Restorer(), loader(4), loader(batch_size=2, sampler=kind(rank)))
        results[kind.__name__] = {name: float(value) for name, value in run.callback_metrics.items()}
        told = [one for one in caught if "does not tell which samples" in str(one.message)]
        results[f"{kind.__name__}_warnings"] = len(told)
    # Lightning wraps a sampler of its own kind in one that it knows.
    wrapped = loader(batch_size=2, sampler=Halves(0))
    results["wrapped"] = _validate(rank, ImageQualityMonitor(metrics()), wrapped)
    return results


def _fit(rank: int) -> dict[Any, Any]:
    folder = _folder()
    monitor = ImageQualityMonitor(metrics(), cache_references="1GiB", worst=2)
    saved = ModelCheckpoint(folder, monitor="quality/vit")
    stop = EarlyStopping("quality/psnr", mode="max", patience=2)
    run = _run(rank, monitor, saved, stop, max_epochs=9, enable_checkpointing=True)
    run.fit(Restorer(STRENGTHS), loader(4), loader(batch_size=2))
    tested = run.test(Restorer(), loader(batch_size=4), verbose=False)[0]
    return {
        "epochs": run.fit_loop.epoch_progress.current.processed,
        "score": float(saved.best_model_score),
        "path": Path(saved.best_model_path).name,
        "best": monitor.best,
        "tested": tested,
    }


def _worst(rank: int) -> dict[Any, Any]:
    results = {}
    for case, shuffle in (("vit", False), ("psnr", True)):
        folder = _folder()
        monitor = ImageQualityMonitor(metrics(), worst=4, worst_by=case)
        _validate(rank, monitor, loader(batch_size=2, shuffle=shuffle), logger=CSVLogger(folder, "", ""))
        distributed.barrier()
        files = sorted(folder.rglob("*.png"))
        results[case] = {file.name: torch.from_numpy(np.array(Image.open(file))) for file in files}
    return results


def _not_finite(rank: int) -> dict[Any, Any]:
    def preds(outputs: Any, batch: Any) -> Tensor:
        images = batch["lq"].clone()
        bad = (batch["target"] - pictures()[1][3]).abs().amax((1, 2, 3)) == 0  # sample 3, wherever it is
        images[bad] = float("nan")
        return images

    monitor = ImageQualityMonitor(metrics(), preds=preds, nan_strategy="ignore")
    return {"values": _validate(rank, monitor, loader(batch_size=2))}


WORKS = (_counts, _loaders, _samplers, _fit, _worst, _not_finite)


@pytest.fixture(scope="module", autouse=True)
def network() -> Any:
    return load_network(RANDOM_VIT["backbone"], RANDOM_VIT["weights"])


def by_hand(preds: Tensor, target: Tensor, suffix: str = "") -> dict[str, Any]:
    """What one process would log, to 1e-6."""
    found = {
        "vit": vit_by_hand(preds, target),
        "psnr": psnr_by_hand(preds, target),
        "ssim": float(StructuralSimilarityIndexMeasure(data_range=1.0)(preds, target)),
        "share_outside": float(((preds < 0) | (preds > 1)).double().mean()),
    }
    return {f"quality/{name}{suffix}": pytest.approx(value, rel=1e-6, abs=1e-6) for name, value in found.items()}


def test_every_sample_counts_once(outcome: Outcome) -> None:
    first, second = outcome(_counts)
    assert first == second
    assert len(first) == len(COUNTS)
    expected = {n: by_hand(*pictures(n)) for n in (9, 1, 2)}
    for (n, size, shuffle), values in first.items():
        assert values == expected[n], (n, size, shuffle)


def test_two_dataloaders(outcome: Outcome) -> None:
    first, second = outcome(_loaders)
    assert first == second
    one, other = by_hand(*pictures(9), "/dataloader_idx_0"), by_hand(*pictures(1, 1), "/dataloader_idx_1")
    assert first["values"] == {**one, **other}


def test_unknown_samplers_count_all_and_warn_once(outcome: Outcome) -> None:
    results = outcome(_samplers)
    twice = [0, 1, 2, 3, 4, 4, 5, 6, 7, 8]
    for result in results:
        assert result["Halves"] == by_hand(*pictures())
        assert result["Padded"] == by_hand(*(images[twice] for images in pictures()))
        assert result["wrapped"] == by_hand(*(images[:6] for images in pictures()))
    assert [result["Halves_warnings"] for result in results] == [1, 0]  # rank 0 speaks for all


def test_checkpoints_and_early_stopping_see_one_value(outcome: Outcome) -> None:
    first, second = outcome(_fit)
    assert first == second
    best = by_hand(*faded(0.4))
    assert first["score"] == best["quality/vit"]
    assert first["path"].startswith("epoch=1")
    assert first["epochs"] == 4
    assert first["best"]["quality/psnr"] == {"value": best["quality/psnr"], "epoch": 1}
    assert first["tested"] == by_hand(*pictures())


def test_the_worst_images_of_both_ranks(outcome: Outcome) -> None:
    preds, target = pictures()
    measures = {"vit": vit_by_hand, "psnr": lambda *pair: -psnr_by_hand(*pair)}
    for case, measure in measures.items():
        scores = [measure(preds[i : i + 1], target[i : i + 1]) for i in range(9)]
        order = sorted(range(9), key=lambda i: -scores[i])[:4]
        assert len({i % 2 for i in order}) == 2  # both ranks have some
        for result in outcome(_worst):
            names = [f"{case}_worst_{place:02d}_index_{i}.png" for place, i in enumerate(order, 1)]
            assert list(result[case]) == names
            for name, i in zip(names, order, strict=True):
                panel = (target[i] * 255).round().to(torch.uint8).permute(1, 2, 0)
                assert torch.equal(result[case][name][22:, :32], panel)


def test_what_is_not_finite_on_one_rank_is_left_out_on_both(outcome: Outcome) -> None:
    kept = [0, 1, 2, 4, 5, 6, 7, 8]
    first, second = outcome(_not_finite)
    assert first == second
    share = {"quality/share_not_finite": pytest.approx(1 / 9)}
    assert first["values"] == {**by_hand(*(images[kept] for images in pictures())), **share}
