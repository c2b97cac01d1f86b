"""Divergences have maps: each position's term, and the masks, tiles, pieces and gradients that follow from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.conftest import RANDOM_VIT, make_pair
from tests.test_pieces import in_pieces, noisy_pair, small, whole_and_pieces  # noqa: F401
from torchmetrics_fmiqa import (
    FeatureComparator,
    FeatureDistanceLoss,
    Recipe,
    distances,
    feature_distance,
    feature_distance_map,
)
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatisticsRequest
from torchmetrics_fmiqa.distances import divergence

NAMES = list(distances.DIVERGENCES)
each_divergence = pytest.mark.parametrize("name", NAMES)
few = settings(max_examples=25, deadline=None, derandomize=True)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 9))
seeds = st.integers(0, 10_000)
EMBEDDED = {"backbone": "fmiqa/embedded", "weights": "random:0", "taps": [1, 2], "pooling": "mean"}


def tokens(shape: tuple[int, ...], seed: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2)]


def as_map(values: Tensor) -> Tensor:
    """The same values, channel by channel in memory, as a convolution gives them."""
    return values.transpose(1, 2).contiguous().transpose(1, 2)


def written_out(name: str, one: Tensor, other: Tensor) -> Tensor:
    """The formulas as a book has them, in double precision."""
    p, q = (side.double().softmax(1) for side in (one, other))
    if name == "symmetric_kl":
        terms = 0.5 * (p - q) * (p.log() - q.log())
    else:
        m = 0.5 * (p + q)
        terms = 0.5 * (p * (p / m).log() + q * (q / m).log())
    return one.shape[1] * terms.mean(-1)


# The maps


@each_divergence
@few
@given(shape=shapes, seed=seeds, scale=st.sampled_from([0.3, 1.0, 4.0]))
def test_a_map_is_what_the_formula_says(name: str, shape: tuple[int, int, int], seed: int, scale: float) -> None:
    one, other = tokens(shape, seed, scale)
    drawn = distances.MAPS[name](one, other)
    assert drawn.shape == shape[:2]
    torch.testing.assert_close(drawn, written_out(name, one, other), rtol=1e-8, atol=1e-13)
    torch.testing.assert_close(distances.MAPS[name](as_map(one), as_map(other)), drawn)


@each_divergence
@few
@given(shape=shapes, seed=seeds, step=st.sampled_from([0.0, 1e-7, 1e-3, 1.0, 1e3]))
def test_terms_are_never_negative_symmetric_and_sum_to_the_distance(
    name: str, shape: tuple[int, int, int], seed: int, step: float
) -> None:
    one, change = tokens(shape, seed, dtype=torch.float32)
    other = one + step * change
    drawn = distances.MAPS[name](one, other)
    assert (drawn >= 0).all()
    assert drawn.isfinite().all()
    assert torch.equal(drawn, distances.MAPS[name](other, one))
    assert torch.equal(drawn.mean(1), getattr(distances, name)(one, other))
    if step == 0:
        assert not drawn.any()


@each_divergence
@pytest.mark.parametrize("step", [1e-4, 1e-2, 1.0, 30.0])
def test_float32_keeps_its_digits(name: str, step: float) -> None:
    one, change = tokens((2, 196, 32), 5, dtype=torch.float32)
    other = one + step * change
    exact = distances.MAPS[name](one.double(), other.double())
    found = distances.MAPS[name](one, other)
    torch.testing.assert_close(found.mean(1).double(), exact.mean(1), rtol=1e-6 + 1e-7 / step, atol=0)
    torch.testing.assert_close(found.double(), exact, rtol=1e-4 + 2e-6 / step, atol=float(1e-7 * exact.max()))


@each_divergence
def test_where_one_side_has_a_spike_the_map_has_it(name: str) -> None:
    one = torch.zeros(1, 9, 2)
    other = one.clone()
    other[0, 4] = 3.0
    drawn = distances.MAPS[name](one, other)[0]
    assert drawn.argmax() == 4
    assert drawn[4] > 3 * drawn[0]


def test_the_bound_of_jensen_shannon_is_reached_and_kept() -> None:
    spike = torch.zeros(1, 4, 1)
    spike[0, 0] = 1e4
    drawn = distances.jensen_shannon_map(spike, spike.flip(1))
    np.testing.assert_allclose(drawn[0].numpy(), [2 * np.log(2), 0, 0, 2 * np.log(2)], rtol=1e-6)


@each_divergence
@pytest.mark.parametrize("layout", [lambda values: values, as_map], ids=["tokens", "map"])
def test_gradients_are_the_derivatives_at_and_near_equality_too(name: str, layout) -> None:
    one, change = tokens((2, 5, 3), 4)
    for step in (0.0, 1e-2, 1.0, 3.0):
        pair = [layout(one).detach().requires_grad_(), layout(one + step * change).detach().requires_grad_()]
        assert torch.autograd.gradcheck(distances.MAPS[name], pair)


@each_divergence
@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e3, 1e20])
def test_gradients_are_finite_everywhere(name: str, scale: float) -> None:
    one, other = tokens((2, 6, 3), 1, scale, torch.float32)
    other[:, 2] = one[:, 2]
    for far in (other, one.clone()):
        pair = [one.clone().requires_grad_(), far.requires_grad_()]
        value = distances.MAPS[name](*pair)
        value.sum().backward()
        assert value.isfinite().all()
        assert all(side.grad.isfinite().all() for side in pair)


@each_divergence
def test_blocks_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = tokens((5, 30, 12), 2)
    whole = [distances.MAPS[name](one, other), distances.MAPS[name](as_map(one), as_map(other))]
    for block in (1, 50, 800):
        monkeypatch.setattr(divergence, "_BLOCK", block)
        torch.testing.assert_close(distances.MAPS[name](one, other), whole[0])
        torch.testing.assert_close(distances.MAPS[name](as_map(one), as_map(other)), whole[1])
    assert distances.MAPS[name](one[:0], other[:0]).shape == (0, 30)


@few
@given(shape=shapes, seed=seeds, cut=st.integers(1, 11), scale=st.sampled_from([1.0, 300.0]))
def test_totals_of_parts_are_those_of_the_whole(shape: tuple[int, int, int], seed: int, cut: int, scale: float) -> None:
    one, other = tokens(shape, seed, scale)
    cut = min(cut, shape[1])
    parts = [torch.cat([one[:, part], other[:, part]]) for part in (slice(0, cut), slice(cut, None))]
    totals = divergence.Totals.of(parts[0])
    if parts[1].shape[1]:
        totals = totals.joined(divergence.Totals.of(parts[1]))
    for name in NAMES:
        drawn = torch.cat([distances.DIVERGENCES[name](*part.chunk(2), totals.chunk()) for part in parts], 1)
        torch.testing.assert_close(drawn, distances.DIVERGENCES[name](one, other), rtol=1e-9, atol=1e-12)


# What follows from a map


@each_divergence
@pytest.mark.parametrize("pooling", ["mean", "information"])
@pytest.mark.parametrize("fields", [EMBEDDED, RANDOM_VIT], ids=["native", "tiles"])
def test_the_mean_of_the_map_is_the_score(name: str, pooling: str, fields: dict) -> None:
    preds, target = make_pair(2, 230, 250)
    recipe = Recipe(**{**fields, "pooling": pooling}, distance=name)
    drawn = feature_distance_map(preds, target, recipe)
    assert drawn.shape == (2, 1, 230, 250)
    assert drawn.min() >= 0
    score = feature_distance(preds, target, recipe, reduction="none")
    torch.testing.assert_close(drawn.mean((1, 2, 3)), score, rtol=1e-5, atol=0)
    assert feature_distance_map(target, target.clone(), recipe).eq(0).all()


@each_divergence
def test_a_mask_weighs_the_map_and_a_full_one_changes_nothing(name: str) -> None:
    preds, target = make_pair(1, 96, 128)
    options = {**EMBEDDED, "distance": name}
    mask = torch.zeros(1, 1, 96, 128)
    mask[..., 32:64, 32:96] = 1
    drawn = feature_distance_map(preds, target, **options)
    expected = (drawn * mask).sum() / mask.sum()
    torch.testing.assert_close(feature_distance(preds, target, mask=mask, **options), expected)
    full = feature_distance(preds, target, mask=torch.ones_like(mask), **options)
    torch.testing.assert_close(full, feature_distance(preds, target, **options))


@each_divergence
@pytest.mark.parametrize("pooling", ["mean", "information"])
def test_pieces_give_the_number_of_the_whole(in_pieces: list[int], name: str, pooling: str) -> None:  # noqa: F811
    preds, target = (side.double() for side in noisy_pair(251, 317, count=2))
    mask = torch.rand(2, 1, 251, 317, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    recipe = small(distance=[name, "cosine"], pooling=pooling)
    comparator = FeatureComparator(recipe, precision="float64")
    in_parts, drawn = comparator(preds, target, mask)[0], comparator.maps(preds, target)[name]["score"]
    assert min(in_pieces) > 4
    whole = FeatureComparator(recipe, precision="float64")
    whole._piecewise.__dict__["_in_pieces"] = False
    for distance, values in whole(preds, target, mask)[0].per_tap.items():
        torch.testing.assert_close(in_parts.per_tap[distance], values, rtol=1e-9, atol=0)
    torch.testing.assert_close(drawn, whole.maps(preds, target)[name]["score"], rtol=1e-9, atol=1e-12)


@each_divergence
def test_pieces_in_float32(in_pieces: list[int], name: str) -> None:  # noqa: F811
    whole, pieces = whole_and_pieces(small(distance=name), in_pieces, *noisy_pair(256, 320))
    torch.testing.assert_close(pieces[0].per_tap[name], whole[0].per_tap[name], rtol=1e-5, atol=0)
    _, target = noisy_pair(256, 256)
    assert FeatureComparator(small(distance=name))(target, target.clone())[0].scores()[name].tolist() == [0.0]


@each_divergence
@pytest.mark.parametrize("same", [True, False])
def test_the_loss_has_a_finite_gradient(name: str, same: bool) -> None:
    preds, target = make_pair(1, 48, 48)
    preds = (target.clone() if same else preds).requires_grad_()
    value = FeatureDistanceLoss(**{**EMBEDDED, "pooling": "information"}, distance=name)(preds, target)
    value.backward()
    assert (value == 0) == same
    assert preds.grad.isfinite().all()
    assert bool(preds.grad.any()) != same


# What has no map says why


@pytest.mark.parametrize("name", ["wasserstein", "sliced_wasserstein"])
def test_sorted_values_have_lost_their_places(name: str) -> None:
    preds, target = make_pair(1, 32, 32)
    for call in (
        lambda: feature_distance_map(preds, target, **EMBEDDED, distance=name),
        lambda: feature_distance(preds, target, mask=torch.ones(1, 1, 32, 32), **EMBEDDED, distance=name),
    ):
        with pytest.raises(ValueError, match=f"{name}.* or 'symmetric_kl' .it compares sorted values"):
            call()


@each_divergence
def test_tap_statistics_refuse_a_divergence_and_say_why(name: str) -> None:
    with pytest.raises(ValueError, match=f"the whole scene too; '{name}' compares many: take distance='l2'"):
        TapStatisticsRequest(Recipe(**EMBEDDED, distance=name))
