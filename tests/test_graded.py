"""Graded distortions: what each does to the pixels, by independent computation, and that each level is worse."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from tests.conftest import ASSETS, make_pair, needs
from torchmetrics_fmiqa.benchmark.distortions import GRADED
from torchmetrics_fmiqa.data.images import read_image


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noisy_image(height: int = 40, width: int = 50, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=seeded(seed))


@pytest.mark.parametrize("sigma", GRADED["blur"].levels)
def test_blur_is_scipys_gaussian(sigma: float) -> None:
    image = noisy_image().double()
    expected = ndimage.gaussian_filter(image.numpy(), (0, 0, sigma, sigma), mode="mirror", truncate=4)
    np.testing.assert_allclose(GRADED["blur"](image, sigma, seeded()).numpy(), expected, atol=1e-6)


def test_noise_is_one_field_scaled() -> None:
    grey = torch.full((2, 3, 64, 64), 0.5)
    levels = GRADED["noise"].levels
    fields = [(noisy - grey) / level for noisy, level in zip(GRADED["noise"].series(grey, 3), levels, strict=True)]
    assert (fields[0] * 255).std().item() == pytest.approx(1, abs=0.02)
    for one in fields[1:-1]:  # the strongest is clipped here and there
        torch.testing.assert_close(one, fields[0], atol=1e-6, rtol=1e-4)
    assert not torch.equal(fields[0][0], fields[0][1])
    assert not torch.equal(GRADED["noise"](grey, 5, seeded(4)), GRADED["noise"](grey, 5, seeded(3)))


def test_noise_stays_in_range() -> None:
    white = torch.ones(1, 3, 32, 32)
    noisy = GRADED["noise"](white, 40, seeded())
    assert noisy.max() == 1
    assert 0.4 < (noisy == 1).double().mean() < 0.6


@pytest.mark.parametrize("quality", GRADED["jpeg"].levels)
def test_jpeg_is_pillows(quality: int) -> None:
    image = make_pair(1, 40, 50)[1]
    pixels = (image[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    expected = np.asarray(Image.open(file))
    found = (GRADED["jpeg"](image, quality, seeded())[0] * 255).round().permute(1, 2, 0).numpy()
    # Two builds of libjpeg may round a colour differently.
    assert np.abs(found - expected).max() <= 2


def test_contrast_keeps_the_grey_mean_and_shrinks_the_spread() -> None:
    image = noisy_image()
    low = GRADED["contrast"](image, 0.6, seeded())
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    mean = (image * luma).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    # torchvision's weights of the colours have four digits.
    torch.testing.assert_close(low, mean + 0.6 * (image - mean), atol=1e-3, rtol=0)


@pytest.mark.parametrize("side", GRADED["pixelation"].levels)
def test_pixelation_makes_blocks_of_their_mean(side: int) -> None:
    image = noisy_image(13, 17)
    expected = np.empty(image.shape, dtype=np.float32)
    for top in range(0, 13, side):
        for left in range(0, 17, side):
            place = (..., slice(top, top + side), slice(left, left + side))
            expected[place] = image.numpy()[place].mean((-2, -1), keepdims=True)
    np.testing.assert_allclose(GRADED["pixelation"](image, side, seeded()).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("name", GRADED)
def test_each_level_is_farther_from_a_photograph(name: str) -> None:
    photo = read_image(needs(ASSETS / "images" / "bsd100" / "img_003.png"))
    photo = photo[None].float() / 255 if photo.dtype == torch.uint8 else photo[None]
    errors = [(version - photo).square().mean().item() for version in GRADED[name].series(photo)]
    assert errors[0] > 0
    assert errors == sorted(set(errors))


@pytest.mark.parametrize("name", GRADED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_are_left_as_they_were(name: str, dtype: torch.dtype) -> None:
    image = noisy_image().to(dtype)
    before = image.clone()
    for version in GRADED[name].series(image):
        assert (version.shape, version.dtype) == (image.shape, dtype)
        assert 0 <= version.min() <= version.max() <= 1
        assert not torch.equal(version, image)
    assert torch.equal(image, before)


@pytest.mark.parametrize("name", sorted(set(GRADED) - {"jpeg"}))
def test_a_gradient_flows(name: str) -> None:
    image = noisy_image().requires_grad_()
    (gradient,) = torch.autograd.grad(GRADED[name].series(image)[1].square().sum(), image)
    assert gradient.isfinite().all()
    assert gradient.any()


@pytest.mark.parametrize(
    ("name", "level", "message"),
    [
        ("blur", 10, "41 pixels a side, got 40 x 50"),
        ("pixelation", 41, "41 pixels"),
    ],
)
def test_a_level_too_large_for_the_image_is_an_error(name: str, level: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GRADED[name](noisy_image(), level, seeded())
