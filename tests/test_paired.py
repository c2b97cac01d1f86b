"""Statistics of methods on the same images: intervals cover what they say, and chance settles nothing."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from torchmetrics_fmiqa.statistics.bootstrap_t import bootstrap_t
from torchmetrics_fmiqa.statistics.paired import compare_paired

RUNS = 4000
#: Name -> how to draw ``(n, runs)`` values, and their true mean.
DRAWN = {
    "normal": (lambda rng, shape: rng.normal(3.0, 2.0, size=shape), 3.0),
    "gamma": (lambda rng, shape: rng.gamma(2.0, size=shape), 2.0),
    "exponential": (lambda rng, shape: rng.exponential(size=shape), 1.0),
}


def methods(seed: int, count: int, methods: int = 3, metrics: int = 2, skewed: bool = False) -> np.ndarray:
    """Scores ``(methods, metrics, images)`` of methods that do not differ, on images that do."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(methods, metrics, count))
    if skewed:
        noise[0] = rng.exponential(size=(metrics, count)) - 1
    return rng.normal(0, 3, size=(1, metrics, count)) + noise


@pytest.mark.parametrize("count", [14, 25, 100])
@pytest.mark.parametrize("name", DRAWN)
def test_a_95_interval_covers_the_truth_in_93_to_97_percent_of_runs(name: str, count: int) -> None:
    draw, truth = DRAWN[name]
    found = bootstrap_t(draw(np.random.default_rng(count), (count, RUNS)), resamples=1499)
    covered = ((found.low < truth) & (truth < found.high)).mean()
    assert 0.93 <= covered <= 0.97


def test_percentiles_of_resampled_means_would_not_cover() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(14, RUNS))
    means = rng.multinomial(14, np.full(14, 1 / 14), size=1499) / 14 @ values
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    assert ((low < 0) & (high > 0)).mean() < 0.93


def test_groups_are_drawn_together() -> None:
    # Images of a scene share its difficulty: as if there were 25 of them, not 175.
    rng = np.random.default_rng(5)
    scene = np.repeat(np.arange(25), rng.integers(4, 11, size=25))
    values = rng.normal(size=(25, RUNS))[scene] + 0.3 * rng.normal(size=(len(scene), RUNS))
    together, apart = bootstrap_t(values, scene, resamples=1499), bootstrap_t(values, resamples=1499)
    covered, fooled = (((one.low < 0) & (one.high > 0)).mean() for one in (together, apart))
    assert 0.93 <= covered <= 0.975
    assert fooled < 0.7
    np.testing.assert_allclose(together.mean, values.mean(0))


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("count", [14, 100])
def test_where_no_methods_differ_at_most_one_run_in_twenty_settles_any(count: int, skewed: bool) -> None:
    runs = 400
    settled = [
        compare_paired(methods(seed, count, skewed=skewed), [True, False], resamples=499, seed=seed).settled.any()
        for seed in range(runs)
    ]
    # Three standard errors of the simulation above 5 %.
    assert np.mean(settled) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


def test_a_true_difference_is_settled_and_the_figures_are_those_of_the_scores() -> None:
    scores = methods(1, 40)
    scores[0, 0] += 2  # better by a quality
    scores[1, 1] += 2  # worse by a distance
    found = compare_paired(scores, [True, False])
    np.testing.assert_allclose(found.mean, scores.mean(2))
    np.testing.assert_allclose(found.difference[0, 1], (scores[0] - scores[1]).mean(1))
    np.testing.assert_allclose(found.difference_low, -np.swapaxes(found.difference_high, 0, 1))
    assert found.settled[:, :, 0].tolist() == [[0, 1, 1], [-1, 0, 0], [-1, 0, 0]]
    assert found.settled[:, :, 1].tolist() == [[0, 1, 0], [-1, 0, -1], [0, 1, 0]]
    assert found.rank.tolist() == [[1, 1], [2, 3], [2, 1]]
    np.testing.assert_allclose(found.won[0, 1, 0], (scores[0, 0] > scores[1, 0]).mean())
    np.testing.assert_allclose(found.won[0, 1, 1], (scores[0, 1] < scores[1, 1]).mean())
    np.testing.assert_allclose(found.won + np.swapaxes(found.won, 0, 1), 1)
    assert (found.p_holm >= found.p).all()
    inside = (found.difference_low <= 0) & (found.difference_high >= 0)
    assert (found.p[inside] >= 0.05).all()


def test_equal_methods_are_tied_for_certain() -> None:
    scores = np.stack([methods(0, 20)[0]] * 2)
    found = compare_paired(scores, [True, True])
    assert not found.settled.any()
    assert (found.p == 1).all()
    assert (found.difference_low == 0).all()
    assert (found.difference_high == 0).all()
    assert (found.won == 0.5).all()


