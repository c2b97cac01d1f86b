"""The heads of SPIPS: SpipsHead with trained weights and FixedHead with fixed ones; both give a score for each pair."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torchmetrics_fmiqa.comparator.pooling import POOLED
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.spips_model.fusion_head import FusionHead
from torchmetrics_fmiqa.spips_model.quality_maps import CONVENTIONAL

# A variation below this share of the size is rounding error, not information.
_CONSTANT = 1e-6

#: The parts of SPIPS; each can be switched off.
PARTS = ("semantic", "low_level", "conventional")

#: Part -> names of its inputs of the fusion.
INPUTS: dict[str, tuple[str, ...]] = {
    "semantic": (*(f"semantic_{pooled}" for pooled in POOLED), "semantic_whole"),
    "low_level": tuple(f"low_level_{pooled}" for pooled in POOLED),
    "conventional": CONVENTIONAL,
}


class SpipsHead(nn.Module):
    """The trained part of SPIPS: a weight for each tap, a gate, and the fusion. It has no backbone.

    SPIPS (Lao and Yu, arXiv 2504.17234, 2025) uses early layers for low-level perception and late ones for semantics. A
    multilayer perceptron fuses both with the conventional maps to a score. The paper gives no layers, weights or
    widths. **All that follows is our choice:**

    - The distances of each tap are pooled over the patches first: mean, spread, 95th percentile. Each tap is divided by
      its median over the training data. A softmax of learned weights averages the taps of a stream. So all inputs can
      be measured once, before any training.
    - The semantic stream also has a distance of the global token: the CLS token, or the mean patch token of a network
      without one. It is averaged over the same taps by the same weights.
    - A gate ``g = sigmoid(w r + b)`` sees the reference (its standardised global token at the last tap). The semantic
      stream is multiplied by ``2 g``, the low-level one by ``2 (1 - g)``. The gate starts at 1/2, where it has no
      effect. It exists only with both streams.
    - The sixteen numbers go into an anchored :class:`~torchmetrics_fmiqa.spips_model.fusion_head.FusionHead`: 0 for
      equal images, above 0 for all others, higher is worse.

    Args:
        low_level: names of the low-level taps.
        semantic: names of the semantic taps.
        channels: size of the token that the gate sees.
        parts: the parts of :data:`PARTS` to use.
        hidden: widths of the fusion's hidden layers.
        linear: no hidden layer in the fusion, for the ablation.
        seed: seed of the initial weights.
        made_for: digest of the :class:`~torchmetrics_fmiqa.spips_model.recipe.SpipsRecipe` that measures its inputs.

    Raises:
        ValueError: for unknown parts, or none.

    >>> head = SpipsHead(["blocks.0"], ["blocks.1", "blocks.2"], channels=192)
    >>> equal = TapStatistics(torch.zeros(2, 3, 3), torch.zeros(2, 3), torch.rand(2, 192), torch.zeros(2, 9), head.taps)
    >>> head(equal).detach()
    tensor([0., 0.])
    """

    tap_size: Tensor
    whole_size: Tensor
    reference_mean: Tensor
    reference_std: Tensor

    def __init__(
        self,
        low_level: Sequence[str],
        semantic: Sequence[str],
        channels: int,
        parts: Sequence[str] = PARTS,
        hidden: Sequence[int] = (32, 16),
        linear: bool = False,
        seed: int = 0,
        made_for: str = "",
    ) -> None:
        super().__init__()
        self.low_level, self.semantic, self.channels = tuple(low_level), tuple(semantic), channels
        self.parts = check_parts(parts)
        self.made_for = made_for
        self.taps = (*self.low_level, *self.semantic)
        names = [name for part in self.parts for name in INPUTS[part]]
        self.fusion = FusionHead(names, hidden, linear, anchored=True, seed=seed, made_for=made_for)
        if "low_level" in self.parts:
            self.low_level_weights = nn.Parameter(torch.zeros(len(self.low_level)))
        if "semantic" in self.parts:
            self.semantic_weights = nn.Parameter(torch.zeros(len(self.semantic)))
        if self.gated:
            self.gate = nn.Linear(channels, 1)
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)
        self.register_buffer("tap_size", torch.ones(len(self.taps)))
        self.register_buffer("whole_size", torch.ones(len(self.taps)))
        self.register_buffer("reference_mean", torch.zeros(channels))
        self.register_buffer("reference_std", torch.ones(channels))

    @property
    def gated(self) -> bool:
        """Whether the head has both streams, and so a gate."""
        return {"low_level", "semantic"} <= set(self.parts)

    @torch.no_grad()
    def fit_inputs(self, measured: TapStatistics) -> None:
        """Set the normalisation of all inputs from the training data.

        Args:
            measured: measurements of the training pairs.

        Raises:
            ValueError: for measurements of other taps, and for an input that is not finite or constant.
        """
        self._check(measured)
        for index, tap in enumerate(self.taps):
            if ("low_level" if index < len(self.low_level) else "semantic") not in self.parts:
                continue
            patch_means, global_distances = measured.spread[:, index, 0], measured.summary[:, index]
            for values, size in ((patch_means, self.tap_size), (global_distances, self.whole_size)):
                if not values.isfinite().all():
                    raise ValueError(f"a distance at the tap {tap!r} is not finite: leave out that pair")
                positive = values[values > 0]
                if not len(positive):
                    raise ValueError(f"all distances at the tap {tap!r} are 0: the training pairs do not differ there")
                size[index] = positive.median()
        self.reference_mean.copy_(measured.reference.mean(0))
        spread = measured.reference.std(0, correction=0)
        # A channel that is equal for all references, up to rounding, has no information.
        varies = spread > _CONSTANT * measured.reference.abs().amax(0)
        self.reference_std.copy_(torch.where(varies, spread, 1))
        self.fusion.fit_inputs(self.inputs(measured))

    def inputs(self, measured: TapStatistics) -> Tensor:
        """The inputs of the fusion, ``(N, F)``, in the order of its names."""
        self._check(measured)
        dtype = self.tap_size.dtype
        patches = measured.spread.to(dtype) / self.tap_size[:, None]
        global_distances = measured.summary.to(dtype) / self.whole_size
        split, inputs = len(self.low_level), {}
        if "semantic" in self.parts:
            weights = self.semantic_weights.softmax(0)
            pooled = (patches[:, split:] * weights[:, None]).sum(1)
            global_distance = (global_distances[:, split:] * weights).sum(1, keepdim=True)
            inputs["semantic"] = torch.cat([pooled, global_distance], 1)
        if "low_level" in self.parts:
            inputs["low_level"] = (patches[:, :split] * self.low_level_weights.softmax(0)[:, None]).sum(1)
        if "conventional" in self.parts:
            inputs["conventional"] = measured.of_images.to(dtype)
        if self.gated:
            share = self.share(measured)[:, None]
            inputs["semantic"] = inputs["semantic"] * (2 * share)
            inputs["low_level"] = inputs["low_level"] * (2 - 2 * share)
        return torch.cat([inputs[part] for part in self.parts], 1)

    def share(self, measured: TapStatistics) -> Tensor:
        """Weight of the semantic stream for each reference, ``(N,)`` in [0, 1]; 1/2 without a gate."""
        if not self.gated:
            return measured.reference.new_full((len(measured.reference),), 0.5)
        reference = measured.reference.to(self.reference_mean.dtype)
        return torch.sigmoid(self.gate((reference - self.reference_mean) / self.reference_std)[:, 0])

    def forward(self, measured: TapStatistics) -> Tensor:
        """Score measured pairs: ``(N,)``, higher is worse, at least 0; 0 for equal images.

        Raises:
            ValueError: for measurements of other taps.
        """
        with torch.autocast(measured.spread.device.type, enabled=False):
            return self.fusion(self.inputs(measured))  # type: ignore[no-any-return]

    def quality(self, score: Tensor) -> Tensor:
        """Quality of scores ``(N,)``: 100 for equal images, falling to 0.

        Raises:
            ValueError: for a head that was not fitted to opinions.
        """
        return self.fusion.quality(score)

    def _check(self, measured: TapStatistics) -> None:
        if measured.labels != self.taps or measured.reference.shape[1:] != (self.channels,):
            raise ValueError(
                f"this head takes the taps {', '.join(self.taps)} with {self.channels} channels at the last; "
                f"got {', '.join(measured.labels)} with {tuple(measured.reference.shape[1:])}"
            )


def fusion_of(head: SpipsHead | FusionHead) -> FusionHead:
    """What joins the inputs in a head."""
    return head.fusion if isinstance(head, SpipsHead) else head


def check_parts(parts: Sequence[str]) -> tuple[str, ...]:
    """The parts in the order of :data:`PARTS`.

    Raises:
        ValueError: for unknown or repeated parts, or none.
    """
    names = (parts,) if isinstance(parts, str) else tuple(parts)
    if not names or len(set(names)) < len(names) or not set(names) <= set(PARTS):
        raise ValueError(f"`parts` must be one or more of {', '.join(PARTS)}, each once; got {parts!r}")
    return tuple(part for part in PARTS if part in names)


_MS_SSIM = CONVENTIONAL.index("ms_ssim_mean")


class FixedHead:
    """SPIPS with fixed weights: the mean distance over the taps of both streams.

    Each tap's distance is the mean over patches, as in :class:`~torchmetrics_fmiqa.FeatureDistance`. The global token
    is not used, since divergences cannot compare one token, and neither is MS-SSIM, unless the conventional part is
    given alone: with any weight of it the score agreed with people less (docs/spips.md). The choice is ours: the paper
    has no such score.

    Args:
        low_level: names of the low-level taps.
        semantic: names of the semantic taps.
        parts: the parts of :data:`~torchmetrics_fmiqa.spips_model.model.PARTS` to use.

    Raises:
        ValueError: for unknown parts, or none.

    >>> head = FixedHead(["blocks.0"], ["blocks.1"])
    >>> spread, summary = torch.tensor([[[0.4] * 3, [0.6] * 3]]), torch.zeros(1, 2)
    >>> measured = TapStatistics(spread, summary, torch.zeros(1, 8), torch.zeros(1, 9), ("blocks.0", "blocks.1"))
    >>> head(measured)
    tensor([0.5000])
    """

    def __init__(self, low_level: Sequence[str], semantic: Sequence[str], parts: Sequence[str] = PARTS) -> None:
        self.low_level, self.semantic = tuple(low_level), tuple(semantic)
        self.parts = check_parts(parts)

    def __call__(self, measured: TapStatistics) -> Tensor:
        """Score measured pairs: ``(N,)``, higher is worse, 0 for equal images.

        Raises:
            ValueError: for measurements of other taps.
        """
        if measured.labels != (*self.low_level, *self.semantic):
            taps = ", ".join((*self.low_level, *self.semantic))
            raise ValueError(f"this head takes the taps {taps}; got {', '.join(measured.labels)}")
        streams = measured.spread[..., 0].split([len(self.low_level), len(self.semantic)], 1)
        used = [stream for name, stream in zip(("low_level", "semantic"), streams, strict=True) if name in self.parts]
        return torch.cat(used, 1).mean(1) if used else measured.of_images[:, _MS_SSIM]
