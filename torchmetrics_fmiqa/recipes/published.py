"""Where the published ZS-IQA code reads features."""

from __future__ import annotations

from torchmetrics_fmiqa.recipes.fields import Taps

# ConvNeXt-Base has 3, 3, 27 and 3 blocks; the published code reads each of them.
_CONVNEXT_BASE_BLOCKS = tuple(f"stages.{s}.blocks.{b}" for s, n in enumerate((3, 3, 27, 3)) for b in range(n))


def published_taps(backbone: str) -> Taps:
    """The blocks of a backbone that its published scores were made from."""
    if backbone.startswith("resnet50_clip"):
        return ("stem.pool", "stages.0", "stages.1", "stages.2", "stages.3")
    return _CONVNEXT_BASE_BLOCKS if backbone.startswith("convnext_base") else "all"
