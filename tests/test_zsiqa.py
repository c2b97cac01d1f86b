"""Parity of the zsiqa protocol with ``tests.published``, a plain transcription of the published algorithm."""

from __future__ import annotations

import csv
from functools import lru_cache

import pytest
import timm
import torch
from torch import Tensor, nn

from tests import published
from tests.conftest import ASSETS, VIT_TINY, make_pair, needs
from torchmetrics_fmiqa.comparator import FeatureComparator
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.distances import zsiqa
from torchmetrics_fmiqa.features.network import Network, load_network
from torchmetrics_fmiqa.features.tiles import published_starts
from torchmetrics_fmiqa.features.tokens import Tokens
from torchmetrics_fmiqa.recipes import Recipe

VIT = "vit_tiny_patch16_224"
RN50 = "resnet50_clip.openai"
CONVNEXT = "convnext_base.clip_laion2b"
CLIP_VIT = "vit_base_patch32_clip_quickgelu_224.openai"
DINOV2 = "vit_small_patch14_dinov2.lvd142m"
ALL = [*published.PER_TAP, *published.STACKED, "embed_cos"]
LIVE = ASSETS / "iqa" / "live58"
RELATIVE = 1e-5


@pytest.fixture(scope="module")
def clip_resnet() -> Network:
    """Keeps the network in the process, so that it is built once."""
    return load_network(RN50, "random:0")


@lru_cache(maxsize=1)
def timm_network(name: str, weights: str = "random:0", dtype: torch.dtype = torch.float32) -> nn.Module:
    options = {"dynamic_img_size": True} if name == DINOV2 else {}
    if weights != "random:0":
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": weights}}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(name, **options).eval().to(dtype)


def blocks(net: nn.Module) -> list[str]:
    return [f"blocks.{number}" for number in range(len(net.blocks))]


def ours(name: str, pair: tuple[Tensor, Tensor], distances: list[str], weights: str, **options) -> dict[str, float]:
    recipes = [Recipe.zsiqa(name, distance, weights) for distance in distances]
    results = FeatureComparator(recipes, **options)(*pair)
    return {d: next(iter(result.scores().values())).item() for d, result in zip(distances, results, strict=True)}


def live_pair(height: int, width: int) -> tuple[Tensor, Tensor]:
    with open(needs(LIVE / "pairs.csv")) as file:
        row = next(row for row in csv.DictReader(file) if row["dist"].startswith("wnoise/monarch"))
    dis, ref = (read_image(LIVE / row[side]).float()[None] / 255 for side in ("dist", "ref"))
    if height > width:
        dis, ref = dis.transpose(2, 3), ref.transpose(2, 3)
    return dis[..., :height, :width].contiguous(), ref[..., :height, :width].contiguous()


@pytest.mark.parametrize(
    ("length", "starts"),
    [
        (224, [0]),
        (225, [0, 1]),
        (288, [0, 64]),
        (384, [0, 160]),
        (424, [0, 200]),
        (425, [0, 200, 201]),
        (448, [0, 200, 224]),
        (512, [0, 200, 288]),
        (768, [0, 200, 400, 544]),
    ],
)
def test_windows_start_where_published(length: int, starts: list[int]) -> None:
    assert list(published_starts(length)) == starts
    assert published.window_starts(length) == starts


def test_windows_start_where_published_at_every_length() -> None:
    for length in range(224, 2500):
        assert list(published_starts(length)) == published.window_starts(length)


@pytest.mark.parametrize(("height", "width"), [(223, 300), (300, 223), (64, 64)])
def test_images_below_one_window_are_refused(height: int, width: int) -> None:
    comparator = FeatureComparator(Recipe.zsiqa(VIT, "l2", "random:0"))
    with pytest.raises(ValueError, match="at least 224x224"):
        comparator(*make_pair(1, height, width))


def check(found: dict[str, float], expected: dict[str, float], relative: float = RELATIVE) -> None:
    assert found.keys() == expected.keys()
    assert min(expected.values()) > 0
    assert found == pytest.approx(expected, rel=relative, abs=0)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (288, 288), (512, 384)])
def test_random_vit_scores_as_published(height: int, width: int) -> None:
    pair = make_pair(1, height, width, seed=1)
    net = timm_network(VIT)
    expected = published.scores(net, *pair, blocks(net), ALL[:-1], "norm")
    check(ours(VIT, pair, ALL, "random:0"), expected)


@pytest.mark.parametrize(
    ("height", "width"),
    [(224, 224), (512, 384)],
)
def test_real_vit_on_real_images_scores_as_published(height: int, width: int) -> None:
    weights = str(needs(VIT_TINY))
    pair = live_pair(height, width)
    net = timm_network(VIT, weights)
    expected = published.scores(net, *pair, blocks(net), ALL[:-1], "norm")
    check(ours(VIT, pair, ALL, weights), expected)


