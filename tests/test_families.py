"""Every family of backbones works at every size, with random weights: forward, gradient, map."""

from __future__ import annotations

import pytest
import torch

from torchmetrics_fmiqa import FeatureComparator, Recipe
from torchmetrics_fmiqa.features.network import load_network

# backbone -> stages, prefix tokens
FAMILIES = {
    "vit_tiny_patch16_224": (12, 1),
    "vit_base_patch32_clip_quickgelu_224.openai": (12, 1),
    "vit_small_patch16_224.dino": (12, 1),
    "vit_small_patch14_dinov2.lvd142m": (12, 1),
    "vit_small_patch14_reg4_dinov2.lvd142m": (12, 5),
    "vit_small_patch16_dinov3.lvd1689m": (12, 5),
    "vit_base_patch16_siglip_224.v2_webli": (12, 0),
    "convnext_atto": (4, 0),
    "convnext_tiny.dinov3_lvd1689m": (4, 0),
    "resnet18": (5, 0),
    "resnet50_clip.openai": (5, 0),
    "swin_tiny_patch4_window7_224": (4, 0),
    "vgg11": (6, 0),
    "efficientnet_b0": (5, 0),
    "torchvision/squeezenet1_1": (7, 0),
    "torchvision/vgg11": (5, 0),
    "torchvision/alexnet": (5, 0),
    "torchvision/resnet18": (4, 0),
}


@pytest.mark.parametrize("backbone", FAMILIES)
def test_a_family_scores_differentiates_and_maps_at_any_size(backbone: str) -> None:
    comparator = FeatureComparator(Recipe(backbone, weights="random:0"))
    network, (stages, prefix) = comparator.backbone.network, FAMILIES[backbone]
    assert (len(network.stages), network.prefix) == (stages, prefix)
    for height, width in ((1, 1), (17, 40), (224, 224)):
        generator = torch.Generator().manual_seed(0)
        preds, target = torch.rand(2, 1, 3, height, width, generator=generator)
        together = comparator(preds, target)[0]
        assert torch.equal(comparator(target, target)[0].scores()["cosine"], torch.zeros(1))
        assert together.per_tap["cosine"].shape == (1, stages)
        preds.requires_grad_()
        apart = comparator(preds, target)[0].scores()["cosine"]
        torch.testing.assert_close(apart.detach(), together.scores()["cosine"], rtol=1e-4, atol=1e-7)
        apart.sum().backward()
        assert preds.grad is not None
        assert preds.grad.isfinite().all()
        assert preds.grad.abs().sum() > 0
        drawn = comparator.maps(preds.detach(), target)["cosine"]["score"]
        assert drawn.shape == (1, 1, height, width)
        torch.testing.assert_close(drawn.mean((1, 2, 3)), together.scores()["cosine"], rtol=1e-4, atol=1e-7)


def grids(backbone: str, height: int, width: int, resolution: str = "native") -> dict[str, tuple[tuple[int, int], int]]:
    comparator = FeatureComparator(Recipe(backbone, weights="random:0", resolution=resolution))
    with torch.no_grad():
        found = comparator.backbone(torch.rand(1, 3, height, width))
    sizes = [(tokens.grid, tokens.values.shape[2]) for tokens in found]
    return dict(zip(comparator.backbone.taps, sizes, strict=True))


def test_maps_of_convolutions_and_of_swin_keep_their_rows_and_channels() -> None:
    assert grids("resnet18", 64, 96)["layer2"] == ((8, 12), 128)
    assert grids("swin_tiny_patch4_window7_224", 64, 96)["layers.1"] == ((8, 12), 192)
    assert grids("vit_small_patch16_dinov3.lvd1689m", 64, 96)["blocks.3"] == ((4, 6), 384)


def test_channels_of_swin_are_channels() -> None:
    """A (N, h, w, C) output read as (N, C, h, w) would still give a number."""
    comparator = FeatureComparator(Recipe("swin_tiny_patch4_window7_224", weights="random:0", taps=[0]))
    net = load_network("swin_tiny_patch4_window7_224", "random:0").on(torch.device("cpu"), torch.float32)
    image = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        (found,) = comparator.backbone(image)
        expected = net.layers[0](net.patch_embed(image))  # type: ignore[operator, index]
    torch.testing.assert_close(found.values, expected.flatten(1, 2))
