"""HumanAgreement: the statistics as a metric, over batches, casts, collections and processes."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection, SpearmanCorrCoef
from torchmetrics.wrappers import BootStrapper, Running

from tests.processes import RANKS, Outcome
from torchmetrics_fmiqa import HumanAgreement
from torchmetrics_fmiqa.statistics import agreement

COLUMNS = ("srcc", "krcc", "plcc", "plcc_raw", "rmse", "outlier_ratio", "within_reference")
# Rows of each update, by rank.
SHARDS = {
    "uneven": (((0, 40), (40, 70)), ((70, 120),)),
    "rank_1_empty": (((0, 50), (50, 120)), ()),
    "rank_0_empty": ((), ((0, 120),)),
}


def made_up(count: int = 120, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Distances, MOS, references and types."""
    generator = torch.Generator().manual_seed(seed)
    mos = 1 + 4 * torch.rand(count, generator=generator, dtype=torch.float64)
    distances = 5 - mos + 0.5 * torch.randn(count, generator=generator, dtype=torch.float64)
    return distances, mos, torch.arange(count) % 10, torch.arange(count) // 60


def distance_metric(**options: Any) -> HumanAgreement:
    return HumanAgreement(scores_higher_is_better=False, **options)


def expected_of(distances: torch.Tensor, mos: torch.Tensor, *ids: torch.Tensor) -> dict[str, float]:
    columns = [one.numpy() for one in (distances, mos, *ids)]
    result = agreement(*columns, scores_higher_is_better=False, resamples=0)[0]
    worst = result.by_type[result.worst_type] if result.by_type else np.nan
    return {**{name: getattr(result, name) for name in COLUMNS}, "worst_type": worst}


def assert_same(got: dict[str, torch.Tensor], expected: dict[str, float], case: Any = "") -> None:
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert got[name].dtype == torch.float64
        assert got[name].shape == ()
        assert float(got[name]) == pytest.approx(value, abs=1e-12, nan_ok=True), (case, name)


def test_batches_give_the_statistics_of_all_images():
    data = made_up()
    metric = distance_metric()
    for start in range(0, 120, 25):
        metric.update(*(one[start : start + 25] for one in data))
    assert_same(metric.compute(), expected_of(*data))
    assert float(metric.compute()["srcc"]) > 0.8


def test_lists_and_other_types_of_numbers_do():
    distances, mos, reference, _ = made_up()
    metric = distance_metric()
    metric.update(distances.tolist(), mos.float(), reference.tolist())
    assert_same(metric.compute(), expected_of(distances, mos.float().double(), reference))


def test_without_ids_there_is_nothing_within():
    distances, mos, *_ = made_up()
    metric = distance_metric()
    metric.update(distances, mos)
    assert_same(metric.compute(), expected_of(distances, mos))
    assert metric.compute()["within_reference"].isnan()
    assert metric.compute()["worst_type"].isnan()


def test_directions():
    distances, mos, *_ = made_up()
    for scores_up in (True, False):
        for opinion_up in (True, False):
            metric = HumanAgreement(scores_up, opinion_up)
            metric.update(-distances if scores_up else distances, mos if opinion_up else -mos)
            assert float(metric.compute()["srcc"]) > 0.8
            assert float(metric.compute()["plcc_raw"]) > 0.8


def test_forward_gives_the_batch_and_keeps_all():
    data = made_up()
    metric = distance_metric()
    for start in (0, 60):
        batch = [one[start : start + 60] for one in data]
        assert_same(metric(*batch), expected_of(*batch))
    assert_same(metric.compute(), expected_of(*data))
    metric.reset()
    metric.update(*(one[:60] for one in data))
    assert_same(metric.compute(), expected_of(*(one[:60] for one in data)))


def test_what_cannot_be_computed_is_nan_with_a_warning():
    metric = distance_metric()
    with pytest.warns(UserWarning, match="0 images are fewer than 3"):
        assert all(value.isnan() for value in metric.compute().values())
    with pytest.warns(UserWarning, match="2 images are fewer than 3"):
        assert all(value.isnan() for value in metric([1.0, 2.0], [1.0, 2.0]).values())
    metric.reset()
    with pytest.warns(UserWarning, match="all opinions are equal"):
        assert all(value.isnan() for value in metric([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]).values())
    metric.reset()
    with pytest.warns(UserWarning, match="is constant"):
        assert metric([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])["srcc"].isnan()
    metric.reset()
    with pytest.warns(UserWarning, match="3 images are too few for 4 parameters"):
        found = metric([3.0, 2.0, 1.0], [1.0, 2.0, 3.0])
    assert float(found["srcc"]) == pytest.approx(1)
    assert found["plcc"].isnan()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [1.0]), "`scores` must be 1 numbers, one for each opinion"),
        (([1.0], [[1.0]]), "`opinion` must be one column"),
        ((["good"], [1.0]), r"`scores` must be numbers, one for each image, got \['good'\]"),
        (([1.0, 2.0], [1.0, None]), r"`opinion` must be numbers, one for each image, got \[1.0, None\]"),
        (([1.0, 2.0], [[1.0], [2.0, 3.0]]), "`opinion` must be numbers, one for each image"),
        (([1.0, 2.0], [1.0, float("nan")]), "`opinion` must be finite, got nan"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), "`reference` must be 2 whole numbers, got float64"),
        (([1.0, 2.0], [1.0, 2.0], [0, 1, 2]), "`reference` must be 2 whole numbers"),
        (([1.0, 2.0], [1.0, 2.0], None, [0, -1]), "`type` must be at least 0, got -1"),
    ],
)
def test_a_bad_batch_is_an_error_and_leaves_the_state_as_it_was(arguments, message):
    data = made_up()
    metric = distance_metric()
    metric.update(*data)
    for call in (metric.update, metric):
        with pytest.raises(ValueError, match=message):
            call(*arguments)
    assert_same(metric.compute(), expected_of(*data))


