"""The named recipes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torchmetrics_fmiqa.features.channel_weights import LPIPS, LPIPS_BACKBONES
from torchmetrics_fmiqa.features.embedded import EMBEDDED
from torchmetrics_fmiqa.recipes.backbone_defaults import joint, own_fields
from torchmetrics_fmiqa.recipes.facts import FACTS, Facts
from torchmetrics_fmiqa.recipes.recipe import NAMED, Recipe


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe of the table.

    Args:
        recipe: the recipe.
        parameters: millions of parameters of its backbone.
        licence: licence of its pretrained weights.
        note: a short description.
        megabytes: size of its weights on disk, in 10^6 bytes.
        facts: its cost, and its agreement with people.
    """

    recipe: Recipe
    parameters: float
    licence: str
    note: str
    megabytes: float
    facts: Facts


# Published weights have float32, our own have float16.
_BYTES, _OUR_BYTES = 4, 2

_ROWS = (
    # name, backbone, millions of parameters, licence of the weights, note
    ("embedded", EMBEDDED, 0.28, "apache-2.0", "part of this package, taught by SqueezeNet"),
    ("clip-vit-b32", "vit_base_patch32_clip_quickgelu_224.openai", 87.8, "apache-2.0", "CLIP, OpenAI"),
    ("openclip-vit-b32", "vit_base_patch32_clip_224.laion2b", 87.8, "apache-2.0", "OpenCLIP, LAION-2B"),
    ("vit-b16", "vit_base_patch16_224.orig_in21k_ft_in1k", 86.6, "apache-2.0", "supervised, ImageNet"),
    ("dino-vit-b16", "vit_base_patch16_224.dino", 85.8, "apache-2.0", "DINO"),
    ("dinov2-vit-b14", "vit_base_patch14_dinov2.lvd142m", 86.6, "apache-2.0", "DINOv2"),
    ("clip-rn50", "resnet50_clip.openai", 38.3, "mit", "CLIP ResNet-50, OpenAI"),
    ("openclip-convnext-b", "convnext_base.clip_laion2b", 88.2, "apache-2.0", "OpenCLIP, LAION-2B"),
    ("dinov3-vit-b16", "vit_base_patch16_dinov3.lvd1689m", 85.7, "dinov3-license", "DINOv3"),
    ("siglip2-vit-b16", "vit_base_patch16_siglip_224.v2_webli", 92.9, "apache-2.0", "SigLIP 2"),
    ("dinov2-vit-s14", "vit_small_patch14_dinov2.lvd142m", 22.1, "apache-2.0", "small DINOv2"),
    ("vit-tiny", "vit_tiny_patch16_224.augreg_in21k_ft_in1k", 5.7, "apache-2.0", "small and fast"),
    ("squeezenet", "torchvision/squeezenet1_1", 1.2, "bsd-3-clause", "LPIPS-squeeze's trunk"),
    ("vgg16", "torchvision/vgg16", 138.4, "bsd-3-clause", "LPIPS-vgg's trunk"),
    ("lpips-squeeze", LPIPS_BACKBONES["squeeze"], 1.2, "bsd-3-clause, bsd-2-clause", "LPIPS v0.1, SqueezeNet"),
    ("lpips-alex", LPIPS_BACKBONES["alex"], 61.1, "bsd-3-clause, bsd-2-clause", "LPIPS v0.1, AlexNet"),
    ("lpips-vgg", LPIPS_BACKBONES["vgg"], 138.4, "bsd-3-clause, bsd-2-clause", "LPIPS v0.1, VGG-16"),
)
# LPIPS scales its input as torchvision's networks do, and sees images as they are.
_LPIPS = {"distance": "normalized_l2", "channel_weights": LPIPS, "tap_reduction": "sum", "resolution": "unpadded"}

# Fields in which a named recipe differs from its backbone's defaults. They were chosen by benchmarks/choose_defaults.py
# with the pretrained weights (docs/findings.md), or are as published.
_CHOSEN: dict[str, dict[str, Any]] = {
    "vit-tiny": {"taps": (0, 1, 2, 3), "pooling": "information"},
    "squeezenet": {"taps": ("features.6",), **joint(90)},
    **{f"lpips-{net}": _LPIPS for net in LPIPS_BACKBONES},
}
# Recipes whose backbones have published ZS-IQA scores.
_PUBLISHED = (
    "clip-vit-b32",
    "clip-rn50",
    "openclip-vit-b32",
    "openclip-convnext-b",
    "vit-b16",
    "dino-vit-b16",
    "dinov2-vit-b14",
)


def _table() -> dict[str, NamedRecipe]:
    def entry(name: str, recipe: Recipe, parameters: float, licence: str, note: str) -> NamedRecipe:
        size = parameters * (_OUR_BYTES if recipe.backbone == EMBEDDED else _BYTES)
        return NamedRecipe(recipe, parameters, licence, note, size, FACTS[name])

    table = {
        name: entry(
            name, Recipe(backbone, **{**own_fields(backbone), **_CHOSEN.get(name, {})}), parameters, licence, note
        )
        for name, backbone, parameters, licence, note in _ROWS
    }
    table = {"default": table["embedded"], "accurate": table["dino-vit-b16"], **table}
    for name in _PUBLISHED:
        base = table[name]
        recipe = Recipe.zsiqa(str(base.recipe.backbone))
        title = f"zsiqa-{name}"
        table[title] = entry(title, recipe, base.parameters, base.licence, "published ZS-IQA protocol, l2")
    return table


#: The named recipes. ``default`` is ``embedded``, which needs no download; ``accurate`` is DINO ViT-B/16.
RECIPES: dict[str, NamedRecipe] = _table()

NAMED.update({name: entry.recipe for name, entry in RECIPES.items()})
