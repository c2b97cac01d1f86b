"""FusionHead: a multilayer perceptron that fuses named numbers about a pair of images into a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchmetrics_fmiqa.features.building import OwnRandomNumbers

# Inputs are compressed by asinh(STEEPNESS * value / median): linear near 0, logarithmic far above it.
_STEEPNESS = 30.0
# A spread below this share of an input's size is rounding error, not information.
_CONSTANT = 1e-6


@dataclass(frozen=True)
class OpinionScale:
    """The opinions that a head was trained with."""

    mean: float  #: mean of the training opinions.
    std: float  #: standard deviation of the training opinions.
    worst: float  #: worst training opinion; it has quality 0.
    best: float  #: best training opinion; it has quality 100.
    higher_is_better: bool  #: direction of the opinions.


class FusionHead(nn.Module):
    """Fuse named inputs into a score, higher is worse, by a multilayer perceptron.

    SPIPS (Lao and Yu, arXiv 2504.17234) fuses semantic, low-level and conventional terms by a multilayer perceptron;
    the paper has no details. **All that follows is our choice:**

    - Each input is compressed, ``asinh(30 x / median|x|)`` with the median over the training data, then standardised.
      Distances are skewed: most are small, a few are a hundred times larger. The factor 30 was chosen by inner
      validation on TID2013, against 3, 10 and no compression; quantile and Yeo-Johnson transforms did no better.
    - Two hidden layers of 32 and 16 with GELU, which did better than ReLU and SiLU there.
    - With ``anchored=True`` all inputs are distances that are 0 for equal images, and so is the score:
      ``softplus(f(x)) * (1 - exp(-m(x)))``, where ``m`` is the mean of ``|compressed x| / std`` over the inputs. It is
      0 only if all inputs are 0, never negative, and nearly ``softplus(f(x))`` for images that differ visibly. The
      obvious form ``softplus(f(x)) - softplus(f(0))`` is negative where the network rates an image above its
      reference, and clipping at 0 would leave no gradient there.
    - :meth:`quality` is a curve with two parameters, fitted to the training opinions
      (:mod:`torchmetrics_fmiqa.fitting.calibration`).

    Args:
        names: names of the inputs, in the order of columns.
        hidden: widths of the hidden layers.
        linear: no hidden layer: a weighted sum of the compressed inputs, for the ablation.
        anchored: whether equal images must have the score 0, see above.
        seed: seed of the initial weights.
        made_for: source of the inputs, such as a recipe's digest; a saved head does not load for another source.

    Raises:
        ValueError: for no names, for repeated names, and for widths below 1.

    >>> inputs = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    >>> head = FusionHead(["dinov1_l2", "psnr"])
    >>> head.fit_inputs(inputs)
    >>> head(inputs).shape
    torch.Size([50])
    >>> anchored = FusionHead(["near", "far"], anchored=True)
    >>> anchored.fit_inputs(inputs)
    >>> anchored(torch.zeros(1, 2)).item(), bool((anchored(inputs) > 0).all())
    (0.0, True)
    """

    knee: Tensor
    mean: Tensor
    std: Tensor
    curve: Tensor

    def __init__(
        self,
        names: Sequence[str],
        hidden: Sequence[int] = (32, 16),
        linear: bool = False,
        anchored: bool = False,
        seed: int = 0,
        made_for: str = "",
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        if not self.names or isinstance(names, str):
            raise ValueError(f"`names` must list the inputs, got {names!r}")
        repeated = [name for name in dict.fromkeys(self.names) if self.names.count(name) > 1]
        if repeated:
            raise ValueError(f"the input {repeated[0]!r} is named twice: inputs bind by name")
        if any(width < 1 for width in hidden):
            raise ValueError(f"`hidden` must be widths of at least 1, got {tuple(hidden)}")
        self.hidden = () if linear else tuple(hidden)
        self.anchored = anchored
        self.made_for = made_for
        self.scale: OpinionScale | None = None
        count = len(self.names)
        self.register_buffer("knee", torch.ones(count))
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("std", torch.ones(count))
        # Centre and width of the curve of quality; NaN until it is fitted.
        self.register_buffer("curve", torch.full((2,), torch.nan))
        widths = (count, *self.hidden)
        layers: list[nn.Module] = []
        with OwnRandomNumbers(seed):  # leaves the global random state untouched
            for width_in, width_out in pairwise(widths):
                layers += [nn.Linear(width_in, width_out), nn.GELU()]
            layers.append(nn.Linear(widths[-1], 1))
        self.network = nn.Sequential(*layers)

    @property
    def linear(self) -> bool:
        """Whether there is no hidden layer."""
        return not self.hidden

    def gather(self, values: Mapping[str, Tensor]) -> Tensor:
        """Stack named inputs ``(N,)`` in the head's order, ``(N, F)``; unknown names are ignored.

        Raises:
            ValueError: for a missing input.
        """
        missing = [name for name in self.names if name not in values]
        if missing:
            raise ValueError(f"the input {missing[0]!r} is missing: there are {', '.join(values) or 'none'}")
        return torch.stack([values[name] for name in self.names], dim=-1)

    @torch.no_grad()
    def fit_inputs(self, inputs: Tensor) -> None:
        """Set the normalisation of the inputs from the training data.

        Args:
            inputs: ``(N, F)`` inputs of the training pairs.

        Raises:
            ValueError: for another shape, and for an input that is not finite or constant.
        """
        self._check(inputs)
        inputs = inputs.to(self.mean)
        for index, name in enumerate(self.names):
            values = inputs[:, index]
            bad = (~values.isfinite()).nonzero()
            if len(bad):
                raise ValueError(
                    f"the input {name!r} is {values[bad[0]].item()} in row {bad[0].item()}: it must be finite"
                )
            if values.max() - values.min() <= _CONSTANT * values.abs().max():
                raise ValueError(
                    f"the input {name!r} is constant ({values[0].item():g}) in the training data: leave it out"
                )
            self.knee[index] = values[values != 0].abs().median() / _STEEPNESS
        compressed = self._compressed(inputs)
        self.mean.copy_(compressed.mean(0))
        self.std.copy_(compressed.std(0))

    def forward(self, inputs: Tensor) -> Tensor:
        """Score ``(N, F)`` inputs: ``(N,)`` float32, higher is worse; at least 0 if anchored.

        Raises:
            ValueError: for another shape.
        """
        self._check(inputs)
        with torch.autocast(inputs.device.type, enabled=False):
            compressed = self._compressed(inputs.to(self.mean.dtype))
            score: Tensor = self.network((compressed - self.mean) / self.std)[:, 0]
            if not self.anchored:
                return score
            return F.softplus(score) * -torch.expm1(-(compressed.abs() / self.std).mean(-1))

    def quality(self, score: Tensor) -> Tensor:
        """Quality of scores ``(N,)``, higher is better: 0 and 100 are the worst and best opinions of the training data.

        Raises:
            ValueError: for a head that was not fitted to opinions.
        """
        if self.scale is None:
            raise ValueError("this head was not fitted to opinions and has no quality: fit it, or load one that was")
        centre, width = self.curve
        falling = F.logsigmoid((centre - score) / width)
        return 100 * torch.exp(falling - F.logsigmoid(centre / width) if self.anchored else falling)

    def opinion(self, score: Tensor) -> Tensor:
        """Scores ``(N,)`` in the units and the direction of the training opinions.

        Raises:
            ValueError: for a head that was not fitted to opinions.
        """
        quality = self.quality(score)
        scale = cast(OpinionScale, self.scale)  # quality() has checked that it is not None
        return scale.worst + (scale.best - scale.worst) * quality / 100

    def _compressed(self, inputs: Tensor) -> Tensor:
        return torch.asinh(inputs / self.knee)

    def _check(self, inputs: Tensor) -> None:
        if inputs.ndim != 2 or inputs.shape[1] != len(self.names):
            raise ValueError(
                f"`inputs` must be (N, {len(self.names)}), one column for each of {', '.join(self.names)}; "
                f"got {tuple(inputs.shape)}"
            )
