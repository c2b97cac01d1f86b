"""Weights of the channels of one tap, as a distance takes them; and which tap has which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.backbone import Backbone
from torchmetrics_fmiqa.features.building import copied_in_the_open
from torchmetrics_fmiqa.features.channel_weights import read_channel_weights
from torchmetrics_fmiqa.recipes import Recipe


class TapChannelWeights:
    """Weights ``(C,)`` of the channels of one tap. Equal by their values.

    Args:
        values: a weight of at least 0 for each channel.
    """

    def __init__(self, values: Sequence[float]) -> None:
        self.values = tuple(values)
        with copied_in_the_open():  # no tensor of the inference mode that the first call may be in
            self._tensor = torch.tensor(self.values, dtype=torch.float64, device="cpu")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TapChannelWeights) and self.values == other.values

    def __hash__(self) -> int:
        return hash(self.values)

    def like(self, tokens: Tensor) -> Tensor:
        """The weights in the dtype and on the device of tokens."""
        return self._tensor.to(tokens.dtype).to(tokens.device)


def bind_channel_weights(recipe: Recipe, names: Sequence[str], backbone: Backbone) -> dict[str, TapChannelWeights]:
    """The weights of each tap by its name; none where the recipe has none.

    Args:
        recipe: what to measure.
        names: its taps, as the network calls them.
        backbone: the network with these taps, and perhaps others.

    Raises:
        ValueError: if the weights name other taps than the recipe reads, or a tap has another number of channels.
    """
    if recipe.channel_weights is None:
        return {}
    given = read_channel_weights(recipe.channel_weights, recipe.backbone)  # type: ignore[arg-type]
    weights = dict(zip(backbone.network.resolve(list(given)), given.values(), strict=True))
    check_same_taps("channel_weights", weights, names)
    for name in names:
        channels = backbone.channels[name]
        if len(weights[name]) != channels:
            raise ValueError(
                f"`channel_weights` give the tap {name!r} {len(weights[name])} weights, but it has {channels} "
                "channels: give one weight for each"
            )
    return {name: TapChannelWeights(values) for name, values in weights.items()}


def check_same_taps(field: str, given: Iterable[str], names: Iterable[str]) -> None:
    """Raise a ValueError if a field of a recipe names other taps than the recipe reads."""
    unmatched = sorted(set(given) ^ set(names))
    if unmatched:
        raise ValueError(f"`{field}` must name each tap once and no other; {unmatched[0]!r} is in only one of them")
