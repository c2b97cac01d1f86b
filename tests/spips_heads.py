"""SPIPS heads with random weights, as if they had been trained, and random measurements for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from torchmetrics_fmiqa import SpipsRecipe
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.fitting.calibration import calibrate
from torchmetrics_fmiqa.spips_model.model import SpipsHead
from torchmetrics_fmiqa.spips_model.quality_maps import CONVENTIONAL
from torchmetrics_fmiqa.spips_model.recipe import as_spips_recipe


def random_tap_statistics(taps: Sequence[str], channels: int, n: int, seed: int = 0) -> TapStatistics:
    """Skewed numbers of the size of distances."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(n, *shape, generator=generator)

    spread, summary = (0.05 * draw(len(taps), *shape).exp() for shape in ((3,), ()))
    return TapStatistics(spread, summary, draw(channels), 0.3 * draw(len(CONVENTIONAL)).exp(), tuple(taps))


def trained(recipe: SpipsRecipe, channels: int = 192, seed: int = 0, opinions: bool = True, **fields: Any) -> SpipsHead:
    """A head with random weights everywhere, the gate's too, as if it had been trained."""
    head = SpipsHead(recipe.low_level, recipe.semantic, channels, seed=seed, made_for=recipe.digest, **fields)
    measured = random_tap_statistics(recipe.taps, channels, 60, seed)
    head.fit_inputs(measured)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if not name.startswith("fusion"):
                size = 0.1 if name == "gate.weight" else 1.0
                parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
        if opinions:
            score = head(measured).double().numpy()
            noise = np.random.default_rng(seed).normal(size=60)
            calibrate(head.fusion, score, 5 - 4 * stats.rankdata(score) / 60 + 0.1 * noise, higher_is_better=True)
    return head


def recipe_of(fields: dict[str, Any]) -> SpipsRecipe:
    return as_spips_recipe(**{"recipe": "default", **fields})
