"""The interval of a mean of few images or of millions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from torchmetrics_fmiqa.statistics.bootstrap_t import MeanIntervals, bootstrap_t, finite_table, group_sums
from torchmetrics_fmiqa.statistics.inputs import groups

#: So many groups from which the bootstrap-t and Student's interval are equal but for a few per cent of their width.
_MANY = 5000


def mean_interval(values: npt.ArrayLike, group: npt.ArrayLike | None = None, level: float = 0.95) -> MeanIntervals:
    """Mean of each column with its interval: by the bootstrap-t, or Student's for 5,000 groups and more.

    Args:
        values: ``(n, C)``, finite.
        group: ``(n,)`` ids; images of one group count together. Without them each image is a group.
        level: of the interval.

    Raises:
        ValueError: as :func:`~torchmetrics_fmiqa.statistics.bootstrap_t.bootstrap_t` does.

    >>> found = mean_interval(np.arange(20_000).reshape(-1, 1) % 2)
    >>> bool(found.low[0] < 0.5 < found.high[0]), round(float(found.high[0] - found.low[0]), 4)
    (True, 0.0139)
    """
    table = finite_table(values, level)
    count = len(table)
    code = np.arange(count) if group is None else groups(group, "group", count)[1]
    drawn_from = int(code.max(initial=-1)) + 1
    if drawn_from < _MANY:
        return bootstrap_t(table, code, level)
    mean = table.mean(0)
    _, error = group_sums(table - mean, code, drawn_from)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((mean == 0) & (error == 0), 0.0, np.abs(mean) / error)
    margin = float(stats.t.ppf((1 + level) / 2, drawn_from - 1)) * error
    return MeanIntervals(mean, mean - margin, mean + margin, 2 * stats.t.sf(ratio, drawn_from - 1))
