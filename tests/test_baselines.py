"""Baselines: each is its library's value of one image, in the right direction and range, or says why it cannot run."""

from __future__ import annotations

import csv
import socket
import sys
import types
import urllib.request
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics.functional.image as tm
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr
from torch import Tensor, nn

from tests.conftest import ASSETS, SQUEEZENET, make_pair, needs
from tests.test_imports import loaded_after
from torchmetrics_fmiqa.benchmark.metrics import network_baselines, pyiqa_baselines
from torchmetrics_fmiqa.benchmark.metrics.baselines import baseline_names, baselines, make_baseline
from torchmetrics_fmiqa.benchmark.metrics.metric import Metric, Skipped
from torchmetrics_fmiqa.benchmark.metrics.network_baselines import lpips_network

CALIBRATION = ASSETS / "iqa" / "tid2013_calib5"
LIVE = ASSETS / "iqa" / "live58"


def library() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Each formula as its library documents it, for one pair."""
    piq = pytest.importorskip("piq")
    return {
        "psnr": lambda x, y: tm.peak_signal_noise_ratio(x, y, data_range=1.0),
        "ssim": lambda x, y: tm.structural_similarity_index_measure(x, y, data_range=1.0),
        "ms_ssim": lambda x, y: tm.multiscale_structural_similarity_index_measure(x, y, data_range=1.0),
        "vif": lambda x, y: tm.visual_information_fidelity(x * 255, y * 255),
        "fsim": lambda x, y: piq.fsim(x, y),
        "gmsd": lambda x, y: piq.gmsd(x, y),
        "vsi": lambda x, y: piq.vsi(x, y),
        "mdsi": lambda x, y: piq.mdsi(x, y),
        "haarpsi": lambda x, y: piq.haarpsi(x, y),
    }


FORMULAS = ("psnr", "ssim", "ms_ssim", "vif", "fsim", "gmsd", "vsi", "mdsi", "haarpsi")
PIQ = FORMULAS[4:]
ON_LUMA = ("psnr_y", "ssim_y")


def made(name: str) -> Metric:
    metric = make_baseline(name)
    if isinstance(metric, Skipped):
        assert name in PIQ, metric
        pytest.skip(metric.reason)
    return metric


def read(path: Path, grey: bool = False) -> Tensor:
    image = np.asarray(Image.open(path).convert("RGB"), dtype=np.float64)
    if grey:  # MATLAB's rgb2gray, which rounds to whole grey levels
        image = np.repeat(np.round(image @ [0.298936021293775, 0.587043074451121, 0.114020904255103])[..., None], 3, 2)
    return torch.from_numpy((image / 255).astype(np.float32)).permute(2, 0, 1)[None]


@pytest.fixture
def squeeze(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Metric:
    """The real LPIPS-squeeze, its trunk from the assets, torch's cache empty."""
    needs(SQUEEZENET)
    monkeypatch.setenv("FMIQA_ASSETS", str(ASSETS))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    metric = make_baseline("lpips-squeeze")
    assert isinstance(metric, Metric)
    assert not (tmp_path / "torch").exists()  # nothing is written where the user keeps his own
    return metric


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a network, without assets and with an empty cache, whose folder of checkpoints this is."""

    def refused(*_args: Any, **_keywords: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    def no_download(*_args: Any, **_keywords: Any) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.delenv("FMIQA_ASSETS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    monkeypatch.setattr(socket, "create_connection", refused)
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_download)
    return tmp_path / "hub" / "checkpoints"


# What each gives


@pytest.mark.parametrize("name", FORMULAS)
def test_a_batch_gives_each_image_what_the_library_gives_it_alone(name: str) -> None:
    metric = made(name)
    preds, target = make_pair(3, 180, 197, noise=0.05)
    scores = metric.score(preds, target)
    alone = torch.cat([metric.score(preds[i : i + 1], target[i : i + 1]) for i in range(3)])
    expected = torch.stack([library()[name](preds[i : i + 1], target[i : i + 1]).reshape(()) for i in range(3)])
    assert scores.shape == (3,)
    assert scores.dtype == torch.float32
    assert len(set(scores.tolist())) == 3
    torch.testing.assert_close(scores, alone, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [*FORMULAS, *ON_LUMA])
def test_direction_is_that_of_more_noise(name: str) -> None:
    metric = made(name)
    levels = [metric.score(*make_pair(2, 180, 197, noise=noise)) for noise in (0.01, 0.05, 0.2)]
    falls = all(bool((after < before).all()) for before, after in pairwise(levels))
    rises = all(bool((after > before).all()) for before, after in pairwise(levels))
    assert (falls, rises) == (metric.higher_is_better, not metric.higher_is_better)


def check_slope(
    score: Callable[[Tensor, Tensor], Tensor], preds: Tensor, target: Tensor, step: float, rel: float
) -> None:
    """The gradient is the slope along itself, by differences of the score at most ``step`` away in any value."""
    preds = preds.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(preds, target).sum(), preds)
    assert gradient.isfinite().all()
    assert gradient.any()
    change = step * gradient / gradient.abs().max()
    with torch.no_grad():
        measured = (score(preds + change, target) - score(preds - change, target)).sum() / 2
    assert float(measured) == pytest.approx(float((change * gradient).sum()), rel=rel)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_gradient_flows_where_it_is_said_to_and_is_the_scores_slope(name: str) -> None:
    metric = made(name)
    preds, target = make_pair(1, 180, 197, noise=0.05)
    preds, target = 0.1 + 0.8 * preds, 0.1 + 0.8 * target  # room for the steps
    moved = preds.clone().requires_grad_(True)
    score = metric.score(moved, target)
    if not metric.differentiable:
        assert not score.requires_grad
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):  # else it could be said to be
            library()[name](moved, target).sum().backward()
        return
    score.sum().backward()
    assert moved.grad.isfinite().all()
    assert moved.grad.any()
    # FSIM takes a median over pixels, VSI a maximum: their gradients hold for the smallest of steps alone.
    check_slope(library()[name], preds.double(), target.double(), step=1e-8, rel=1e-3)


@pytest.mark.parametrize("name", ["fsim", "gmsd", "vsi", "mdsi"])
def test_no_gradient_is_finite_where_an_image_is_of_one_colour(name: str) -> None:
    metric = made(name)  # said beside the table of formulas; should piq mend it, the note is to go
    preds, target = make_pair(1, 180, 197, noise=0.05)
    preds[..., :60, :60] = 0
    moved = preds.requires_grad_(True)
    metric.score(moved, target).sum().backward()
    assert moved.grad.isnan().any()


def test_psnr_of_equal_images_is_100_db_with_a_finite_gradient() -> None:
    metric = made("psnr")
    image = make_pair(1)[1]
    equal = image.clone().requires_grad_(True)
    score = metric.score(equal, image)
    score.sum().backward()
    assert score.item() == 100
    assert not equal.grad.any()
    off = image.clone()
    off[0, 0, :8] = (
        image[0, 0, :8] - 1 / 255
    ).abs()  # far more than the one value in 150,000 that would count for none
    expected = tm.peak_signal_noise_ratio(off, image, data_range=1.0)
    assert metric.score(off, image).item() == pytest.approx(float(expected), rel=1e-6) != 100
    assert "100 dB" in metric.identity


@pytest.mark.parametrize("name", [*FORMULAS, *ON_LUMA])
def test_the_least_side_is_taken_and_less_is_refused(name: str) -> None:
    metric = made(name)
    least = metric.minimum_side
    for height, width in ((least, least + 3), (least + 3, least)):
        assert metric.score(*make_pair(2, height, width)).isfinite().all()
    if least > 1:
        with pytest.raises(ValueError, match=f"{name} needs images of at least {least} pixels a side.*{least + 3}"):
            metric.score(*make_pair(1, least - 1, least + 3))


@pytest.mark.parametrize(("name", "one_less"), [("ssim", 5), ("ms_ssim", 175), ("vif", 40), ("haarpsi", 15)])
def test_the_library_itself_refuses_less(name: str, one_less: int) -> None:
    with pytest.raises((ValueError, RuntimeError)):
        library()[name](*make_pair(1, one_less, one_less))


@pytest.mark.parametrize("name", ["psnr", "fsim"])
def test_images_it_cannot_take_are_refused_by_name(name: str) -> None:
    metric = made(name)
    preds, target = make_pair(1)
    nan = preds.clone()
    nan[0, 0, 0, 0] = torch.nan
    for wrong, message in (
        ((preds * 255, target), r"in \[0, 1\], `preds` spans .*scale or clamp"),
        ((preds, target - 0.5), r"in \[0, 1\], `target` spans -"),
        ((nan, target), "`preds` spans nan"),
        ((preds.double(), target), "float32 images.*`preds` is torch.float64"),
        ((preds, (target * 255).byte()), "float32 images.*`target` is torch.uint8"),
        ((preds[:, :1], target[:, :1]), "grey"),
        ((preds[0], target[0]), r"preds\[None\]"),
        ((preds, target[..., 1:]), "one shape"),
        ((preds.to("meta"), target.to("meta")), f"{name} was made for cpu, `preds` is on meta"),
    ):
        with pytest.raises(ValueError, match=message):
            metric.score(*wrong)


def test_autocast_changes_nothing(squeeze: Metric) -> None:
    pair = make_pair(2)
    for metric in (made("ssim"), squeeze):
        expected = metric.score(*pair)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(metric.score(*pair), expected)


# On luma, as super-resolution is measured


def by_hand(preds: Tensor, target: Tensor) -> tuple[float, float]:
    """PSNR and SSIM of one pair's luma by the formulas of the papers, in float64."""
    luma = [
        np.einsum("chw,c->hw", np.round(255 * side[0].double().numpy()) / 255, [65.481, 128.553, 24.966]) + 16
        for side in (preds, target)
    ]
    offset = np.arange(11) - 5
    window = np.exp(-(offset**2) / (2 * 1.5**2))
    window /= window.sum()

    def smooth(image: np.ndarray) -> np.ndarray:
        rows = np.apply_along_axis(np.convolve, 0, image, window, "valid")
        return np.apply_along_axis(np.convolve, 1, rows, window, "valid")

    x, y = map(smooth, luma)
    xx, yy, xy = smooth(luma[0] ** 2) - x * x, smooth(luma[1] ** 2) - y * y, smooth(luma[0] * luma[1]) - x * y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * x * y + c1) * (2 * xy + c2) / ((x * x + y * y + c1) * (xx + yy + c2))
    return 10 * np.log10(255**2 / np.square(luma[0] - luma[1]).mean()), similarity.mean()


