"""Grids: how strong one is, what is none, what trains against it."""

from __future__ import annotations

import math
import warnings
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tests.lightning_tools import samples, validate
from tests.processes import SHARDS, Outcome
from torchmetrics_fmiqa import (
    FeatureMetricCollection,
    GridArtifact,
    GridArtifactLoss,
    ImageQualityMonitor,
    grid_artifact,
)
from torchmetrics_fmiqa.grid.frequencies import AXES, PERIODS, check_periods, plan_spectra

SIDES = (101, 115)
SMALL: Any = {"periods": [2, 4, 8]}


def photograph(n: int = 1, height: int = SIDES[0], width: int = SIDES[1], seed: int = 0) -> Tensor:
    """Smooth shapes and a little texture, ``(n, 3, height, width)`` in [0, 1], float64."""
    draw = torch.Generator().manual_seed(seed)
    fine = torch.randn(n, 3, height, width, generator=draw, dtype=torch.float64)
    rows = torch.linspace(0, 5, height, dtype=torch.float64)[:, None]
    columns = torch.linspace(0, 7, width, dtype=torch.float64)
    return (0.5 + 0.2 * torch.sin(rows + columns.square() / 5) + 0.004 * fine).clamp(0, 1)


def grid(period: int, shape: str, rms: float = 0.5, height: int = SIDES[0], width: int = SIDES[1]) -> Tensor:
    """A pattern ``(height, width)`` without a mean, of ``rms`` grey levels, in [0, 1]."""
    cell = torch.zeros(period, period, dtype=torch.float64)
    if shape == "random":
        cell = torch.randn(period, period, generator=torch.Generator().manual_seed(period), dtype=torch.float64)
    elif shape == "columns":
        cell[:, 0] = 1
    elif shape == "rows":
        cell[0] = 1
    else:
        cell[0, 0] = 1
    cell = cell - cell.mean()
    cell = cell * (rms / 255) / cell.square().mean().sqrt()
    return cell.repeat(math.ceil(height / period), math.ceil(width / period))[:height, :width]


@pytest.mark.parametrize("shape", ["random", "columns", "rows", "points"])
@pytest.mark.parametrize("period", [2, 3, 4, 8, 14, 16])
def test_a_known_grid_is_read_to_a_hundredth_of_a_level(period: int, shape: str):
    """On an even target, whole or cut by odd numbers: another phase, other sides."""
    target = torch.full((1, 3, *SIDES), 0.4, dtype=torch.float64)
    preds = target + grid(period, shape)
    for rows, columns in ((slice(None), slice(None)), (slice(3, None), slice(1, -4))):
        read = grid_artifact(preds[..., rows, columns], target[..., rows, columns], [period])
        assert float(read) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("period", [2, 4, 8, 14, 16])
def test_a_grid_in_a_picture_is_read_nearly(period: int):
    target = photograph(height=300, width=310)
    pattern = grid(period, "random", height=300, width=310)
    found = grid_artifact(target + pattern, target, per_period=True)
    assert isinstance(found, dict)
    assert float(found[str(period)]) == pytest.approx(0.5, abs=0.06)
    assert float(found["total"]) == pytest.approx(0.5, abs=0.06)


def test_each_axis_has_its_own():
    target = photograph()
    found = {
        shape: grid_artifact(target + grid(4, shape), target, [4], per_period=True) for shape in ("columns", "rows")
    }
    assert found["columns"]["4/x"] > 0.4 > 0.1 > max(found["columns"]["4/y"], found["columns"]["4/xy"])  # type: ignore[index]
    assert found["rows"]["4/y"] > 0.4 > 0.1 > max(found["rows"]["4/x"], found["rows"]["4/xy"])  # type: ignore[index]


def test_the_total_counts_each_frequency_once_and_multiples_hold_their_divisors():
    target = torch.full((1, 3, 192, 224), 0.4, dtype=torch.float64)
    preds = target + grid(2, "points", height=192, width=224)
    found = grid_artifact(preds, target, per_period=True)
    assert {name: round(float(value), 2) for name, value in found.items() if "/" not in name} == dict.fromkeys(  # type: ignore[union-attr]
        ("total", *(str(period) for period in PERIODS)), 0.5
    )


def test_a_grid_of_one_colour_does_not_cancel_in_grey():
    target = torch.full((1, 3, 96, 96), 0.5)
    pattern = grid(4, "random", 1.0, 96, 96).float()
    preds = target + pattern * torch.tensor([1.0, -1.0, 0.0])[:, None, None]
    assert float(grid_artifact(preds, target, [4])) == pytest.approx(math.sqrt(2 / 3), abs=0.01)


