"""FusionHead: named numbers about a pair of images, in; one score, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchmetrics_fmiqa.features.building import OwnRandomNumbers

# Inputs are compressed by asinh(STEEPNESS * value / median): straight near 0, logarithmic far above it.
_STEEPNESS = 30.0
# An input whose spread is below this share of its size is rounding, not information.
_CONSTANT = 1e-6


@dataclass(frozen=True)
class OpinionScale:
    """The opinions that a head was trained with.

    Args:
        mean: of the training opinions.
        std: their standard deviation.
        worst: the worst of them; quality 0.
        best: the best of them; quality 100.
        higher_is_better: their direction.
    """

    mean: float
    std: float
    worst: float
    best: float
    higher_is_better: bool


class FusionHead(nn.Module):
    """Fuse named inputs into one score, higher is worse, by a multilayer perceptron.

    SPIPS (Lao and Yu, arXiv 2504.17234) joins semantic, low-level and conventional terms by a multilayer perceptron and
    publishes no more of it. **All that follows is our choice:**

    - Each input is compressed, ``asinh(30 x / median|x|)`` with the median over the training data, then standardised.
      Distances are skewed: most are small, a few are a hundred times larger. The factor 30 was chosen by inner
      validation on TID2013, against 3, 10 and no compression; quantile and Yeo-Johnson transforms did no better.
    - Two hidden layers of 32 and 16 with GELU, which did better than ReLU and SiLU there.
    - With ``anchored=True`` all inputs are distances that are 0 for equal images, and so is the score:
      ``softplus(f(x)) * (1 - exp(-m(x)))``, where ``m`` is the mean of ``|compressed x| / std`` over the inputs. It is
      0 only where all inputs are, never negative, and nearly ``softplus(f(x))`` for images that differ visibly.
      ``softplus(f(x)) - softplus(f(0))``, the obvious form, turns negative wherever the network takes an image for
      better than its reference, and cutting that off at 0 would leave no gradient there.
    - :meth:`quality` is a curve with two parameters that are fitted to the training opinions
      (:mod:`torchmetrics_fmiqa.fitting.calibration`).

    Args:
        names: of the inputs, in the order of columns.
        hidden: widths of the hidden layers.
        linear: no hidden layer at all: a weighted sum of the compressed inputs, for the ablation.
        anchored: whether equal images must have the score 0, see above.
        seed: of the initial weights.
        made_for: what computes the inputs, such as a recipe's digest; a saved head is refused to anything else.

    Raises:
        ValueError: for no names, for names that come twice, and for widths below 1.

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
        twice = [name for name in dict.fromkeys(self.names) if self.names.count(name) > 1]
        if twice:
            raise ValueError(f"the input {twice[0]!r} is named twice: inputs bind by name")
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
        with OwnRandomNumbers(seed):  # whoever builds a head keeps theirs
            for before, after in pairwise(widths):
                layers += [nn.Linear(before, after), nn.GELU()]
            layers.append(nn.Linear(widths[-1], 1))
        self.network = nn.Sequential(*layers)

    @property
    def linear(self) -> bool:
        """Whether there is no hidden layer."""
        return not self.hidden

    def gather(self, values: Mapping[str, Tensor]) -> Tensor:
        """Put named inputs ``(N,)`` in order, ``(N, F)``; names that the head does not know are left aside.

        Raises:
            ValueError: for an input that is missing.
        """
        missing = [name for name in self.names if name not in values]
        if missing:
            raise ValueError(f"the input {missing[0]!r} is missing: there are {', '.join(values) or 'none'}")
        return torch.stack([values[name] for name in self.names], dim=-1)

    @torch.no_grad()
    def fit_inputs(self, inputs: Tensor) -> None:
        """Take the inputs' sizes and spreads from the training data.

        Args:
            inputs: ``(N, F)`` of the training images.

        Raises:
            ValueError: for another shape, for values that are not finite, and for an input that is constant, naming it.
        """
        self._check(inputs)
        inputs = inputs.to(self.mean)
        for place, name in enumerate(self.names):
            one = inputs[:, place]
            bad = (~one.isfinite()).nonzero()
            if len(bad):
                raise ValueError(
                    f"the input {name!r} is {one[bad[0]].item()} in row {bad[0].item()}: it must be finite"
                )
            if one.max() - one.min() <= _CONSTANT * one.abs().max():
                raise ValueError(
                    f"the input {name!r} is constant ({one[0].item():g}) in the training data: leave it out"
                )
            self.knee[place] = one[one != 0].abs().median() / _STEEPNESS
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
        scale = cast(OpinionScale, self.scale)  # what has a quality has a scale
        return scale.worst + (scale.best - scale.worst) * quality / 100

    def _compressed(self, inputs: Tensor) -> Tensor:
        return torch.asinh(inputs / self.knee)

    def _check(self, inputs: Tensor) -> None:
        if inputs.ndim != 2 or inputs.shape[1] != len(self.names):
            raise ValueError(
                f"`inputs` must be (N, {len(self.names)}), one column for each of {', '.join(self.names)}; "
                f"got {tuple(inputs.shape)}"
            )
