"""The conventional maps of SPIPS against torchmetrics, scipy and official values, and how maps are pooled."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.stats import spearmanr
from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from tests.conftest import ASSETS, make_pair, needs
from torchmetrics_fmiqa.comparator.pooling import POOLED, pool_map
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.spips_model.quality_maps import (
    QUALITY_MAPS,
    SCALE_WEIGHTS,
    count_scales,
    dissimilarity_scales,
    quality_maps,
)

SIZES = [(64, 64), (161, 170), (37, 50), (22, 31), (10, 9), (5, 40), (2, 3), (1, 1), (1, 30)]
few = settings(max_examples=15, deadline=None, derandomize=True)
each_map = pytest.mark.parametrize("name", QUALITY_MAPS)


def pair(height: int, width: int, noise: float = 0.1, n: int = 2) -> tuple[Tensor, Tensor]:
    preds, target = make_pair(n, height, width, noise=noise)
    return preds.double(), target.double()


def grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


def one_hot(scale: int) -> tuple[float, ...]:
    return tuple(float(place == scale) for place in range(len(SCALE_WEIGHTS)))


# Independent computation


@pytest.mark.parametrize("size", [(64, 64), (37, 50), (11, 12), (6, 90)])
def test_ssim_map_is_torchmetrics_full_image_on_luma(size: tuple[int, int]) -> None:
    preds, target = pair(*size)
    _, expected = structural_similarity_index_measure(
        grey(preds), grey(target), sigma=1.5, kernel_size=11, data_range=1.0, return_full_image=True
    )
    expected = 1 - expected.clamp(0, 1)
    torch.testing.assert_close(quality_maps(preds, target)["ssim"], expected, rtol=0, atol=1e-9)


def test_float32_loses_little() -> None:
    preds, target = pair(64, 64, noise=0.003)
    exact = quality_maps(preds, target)
    for name, drawn in quality_maps(preds.float(), target.float()).items():
        torch.testing.assert_close(drawn.double(), exact[name], rtol=3e-3, atol=3e-6)


def test_each_scale_equals_torchmetrics_multiscale() -> None:
    preds, target = pair(176, 208)
    scales = dissimilarity_scales(preds, target)
    assert len(scales) == 5
    inner = (..., slice(5, -5), slice(5, -5))  # torchmetrics leaves the borders of all but the coarsest out
    structure = [(1 - contrast)[inner].mean((1, 2, 3)) for _, contrast in scales]
    similarity = [((1 - luminance) * (1 - contrast)).mean((1, 2, 3)) for luminance, contrast in scales]
    for scale, found in enumerate([*structure[:-1], similarity[-1]]):
        expected = multiscale_structural_similarity_index_measure(
            grey(preds), grey(target), data_range=1.0, betas=one_hot(scale), normalize=None, reduction="none"
        )
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    product = torch.stack([*structure[:-1], similarity[-1]]) ** torch.tensor(SCALE_WEIGHTS).double()[:, None]
    expected = multiscale_structural_similarity_index_measure(
        grey(preds), grey(target), data_range=1.0, normalize=None, reduction="none"
    )
    torch.testing.assert_close(product.prod(0), expected, rtol=0, atol=1e-7)


def oracle_similarity(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast-structure by the textbook's five moments."""

    def blur(image: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(image, 1.5, mode="mirror", radius=5)

    x, y, c1, c2 = blur(one), blur(other), 0.01**2, 0.03**2
    variances = blur(one * one) - x * x + blur(other * other) - y * y
    return (2 * x * y + c1) / (x * x + y * y + c1), (2 * (blur(one * other) - x * y) + c2) / (variances + c2)


def oracle_halved(image: np.ndarray) -> np.ndarray:
    """Means of two by two; the last of an odd side stands twice, which is to stand for itself."""
    height, width = image.shape
    even = np.pad(image, ((0, height % 2), (0, width % 2)), mode="edge")
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def oracle_doubled(image: np.ndarray, height: int, width: int) -> np.ndarray:
    def along(line: np.ndarray, length: int) -> np.ndarray:
        return np.interp((np.arange(length) + 0.5) / 2 - 0.5, np.arange(len(line)), line)

    return np.apply_along_axis(along, 1, np.apply_along_axis(along, 0, image, height), width)


def oracle_ms_ssim(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    pyramid = [(one, other)]
    while len(pyramid) < 5 and min(oracle_halved(pyramid[-1][0]).shape) >= 11:
        pyramid.append((oracle_halved(pyramid[-1][0]), oracle_halved(pyramid[-1][1])))
    betas = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[: len(pyramid)]
    betas = betas / betas.sum()
    luminance, structure = oracle_similarity(*pyramid[-1])
    logarithm = betas[-1] * np.log(np.maximum(luminance * structure, 1e-3))
    for (fine, distorted), beta in zip(pyramid[-2::-1], betas[-2::-1], strict=True):
        _, structure = oracle_similarity(fine, distorted)
        logarithm = oracle_doubled(logarithm, *fine.shape) + beta * np.log(np.maximum(structure, 1e-3))
    return 1 - np.exp(logarithm)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("noise", [0.02, 0.6])
def test_ms_ssim_map_equals_the_textbook_at_any_size(size: tuple[int, int], noise: float) -> None:
    preds, target = pair(*size, noise=noise)
    found = quality_maps(preds, target)["ms_ssim"]
    for image in range(2):
        expected = oracle_ms_ssim(grey(preds)[image, 0].numpy(), grey(target)[image, 0].numpy())
        np.testing.assert_allclose(found[image, 0].numpy(), expected, atol=1e-9)


@pytest.mark.parametrize(("side", "count"), [(1, 1), (20, 1), (21, 2), (64, 3), (160, 4), (161, 5), (2160, 5)])
def test_scales_hold_the_window(side: int, count: int) -> None:
    assert count_scales(side, 3000) == count_scales(3000, side) == count


def test_one_scale_is_plain_ssim() -> None:
    maps = quality_maps(*pair(18, 90, noise=0.05))
    assert maps["ssim"].max() < 0.999
    torch.testing.assert_close(maps["ms_ssim"], maps["ssim"])


def test_psnr_map_holds_the_psnr_of_each_pixel() -> None:
    preds, target = pair(24, 31)
    drawn = quality_maps(preds, target)["psnr"]
    error = 10 ** (-6 * (1 - drawn)) - 1e-6
    for image in range(2):
        found = -10 * error[image].mean().log10()
        expected = peak_signal_noise_ratio(preds[image], target[image], data_range=1.0)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    one_level = torch.full_like(target, 0.5)
    drawn = quality_maps(one_level + 1 / 255, one_level)["psnr"]
    torch.testing.assert_close(1 - drawn, torch.full_like(drawn, (10 * np.log10(1 / (255**-2 + 1e-6))) / 60))


def test_official_values_on_tid2013() -> None:
    """SSIM and MS-SSIM as official code gives them, from the parts of the maps; its pyramid differs a little."""
    root = needs(ASSETS / "iqa" / "tid2013_calib5")
    with (root / "results_official.csv").open() as file:
        official = {row.pop("Method"): row for row in csv.DictReader(file)}
    for name in ("I03.bmp", "I04.bmp", "I06.bmp", "I08.bmp", "I19.bmp"):
        preds, target = (read_image(root / folder / name)[None] / 255 for folder in ("dist_dir", "ref_dir"))
        scales = dissimilarity_scales(preds, target)
        luminance, structure = ([1 - scale[part][..., 5:-5, 5:-5] for scale in scales] for part in (0, 1))
        means = [float(part.mean()) for part in structure[:-1]] + [float((luminance[-1] * structure[-1]).mean())]
        assert float((luminance[0] * structure[0]).mean()) == pytest.approx(float(official["ssim"][name]), abs=2e-3)
        product = float(np.prod(np.power(means, SCALE_WEIGHTS)))
        assert product == pytest.approx(float(official["ms_ssim"][name]), abs=6e-3)


def test_maps_agree_with_people_on_live() -> None:
    """The number that the choice of luma stands on."""
    root = needs(ASSETS / "iqa" / "live58")
    with (root / "pairs.csv").open() as file:
        rows = list(csv.DictReader(file))
    scores = []
    for row in rows:
        preds, target = (read_image(root / row[side])[None] for side in ("dist", "ref"))
        scores.append(quality_maps(preds, target)["ms_ssim"].mean().item())
    assert spearmanr(scores, [float(row["dmos"]) for row in rows]).statistic == pytest.approx(0.943, abs=2e-3)


# What maps promise


@few
@given(st.sampled_from(SIZES), st.integers(0, 1000))
def test_equal_images_are_exactly_zero(size: tuple[int, int], seed: int) -> None:
    _, target = make_pair(1, *size, seed=seed)
    for drawn in quality_maps(target.clone(), target).values():
        assert drawn.shape == (1, 1, *size)
        assert drawn.abs().max() == 0


@few
@given(st.sampled_from(SIZES), st.integers(0, 1000), st.sampled_from([1e-4, 0.05, 3.0]))
def test_symmetric_and_within_fixed_ends(size: tuple[int, int], seed: int, noise: float) -> None:
    preds, target = make_pair(1, *size, seed=seed, noise=noise)
    for drawn, swapped in zip(quality_maps(preds, target).values(), quality_maps(target, preds).values(), strict=True):
        assert torch.equal(drawn, swapped)
        assert drawn.min() >= 0
        assert drawn.max() <= 1
        assert drawn.max() > 0


@each_map
def test_more_noise_is_worse_on_one_scale_of_numbers(name: str) -> None:
    """Fixed ranges: the mean of the map tells grades of the same noise apart, which min-max of each map would not."""
    grades = [quality_maps(*pair(64, 64, noise=noise))[name].mean().item() for noise in (0.005, 0.02, 0.1, 0.4)]
    assert grades == sorted(grades)
    assert grades[-1] > 2 * grades[0]


def test_rounding_makes_no_variance_negative() -> None:
    target = 0.7 + 1e-4 * make_pair(1, 64, 64)[1]
    for luminance, contrast in dissimilarity_scales(target + 0.3, target):
        assert luminance.min() > 0.05
        assert contrast.min() >= 0
        assert contrast.max() < 1e-3


def test_ends_of_the_ranges() -> None:
    black, white = torch.zeros(1, 3, 24, 24), torch.ones(1, 3, 24, 24)
    assert quality_maps(white, black)["psnr"].min() == 1
    checks = (torch.arange(24)[:, None] + torch.arange(24)).remainder(2).float().expand(1, 3, 24, 24)
    maps = quality_maps(1 - checks, checks)
    assert maps["psnr"].min() == maps["ssim"].min() == 1
    torch.testing.assert_close(quality_maps(white, black)["ssim"], torch.full((1, 1, 24, 24), 1.0), rtol=0, atol=2e-4)


@pytest.mark.parametrize("size", [(96, 128), (97, 131)])
def test_maps_show_where(size: tuple[int, int]) -> None:
    target = make_pair(1, *size)[1]
    preds = target.clone()
    preds[..., 40:44, 80:84] = 1 - preds[..., 40:44, 80:84].round()
    maps = quality_maps(preds, target)
    rows, cols = (maps["psnr"] > 0)[0, 0].nonzero().unbind(1)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (40, 43, 80, 83)
    rows, cols = (maps["ssim"] > 0)[0, 0].nonzero().unbind(1)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (35, 48, 75, 88)  # half a window further
    coarse = maps["ms_ssim"][0, 0]
    weights = coarse / coarse.sum()
    assert (weights.sum(1) * torch.arange(size[0])).sum() == pytest.approx(41.5, abs=1.5)
    assert (weights.sum(0) * torch.arange(size[1])).sum() == pytest.approx(81.5, abs=1.5)


def test_a_change_of_colour_alone_shows_in_psnr_only() -> None:
    target = torch.full((1, 3, 32, 32), 0.5, dtype=torch.float64)
    preds = target + torch.tensor([0.2 / 0.299, -0.2 / 0.587, 0.0]).double().view(1, 3, 1, 1)
    maps = quality_maps(preds, target)
    assert maps["psnr"].min() > 0.7
    assert max(maps["ssim"].max(), maps["ms_ssim"].max()) < 1e-9


def test_images_of_a_batch_do_not_meet() -> None:
    preds, target = make_pair(3, 40, 33)
    together = quality_maps(preds, target)
    for image in range(3):
        for name, drawn in quality_maps(preds[image : image + 1], target[image : image + 1]).items():
            torch.testing.assert_close(drawn, together[name][image : image + 1])


# Gradients


@each_map
@pytest.mark.parametrize("size", [(22, 23), (6, 5)])
def test_gradient_is_that_of_finite_differences(name: str, size: tuple[int, int]) -> None:
    preds, target = pair(*size, noise=0.03, n=1)
    assert quality_maps(preds, target)[name].max() < 0.95  # away from the clips, where a gradient stops
    preds.requires_grad_()
    assert torch.autograd.gradcheck(lambda images: quality_maps(images, target)[name], preds, fast_mode=True)


@each_map
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", ["equal", "black", "white", "opposite", "beyond", "noise", "one pixel"])
def test_gradients_are_finite_everywhere(name: str, dtype: torch.dtype, case: str) -> None:
    noisy, target = make_pair(1, 1, 1) if case == "one pixel" else make_pair(1, 48, 44, noise=2.0)
    preds, target = {
        "equal": (target, target),
        "black": (target * 0, target * 0),
        "white": (target * 0 + 1, target * 0),
        "opposite": (1 - target.round(), target.round()),
        "beyond": (3 * noisy - 1.5, target),
    }.get(case, (noisy, target))
    preds = preds.to(dtype, copy=True).requires_grad_()
    drawn = quality_maps(preds, target.to(dtype))[name]
    assert drawn.dtype == dtype
    assert drawn.isfinite().all()
    drawn.sum().backward()
    assert preds.grad is not None
    assert preds.grad.isfinite().all()
    assert preds.grad.abs().max() < 1e4
    if case in ("equal", "black"):
        assert preds.grad.abs().max() == 0


def test_descent_on_the_maps_brings_an_image_back() -> None:
    preds, target = make_pair(1, 32, 32, noise=0.1)
    image = preds.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=0.01)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = sum(drawn.mean() for drawn in quality_maps(image, target).values())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert (image - target).square().mean() < 0.3 * (preds - target).square().mean()


# Types, ranges and errors


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_raised(dtype: torch.dtype) -> None:
    preds, target = (side.to(dtype) for side in make_pair())
    maps = quality_maps(preds, target)
    for name, drawn in quality_maps(preds.float(), target.float()).items():
        assert maps[name].dtype == torch.float32
        assert torch.equal(maps[name], drawn)


def test_autocast_changes_nothing() -> None:
    preds, target = make_pair()
    expected = quality_maps(preds, target)
    with torch.autocast("cpu", torch.bfloat16):
        found = quality_maps(preds, target)
    assert all(torch.equal(found[name], expected[name]) for name in QUALITY_MAPS)


def test_any_range_gives_the_same_maps() -> None:
    levels = [torch.randint(0, 256, (1, 3, 24, 24), generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    expected = quality_maps(*(side.double() / 255 for side in levels))
    for maps in (
        quality_maps(*(side.double() for side in levels), data_range=255),
        quality_maps(*(side.double() / 127.5 - 1 for side in levels), data_range=(-1, 1)),
        quality_maps(levels[0].to(torch.uint8), levels[1].double() / 255),
    ):
        for name, drawn in maps.items():
            torch.testing.assert_close(drawn, expected[name], rtol=0, atol=1e-5)


def test_compiles_in_one_graph() -> None:
    preds, target = make_pair(1, 40, 48)
    compiled = torch.compile(quality_maps, fullgraph=True, backend="eager")
    for name, drawn in compiled(preds, target).items():
        torch.testing.assert_close(drawn, quality_maps(preds, target)[name])


@pytest.mark.parametrize(
    ("preds", "target", "message"),
    [
        (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9), "one shape"),
        (torch.rand(3, 8, 8), torch.rand(3, 8, 8), r"preds\[None\]"),
        (torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8), "repeat"),
        (torch.rand(0, 3, 8, 8), torch.rand(0, 3, 8, 8), "no pixels"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), torch.rand(1, 3, 8, 8), "int64"),
        (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8) * 255, "data_range=255"),
        (torch.full((1, 3, 8, 8), float("nan")), torch.rand(1, 3, 8, 8), "`preds` holds NaN"),
        ("image.png", torch.rand(1, 3, 8, 8), "got str"),
    ],
)
def test_bad_images_are_named(preds: Tensor, target: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quality_maps(preds, target)


def test_values_are_not_looked_at_without_validate() -> None:
    preds, target = make_pair(1, 16, 16)
    preds[0, 0, 0, 0] = float("nan")
    assert quality_maps(preds, target, validate=False)["psnr"].isnan().sum() == 1


# Pooling


def drawn_map(seed: int, height: int, width: int, n: int = 2, ties: bool = False) -> Tensor:
    drawn = torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 3
    return (drawn * 8).round() / 8 if ties else drawn


@few
@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_pooled_is_numpy(seed: int, height: int, width: int, ties: bool) -> None:
    drawn = drawn_map(seed, height, width, ties=ties)
    found = dict(zip(POOLED, pool_map(drawn).unbind(1), strict=True))
    flat = drawn.flatten(1).numpy()
    np.testing.assert_allclose(found["mean"].numpy(), flat.mean(1))
    np.testing.assert_allclose(found["spread"].numpy(), flat.std(1), atol=1e-12)
    assert found["p95"].tolist() == np.sort(flat, 1)[:, -(-95 * flat.shape[1] // 100) - 1].tolist()


@few
@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_weighted_pooling_is_numpy(seed: int, height: int, width: int, ties: bool) -> None:
    drawn = drawn_map(seed, height, width, ties=ties)
    mask = torch.randint(0, 5, drawn.shape, generator=torch.Generator().manual_seed(seed + 1)).double()
    mask[:, :, 0, 0] = 1  # never nothing
    for values, weights, (mean, spread, percentile) in zip(
        drawn.flatten(1).numpy(), mask.flatten(1).numpy(), pool_map(drawn, mask).tolist(), strict=True
    ):
        repeated = np.sort(np.repeat(values, weights.astype(int)))  # a weight of 3 is the pixel three times
        assert mean == pytest.approx(repeated.mean())
        assert spread == pytest.approx(repeated.std(), abs=1e-12)
        assert percentile == repeated[-(-95 * len(repeated) // 100) - 1]


def test_a_mask_of_ones_is_no_mask_and_a_boolean_one_selects() -> None:
    drawn = drawn_map(0, 30, 20)
    torch.testing.assert_close(pool_map(drawn, torch.ones_like(drawn)), pool_map(drawn))
    left = torch.zeros(2, 1, 30, 20, dtype=torch.bool)
    left[..., :7] = True
    torch.testing.assert_close(pool_map(drawn, left), pool_map(drawn[..., :7]))


def test_percentile_is_near_the_interpolated_one_on_a_large_map() -> None:
    drawn = drawn_map(3, 400, 300)
    expected = torch.quantile(drawn.flatten(1), 0.95, dim=1)
    torch.testing.assert_close(pool_map(drawn)[:, 2], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
def test_pooling_gradient_is_that_of_finite_differences(weighted: bool) -> None:
    drawn = drawn_map(1, 5, 6).requires_grad_()
    mask = drawn_map(2, 5, 6) if weighted else None
    assert torch.autograd.gradcheck(lambda values: pool_map(values, mask), drawn)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 1e-30])
def test_pooling_gradient_is_finite_on_a_constant_map(value: float, weighted: bool) -> None:
    drawn = torch.full((1, 1, 7, 9), value, requires_grad=True)
    pooled = pool_map(drawn, torch.ones(1, 1, 7, 9) if weighted else None)
    torch.testing.assert_close(pooled, torch.tensor([[value, 0.0, value]]))
    pooled.sum().backward()
    assert drawn.grad is not None
    assert drawn.grad.isfinite().all()


def test_from_images_to_pooled_numbers_in_one_gradient() -> None:
    preds, target = pair(12, 11, noise=0.03, n=1)

    def pooled(images: Tensor) -> Tensor:
        return torch.cat([pool_map(drawn) for drawn in quality_maps(images, target).values()], 1)

    assert torch.autograd.gradcheck(pooled, preds.requires_grad_(), fast_mode=True)
    equal = target.clone().requires_grad_()
    pooled(equal).sum().backward()
    assert equal.grad is not None
    assert equal.grad.abs().max() == 0


def test_half_maps_are_raised() -> None:
    drawn = drawn_map(0, 100, 90).half()
    found = pool_map(drawn)
    assert found.dtype == torch.float32
    assert torch.equal(found, pool_map(drawn.float()))


@pytest.mark.parametrize(
    ("drawn", "mask", "message"),
    [
        (torch.rand(2, 3, 4, 4), None, r"\(N, 1, H, W\) with pixels, got \(2, 3, 4, 4\)"),
        (torch.rand(1, 1, 0, 4), None, "with pixels"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.int64), None, "int64"),
        ([0.5], None, "got list"),
        (torch.rand(1, 1, 4, 4), torch.ones(1, 4, 4), "`mask` must be"),
        (torch.rand(1, 1, 4, 4), -torch.ones(1, 1, 4, 4), "at least 0"),
        (torch.rand(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), "zero everywhere"),
    ],
)
def test_bad_maps_are_named(drawn: Tensor, mask: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pool_map(drawn, mask)
