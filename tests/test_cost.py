"""The cost of a metric, on a clock that the metric itself moves."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.analysis import cost as module
from torchmetrics_fmiqa.benchmark.analysis.cost import measure_cost
from torchmetrics_fmiqa.benchmark.metrics.metric import Metric

PAIR = torch.zeros(1, 3, 100, 200), torch.ones(1, 3, 100, 200)


class Clock:
    """Time that passes while a metric works, or on a device that works on its own once it is waited for."""

    def __init__(self, seconds: Sequence[float], waits: bool = False) -> None:
        self.seconds, self.waits = list(seconds), waits
        self.now = self.pending = 0.0
        self.gradients: list[bool] = []

    def perf_counter(self) -> float:
        return self.now

    def wait(self, device: torch.device) -> None:
        self.now += self.pending
        self.pending = 0.0

    def score(self, preds: Tensor, target: Tensor) -> Tensor:
        self.gradients.append(torch.is_grad_enabled())
        seconds = self.seconds.pop(0)
        if self.waits:
            self.pending += seconds
        else:
            self.now += seconds
        return (preds - target).square().mean((1, 2, 3))

    def metric(self, minimum_side: int = 1) -> Metric:
        return Metric("slow", self.score, False, True, "slow", minimum_side, parameters=5.5)


@pytest.mark.parametrize("waits", [False, True])
def test_the_median_after_a_first_call_that_does_not_count(monkeypatch: pytest.MonkeyPatch, waits: bool) -> None:
    clock = Clock([100.0, 3.0, 1.0, 8.0], waits)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    monkeypatch.setattr(module, "_wait", clock.wait)
    found = measure_cost(clock.metric(), *PAIR)
    assert (found.metric, found.parameters) == ("slow", 5.5)
    assert found.seconds_per_megapixel == pytest.approx(3.0 / 0.02)
    assert clock.gradients == [False] * 4
    assert not clock.seconds


def test_the_number_of_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock([100.0, 3.0, 1.0])
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    assert measure_cost(clock.metric(), *PAIR, repeats=2).seconds_per_megapixel == pytest.approx(2.0 / 0.02)


def test_only_a_cuda_device_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    module._wait(torch.device("cpu"))
    module._wait(torch.device("cuda:1"))
    assert waited == [torch.device("cuda:1")]
