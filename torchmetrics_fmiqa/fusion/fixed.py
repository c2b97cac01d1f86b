"""FixedHead: SPIPS without training, by weights that nobody fitted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchmetrics_fmiqa.fusion.conventional import CONVENTIONAL
from torchmetrics_fmiqa.fusion.streams import PARTS, check_parts
from torchmetrics_fmiqa.profiles import Profiled

_MS_SSIM = CONVENTIONAL.index("ms_ssim_mean")
# At 1 the score agreed with people less than its streams alone did (docs/findings.md 1 has the sets; two looks).
_SHARE_OF_MS_SSIM = 0.25


class FixedHead:
    """The mean of the low-level stream, the semantic stream, the scene as a whole, and a quarter of the map of MS-SSIM.

    Each stream is the mean of its taps' mean distances, the scene as a whole that of the semantic taps' distances of
    the CLS token (or of the mean patch token). Of the conventional maps only MS-SSIM takes part: those of PSNR and SSIM
    are several times larger than all else, and would drown it. The choice is ours: the paper has no such score.

    Args:
        low_level: names of the low-level taps.
        semantic: names of the semantic taps.
        parts: which of :data:`~torchmetrics_fmiqa.fusion.streams.PARTS` are used.

    Raises:
        ValueError: for parts that do not exist, or none.

    >>> head = FixedHead(["blocks.0"], ["blocks.1"])
    >>> spread, summary = torch.full((1, 2, 3), 0.4), torch.full((1, 2), 0.2)
    >>> measured = Profiled(spread, summary, torch.zeros(1, 8), torch.zeros(1, 9), ("blocks.0", "blocks.1"))
    >>> head(measured)  # (0.4 + 0.4 + 0.2 + 0) / 3.25
    tensor([0.3077])
    """

    def __init__(self, low_level: Sequence[str], semantic: Sequence[str], parts: Sequence[str] = PARTS) -> None:
        self.low_level, self.semantic = tuple(low_level), tuple(semantic)
        self.parts = check_parts(parts)

    def __call__(self, measured: Profiled) -> Tensor:
        """Score measured pairs: ``(N,)``, higher is worse, 0 for equal images.

        Raises:
            ValueError: for measurements of other taps.
        """
        if measured.labels != (*self.low_level, *self.semantic):
            taps = ", ".join((*self.low_level, *self.semantic))
            raise ValueError(f"this head takes the taps {taps}; got {', '.join(measured.labels)}")
        split, terms = len(self.low_level), []
        if "semantic" in self.parts:
            terms += [measured.spread[:, split:, 0].mean(1), measured.summary[:, split:].mean(1)]
        if "low_level" in self.parts:
            terms.append(measured.spread[:, :split, 0].mean(1))
        weight = float(len(terms))
        if "conventional" in self.parts:
            terms.append(measured.of_images[:, _MS_SSIM] * _SHARE_OF_MS_SSIM)
            weight += _SHARE_OF_MS_SSIM
        return torch.stack(terms, 1).sum(1) / weight
