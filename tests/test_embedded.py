"""The embedded network, and what it is trained with: made images, distortions, objectives, a run that is resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from torchmetrics_fmiqa import FeatureDistance, Recipe
from torchmetrics_fmiqa.distances.pointwise import cosine_map
from torchmetrics_fmiqa.features.embedded import CHANNELS, EmbeddedNetwork, load_embedded
from torchmetrics_fmiqa.features.stages import LocalContrast
from train.embedded.batches import make_batch
from train.embedded.distortions import HELD_OUT, TRAINED, shifted, turned
from train.embedded.evaluate import Row, order_shares
from train.embedded.images import KINDS, make_image, make_images, spectrum_slope, statistics
from train.embedded.objectives import (
    OBJECTIVES,
    UNSEEN,
    Copies,
    calibration,
    contrast,
    distances,
    in_order,
    parts,
    ranking,
    verdict,
)
from train.embedded.pyramid import nlpd
from train.embedded.train import Run, Settings
from train.embedded.weights import load_facts, save_weights

from .conftest import make_pair


@pytest.fixture(scope="module")
def network() -> EmbeddedNetwork:
    return EmbeddedNetwork(seed=0).eval()


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    """A made image with edges and texture, ``(1, 3, 96, 96)``."""
    return make_image(3, 96, "town")[None].float() / 255


class TestNetwork:
    @pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (33, 64), (100, 37)])
    def test_any_size_halves_at_each_stage(self, network: EmbeddedNetwork, size: tuple[int, int]) -> None:
        height, width = size
        *stages, untrained = network.features(torch.rand(2, 3, *size))
        for number, (channels, stage) in enumerate(zip(CHANNELS, stages, strict=True)):
            height, width = -(-height // 2), -(-width // 2)
            assert stage.shape == (2, channels + 3, height, width)  # and the light
            assert stage.isfinite().all()
            if number == 3:
                assert untrained.shape == (2, 128, height, width)
                assert untrained.isfinite().all()

    def test_it_is_small_and_cheap(self, network: EmbeddedNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
        assert sum(parameter.numel() for parameter in network.parameters()) <= 1_500_000
        products, convolve = [], torch.nn.functional.conv2d

        def counted(values: torch.Tensor, weight: torch.Tensor, *rest: object, **options: object) -> torch.Tensor:
            found = convolve(values, weight, *rest, **options)
            products.append(found.shape[2] * found.shape[3] * weight.numel())
            return found

        monkeypatch.setattr(torch.nn.functional, "conv2d", counted)
        with torch.no_grad():
            network(torch.rand(1, 3, 128, 128))
        assert sum(products) * 16 <= 1.8e9  # at 512 x 512

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
            one, other = network.features(wide[..., :224])[1], network.features(wide[..., 4:228])[1]
        torch.testing.assert_close(one[..., 13:40], other[..., 12:39], atol=1e-5, rtol=1e-4)

    def test_local_contrast_is_divided_out(self) -> None:
        image = 0.5 + 0.4 * (torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5)
        faint = 0.5 + (image - 0.5) / 2
        ratios = {}
        for normalized in (True, False):
            network = EmbeddedNetwork(seed=0, normalized=normalized).requires_grad_(False)
            for name, parameter in network.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()  # without thresholds half the contrast gives half the features
                elif name.endswith("floor"):
                    parameter.fill_(-10)
            ratios[normalized] = float(network(faint).norm() / network(image).norm())
        assert ratios[False] == pytest.approx(0.5, abs=1e-3)
        assert ratios[True] == pytest.approx(1, abs=1e-2)

    @pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
    def test_gradients_are_finite_on_flat_images(self, network: EmbeddedNetwork, value: float) -> None:
        image = torch.full((1, 3, 32, 32), value, requires_grad=True)
        sum(stage.square().sum() for stage in network.features(image)).backward()  # type: ignore[union-attr]
        assert image.grad is not None
        assert image.grad.isfinite().all()

    def test_refuses_no_stages(self) -> None:
        with pytest.raises(ValueError, match="channels"):
            EmbeddedNetwork(channels=[])
        with pytest.raises(ValueError, match="channels"):
            EmbeddedNetwork(channels=[8, 0])

    @pytest.mark.parametrize("size", [(1, 1), (30, 50), (64, 64)])
    def test_it_is_a_backbone(self, network: EmbeddedNetwork, size: tuple[int, int]) -> None:
        preds, target = make_pair(2, *size)
        metric = FeatureDistance(Recipe(network))
        assert metric(target, target) == 0
        assert metric(preds, target) > 0

    def test_taps_go_by_number_and_name(self, network: EmbeddedNetwork) -> None:
        preds, target = make_pair(2, 64, 64)
        scores = [
            float(FeatureDistance(backbone=network, taps=taps)(preds, target))
            for taps in ([1, 4, -1], ["heads.1", "heads.4", "untrained"], [0])
        ]
        assert scores[0] == scores[1] != scores[2]

    def test_raw_images_are_its_input(self, network: EmbeddedNetwork) -> None:
        preds, target = make_pair(2, 64, 64)
        own, none = (
            float(FeatureDistance(backbone=network, normalization=way)(preds, target)) for way in ("model", "none")
        )
        assert own == pytest.approx(none, rel=1e-6)

    def test_metric_is_the_distance_that_is_trained(self, network: EmbeddedNetwork) -> None:
        preds, target = make_pair(2, 64, 64)
        with torch.no_grad():
            trained = distances(network.features(target), network.features(preds)).mean()
        assert float(FeatureDistance(backbone=network)(preds, target)) == pytest.approx(float(trained), rel=1e-4)


class TestUntrained:
    def test_light_changes_nothing(self, network: EmbeddedNetwork, picture: torch.Tensor) -> None:
        image, other = 0.2 + 0.8 * picture, picture.flip(3)
        with torch.no_grad():
            own, darker, another = (network.untrained(one) for one in (image, 0.7 * image, other))
        assert (own - darker).norm() < 0.15 * (own - another).norm()
        assert cosine_map(own.flatten(2).transpose(1, 2), darker.flatten(2).transpose(1, 2)).mean() < 0.01

    def test_centred_features_tell_images_apart_better(self, picture: torch.Tensor) -> None:
        network = EmbeddedNetwork(seed=0)
        blurred = torch.nn.functional.avg_pool2d(picture, 5, 1, 2)
        with torch.no_grad():
            before = distances([network.untrained(picture)], [network.untrained(blurred)])
            network.untrained.centre_on(make_images(range(6), 96).float() / 255)
            after = distances([network.untrained(picture)], [network.untrained(blurred)])
        assert after > 1.5 * before

    def test_training_leaves_it(self, network: EmbeddedNetwork) -> None:
        assert not any(parameter.requires_grad for parameter in network.untrained.parameters())
        assert all(parameter.requires_grad for parameter in network.heads.parameters())

    def test_windows_hold_the_mean_of_each_channel(self) -> None:
        values = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
        around = torch.nn.functional.pad(values, (8, 8, 8, 8), mode="replicate")
        mean = torch.nn.functional.avg_pool2d(around, 17, 1)
        torch.testing.assert_close(LocalContrast()(values), (values - mean) / (mean + 0.1))


class TestImages:
    @pytest.mark.parametrize("kind", KINDS)
    def test_seeds_fix_an_image(self, kind: str) -> None:
        one, same, other = make_image(1, 64, kind), make_image(1, 64, kind), make_image(2, 64, kind)
        assert one.shape == (3, 64, 64)
        assert one.dtype == torch.uint8
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
        assert one.float().std() > 2

    def test_the_mix_has_the_statistics_of_photographs(self) -> None:
        found = statistics(make_images(range(40), 96))
        assert 1.0 < found["slope"] < 1.6
        assert 0.3 < found["mean"] < 0.6
        assert 0.1 < found["contrast"] < 0.25
        assert found["kurtosis of steps, median"] > 5  # flat parts and edges; noise would have 3
        assert found["colour"] > 0.02

    def test_slope_of_a_known_spectrum(self) -> None:
        generator = np.random.default_rng(0)
        from train.embedded.fields import spectral

        for slope in (0.7, 1.2):
            fields = np.stack([spectral(generator, 128, slope) for _ in range(8)])
            images = torch.from_numpy(fields)[:, None].expand(-1, 3, -1, -1)
            assert float(spectrum_slope(images).mean()) == pytest.approx(slope, abs=0.12)

    def test_refuses_what_it_cannot_make(self) -> None:
        with pytest.raises(ValueError, match="at least 32"):
            make_image(0, 16)
        with pytest.raises(ValueError, match="no kind 'cats'"):
            make_image(0, 64, "cats")


class TestDistortions:
    @pytest.mark.parametrize("name", [*TRAINED, *HELD_OUT])
    def test_each_severity_changes_more(self, name: str, picture: torch.Tensor) -> None:
        kind = {**TRAINED, **HELD_OUT}[name]
        copies = [kind(picture, severity, torch.Generator().manual_seed(0)) for severity in (1, 2, 3, 4, 5)]
        errors = [float((copy - picture).square().mean()) for copy in copies]
        assert errors == sorted(errors)
        assert 0 < errors[0] < 0.75 * errors[-1]
        for copy in copies:
            assert copy.shape == picture.shape
            assert copy.min() >= 0
            assert copy.max() <= 1
        again = kind(picture, 3, torch.Generator().manual_seed(0))
        assert torch.equal(again, copies[2])

    def test_severities_between_are_between(self) -> None:
        for kind in TRAINED.values():
            ends = sorted((kind.level(2), kind.level(3)))
            assert ends[0] <= kind.level(2.5) <= ends[1]
            assert [kind.level(severity) for severity in (1, 2, 3, 4, 5)] == pytest.approx(list(kind.levels))

    def test_refuses_other_severities_and_shapes(self, picture: torch.Tensor) -> None:
        with pytest.raises(ValueError, match="severity"):
            TRAINED["blur"](picture, 0.5, torch.Generator())
        with pytest.raises(ValueError, match="image"):
            TRAINED["blur"](picture[0], 2, torch.Generator())

    def test_shift_by_a_whole_pixel_is_a_copy(self, picture: torch.Tensor) -> None:
        moved = shifted(picture, 0.0, 1.0)
        torch.testing.assert_close(moved[..., 1:], picture[..., :-1], atol=1e-4, rtol=0)

    def test_turns_add_up(self, picture: torch.Tensor) -> None:
        there_and_back = turned(turned(picture, 5), -5)
        middle = slice(30, 66)
        smooth = TRAINED["blur"](picture, 4, torch.Generator())
        back = turned(turned(smooth, 5), -5)
        torch.testing.assert_close(turned(picture, 0), picture, atol=1e-5, rtol=0)
        torch.testing.assert_close(back[..., middle, middle], smooth[..., middle, middle], atol=0.02, rtol=0)
        assert not torch.equal(there_and_back, picture)


def some_copies() -> Copies:
    """Copies of two references: 0 and 1 of one distortion, 2 unseen, 3 of another image and distortion, 4 apart."""
    return Copies(
        torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 0, 0, 1, 1]),
        torch.tensor([2, 2, 9, 3, 5]),
        torch.tensor([1.0, 2.0, UNSEEN, 4.0, 5.0]),
        torch.tensor([True, True, True, True, False]),
        torch.zeros(5, dtype=torch.bool),
        torch.tensor([0.3, 0.5, 0.0, 0.9, 0.7]),
    )


class TestObjectives:
    def test_pairs_of_known_order(self) -> None:
        own, fair = in_order(some_copies())
        assert own.nonzero().tolist() == [[0, 1]]
        # comparable ones need a step of 1.6 on one image and 2.4 on two; 4 is comparable with nothing
        assert fair.nonzero().tolist() == [[0, 3], [2, 3]]
        lenient = replace(some_copies(), comparable=torch.tensor([False, *[True] * 3, False]))
        assert in_order(lenient)[1].nonzero().tolist() == [[2, 3]]
        lenient = replace(lenient, lenient=torch.tensor([True, *[False] * 4]))
        assert in_order(lenient)[1].nonzero().tolist() == [[0, 3], [2, 3]]

    def test_distances_are_the_packages(self) -> None:
        one, other = torch.randn(2, 2, 6, 5, 4)
        expected = cosine_map(one.flatten(2).transpose(1, 2), other.flatten(2).transpose(1, 2)).mean(1)
        torch.testing.assert_close(distances([one], [other])[:, 0], expected)

    def test_ranking_falls_as_order_comes(self) -> None:
        copies = some_copies()
        right = torch.tensor([[0.02], [0.05], [0.001], [0.3], [0.1]])
        wrong = torch.tensor([[0.05], [0.02], [0.3], [0.001], [0.1]])
        assert ranking(right, copies) < 0.05 < 1 < ranking(wrong, copies)

    def test_ranking_looks_at_ratios_alone(self) -> None:
        taken = torch.rand(5, 2, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.01
        torch.testing.assert_close(ranking(taken, some_copies()), ranking(taken * 7, some_copies()))

    def test_ranking_has_a_finite_gradient_at_equal_images(self) -> None:
        taken = torch.zeros(5, 2, requires_grad=True)
        ranking(taken, some_copies()).backward()  # type: ignore[no-untyped-call]
        assert taken.grad is not None
        assert taken.grad.isfinite().all()

    def test_calibration_is_zero_on_a_line(self) -> None:
        copies = some_copies()
        assert float(calibration((copies.severity - 7).exp()[:, None], copies)) == pytest.approx(0, abs=1e-5)
        assert float(calibration((-copies.severity).exp()[:, None], copies)) == pytest.approx(2, abs=1e-5)

    def test_verdict_falls_as_distances_follow_labels(self) -> None:
        copies = some_copies()
        logs = -5 + 4 * copies.label[:, None]
        right, wrong = logs.exp(), (2 * logs.mean() - logs).exp()
        assert verdict(right, copies) < 0.3 < 1.5 < verdict(wrong, copies)
        # another scale is no better, nor is another slope
        for other in (logs - 1, logs + 1, 2 * logs - logs.mean(), logs / 2 + logs.mean() / 2):
            assert verdict(right, copies) < verdict(other.exp(), copies)

    def test_verdict_has_a_finite_gradient_at_equal_images(self) -> None:
        taken = torch.zeros(5, 2, requires_grad=True)
        verdict(taken, some_copies()).backward()  # type: ignore[no-untyped-call]
        assert taken.grad is not None
        assert taken.grad.isfinite().all()

    def test_contrast_knows_the_same_place(self) -> None:
        features = [torch.randn(3, 64, 16 >> i, 16 >> i, generator=torch.Generator().manual_seed(i)) for i in (0, 1)]
        numbers = torch.arange(3)
        same, other = contrast(features, features, numbers), contrast(features, features, numbers.roll(1))
        assert same < 0.05 < 5 < other

    @pytest.mark.parametrize("objective", OBJECTIVES)
    def test_every_objective_teaches_every_layer(self, objective: str) -> None:
        network = EmbeddedNetwork(seed=0, channels=(4, 6, 8))
        pool = make_images(range(3), 64)
        crops, copies = make_batch(pool, 0, 0, 3, 5, 48)
        copies = replace(copies, label=torch.rand(15, generator=torch.Generator().manual_seed(0)))
        features = network.trained_features(torch.cat([crops, copies.images]))
        found = parts(OBJECTIVES[objective], [tap[:3] for tap in features], [tap[3:] for tap in features], copies)
        assert set(found) == set(OBJECTIVES[objective])
        torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
        for name, parameter in network.named_parameters():
            if name.startswith("untrained."):
                assert parameter.grad is None, name
                continue
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


class TestBatches:
    def test_a_step_is_the_same_again(self) -> None:
        pool = make_images(range(4), 64)
        (one, mine), (same, yours), (other, _) = (make_batch(pool, 0, step, 2, 4, 48) for step in (3, 3, 4))
        assert torch.equal(one, same)
        assert torch.equal(mine.images, yours.images)
        assert not torch.equal(one, other)
        assert mine.images.shape == (8, 3, 48, 48)
        assert 0 <= mine.images.min() <= mine.images.max() <= 1
        assert mine.severity[::4].tolist() == [UNSEEN, UNSEEN]
        own, _ = in_order(mine)
        assert own[1, 2]
        assert own[5, 6]

    def test_refuses_what_does_not_fit(self) -> None:
        pool = make_images(range(1), 64)
        with pytest.raises(ValueError, match="copies"):
            make_batch(pool, 0, 0, 2, 2, 48)
        with pytest.raises(ValueError, match="crop"):
            make_batch(pool, 0, 0, 2, 4, 65)


def tiny(**other: object) -> Settings:
    values = {"steps": 4, "pool": 3, "side": 64, "crop": 48, "references": 2, "copies": 3, **other}
    return Settings(**values)  # type: ignore[arg-type]


class TestRun:
    def test_a_resumed_run_ends_with_the_same_weights(self, tmp_path: Path) -> None:
        whole = Run(tiny(), tmp_path / "whole", tmp_path)
        for _ in whole:
            pass
        whole.save("whole")
        broken = Run(tiny(), tmp_path / "broken", tmp_path)
        for _, losses in zip(range(2), broken, strict=False):
            assert all(np.isfinite(list(losses.values())))
        broken.save("broken")
        again = Run(tiny(), tmp_path / "broken", tmp_path)
        assert again.step == broken.step < 4
        for _ in again:
            pass
        again.save("again")
        one, other = (load_embedded(tmp_path / name / "weights.safetensors") for name in ("whole", "broken"))
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
        started = EmbeddedNetwork(0)
        assert not torch.equal(one.stem.weight, started.stem.weight.half().float())

    def test_the_folder_of_another_run_is_refused(self, tmp_path: Path) -> None:
        Run(tiny(), tmp_path / "run", tmp_path)
        with pytest.raises(ValueError, match="other settings"):
            Run(tiny(seed=1), tmp_path / "run", tmp_path)

    def test_minutes_end_a_run(self, tmp_path: Path) -> None:
        run = Run(tiny(steps=0, minutes=0.002), tmp_path / "run", tmp_path)
        assert 1 <= sum(1 for _ in run) < 50

    def test_settings_are_checked(self) -> None:
        for wrong in ({"objective": "luck"}, {"minutes": 1}, {"steps": 0}, {"steps": -1}):
            with pytest.raises(ValueError, match=next(iter(wrong))[:4]):
                tiny(**wrong)

    def test_weights_come_back_in_half_precision(self, tmp_path: Path) -> None:
        network = EmbeddedNetwork(seed=3)
        save_weights(network, tmp_path / "w.safetensors", {"command": "made by hand"})
        back = load_embedded(tmp_path / "w.safetensors")
        assert load_facts(tmp_path / "w.safetensors") == {"command": "made by hand"}
        for name, value in network.state_dict().items():
            assert torch.equal(back.state_dict()[name], value.half().float())
        assert (tmp_path / "w.safetensors").stat().st_size < 2.2 * sum(p.numel() for p in network.parameters()) + 4000
        with pytest.raises(ValueError, match="no weights"):
            load_embedded(tmp_path / "none.safetensors")

    def test_settings_are_written_down(self, tmp_path: Path) -> None:
        Run(tiny(), tmp_path / "run", tmp_path)
        assert json.loads((tmp_path / "run" / "settings.json").read_text())["pool"] == 3


class TestEvaluation:
    rows = tuple(
        Row(image, True, kind, severity, True, held_out)
        for image in range(2)
        for kind, held_out in (("a", False), ("b", False), ("c", True))
        for severity in (1.0, 2.0, 3.0, 4.0, 5.0)
    ) + tuple(Row(0, True, kind, 0.0, True, False) for kind in ("shift-1px", "shift-1%", "rotate-0.25"))

    def test_what_knows_severity_has_every_pair_in_order(self) -> None:
        found = order_shares(self.rows, np.array([row.severity for row in self.rows]))
        expected = {name for name in found if not name.startswith(("shift", "rotate"))}
        assert {name: found[name] for name in expected} == pytest.approx(dict.fromkeys(expected, 1.0))
        assert found["shift-1px"] == 0

    def test_what_knows_nothing_has_half_of_them(self) -> None:
        found = order_shares(self.rows, np.ones(len(self.rows)))
        assert found["within"] == found["across"] == found["pooled"] == 0.5
        assert np.isnan(found["choice"])

    def test_lenient_copies_belong_below_comparable_ones(self) -> None:
        light = tuple(Row(0, True, "light", severity, False, False, True) for severity in (1.0, 2.0, 3.0, 4.0, 5.0))
        rows = self.rows + light
        for scale, share in ((1.0, 1.0), (100.0, 0.0)):
            scores = np.array([row.severity * (scale if row.lenient else 1) for row in rows])
            assert order_shares(rows, scores)["lenient"] == share

    def test_the_pyramid_is_a_distance(self, picture: torch.Tensor) -> None:
        copies = [TRAINED["blur"](picture, severity, torch.Generator()) for severity in (1, 3, 5)]
        for colour in (False, True):
            taken = [float(nlpd(copy, picture, colour)) for copy in (picture, *copies)]
            assert taken[0] == 0
            assert taken == sorted(taken)
            assert float(nlpd(picture, copies[0], colour)) == pytest.approx(taken[1], rel=1e-5)
