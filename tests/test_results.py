"""Results with real weights on real images and human scores (FMIQA_ASSETS)."""

from __future__ import annotations

import csv

import pytest
import torch
from scipy.stats import spearmanr

from tests.conftest import ASSETS, SQUEEZENET, VIT_TINY, needs
from torchmetrics_fmiqa import FeatureComparator, FeatureDistance, Recipe
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.data.pairs import read_pairs


def agreement(comparator: FeatureComparator) -> float:
    """SRCC on live58, every second image, cut to the middle 224 x 224 to keep the test short."""
    table = needs(ASSETS / "iqa" / "live58" / "pairs.csv")
    with table.open() as file:
        opinions = [float(row["dmos"]) for row in csv.DictReader(file)][::2]
    preds, target = [], []
    for pair in read_pairs(table)[::2]:
        for side, path in ((preds, pair.dist_path), (target, pair.ref_path)):
            image = read_image(path)
            top, left = (image.shape[1] - 224) // 2, (image.shape[2] - 224) // 2
            side.append(image[:, max(top, 0) : max(top, 0) + 224, max(left, 0) : max(left, 0) + 224])
    scores = comparator(preds, target)[0].scores()["cosine"]
    return float(spearmanr(scores, opinions).statistic)


@pytest.mark.slow
def test_pretrained_features_agree_with_people_better_than_random_ones(vit_tiny: dict[str, str]) -> None:
    pretrained = agreement(FeatureComparator(Recipe(**vit_tiny)))
    random = agreement(FeatureComparator(Recipe("vit_tiny_patch16_224", weights="random:0")))
    assert pretrained - random >= 0.05


@pytest.mark.parametrize("backbone", ["vit", "squeezenet"])
def test_scores_rise_with_the_strength_of_a_real_distortion(backbone: str) -> None:
    path = needs(VIT_TINY if backbone == "vit" else SQUEEZENET)
    name = "vit_tiny_patch16_224" if backbone == "vit" else "torchvision/squeezenet1_1"
    target = read_image(needs(ASSETS / "images" / "kodak" / "kodim04.png"))[None, :, :256, :256] / 255
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    metric = FeatureDistance(backbone=name, weights=str(path), reduction="none")
    metric.update(
        (target + noise * torch.tensor([0.01, 0.03, 0.1])[:, None, None, None]).clamp(0, 1),
        target.expand(3, -1, -1, -1),
    )
    scores = metric.compute()
    assert 0 < scores[0] < scores[1] < scores[2]


def test_the_map_points_at_the_distorted_part(vit_tiny: dict[str, str]) -> None:
    from torchmetrics_fmiqa import feature_distance_map

    target = read_image(needs(ASSETS / "images" / "kodak" / "kodim04.png"))[None] / 255
    preds = target.clone()
    preds[..., 200:300, 150:300] += 0.1 * torch.randn(3, 100, 150, generator=torch.Generator().manual_seed(0))
    heat = feature_distance_map(preds.clamp(0, 1), target, taps=[0, 1, 2], **vit_tiny)[0, 0]
    assert heat[200:300, 150:300].mean() > 10 * heat[400:].mean()
