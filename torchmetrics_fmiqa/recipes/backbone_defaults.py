"""Defaults of recipe fields that depend on the backbone."""

from __future__ import annotations

from typing import Any

from torchmetrics_fmiqa.features.embedded import EMBEDDED
from torchmetrics_fmiqa.recipes.fields import Taps

# Raw [0, 1] input. It is better than ViT-Tiny's own normalisation. For the published transformers it is the only one
# that was measured (docs/findings.md).
_RAW = {"normalization": "none"}


def joint(cosine: float) -> dict[str, Any]:
    """Cosine joined with symmetric KL, with weights that balance them, and pooling by information."""
    return {"distance": {"cosine": cosine, "symmetric_kl": 1}, "combine": "mean", "pooling": "information"}


_OWN: dict[str, dict[str, Any]] = {
    # Chosen by benchmarks/choose_defaults.py (docs/findings.md). Any recipe field is possible; `make embedded` updates
    # all that depends on it.
    EMBEDDED: {"taps": (1,), **joint(75)},
    "vit_base_patch32_clip_quickgelu_224.openai": _RAW,
    "vit_base_patch32_clip_224.laion2b": _RAW,
    "vit_base_patch16_224.orig_in21k_ft_in1k": _RAW,
    "vit_base_patch16_224.dino": _RAW,
    "vit_base_patch14_dinov2.lvd142m": _RAW,
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k": _RAW,
}


def own_fields(backbone: Any) -> dict[str, Any]:
    """Fields in which a backbone's defaults differ from those of a recipe."""
    return dict(_OWN.get(backbone, {})) if isinstance(backbone, str) else {}


# ConvNeXt-Base has 3, 3, 27 and 3 blocks; the published code reads each of them.
_CONVNEXT_BASE_BLOCKS = tuple(f"stages.{s}.blocks.{b}" for s, n in enumerate((3, 3, 27, 3)) for b in range(n))


def published_fields(backbone: str, distance: str) -> dict[str, Any]:
    """The fields of the published ZS-IQA protocol for a backbone and a distance."""
    embedding = distance in ("embed", "embed_cos")
    head = "head" if "clip" in backbone else "norm"
    return {
        "taps": [head] if embedding else _published_taps(backbone),
        "distance": "cos" if embedding else distance,
        "tokens": "all",
        "normalization": "none",
        "resolution": "tile",
        "tile": 224,
        "protocol": "zsiqa",
    }


def _published_taps(backbone: str) -> Taps:
    if backbone.startswith("resnet50_clip"):
        return ("stem.pool", "stages.0", "stages.1", "stages.2", "stages.3")
    return _CONVNEXT_BASE_BLOCKS if backbone.startswith("convnext_base") else "all"
