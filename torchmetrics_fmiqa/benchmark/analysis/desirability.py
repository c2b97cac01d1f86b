"""The aggregate of all that one wants from a metric.

Khatami and Mahmoudi-Aznaveh ("Deep perceptual similarity and Quality Assessment", IPRIA 2023) compare similarity
measures by a number that aggregates what is desired of them. Their formula is not public. **This one is ours**: a
weighted geometric mean, the desirability of Derringer and Suich ("Simultaneous optimization of several response
variables", Journal of Quality Technology 12, 1980), over factors in [0, 1]::

    A = exp( sum_k w_k log(max(u_k, FLOOR)) / sum_k w_k ),   k over the factors that a metric has

A geometric mean, as good cost does not make up for bad agreement; floored, as one 0 would hide all else. All of it is
in this file: the factors with their weights, their formulas, the mean. Never read the aggregate alone: the factors
stand beside it, and so do its rank without each of them and its rank under random weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from torchmetrics_fmiqa.benchmark.analysis.agreement import Robustness
from torchmetrics_fmiqa.statistics import Agreement

if TYPE_CHECKING:  # these need torch, which a table of scores does without
    from torchmetrics_fmiqa.benchmark.analysis.cost import Cost
    from torchmetrics_fmiqa.benchmark.analysis.loss_suitability import LossSuitability

#: What a factor counts at least in the mean.
FLOOR = 0.01
#: Seconds for a megapixel at which ``cost`` is 1, and at which it is 0.
CHEAP, EXPENSIVE = 1e-3, 1e2

# Logarithms that are equal to this many decimals are a tie: the rest is rounding.
_DECIMALS = 12


@dataclass(frozen=True)
class Factor:
    """One thing that one wants from a metric."""

    name: str  #: of a column, such as "rank_agreement"
    label: str  #: in reports
    weight: float  #: by default; all are divided by the sum of those that a metric has
    meaning: str  #: how its value in [0, 1] is made, in words


#: The factors, in the order of reports. Two count half: outliers, as their ratio hardly differs between metrics, and
#: cost, as it depends on the machine.
FACTORS: tuple[Factor, ...] = (
    Factor("rank_agreement", "Rank agreement", 1.0, "SRCC with the opinions; 0 if negative"),
    Factor("linear_agreement", "Linear agreement", 1.0, "PLCC after a logistic fit with 4 parameters; 0 if SRCC is"),
    Factor("worst_type", "Worst type", 1.0, "lowest SRCC over the types of distortion; 0 if negative"),
    Factor("worst_set", "Worst data set", 1.0, "lowest SRCC over two or more data sets; 0 if negative"),
    Factor("within_reference", "Within a reference", 1.0, "mean over references of the SRCC within; 0 if negative"),
    Factor(
        "robustness", "Robustness", 1.0, "SRCC kept when images change slightly: mean of changed / unchanged, at most 1"
    ),
    Factor("outliers", "Few outliers", 0.5, "1 - outlier ratio"),
    Factor("usefulness", "Use as a loss", 1.0, "geometric mean of finite gradient, identity, symmetry, monotone order"),
    Factor("cost", "Low cost", 0.5, "1 at 1 ms for a megapixel or less, 0.2 less for ten times the time, 0 at 100 s"),
)


@dataclass(frozen=True)
class Desirability:
    """The factors of metrics, condensed."""

    metrics: tuple[str, ...]  #: ``M`` names, by group and falling aggregate
    factors: tuple[Factor, ...]  #: ``F`` factors that at least one metric has, with the weights that were used
    values: npt.NDArray[np.float64]  #: ``(M, F)`` in [0, 1], NaN where missing
    aggregate: npt.NDArray[np.float64]  #: ``(M,)`` in [0.01, 1]
    #: ``(M,)`` number of the set of factors that a metric has, 0 for the largest group; only metrics of one group are
    #: ranked together. Factors of weight 0 make no group.
    group: npt.NDArray[np.int64]
    rank: npt.NDArray[np.int64]  #: ``(M,)`` place within the group, from 1; ties share the better place
    without: npt.NDArray[np.int64]  #: ``(M, F)`` the same with one factor left out
    rank_interval: npt.NDArray[np.float64]  #: ``(M, 2)`` 95 % of the places under random weights
    #: ``(M,)`` share of random weights under which the metric comes first in its group.
    first_share: npt.NDArray[np.float64]
    draws: int  #: number of random weights


def factors_of(
    agreement: Agreement,
    robustness: Mapping[str, Robustness] | None = None,
    suitability: LossSuitability | None = None,
    cost: Cost | None = None,
    other_sets: Sequence[float] = (),
) -> dict[str, float]:
    """The factors of a metric, each in [0, 1]; see :data:`FACTORS`. What was not measured is absent.

    What was measured and gave no number is 0: the SRCC of constant scores, or the PLCC of infinite ones. Sensitivity
    does not enter robustness: it tells how far scores move, not whether their order suffers, and has no worst value.

    ``other_sets`` are SRCC of the metric on other data sets, positive for agreement; NaN where its scores gave none.

    Raises:
        ValueError: for an SRCC outside [-1, 1], or a time that is no number or not above 0.

    >>> from torchmetrics_fmiqa.statistics import agreement
    >>> mos = np.linspace(1, 5, 40)
    >>> (found,) = agreement({"ours": mos + 0.01 * np.sin(9 * mos)}, mos, resamples=0)
    >>> {name: round(value, 3) for name, value in factors_of(found, {"rotation": Robustness(0.9, 0.5)}).items()}
    {'rank_agreement': 1.0, 'linear_agreement': 1.0, 'robustness': 0.9, 'outliers': 1.0}
    """
    srcc = agreement.srcc
    values = {
        "rank_agreement": srcc,
        # The fitted curve follows either direction, so its PLCC does not tell a metric that ranks the wrong way round.
        "linear_agreement": agreement.plcc if srcc > 0 else 0.0,
    }
    if agreement.by_type:
        values["worst_type"] = agreement.by_type.get(agreement.worst_type, math.nan)
    if other_sets:
        values["worst_set"] = min(map(_srcc, (srcc, *other_sets)))
    # References of two images, say, give nobody a number: only a metric that has none anywhere is to blame for that.
    if agreement.within_counted or (agreement.within_skipped and math.isnan(srcc)):
        values["within_reference"] = agreement.within_reference
    if robustness:
        changed = [_srcc(part.srcc) for part in robustness.values()]
        # A metric that agrees with nobody has nothing to keep.
        values["robustness"] = float(np.mean([_share(one / srcc) if srcc > 0 else 0.0 for one in changed]))
    values["outliers"] = 1 - agreement.outlier_ratio
    if suitability is not None:
        values["usefulness"] = math.prod(suitability.parts) ** (1 / len(suitability.parts))
    if cost is not None:
        values["cost"] = _cheapness(cost.seconds_per_megapixel)
    return {factor.name: _share(values[factor.name]) for factor in FACTORS if factor.name in values}


def _share(value: float) -> float:
    """A number in [0, 1]; rounding may leave a correlation a bit above 1."""
    return 0.0 if math.isnan(value) else min(max(value, 0.0), 1.0)


def _srcc(value: float) -> float:
    """An SRCC, 0 where there is none."""
    if abs(value) > 1 + 1e-9:
        raise ValueError(f"an SRCC lies in [-1, 1], got {value:g}")
    return 0.0 if math.isnan(value) else value


def _cheapness(seconds: float) -> float:
    if not 0 < seconds < math.inf:
        raise ValueError(f"`seconds_per_megapixel` must be a time above 0, got {seconds}")
    return 1 - math.log10(seconds / CHEAP) / math.log10(EXPENSIVE / CHEAP)


def desirability(
    factors: Mapping[str, Mapping[str, float]],
    weights: Mapping[str, float] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Desirability:
    """Condense the factors of metrics into one number each, and tell how much its order depends on the weights.

    Metrics are ranked among those that have the same factors: with another set of factors the number is another one.
    The random weights are uniform over all weights that sum to 1, Dirichlet(1, ..., 1), over a group's factors of
    positive weight.

    Factors are by metric, then by factor, see :func:`factors_of`. The weights replace those in :data:`FACTORS`, where
    the rest are kept; only ratios matter, and 0 leaves a factor out. ``draws`` is the number of random weights.

    Raises:
        ValueError: for no metrics, a metric without a factor of positive weight, unknown factors, values outside
            [0, 1], weights that are negative or not finite, or fewer than 1 draw.

    >>> found = desirability({
    ...     "steady": {"rank_agreement": 0.8, "robustness": 0.9},
    ...     "fragile": {"rank_agreement": 0.9, "robustness": 0.1},
    ... })
    >>> found.metrics, found.aggregate.round(3), found.rank
    (('steady', 'fragile'), array([0.849, 0.3  ]), array([1, 2]))
    >>> found.without[:, 1], found.first_share.round(1)
    (array([2, 1]), array([0.9, 0.1]))
    """
    if not factors:
        raise ValueError("`factors` holds no metric: give {metric: {factor: value}}")
    if draws < 1:
        raise ValueError(f"`draws` must be at least 1, got {draws}")
    known = _weighted(weights)
    for metric, own in factors.items():
        _check(metric, own, known)
    present = tuple(factor for factor in known if any(factor.name in own for own in factors.values()))
    # By name, so that the order of the metrics changes nothing.
    names = sorted(factors)
    values = np.array([[factors[name].get(factor.name, np.nan) for factor in present] for name in names])
    weight = np.array([factor.weight for factor in present])
    group = _groups(~np.isnan(values) & (weight > 0))
    aggregate, shape = np.empty(len(names)), (len(names), len(present))
    rank, without = np.empty(len(names), dtype=np.int64), np.empty(shape, dtype=np.int64)
    interval, first = np.empty((len(names), 2)), np.empty(len(names))
    for number in range(group.max() + 1):
        rows = np.flatnonzero(group == number)
        columns = np.flatnonzero(~np.isnan(values[rows[0]]) & (weight > 0))
        logs, shares = np.log(np.maximum(values[np.ix_(rows, columns)], FLOOR)), weight[columns]
        mean = _mean(logs, shares[None])
        aggregate[rows], rank[rows] = np.exp(mean[0]), _places(mean)[0]
        without[rows] = rank[rows, None]
        without[np.ix_(rows, columns)] = _places(_mean(logs, np.where(np.eye(len(shares), dtype=bool), 0.0, shares))).T
        places = _places(_mean(logs, np.random.default_rng(seed).dirichlet(np.ones(len(shares)), size=draws)))
        interval[rows, 0] = np.quantile(places, 0.025, axis=0, method="lower")
        interval[rows, 1] = np.quantile(places, 0.975, axis=0, method="higher")
        first[rows] = (places == 1).mean(axis=0)
    order = np.lexsort((rank, group))
    return Desirability(
        tuple(names[row] for row in order),
        present,
        values[order],
        aggregate[order],
        group[order],
        rank[order],
        without[order],
        interval[order],
        first[order],
        draws,
    )


def _weighted(weights: Mapping[str, float] | None) -> list[Factor]:
    """All factors with the weights to use."""
    given = dict(weights or {})
    _check_names("`weights`", given)
    for name, weight in given.items():
        if not 0 <= weight < math.inf:
            raise ValueError(f"the weight of {name!r} must be a number of at least 0, got {weight}")
    return [replace(factor, weight=float(given.get(factor.name, factor.weight))) for factor in FACTORS]


def _check(metric: str, own: Mapping[str, float], known: Sequence[Factor]) -> None:
    _check_names(f"{metric!r}", own)
    for name, value in own.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name!r} of {metric!r} must lie in [0, 1], got {value}; leave out what was not measured")
    if not any(factor.weight > 0 and factor.name in own for factor in known):
        raise ValueError(f"{metric!r} has no factor of positive weight: measure one, or leave the metric out")


def _check_names(what: str, names: Mapping[str, float]) -> None:
    known = [factor.name for factor in FACTORS]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{what} names the factor {unknown[0]!r}, which does not exist: there are {', '.join(known)}")


def _groups(has: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Number each row's ``(M, F)`` set of factors: the largest group first, then that of the most factors."""
    sets, member, count = np.unique(has, axis=0, return_inverse=True, return_counts=True)
    order = sorted(range(len(sets)), key=lambda place: (-count[place], -sets[place].sum(), (~sets[place]).tolist()))
    return np.argsort(order)[member.reshape(-1)].astype(np.int64)


def _mean(logs: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weighted means ``(D, M)`` of ``(M, F)`` logarithms under ``(D, F)`` weights; 0 where no weight is left.

    Summed factor by factor: a matrix product rounds equal rows differently, which would part ties.
    """
    total = np.zeros((len(weights), len(logs)))
    for place in range(logs.shape[1]):
        total += weights[:, place, None] * logs[:, place]
    whole = weights.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(total, whole, out=np.zeros_like(total), where=whole > 0))


def _places(means: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Places ``(D, M)`` from 1 for the highest; ties share the better one."""
    ranks = stats.rankdata(-means.round(_DECIMALS), method="min", axis=1)
    return np.asarray(ranks, dtype=np.int64)
