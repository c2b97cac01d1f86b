"""Which methods are best and second by their scores: what tables print bold and underline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from torchmetrics_fmiqa.statistics.inputs import Floats

#: What is marked, in the order of the places: the others have place 0.
PLACES = ("", "best", "second")


def best_first(values: Floats, quality: bool) -> list[int]:
    """Places of values from the best to the worst; those that are not known come last.

    Args:
        values: ``(M,)`` scores.
        quality: whether more is better.

    >>> best_first(np.array([0.3, np.nan, 0.1]), quality=False)
    [2, 0, 1]
    """
    return [int(place) for place in np.argsort(-values if quality else values, kind="stable")]


def marks(values: Floats, quality: bool) -> Sequence[str]:
    """``"best"``, ``"second"`` or nothing for each value; equal values share their mark.

    >>> marks(np.array([27.0, 28.5, 28.5, 27.5]), quality=True)
    ['', 'best', 'best', 'second']
    """
    known = np.unique(values[~np.isnan(values)])
    words = dict(zip(known[::-1] if quality else known, PLACES[1:], strict=False))
    return [words.get(value, "") for value in values]
