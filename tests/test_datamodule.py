"""Rated pairs for training: splits by reference, batches of one size, tiles, and a Lightning trainer around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from rated_pairs_batches import Epoch, RatedPairsDataset, SameSizeBatchSampler
from rated_pairs_module import RatedPairsModule
from torch import nn
from torch.utils.data import DistributedSampler

from tests.conftest import ASSETS, needs
from tests.lightning_tools import QUIET
from torchmetrics_fmiqa.data.rated_csv import RatedPair, RatedPairs, read_rated_csv

SIZES = ((16, 20), (16, 20), (24, 18), (24, 18), (16, 16))


def picture(path: Path, size: tuple[int, int], brighter: int = 0, dtype: Any = np.uint8) -> Path:
    """An image whose pixel at (y, x) is (y, x, ``brighter``)."""
    rows, cols = np.mgrid[: size[0], : size[1]]
    array = np.stack([rows, cols, np.full(size, brighter)], -1).astype(dtype)
    Image.fromarray(array).save(path)
    return path


@pytest.fixture
def rated(tmp_path) -> RatedPairs:
    """Five references of three sizes; four distorted versions of each, which say their number in blue."""
    pairs = []
    for r, size in enumerate(SIZES):
        ref = picture(tmp_path / f"ref{r}.png", size, 200 + r)
        for d in range(4):
            number = 4 * r + d
            dist = picture(tmp_path / f"dist{r}_{d}.png", size, number)
            pairs.append(RatedPair(ref, dist, number / 2, "blur" if d % 2 else "noise"))
    return RatedPairs("made-up", tuple(pairs), True, "flag", root=tmp_path)


def ready(rated: RatedPairs, stage: str | None = None, **options: Any) -> RatedPairsModule:
    module = RatedPairsModule(rated, **{"batch_size": 3, **options})
    module.setup(stage)
    return module


def numbers(loader: Any, key: str = "index") -> list[list[Any]]:
    return [[tuple(one) if isinstance(one, list) else one for one in batch[key].tolist()] for batch in loader]


def flat(batches: list[list[Any]]) -> list[Any]:
    return [one for batch in batches for one in batch]


# Splits ---------------------------------------------------------------------------------------------------------------


def test_no_reference_is_in_two_splits(rated):
    module = ready(rated)
    loaders = (module.train_dataloader(), module.val_dataloader(), module.test_dataloader())
    refs = [{ref for batch in loader for ref in batch["reference"].tolist()} for loader in loaders]
    assert [len(one) for one in refs] == [3, 1, 1]
    assert set.union(*refs) == set(range(5))
    assert sorted(index for loader in loaders for index in flat(numbers(loader))) == list(range(20))


def test_the_seed_decides_the_split_and_the_order_of_pairs_does_not(rated):
    one = RatedPairsModule(rated, seed=3).references
    assert RatedPairsModule(rated.select(reversed(range(20))), seed=3).references == one
    assert len({tuple(RatedPairsModule(rated, seed=seed).references["train"]) for seed in range(9)}) > 3


@pytest.mark.parametrize(
    ("shares", "counts"),
    [
        ((0.8, 0.2, 0.0), [4, 1, 0]),
        ((0.98, 0.01, 0.01), [3, 1, 1]),
        ((0, 0, 1), [0, 0, 5]),
        ((0.5, 0.3, 0.2), [3, 1, 1]),
    ],
)
def test_shares_of_references(rated, shares, counts):
    module = ready(rated, split=shares)
    assert [len(module.references[name]) for name in ("train", "val", "test")] == counts
    loaders = [module.train_dataloader(), module.val_dataloader(), module.test_dataloader()]
    assert [len(loader) > 0 for loader in loaders] == [count > 0 for count in counts]


def test_a_given_split(rated, tmp_path):
    split = {"train": ["ref0", "ref1.png"], "test": [tmp_path / "ref4.png"]}
    module = ready(rated, split=split)
    assert [[ref.stem for ref in module.references[name]] for name in ("train", "val", "test")] == [
        ["ref0", "ref1"],
        [],
        ["ref4"],
    ]
    assert sorted(flat(numbers(module.train_dataloader()))) == list(range(8))
    assert module.val_dataloader() == []


@pytest.mark.parametrize(
    ("split", "error"),
    [
        ({"train": ["ref0"], "val": ["ref0.png"]}, "names the reference .*ref0.png' twice"),
        ({"train": ["ref9"]}, "`split`: 'ref9' is no reference; made-up has 5 references"),
        ({"fit": ["ref0"]}, "`split` has the keys train, val, test, got 'fit'"),
        ((0.5, 0.5), "`split` must be three shares that sum to 1"),
        ((0.5, 0.6, -0.1), "`split` must be three shares that sum to 1"),
        ((0.5, 0.6, 0.1), "`split` must be three shares that sum to 1"),
    ],
)
def test_a_split_that_cannot_be(rated, split, error):
    with pytest.raises(ValueError, match=error):
        RatedPairsModule(rated, split=split)


def test_too_few_references(rated):
    with pytest.raises(ValueError, match="made-up has 2 references, too few for 3 splits"):
        RatedPairsModule(rated.select(range(8)))


def test_a_name_that_means_two_references(rated, tmp_path):
    (tmp_path / "deep").mkdir()
    twin = picture(tmp_path / "deep" / "ref0.png", (16, 16))
    both = RatedPairs("two", (*rated.pairs, RatedPair(twin, twin, 1.0)), True, "flag", root=tmp_path)
    with pytest.raises(ValueError, match=r"'ref0' means .*ref0\.png and .*ref0\.png"):
        RatedPairsModule(both, split={"train": ["ref0"]})
    module = RatedPairsModule(both, split={"train": ["ref1"], "val": ["deep/ref0.png"]})
    assert module.references["val"] == (twin,)


# Batches --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_has_one_size_and_an_epoch_every_sample_once(rated, workers):
    module = ready(rated, "fit", split=(0.8, 0.2, 0), num_workers=workers)
    loader = module.train_dataloader()
    found = []
    for batch in loader:
        assert batch["preds"].shape == batch["target"].shape
        assert {SIZES[ref] for ref in batch["reference"].tolist()} == {tuple(batch["preds"].shape[2:])}
        assert len(batch["index"]) <= 3
        found += batch["index"].tolist()
    refs = set(module.references["train"])
    assert sorted(found) == [index for index, pair in enumerate(rated.pairs) if pair.ref in refs]
    assert len(loader) == len(numbers(loader))


def test_what_a_batch_holds(rated):
    batch = next(iter(ready(rated, split=(1, 0, 0)).train_dataloader()))
    assert set(batch) == {"preds", "target", "opinion", "reference", "index", "type"}
    assert batch["preds"].dtype == batch["target"].dtype == batch["opinion"].dtype == torch.float32
    assert batch["reference"].dtype == batch["index"].dtype == torch.int64
    for place, index in enumerate(batch["index"].tolist()):
        pair = rated.pairs[index]
        assert batch["opinion"][place] == pair.opinion
        assert batch["type"][place] == pair.type
        assert rated.references[batch["reference"][place]] == pair.ref
        assert torch.equal(batch["preds"][place, 2] * 255, torch.full_like(batch["preds"][place, 2], index))
        assert batch["target"][place, 2, 0, 0] * 255 == 200 + batch["reference"][place]


def test_seed_and_epoch_decide_the_order(rated):
    def order(epoch: int, **options: Any) -> list[list[int]]:
        loader = ready(rated, "fit", split=(1, 0, 0), **options).train_dataloader()
        loader.batch_sampler.sampler.set_epoch(epoch)
        return numbers(loader)

    assert order(0) == order(0) == order(0, num_workers=2)
    assert order(1) == order(1)
    assert len({str(order(epoch)) for epoch in range(4)} | {str(order(0, seed=1))}) == 5
    assert order(0) != sorted(order(0))


def test_validation_keeps_its_order(rated):
    loader = ready(rated, split=(0, 1, 0)).val_dataloader()
    batches = numbers(loader)
    loader.batch_sampler.sampler.set_epoch(7)
    assert (
        batches
        == numbers(loader)
        == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9, 10], [11, 12, 13], [14, 15], [16, 17, 18], [19]]
    )


def test_incomplete_batches_can_be_left_out_of_training(rated):
    module = ready(rated, split={"train": ["ref0", "ref2"], "val": ["ref4"]}, drop_last=True)
    assert [len(batch) for batch in numbers(module.train_dataloader())] == [3, 3]
    assert [len(batch) for batch in numbers(module.val_dataloader())] == [3, 1]


@pytest.mark.parametrize("ranks", [2, 3, 16])
@pytest.mark.parametrize("shuffle", [True, False])
def test_ranks_share_out_whole_batches(ranks, shuffle):
    sizes = [SIZES[n % 5] for n in range(23)]
    alone = list(SameSizeBatchSampler(Epoch(23), sizes, 3, shuffle=shuffle, seed=5))
    dealt = []
    for rank in range(ranks):
        sampler = DistributedSampler(range(23), num_replicas=ranks, rank=rank)  # type: ignore[arg-type]
        batches = SameSizeBatchSampler(sampler, sizes, 3, shuffle=shuffle, seed=5)
        dealt.append(list(batches))
        assert len(dealt[-1]) == len(batches)
    lengths = {len(one) for one in dealt}
    assert lengths == {-(-len(alone) // ranks)} if shuffle else min(lengths) > 0
    together = [batch for one in dealt for batch in one]
    assert {str(batch) for batch in together} == {str(batch) for batch in alone}
    if not shuffle and ranks < len(alone):
        assert len(together) == len(alone)


# Images ---------------------------------------------------------------------------------------------------------------


def test_bytes_as_they_are_stored(rated):
    batch = next(iter(ready(rated, split=(0, 1, 0), image_type="uint8").val_dataloader()))
    assert batch["preds"].dtype == torch.uint8
    assert batch["target"][0, :, 5, 7].tolist() == [5, 7, 200]


def test_sixteen_bits(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 65535, np.uint16)).save(path)
    rated = RatedPairs("deep", (RatedPair(path, path, 1.0),), True, "flag")
    assert RatedPairsDataset(rated, to_rgb=True)[0]["preds"].max() == 1
    with pytest.raises(ValueError, match=r"the pair .*deep\.png' .* has 16 bits: give image_type='float32'"):
        RatedPairsDataset(rated, to_rgb=True, image_type="uint8")[0]


def test_pairs_of_two_sizes(rated, tmp_path):
    pair = RatedPair(rated.references[0], picture(tmp_path / "less.png", (15, 19), 9), 1.0)
    other = RatedPairs("two", (*rated.pairs, pair), True, "flag")
    error = r"the pair '.*less\.png' and its reference '.*ref0\.png' differ in size, 16x20 and 15x19 \(H x W\)"
    with pytest.raises(ValueError, match=error):
        ready(other, split=(1, 0, 0))
    cropped = RatedPairsDataset(other, match="crop")
    assert cropped[20]["preds"].shape == cropped[20]["target"].shape == (3, 15, 19)
    assert cropped.sizes[20] == (15, 19)
    resized = RatedPairsDataset(other, match="resize")
    assert resized[20]["preds"].shape == (3, 16, 20)
    assert resized.sizes[20] == (16, 20)
    for batch in ready(other, split=(1, 0, 0), match="crop").train_dataloader():
        assert batch["preds"].shape == batch["target"].shape


def test_a_file_that_cannot_be_read(rated):
    rated.pairs[3].dist.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"cannot read the image '.*dist0_3\.png': .*rated\.verified\(\) finds"):
        ready(rated, split=(1, 0, 0))
    checked = rated.verified()
    assert len(ready(checked, split=(1, 0, 0)).datasets["train"]) == 19
    assert [problem.name for problem in checked.missing] == ["dist0_3.png"]


# Tiles ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_tiles_lie_at_one_place_in_both_images(rated, workers):
    module = ready(rated, split=(0.6, 0.4, 0), tile=8, tiles_per_image=2, num_workers=workers)
    for loader in (module.train_dataloader(), module.val_dataloader()):
        for batch in loader:
            assert batch["preds"].shape[1:] == (3, 8, 8)
            assert torch.equal(batch["preds"][:, :2], batch["target"][:, :2])  # the pixel's own place
            assert torch.equal((batch["preds"][:, :2, 0, 0] * 255).round().long(), batch["corner"])
            assert torch.equal((batch["preds"][:, 2, 0, 0] * 255).round().long(), batch["index"])


def test_random_tiles_change_with_the_epoch_and_the_seed_only(rated):
    def corners(epoch: int, **options: Any) -> list[tuple[int, tuple[int, int]]]:
        loader = ready(rated, "fit", split=(1, 0, 0), tile=8, tiles_per_image=3, **options).train_dataloader()
        loader.batch_sampler.sampler.set_epoch(epoch)
        return sorted(zip(flat(numbers(loader)), flat(numbers(loader, "corner")), strict=True))

    first = corners(0)
    assert [index for index, _ in first] == sorted([*range(20)] * 3)
    assert first == corners(0, num_workers=2) == corners(0, batch_size=5)
    assert len({str(first), str(corners(1)), str(corners(0, seed=1))}) == 3
    assert {y for _, (y, x) in first} >= {0, 4, 8}


def test_regular_tiles_cover_the_image(rated):
    module = ready(rated, split=(0, 1, 0), tile=8)
    covered = {index: np.zeros(SIZES[index // 4]) for index in range(20)}
    for batch in module.val_dataloader():
        for index, (y, x) in zip(batch["index"].tolist(), batch["corner"].tolist(), strict=True):
            covered[index][y : y + 8, x : x + 8] += 1
    assert all((cover > 0).all() for cover in covered.values())
    assert covered[16].max() == 1  # 16x16 in four tiles


def test_an_image_smaller_than_a_tile(rated):
    with pytest.raises(ValueError, match=r"the pair '.*dist0_0\.png' .* has 16x20 pixels, fewer than a tile of 17"):
        ready(rated, split=(1, 0, 0), tile=17)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tile": 0}, "`tile` must be a whole number of at least 1, got 0"),
        ({"tiles_per_image": 1.5}, "`tiles_per_image` must be a whole number of at least 1, got 1.5"),
        ({"match": "pad"}, "`match` must be None, 'crop' or 'resize', got 'pad'"),
        ({"image_type": "float16"}, "`image_type` must be 'float32' or 'uint8', got 'float16'"),
        ({"match": "resize", "image_type": "uint8"}, "match='resize' gives values between bytes"),
        ({"batch_size": 0}, "`batch_size` must be a whole number of at least 1, got 0"),
        ({"num_workers": -1}, "`num_workers` must be a whole number of at least 0, got -1"),
    ],
)
def test_options_that_do_not_fit(rated, options, error):
    with pytest.raises(ValueError, match=error):
        RatedPairsModule(rated, **options)


def test_a_loader_before_setup(rated):
    with pytest.raises(ValueError, match=r"call setup\(\) before train_dataloader\(\)"):
        RatedPairsModule(rated).train_dataloader()
    with pytest.raises(ValueError, match="`tiles` must be 'random' or 'regular'"):
        RatedPairsDataset(rated, tile=8, tiles="some")  # type: ignore[arg-type]


# Lightning ------------------------------------------------------------------------------------------------------------


class Judge(LightningModule):
    """Learns opinion from the mean difference, and takes note of what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(1, 1)
        self.seen: list[tuple[int, list[int]]] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch["index"].tolist()))
        difference = (batch["preds"] - batch["target"]).abs().mean((1, 2, 3))
        return (self.scale(difference[:, None])[:, 0] - batch["opinion"]).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("difference", (batch["preds"] - batch["target"]).abs().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 1e-3)


