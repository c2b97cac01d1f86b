"""What a recipe starts from where only a backbone is named."""

from __future__ import annotations

from typing import Any

from torchmetrics_fmiqa.features.embedded import EMBEDDED
from torchmetrics_fmiqa.recipes.fields import Taps

# Raw [0, 1] input: better than its own for ViT-Tiny, and all that is known of the published transformers
# (docs/findings.md).
_RAW = {"normalization": "none"}


def joint(cosine: float) -> dict[str, Any]:
    """Cosine and symmetric KL by weights that let both count the same, and places by what there is to see in them."""
    return {"distance": {"cosine": cosine, "symmetric_kl": 1}, "combine": "mean", "pooling": "information"}


_OWN: dict[str, dict[str, Any]] = {
    # Chosen by benchmarks/choose_defaults.py (docs/findings.md). Any field of a recipe may stand here; `make embedded`
    # brings what hangs on it up to date.
    EMBEDDED: {"taps": (1,), **joint(75)},
    "vit_base_patch32_clip_quickgelu_224.openai": _RAW,
    "vit_base_patch32_clip_224.laion2b": _RAW,
    "vit_base_patch16_224.orig_in21k_ft_in1k": _RAW,
    "vit_base_patch16_224.dino": _RAW,
    "vit_base_patch14_dinov2.lvd142m": _RAW,
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k": _RAW,
}


def own_fields(backbone: Any) -> dict[str, Any]:
    """Fields of a recipe in which a backbone departs from what recipes start from otherwise."""
    return dict(_OWN.get(backbone, {})) if isinstance(backbone, str) else {}


# ConvNeXt-Base has 3, 3, 27 and 3 blocks; the published code reads each of them.
_CONVNEXT_BASE_BLOCKS = tuple(f"stages.{s}.blocks.{b}" for s, n in enumerate((3, 3, 27, 3)) for b in range(n))


def published_taps(backbone: str) -> Taps:
    """The blocks of a backbone that its published scores were made from."""
    if backbone.startswith("resnet50_clip"):
        return ("stem.pool", "stages.0", "stages.1", "stages.2", "stages.3")
    return _CONVNEXT_BASE_BLOCKS if backbone.startswith("convnext_base") else "all"
