"""The distances against scipy, numpy and POT, and what all of them promise."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance as scipy_distance
from scipy.stats import entropy, wasserstein_distance
from torch import Tensor
from torch.nn import functional as F

from tests.conftest import RANDOM_VIT, make_pair
from torchmetrics_fmiqa import distances
from torchmetrics_fmiqa.comparator import FeatureComparator
from torchmetrics_fmiqa.distances.transport import DIRECTIONS, _cached_directions
from torchmetrics_fmiqa.recipes import Recipe

NAMES = [*distances.POINTWISE, *distances.DISTRIBUTION]
each_distance = pytest.mark.parametrize("name", NAMES)
few = settings(max_examples=15, deadline=None, derandomize=True)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 9))
seeds = st.integers(0, 10_000)


def tokens(shape: tuple[int, int, int], seed: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    one, other = torch.randn(2, *shape, generator=generator, dtype=torch.float64).to(dtype)
    return one, other


def measure(name: str, one: Tensor, other: Tensor) -> Tensor:
    return getattr(distances, name)(one, other)


def softmax(values: np.ndarray) -> np.ndarray:
    shifted = np.exp(values - values.max())
    return shifted / shifted.sum()


def oracle_l2(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean((one - other) ** 2))


def oracle_cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean([scipy_distance.cosine(a, b) for a, b in zip(one, other, strict=True)]))


def oracle_normalized_l2(one: np.ndarray, other: np.ndarray) -> float:
    a, b = (tokens / np.sqrt((tokens**2).sum(1, keepdims=True) + 1e-8) for tokens in (one, other))
    return float(np.mean([scipy_distance.sqeuclidean(*pair) for pair in zip(a, b, strict=True)]))


def oracle_angular(one: np.ndarray, other: np.ndarray) -> float:
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    return float(np.mean(np.arccos(np.clip(cosines, -1, 1)) / np.pi))


def oracle_wasserstein(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean([wasserstein_distance(a, b) for a, b in zip(one.T, other.T, strict=True)]))


def oracle_sliced_wasserstein(one: np.ndarray, other: np.ndarray) -> float:
    directions = _cached_directions(one.shape[1]).numpy()
    return float(ot.sliced_wasserstein_distance(one, other, projections=directions, p=1))


def oracle_jensen_shannon(one: np.ndarray, other: np.ndarray) -> float:
    pairs = zip(one.T, other.T, strict=True)
    return float(np.mean([scipy_distance.jensenshannon(softmax(a), softmax(b)) ** 2 for a, b in pairs]))


def oracle_symmetric_kl(one: np.ndarray, other: np.ndarray) -> float:
    pairs = [(softmax(a), softmax(b)) for a, b in zip(one.T, other.T, strict=True)]
    return float(np.mean([(entropy(p, q) + entropy(q, p)) / 2 for p, q in pairs]))


@each_distance
@pytest.mark.parametrize("shape", [(3, 20, 7), (2, 1, 5), (2, 9, 1)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_distance_equals_its_oracle(name: str, shape: tuple[int, int, int], scale: float) -> None:
    one, other = (side * scale for side in tokens(shape, 1, torch.float64))
    expected = [globals()[f"oracle_{name}"](a.numpy(), b.numpy()) for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(measure(name, one, other).numpy(), expected, rtol=1e-9, atol=1e-13)


def test_sliced_directions_are_unit_vectors_and_never_change() -> None:
    directions = _cached_directions(5)
    assert directions.shape == (5, DIRECTIONS)
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(DIRECTIONS, dtype=torch.float64))
    state = torch.random.get_rng_state()
    _cached_directions.cache_clear()
    assert torch.equal(_cached_directions(5), directions)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", distances.DISTRIBUTION)
def test_moving_tokens_on_both_sides_changes_no_distribution_distance(name: str) -> None:
    one, other = tokens((2, 10, 4), 3, torch.float64)
    torch.testing.assert_close(measure(name, one.flip(1), other.flip(1)), measure(name, one, other))


@pytest.mark.parametrize("name", ["wasserstein", "sliced_wasserstein"])
def test_transport_ignores_where_tokens_are(name: str) -> None:
    one, _ = tokens((2, 10, 4), 3, torch.float64)
    assert (measure(name, one, one.flip(1)) < 1e-12).all()


@each_distance
@few
@given(shape=shapes, seed=seeds)
def test_equal_inputs_are_exactly_zero(name: str, shape: tuple[int, int, int], seed: int) -> None:
    one, _ = tokens(shape, seed)
    assert measure(name, one, one.clone()).tolist() == [0.0] * shape[0]


@each_distance
@few
@given(shape=shapes, seed=seeds, noise=st.sampled_from([1e-6, 1e-3, 1.0, 100.0]))
def test_symmetric_and_never_negative(name: str, shape: tuple[int, int, int], seed: int, noise: float) -> None:
    one, step = tokens(shape, seed)
    other = one + noise * step
    value = measure(name, one, other)
    assert value.shape == (shape[0],)
    assert (value >= 0).all()
    torch.testing.assert_close(measure(name, other, one), value, rtol=1e-6, atol=0)


@each_distance
@few
@given(shape=shapes, seed=seeds)
def test_float64_stays_float64_and_agrees_with_float32(name: str, shape: tuple[int, int, int], seed: int) -> None:
    one, other = tokens(shape, seed)
    double = measure(name, one.double(), other.double())
    assert double.dtype == torch.float64
    assert measure(name, one, other).dtype == torch.float32
    torch.testing.assert_close(measure(name, one, other).double(), double, rtol=1e-4, atol=1e-6)


def special_pairs() -> dict[str, tuple[Tensor, Tensor]]:
    one, other = tokens((2, 6, 5), 0)
    zero, differing, gap = torch.zeros_like(one), one.clone(), one.clone()
    differing[0, 0, 0] += 1e-3
    gap[:, 2] = 0
    return {
        "random": (one, other),
        "equal": (one, one.clone()),
        "all_zero": (zero, zero.clone()),
        "zero_against_random": (zero, other),
        "zero_token": (gap, other),
        "zero_token_on_both_sides": (gap, gap.clone()),
        "constant": (torch.full_like(one, 0.5), torch.full_like(one, 0.5)),
        "two_constants": (torch.full_like(one, 0.5), torch.full_like(one, -2.0)),
        "opposite": (one, -one),
        "scaled": (one, 2 * one),
        "huge": (1e3 * one, 1e3 * other),
        "tiny": (1e-20 * one, 1e-20 * other),
        "one_differing_element": (one, differing),
    }


@each_distance
@pytest.mark.parametrize("case", special_pairs())
def test_value_and_gradients_are_finite(name: str, case: str) -> None:
    pair = [side.requires_grad_() for side in special_pairs()[case]]
    value = measure(name, *pair)
    value.sum().backward()
    assert (value.isfinite() & (value >= 0)).all()
    for side in pair:
        assert side.grad is not None
        assert side.grad.isfinite().all()


@each_distance
def test_gradients_are_the_derivatives(name: str) -> None:
    pair = [side.requires_grad_() for side in tokens((2, 5, 3), 4, torch.float64)]
    assert torch.autograd.gradcheck(getattr(distances, name), pair)


@each_distance
@pytest.mark.parametrize("noise", [1e-2, 1e-3, 1e-4])
def test_small_distances_keep_their_digits_in_float32(name: str, noise: float) -> None:
    one, step = tokens((4, 49, 64), 5)
    other = one + noise * step
    exact = measure(name, one.double(), other.double())
    torch.testing.assert_close(measure(name, one, other).double(), exact, rtol=1e-2, atol=0)


@each_distance
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_a_network_could_not_compute_is_not_taken_for_equal(name: str, value: float) -> None:
    """Half precision overflows beyond 65504."""
    one, other = tokens((2, 6, 4), 0)
    one[1, 2, 3] = value
    found = measure(name, one, other)
    assert found[0].isfinite()
    assert not found[1].isfinite()
    assert not measure(name, other, one)[1].isfinite()


def test_small_cosine_beats_one_minus_cosine_similarity() -> None:
    one, step = tokens((4, 49, 64), 5)
    other = one + 1e-4 * step
    exact = distances.cosine(one.double(), other.double())
    ours = distances.cosine(one, other).double()
    plain = (1 - F.cosine_similarity(one, other, dim=-1)).mean(1).double()
    assert ((ours - exact).abs() / exact).max() < 0.01
    assert ((plain - exact).abs() / exact).max() > 0.01


@pytest.mark.parametrize("name", distances.POINTWISE)
def test_mean_of_the_map_is_the_distance(name: str) -> None:
    one, other = tokens((3, 8, 6), 6)
    drawn = distances.POINTWISE[name](one, other)
    assert drawn.shape == (3, 8)
    assert torch.equal(drawn.mean(1), measure(name, one, other))
    assert (drawn >= 0).all()
    assert getattr(distances, name).__name__ == name


def test_bounds_are_reached() -> None:
    one, _ = tokens((2, 6, 5), 7, torch.float64)
    torch.testing.assert_close(distances.cosine(one, -one), torch.full((2,), 2.0, dtype=torch.float64))
    torch.testing.assert_close(distances.angular(one, -one), torch.ones(2, dtype=torch.float64))
    spike = torch.zeros(1, 2, 1, dtype=torch.float64)
    spike[0, 0] = 1e3
    assert distances.jensen_shannon(spike, spike.flip(1)).item() == pytest.approx(np.log(2))


def mean_absolute(preds: Tensor, target: Tensor) -> Tensor:
    return (preds - target).abs().mean((1, 2))


def mean_squared(preds: Tensor, target: Tensor) -> Tensor:
    return (preds - target).square().mean((1, 2))


def test_own_callable_runs_beside_named_distances() -> None:
    pair = make_pair(2)
    result = FeatureComparator(Recipe(**RANDOM_VIT, distance=[mean_squared, "l2", mean_absolute]))(*pair)[0].scores()
    assert list(result) == ["mean_squared", "l2", "mean_absolute"]
    torch.testing.assert_close(result["mean_squared"], result["l2"])
    assert (result["mean_absolute"] > 0).all()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda preds, target: (preds - target).abs().mean(2),
        lambda preds, target: (preds - target).abs().mean(),
        lambda preds, target: 1.0,
    ],
    ids=["map", "scalar", "no_tensor"],
)
def test_own_callable_of_the_wrong_shape_is_named(wrong) -> None:
    comparator = FeatureComparator(Recipe(**RANDOM_VIT, distance=wrong))
    with pytest.raises(ValueError, match=r"`distance` .* must return a tensor \(2,\), got"):
        comparator(*make_pair(2))
