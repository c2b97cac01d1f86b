"""The embedded network itself, and the images that are made for its lessons."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from torchmetrics_fmiqa import FeatureDistance, FeatureDistanceLoss, Recipe, feature_distance
from torchmetrics_fmiqa.features.embedded import CHANNELS, MEAN, STD, EmbeddedNetwork
from train.embedded.evaluate import make_panel
from train.embedded.images import KINDS, make_image

from .conftest import make_pair


@pytest.fixture(scope="module")
def network() -> EmbeddedNetwork:
    return EmbeddedNetwork(seed=0).eval()


class TestNetwork:
    @pytest.mark.parametrize("size", [(16, 16), (16, 64), (48, 32)])
    def test_taps_shrink_images_by_4_8_and_16(self, network: EmbeddedNetwork, size: tuple[int, int]) -> None:
        taps = network.features(torch.rand(2, 3, *size))
        for tap, channels, stride in zip(taps, CHANNELS[1:], (4, 8, 16), strict=True):
            assert tap.shape == (2, channels, size[0] // stride, size[1] // stride)
            assert tap.isfinite().all()
            assert tap.min() >= 0

    def test_seeds_make_different_networks_and_leave_the_users_seed_alone(self) -> None:
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        one, same, other = (EmbeddedNetwork(seed).stem.weight for seed in (1, 1, 2))
        assert torch.equal(torch.rand(3), expected)
        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    def test_a_shift_by_its_stride_shifts_what_it_sees(self, network: EmbeddedNetwork) -> None:
        wide = torch.rand(1, 3, 64, 256, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            one, other = (network.features(wide[..., start : start + 224]) for start in (0, 16))
        for tap, moved, stride in zip(one, other, (4, 8, 16), strict=True):
            edge, by = 64 // stride, 16 // stride
            torch.testing.assert_close(tap[..., edge + by : -edge + by], moved[..., edge:-edge], atol=1e-5, rtol=1e-4)

    def test_the_outermost_pixels_go_on_beyond_the_edge(self, network: EmbeddedNetwork) -> None:
        even = torch.rand(1, 3, 1, 1, generator=torch.Generator().manual_seed(0)).expand(1, 3, 64, 64)
        for tap in network.features(even):
            torch.testing.assert_close(tap, tap[..., :1, :1].expand_as(tap), atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
    def test_gradients_are_finite_on_flat_images(self, network: EmbeddedNetwork, value: float) -> None:
        image = torch.full((1, 3, 32, 32), value, requires_grad=True)
        sum(tap.square().sum() for tap in network.features(image)).backward()  # type: ignore[union-attr]
        assert image.grad is not None
        assert image.grad.isfinite().all()

    @pytest.mark.parametrize("channels", [[], [8], [8, 0], [8, 7], [8, 8, 8, 8, 8]])
    def test_refuses_channels_that_make_no_stages(self, channels: list[int]) -> None:
        with pytest.raises(ValueError, match=r"`channels` must be .* 1 to 3 stages"):
            EmbeddedNetwork(channels=channels)
        with pytest.raises(ValueError, match="`squeezed` must be 3 numbers"):
            EmbeddedNetwork(squeezed=[8, 8])

    @pytest.mark.parametrize("size", [(1, 1), (1, 7), (30, 50), (64, 64)])
    def test_it_is_a_backbone_for_images_of_any_size(self, network: EmbeddedNetwork, size: tuple[int, int]) -> None:
        preds, target = make_pair(2, *size)
        metric = FeatureDistance(Recipe(network))
        assert metric(target, target) == 0
        assert metric(preds, target) > 0

    def test_taps_go_by_number_and_name(self, network: EmbeddedNetwork) -> None:
        preds, target = make_pair(2, 64, 64)
        scores = [
            float(FeatureDistance(backbone=network, taps=taps)(preds, target))
            for taps in ([0, -1], ["stages.0", "stages.2"], [0])
        ]
        assert scores[0] == scores[1] != scores[2]

    def test_it_brings_its_own_normalisation(self, network: EmbeddedNetwork) -> None:
        preds, target = make_pair(2, 64, 64)
        own, same, raw = (
            float(FeatureDistance(backbone=network, normalization=way)(preds, target))
            for way in ("model", ([MEAN] * 3, [STD] * 3), "none")
        )
        assert own == pytest.approx(same, rel=1e-6)
        assert own != pytest.approx(raw, rel=1e-2)


class TestPrecision:
    def test_double_precision_is_near_and_double(self) -> None:
        preds, target = make_pair(2, 40, 56)
        exact = feature_distance(preds.double(), target.double(), precision="float64")
        assert exact.dtype == torch.float64
        torch.testing.assert_close(exact.float(), feature_distance(preds, target), rtol=1e-4, atol=0)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_images_are_computed_in_single(self, dtype: torch.dtype) -> None:
        preds, target = (image.to(dtype) for image in make_pair(2, 40, 56))
        assert torch.equal(feature_distance(preds, target), feature_distance(preds.float(), target.float()))

    def test_gradcheck(self) -> None:
        network = EmbeddedNetwork(0, (4, 6), (3,))
        loss = FeatureDistanceLoss(backbone=network, precision="float64")
        preds, target = (image.double() for image in make_pair(1, 8, 8))
        assert torch.autograd.gradcheck(lambda one: loss(one, target), preds.requires_grad_(), atol=1e-4)


class TestGraphs:  # and tests/test_export.py
    def test_a_compiled_loss_is_one_graph_of_equal_numbers(self) -> None:
        loss = FeatureDistanceLoss(validate=False)
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        preds, target = make_pair(2, 50, 64)
        one, other = (image.requires_grad_() for image in (preds.clone(), preds.clone()))
        for run, image in ((loss, one), (compiled, other)):
            run(image, target).backward()
        assert one.grad is not None
        torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-4)

    def test_a_loss_compiles_for_free_sizes(self) -> None:
        loss = FeatureDistanceLoss()
        torch.compiler.reset()
        compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend="eager")
        for pair in (make_pair(2, 33, 47), make_pair(1, 64, 40)):
            torch.testing.assert_close(compiled(*pair), loss(*pair))

    @pytest.mark.slow
    @pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a compiler of C++ on a CPU")
    def test_inductor_compiles_the_backward_pass(self) -> None:
        """The backend that ``torch.compile`` takes by itself; it lays memory out in its own way."""
        loss = FeatureDistanceLoss()
        compiled = torch.compile(loss, fullgraph=True)
        preds, target = make_pair(1, 33, 47)
        one, other = (image.requires_grad_() for image in (preds.clone(), preds.clone()))
        for run, image in ((loss, one), (compiled, other)):
            run(image, target).backward()
        assert one.grad is not None
        torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-4)


class TestImages:
    @pytest.mark.parametrize("kind", KINDS)
    def test_seeds_fix_an_image(self, kind: str) -> None:
        one, same, other = make_image(1, 64, kind), make_image(1, 64, kind), make_image(2, 64, kind)
        assert one.shape == (3, 64, 64)
        assert one.dtype == torch.uint8
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
        assert one.float().std() > 2

    def test_slope_of_a_known_spectrum(self) -> None:
        from train.embedded.fields import spectral

        frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128))
        kept = (frequency > 3 / 128) & (frequency < 1 / 3)
        for slope in (0.7, 1.2):
            field = spectral(np.random.default_rng(0), 128, slope)
            amplitude = np.abs(np.fft.fft2(field))
            found = np.polyfit(np.log(frequency[kept]), np.log(amplitude[kept]), 1)[0]
            assert -found == pytest.approx(slope, abs=0.12)

    def test_refuses_what_it_cannot_make(self) -> None:
        with pytest.raises(ValueError, match="at least 32"):
            make_image(0, 16)
        with pytest.raises(ValueError, match="no kind 'cats'"):
            make_image(0, 64, "cats")


class TestEvaluation:
    def test_weights_and_names_are_measured_side_by_side(self) -> None:
        from torchmetrics_fmiqa.features.embedded import WEIGHTS

        panel = make_panel([str(WEIGHTS), "embedded", "psnr"])
        preds, target = make_pair(1, 48, 48)
        found = panel.score(preds, target, taps=False)
        assert list(found) == [str(WEIGHTS), "embedded", "psnr"]
        assert torch.equal(found[str(WEIGHTS)], found["embedded"])

    def test_names_that_mean_nothing_are_refused(self) -> None:
        with pytest.raises(ValueError, match="there is no metric 'embeded'"):
            make_panel(["embeded"])
