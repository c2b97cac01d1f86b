"""The fields of a recipe as typed keyword arguments, so that signatures and editors show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import TypedDict

if TYPE_CHECKING:
    from torch import nn

    from torchmetrics_fmiqa.distances import Distance
    from torchmetrics_fmiqa.distances.joint import Combine
    from torchmetrics_fmiqa.features.builders import UserModule
    from torchmetrics_fmiqa.features.tokens import TokenChoice
    from torchmetrics_fmiqa.recipes.fields import Normalization, Pooling, Protocol, Resolution, TapReduction, Taps


class RecipeFields(TypedDict, total=False):
    """Fields of a :class:`~torchmetrics_fmiqa.Recipe` to override, documented there."""

    backbone: str | nn.Module | UserModule
    weights: str | Path
    taps: Taps
    tap_weights: Mapping[str | int, float] | None
    distance: str | Mapping[str | Distance, float] | Sequence[str | Distance] | Distance
    tokens: TokenChoice
    normalization: Normalization
    resolution: Resolution
    tile: int | None
    max_side: int | None
    clamp_preds: bool
    protocol: Protocol
    pooling: Pooling
    clamp_target: bool
    combine: Combine | None
    channel_weights: Mapping[str | int, Sequence[float]] | str | Path | None
    tap_reduction: TapReduction
