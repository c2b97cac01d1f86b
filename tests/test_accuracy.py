"""Agreement against ImageNet accuracy: the table's figures, whose backbone a metric has, and the correlation."""

from __future__ import annotations

import csv
import math
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from tests.conftest import ASSETS, needs
from torchmetrics_fmiqa.benchmark.analysis.imagenet_accuracy import (
    TOP_ONE,
    AccuracyFinding,
    accuracy_finding,
    backbone_of,
)
from torchmetrics_fmiqa.benchmark.scoring.score_table import read_scored
from torchmetrics_fmiqa.features.embedded import EMBEDDED
from torchmetrics_fmiqa.recipes import RECIPES
from torchmetrics_fmiqa.statistics import srcc

PUBLISHED = ASSETS / "published"


def finding_of(values: dict[str, float], **options: Any) -> AccuracyFinding:
    """Of metrics called like their backbones."""
    return accuracy_finding(values, "SRCC", **options)


def test_every_backbone_with_a_recipe_has_an_accuracy() -> None:
    # The embedded network classifies nothing.
    classifiers = {name: entry for name, entry in RECIPES.items() if entry.recipe.backbone != EMBEDDED}
    assert {backbone_of(name) for name in classifiers} <= set(TOP_ONE)
    of_their_name = {str(RECIPES[name].recipe.backbone) for name in TOP_ONE if name in RECIPES}
    assert of_their_name | {"torchvision/alexnet"} == {str(entry.recipe.backbone) for entry in classifiers.values()}


@pytest.mark.parametrize(
    ("backbone", "weights"),
    [
        ("alexnet", "AlexNet_Weights"),
        ("squeezenet", "SqueezeNet1_1_Weights"),
        ("vgg16", "VGG16_Weights"),
        ("efficientnet-b7", "EfficientNet_B7_Weights"),
    ],
)
def test_torchvision_says_the_same(backbone: str, weights: str) -> None:
    from torchvision import models

    meta = getattr(models, weights).IMAGENET1K_V1.meta
    assert TOP_ONE[backbone].top1 == meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert weights in TOP_ONE[backbone].source


@pytest.mark.parametrize("backbone", ["vit-tiny", "vit-b16"])
def test_timm_says_the_same(backbone: str) -> None:
    with needs(PUBLISHED / "timm_imagenet_top1.csv").open() as file:
        rows = {(row["model"], row["img_size"]): float(row["top1"]) for row in csv.DictReader(file)}
    model = str(RECIPES[backbone].recipe.backbone)
    assert TOP_ONE[backbone].top1 == rows[model, "224"]
    assert model in TOP_ONE[backbone].source


@pytest.mark.parametrize(
    ("metric", "backbone"),
    [
        ("default", None),
        ("accurate", "dino-vit-b16"),
        ("zsiqa-dino-vit-b16", "dino-vit-b16"),
        ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", "vit-tiny"),
        ("vit-tiny:distance=l2:taps=[2, 5]/cosine", "vit-tiny"),
        ("vit-tiny:backbone=vit_base_patch16_224.dino", "dino-vit-b16"),
        ("vit-tiny:backbone=resnet18", None),
        ("vit-tiny:weights=random:0", None),
        ("vit-tiny-of-mine", None),
        ("pyiqa:lpips-vgg", "vgg16"),
        ("lpips-squeeze", "squeezenet"),
        ("lpips-alex", "alexnet"),
        ("lpips_vgg_kadid", None),
        ("stlpips_alex", None),
        ("clip_vitb32_jsd", "clip-vit-b32"),
        ("embed_clip_rn50_cos", "clip-rn50"),
        ("embed_dinov2_cos", "dinov2-vit-b14"),
        ("imagenet_vit_l2", "vit-b16"),
        ("openclip_convnext_base_cos", "openclip-convnext-b"),
        ("embed_openclip_convnext_laion_tecoa4_cos", None),
        ("openclip_vitb32_laion_tecoa4_cos", None),
        ("deep_wsd_vgg", "vgg16"),
        ("deep_kld_eff", "efficientnet-b7"),
        ("dists", "vgg16"),
        ("fsim", None),
    ],
)
def test_the_backbone_of_a_metric(metric: str, backbone: str | None) -> None:
    assert backbone_of(metric) == backbone


