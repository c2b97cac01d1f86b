"""Slight changes of an image: geometry against scipy's, exact copies, borders, and the option that names them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from tests.conftest import ASSETS, needs
from torchmetrics_fmiqa.benchmark.distortions import CHANGES, parse_changes
from torchmetrics_fmiqa.data.images import read_image

SIZES = [(1, 1), (17, 40), (40, 17), (1, 9), (6, 1), (2, 2), (224, 333)]
TURNS = {"rotate-0.25": 0.25, "rotate-1": 1.0}


def noise(height: int, width: int, n: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def blob(y: float, x: float, side: int = 101) -> Tensor:
    """A soft white spot on black, wide enough for its centre of mass to be told to a hundredth of a pixel."""
    rows, cols = torch.arange(side)[:, None], torch.arange(side)
    return torch.exp(-((rows - y) ** 2 + (cols - x) ** 2) / 18).expand(1, 3, side, side)


def centre_of_mass(images: Tensor) -> tuple[float, float]:
    y, x = ndimage.center_of_mass(images[0, 0].double().numpy())
    return float(y), float(x)


def by_scipy(images: Tensor, degrees: float, factor: float) -> np.ndarray:
    """Clockwise turn and enlargement about the centre, mirrored about the border's pixels, in float64."""
    turn = np.deg2rad(degrees)
    back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / factor  # of (y, x)
    centre = (np.array(images.shape[2:]) - 1) / 2
    return np.stack(
        [
            [
                ndimage.affine_transform(channel, back, centre - back @ centre, order=1, mode="mirror")
                for channel in image
            ]
            for image in images.double().numpy()
        ]
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CHANGES)
def test_size_type_and_range_stay(name: str, size: tuple[int, int]) -> None:
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        images = noise(*size).to(dtype)
        before = images.clone()
        changed = CHANGES[name](images)
        assert changed.shape == images.shape
        assert changed.dtype == dtype
        assert changed.min() >= images.min()  # rounding aside, what is mixed lies between its parts
        assert changed.max() <= images.max()
        assert torch.equal(images, before)
        if min(size) > 1:
            assert not torch.equal(changed, images)


@pytest.mark.parametrize("name", CHANGES)
def test_one_pixel_stays(name: str) -> None:
    images = noise(1, 1)
    assert torch.equal(CHANGES[name](images), images)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_plain_image_gets_no_edge_and_no_dark_corner(name: str, value: float) -> None:
    images = torch.full((1, 3, 40, 50), value)
    changed = CHANGES[name](images)
    torch.testing.assert_close(changed, images, rtol=0, atol=1e-6)
    assert changed.max() <= 1


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_lose_no_more_than_their_own_rounding(name: str, dtype: torch.dtype) -> None:
    images = noise(60, 90).to(dtype)
    assert torch.equal(CHANGES[name](images), CHANGES[name](images.float()).to(dtype))