@pytest.mark.parametrize(
    ("name", "embedding"),
    [
        (VIT, "norm"),
        pytest.param(DINOV2, "norm", marks=pytest.mark.slow),
        pytest.param(CLIP_VIT, "head", marks=pytest.mark.slow),
    ],
    ids=["197", "257", "50"],
)
def test_any_number_of_tokens_scores_as_published_to_the_last_digits_of_float64(name: str, embedding: str) -> None:
    dis, ref = (side.double() for side in make_pair(1, 224, 224, seed=5))
    net = timm_network(name, dtype=torch.float64)
    expected = published.scores(net, dis, ref, blocks(net), ALL[:-1], embedding)
    check(ours(name, (dis, ref), ALL, "random:0", precision="float64"), expected, 1e-9)


@pytest.mark.usefixtures("clip_resnet")
def test_clip_resnet_embedding_scores_as_published() -> None:
    dis, ref = (side.double() for side in make_pair(1, 224, 224, seed=5))
    expected = published.scores(timm_network(RN50, dtype=torch.float64), dis, ref, [], [], "head")
    check(ours(RN50, (dis, ref), ["embed_cos"], "random:0", precision="float64"), expected, 1e-9)


@pytest.mark.parametrize("distance", published.STACKED)
@pytest.mark.parametrize("shape", [(16, 24), (13, 16), (50, 20), (12, 29), (20, 12)])
def test_padding_and_regrouping_are_as_published(distance: str, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    dis, ref = torch.randn(2, 3, 2, *shape, generator=generator, dtype=torch.float64)
    found = zsiqa.STACKED[distance](*([Tokens(tap, (1, shape[0]), 0) for tap in side] for side in (dis, ref)))
    for sample in range(2):
        sides = ([tap[sample : sample + 1] for tap in side] for side in (dis, ref))
        assert found[sample].item() == pytest.approx(published.BY_NAME[distance](*sides), rel=1e-12, abs=0)


@pytest.mark.parametrize("distance", ALL)
def test_recipe_alone_batched_and_chunked_scores_as_published(distance: str) -> None:
    dis, ref = make_pair(2, 224, 288, seed=2)
    net = timm_network(VIT)
    per_tap = [] if distance == "embed_cos" else [distance]
    embedding = None if per_tap else "norm"
    expected = [
        published.scores(net, d[None], r[None], blocks(net), per_tap, embedding)[distance]
        for d, r in zip(dis, ref, strict=True)
    ]
    found = FeatureComparator(Recipe.zsiqa(VIT, distance, "random:0"), tile_batch=3)(dis, ref)[0].scores()
    assert next(iter(found.values())).tolist() == pytest.approx(expected, rel=RELATIVE, abs=0)


@pytest.mark.parametrize("distance", ["l2", "jsd", "skld", "wsd", "swd"])
def test_equal_images_are_zero_with_finite_gradients(distance: str) -> None:
    comparator = FeatureComparator(Recipe.zsiqa(VIT, distance, "random:0"))
    _, target = make_pair(1, 224, 224)
    assert comparator(target, target)[0].scores()[distance].item() == 0
    preds = target.clone().requires_grad_()
    comparator(preds, target)[0].scores()[distance].sum().backward()
    assert preds.grad is not None
    assert preds.grad.isfinite().all()


@pytest.mark.usefixtures("clip_resnet")
def test_clip_resnet_scores_as_published() -> None:
    pair = make_pair(1, 224, 224, seed=3)
    taps = ["stem.pool", "stages.0", "stages.1", "stages.2", "stages.3"]
    expected = published.scores(timm_network(RN50), *pair, taps, ["l2", "cos"])
    check(ours(RN50, pair, ["l2", "cos"], "random:0"), expected)


@pytest.mark.usefixtures("clip_resnet")
@pytest.mark.parametrize("distance", published.STACKED)
def test_stacked_distances_refuse_a_convolutional_network(distance: str) -> None:
    comparator = FeatureComparator(Recipe.zsiqa(RN50, distance, "random:0"))
    with pytest.raises(ValueError, match="stack the taps, which must have one shape"):
        comparator(*make_pair(1, 224, 224))


def test_unknown_published_distance_is_refused() -> None:
    with pytest.raises(ValueError, match="not known to the zsiqa protocol"):
        Recipe.zsiqa(VIT, "cosine", "random:0")


@pytest.mark.slow
def test_clip_convnext_scores_as_published() -> None:
    pair = make_pair(1, 224, 224, seed=4)
    net = timm_network(CONVNEXT)
    taps = [f"stages.{stage}.blocks.{block}" for stage, count in enumerate((3, 3, 27, 3)) for block in range(count)]
    expected = published.scores(net, *pair, taps, ["l2", "cos"])
    check(ours(CONVNEXT, pair, ["l2", "cos"], "random:0"), expected)
