"""The tile plan: full cover, pixels shared once, padding weightless, the map's mean the score."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import RANDOM_VIT, make_pair
from torchmetrics_fmiqa import FeatureComparator, Recipe
from torchmetrics_fmiqa.features.tiles import (
    cells,
    cut,
    masked_weights,
    mirror_index,
    paint,
    plan_tiles,
    position_weights,
)

sides = st.integers(1, 700)


@settings(deadline=None, max_examples=60)
@given(sides, sides, st.sampled_from([14, 16, 32]), st.sampled_from([None, 64, 224]))
def test_a_plan_covers_every_pixel_and_shares_it_once(height: int, width: int, multiple: int, tile: int | None) -> None:
    plan = plan_tiles(height, width, tile, multiple)
    for axis, length in ((plan.rows, height), (plan.cols, width)):
        assert axis.padded % multiple == 0 or axis.padded == axis.tile
        total = [0.0] * length
        for start, shares in zip(axis.starts, axis.shares(), strict=True):
            assert len(shares) == axis.tile
            for offset, share in enumerate(shares):
                total[start + offset] += share
        assert total == pytest.approx([1.0] * length)
        gaps = {later - earlier for earlier, later in zip(axis.starts, axis.starts[1:], strict=False)}
        assert not gaps or max(gaps) - min(gaps) <= 1, "tiles are evenly spaced"


@settings(deadline=None, max_examples=30)
@given(sides, sides, st.integers(1, 20), st.integers(1, 20))
def test_position_weights_sum_to_one_and_are_the_adjoint_of_painting(h: int, w: int, rows: int, cols: int) -> None:
    plan = plan_tiles(h, w, 224, 16)
    like = torch.zeros((), dtype=torch.float64)
    weights = position_weights(plan, (rows, cols), like)
    assert weights.sum().item() == pytest.approx(1)
    values = torch.rand(weights.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shares = masked = torch.zeros(h, w, dtype=torch.float64)
    from torchmetrics_fmiqa.features.tiles import pixel_shares

    drawn = paint(values, plan, (rows, cols)) * pixel_shares(plan, like)
    for tile, (y, x) in zip(drawn, plan.corners, strict=True):
        shares = shares.clone()
        shares[y : y + plan.rows.tile, x : x + plan.cols.tile] += tile
    assert shares.mean().item() == pytest.approx((weights * values).sum().item())
    masked = masked_weights(plan, (rows, cols), [(0, t) for t in range(len(plan.corners))], masked[None, None] + 0.3)
    torch.testing.assert_close(masked, weights)


def test_a_grid_that_does_not_divide_the_image_keeps_every_pixel() -> None:
    overlap = cells(13, 224, 224, torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(overlap.sum(0), torch.ones(224, dtype=torch.float64))
    torch.testing.assert_close(overlap.sum(1), torch.full((13,), 224 / 13, dtype=torch.float64))


@given(st.integers(1, 30), st.integers(1, 200), st.integers(-8, 8))
def test_mirroring_never_leaves_the_image_and_never_jumps(length: int, padded: int, shift: int) -> None:
    index = mirror_index(length, padded, torch.device("cpu"), shift)
    assert 0 <= int(index.min()) <= int(index.max()) < length
    assert (index.diff().abs() <= 1).all()


def test_tiles_are_the_pixels_of_the_image() -> None:
    images = torch.rand(2, 3, 300, 250)
    plan = plan_tiles(300, 250, 224, 16)
    picks = [(image, tile) for tile in range(len(plan.corners)) for image in range(2)]
    for tile, (image, number) in zip(cut(images, plan, picks), picks, strict=True):
        y, x = plan.corners[number]
        assert torch.equal(tile, images[image, :, y : y + 224, x : x + 224])


def test_a_change_under_an_overlap_counts_as_much_as_one_elsewhere() -> None:
    """Two columns of tiles share columns 76..224 of 300; a plain mean of tiles would count them twice."""
    recipe = Recipe(**{**RANDOM_VIT, "taps": [0]}, distance="l2")
    target = make_pair(1, 224, 300)[1]
    mapped = FeatureComparator(recipe).maps(target + 0.1 * torch.randn(target.shape), target)["l2"]["score"][0, 0]
    scored = FeatureComparator(recipe)(target, target.roll(1, 3))[0].scores()["l2"]
    painted = FeatureComparator(recipe).maps(target, target.roll(1, 3))["l2"]["score"]
    torch.testing.assert_close(painted.mean((1, 2, 3)), scored)
    middle, edges = mapped[:, 100:200].mean(), torch.cat([mapped[:, :60], mapped[:, 240:]], 1).mean()
    assert 0.8 < middle / edges < 1.25


@pytest.mark.parametrize("other", [{"distance": "l2"}, {"taps": [2]}])
def test_maps_are_of_the_first_of_several_recipes(other: dict[str, Any]) -> None:
    preds, target = make_pair(1, 40, 60)
    first = {**RANDOM_VIT, "taps": [0, 1]}
    alone = FeatureComparator(Recipe(**first)).maps(preds, target, per_layer=True)
    among = FeatureComparator([Recipe(**first), Recipe(**{**first, **other})]).maps(preds, target, per_layer=True)
    torch.testing.assert_close(among, alone)


@pytest.mark.parametrize("tile_batch", [1, 3, 32])
def test_how_much_goes_through_at_once_changes_nothing(tile_batch: int) -> None:
    preds, target = make_pair(2, 300, 250)
    recipe = Recipe(**RANDOM_VIT, distance=["l2", "wasserstein"])
    whole = FeatureComparator(recipe)(preds, target)[0]
    parts = FeatureComparator(recipe, tile_batch=tile_batch)(preds, target)[0]
    for name, values in whole.per_tap.items():
        torch.testing.assert_close(parts.per_tap[name], values, rtol=1e-4, atol=1e-7)


def test_resolution_policies() -> None:
    preds, target = make_pair(1, 300, 250)
    scores = {
        policy: FeatureComparator(Recipe(**RANDOM_VIT, resolution=policy))(preds, target)[0].scores()["cosine"].item()
        for policy in ("tile", "native", "resize", "auto")
    }
    assert scores["auto"] == scores["tile"]
    assert len(set(scores.values())) == 3
    square = torch.nn.functional.interpolate(torch.cat([preds, target]), (224, 224), mode="bicubic", antialias=True)
    by_hand = FeatureComparator(Recipe(**RANDOM_VIT))(square[:1].clamp(0, 1), square[1:].clamp(0, 1))[0].scores()
    assert scores["resize"] == pytest.approx(by_hand["cosine"].item(), rel=0.02)


def test_a_tile_that_no_patch_divides_is_an_error() -> None:
    with pytest.raises(ValueError, match="`tile` must be a multiple of 16"):
        FeatureComparator(Recipe(**RANDOM_VIT, tile=100))