@pytest.mark.parametrize(
    ("name", "width", "by"),
    [
        ("shift-1px", 40, 1),
        ("shift-1px", 512, 1),
        ("shift-1%", 99, 1),
        ("shift-1%", 100, 1),
        ("shift-1%", 101, 2),
        ("shift-1%", 288, 3),
        ("shift-1%", 700, 7),  # ceil(0.01 * 700) is 8 in floating point
        ("shift-1%", 701, 8),
        ("shift-1%", 768, 8),
    ],
)
def test_shifts_are_exact_copies_to_the_right_with_a_mirrored_border(name: str, width: int, by: int) -> None:
    images = noise(5, width)
    shifted = CHANGES[name](images)
    assert torch.equal(shifted[..., by:], images[..., :-by])
    assert torch.equal(shifted[..., :by], images[..., 1 : by + 1].flip(3))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "degrees", "factor"), [("scale-1%", 0.0, 1.01), ("rotate-0.25", 0.25, 1.0), ("rotate-1", 1.0, 1.0)]
)
def test_bilinear_changes_are_those_of_scipy(name: str, degrees: float, factor: float, size: tuple[int, int]) -> None:
    images = noise(*size)
    expected = by_scipy(images, degrees, factor)
    np.testing.assert_allclose(CHANGES[name](images.double()).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(CHANGES[name](images).numpy(), expected, atol=5e-5)


@pytest.mark.parametrize(("name", "degrees"), TURNS.items())
def test_turns_are_clockwise_about_the_centre(name: str, degrees: float) -> None:
    turn = CHANGES[name]
    y, x = centre_of_mass(turn(blob(20, 50)))  # at 12 o'clock: goes to the right, and hardly down
    assert x - 50 == pytest.approx(30 * np.sin(np.deg2rad(degrees)), abs=0.01)
    assert y - 20 == pytest.approx(30 * (1 - np.cos(np.deg2rad(degrees))), abs=0.01)
    y, x = centre_of_mass(turn(blob(50, 80)))  # at 3 o'clock: goes down
    assert y - 50 == pytest.approx(30 * np.sin(np.deg2rad(degrees)), abs=0.01)
    assert centre_of_mass(turn(blob(50, 50))) == pytest.approx((50, 50), abs=1e-3)
    assert turn(blob(50, 50).double())[0, 0, 50, 50] == pytest.approx(1, abs=1e-7)


def test_enlargement_moves_away_from_the_centre() -> None:
    enlarge = CHANGES["scale-1%"]
    assert centre_of_mass(enlarge(blob(20, 70))) == pytest.approx((50 - 30 * 1.01, 50 + 20 * 1.01), abs=0.01)
    assert centre_of_mass(enlarge(blob(50, 50))) == pytest.approx((50, 50), abs=1e-3)


@pytest.mark.parametrize("name", TURNS)
def test_there_and_back_is_nearly_the_image_in_its_middle(name: str) -> None:
    rows, cols = torch.arange(120)[:, None], torch.arange(160)
    smooth = (0.5 + 0.4 * torch.sin(rows / 5) * torch.cos(cols / 7 + rows / 11)).expand(1, 3, -1, -1)
    # turned counter-clockwise: the mirror image turned clockwise, mirrored back
    turned = CHANGES[name](smooth)
    back = CHANGES[name](turned.flip(3)).flip(3)
    middle = (..., slice(10, -10), slice(10, -10))
    assert (back - smooth)[middle].abs().max() < 0.01
    assert (turned - smooth)[middle].abs().mean() > 3 * (back - smooth)[middle].abs().mean()


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(list(CHANGES)), height=st.integers(1, 30), width=st.integers(1, 30), seed=st.integers(0, 99)
)
def test_images_and_channels_change_apart(name: str, height: int, width: int, seed: int) -> None:
    images, change = noise(height, width, 3, seed), CHANGES[name]
    together = change(images)
    assert all(torch.equal(change(images[i : i + 1]), together[i : i + 1]) for i in range(3))
    assert torch.equal(change(images.flip(1)), together.flip(1))
    # a change mixes values with weights that sum to one, so it keeps their order
    assert (change(images * 0.5) <= together + 1e-6).all()


@pytest.mark.parametrize("name", CHANGES)
def test_a_photograph_hardly_changes(name: str) -> None:
    path = needs(ASSETS / "images" / "kodak")
    image = read_image(sorted(path.glob("*.png"))[0])[None].float() / 255
    bright = 0.5 + 0.5 * image
    changed = CHANGES[name](bright)
    assert 0 < (changed - bright).abs().mean() < 0.05
    assert changed.min() >= 0.5  # nothing dark comes in


def test_names() -> None:
    assert list(CHANGES) == ["shift-1px", "shift-1%", "scale-1%", "rotate-0.25", "rotate-1"]
    for name in CHANGES:
        assert not set(name) & set(" ,@|")
    assert parse_changes("all") == CHANGES
    assert parse_changes("none") == {}
    chosen = parse_changes("rotate-1, shift-1px")
    assert list(chosen.items()) == [(name, CHANGES[name]) for name in ("rotate-1", "shift-1px")]


@pytest.mark.parametrize("text", ["", "shift", "shift-1px,", "all,none", "rotate_1", "Shift-1px"])
def test_unknown_names_are_answered_with_the_known(text: str) -> None:
    with pytest.raises(ValueError, match=r"'all', 'none'.*shift-1px, shift-1%, scale-1%, rotate-0\.25, rotate-1"):
        parse_changes(text)


def test_a_name_twice() -> None:
    with pytest.raises(ValueError, match="'rotate-1' is named twice"):
        parse_changes("rotate-1,shift-1px,rotate-1")
