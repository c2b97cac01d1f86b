"""Memory that runs out on a pair is that pair's error; what lives at once is counted."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from torchmetrics_fmiqa.data.pairs import find_pairs
from torchmetrics_fmiqa.memory import is_out_of_memory, memory_of_a_pair, peak_bytes
from torchmetrics_fmiqa.scoring import batches, score_pairs

ERRORS = [
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]


class Hungry:
    """Scores pairs, but for those as wide as 40 pixels."""

    names = columns = ("score",)
    tile_batch = 32

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, preds: Tensor, target: Tensor, crop_border: int) -> list[Tensor]:
        if preds.shape[3] == 40 or len(preds) > 2:
            raise self.error
        return [(preds.float() - target.float()).abs().mean((1, 2, 3))]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for side in ("ref", "dist"):
        (tmp_path / side).mkdir()
        for name, width in (("a", 20), ("b", 40), ("c", 20), ("d", 20), ("e", 20)):
            Image.fromarray(np.zeros((20, width, 3), np.uint8)).save(tmp_path / side / f"{name}.png")
    return tmp_path / "ref", tmp_path / "dist"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_pair_too_large_stops_no_other(folders: tuple[Path, Path], error: Exception) -> None:
    pairs = find_pairs(*folders)[0]
    found = {one.pair.dist: one for one in score_pairs(Hungry(error), pairs)}
    lost = [one for one in found.values() if one.error]
    assert [Path(one.pair.dist).name for one in lost] == ["b.png"]  # three of one size were tried one by one
    assert "20x40 pixels" in lost[0].error
    assert "resolution=tile" in lost[0].error


def test_a_picture_too_large_to_read_stops_no_other(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = batches.read_image

    def reads(path: Path, to_rgb: bool) -> Tensor:
        if Path(path).name == "c.png":
            raise MemoryError
        return read(path, to_rgb)

    monkeypatch.setattr(batches, "read_image", reads)
    pairs = find_pairs(*folders)[0]
    errors = [one.error for one in score_pairs(Hungry(MemoryError()), pairs)]
    assert [bool(error) for error in errors] == [False, True, True, False, False]


def test_other_errors_stay_what_they_are() -> None:
    assert not is_out_of_memory(RuntimeError("a bug"))
    assert not is_out_of_memory(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(RuntimeError, match="a bug"), memory_of_a_pair():
        raise RuntimeError("a bug")


def test_what_lives_at_once() -> None:
    def work() -> Tensor:
        kept = torch.ones(1000)  # 4000 bytes
        for _ in range(3):
            kept = kept.view(10, 100).mul_(2).flatten()  # nothing new
        larger = torch.cat([kept, kept])  # 8000
        del kept
        return larger.sum() + larger.double().sum()  # 16000

    assert 24000 <= peak_bytes(work) < 24100
    given = torch.ones(1000)
    assert peak_bytes(lambda: given.add_(1)) == 0
