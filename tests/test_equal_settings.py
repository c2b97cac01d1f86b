"""States are joined only where the metrics measure alike: over ranks, and in ``merge_state``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics.image import PeakSignalNoiseRatio

from tests.conftest import make_pair
from torchmetrics_fmiqa import SPIPS, FeatureDistance, FeatureMetricCollection, HumanAgreement

#: A metric, another one that must not be joined with it, and what the error names.
PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any], str]] = {
    "distance": (
        lambda: FeatureDistance(distance="cosine"),
        lambda: FeatureDistance(distance="l2"),
        r"distance is \['cosine'\].*\['l2'\]",
    ),
    "taps": (FeatureDistance, lambda: FeatureDistance(taps=[0]), "taps is"),
    "data_range": (FeatureDistance, lambda: FeatureDistance(data_range=(-1, 1)), r"data_range is .*\[-1.0, 1.0\]"),
    "crop_border": (FeatureDistance, lambda: FeatureDistance(crop_border=2), "crop_border is 0 .* and 2 "),
    "precision": (FeatureDistance, lambda: FeatureDistance(precision="bfloat16"), "precision is 'float32'.*'bfloat16'"),
    "reduction": (FeatureDistance, lambda: FeatureDistance(reduction="none"), "reduction is 'mean'.*'none'"),
    "class": (FeatureDistance, SPIPS, "metric is 'FeatureDistance'.*'ScenePerceivedImagePerceptualScore'"),
    "parts": (SPIPS, lambda: SPIPS(parts="semantic"), "head is"),
    "directions": (HumanAgreement, lambda: HumanAgreement(opinion_higher_is_better=False), "opinion_higher_is_better"),
    "members": (
        lambda: FeatureMetricCollection({"a": FeatureDistance()}),
        lambda: FeatureMetricCollection({"a": FeatureDistance(), "psnr": PeakSignalNoiseRatio(data_range=1.0)}),
        "members is 'a' on rank 0 and 'a, psnr' on rank 1",
    ),
    "of_members": (
        lambda: FeatureMetricCollection({"a": FeatureDistance(distance="cosine")}),
        lambda: FeatureMetricCollection({"a": FeatureDistance(distance="l2")}),
        r"a: distance is \['cosine'\] on rank 0",
    ),
}


def _compute(metric: Any, gather: Any) -> Any:
    members = metric.values(copy_state=False) if isinstance(metric, FeatureMetricCollection) else [metric]
    for member in members:
        member.dist_sync_fn, member.distributed_available_fn = gather, lambda: True
    return metric.compute()


@pytest.mark.filterwarnings("ignore:.*was called before")
@pytest.mark.parametrize("case", PAIRS)
def test_ranks_that_measure_differently_are_an_error_that_names_both(case: str) -> None:
    build, build_other, message = PAIRS[case]
    sent = _sent(build_other())
    gathered: list[Tensor] = []

    def gather(value: Tensor, group: Any = None) -> list[Tensor]:
        gathered.append(value)
        return [value, sent[len(gathered) - 1]]

    with pytest.raises(ValueError, match=message):
        _compute(build(), gather)
    assert len(gathered) == 2  # numbers, then texts: no state was gathered


def _sent(metric: Any) -> list[Tensor]:
    """What a rank sends when it finds that another one differs."""
    sent: list[Tensor] = []

    def gather(value: Tensor, group: Any = None) -> list[Tensor]:
        sent.append(value)
        return [value, value + 1] if len(sent) == 1 else [value, torch.tensor(list(b"{}"), dtype=torch.uint8)]

    with pytest.raises(ValueError, match="cannot be joined"):
        _compute(metric, gather)
    return sent


def test_equal_ranks_are_joined_and_pay_one_small_gather() -> None:
    preds, target = make_pair(2, 24, 24)
    seen: list[Tensor] = []

    def gather(value: Tensor, group: Any = None) -> list[Tensor]:
        seen.append(value)
        return [value, value]

    metric = FeatureDistance()
    metric.update(preds, target)
    expected = FeatureDistance()
    expected.update(preds, target)
    torch.testing.assert_close(_compute(metric, gather), expected.compute())
    assert seen[0].shape == ()
    assert len(seen) == 1 + len(metric.metric_state)


def test_what_changes_no_number_may_differ() -> None:
    preds, target = make_pair(1, 24, 24)
    one, other = FeatureDistance(data_range=1.0), FeatureDistance(data_range=(0, 1), tile_batch=2, validate=False)
    other.update(preds, target)
    one.compute_with_cache = True
    assert one.settings() == other.settings()
    one.merge_state(other)
    assert one.compute() == other.compute()


@pytest.mark.parametrize("case", [case for case in PAIRS if "members" not in case and case != "class"])
def test_metrics_that_measure_differently_do_not_merge(case: str) -> None:
    build, build_other, _ = PAIRS[case]
    one = build()
    with pytest.raises(ValueError, match=r"on this metric and .* on the incoming one"):
        one.merge_state(build_other())


def test_a_merge_forgets_the_cached_result_and_takes_states_of_dicts() -> None:
    one, other = FeatureDistance(), FeatureDistance()
    for metric, noise in ((one, 0.1), (other, 0.3)):
        metric.update(*make_pair(1, 24, 24, noise=noise))
    first, second = one.compute(), other.compute()
    one.merge_state(other.metric_state)
    torch.testing.assert_close(one.compute(), (first + second) / 2)
    with pytest.raises(ValueError, match="the state to merge lacks count_"):
        one.merge_state({"nothing": torch.zeros(())})


def test_ids_count_a_sample_once_over_a_merge() -> None:
    preds, target = make_pair(3, 24, 24)
    one, other, whole = FeatureDistance(), FeatureDistance(), FeatureDistance()
    one.update(preds[:2], target[:2], sample_ids=[0, 1])
    other.update(preds[1:], target[1:], sample_ids=[1, 2])
    one.merge_state(other)
    whole.update(preds, target)
    torch.testing.assert_close(one.compute(), whole.compute())


@pytest.mark.parametrize("build", [FeatureDistance, SPIPS, HumanAgreement])
def test_metrics_can_be_scripted_as_those_of_torchmetrics(build: Callable[[], Any]) -> None:
    torch.jit.script(build())
