"""QualityMonitor in one process, and over simulated ranks: each id counts once, whatever rank and batch it came in."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from torchmetrics.wrappers import MinMaxMetric

from tests.conftest import RANDOM_VIT
from tests.lightning_tools import loader, pictures, psnr_by_hand, validate, vit, vit_by_hand
from tests.simulated_ranks import ranks
from torchmetrics_fmiqa import ImageQualityMonitor, QualityMonitor
from torchmetrics_fmiqa.features.network import load_network
from torchmetrics_fmiqa.monitoring import QualityReport
from torchmetrics_fmiqa.monitoring.samples import Sample, first_of_each
from torchmetrics_fmiqa.recipes import as_recipe


@pytest.fixture(scope="module", autouse=True)
def network() -> Any:
    return load_network(RANDOM_VIT["backbone"], RANDOM_VIT["weights"])


def psnr() -> PeakSignalNoiseRatio:
    return PeakSignalNoiseRatio(data_range=1.0)


def metrics() -> dict[str, Metric]:
    return {"vit": vit(), "psnr": psnr(), "ssim": StructuralSimilarityIndexMeasure(data_range=1.0, kernel_size=5)}


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-5, abs=1e-6)


def by_hand(preds: Tensor, target: Tensor) -> dict[str, Any]:
    ssim = StructuralSimilarityIndexMeasure(data_range=1.0, kernel_size=5)(preds, target)
    return {
        "vit": near(vit_by_hand(preds, target)),
        "psnr": near(psnr_by_hand(preds, target)),
        "ssim": near(float(ssim)),
        "share_outside": near(float(((preds < 0) | (preds > 1)).double().mean())),
    }


def stretched(n: int = 9) -> tuple[Tensor, Tensor]:
    """Pairs of which a part of the predictions lies outside [0, 1]."""
    preds, target = pictures(n)
    return 1.2 * preds - 0.1, target


def stepped(monitor: QualityMonitor, batches: Sequence[Sequence[int]], with_ids: bool = True, n: int = 9) -> None:
    preds, target = stretched(n)
    for places in batches:
        if places:
            monitor.step(preds[list(places)], target[list(places)], list(places) if with_ids else None)


def worst_first(n: int) -> list[int]:
    preds, target = stretched(n)
    scores = [vit_by_hand(preds[i : i + 1], target[i : i + 1]) for i in range(n)]
    return sorted(range(n), key=lambda i: -scores[i])


# Numbers


@pytest.mark.parametrize("with_ids", [False, True])
@pytest.mark.parametrize("size", [1, 4, 9])
def test_numbers_are_those_of_all_images(size: int, with_ids: bool) -> None:
    monitor = QualityMonitor(metrics(), worst=3)
    stepped(monitor, [range(9)[first : first + size] for first in range(0, 9, size)], with_ids)
    report = monitor.report()
    assert report.numbers == by_hand(*stretched())
    assert (report.samples, report.repeated, report.worst_by) == (9, 0, "vit")
    names = worst_first(9)[:3] if with_ids else [f"step {i // size}-{i % size}" for i in worst_first(9)[:3]]
    assert [image.id for image in report.worst] == names


def test_numbers_are_those_of_the_lightning_monitor() -> None:
    monitor = QualityMonitor(metrics())
    preds, target = pictures()
    for first in range(0, 9, 4):
        monitor.step(preds[first : first + 4], target[first : first + 4])
    logged = validate(ImageQualityMonitor(metrics(), preds="lq"), loader())
    assert {f"quality/{name}": number for name, number in monitor.report().numbers.items()} == logged


@st.composite
def splits(draw: Any) -> tuple[int, list[list[list[int]]]]:
    """How many samples there are, and which of them each rank gets, batch by batch, with repeats."""
    n, count = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    dealt = [draw(st.lists(st.integers(0, n - 1), max_size=5)) for _ in range(count)]
    for missing in set(range(n)) - {place for own in dealt for place in own}:
        dealt[draw(st.integers(0, count - 1))].append(missing)
    size = draw(st.integers(1, 4))
    return n, [[own[first : first + size] for first in range(0, len(own), size)] for own in dealt]


@settings(max_examples=40, deadline=None)
@given(splits())
def test_any_split_over_ranks_with_any_padding_gives_the_numbers_of_one_process(split: Any) -> None:
    n, of_ranks = split
    alone = QualityMonitor(metrics(), worst=2, maps=False)
    stepped(alone, [range(n)], n=n)
    expected = alone.report()

    def work(rank: int) -> QualityReport:
        monitor = QualityMonitor(metrics(), worst=2, maps=False)
        stepped(monitor, of_ranks[rank], n=n)
        return monitor.report()

    with ranks(len(of_ranks)) as run:
        reports = run(work)
    total = sum(len(batch) for batches in of_ranks for batch in batches)
    for rank, report in enumerate(reports):
        assert report.numbers == {name: near(value) for name, value in expected.numbers.items()}
        assert (report.samples, report.repeated) == (n, total - n)
        assert {name: dict(sorted(scores.items())) for name, scores in report.scores.items()} == {
            name: {label: near(score) for label, score in sorted(scores.items())}
            for name, scores in expected.scores.items()
        }
        assert [one.id for one in report.worst] == ([] if rank else [one.id for one in expected.worst])


def test_without_ids_every_sample_counts_over_ranks() -> None:
    def work(rank: int) -> QualityReport:
        monitor = QualityMonitor(metrics(), worst=9, maps=False)
        stepped(monitor, [[0, 1, 2], [0]] if rank else [[3, 4]], with_ids=False)
        return monitor.report()

    with ranks(2) as run:
        first, second = run(work)
    preds, target = stretched()
    places = [3, 4, 0, 1, 2, 0]
    assert first.numbers == second.numbers == by_hand(preds[places], target[places])
    assert (first.samples, first.repeated) == (6, 0)
    assert sorted(one.id for one in first.worst)[:2] == ["rank 0 step 0-0", "rank 0 step 0-1"]


def test_ids_on_one_rank_alone_do_not_hang_and_are_told() -> None:
    def work(rank: int) -> QualityReport:
        monitor = QualityMonitor(metrics(), worst=0)
        stepped(monitor, [[0, 1, 1]] if rank else [[0, 1], [0]], with_ids=rank == 0)
        return monitor.report()

    with ranks(2) as run, pytest.warns(UserWarning, match="3 samples came without an id and others with one"):
        first, second = run(work)
    preds, target = stretched()
    assert first.numbers == second.numbers == by_hand(preds[[0, 1, 0, 1, 1]], target[[0, 1, 0, 1, 1]])


@pytest.mark.parametrize("other", [{"metrics": {"vit": vit(distance="l2")}}, {"worst": 3}, {"crop_border": 2}])
def test_ranks_that_measure_differently_are_told_on_each(other: dict[str, Any]) -> None:
    def work(rank: int) -> Any:
        monitor = QualityMonitor(**{"metrics": {"vit": vit()}, "maps": False, **(other if rank else {})})
        stepped(monitor, [[0]])
        with pytest.raises(ValueError, match=r"rank 0 and .* on rank 1\. Give every rank the same monitor"):
            monitor.report()
        return True

    with ranks(2) as run:
        assert run(work) == [True, True]


class PerImage(Metric):
    """A metric whose result is no single number, and whose state is a list of odd lengths."""

    higher_is_better, full_state_update = None, False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("values", [], dist_reduce_fx="cat")
        self.add_state("highest", torch.tensor(-1.0), dist_reduce_fx="max")

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.values.append((preds - target).abs().flatten())
        self.highest = torch.maximum(self.highest, preds.max())

    def compute(self) -> dict[str, Tensor]:
        values = torch.cat(self.values) if isinstance(self.values, list) else self.values
        return {"median": values.median(), "highest": self.highest, "all": values}


@pytest.mark.parametrize("count", [1, 2])
def test_states_of_every_kind_are_joined(count: int) -> None:
    def work(rank: int) -> dict[str, float]:
        monitor = QualityMonitor({"vit": vit(), "own": PerImage(), "range": MinMaxMetric(psnr())}, maps=False)
        stepped(monitor, [[0, 1, 2], [2, 3]] if rank == 0 else [[3, 4]])
        if count == 1:
            stepped(monitor, [[4, 3]])
        return dict(monitor.report().numbers)

    with ranks(count) as run, pytest.warns(UserWarning, match="'own/all' is no single number"):
        results = run(work)
    preds, target = (images[:5] for images in stretched())
    for numbers in results:
        assert numbers["own/median"] == near(float((preds - target).abs().median()))
        assert numbers["own/highest"] == near(float(preds.max()))
        assert numbers["range/raw"] == near(psnr_by_hand(preds, target))
        assert "own/all" not in numbers


@pytest.mark.parametrize("count", [1, 2])
def test_a_wrapped_metric_is_measured_without_ids_too(count: int) -> None:
    def work(rank: int) -> dict[str, float]:
        monitor = QualityMonitor({"vit": vit(), "range": MinMaxMetric(psnr())}, maps=False)
        stepped(monitor, [[0, 1], [2]] if rank == count - 1 else [], with_ids=False)
        return dict(monitor.report().numbers)

    with ranks(count) as run:
        results = run(work)
    for numbers in results:
        assert numbers["range/raw"] == near(psnr_by_hand(*(images[:3] for images in stretched())))


# As a stranger would


def test_a_report_of_nothing_is_empty_and_told() -> None:
    monitor = QualityMonitor(vit())
    with pytest.warns(UserWarning, match="a report without a sample"):
        report = monitor.report()
    assert (report.numbers, report.worst, report.samples) == ({}, (), 0)
    assert str(report) == "0 samples: no numbers"


def test_steps_go_on_after_a_report_until_the_reset() -> None:
    monitor = QualityMonitor(metrics(), maps=False)
    stepped(monitor, [[0, 1]])
    assert monitor.report().numbers == monitor.report().numbers == by_hand(*(images[:2] for images in stretched()))
    stepped(monitor, [[1, 2]])
    assert monitor.report().numbers == by_hand(*(images[:3] for images in stretched()))
    monitor.reset()
    stepped(monitor, [[4]])
    report = monitor.report()
    assert report.numbers == by_hand(*(images[4:5] for images in stretched()))
    assert [one.id for one in report.worst] == [4]


def test_ids_that_start_anew_in_each_batch_are_told() -> None:
    monitor = QualityMonitor(psnr(), worst=0)
    preds, target = pictures()
    monitor.step(preds[:3], target[:3], torch.arange(3))
    monitor.step(preds[3:6], target[3:6], torch.arange(3))
    with pytest.warns(UserWarning, match=r"3 ids came with several references.*not its place in the batch"):
        assert monitor.report().samples == 3


def test_one_id_with_several_references_on_several_ranks_is_told() -> None:
    def work(rank: int) -> int:
        monitor = QualityMonitor(psnr(), worst=0)
        preds, target = pictures()
        monitor.step(preds[rank : rank + 1], target[rank : rank + 1], [7])
        return monitor.report().samples

    with ranks(2) as run, pytest.warns(UserWarning, match="1 ids came with several references"):
        assert run(work) == [1, 1]


@pytest.mark.parametrize(
    "ids",
    [torch.tensor([5, 3, 5]), np.array([5, 3, 5]), [5, 3, 5], ("b.png", "a.png", "b.png")],
    ids=["tensor", "array", "list", "texts"],
)
def test_ids_are_whole_numbers_or_texts(ids: Any) -> None:
    monitor = QualityMonitor(metrics(), worst=2, maps=False)
    preds, target = stretched(2)
    places = [0, 1, 0]
    monitor.step(preds[places], target[places], ids)
    report = monitor.report()
    assert report.numbers == by_hand(preds, target)
    assert {one.id for one in report.worst} == set(np.asarray(ids).tolist())
    assert report.worst[0].name in ("b.png", "id 5")


WRONG_IDS: dict[str, tuple[Any, str]] = {
    "too_few": ([1], "`ids` must be 2 whole numbers"),
    "floats": (torch.rand(2), "`ids` must be 2 whole numbers, got torch.float32"),
    "negative": ([-1, 2], "`ids` must be at least 0, got -1"),
    "mixed": (["a", 2], "`ids` must be 2 whole numbers or 2 texts"),
    "one_text": (["a"], "`ids` must be 2 whole numbers or 2 texts"),
}


@pytest.mark.parametrize("case", WRONG_IDS)
def test_wrong_ids_are_named(case: str) -> None:
    ids, message = WRONG_IDS[case]
    monitor = QualityMonitor(psnr())
    with pytest.raises(ValueError, match=message):
        monitor.step(*pictures(2), ids)


WRONG_IMAGES: dict[str, tuple[Any, str]] = {
    "arrays": ((np.zeros((1, 3, 8, 8)), np.zeros((1, 3, 8, 8))), "must be tensors .*, got ndarray and ndarray"),
    "swapped_ids": (([0, 1], torch.rand(2, 3, 32, 32)), r"`preds\[0\]` must be a tensor"),
    "shapes": ((torch.rand(2, 3, 32, 32), torch.rand(2, 3, 16, 16)), "must have one shape"),
    "empty": ((torch.rand(0, 3, 8, 8), torch.rand(0, 3, 8, 8)), "leave out empty batches"),
    "target_range": ((torch.rand(1, 3, 32, 32), 255 * torch.rand(1, 3, 32, 32)), "`target` spans"),
}


@pytest.mark.parametrize("case", WRONG_IMAGES)
def test_wrong_images_are_named(case: str) -> None:
    images, message = WRONG_IMAGES[case]
    with pytest.raises(ValueError, match=message):
        QualityMonitor(vit()).step(*images)


def test_swapped_arguments_are_told_where_a_gradient_shows_it() -> None:
    preds, target = pictures(1)
    with pytest.warns(UserWarning, match=r"is the order \(preds, target\)"):
        QualityMonitor(psnr()).step(target, preds.requires_grad_())


@pytest.mark.parametrize("with_ids", [False, True])
def test_predictions_that_are_not_finite(with_ids: bool) -> None:
    preds, target = stretched(4)
    preds[1, 0, 0, 0], preds[3] = float("nan"), float("inf")
    ids = list(range(4)) if with_ids else None
    with pytest.raises(ValueError, match=r"2 of 4 predictions .* NaN or infinite"):
        QualityMonitor(metrics()).step(preds, target, ids)
    monitor = QualityMonitor(metrics(), nan_strategy="warn", maps=False)
    with pytest.warns(UserWarning, match="they are left out"):
        monitor.step(preds, target, ids)
    assert monitor.report().numbers == {**by_hand(preds[[0, 2]], target[[0, 2]]), "share_not_finite": 0.5}


def test_of_samples_with_one_id_the_first_finite_one_counts() -> None:
    ranks = [
        {1: Sample(0.5, False), 2: Sample(0.5, True)},
        {1: Sample(0.5, True)},
        {1: Sample(0.5, True), 2: Sample(0.5, True)},
    ]
    _, owners, _ = first_of_each(ranks)
    assert owners == {1: 1, 2: 0}


def test_an_id_that_is_finite_on_one_rank_counts() -> None:
    def work(rank: int) -> QualityReport:
        monitor = QualityMonitor(metrics(), nan_strategy="ignore", maps=False)
        preds, target = stretched(2)
        if rank == 0:
            preds[1] = float("nan")
        monitor.step(preds, target, [0, 1])
        return monitor.report()

    with ranks(2) as run:
        reports = run(work)
    for report in reports:
        assert report.numbers == {**by_hand(*stretched(2)), "share_not_finite": 0.0}
        assert (report.samples, report.repeated) == (2, 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floating_point_types(dtype: torch.dtype) -> None:
    preds, target = (images.to(dtype) for images in pictures(3))
    monitor = QualityMonitor(metrics(), maps=False)
    monitor.step(preds, target, [0, 1, 2])
    assert monitor.report().numbers == by_hand(preds.float(), target.float())


def test_bytes() -> None:
    preds, target = ((images * 255).round().to(torch.uint8) for images in pictures(3))
    monitor = QualityMonitor({"vit": vit(), "psnr": PeakSignalNoiseRatio(data_range=255.0)})
    monitor.step(preds, target, [0, 1, 2])
    expected = by_hand(preds / 255, target / 255)
    assert monitor.report().numbers == {name: expected[name] for name in ("vit", "psnr", "share_outside")}


def test_lists_of_several_sizes() -> None:
    pairs = [tuple(images[0] for images in pictures(1, seed, side, 40)) for seed, side in enumerate((32, 48, 32))]
    monitor = QualityMonitor(metrics(), worst=3)
    monitor.step([preds for preds, _ in pairs], [target for _, target in pairs], [4, 9, 2])
    report = monitor.report()
    scores = [vit_by_hand(preds[None], target[None]) for preds, target in pairs]
    assert report.numbers["vit"] == near(sum(scores) / 3)
    assert report.scores["vit"] == {label: near(score) for label, score in zip((4, 9, 2), scores, strict=True)}
    assert all(picture.dtype == np.uint8 for picture in report.pictures())


def test_inference_mode_may_come_and_go() -> None:
    monitor = QualityMonitor(metrics(), maps=False)
    preds, target = stretched(4)
    for place in range(4):
        with torch.inference_mode(place % 2 == 0):
            monitor.step(
                preds[place : place + 1] * 1.0, target[place : place + 1] * 1.0, [place] if place < 3 else None
            )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*came without an id")
        assert monitor.report().numbers == by_hand(preds, target)


@pytest.mark.parametrize("options", [{}, {"reference_version": "v1"}])
def test_the_cache_hits_in_the_second_validation(options: dict[str, Any]) -> None:
    monitor = QualityMonitor(metrics(), cache_references="1GiB", **options)
    for hit_rate in (0.0, 1.0):
        stepped(monitor, [[0, 1, 2], [3, 4, 0]])
        assert monitor.report().numbers == by_hand(*(images[:5] for images in stretched()))
        assert monitor.cache is not None
        assert monitor.cache.report()["hit_rate"] == hit_rate
        monitor.reset()


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (lambda: as_recipe("default", **RANDOM_VIT), ["Recipe"]),
        (lambda: MetricCollection({"vit": vit(), "psnr": psnr()}, prefix="a_"), ["a_psnr", "a_vit"]),
        (lambda: [vit(), psnr()], ["FeatureDistance", "PeakSignalNoiseRatio"]),
        (lambda: vit(per_layer=True), ["FeatureDistance/blocks.0", "FeatureDistance/blocks.1"]),
    ],
    ids=["recipe", "collection", "list", "per_layer"],
)
@pytest.mark.parametrize("with_ids", [False, True])
def test_metrics_come_in_many_forms(given: Any, names: list[str], with_ids: bool) -> None:
    monitor = QualityMonitor(given(), worst=1)
    stepped(monitor, [[0, 1]], with_ids)
    assert sorted(monitor.report().numbers) == sorted([*names, "share_outside"])


def test_a_process_alone_in_a_started_world_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monitor = QualityMonitor(psnr())
    stepped(monitor, [[0]])
    with pytest.warns(UserWarning, match="torch.distributed is not initialized"):
        monitor.report()


def test_a_monitor_pickles_in_the_middle() -> None:
    monitor = QualityMonitor(metrics(), maps=False)
    stepped(monitor, [[0, 1]])
    again = pickle.loads(pickle.dumps(monitor))
    stepped(again, [[1, 2]])
    assert again.report().numbers == by_hand(*(images[:3] for images in stretched()))


def test_no_lightning_is_loaded() -> None:
    code = """
import sys, torch
from torchmetrics_fmiqa import QualityMonitor
monitor = QualityMonitor(worst=1)
monitor.step(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32), ["a"])
monitor.report().pictures()
print([name for name in ("lightning", "pytorch_lightning") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Intervals


def test_the_interval_of_a_mean() -> None:
    monitor = QualityMonitor(metrics(), worst=0)
    stepped(monitor, [range(9)])
    report = monitor.report()
    low, high = report.interval("vit")
    wide = report.interval("vit", 0.99)
    assert wide[0] < low < report.numbers["vit"] < high < wide[1]
    with pytest.raises(ValueError, match=r"'psnr' has no interval: it is .*, not the mean of the samples' scores"):
        report.interval("psnr")
    with pytest.raises(ValueError, match="there is no number 'lpips': take one of"):
        report.interval("lpips")
    monitor.reset()
    stepped(monitor, [[0, 1]], with_ids=False)
    with pytest.raises(ValueError, match="where every sample has an id"):
        monitor.report().interval("vit")