def test_ids_for_some_images_only_are_an_error():
    distances, mos, reference, _ = made_up()
    metric = distance_metric()
    metric.update(distances[:60], mos[:60], reference[:60])
    metric.update(distances[60:], mos[60:])
    with pytest.raises(ValueError, match="`reference` was given for 60 of 120 images: give all or none"):
        metric.compute()


def test_casts_copies_and_pickles_keep_every_digit():
    data = made_up()
    metric = distance_metric()
    metric.update(*data)
    around = torch.nn.Module()
    around.metric = metric
    around.half()
    assert_same(around.metric.compute(), expected_of(*data))
    for copied in (metric.clone(), copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert_same(copied.compute(), expected_of(*data))


def test_half_precision_scores_are_taken_as_they_are():
    distances, mos, *_ = made_up()
    metric = distance_metric()
    metric.update(distances.to(torch.bfloat16), mos)
    assert_same(metric.compute(), expected_of(distances.to(torch.bfloat16).double(), mos))


def test_it_works_in_a_collection_beside_others():
    distances, mos, *_ = made_up()
    one_way, other_way, spearman = distance_metric(), HumanAgreement(), SpearmanCorrCoef()
    collection = MetricCollection({"distance": one_way, "score": other_way}, compute_groups=True)
    for start in (0, 60):
        collection.update(distances[start : start + 60], mos[start : start + 60])
        spearman.update(distances[start : start + 60].float(), mos[start : start + 60].float())
    found = collection.compute()
    assert float(found["distance_srcc"]) == pytest.approx(-float(found["score_srcc"]))
    assert float(found["score_srcc"]) == pytest.approx(float(spearman.compute()), abs=1e-4)


def test_it_works_under_a_bootstrapper():
    distances, mos, *_ = made_up()

    class Only(HumanAgreement):
        def compute(self) -> torch.Tensor:  # type: ignore[override]
            return super().compute()["srcc"]

    torch.manual_seed(0)
    wrapped = BootStrapper(Only(scores_higher_is_better=False), num_bootstraps=5)
    wrapped.update(distances, mos)
    assert 0.8 < float(wrapped.compute()["mean"]) < 1


def test_every_result_can_be_plotted():
    pytest.importorskip("matplotlib").use("agg")
    metric = distance_metric()
    metric.update(*made_up())
    figure, _ = metric.plot()
    assert figure is not None


def test_parts_merge_into_the_whole_of_all_images():
    data = made_up()
    one, other = distance_metric(), distance_metric()
    one.update(*(column[60:] for column in data))
    one.compute()  # an earlier result must not be given again
    other.update(*(column[:60] for column in data))
    one.merge_state(other)
    assert_same(one.compute(), expected_of(*data))
    fresh = distance_metric()
    fresh.merge_state({"scores": data[0], "opinion": data[1].double(), "reference": data[2], "type_ids": data[3]})
    assert_same(fresh.compute(), expected_of(*data))


def test_a_running_window_is_the_agreement_of_its_batches():
    data = made_up()
    for call in ("update", "forward"):
        running = Running(distance_metric(), window=2)
        for start in range(0, 120, 30):
            getattr(running, call)(*(column[start : start + 30] for column in data))
        assert_same(running.compute(), expected_of(*(column[60:] for column in data)))


def test_metrics_of_other_directions_do_not_merge():
    one = distance_metric()
    with pytest.raises(ValueError, match="scores_higher_is_better is False on this metric and True on the incoming"):
        one.merge_state(HumanAgreement())


# Two processes


def _shards(rank: int) -> dict[Any, Any]:
    results: dict[Any, Any] = {}
    data = made_up()
    for name, shards in SHARDS.items():
        for ids in (0, 2):
            metric = distance_metric()
            for start, stop in shards[rank]:
                metric.update(*(one[start:stop] for one in data[: 2 + ids]))
            results[name, ids] = metric.compute()
            metric.reset()
            metric.update(*(one[60 * rank : 60 * (rank + 1)] for one in data[: 2 + ids]))
            results["after_reset", ids] = metric.compute()
    return results


WORKS = (_shards,)


@pytest.mark.slow
def test_uneven_and_empty_ranks_equal_one_process(outcome: Outcome) -> None:
    found = outcome(_shards)
    assert len(found) == RANKS
    for result in found:
        assert len(result) == 2 * (len(SHARDS) + 1)
        for (name, ids), value in result.items():
            assert_same(value, expected_of(*made_up()[: 2 + ids]), (name, ids))