def test_a_pattern_of_the_target_is_none_and_neither_is_a_filter_of_it():
    target = photograph(height=256, width=256) + grid(8, "columns", 20, 256, 256)
    kernel = torch.ones(3, 1, 3, 3, dtype=torch.float64) / 9
    blurred = torch.nn.functional.conv2d(target, kernel, padding=1, groups=3)
    padded = torch.nn.functional.pad(blurred[..., 1:-1, 1:-1], (1, 1, 1, 1), "replicate")
    for preds in (target, 0.5 * target + 0.2, padded):
        assert float(grid_artifact(preds, target, SMALL["periods"])) < 0.1
    assert float(grid_artifact(target, target)) == 0


def test_a_pattern_of_the_target_may_become_stronger_or_weaker():
    target, pattern = photograph(height=256, width=256), grid(8, "columns", 10, 256, 256)
    for factor in (0, 0.5, 2):
        assert float(grid_artifact(target + factor * pattern, target + pattern, SMALL["periods"])) < 0.1


@pytest.mark.parametrize("period", [3.97, 8.1])
def test_stripes_that_are_not_locked_to_the_pixels_are_none(period: float):
    """As resizing makes them of a texture: their frequency is within a bin of a grid's."""
    target = photograph(height=256, width=256)
    columns = torch.arange(256, dtype=torch.float64)

    def read(of: float) -> float:
        stripes = 2 / 255 * torch.sin(2 * math.pi * (columns / of + 0.1))
        return float(grid_artifact(target + stripes, target, SMALL["periods"]))

    assert read(period) < 0.1
    assert read(round(period)) > 1  # 1.4, the RMS of a sine of 2, less the doubts


def test_a_grid_may_be_stronger_here_and_weaker_there():
    target = photograph(height=256, width=256)
    strength = torch.linspace(0, 2, 256, dtype=torch.float64)
    pattern = grid(4, "random", 1.0, 256, 256)
    even = float(grid_artifact(target + pattern, target, [4]))
    for changed in (strength * pattern, strength[:, None] * pattern):
        assert float(grid_artifact(target + changed, target, [4])) == pytest.approx(even, rel=0.1)


def test_noise_is_no_grid_on_average():
    target = photograph(64, 96, 96)
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 5 / 255
    found = GridArtifact([4], reduction="none")(target + noise, target)
    # 5 grey levels of noise are 0.7 at the 15 frequencies of period 4 together, as a plain spectrum reads them
    assert float(found.mean()) < 0.05


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_float32_and_half_give_the_numbers_of_float64(dtype: torch.dtype):
    target = photograph().to(dtype)
    preds = (target + grid(8, "random", 2)).to(dtype)
    expected = grid_artifact(preds.double(), target.double())
    found = grid_artifact(preds, target)
    assert found.dtype == torch.float32  # type: ignore[union-attr]
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)  # type: ignore[union-attr]