@pytest.mark.parametrize(("count", "settled"), [(2, False), (5, False), (12, True)])
def test_a_difference_without_spread_is_settled_by_its_sign_alone(count: int, settled: bool) -> None:
    # Two images that both gain exactly 1 dB are no certainty: so do two coins in half of all throws.
    scores = np.stack([np.arange(count) + 1.0, np.arange(count) + 0.0])[:, None]
    found = compare_paired(scores, [True])
    assert found.p[0, 1, 0] == 2.0 ** (1 - count)
    assert bool(found.settled.any()) is settled


def test_only_images_that_all_methods_have_a_finite_score_of_count() -> None:
    scores = methods(2, 30)
    scores[1, 0, 3], scores[2, 0, 7] = np.nan, np.inf
    found = compare_paired(scores, [True, True])
    kept = np.delete(np.arange(30), [3, 7])
    assert found.images.tolist() == [28, 30]
    np.testing.assert_allclose(found.mean[:, 0], scores[:, 0, kept].mean(1))
    alone = compare_paired(scores[:, :1, kept], [True])
    np.testing.assert_allclose(found.difference_low[:, :, 0], alone.difference_low[:, :, 0])


def test_one_image_has_no_interval_and_settles_nothing() -> None:
    found = compare_paired(methods(0, 1), [True, True])
    assert np.isnan(found.low).all()
    assert np.isnan(found.p_holm[~np.eye(3, dtype=bool)]).all()
    assert not found.settled.any()
    assert (found.rank == 1).all()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.integers(2, 4).flatmap(
        lambda count: st.lists(st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=6), min_size=count, max_size=count)
    )
)
def test_any_scores_give_finite_intervals_around_the_mean(columns: list[list[float]]) -> None:
    found = bootstrap_t(np.array(columns).T, resamples=199)
    assert np.isfinite([found.low, found.high, found.p]).all()
    assert (found.low <= found.mean).all()
    assert (found.mean <= found.high).all()
    assert ((found.p >= 0) & (found.p <= 1)).all()


def test_a_shift_and_a_unit_change_no_verdict() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=(20, 3)) - 1.5
    plain, scaled, moved = bootstrap_t(values), bootstrap_t(1e-9 * values), bootstrap_t(values + 1e6)
    np.testing.assert_allclose(scaled.low, 1e-9 * plain.low, rtol=1e-9)
    np.testing.assert_allclose(scaled.p, plain.p, rtol=1e-9)
    np.testing.assert_allclose(moved.low - 1e6, plain.low, atol=1e-6)


def test_p_is_that_of_student_where_the_resamples_are_tamer() -> None:
    # Of two values the resamples know nothing: Student's t stands in.
    values = np.array([[1.0], [2.0]])
    np.testing.assert_allclose(bootstrap_t(values).p, stats.ttest_1samp(values[:, 0], 0).pvalue)


@pytest.mark.parametrize("count", [3, 4, 5, 8])
def test_of_a_handful_of_images_no_interval_is_absurd(count: int) -> None:
    # Resamples of nearly equal values have next to no standard error, and their ratios no bound.
    values = np.random.default_rng(count).normal(size=(count, 500))
    found = bootstrap_t(values)
    student = stats.t.ppf(0.975, count - 1) * values.std(0, ddof=1) / np.sqrt(count)
    for half in (found.mean - found.low, found.high - found.mean):
        assert (half >= 0.999 * student).all()
        assert (half <= 2.001 * student).all()
    assert ((found.low < 0) & (found.high > 0)).mean() > 0.93


def test_ten_thousand_images_are_a_matter_of_seconds() -> None:
    scores = methods(0, 10_000, methods=6, metrics=5)
    begin = time.perf_counter()
    compare_paired(scores, [True] * 5)
    assert time.perf_counter() - begin < 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((1, 1, 5)), [True]), "at least two methods, got shape"),
        ((np.zeros((2, 2, 5)), [True]), "one truth value for each of 2 metrics"),
        ((np.zeros((2, 1, 0)), [True]), "at least two methods, got shape"),
        ((np.zeros((2, 1, 5)), [True], None, 0.95, 1.5), "`alpha` must be between 0 and 1"),
        ((np.random.default_rng(0).normal(size=(2, 1, 5)), [True], None, 2.0), "`level` must be between 0 and 1"),
        ((np.random.default_rng(0).normal(size=(2, 1, 5)), [True], [1, 2]), "`group` must hold"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_paired(*arguments)