def test_rho_is_scipys_and_the_best_metric_stands_for_its_backbone() -> None:
    rng = np.random.default_rng(0)
    values = {f"{name}/{distance}": float(rng.uniform()) for name in TOP_ONE for distance in ("l2", "cosine")}
    values = {name: value for name, value in values.items() if backbone_of(name) is not None}
    found = accuracy_finding(values, "SRCC", permutations=200, bootstrap=200)
    best: dict[str, float] = {}
    for metric, value in values.items():
        name = metric.partition("/")[0]
        best[name] = max(best.get(name, -1.0), value)
    names = sorted(best, key=lambda name: TOP_ONE[name].top1)
    assert found.backbones == tuple(names)
    assert [values[metric] for metric in found.metrics] == [best[name] for name in names]
    assert found.rho == pytest.approx(spearmanr([TOP_ONE[n].top1 for n in names], [best[n] for n in names]).statistic)


def test_p_is_exact_for_few_backbones() -> None:
    figures = dict(zip(TOP_ONE, [0.3, 0.1, 0.5, 0.4, 0.9, 0.7], strict=False))
    found = finding_of(figures)
    all_of_them = np.array([spearmanr(found.top1, order).statistic for order in permutations(found.values)])
    shares = [(all_of_them <= found.rho + 1e-9).mean(), (all_of_them >= found.rho - 1e-9).mean()]
    assert found.p == pytest.approx(min(1.0, 2 * min(shares)), abs=1e-12)


def test_p_of_many_backbones_is_seeded_and_near_the_approximation() -> None:
    rng = np.random.default_rng(1)
    figures = {name: 0.01 * TOP_ONE[name].top1 + 0.15 * float(rng.normal()) for name in TOP_ONE}
    found = finding_of(figures, seed=3)
    assert found == finding_of(figures, seed=3)
    assert found.p == pytest.approx(spearmanr(found.top1, found.values).pvalue, abs=0.02)


@given(st.randoms(use_true_random=False))
def test_a_perfect_order_is_1_and_its_reverse_minus_1(random: Any) -> None:
    # DINO and SigLIP 2 have one accuracy, and ties more than one perfect order.
    names = random.sample(sorted(set(TOP_ONE) - {"siglip2-vit-b16"}), 5)
    up = {name: TOP_ONE[name].top1 ** 3 for name in names}
    found = finding_of(up, bootstrap=50)
    back = finding_of({name: -value for name, value in up.items()}, bootstrap=50)
    assert (found.rho, found.interval) == (1.0, (1.0, 1.0))
    assert (back.rho, back.interval) == (-1.0, (-1.0, -1.0))
    assert found.p == back.p == pytest.approx(2 / math.factorial(5))


def test_the_interval_bears_resamples_without_a_correlation() -> None:
    """Of 4 backbones one resample in 64 draws the same one throughout."""
    found = finding_of(dict(zip(TOP_ONE, [0.1, 0.3, 0.2, 0.4], strict=False)))
    assert -1 <= found.interval[0] <= found.rho <= found.interval[1] <= 1


def test_three_backbones_or_equal_figures_tell_nothing() -> None:
    few = finding_of(dict(zip(TOP_ONE, [0.1, 0.2, 0.3], strict=False)))
    equal = finding_of(dict.fromkeys(TOP_ONE, 0.5))
    for found in (few, equal, accuracy_finding({}, "SRCC")):
        assert np.isnan([found.rho, found.p, *found.interval]).all()
    assert "fewer than 4" in few.note


def test_the_note_tells_what_is_left_out_and_that_kinds_differ() -> None:
    values = {"lpips": 0.5, "lpips_vgg": 0.6, "dinov1_l2": 0.7, "clip_rn50_cos": 0.8, "psnr": 0.1, "dists": math.nan}
    note = accuracy_finding(values, "SRCC").note
    assert "4 backbones" in note
    assert "2 supervised" in note
    assert "1 zero-shot" in note
    assert note.endswith("dists, psnr")


def test_accuracy_does_not_explain_the_published_agreement_on_tid2013() -> None:
    table = read_scored(needs(PUBLISHED / "zsiqa_tid2013.csv.gz"), "mos")
    values = {name: abs(srcc(scores, table.opinion).value) for name, scores in table.scores.items()}
    found = accuracy_finding(values, "SRCC")
    assert len(found.backbones) == 9
    assert found.metrics[found.backbones.index("dino-vit-b16")] == "dinov1_l2"
    assert found.rho == pytest.approx(-0.2, abs=1e-9)
    assert found.interval[0] < 0 < found.interval[1]
    assert found.p > 0.3
