"""The statistics against scipy on rows that are really repeated, published examples, and simulations."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.conftest import ASSETS, needs
from torchmetrics_fmiqa.statistics import (
    agreement,
    aligned,
    compare,
    find_outliers,
    fit_logistic,
    holm,
    infer_direction,
    interval,
    jnd_map,
    krcc,
    logistic_curve,
    plcc,
    resample,
    srcc,
    srcc_by_group,
    steiger_z,
    two_afc,
)
from torchmetrics_fmiqa.statistics.bootstrap import draws
from torchmetrics_fmiqa.statistics.bootstrap_t import bootstrap_t
from torchmetrics_fmiqa.statistics.mean_interval import mean_interval

# Few values, so that many tie.
TIED = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=4, max_size=40).filter(
    lambda rows: all(len(set(side)) > 1 for side in zip(*rows, strict=True))
)


def made_up(count: int = 300, references: int = 20, seed: int = 0, ties: bool = False):
    """Scores ``(n, 3)``, opinions and references; groups of different sizes, in no order."""
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, references, size=count)
    reference[:references] = np.arange(references)
    opinion = rng.normal(size=count) + 0.5 * rng.normal(size=references)[reference]
    scores = opinion[:, None] + np.array([0.3, 1.0, 3.0]) * rng.normal(size=(count, 3))
    if ties:
        scores, opinion = np.round(scores), np.round(opinion)
    return scores, opinion, reference


# Correlations


@given(TIED)
def test_coefficients_are_those_of_scipy(rows):
    x, y = np.array(rows, dtype=float).T
    assert srcc(x, y).value == stats.spearmanr(x, y).statistic
    assert krcc(x, y).value == stats.kendalltau(x, y, variant="b").statistic
    assert plcc(x, y).value == stats.pearsonr(x, y).statistic


@given(TIED)
def test_rank_correlations_do_not_change_under_a_monotone_map(rows):
    x, y = np.array(rows, dtype=float).T
    for coefficient in (srcc, krcc):
        assert coefficient(np.exp(x), y**3).value == pytest.approx(coefficient(x, y).value, abs=1e-12)
        assert coefficient(-x, y).value == pytest.approx(-coefficient(x, y).value, abs=1e-12)


def test_tau_b_counts_ties_on_both_sides():
    x, y = np.array([1, 2, 2, 3, 4]), np.array([1, 1, 2, 3, 3])
    pairs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i in range(5) for j in range(i)]
    expected = sum(a * b for a, b in pairs) / np.sqrt(sum(a * a for a, _ in pairs) * sum(b * b for _, b in pairs))
    assert krcc(x, y).value == pytest.approx(expected)


@pytest.mark.parametrize("coefficient", [srcc, krcc, plcc])
def test_a_bad_metric_is_nan_with_its_reason(coefficient):
    found = coefficient([2.0, 2.0, 2.0, 2.0], [1.0, 2.0, 3.0, 4.0])
    assert np.isnan(found.value)
    assert found.reason == "is constant"
    found = coefficient([2.0, np.nan, 2.0, 2.0], [1.0, 2.0, 3.0, 4.0])
    assert np.isnan(found.value)
    assert found.reason == "holds 1 NaN"


def test_an_infinite_score_has_a_rank_but_no_line():
    x, y = [1.0, 2.0, 3.0, np.inf], [1.0, 2.0, 3.0, 4.0]
    assert srcc(x, y).value == pytest.approx(1)
    assert krcc(x, y).value == pytest.approx(1)
    assert np.isnan(plcc(x, y).value)
    assert "infinite" in plcc(x, y).reason
    assert "infinite" in fit_logistic(x, y).reason


@pytest.mark.parametrize(
    ("scores", "opinion", "message"),
    [
        ([1, 2, 3], [1, 2], "`opinion` must hold at least 3 values, got 2"),
        ([1, 2, 3], [1, np.nan, 2], "`opinion` must be finite, got nan at row 1"),
        ([1, 2, 3], [4, 4, 4], "`opinion` must differ between images, got 4.0"),
        ([1, 2], [1, 2, 3], "`scores` must hold 3 values, one an image, got 2"),
        ([[1, 2, 3]], [1, 2, 3], "`scores` must be one column"),
        (["a", "b", "c"], [1, 2, 3], "`scores` must be numbers"),
    ],
)
def test_bad_input_is_an_error_that_names_it(scores, opinion, message):
    with pytest.raises(ValueError, match=message):
        srcc(scores, opinion)


def test_srcc_by_group_is_that_of_each_group_alone():
    scores, opinion, reference = made_up(ties=True)
    found = srcc_by_group(scores, opinion, reference, 20)
    for place in range(20):
        rows = reference == place
        for metric in range(3):
            enough = min(len(np.unique(scores[rows, metric])), len(np.unique(opinion[rows]))) >= 3
            expected = stats.spearmanr(scores[rows, metric], opinion[rows]).statistic if enough else np.nan
            assert found[place, metric] == pytest.approx(expected, abs=1e-12, nan_ok=True)


# Logistic fits


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("shift", "scale"), [(0, 1), (1e6, 1e3), (-5, 1e-7)])
def test_a_fit_finds_the_curve_that_made_the_data_in_either_direction_and_any_unit(sign, shift, scale):
    x = np.random.default_rng(0).normal(size=200)
    y = logistic_curve(x, (90.0, 10.0, 0.5, 0.7 * sign)) if sign > 0 else logistic_curve(x, (10.0, 90.0, 0.5, 0.7))
    fit = fit_logistic(shift + scale * x, y)
    assert fit.converged
    expected = (90 if sign > 0 else 10, 10 if sign > 0 else 90, shift + scale * 0.5, scale * 0.7)
    np.testing.assert_allclose(fit.parameters, expected, rtol=1e-4)
    np.testing.assert_allclose(fit.fitted, y, atol=1e-4)
    np.testing.assert_allclose(fit(shift + scale * x), y, atol=1e-4)
    assert fit.plcc == pytest.approx(1)
    assert fit.rmse < 1e-4


@pytest.mark.parametrize("sign", [1, -1])
def test_five_parameters_find_the_curve_that_made_the_data(sign):
    x = np.random.default_rng(0).normal(size=300)
    y = logistic_curve(100 + 10 * x, (40.0 * sign, 0.3, 101.0, 0.5 * sign, 7.0))
    fit = fit_logistic(100 + 10 * x, y, form=5)
    assert fit.converged
    assert not fit.reason
    np.testing.assert_allclose(fit.parameters, (40.0 * sign, 0.3, 101.0, 0.5 * sign, 7.0), rtol=1e-3)
    np.testing.assert_allclose(fit(100 + 10 * x), y, atol=1e-4)


def test_five_parameters_never_fit_worse_than_four():
    for seed in range(5):
        scores, opinion, _ = made_up(seed=seed)
        for one in scores.T:
            assert fit_logistic(one, opinion, 5).rmse <= fit_logistic(one, opinion, 4).rmse * (1 + 1e-9)


def test_a_curve_of_five_parameters_is_monotone_even_if_the_data_turn_around():
    x = np.linspace(-3, 3, 200)
    fit = fit_logistic(x, x - 0.9 * np.maximum(x - 1, 0) ** 2, form=5)
    assert fit.converged
    assert "turns around" in fit.reason
    assert (np.diff(fit.fitted) >= -1e-12).all()


def test_plcc_and_rmse_are_those_of_the_fitted_values():
    scores, opinion, _ = made_up()
    fit = fit_logistic(scores[:, 1], opinion)
    assert fit.plcc == pytest.approx(stats.pearsonr(fit.fitted, opinion).statistic)
    assert fit.rmse == pytest.approx(np.sqrt(np.mean((opinion - fit.fitted) ** 2)))
    np.testing.assert_allclose(fit.residuals, opinion - fit.fitted)


@pytest.mark.parametrize("form", [4, 5])
@pytest.mark.parametrize(
    "shape", [lambda x: x, lambda x: -x, np.exp, lambda x: np.exp(-3 * x), lambda x: x > 0.3, lambda x: x**3]
)
def test_lines_exponentials_and_steps_are_fitted_too(form, shape):
    x = np.random.default_rng(1).normal(size=100)
    fit = fit_logistic(x, np.asarray(shape(x), dtype=float), form)
    assert fit.converged
    assert fit.plcc > 0.85
    assert np.isfinite(fit.parameters).all()


@pytest.mark.parametrize("form", [4, 5])
def test_a_failed_fit_says_so_and_is_nan(form):
    scores, opinion, _ = made_up()
    fit = fit_logistic(scores[:, 0], opinion, form, max_evaluations=1)
    assert not fit.converged
    assert fit.reason == "found no end in 1 evaluations"
    assert np.isnan([fit.plcc, fit.rmse, *fit.parameters]).all()
    assert np.isnan(fit.fitted).all()
    assert fit.fitted.shape == opinion.shape
    few = fit_logistic(scores[:form, 0], opinion[:form], form)
    assert few.reason == f"{form} images are too few for {form} parameters"
    assert fit_logistic(np.ones(300), opinion, form).reason == "is constant"


def test_few_rows_ties_and_extremes_are_fitted_or_told_why_not():
    """Every way in which a small table can be odd: a number, or NaN with its reason; never worse than a line."""
    rng = np.random.default_rng(0)
    row = np.arange(6.0)
    columns = {"two values": row // 3, "ties": row // 2, "far": [*row[:5], 1e12], "tiny": row * 1e-300}
    columns |= {"huge": row * 1e300, "offset": 1e9 + row, "one apart": row == 2, "scattered": rng.normal(size=6)}
    odd = {"constant": row * 0, "infinite": [*row[:5], np.inf], "missing": [*row[:5], np.nan]}
    pairs = {
        (one, other, count): (np.asarray(x, float)[:count], np.asarray(y, float)[:count])
        for one, x in (columns | odd).items()
        for other, y in columns.items()
        if other in ("ties", one)
        for count in (3, 6)
    }
    for case, (x, y) in pairs.items():
        if y.min() == y.max():
            for function in (srcc, krcc, plcc, fit_logistic):
                with pytest.raises(ValueError, match="`opinion` must differ"):
                    function(x, y)
            continue
        for coefficient in (srcc, krcc, plcc):
            found = coefficient(x, y)
            assert np.isnan(found.value) == bool(found.reason), case
            assert np.isnan(found.value) or abs(found.value) <= 1, case
        line = plcc(x, y).value
        for form in (4, 5):
            fit = fit_logistic(x, y, form)
            assert not (fit.converged and (len(x) <= form or case[0] in odd)), case
            if (
                len(x) > form and abs(line) > 0.1 and not {"tiny", "huge"} & set(case)
            ):  # of which squares are 0 or infinite
                assert fit.converged, case
            if fit.converged:
                assert fit.plcc >= abs(line) - 1e-5, case
                assert fit.rmse <= (np.sqrt(max(0, 1 - line**2)) + 1e-4) * y.std(), case
            else:
                assert fit.reason, case
                assert np.isnan([fit.plcc, fit.rmse, *fit.fitted]).all(), case


def test_an_unknown_form_is_an_error():
    with pytest.raises(ValueError, match="`form` must be 4 or 5 parameters, got 3"):
        fit_logistic([1, 2, 3], [1, 2, 3], 3)
    with pytest.raises(ValueError, match="`parameters` must be 4 or 5 numbers, got 1"):
        logistic_curve([1, 2, 3], (1.0,))


# Outliers


def test_outliers_by_the_interval_of_the_mean_opinion():
    residuals, std, votes = np.array([1.0, 1.0, -1.0, 0.0]), np.array([2.0, 2.0, 2.0, 0.0]), np.array([10, 30, 30, 5])
    found = find_outliers(residuals, std, votes)
    for place in range(3):
        half = stats.t.interval(0.95, votes[place] - 1, scale=std[place] / np.sqrt(votes[place]))[1]
        assert found.outlying[place] == (abs(residuals[place]) > half)
    assert found.outlying.tolist() == [False, True, True, False]
    assert found.ratio == 0.5
    np.testing.assert_allclose(found.z, [np.sqrt(10) / 2, np.sqrt(30) / 2, -np.sqrt(30) / 2, 0])
    assert "95 % interval" in found.rule


def test_outliers_by_std_alone_and_by_nothing():
    assert find_outliers([1.9, 2.0, -3.0, 0.0], std=1.0).outlying.tolist() == [False, True, True, False]
    residuals = np.array([0.1] * 20 + [5.0])
    found = find_outliers(residuals)
    assert found.ratio == pytest.approx(1 / 21)
    np.testing.assert_allclose(found.z, residuals / np.sqrt(np.mean(residuals**2)))
    assert found.rule == "|residual| > 2 standard deviations of the residuals"
    assert find_outliers(np.zeros(3)).ratio == 0
    assert np.isnan(find_outliers([1.0, np.nan]).ratio)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"std": -1.0}, "`std` must be at least 0 for every image, got -1.0"),
        ({"std": [1.0, np.nan]}, "`std` must be at least 0 for every image, got nan"),
        ({"std": [1.0]}, "`std` must hold 2 values"),
        ({"std": 1.0, "votes": 1}, "`votes` must be at least 2 for every image, got 1"),
        ({"votes": 9}, "together with `std`"),
    ],
)
def test_bad_knowledge_of_votes_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        find_outliers([0.1, 0.2], **options)


# Bootstrap


@pytest.mark.parametrize("ties", [False, True])
def test_a_resample_is_exactly_scipy_on_repeated_rows(ties):
    scores, opinion, reference = made_up(ties=ties, seed=3)
    fitted = np.stack([fit_logistic(one, opinion).fitted for one in scores.T], axis=1)
    found = resample(scores, opinion, reference, fitted, resamples=30, seed=5)
    assert found.references == 20
    times = np.concatenate(list(draws(20, 30, 5, 7)), axis=1).astype(int)
    for place in range(30):
        assert times[:, place].sum() == 20
        rows = np.repeat(np.arange(len(opinion)), times[reference, place])
        for metric in range(3):
            x, y = scores[rows, metric], opinion[rows]
            assert found.srcc[place, metric] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
            assert found.plcc_raw[place, metric] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
            expected = stats.pearsonr(fitted[rows, metric], y).statistic
            assert found.plcc[place, metric] == pytest.approx(expected, abs=1e-12)
    inside = np.nan_to_num(srcc_by_group(scores, opinion, reference, 20))
    known = ~np.isnan(srcc_by_group(scores, opinion, reference, 20))
    expected = (times.T @ inside) / (times.T @ known)
    np.testing.assert_allclose(found.within_reference, expected, atol=1e-12)


@settings(max_examples=50)
@given(TIED, st.integers(0, 1000))
def test_resamples_of_single_images_are_exact_under_ties(rows, seed):
    x, y = np.array(rows, dtype=float).T
    found = resample(x, y, resamples=3, seed=seed)
    times = np.concatenate(list(draws(len(x), 3, seed, 10)), axis=1).astype(int)
    for place in range(3):
        again = np.repeat(np.arange(len(x)), times[:, place])
        if min(len(np.unique(x[again])), len(np.unique(y[again]))) < 2:
            assert np.isnan(found.srcc[place, 0])
            assert np.isnan(found.plcc_raw[place, 0])
        else:
            assert found.srcc[place, 0] == pytest.approx(stats.spearmanr(x[again], y[again]).statistic, abs=1e-12)
            assert found.plcc_raw[place, 0] == pytest.approx(stats.pearsonr(x[again], y[again]).statistic, abs=1e-9)


def test_resamples_depend_on_the_seed_alone(monkeypatch):
    scores, opinion, reference = made_up()
    whole = resample(scores, opinion, reference, resamples=20, seed=1)
    monkeypatch.setattr("torchmetrics_fmiqa.statistics.bootstrap._CHUNK", 1000)
    pieces = resample(scores, opinion, reference, resamples=20, seed=1)
    np.testing.assert_array_equal(whole.srcc, pieces.srcc)
    np.testing.assert_allclose(whole.plcc_raw, pieces.plcc_raw, atol=1e-14)
    names = np.array([f"picture {one:02d}" for one in reference])
    np.testing.assert_array_equal(whole.srcc, resample(scores, opinion, names, resamples=20, seed=1).srcc)
    assert (whole.srcc != resample(scores, opinion, reference, resamples=20, seed=2).srcc).any()


def test_a_bad_metric_is_nan_in_every_resample_and_leaves_the_others_alone():
    scores, opinion, reference = made_up()
    bad = np.column_stack([np.ones(300), scores, np.where(np.arange(300) == 4, np.nan, scores[:, 0])])
    found, alone = (resample(one, opinion, reference, resamples=10) for one in (bad, scores))
    assert np.isnan(found.srcc[:, [0, 4]]).all()
    assert np.isnan(found.plcc_raw[:, [0, 4]]).all()
    np.testing.assert_array_equal(found.srcc[:, 1:4], alone.srcc)
    np.testing.assert_allclose(found.plcc_raw[:, 1:4], alone.plcc_raw, atol=1e-14)


def test_intervals_hold_the_estimate_and_about_their_level_of_the_draws():
    for seed in range(10):
        scores, opinion, reference = made_up(seed=seed)
        found = resample(scores, opinion, reference, resamples=300, seed=seed)
        low, high = interval(found.srcc)
        estimates = np.array([srcc(one, opinion).value for one in scores.T])
        assert ((low < estimates) & (estimates < high)).all()
        assert (((found.srcc >= low) & (found.srcc <= high)).mean(0) == pytest.approx(0.95, abs=0.01)) is True


def test_intervals_of_nothing_are_nan_and_leave_out_what_is_missing():
    low, high = interval(np.array([[np.nan, 1.0], [np.nan, np.nan], [np.nan, 3.0]]))
    assert np.isnan([low[0], high[0]]).all()
    assert 1 <= low[1] < high[1] <= 3
    with pytest.raises(ValueError, match="`level` must be between 0 and 1"):
        interval([1.0, 2.0], level=95)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resamples": 0}, "`resamples` must be at least 1, got 0"),
        ({"reference": np.zeros(300)}, "one reference only"),
        ({"reference": np.zeros(5)}, "`reference` must hold 300 ids"),
        ({"reference": np.full(300, np.nan)}, "an id, got NaN at row 0"),
        ({"fitted": np.zeros((300, 2))}, "`fitted` must have one column for each metric"),
    ],
)
def test_resampling_what_cannot_be_is_an_error(options, message):
    scores, opinion, reference = made_up()
    with pytest.raises(ValueError, match=message):
        resample(scores, opinion, **{"reference": reference, **options})


# Significance


def test_steiger_is_that_of_the_paper_and_of_a_published_program():
    # Steiger (1980), p. 249, case A: -.8913, worked by hand from a covariance rounded to .0042.
    assert steiger_z(0.4, 0.5, 0.1, 103)[0] == pytest.approx(-0.8913, abs=0.003)
    # depcor (Silver, Hittner and May, Applied Psychological Measurement 30, 2006)
    z, p = steiger_z(0.3, 0.4, 0.5, 100)
    assert (round(z, 4), round(p, 4)) == (-1.0718, 0.2838)


def test_steiger_rejects_a_true_null_as_often_as_it_says():
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(2000):
        y = rng.normal(size=60)
        common = rng.normal(size=60)
        one, other = (y + common + rng.normal(size=60) for _ in range(2))
        r = np.corrcoef([one, other, y])
        rejected += steiger_z(r[0, 2], r[1, 2], r[0, 1], 60)[1] < 0.05
    assert 0.035 < rejected / 2000 < 0.065


@given(st.floats(-0.95, 0.95), st.floats(-0.95, 0.95), st.floats(-0.5, 0.5), st.integers(4, 500))
def test_steiger_does_not_care_which_metric_comes_first(one, other, between, count):
    z, p = steiger_z(one, other, between, count)
    assert steiger_z(other, one, between, count) == (pytest.approx(-z), pytest.approx(p))
    assert 0 <= p <= 1


def test_steiger_of_what_cannot_be():
    assert np.isnan(steiger_z(np.nan, 0.5, 0.5, 10)).all()
    assert steiger_z(0.5, 0.5, 1.0, 10) == (0.0, 1.0)
    assert steiger_z(1.0, 0.5, 0.5, 10) == (np.inf, 0.0)
    with pytest.raises(ValueError, match=r"`r_2` must be a correlation in \[-1, 1\], got 1.5"):
        steiger_z(0.5, 1.5, 0.5, 10)
    with pytest.raises(ValueError, match="`count` must be more than 3 images, got 3"):
        steiger_z(0.5, 0.4, 0.5, 3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_is_monotone_and_between_none_and_bonferroni(p):
    values = np.array(p)
    corrected = holm(values)
    order = np.argsort(values, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()
    assert (corrected >= values).all()
    assert (corrected <= np.minimum(1, values * len(values)) + 1e-15).all()
    assert corrected.min() == pytest.approx(min(1, values.min() * len(values)))
    back = np.random.default_rng(0).permutation(len(values))
    np.testing.assert_array_equal(holm(values[back]), corrected[back])


def test_holm_leaves_nan_out():
    found = holm([0.01, np.nan, 0.04])
    np.testing.assert_allclose(found, [0.02, np.nan, 0.04])
    with pytest.raises(ValueError, match="probabilities"):
        holm([0.5, 1.5])


@pytest.mark.parametrize("test", ["bootstrap", "bootstrap_share", "steiger"])
def test_a_comparison_is_antisymmetric_and_finds_the_better_metric(test):
    scores, opinion, reference = made_up()
    table = {
        "good": scores[:, 0],
        "same": np.exp(scores[:, 0]),
        "fair": scores[:, 1],
        "bad": scores[:, 2],
        "no": np.ones(300),
    }
    found = compare(table, opinion, reference, test=test, resamples=500)
    assert found.metrics == tuple(table)
    np.testing.assert_array_equal(found.beats, -found.beats.T)
    np.testing.assert_allclose(found.p, found.p.T)
    np.testing.assert_array_equal(found.p_holm, found.p_holm.T)
    np.testing.assert_allclose(found.low, -found.high.T)
    expected = np.sign([[0, 0, 1, 1, 0], [0, 0, 1, 1, 0], [-1, -1, 0, 1, 0], [-1, -1, -1, 0, 0], [0] * 5])
    np.testing.assert_array_equal(found.beats, expected)
    assert (found.p[:2, :2] == 1).all()
    assert np.isnan(found.p[4]).all()
    assert found.difference[0, 2] == pytest.approx(
        srcc(scores[:, 0], opinion).value - srcc(scores[:, 1], opinion).value
    )
    assert found.low[0, 2] < found.difference[0, 2] < found.high[0, 2]
    known = found.p[np.triu_indices(4, 1)]
    np.testing.assert_allclose(found.p_holm[:4, :4][np.triu_indices(4, 1)], holm(known))


def test_the_bootstrap_heeds_that_images_of_one_reference_go_together():
    # Two metrics that are equally good, but each is wrong about whole references.
    wrong = {"bootstrap": 0, "steiger": 0}
    for seed in range(150):
        rng = np.random.default_rng(seed)
        reference = np.arange(300) // 10
        opinion = rng.normal(size=300)
        scores = opinion[:, None] + rng.normal(size=(30, 2))[reference] + 0.2 * rng.normal(size=(300, 2))
        drawn = resample(scores, opinion, reference, resamples=200)
        for test in wrong:
            wrong[test] += compare(scores, opinion, reference, test=test, drawn=drawn).p[0, 1] < 0.05
    assert wrong["bootstrap"] / 150 < 0.1
    assert wrong["steiger"] > wrong["bootstrap"]


def test_comparisons_that_cannot_be_are_errors():
    scores, opinion, reference = made_up()
    with pytest.raises(ValueError, match="one metric"):
        compare(scores[:, 0], opinion)
    with pytest.raises(ValueError, match="`test` must be one of bootstrap, bootstrap_share, steiger; got 'anova'"):
        compare(scores, opinion, test="anova")
    with pytest.raises(ValueError, match="take at least 120, or test='bootstrap'"):
        compare(scores, opinion, reference, test="bootstrap_share", resamples=100)
    with pytest.raises(ValueError, match="`drawn` must hold the same 2 metrics, got 3"):
        compare(scores[:, :2], opinion, drawn=resample(scores, opinion, resamples=2))
    with pytest.raises(ValueError, match="`alpha` must be between 0 and 1"):
        compare(scores, opinion, alpha=5)


# Choices


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0, 0.2, 0.5, 1])), min_size=1))
def test_two_afc_is_that_of_the_lpips_code(rows):
    first, second, share = np.array(rows, dtype=float).T
    expected = (first < second) * (1 - share) + (second < first) * share + (first == second) * 0.5
    assert two_afc(first, second, share) == pytest.approx(expected.mean())
    assert two_afc(first, second, share) == pytest.approx(two_afc(second, first, 1 - share))


@settings(deadline=None)  # the first call imports lpips
@given(st.lists(st.sampled_from([0.0, 1 / 3, 2 / 3, 1.0]), min_size=1, max_size=40).filter(any), st.integers(0, 99))
def test_jnd_map_is_that_of_the_lpips_code(shares, seed):
    lpips = pytest.importorskip("lpips")
    distances, same = np.random.default_rng(seed).permutation(len(shares)).astype(float), np.array(shares)
    ordered = same[np.argsort(distances)]
    hits = np.cumsum(ordered)
    expected = lpips.voc_ap(hits / ordered.sum(), hits / np.arange(1, len(same) + 1))
    assert jnd_map(distances, same) == pytest.approx(expected, abs=1e-12)


def test_jnd_map_does_not_depend_on_the_order_of_ties():
    distances, same = np.array([1.0, 1.0, 1.0, 2.0]), np.array([1.0, 0.0, 0.0, 1.0])
    assert jnd_map(distances, same) == jnd_map(distances[[2, 1, 0, 3]], same[[2, 1, 0, 3]])
    assert jnd_map(np.ones(4), same) == pytest.approx(0.5)


def test_choices_that_cannot_be_are_errors():
    with pytest.raises(ValueError, match=r"`preferred_1` must be shares of people in \[0, 1\], got 2.0"):
        two_afc([1.0], [2.0], [2.0])
    with pytest.raises(ValueError, match="`distance_1` must hold numbers, got NaN"):
        two_afc([1.0], [np.nan], [1.0])
    with pytest.raises(ValueError, match="`distances` must hold numbers, got none"):
        jnd_map([], [])
    with pytest.raises(ValueError, match="`same` is 0 for all pairs"):
        jnd_map([1.0, 2.0], [0.0, 0.0])


# Direction


def test_aligned_makes_agreement_positive_whatever_the_directions():
    scores, opinion, _ = made_up()
    for scores_up in (True, False):
        for opinion_up in (True, False):
            one, other = (scores if scores_up else -scores), (opinion if opinion_up else -opinion)
            turned = aligned(one, other, scores_up, opinion_up)
            np.testing.assert_array_equal(turned[0], scores)
            np.testing.assert_array_equal(turned[1], opinion)
    np.testing.assert_array_equal(aligned(scores, opinion, [True, False, True], True)[0], scores * [1, -1, 1])
    with pytest.raises(ValueError, match="one direction for each of 3 metrics, got 2"):
        aligned(scores, opinion, [True, False], True)


def test_the_direction_of_an_opinion_is_that_of_most_metrics():
    scores, opinion, _ = made_up()
    assert infer_direction(scores, opinion, True) == (True, 3, 3)
    assert infer_direction(scores, -opinion, True) == (False, 3, 3)
    assert infer_direction(-scores, opinion, False) == (True, 3, 3)
    assert infer_direction(scores, opinion, [True, True, False]) == (True, 2, 3)
    assert infer_direction(np.column_stack([scores, np.ones(300)]), opinion, True) == (True, 3, 3)
    with pytest.raises(ValueError, match="1 of 2 metrics say that a higher opinion is better and 1 that it is worse"):
        infer_direction(scores[:, :2], opinion, [True, False])


# The whole table


def test_agreement_puts_the_parts_together():
    scores, opinion, reference = made_up()
    kinds = np.where(np.arange(300) < 150, "blur", "noise")
    table = {"a": -scores[:, 0], "b": scores[:, 1], "broken": np.ones(300)}
    std = np.full(300, 0.5)
    directions = [False, True, True]
    first, second, broken = agreement(
        table, -opinion, reference, kinds, std, 20, directions, opinion_higher_is_better=False, resamples=200
    )
    fit = fit_logistic(scores[:, 0], opinion)
    inside = srcc_by_group(scores, opinion, reference, 20)[:, 0]
    drawn = resample(scores[:, [0]], opinion, reference, fit.fitted[:, None], 200)
    assert (first.metric, first.n) == ("a", 300)
    assert first.srcc == pytest.approx(srcc(scores[:, 0], opinion).value)
    assert first.krcc == pytest.approx(krcc(scores[:, 0], opinion).value)
    assert first.plcc_raw == pytest.approx(plcc(scores[:, 0], opinion).value)
    assert (first.plcc, first.rmse) == pytest.approx((fit.plcc, fit.rmse))
    assert first.outlier_ratio == find_outliers(fit.residuals, std, 20).ratio
    assert "95 %" in first.outlier_rule
    assert first.outliers.z.shape == (300,)
    assert first.within_reference == pytest.approx(np.nanmean(inside))
    assert first.within_counted + first.within_skipped == 20
    assert first.by_type["noise"] == pytest.approx(srcc(scores[150:, 0], opinion[150:]).value)
    assert first.worst_type == min(first.by_type, key=first.by_type.get)
    for name in ("srcc", "plcc", "plcc_raw", "within_reference"):
        assert first.intervals[name] == pytest.approx([float(one[0]) for one in interval(getattr(drawn, name))])
        assert first.intervals[name][0] < getattr(first, name) < first.intervals[name][1]
    assert second.srcc < first.srcc
    assert broken.notes == ("is constant",)
    assert np.isnan([broken.srcc, broken.krcc, broken.plcc, broken.rmse, broken.outlier_ratio]).all()
    assert np.isnan([*broken.intervals["srcc"], *broken.by_type.values(), broken.within_reference]).all()
    assert broken.worst_type == ""


def test_agreement_says_what_is_special():
    scores, opinion, reference = made_up()
    kinds = np.array(["rare"] * 2 + ["common"] * 298)
    (only,) = agreement(-scores[:, 0], opinion, type=kinds, resamples=5)
    assert "is a direction wrong?" in " ".join(only.notes)
    assert "type 'rare' has fewer than 3 distinct values" in only.notes
    assert any("drawn one by one" in note for note in only.notes)
    assert only.worst_type == "common"
    assert np.isnan(only.within_reference)
    (alone,) = agreement(scores[:, 0], opinion, np.zeros(300, dtype=int), resamples=5)
    assert alone.intervals == {}
    assert "no intervals: there is one reference only" in alone.notes
    (plain,) = agreement(scores[:, 0], opinion, reference, resamples=0)
    assert plain.intervals == {}
    assert all("5 parameters" in note for note in plain.notes)
    with pytest.raises(ValueError, match="`drawn` must hold the same 1 metrics, got 3"):
        agreement(scores[:, 0], opinion, drawn=resample(scores, opinion, resamples=2))
    with pytest.raises(ValueError, match=r"`scores\['a'\]` must hold 300 values"):
        agreement({"a": scores[:5, 0]}, opinion)
    with pytest.raises(ValueError, match="`scores` holds no metric"):
        agreement({}, opinion)


def test_the_statistics_need_no_torch():
    code = (
        "import sys, torchmetrics_fmiqa.statistics; assert not {'torch', 'torchmetrics', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Published scores (ZS-IQA's, of 42 metrics)


def published(dataset: str) -> tuple[dict[str, np.ndarray], np.ndarray, list[str], list[str]]:
    """Scores, opinions (higher is worse), references and names of the images."""
    with gzip.open(needs(ASSETS / "published" / f"zsiqa_{dataset}.csv.gz"), "rt") as file:
        rows = list(csv.DictReader(file))
    # Scores of shifted, scaled and rotated images end in "-1".
    metrics = [name for name in rows[0] if name not in ("dis", "ref", "mos") and not name.endswith("-1")]
    scores = {name: np.array([float(row[name]) for row in rows]) for name in metrics}
    opinion = np.array([float(row["mos"]) for row in rows])
    return scores, opinion, [row["ref"] for row in rows], [row["dis"] for row in rows]


KNOWN = {
    "tid2013": {"dinov1_l2": 0.7918, "fsim": 0.8509, "psnr": 0.6869, "lpips": 0.7687, "clip_vitb32_l2": 0.7933},
    "live": {"clip_vitb32_l2": 0.9676, "fsim": 0.9646, "psnr": 0.8730},
}


@pytest.mark.slow
@pytest.mark.parametrize("dataset", KNOWN)
def test_published_scores_agree_with_people_as_published(dataset):
    scores, opinion, reference, names = published(dataset)
    assert len(scores) == 42
    scores = {
        name: values for place, (name, values) in enumerate(scores.items()) if name in KNOWN[dataset] or place % 3 == 0
    }
    # PSNR is in the tables as it is; every other column is a distance, FSIM and MS-SSIM turned around to be one.
    higher_is_better = [name == "psnr" for name in scores]
    kinds = [name.split("_")[1] for name in names] if dataset == "tid2013" else None
    table = agreement(
        scores, opinion, reference, kinds, None, None, higher_is_better, opinion_higher_is_better=False, resamples=0
    )
    for row, up in zip(table, higher_is_better, strict=True):
        sign = -1 if up else 1
        raw = scores[row.metric]
        assert row.srcc == pytest.approx(sign * stats.spearmanr(raw, opinion).statistic, abs=1e-6)
        assert row.krcc == pytest.approx(sign * stats.kendalltau(raw, opinion).statistic, abs=1e-6)
        assert row.plcc_raw == pytest.approx(sign * stats.pearsonr(raw, opinion).statistic, abs=1e-6)
        # No fit fails, and a curve never does worse than the line it can become.
        assert row.fit.converged
        assert row.plcc >= row.plcc_raw - 1e-3
        fit5 = fit_logistic(*aligned(raw, opinion, up, False), 5)
        assert fit5.converged
        assert fit5.plcc >= row.plcc - 1e-6
        order = np.argsort(-sign * raw)
        for fit in (row.fit, fit5):
            assert (np.diff(fit.fitted[order]) >= -1e-9 * np.ptp(opinion)).all()
        assert row.within_skipped == 0
    found = {row.metric: row.srcc for row in table}
    for metric, expected in KNOWN[dataset].items():
        assert found[metric] == pytest.approx(expected, abs=5e-5)
    columns = np.stack([scores[name] for name in scores], axis=1)
    assert infer_direction(columns, opinion, higher_is_better) == (False, len(scores), len(scores))


def test_the_interval_of_a_mean_of_many_groups_is_that_of_the_bootstrap_and_of_the_groups():
    values = np.random.default_rng(0).exponential(size=(6000, 2))
    found, drawn = mean_interval(values), bootstrap_t(values, resamples=999)
    np.testing.assert_allclose(found.mean, drawn.mean, rtol=1e-12)
    np.testing.assert_allclose(found.high - found.low, drawn.high - drawn.low, rtol=0.1)
    again = mean_interval(np.repeat(values, 3, axis=0), np.repeat(np.arange(6000), 3))
    np.testing.assert_allclose([again.low, again.high, again.p], [found.low, found.high, found.p], rtol=1e-9)
    few = mean_interval(values[:30])
    np.testing.assert_array_equal(few.low, bootstrap_t(values[:30]).low)


@pytest.mark.parametrize("count", [10, 6000])
def test_the_interval_of_a_mean_refuses_the_same_however_many_there_are(count):
    values = np.random.default_rng(0).normal(size=(count, 1))
    with pytest.raises(ValueError, match="`level` must be between 0 and 1"):
        mean_interval(values, level=95)
    with pytest.raises(ValueError, match="of finite numbers"):
        mean_interval(np.where(np.arange(count)[:, None] == 3, np.nan, values))
