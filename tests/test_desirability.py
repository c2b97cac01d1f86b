"""The aggregate: its axioms, examples by hand, what becomes a factor, and the published tables."""

from __future__ import annotations

import doctest
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.conftest import ASSETS, needs
from torchmetrics_fmiqa.benchmark.analysis.agreement import Robustness, analyse
from torchmetrics_fmiqa.benchmark.analysis.cost import Cost
from torchmetrics_fmiqa.benchmark.analysis.desirability import FACTORS, FLOOR, Desirability, desirability, factors_of
from torchmetrics_fmiqa.benchmark.analysis.loss_suitability import LossSuitability
from torchmetrics_fmiqa.benchmark.scoring.score_table import read_scored
from torchmetrics_fmiqa.statistics import Agreement, agreement

DOCS = Path(__file__).parents[1] / "docs" / "desirability.md"
NAMES = [factor.name for factor in FACTORS]
UNIT = st.floats(0, 1)
OWN = st.dictionaries(st.sampled_from(NAMES), UNIT, min_size=1)
WEIGHTS = st.fixed_dictionaries({name: st.floats(0.01, 10) for name in NAMES})
#: Two to six metrics that have the same factors.
FIELDS = st.sets(st.sampled_from(NAMES), min_size=1).flatmap(
    lambda names: st.dictionaries(
        st.sampled_from("abcdefgh"),
        st.fixed_dictionaries(dict.fromkeys(sorted(names), UNIT)),
        min_size=2,
        max_size=6,
    )
)


def only(own: dict[str, float], weights: dict[str, float] | None = None) -> float:
    return float(desirability({"one": own}, weights, draws=1).aggregate[0])


def by_metric(found: Desirability) -> dict[str, tuple[object, ...]]:
    return {
        name: (
            found.aggregate[i],
            found.values[i].tobytes(),
            found.group[i],
            found.rank[i],
            *found.without[i],
            *found.rank_interval[i],
            found.first_share[i],
        )
        for i, name in enumerate(found.metrics)
    }


def agreed(**fields: object) -> Agreement:
    """A real agreement of 60 images, with some of its numbers replaced."""
    rng = np.random.default_rng(0)
    mos, reference, kind = rng.uniform(1, 5, 60), np.arange(60) // 6, np.arange(60) % 3
    (found,) = agreement({"m": mos + 0.5 * rng.normal(size=60)}, mos, reference, kind, resamples=0)
    return replace(found, **fields)  # type: ignore[arg-type]


AGREED = agreed()

# The mean


@given(OWN, WEIGHTS)
@settings(deadline=None)
def test_the_aggregate_is_the_weighted_geometric_mean_between_its_factors(
    own: dict[str, float], weights: dict[str, float]
) -> None:
    found = only(own, weights)
    floored = {name: max(value, FLOOR) for name, value in own.items()}
    total = sum(weights[name] for name in own)
    assert found == pytest.approx(math.prod(value ** (weights[name] / total) for name, value in floored.items()))
    assert min(floored.values()) - 1e-12 <= found <= max(floored.values()) + 1e-12


@given(OWN, st.data())
@settings(deadline=None)
def test_it_rises_with_every_factor(own: dict[str, float], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(own)))
    better = data.draw(st.floats(own[name], 1))
    assert only({**own, name: better}) >= only(own) - 1e-15
    assume(better > max(own[name], FLOOR) * 1.001)
    assert only({**own, name: better}) > only(own)


@given(FIELDS, WEIGHTS, st.floats(0.01, 100))
@settings(max_examples=50, deadline=None)
def test_the_scale_of_the_weights_is_irrelevant(
    field: dict[str, dict[str, float]], weights: dict[str, float], scale: float
) -> None:
    one = desirability(field, weights, draws=20)
    other = desirability(field, {name: scale * weight for name, weight in weights.items()}, draws=20)
    assert one.metrics == other.metrics
    np.testing.assert_allclose(one.aggregate, other.aggregate, rtol=1e-12)
    assert (one.rank == other.rank).all()
    assert (one.without == other.without).all()


