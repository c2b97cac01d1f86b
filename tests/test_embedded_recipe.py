"""The recipe "embedded": weights that come with the package, and what they give without a network."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr

import torchmetrics_fmiqa.features.network as networks
import torchmetrics_fmiqa.recipes.backbone_defaults as backbones
from torchmetrics_fmiqa import (
    RECIPES,
    SPIPS,
    FeatureDistance,
    FeatureDistanceLoss,
    Recipe,
    feature_distance,
    feature_distance_map,
)
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.data.rated_csv import read_rated_csv
from torchmetrics_fmiqa.features.embedded import EMBEDDED, WEIGHTS, EmbeddedNetwork, load_embedded
from torchmetrics_fmiqa.recipes import as_recipe
from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe
from torchmetrics_fmiqa.statistics import srcc

from .conftest import ASSETS, make_pair, needs
from .embedded_numbers import FILE, blurred, darker, noisy, numbers, photograph

# ---- the file


def test_the_file_is_small_and_in_half_precision() -> None:
    state = load_file(WEIGHTS)
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert WEIGHTS.stat().st_size <= 600_000
    assert {parameter.dtype for parameter in load_embedded().parameters()} == {torch.float32}


def test_the_file_tells_how_it_was_made() -> None:
    with safe_open(WEIGHTS, "pt") as file:
        facts = file.metadata()
    assert facts["command"].startswith("python -m train.embedded.distil --lessons")
    assert len(facts["commit"].removesuffix("+")) == 40
    assert int(facts["step"]) > 500
    assert {"teacher", "seed", "torch", "minutes"} <= set(facts)


def test_the_weights_are_trained_and_not_those_that_training_starts_from() -> None:
    trained, start = load_embedded().state_dict(), EmbeddedNetwork(0).state_dict()
    assert trained.keys() == start.keys()
    for name, value in trained.items():
        assert value.isfinite().all()
        assert not torch.equal(value, start[name].half().float()), name


def test_fixed_outputs() -> None:
    assert numbers() == pytest.approx(json.loads(FILE.read_text()), rel=2e-3)


def test_even_images_differ_by_their_light() -> None:
    greys = [
        float(feature_distance(torch.zeros(1, 3, 40, 40), torch.full((1, 3, 40, 40), to))) for to in (0.1, 0.3, 1.0)
    ]
    assert 0.001 < greys[0] < greys[1] < greys[2]
    assert greys[2] > 0.05


def test_light_counts_less_than_noise_does() -> None:
    image = photograph()
    for change in (darker, lambda image: (image + 0.1).clamp(0, 1)):
        assert feature_distance(change(image), image) < 0.2 * feature_distance(noisy(image), image)


def test_a_shift_by_a_few_pixels_counts_less_than_a_blur() -> None:
    image = photograph()
    blur = feature_distance(blurred(image), image)
    assert feature_distance(image[..., :-1], image[..., 1:]) < 0.2 * blur
    assert feature_distance(image[..., :-4], image[..., 4:]) < 0.7 * blur


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no weights file .*none\.safetensors"):
        load_embedded(tmp_path / "none.safetensors")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"conv.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"does not fit EmbeddedNetwork: missing: .*unexpected: conv\.weight"):
        FeatureDistance("embedded", weights=str(tmp_path / "other.safetensors"))


def test_weights_tell_how_wide_their_network_is(tmp_path: Path) -> None:
    network = EmbeddedNetwork(seed=5, channels=(4, 6, 10), squeezed=(3, 5))
    save_file({name: value.half() for name, value in network.state_dict().items()}, tmp_path / "narrow.safetensors")
    preds, target = make_pair(2, 64, 64)
    found = feature_distance(preds, target, "embedded", weights=str(tmp_path / "narrow.safetensors"), taps="all")
    fields = {**backbones.own_fields(EMBEDDED), "taps": "all"}
    expected = feature_distance(preds, target, Recipe(network, **fields))
    assert float(found) == pytest.approx(float(expected), rel=2e-3)


# ---- the recipe


def test_equal_content_is_an_equal_recipe_and_other_content_another(tmp_path: Path) -> None:
    copy = shutil.copy(WEIGHTS, tmp_path / "copy.safetensors")
    assert Recipe(EMBEDDED).digest == Recipe(EMBEDDED, weights=copy).digest
    state = load_file(WEIGHTS)
    save_file({**state, "stem.bias": state["stem.bias"] + 1}, tmp_path / "other.safetensors")
    assert Recipe(EMBEDDED).digest != Recipe(EMBEDDED, weights=str(tmp_path / "other.safetensors")).digest


def test_other_shipped_weights_make_another_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Recipe(EMBEDDED).digest
    save_file({"stem.bias": torch.zeros(1)}, tmp_path / "next.safetensors")
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path / "next.safetensors")
    assert Recipe(EMBEDDED).digest != before


def test_random_weights_go_by_their_seed() -> None:
    preds, target = make_pair(2, 64, 64)
    one, same, other = (float(feature_distance(preds, target, "embedded", weights=f"random:{n}")) for n in (3, 3, 4))
    assert one == same != other
    expected = feature_distance(preds, target, Recipe(EmbeddedNetwork(3), **backbones.own_fields(EMBEDDED)))
    assert one == pytest.approx(float(expected), rel=1e-6)


def test_an_unknown_backbone_names_the_embedded_one() -> None:
    with pytest.raises(ValueError, match=r"unknown backbone 'fmiqa/embeded': give 'fmiqa/embedded'"):
        FeatureDistance(backbone="fmiqa/embeded")


def test_it_reads_back_from_yaml() -> None:
    recipe = as_recipe("embedded", taps=[1, 2])
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe


@pytest.mark.parametrize("size", [(1, 1), (31, 47), (200, 320)])
def test_any_size_has_a_score_and_a_map(size: tuple[int, int]) -> None:
    preds, target = make_pair(2, *size)
    assert feature_distance(target, target) == 0
    heat = feature_distance_map(preds, target)
    assert heat.shape == (2, 1, *size)
    assert float(heat.mean()) == pytest.approx(float(feature_distance(preds, target)), rel=2e-3, abs=1e-6)


def test_the_loss_leads_back_to_the_target() -> None:
    target = photograph()[..., 100:164, 150:214]
    preds = noisy(target).requires_grad_()
    loss = FeatureDistanceLoss()
    optimizer = torch.optim.Adam([preds], 0.001)
    start = float(feature_distance(preds.detach(), target))
    for _ in range(40):
        optimizer.zero_grad()
        loss(preds, target).backward()
        optimizer.step()
    assert float(feature_distance(preds.detach().clamp(0, 1), target)) < 0.5 * start


def test_bfloat16_is_near() -> None:
    target = photograph()
    exact, half = (float(feature_distance(noisy(target), target, precision=way)) for way in ("float32", "bfloat16"))
    assert half == pytest.approx(exact, rel=0.05)


def test_spips_takes_it_by_default() -> None:
    streams = SPIPS().recipe
    assert (streams.low_level, streams.semantic) == (("stages.0",), ("stages.1",))
    target = photograph()
    assert SPIPS()(target, target) == 0
    assert SPIPS()(noisy(target), target) > 0


def test_what_else_the_recipe_brings_goes_with_its_backbone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brought = {"taps": (0, 1), "distance": "jensen_shannon"}
    monkeypatch.setitem(backbones._OWN, EMBEDDED, brought)
    recipe = Recipe(EMBEDDED, **brought)
    assert Recipe("resnet18").replace(backbone=EMBEDDED) == recipe
    assert recipe.replace(backbone="resnet18") == Recipe("resnet18")
    assert recipe.replace(backbone="resnet18", distance="l2").distance == "l2"
    assert recipe.replace(distance="l2").replace(backbone="resnet18").distance == "l2"
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    with pytest.raises(ValueError, match="jensen_shannon"):  # the scene as a whole is one token
        SpipsRecipe(recipe)


# ---- without a network

_ALONE = """
import socket, sys
def refuse(*args, **kwargs): raise AssertionError("a connection was tried")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import torch
from torchmetrics_fmiqa import FeatureDistance
metric = FeatureDistance()
print(float(metric(torch.zeros(1, 3, 64, 64), torch.linspace(0, 1, 64).expand(1, 3, 64, 64))))
print([name for name in ("timm", "kornia", "lightning", "pandas") if name in sys.modules])
"""


def test_the_first_number_needs_no_connection_no_assets_and_no_heavy_import(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ALONE], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    number, loaded = found.stdout.split("\n")[:2]
    assert float(number) > 0
    assert loaded == "[]"


def test_a_wheel_holds_the_weights() -> None:
    # what hatchling packs: every file below the package that git does not ignore
    root = Path(__file__).parents[1]
    ignored = subprocess.run(["git", "check-ignore", "-q", str(WEIGHTS)], cwd=root).returncode
    assert ignored != 0
    assert WEIGHTS.is_relative_to(root / "torchmetrics_fmiqa")


# ---- agreement, on the real images


def agreement_of(recipe: str) -> tuple[float, float]:
    """SRCC with DMOS on live58: over all images, and the mean within references."""
    needs(ASSETS / "iqa" / "live58")
    rated = read_rated_csv(ASSETS / "iqa" / "live58" / "pairs.csv")
    scores = []
    for pair in rated.pairs:
        preds, target = (read_image(path)[None].float() / 255 for path in (pair.dist, pair.ref))
        scores.append(float(feature_distance(preds, target, recipe)))
    opinion = [pair.opinion for pair in rated.pairs]
    references = np.array([str(pair.ref) for pair in rated.pairs])
    within = [
        spearmanr(np.array(scores)[references == name], np.array(opinion)[references == name]).statistic
        for name in set(references)
    ]
    return srcc(scores, opinion).value, float(np.mean(within))


@pytest.mark.slow
def test_its_agreement_is_what_the_table_says() -> None:
    found, within = agreement_of("embedded")
    assert found == pytest.approx(RECIPES["embedded"].facts.people["live58"].srcc, abs=0.002)
    assert within == pytest.approx(RECIPES["embedded"].facts.people["live58"].within, abs=0.005)