def test_psnr_and_ssim_of_luma_are_the_formulas_of_the_papers() -> None:
    preds, target = make_pair(3, 40, 51, noise=0.05)
    psnr, ssim = (made(name).score(preds, target) for name in ON_LUMA)
    for place in range(3):
        expected = by_hand(preds[place : place + 1], target[place : place + 1])
        assert psnr[place].item() == pytest.approx(expected[0], rel=1e-5)
        assert ssim[place].item() == pytest.approx(expected[1], abs=1e-6)


def test_luma_is_of_8_bits_and_has_no_gradient() -> None:
    preds, target = make_pair(1, 40, 40, noise=0.05)
    for name in ON_LUMA:
        metric = made(name)
        assert torch.equal(metric.score((255 * preds).round() / 255, target), metric.score(preds, target))
        assert not metric.differentiable
        assert not metric.score(preds.clone().requires_grad_(True), target).requires_grad
        assert "BT.601" in metric.identity
    assert made("psnr_y").score(target, target).item() == 100


@pytest.mark.parametrize(("name", "psnr", "ssim"), [("set5", 28.42, 0.8104), ("set14", 26.00, 0.7027)])
def test_bicubic_x4_has_the_published_psnr_and_ssim(name: str, psnr: float, ssim: float) -> None:
    # Pillow's bicubic filter is MATLAB's: antialiased, a = -0.5. The code of the papers takes grey images as they are.
    scores = []
    for path in sorted(needs(ASSETS / "images" / name).glob("*.png")):
        image = Image.open(path)
        width, height = (side // 4 * 4 for side in image.size)
        target = image.crop((0, 0, width, height)).convert("RGB")
        small = target.resize((width // 4, height // 4), Image.Resampling.BICUBIC)
        pair = [
            torch.from_numpy(np.asarray(one, dtype=np.float32)[4:-4, 4:-4] / 255).permute(2, 0, 1)[None]
            for one in (small.resize((width, height), Image.Resampling.BICUBIC), target)
        ]
        names = ("psnr", "ssim") if image.mode == "L" else ON_LUMA
        scores.append([made(one).score(*pair).item() for one in names])
    ours = np.mean(scores, 0)
    assert ours[0] == pytest.approx(psnr, abs=0.03)
    assert ours[1] == pytest.approx(ssim, abs=0.003)


# Against the official values of the five pairs of TID2013


def calibration(name: str, grey: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Our values of the five pairs, and the official ones (to four digits)."""
    with needs(CALIBRATION / "results_official.csv").open() as file:
        rows = {row.pop("Method"): row for row in csv.DictReader(file)}
    files = list(rows["psnr"])
    preds = torch.cat([read(CALIBRATION / "dist_dir" / file, grey) for file in files])
    target = torch.cat([read(CALIBRATION / "ref_dir" / file, grey) for file in files])
    ours = made(name).score(preds, target)
    return ours.numpy(), np.array([float(rows[name][file]) for file in files]) if name in rows else np.empty(0)


@pytest.mark.parametrize(
    ("name", "grey", "tolerance"),
    [
        ("psnr", False, 0.006),  # two digits are given
        ("fsim", False, 2e-4),
        ("gmsd", True, 1e-4),  # MATLAB's grey, where piq alone takes the Y of YIQ without rounding
        ("gmsd", False, 4e-4),
        # The originals leave out a border, torchmetrics mirrors the image beyond it.
        ("ssim", True, 3e-3),
        ("ms_ssim", True, 6e-3),
        # piq follows another transcription of the original, whose saliency is made and enlarged otherwise.
        ("vsi", False, 0.014),
    ],
)
def test_official_values(name: str, grey: bool, tolerance: float) -> None:
    ours, official = calibration(name, grey)
    np.testing.assert_allclose(ours, official, atol=tolerance, rtol=0)


@pytest.mark.parametrize("grey", [True, False])
def test_vif_is_the_pixel_domain_one_in_grey_levels_up_to_255(grey: bool) -> None:
    # The official values are of the other VIF, by steerable pyramids. piq has written this one on its own.
    piq = pytest.importorskip("piq")
    ours, _ = calibration("vif", grey)
    files = sorted(path.name for path in (CALIBRATION / "ref_dir").iterdir())
    preds = torch.cat([read(CALIBRATION / "dist_dir" / file, grey) for file in files])
    target = torch.cat([read(CALIBRATION / "ref_dir" / file, grey) for file in files])
    channels = [piq.vif_p(preds[:, [c]], target[:, [c]], reduction="none") for c in range(3)]  # piq itself takes luma
    np.testing.assert_allclose(ours, torch.stack(channels).mean(0).numpy(), atol=2e-4)


# Networks


def test_lpips_squeeze_is_the_library_s_own(squeeze: Metric, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache = tmp_path / "library" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(load_file(SQUEEZENET), cache / "squeezenet1_1-b8a52dc0.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "library"))
    preds, target = make_pair(3, 70, 81)
    scores = squeeze.score(preds, target)
    for i in range(3):
        pair = preds[i : i + 1], target[i : i + 1]
        expected = tm.learned_perceptual_image_patch_similarity(*pair, net_type="squeeze", normalize=True)
        assert scores[i].item() == pytest.approx(expected.item(), rel=1e-5)
        assert squeeze.score(*pair).item() == pytest.approx(expected.item(), rel=1e-5)
    # From torch's cache it is the same metric
    monkeypatch.delenv("FMIQA_ASSETS")
    cached = make_baseline("lpips-squeeze")
    assert isinstance(cached, Metric)
    assert cached.identity == squeeze.identity
    assert torch.equal(cached.score(preds, target), scores)


def test_lpips_squeeze_has_a_gradient_zero_for_equal_images_and_counts_its_network(squeeze: Metric) -> None:
    preds, target = make_pair(1, 70, 81, noise=0.05)
    check_slope(squeeze.score, 0.1 + 0.8 * preds, 0.1 + 0.8 * target, step=2e-4, rel=0.05)
    assert squeeze.score(target, target).item() == 0
    heads = 64 + 128 + 256 + 384 + 384 + 512 + 512
    features = torchvision.models.squeezenet1_1().features
    assert squeeze.parameters == pytest.approx((heads + sum(p.numel() for p in features.parameters())) / 1e6)
    assert not squeeze.higher_is_better


def live58() -> list[dict[str, str]]:
    with needs(LIVE / "pairs.csv").open() as file:
        return list(csv.DictReader(file))


def test_psnr_of_live_is_the_published_one() -> None:
    metric = made("psnr")
    rows = live58()
    ours = [metric.score(read(LIVE / row["dist"]), read(LIVE / row["ref"])).item() for row in rows]
    np.testing.assert_allclose(ours, [float(row["psnr"]) for row in rows], atol=1e-3)
    assert spearmanr(ours, [float(row["dmos"]) for row in rows]).statistic == pytest.approx(-0.8683, abs=1e-4)


@pytest.mark.slow
def test_lpips_squeeze_agrees_with_people_as_was_measured(squeeze: Metric) -> None:
    rows = live58()[::3]  # all references, all types
    with torch.inference_mode():
        ours = [squeeze.score(read(LIVE / row["dist"]), read(LIVE / row["ref"])).item() for row in rows]
    assert spearmanr(ours, [float(row["dmos"]) for row in rows]).statistic == pytest.approx(0.919, abs=5e-3)


def random_trunk(name: str) -> dict[str, Tensor]:
    """Torchvision's state dict, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        state: dict[str, Tensor] = torchvision.models.get_model(name).state_dict()
    return state


@pytest.mark.parametrize(
    ("name", "net", "trunk"),
    [
        ("lpips-squeeze", "squeeze", "squeezenet1_1"),
        ("lpips", "alex", "alexnet"),
        ("lpips-alex", "alex", "alexnet"),
        pytest.param("lpips-vgg", "vgg", "vgg16", marks=pytest.mark.slow),
    ],
)
def test_lpips_is_its_authors_own(name: str, net: str, trunk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    authors = pytest.importorskip("lpips")
    state = random_trunk(trunk)
    monkeypatch.delenv("FMIQA_ASSETS", raising=False)
    monkeypatch.setattr(network_baselines, "_checkpoint", lambda _net: state)
    theirs = authors.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    own = theirs.net.state_dict()  # "slice2.3.weight" is torchvision's "features.3.weight"
    theirs.net.load_state_dict({key: state["features." + key.split(".", 1)[1]] for key in own})
    metric = make_baseline(name)
    assert isinstance(metric, Metric)
    preds, target = make_pair(2, metric.minimum_side + 40, metric.minimum_side + 57)
    with torch.no_grad():
        expected = theirs(preds, target, normalize=True).flatten()
    torch.testing.assert_close(metric.score(preds, target), expected, rtol=1e-4, atol=1e-6)
    assert metric.score(*make_pair(1, metric.minimum_side, metric.minimum_side)).shape == (1,)
    with pytest.raises(RuntimeError, match="small"):  # less does not pass the network
        lpips_network(net, pretrained=False)(*make_pair(1, metric.minimum_side - 1, 99))


@pytest.mark.slow
def test_dists_is_the_library_s_own_and_differentiable(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchmetrics.functional.image.dists as theirs

    trunk = torchvision.models.vgg16()
    monkeypatch.setattr(network_baselines, "_checkpoint", lambda _net: {})
    monkeypatch.setattr(theirs, "vgg16", lambda weights: trunk)
    metric = make_baseline("dists")
    assert isinstance(metric, Metric)
    preds, target = make_pair(3, 64, 77)
    expected = theirs.deep_image_structure_and_texture_similarity(preds, target).detach()
    scores = metric.score(preds, target)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(metric.score(preds[:1], target[:1]), scores[:1], rtol=1e-4, atol=1e-6)
    assert not scores.requires_grad
    check_slope(metric.score, 0.1 + 0.8 * preds, 0.1 + 0.8 * target, step=2e-4, rel=0.05)
    assert metric.score(*make_pair(1, metric.minimum_side, metric.minimum_side)).isfinite().all()


def test_building_leaves_the_seed_alone_and_serves_a_loss_even_from_inference_mode(
    squeeze: Metric, offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMIQA_ASSETS", str(ASSETS))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with torch.inference_mode():
        network = lpips_network("squeeze")
    assert torch.equal(torch.get_rng_state(), before)
    preds, target = make_pair(1)
    network(preds.requires_grad_(True), target, normalize=True).sum().backward()
    assert preds.grad.any()
    torch.testing.assert_close(
        network(preds, target, normalize=True).flatten().detach(), squeeze.score(preds.detach(), target)
    )


# What cannot run


@pytest.mark.parametrize("name", ["lpips", "lpips-vgg", "lpips-squeeze", "dists"])
def test_without_network_and_weights_it_is_skipped_in_one_line(offline: Path, name: str) -> None:
    skipped = make_baseline(name)
    assert isinstance(skipped, Skipped)
    assert skipped.name == name
    assert "download.pytorch.org cannot be reached (Name or service not known)" in skipped.reason
    assert str(offline) in skipped.reason
    assert "\n" not in skipped.reason
    assert not offline.exists()


@pytest.mark.parametrize("name", ["lpips-squeeze", "dists"])
def test_a_broken_file_in_the_cache_is_named(offline: Path, name: str) -> None:
    offline.mkdir(parents=True)
    for file in ("squeezenet1_1-b8a52dc0.pth", "vgg16-397923af.pth"):
        (offline / file).write_bytes(b"half a downl")
    skipped = make_baseline(name)
    assert isinstance(skipped, Skipped)
    assert str(offline) in skipped.reason
    assert "remove it" in skipped.reason


def test_a_cached_pickle_is_not_run(offline: Path) -> None:
    offline.mkdir(parents=True)
    torch.save({"features.0.weight": Path("/")}, offline / "squeezenet1_1-b8a52dc0.pth")
    skipped = make_baseline("lpips-squeeze")
    assert isinstance(skipped, Skipped)
    assert "remove it" in skipped.reason


def test_an_asset_that_does_not_fit_is_an_error(offline: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("FMIQA_ASSETS", str(tmp_path))
    state = random_trunk("squeezenet1_1")
    del state["features.0.weight"]
    save_file(state, tmp_path / "weights" / "squeezenet1_1.safetensors")
    with pytest.raises(ValueError, match=r"squeezenet1_1\.safetensors.*missing: slices\.0\.0\.weight"):
        make_baseline("lpips-squeeze")


def test_without_piq_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "piq", None)
    for name in PIQ:
        skipped = make_baseline(name)
        assert isinstance(skipped, Skipped)
        assert "pip install 'torchmetrics-fmiqa[iqa]'" in skipped.reason
    assert isinstance(make_baseline("ssim"), Metric)


# pyiqa


class Stub(nn.Module):
    """A metric in pyiqa's manner: one value for a whole batch, at least 40 pixels a side, parameters not frozen."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, 2, 5)
        self.kind = kind
        self.lower_better = kind != "quality"

    def forward(self, preds: Tensor, target: Tensor) -> Tensor:
        if min(preds.shape[2:]) < 40:
            raise AssertionError("too small")
        if self.kind == "rounded":
            preds = (255 * preds).round()
        return (self.net(preds) - self.net(target)).abs().mean()[None, None]


@pytest.fixture
def placeholder(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyiqa's two functions that are used, where pyiqa itself need not be installed."""

    def create_metric(name: str, as_loss: bool, loss_reduction: str, device: torch.device) -> Stub:
        assert as_loss
        assert loss_reduction == "none"
        print("Downloading ...")
        if name == "far":
            from huggingface_hub import constants

            assert constants.HF_HUB_OFFLINE
            raise OSError("no network\nat all")
        return Stub(name).to(device)

    def list_models(mode: str | None = None) -> list[str]:
        return ["distance", "quality", "rounded", "far", *([] if mode == "FR" else ["niqe"])]

    pyiqa = types.ModuleType("pyiqa")
    vars(pyiqa).update(create_metric=create_metric, list_models=list_models, __version__="9.9")
    monkeypatch.setitem(sys.modules, "pyiqa", pyiqa)


def unreachable(_repository: str) -> None:
    raise OSError("no network")


@pytest.mark.usefixtures("placeholder")
def test_pyiqa_scores_each_image_alone_and_tells_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    distance, quality, rounded = (make_baseline(f"pyiqa:{name}") for name in ("distance", "quality", "rounded"))
    assert isinstance(distance, Metric)
    assert isinstance(quality, Metric)
    assert isinstance(rounded, Metric)
    assert torch.equal(torch.get_rng_state(), before)
    assert not capsys.readouterr().out
    assert [one.higher_is_better for one in (distance, quality)] == [False, True]
    assert [one.differentiable for one in (distance, rounded)] == [True, False]
    assert distance.name == "pyiqa:distance"
    assert distance.minimum_side == 40
    assert distance.parameters == pytest.approx((3 * 2 * 25 + 2) / 1e6)
    assert distance.identity.startswith("pyiqa 9.9: distance, sha256:")
    preds, target = make_pair(3)
    scores = distance.score(preds, target)
    assert not scores.requires_grad  # the network is frozen
    assert len(set(scores.tolist())) == 3
    torch.testing.assert_close(scores[1:2], distance.score(preds[1:2], target[1:2]))
    with pytest.raises(ValueError, match="at least 40 pixels"):
        distance.score(*make_pair(1, 39, 50))


@pytest.mark.usefixtures("placeholder")
def test_pyiqa_without_network_is_skipped_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    monkeypatch.setattr(pyiqa_baselines, "check_reachable", unreachable)
    skipped = make_baseline("pyiqa:far")
    assert isinstance(skipped, Skipped)
    assert skipped.reason == "pyiqa cannot make it: no network"
    assert constants.HF_HUB_OFFLINE is before


@pytest.mark.usefixtures("placeholder")
def test_pyiqa_names_are_checked() -> None:
    with pytest.raises(ValueError, match="'niqe' scores an image without its reference; those with one: distance"):
        make_baseline("pyiqa:niqe")
    with pytest.raises(ValueError, match="no metric 'distanc'; close: distance"):
        make_baseline("pyiqa:distanc")


def test_without_pyiqa_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    skipped = make_baseline("pyiqa:fsim")
    assert isinstance(skipped, Skipped)
    assert "pip install pyiqa" in skipped.reason


@pytest.mark.parametrize("name", ["psnr", "fsim", "gmsd", "vsi"])
def test_pyiqa_itself_agrees_with_the_others(name: str) -> None:
    pytest.importorskip("pyiqa")
    theirs = make_baseline(f"pyiqa:{name}")
    assert isinstance(theirs, Metric)
    ours, _ = calibration(name)
    files = sorted(path.name for path in (CALIBRATION / "ref_dir").iterdir())
    preds, target = (torch.cat([read(CALIBRATION / side / file) for file in files]) for side in ("dist_dir", "ref_dir"))
    np.testing.assert_allclose(theirs.score(preds, target), ours, atol=4e-4)
    assert theirs.higher_is_better == made(name).higher_is_better


# Names


def test_names() -> None:
    assert set(FORMULAS) < set(baseline_names())
    assert {"lpips", "lpips-vgg", "lpips-squeeze", "dists"} < set(baseline_names())
    with pytest.raises(ValueError, match="no baseline 'ms-ssim'; close: ms_ssim"):
        make_baseline("ms-ssim")
    with pytest.raises(ValueError, match=r"no baseline 'zzz'; known: psnr, .*pyiqa:NAME"):
        make_baseline("zzz")
    with pytest.raises(ValueError, match="`device` must be such as 'cpu' or 'cuda', got 'gpu'"):
        make_baseline("psnr", "gpu")
    with pytest.raises(ValueError, match="`net` must be one of alex, vgg, squeeze, got 'resnet'"):
        lpips_network("resnet")  # type: ignore[arg-type]


def test_several_are_told_apart_from_the_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "piq", None)
    metrics, skipped = baselines(["ssim", "fsim", "psnr"])
    assert [one.name for one in metrics] == ["ssim", "psnr"]
    assert [one.name for one in skipped] == ["fsim"]
    for twice in (["psnr", "ssim", "psnr"], ["lpips", "lpips-alex"]):
        with pytest.raises(ValueError, match="is given twice"):
            baselines(twice)


def test_importing_loads_no_library_of_metrics() -> None:
    loaded = loaded_after("from torchmetrics_fmiqa.benchmark.metrics.baselines import baseline_names; baseline_names()")
    assert not loaded & {"piq", "pyiqa", "lightning", "kornia", "pandas", "lpips", "timm", "jinja2"}