@given(st.dictionaries(st.sampled_from("abcdefgh"), OWN, min_size=2), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_metrics_and_factors_is_irrelevant(field: dict[str, dict[str, float]], random: object) -> None:
    names = list(field)
    random.shuffle(names)  # type: ignore[attr-defined]
    shuffled = {name: dict(reversed(field[name].items())) for name in names}
    one, other = desirability(field, draws=20), desirability(shuffled, draws=20)
    assert one.metrics == other.metrics
    assert by_metric(one) == by_metric(other)


@given(FIELDS)
@settings(max_examples=50, deadline=None)
def test_ranks_count_those_that_are_better(field: dict[str, dict[str, float]]) -> None:
    found = desirability(field, draws=50)
    logs = np.log(found.aggregate)
    better = (logs[None] > logs[:, None] + 1e-9).sum(1)
    no_worse = (logs[None] >= logs[:, None] - 1e-9).sum(1)
    assert (better + 1 <= found.rank).all()
    assert (found.rank <= no_worse).all()
    assert found.rank[0] == 1
    assert (np.diff(found.rank) >= 0).all()
    # Somebody comes first under each of the weights, or several at once.
    assert found.first_share.sum() >= 1 - 1e-12
    assert (found.rank_interval[:, 0] >= 1).all()
    assert (found.rank_interval[:, 0] <= found.rank_interval[:, 1]).all()
    assert (found.rank_interval[:, 1] <= len(field)).all()


def test_an_example_by_hand() -> None:
    found = desirability(
        {
            "good": {"rank_agreement": 0.81, "robustness": 0.64, "outliers": 0.25},
            "blind": {"rank_agreement": 0.0, "robustness": 1.0, "outliers": 1.0},
        }
    )
    # Weights 1, 1, 0.5: 0.81^0.4 0.64^0.4 0.25^0.2, and 0.01^0.4.
    assert found.metrics == ("good", "blind")
    assert found.aggregate == pytest.approx([0.582712, 0.158489], abs=1e-5)
    assert [factor.name for factor in found.factors] == ["rank_agreement", "robustness", "outliers"]
    assert found.values[1].tolist() == [0, 1, 1]  # shown as it is
    assert found.without.tolist() == [[2, 1, 1], [1, 2, 2]]


def test_random_weights_have_a_known_share() -> None:
    # The first is ahead while w log 0.9 + (1 - w) log 0.1 > log 0.5, w > 0.7325 of a uniform w.
    found = desirability(
        {
            "edge": {"rank_agreement": 0.9, "robustness": 0.1},
            "flat": {"rank_agreement": 0.5, "robustness": 0.5},
        },
        draws=20_000,
    )
    shares = dict(zip(found.metrics, found.first_share, strict=True))
    crossing = math.log(0.5 / 0.1) / math.log(0.9 / 0.1)
    assert shares["edge"] == pytest.approx(1 - crossing, abs=0.015)
    assert shares["edge"] + shares["flat"] == pytest.approx(1)
    assert found.rank_interval.tolist() == [[1, 2], [1, 2]]
    assert found.draws == 20_000


def test_the_seed_fixes_the_draws() -> None:
    rng = np.random.default_rng(0)
    field = {f"m{i}": {"rank_agreement": rng.uniform(), "robustness": rng.uniform()} for i in range(9)}
    one, same, other = (desirability(field, draws=200, seed=seed) for seed in (0, 0, 1))
    assert by_metric(one) == by_metric(same)
    assert (one.first_share != other.first_share).any()


def test_a_metric_that_is_best_in_all_is_always_first() -> None:
    rng = np.random.default_rng(0)
    field = {f"m{i}": dict(zip(NAMES, rng.uniform(0, 0.8, len(NAMES)), strict=True)) for i in range(20)}
    found = desirability({**field, "best": dict.fromkeys(NAMES, 0.9)})
    assert (found.metrics[0], found.first_share[0], found.rank_interval[0].tolist()) == ("best", 1, [1, 1])
    assert (found.without[0] == 1).all()


def test_ties_share_the_better_place() -> None:
    # b and c have the same values in other factors of equal weight; summed in another order they round differently.
    found = desirability(
        {
            "a": {"rank_agreement": 0.9, "worst_type": 0.9, "robustness": 0.9},
            "c": {"rank_agreement": 0.05, "worst_type": 0.1, "robustness": 0.15},
            "b": {"rank_agreement": 0.15, "worst_type": 0.05, "robustness": 0.1},
            "d": {"rank_agreement": 0.01, "worst_type": 0.01, "robustness": 0.01},
        }
    )
    assert found.metrics == ("a", "b", "c", "d")
    assert found.rank.tolist() == [1, 2, 2, 4]
    twins = desirability({"x": {"cost": 0.3, "outliers": 0.7}, "y": {"cost": 0.3, "outliers": 0.7}})
    assert twins.rank.tolist() == [1, 1]
    assert twins.first_share.tolist() == [1, 1]
    assert (twins.rank_interval == 1).all()


def test_metrics_are_ranked_among_those_with_the_same_factors() -> None:
    found = desirability(
        {
            "poor": {"rank_agreement": 0.2, "robustness": 0.2},
            "fair": {"rank_agreement": 0.5, "robustness": 0.5},
            "alone": {"rank_agreement": 0.99},
            "other": {"rank_agreement": 0.3, "cost": 0.3, "outliers": 0.3},
        }
    )
    # The largest group first, then that of the most factors.
    assert found.metrics == ("fair", "poor", "other", "alone")
    assert found.group.tolist() == [0, 0, 1, 2]
    assert found.rank.tolist() == [1, 2, 1, 1]
    assert [factor.name for factor in found.factors] == ["rank_agreement", "robustness", "outliers", "cost"]
    assert np.isnan(found.values).tolist()[3] == [False, True, True, True]
    # Missing factors renormalise the weights.
    assert found.aggregate == pytest.approx([0.5, 0.2, 0.3, 0.99])
    # Leaving out what is not there changes nothing; leaving out all there is leaves a tie.
    assert found.without.tolist() == [[1, 1, 1, 1], [2, 2, 2, 2], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_a_factor_of_no_weight_is_shown_but_does_not_count() -> None:
    field = {"a": {"rank_agreement": 0.4, "cost": 0.9}, "b": {"rank_agreement": 0.6}}
    found = desirability(field, {"cost": 0})
    assert found.metrics == ("b", "a")
    assert found.group.tolist() == [0, 0]
    assert found.aggregate == pytest.approx([0.6, 0.4])
    assert found.first_share.tolist() == [1, 0]
    assert [factor.weight for factor in found.factors] == [1.0, 0.0]
    assert found.values[1].tolist() == [0.4, 0.9]
    assert found.without.tolist() == [[1, 1], [1, 2]]


@pytest.mark.parametrize(
    ("factors", "options", "message"),
    [
        ({}, {}, "holds no metric"),
        ({"a": {}}, {}, "'a' has no factor of positive weight"),
        ({"a": {"cost": 0.5}}, {"weights": {"cost": 0}}, "'a' has no factor of positive weight"),
        ({"a": {"beauty": 0.5}}, {}, "'a' names the factor 'beauty', which does not exist: there are rank_agreement,"),
        ({"a": {"cost": 1.01}}, {}, r"'cost' of 'a' must lie in \[0, 1\], got 1.01"),
        ({"a": {"cost": -0.1}}, {}, "got -0.1"),
        ({"a": {"cost": math.nan}}, {}, "got nan; leave out"),
        ({"a": {"cost": 0.5}}, {"weights": {"price": 1}}, "`weights` names the factor 'price'"),
        ({"a": {"cost": 0.5}}, {"weights": {"cost": -1}}, "weight of 'cost' must be a number of at least 0, got -1"),
        ({"a": {"cost": 0.5}}, {"weights": {"cost": math.nan}}, "got nan"),
        ({"a": {"cost": 0.5}}, {"weights": {"cost": math.inf}}, "got inf"),
        ({"a": {"cost": 0.5}}, {"draws": 0}, "`draws` must be at least 1, got 0"),
    ],
)
def test_bad_factors_and_weights_are_errors(factors: dict, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        desirability(factors, **options)


# The factors


def test_factors_are_those_of_the_agreement() -> None:
    found = agreed()
    factors = factors_of(found)
    assert list(factors) == ["rank_agreement", "linear_agreement", "worst_type", "within_reference", "outliers"]
    assert factors["rank_agreement"] == pytest.approx(found.srcc)
    assert factors["linear_agreement"] == pytest.approx(found.plcc)
    assert factors["worst_type"] == pytest.approx(min(found.by_type.values()))
    assert factors["within_reference"] == pytest.approx(found.within_reference)
    assert factors["outliers"] == pytest.approx(1 - found.outlier_ratio)
    assert 0 < found.outlier_ratio < 1


def test_what_was_not_measured_is_absent() -> None:
    mos = np.arange(40.0)
    (found,) = agreement({"m": mos**2}, mos, resamples=0)
    assert set(factors_of(found)) == {"rank_agreement", "linear_agreement", "outliers"}
    assert "robustness" not in factors_of(found, {})


def test_a_metric_that_ranks_the_wrong_way_has_no_agreement() -> None:
    mos = np.linspace(1, 5, 60)
    changed = {"rotation": Robustness(-0.9, 0.1)}
    (found,) = agreement({"m": -mos}, mos, np.arange(60) // 6, np.arange(60) % 3, resamples=0)
    assert found.plcc > 0.99  # the curve follows either direction
    factors = factors_of(found, changed)
    assert {name for name, value in factors.items() if value == 0} == set(factors) - {"outliers"}


def test_what_was_measured_and_gave_no_number_is_zero() -> None:
    mos = np.linspace(1, 5, 60)
    scores = {"constant": np.zeros(60), "infinite": np.where(mos < 4.9, mos, np.inf)}
    constant, infinite = agreement(scores, mos, np.arange(60) // 6, np.arange(60) % 3, resamples=0)
    none = factors_of(constant, {"rotation": Robustness(math.nan, math.nan)}, other_sets=[0.8])
    # It stays in the group of the others.
    assert set(none) == set(factors_of(agreed(), {"rotation": Robustness(0.5, 1.0)}, other_sets=[0.8]))
    assert set(none.values()) == {0.0}
    factors = factors_of(infinite)
    assert factors["rank_agreement"] > 0.99
    assert (factors["linear_agreement"], factors["outliers"]) == (0, 0)


def test_robustness_is_the_share_of_srcc_that_is_kept() -> None:
    found = agreed(srcc=0.8)
    changed = {
        "shift": Robustness(0.6, 9.0),  # 0.75, however far the scores moved
        "scale": Robustness(0.88, 0.1),  # better than unchanged is no more than 1
        "turn": Robustness(-0.2, 0.1),  # 0
        "blank": Robustness(math.nan, math.nan),  # no number: 0
    }
    assert factors_of(found, changed)["robustness"] == pytest.approx((0.75 + 1 + 0 + 0) / 4)
    assert factors_of(agreed(srcc=-0.1), {"shift": Robustness(-0.1, 0.0)})["robustness"] == 0


def test_the_worst_set_counts_this_one() -> None:
    assert factors_of(agreed(srcc=0.7), other_sets=[0.9, 0.8])["worst_set"] == pytest.approx(0.7)
    assert factors_of(agreed(srcc=0.95), other_sets=[0.9, 0.8])["worst_set"] == pytest.approx(0.8)
    assert factors_of(agreed(), other_sets=[-0.4])["worst_set"] == 0
    assert factors_of(agreed(), other_sets=[0.9, math.nan])["worst_set"] == 0


def test_usefulness_is_a_geometric_mean() -> None:
    assert factors_of(agreed(), suitability=LossSuitability("m", 0.5, 1, 0.9, 0.8))["usefulness"] == pytest.approx(
        (0.5 * 0.9 * 0.8) ** 0.25
    )
    assert factors_of(agreed(), suitability=LossSuitability("m", 0, 1, 1, 1))["usefulness"] == 0


@pytest.mark.parametrize(
    ("seconds", "value"), [(1e-6, 1), (1e-3, 1), (1e-2, 0.8), (1, 0.4), (math.sqrt(10), 0.3), (100, 0), (1e4, 0)]
)
def test_cost_falls_with_the_logarithm_of_time(seconds: float, value: float) -> None:
    assert factors_of(agreed(), cost=Cost("m", seconds, 86.0))["cost"] == pytest.approx(value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cost": Cost("m", 0.0, 1.0)}, "above 0, got 0.0"),
        ({"cost": Cost("m", math.nan, 1.0)}, "got nan"),
        ({"other_sets": [1.2]}, r"in \[-1, 1\], got 1.2"),
        ({"robustness": {"shift": Robustness(-3.0, 0.0)}}, r"in \[-1, 1\], got -3"),
    ],
)
def test_bad_findings_are_errors(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        factors_of(agreed(), **options)


@given(
    st.floats(-1, 1),
    st.floats(-1, 1),
    st.lists(st.floats(-1, 1), max_size=3),
    st.floats(1e-9, 1e9),
    st.tuples(*[UNIT] * 4),
)
@settings(max_examples=50, deadline=None)
def test_any_finding_gives_factors_that_can_be_condensed(
    srcc: float, changed: float, others: list[float], seconds: float, parts: tuple[float, float, float, float]
) -> None:
    factors = factors_of(
        replace(AGREED, srcc=srcc),
        {"shift": Robustness(changed, 1.0)},
        LossSuitability("m", *parts),
        Cost("m", seconds, 1.0),
        others,
    )
    assert all(0 <= value <= 1 for value in factors.values())
    assert FLOOR <= only(factors) <= 1


# The docs and the published tables


def test_the_docs_have_the_same_factors() -> None:
    text = DOCS.read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", text, flags=re.MULTILINE)
    assert rows == [(one.name, one.label, f"{one.weight:g}", one.meaning) for one in FACTORS]


def test_the_docs_example_runs() -> None:
    failed, tried = doctest.testfile(str(DOCS), module_relative=False)
    assert tried > 0
    assert failed == 0


@pytest.mark.slow
def test_published_scores_of_tid2013() -> None:
    path = needs(ASSETS / "published" / "zsiqa_tid2013.csv.gz")
    found = analyse(read_scored(path, "mos", type_from=r"_(\d+)_"), resamples=50)
    factors = {
        one.metric: factors_of(one, {change: by_metric[one.metric] for change, by_metric in found.robustness.items()})
        for one in found.agreements
    }
    ranked = desirability(factors)
    assert len(ranked.metrics) == 42
    assert set(ranked.group.tolist()) == {0}
    assert np.isfinite(ranked.values).all()
    place = {name: i for i, name in enumerate(ranked.metrics)}
    columns = [factor.name for factor in ranked.factors]
    robustness = columns.index("robustness")
    # SRCC .851 -> .286/.573/.467, as published.
    fsim = (0.286 + 0.573 + 0.467) / 3 / 0.851
    assert ranked.values[place["fsim"], robustness] == pytest.approx(fsim, abs=2e-3)
    for name in ("fsim", "msssim", "psnr"):
        # Each moves up once robustness is left out.
        assert ranked.without[place[name], robustness] < ranked.rank[place[name]]
    by_srcc = [one.metric for one in found.agreements]
    assert by_srcc[0] == "fsim"
    assert ranked.rank[place["fsim"]] > 10
    assert ranked.without[place["fsim"], robustness] == 1
    # With the rule of 2 standard deviations all have nearly the same share of outliers.
    assert np.ptp(ranked.values[:, columns.index("outliers")]) < 0.03
    # Under weights that only count rank agreement the order is that of the SRCC.
    alone = desirability(factors, {name: float(name == "rank_agreement") for name in NAMES}, draws=10)
    assert list(alone.metrics) == by_srcc
