"""Large images go through convolutional networks in pieces, and their numbers stay what they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from torchmetrics_fmiqa import FeatureComparator, Recipe
from torchmetrics_fmiqa.comparator import piecewise
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatisticsRequest
from torchmetrics_fmiqa.features.pieces import Reach, measure_reach, plan_pieces
from torchmetrics_fmiqa.memory import peak_bytes
from torchmetrics_fmiqa.recipes import RECIPES


def noisy_pair(height: int, width: int, count: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(height)
    target = torch.rand(count, 3, height, width, generator=generator)
    return (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


class Convolutions(nn.Module):
    """Sees 1 + 2 + 4 pixels to a side at its second tap; what ``spread`` does comes between."""

    def __init__(self, spread: nn.Module | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True))
            self.spread = spread or nn.Identity()
            self.second = nn.Conv2d(8, 8, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.spread(self.first(images)))


class Mean(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values * values.mean((2, 3), keepdim=True)


class Slope(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values + torch.linspace(0, 1, values.shape[2])[:, None]


def small(spread: nn.Module | None = None, **fields: object) -> Recipe:
    return Recipe(Convolutions(spread), taps=["first", "second"], normalization="none", **fields)  # type: ignore[arg-type]


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes everything larger than 128 x 128 pixels go in pieces; how many each tile took."""
    counts: list[int] = []
    run = piecewise.PiecewiseForward.__call__

    def counted(self: piecewise.PiecewiseForward, *args: object) -> object:
        counts.append(len(args[-1].rectangles))  # type: ignore[attr-defined]
        return run(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(piecewise, "_SMALL", 128 * 128)
    monkeypatch.setattr(piecewise.PiecewiseForward, "bytes_per_pixel", piecewise.BUDGET / (128 * 128))
    monkeypatch.setattr(piecewise.PiecewiseForward, "__call__", counted)
    return counts


def whole_and_pieces(recipe: object, request_pieces: list[int], *args: object, **options: object) -> tuple[list, list]:
    """The same call with a budget that holds everything, and with the small one."""
    comparator = FeatureComparator(recipe)  # type: ignore[arg-type]
    small_budget, piecewise.BUDGET = piecewise.BUDGET, 10**15
    try:
        whole = comparator(*args, **options)  # type: ignore[arg-type]
    finally:
        piecewise.BUDGET = small_budget
    assert not request_pieces
    return whole, comparator(*args, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(256, 320), (251, 317)])
@pytest.mark.parametrize("pooling", ["mean", "information"])
def test_pieces_give_the_number_of_the_whole(in_pieces: list[int], size: tuple[int, int], pooling: str) -> None:
    preds, target = noisy_pair(*size, count=2)
    mask = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(1))
    recipe = small(distance=["cosine", "l2", "angular"], pooling=pooling)
    whole, pieces = whole_and_pieces(recipe, in_pieces, preds, target, mask)
    assert len(in_pieces) == 2  # one image after another
    assert min(in_pieces) > 4
    for name, values in whole[0].per_tap.items():
        torch.testing.assert_close(pieces[0].per_tap[name], values, rtol=1e-5, atol=0)


def test_maps_and_tap_statistics_in_pieces(in_pieces: list[int]) -> None:
    preds, target = noisy_pair(250, 300)
    whole, pieces = whole_and_pieces([TapStatisticsRequest(small()), small()], in_pieces, preds, target)
    for name in ("spread", "summary", "reference"):
        torch.testing.assert_close(getattr(pieces[0], name), getattr(whole[0], name), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(pieces[1].per_tap["cosine"], whole[1].per_tap["cosine"], rtol=1e-5, atol=0)
    drawn = FeatureComparator(small()).maps(preds, target)["cosine"]["score"]
    assert drawn.shape == (1, 1, 250, 300)
    torch.testing.assert_close(drawn.mean((1, 2, 3)), whole[1].scores()["cosine"], rtol=1e-5, atol=0)


@pytest.mark.parametrize(("backbone", "margin"), [("torchvision/squeezenet1_1", 128), ("fmiqa/embedded", 64)])
def test_named_networks_in_pieces(in_pieces: list[int], backbone: str, margin: int) -> None:
    preds, target = noisy_pair(3 * margin + 128, 64)
    weights = {} if backbone.startswith("fmiqa") else {"weights": "random:0"}
    whole, pieces = whole_and_pieces(Recipe(backbone, **weights), in_pieces, preds, target)
    assert in_pieces[0] > 1
    torch.testing.assert_close(pieces[0].per_tap["cosine"], whole[0].per_tap["cosine"], rtol=1e-5, atol=0)


def test_equal_images_are_at_no_distance_in_pieces(in_pieces: list[int]) -> None:
    _, target = noisy_pair(256, 256)
    found = FeatureComparator(TapStatisticsRequest(small()))(target, target.clone())[0]
    assert in_pieces
    assert float(found.spread.abs().max()) == float(found.summary.abs().max()) == 0


@pytest.mark.parametrize(
    "recipe",
    [
        small(nn.GroupNorm(1, 8)),  # sees the whole image
        small(Mean()),
        small(Slope()),  # gives places features of their own
        small(distance="sliced_wasserstein"),
        small(distance=lambda one, other: (one - other).square().mean((1, 2))),
    ],
)
def test_what_pieces_would_change_goes_whole(in_pieces: list[int], recipe: Recipe) -> None:
    preds, target = noisy_pair(256, 256)
    FeatureComparator(recipe)(preds, target)
    assert in_pieces == []


def test_a_gradient_and_small_images_go_whole(in_pieces: list[int]) -> None:
    preds, target = noisy_pair(256, 256)
    comparator = FeatureComparator(small())
    comparator(preds.requires_grad_(), target)[0].scores()["cosine"].sum().backward()
    comparator(*noisy_pair(128, 128))
    assert in_pieces == []
    comparator(preds.detach(), target)
    assert in_pieces != []


def test_how_far_a_network_sees() -> None:
    assert measure_reach(FeatureComparator(small()).backbone) == Reach(margin=32, align=32, strides=(2, 4))
    assert measure_reach(FeatureComparator(small(Mean())).backbone) is None
    wide = small(nn.Conv2d(8, 8, (601, 1), padding=(300, 0), groups=8))
    assert measure_reach(FeatureComparator(wide).backbone) is None


@pytest.mark.parametrize("size", [(1000, 2000), (333, 64), (32, 32)])
def test_the_inner_parts_of_pieces_are_the_image(size: tuple[int, int]) -> None:
    count = torch.zeros(size)
    for piece in plan_pieces(*size, Reach(64, 32, (8,)), 300 * 300):
        rows, cols = piece.rows, piece.cols
        assert (rows.stop - rows.start) * (cols.stop - cols.start) <= 300 * 300
        assert rows.inner % 32 == cols.start % 32 == 0
        count[rows.inner : rows.inner_stop, cols.inner : cols.inner_stop] += 1
    assert bool((count == 1).all())


def test_memory_of_a_recipe_is_what_the_table_says() -> None:
    recipe = RECIPES["embedded"]
    preds, target = noisy_pair(512, 512)
    comparator = FeatureComparator(recipe.recipe)
    with torch.no_grad():
        found = peak_bytes(lambda: comparator(preds, target)) / 512**2
    assert found == pytest.approx(recipe.facts.memory, rel=0.02)
