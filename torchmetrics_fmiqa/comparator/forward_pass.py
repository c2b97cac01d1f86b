"""Both sides of a portion of tiles through the network: what its taps gave of each."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.backbone import Backbone, MeanStd
from torchmetrics_fmiqa.features.network import Network
from torchmetrics_fmiqa.features.reference_cache import CachedTiles
from torchmetrics_fmiqa.features.tokens import Tokens
from torchmetrics_fmiqa.recipes import Recipe


class ForwardPass:
    """Runs tiles of predictions and of targets through a network.

    Args:
        backbone: the network.
        mean_std: its input normalisation, or ``None``.
    """

    def __init__(self, backbone: Backbone, mean_std: MeanStd | None) -> None:
        self.backbone, self.mean_std = backbone, mean_std

    def __call__(
        self, preds: Tensor, target: Tensor, dtype: torch.dtype | None, cached: CachedTiles | None = None
    ) -> tuple[list[Tokens], list[Tokens]]:
        """The tokens of both sides at each tap.

        One run serves both sides where no gradient is asked for. With a gradient, the targets' side runs without one.

        Args:
            preds: ``(K, 3, h, w)`` in [0, 1].
            target: likewise.
            dtype: what the network computes in under autocast, ``None`` for full precision.
            cached: features of targets that are known; not used where a gradient is asked for.
        """
        if needs_grad(preds):
            with torch.no_grad():
                # Copies: a network may keep a buffer, which the run of the predictions writes into.
                target_tokens = [tokens.detach().copy() for tokens in self.one(target, dtype)]
            return self.one(preds, dtype), target_tokens
        if cached is not None:
            images = torch.cat([preds, target[cached.missing]]) if cached.missing else preds
            preds_tokens, fresh = _split(self.one(images, dtype), preds.shape[0])
            return preds_tokens, cached.completed(fresh)
        return _split(self.both(preds, target, dtype), preds.shape[0])

    def both(self, preds: Tensor, target: Tensor, dtype: torch.dtype | None) -> list[Tokens]:
        """The tokens of predictions, and of as many targets that follow them, at each tap; without a gradient."""
        return self.one(torch.cat([preds, target]), dtype)

    def one(self, images: Tensor, dtype: torch.dtype | None) -> list[Tokens]:
        """The tokens of one side at each tap."""
        if dtype is None:
            return self.backbone(images, self.mean_std)
        with torch.autocast(images.device.type, dtype):
            return self.backbone(images, self.mean_std)


def _split(both: list[Tokens], count: int) -> tuple[list[Tokens], list[Tokens]]:
    sides = [tokens.split(count) for tokens in both]
    return [preds_tokens for preds_tokens, _ in sides], [target_tokens for _, target_tokens in sides]


def input_normalization(recipe: Recipe, network: Network) -> MeanStd | None:
    """What the network wants its input shifted and scaled by.

    Raises:
        ValueError: if the recipe leaves it to a network that does not say.
    """
    if recipe.normalization == "none":
        return None
    if recipe.normalization != "model":
        return recipe.normalization  # type: ignore[return-value]
    if network.mean is None or network.std is None:
        raise ValueError(
            f"`normalization='model'` is not known for {network.name}: give normalization='none', "
            "or (mean, std) with three values each"
        )
    return network.mean, network.std


def needs_grad(preds: Tensor) -> bool:
    """Whether a gradient is asked for."""
    return torch.is_grad_enabled() and preds.requires_grad


def full_precision(images: Tensor) -> torch.autocast:
    """Everything but the backbone computes in the dtype that it is given."""
    return torch.autocast(images.device.type, enabled=False)
