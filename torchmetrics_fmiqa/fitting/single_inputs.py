"""The single inputs of SPIPS as scores of their own: what a trained head has to be ahead of."""

from __future__ import annotations

from torchmetrics_fmiqa.comparator.tap_statistics import Profiled
from torchmetrics_fmiqa.spips_model.model import INPUTS
from torchmetrics_fmiqa.statistics.inputs import Floats

#: The mean of all taps' mean distances.
FEATURE_DISTANCE = "feature_distance"

#: Names of the single inputs: the plain distance of features, then those of the fusion.
SINGLE = (FEATURE_DISTANCE, *(name for part in ("conventional", "low_level", "semantic") for name in INPUTS[part]))


def single_inputs(measured: Profiled, low_level: int) -> dict[str, Floats]:
    """Every input by itself, with equal weights of taps.

    Args:
        measured: pairs.
        low_level: how many taps the low-level stream has; it comes first.

    Returns:
        ``(n,)`` by name, lower is better.

    >>> import torch
    >>> measured = Profiled(torch.rand(2, 3, 3), torch.rand(2, 3), torch.rand(2, 8), torch.rand(2, 9), ("a", "b", "c"))
    >>> found = single_inputs(measured, low_level=1)
    >>> tuple(found) == SINGLE, bool(found["low_level_mean"][0] == measured.spread[0, 0, 0])
    (True, True)
    """
    spread, whole, own = (part.double() for part in (measured.spread, measured.summary, measured.of_images))
    columns = {
        "conventional": own.unbind(1),
        "low_level": spread[:, :low_level].mean(1).unbind(1),
        "semantic": (*spread[:, low_level:].mean(1).unbind(1), whole[:, low_level:].mean(1)),
    }
    found = {FEATURE_DISTANCE: spread[..., 0].mean(1).numpy()}
    for part, values in columns.items():
        found |= {name: one.numpy() for name, one in zip(INPUTS[part], values, strict=True)}
    return found