def test_ranges_borders_and_lists_give_the_same():
    target = photograph(2).float()
    preds = (target + grid(4, "random")).float()
    plain = grid_artifact(preds, target, reduction="none")
    torch.testing.assert_close(
        grid_artifact(2 * preds - 1, 2 * target - 1, reduction="none", data_range=(-1, 1)), plain
    )
    torch.testing.assert_close(
        grid_artifact(preds, target, crop_border=2, reduction="none"),
        grid_artifact(preds[..., 2:-2, 2:-2], target[..., 2:-2, 2:-2], reduction="none"),
    )
    other = photograph(1, 97, 99, seed=1).float()
    sides = [preds[0], other[0] + 0.01, preds[1]], [target[0], other[0], target[1]]
    mixed = grid_artifact(*sides, reduction="none")
    torch.testing.assert_close(mixed[::2], plain[:2])  # type: ignore[index]
    assert mixed[1] < 1e-3  # type: ignore[index]
    bright = grid_artifact(preds, 2 * target, reduction="none", validate=False)
    torch.testing.assert_close(grid_artifact(list(preds), list(2 * target), reduction="none", validate=False), bright)
    eight_bit = [(255 * side).round().to(torch.uint8) for side in (preds, target)]
    torch.testing.assert_close(grid_artifact(*eight_bit), grid_artifact(*(side.float() / 255 for side in eight_bit)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"periods": []}, "different numbers of pixels"),
        ({"periods": [4, 4]}, "different numbers of pixels"),
        ({"periods": [1]}, "at least 2, got 1"),
        ({"periods": [2.5]}, "whole numbers of pixels"),
        ({"alarm_above": -1}, "grey levels of 255 of at least 0"),
        ({"alarm_above": "high"}, "grey levels of 255 of at least 0"),
        ({"reduction": "median"}, "`reduction` must be"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        GridArtifact(**arguments)


def test_a_single_period_may_stand_alone():
    assert check_periods(4) == (4,)  # type: ignore[arg-type]


def test_small_images_are_an_error_that_says_what_fits():
    target = photograph(1, 95, 200)
    with pytest.raises(ValueError, match=r"height of 95 pixels .* period 16: 96 .* periods=\(2, 4, 8, 14\)"):
        grid_artifact(target, target)
    with pytest.raises(ValueError, match=r"width of 11 pixels .* 12 are needed\. Give larger images$"):
        GridArtifactLoss([2])(target[..., :11], target[..., :11])
    assert grid_artifact(photograph(1, 96, 96), photograph(1, 96, 96)) == 0


def test_each_frequency_is_in_the_plan_once():
    spectra = plan_spectra(96, 112, PERIODS, torch.device("cpu"))
    # 13 of period 14, 15 of 16, and 1/2 is in both; as (row, column) with all conjugates, less (0, 0)
    total = sum(float(harmonics.energy_weights[0].sum()) for one in spectra for harmonics in one.harmonics)
    assert total == 14**2 + 16**2 - 2**2 - 1 + 0
    for position, period in enumerate(PERIODS):
        count = sum(float(h.energy_weights[1 + position].sum()) for one in spectra for h in one.harmonics)
        assert count == period**2 - 1


# The loss


def test_the_loss_is_the_energy_of_a_grid_and_0_for_equal_images():
    target = torch.full((2, 3, 96, 96), 0.5)
    preds = target + grid(8, "random", 2, 96, 96).float()
    loss = GridArtifactLoss([8], reduction="none")
    torch.testing.assert_close(loss(preds, target), torch.full((2,), 4.0), rtol=0.02, atol=0)
    assert loss(target, target).tolist() == [0, 0]


@pytest.mark.parametrize("function", [GridArtifactLoss([2, 4]), partial(grid_artifact, periods=[2])])
def test_gradients_are_right(function: Any):
    target = photograph(1, 25, 26)
    preds = (target + grid(4, "random", 20, 25, 26) + grid(2, "points", 9, 25, 26)).requires_grad_()
    assert torch.autograd.gradcheck(function, (preds, target), fast_mode=True)


@pytest.mark.parametrize("level", ["equal", "black", "constant"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_everywhere(level: str, dtype: torch.dtype):
    target = {"equal": photograph(), "black": torch.zeros(1, 3, *SIDES), "constant": torch.full((1, 3, *SIDES), 0.3)}
    for function in (GridArtifactLoss(), grid_artifact):
        preds = target[level].to(dtype).clone().requires_grad_()
        value = function(preds, target[level].to(dtype))
        value.backward()  # type: ignore[union-attr]
        assert preds.grad is not None
        assert preds.grad.isfinite().all()


def test_the_loss_trains_a_grid_away_and_leaves_a_blur():
    target = photograph(1, 96, 96).float()
    blurred = torch.nn.functional.avg_pool2d(target, 5, 1, 2, count_include_pad=False)
    preds = (blurred + grid(4, "random", 2, 96, 96)).float().requires_grad_()
    loss = GridArtifactLoss([4], reduction="sum")
    for _ in range(20):
        (gradient,) = torch.autograd.grad(loss(preds, target), preds)
        with torch.no_grad():
            preds -= 0.02 * gradient
    found = preds.detach()
    assert grid_artifact(found, target, [4]) < 0.1
    assert (found - blurred).abs().max() < 0.5 * (target - blurred).abs().max()


def test_swapped_arguments_warn():
    target = photograph().requires_grad_()
    with pytest.warns(UserWarning, match="`target` requires a gradient"):
        GridArtifactLoss()(photograph(seed=1), target)


# The metric


def pairs(count: int = 5) -> tuple[Tensor, Tensor]:
    target = photograph(count, 48, 50)
    levels = torch.arange(count, dtype=torch.float64)[:, None, None, None] + 0.5
    return target + grid(4, "random", 1.0, 48, 50) * levels, target


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("per_period", [False, True])
def test_the_metric_gives_the_function_in_any_batches(reduction: Any, per_period: bool):
    preds, target = pairs()
    expected = grid_artifact(preds, target, **SMALL, reduction=reduction, per_period=per_period)
    metric = GridArtifact(**SMALL, reduction=reduction, per_period=per_period).set_dtype(torch.float64)
    for part in (slice(0, 2), slice(2, 5)):
        metric.update(preds[part], target[part])
    torch.testing.assert_close(metric.compute(), expected)
    metric.reset()
    torch.testing.assert_close(metric(preds, target), expected)


def test_a_repeated_sample_counts_once_and_infinite_predictions_can_be_left_out():
    preds, target = pairs()
    once = GridArtifact(**SMALL)
    once.update(preds, target)
    twice = GridArtifact(**SMALL)
    twice.update(preds, target, sample_ids=range(5))
    twice.update(preds[:2], target[:2], sample_ids=[0, 1])
    torch.testing.assert_close(twice.compute(), once.compute())
    broken = torch.cat([preds, torch.full_like(preds[:1], math.nan)])
    tolerant = GridArtifact(**SMALL, nan_strategy="ignore")
    tolerant.update(broken, torch.cat([target, target[:1]]))
    torch.testing.assert_close(tolerant.compute(), once.compute())


def test_other_periods_have_other_states():
    collection = FeatureMetricCollection({"a": GridArtifact([4]), "b": GridArtifact([8])})
    found = collection(*pairs())
    assert found["a"] != found["b"]
    assert not {*GridArtifact([4])._defaults} & {*GridArtifact([8])._defaults}


def _shards(rank: int) -> dict[Any, Any]:
    preds, target = pairs(4)
    results: dict[Any, Any] = {}
    for name, shards in SHARDS.items():
        for reduction in ("mean", "none"):
            metric = GridArtifact(**SMALL, reduction=reduction, per_period=True)  # type: ignore[arg-type]
            for places in shards[rank]:
                metric.update(preds[list(places)], target[list(places)])
            results[name, reduction] = metric.compute()
    return results


WORKS = (_shards,)


def test_two_processes_give_the_result_of_one(outcome: Outcome):
    preds, target = pairs(4)
    for reduction in ("mean", "none"):
        metric = GridArtifact(**SMALL, reduction=reduction, per_period=True)  # type: ignore[arg-type]
        metric.update(preds, target)
        for found in outcome(_shards):
            for name in SHARDS:
                torch.testing.assert_close(found[name, reduction], metric.compute())


# The alarm


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_alarm_names_period_and_axis_and_comes_when_the_grid_does(reduction: Any):
    target = photograph(2)
    metric = GridArtifact(reduction=reduction, alarm_above=0.3)

    def computed(preds: Tensor) -> None:
        metric.reset()
        metric.update(preds, target)
        metric.compute()

    with pytest.warns(UserWarning, match=r"0\.\d\d grey levels .* period of 4 pixels along x\. .*periods=\(4,\)"):
        computed(target + grid(4, "columns", 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        computed(target + grid(4, "columns", 1))
        computed(target)
        metric(target + grid(4, "columns", 1), target)
    with pytest.warns(UserWarning, match="period of 8 pixels along both axes"):
        computed(target + grid(8, "random", 5))


def test_no_alarm_without_a_grid_or_a_level():
    target = photograph(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric, preds in (
            (GridArtifact(alarm_above=0.3), 0.9 * target),
            (GridArtifact(), target + grid(4, "columns", 1)),
        ):
            metric.update(preds, target)
            metric.compute()


def test_the_alarm_in_lightning():
    target = photograph(2, 48, 50).float()
    preds = target + grid(4, "columns", 2, 48, 50).float()
    loader = DataLoader(samples(preds, target), batch_size=2)  # type: ignore[arg-type]
    monitor = ImageQualityMonitor({"grid": GridArtifact(**SMALL, alarm_above=0.3)}, worst=0)
    with pytest.warns(UserWarning, match="period of 4 pixels along x"):
        logged = validate(monitor, loader)
    assert logged["quality/grid"] == pytest.approx(2, abs=0.1)


def test_axes_are_named_in_the_order_of_the_columns():
    assert GridArtifact([2]).meter.names == ("total", "2", *(f"2/{axis}" for axis in AXES))