def test_one_step_of_a_trainer(rated):
    judge = Judge()
    trainer = Trainer(**QUIET, limit_train_batches=1)
    trainer.fit(judge, datamodule=RatedPairsModule(rated, batch_size=4, split=(0.8, 0.2, 0)))
    assert trainer.global_step == 1
    assert len(judge.seen) == 1
    assert trainer.callback_metrics["difference"] > 0


def test_a_trainer_tells_the_epoch(rated):
    def fit() -> Judge:
        judge = Judge()
        Trainer(**{**QUIET, "max_epochs": 3}).fit(judge, datamodule=RatedPairsModule(rated, 4, split=(1, 0, 0), tile=8))
        return judge

    judge = fit()
    epochs = [[index for epoch, indices in judge.seen if epoch == e for index in indices] for e in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(20))] * 3
    assert len({str(epoch) for epoch in epochs}) == 3
    assert judge.seen == fit().seen


def test_the_stages_of_a_trainer(rated):
    module = RatedPairsModule(rated, split=(0.6, 0.2, 0.2))
    Trainer(**QUIET).validate(Judge(), module, verbose=False)
    assert set(module.datasets) == {"val"}
    module.setup("test")
    assert set(module.datasets) == {"val", "test"}


def test_real_pairs():
    rated = read_rated_csv(needs(ASSETS / "iqa" / "live58" / "pairs.csv"))
    module = ready(rated, "fit", batch_size=8, split=(0.8, 0.2, 0), tile=224)
    batch = next(iter(module.train_dataloader()))
    assert batch["preds"].shape == (8, 3, 224, 224)
    assert 0 < (batch["preds"] - batch["target"]).abs().mean() < 0.2
    whole = ready(rated, "fit", batch_size=8, split=(0.8, 0.2, 0)).train_dataloader()
    assert sum(len(indices) for indices in whole.batch_sampler) == len(whole.dataset)
