"""Outliers of a benchmark: their tests, what images hold, and the gallery of the worst."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from torch import Tensor

from tests.conftest import ASSETS, RANDOM_VIT, needs
from torchmetrics_fmiqa import FeatureComparator, Recipe
from torchmetrics_fmiqa.benchmark.analysis.image_properties import image_features
from torchmetrics_fmiqa.benchmark.analysis.outliers import OutlierFinding, RankSums, WorstCase, outlier_finding
from torchmetrics_fmiqa.benchmark.gallery import gallery
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable, read_scored
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.statistics import Agreement, agreement, holm

Floats = npt.NDArray[np.float64]


def make_table(references: int = 10, types: int = 4, levels: int = 3, seed: int = 0) -> ScoredTable:
    """A complete design with noisy scores, heavy in their tails."""
    rng = np.random.default_rng(seed)
    count = references * types * levels
    places = np.stack(np.unravel_index(np.arange(count), (references, types, levels)))
    opinion = 20.0 * places[2] + rng.normal(size=count) * 5
    scores = opinion + rng.standard_t(2, size=count) * 8
    names = np.array([f"{r}_{t}_{level}" for r, t, level in places.T])
    return ScoredTable({"ours": scores}, {}, opinion, places[0].astype(str), names, places[1].astype(str))


def agree(table: ScoredTable, metric: str = "ours", **arguments: Any) -> Agreement:
    return agreement({metric: table.scores[metric]}, table.opinion, resamples=0, **arguments)[0]


class TestTests:
    """The tests of outliers against inliers."""

    def test_one_stratum_is_the_mann_whitney_test(self) -> None:
        rng = np.random.default_rng(0)
        for values in (rng.normal(size=60), np.round(rng.normal(size=60))):
            flags = rng.random(60) < 0.3
            sums = RankSums.of(values, flags, np.zeros(60, dtype=np.int64))
            known = stats.mannwhitneyu(values[flags], values[~flags], use_continuity=False, method="asymptotic")
            assert sums.p == pytest.approx(known.pvalue, rel=1e-12)
            assert sums.effect == pytest.approx(known.statistic / (flags.sum() * (~flags).sum()))

    def test_the_sum_over_strata_is_what_shuffling_within_strata_gives(self) -> None:
        rng = np.random.default_rng(1)
        stratum = np.repeat(np.arange(4), [8, 15, 30, 12])
        values = np.round(rng.normal(size=65) + stratum, 1)
        flags = rng.random(65) < 0.35
        sums = RankSums.of(values, flags, stratum)
        drawn = np.array([self._shuffled(values, flags, stratum, rng) for _ in range(4000)])
        assert sums.variance == pytest.approx(drawn.var(), rel=0.08)
        assert drawn.mean() == pytest.approx(0, abs=4 * drawn.std() / np.sqrt(4000))
        observed = abs(sums.shares.sum())
        assert sums.p == pytest.approx((np.abs(drawn) >= observed - 1e-12).mean(), abs=0.03)

    @staticmethod
    def _shuffled(values: Floats, flags: npt.NDArray[np.bool_], stratum: Any, rng: np.random.Generator) -> float:
        """Van Elteren's statistic, written out, with flags shuffled within strata."""
        total = 0.0
        for one in range(4):
            inside, shuffled = values[stratum == one], rng.permutation(flags[stratum == one])
            ranks = stats.rankdata(inside)
            total += (ranks[shuffled].sum() - shuffled.sum() * (len(inside) + 1) / 2) / (len(inside) + 1)
        return total

    def test_the_stratified_effect_counts_pairs_within_types(self) -> None:
        table = make_table()
        found = agree(table)
        flags = found.outliers.outlying
        values = np.round(np.random.default_rng(2).normal(size=len(flags)), 1)
        test = outlier_finding(found, table, {("x", "reference"): values}).stratified[0]
        assert table.type is not None
        wins, pairs = 0.0, 0
        for one in set(table.type):
            for outlier in values[flags & (table.type == one)]:
                for inlier in values[~flags & (table.type == one)]:
                    wins, pairs = wins + (outlier > inlier) + (outlier == inlier) / 2, pairs + 1
        assert test.effect == pytest.approx(wins / pairs)

    def test_a_difference_between_types_only_is_gone_within_them(self) -> None:
        """The confound that stratifying is for: noisy images are outliers, and hold high frequencies."""
        rng = np.random.default_rng(3)
        stratum = np.repeat([0, 1], 200)
        flags = rng.random(400) < np.where(stratum == 1, 0.4, 0.05)
        values = 3.0 * stratum + rng.normal(size=400)
        pooled, within = (RankSums.of(values, flags, one) for one in (np.zeros(400, dtype=np.int64), stratum))
        assert pooled.effect > 0.75
        assert pooled.p < 1e-8
        assert abs(within.effect - 0.5) < 0.1
        assert within.p > 0.05

    def test_clustering_holds_its_level_where_images_of_a_reference_go_together(self) -> None:
        """Outliers share references, and a feature of references has no relation to them: p cries wolf."""
        rng = np.random.default_rng(4)
        reference = np.repeat(np.arange(25), 24)
        stratum = np.tile(np.arange(8), 75)
        naive, clustered = [], []
        for _ in range(300):
            flags = rng.random(600) < np.repeat(rng.beta(0.5, 6, size=25), 24)
            sums = RankSums.of(rng.normal(size=25)[reference], flags, stratum)
            naive.append(sums.p < 0.05)
            clustered.append(sums.p_clustered(reference.astype(str)) < 0.05)
        assert np.mean(naive) > 0.15
        assert np.mean(clustered) < 0.09

    def test_clustering_finds_what_is_there(self) -> None:
        rng = np.random.default_rng(5)
        reference = np.repeat(np.arange(25), 24)
        values = rng.normal(size=25)[reference]
        flags = rng.random(600) < 1 / (1 + np.exp(3 - 1.5 * values))
        sums = RankSums.of(values, flags, np.tile(np.arange(8), 75))
        assert sums.effect > 0.6
        assert sums.p_clustered(reference.astype(str)) < 0.01

    @settings(max_examples=40)
    @given(st.integers(0, 10_000))
    def test_turning_a_feature_around_turns_the_effect_and_keeps_p(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        values, flags = np.round(rng.normal(size=40), 1), rng.random(40) < 0.4
        stratum, cluster = rng.integers(3, size=40), rng.integers(6, size=40).astype(str)
        one, other = (RankSums.of(v, flags, stratum) for v in (values, -values))
        grown = RankSums.of(np.exp(values), flags, stratum)
        assert one.effect == pytest.approx(1 - other.effect, nan_ok=True)
        assert grown.effect == pytest.approx(one.effect, nan_ok=True)
        for change in (other, grown):
            assert change.p == pytest.approx(one.p, nan_ok=True)
            assert change.p_clustered(cluster) == pytest.approx(one.p_clustered(cluster), nan_ok=True)

    def test_all_tests_are_corrected_together(self) -> None:
        table = make_table()
        rng = np.random.default_rng(6)
        features = {(name, side): rng.normal(size=120) for name in "ab" for side in ("reference", "distorted")}
        found = outlier_finding(agree(table), table, features)
        tests = [*found.pooled, *found.stratified]
        assert len(tests) == 8
        np.testing.assert_allclose([one.p_holm for one in tests], holm([one.p for one in tests]))
        np.testing.assert_allclose([one.p_clustered_holm for one in tests], holm([one.p_clustered for one in tests]))

    def test_what_cannot_be_told_is_nan(self) -> None:
        table = make_table()
        found = agree(table)
        constant = outlier_finding(found, table, {("x", "reference"): np.ones(120)})
        none = agree(table, std=1e6)
        without = outlier_finding(none, table, {("x", "reference"): np.arange(120.0)})
        assert without.count == 0
        assert without.pooled[0].outliers == 0
        for test in (*constant.pooled, *constant.stratified, *without.pooled, *without.stratified):
            assert np.isnan([test.effect, test.p, test.p_holm, test.p_clustered]).all()


class TestFinding:
    """What is counted and shown."""

    @pytest.mark.parametrize("better", [True, False])
    def test_the_worst_come_first_in_the_opinions_units(self, better: bool) -> None:
        table = make_table()
        one = agree(table, scores_higher_is_better=better, opinion_higher_is_better=better)
        found = outlier_finding(one, table, worst=5)
        assert [case.row for case in found.worst] == np.argsort(-np.abs(one.outliers.z), kind="stable")[:5].tolist()
        for case in found.worst:
            error = case.opinion - case.predicted
            assert abs(error) == pytest.approx(abs(case.z) * one.rmse)
            assert (error > 0) == ((case.z > 0) == better)
            assert case.opinion == table.opinion[case.row]
            assert case.dist == table.image[case.row]
        assert len(outlier_finding(one, table, worst=0).worst) == 0

    def test_types_are_counted(self) -> None:
        table = make_table()
        one = agree(table)
        found = outlier_finding(one, table)
        assert {name: total for name, (_, total) in found.by_type.items()} == dict.fromkeys("0123", 30)
        assert sum(count for count, _ in found.by_type.values()) == found.count == one.outliers.outlying.sum()
        untyped = ScoredTable(table.scores, {}, table.opinion, table.reference, table.image, None)
        without = outlier_finding(one, untyped, {("x", "reference"): table.opinion})
        assert without.by_type == {}
        assert without.stratified == ()
        assert without.worst[0].type == ""
        assert len(without.pooled) == 1

    def test_bad_input_is_named(self) -> None:
        table = make_table()
        one = agree(table)
        bad = np.where(np.arange(120) == 7, np.nan, 1.0)
        with pytest.raises(ValueError, match="got nan at row 7"):
            outlier_finding(one, table, {("x", "reference"): bad})
        with pytest.raises(ValueError, match=re.escape("120 values")):
            outlier_finding(one, table, {("x", "reference"): np.ones(119)})
        with pytest.raises(ValueError, match="worst"):
            outlier_finding(one, table, worst=-1)
        with pytest.raises(ValueError, match="other opinions"):
            outlier_finding(one, make_table(seed=1))
        constant = agreement({"flat": np.ones(120)}, table.opinion, resamples=0)[0]
        with pytest.raises(ValueError, match="'flat' has no fit and so no outliers: it is constant"):
            outlier_finding(constant, table)

    def test_dino_on_tid2013_misjudges_local_blocks(self) -> None:
        path = needs(ASSETS / "published" / "zsiqa_tid2013.csv.gz")
        table = read_scored(path, "mos", type_from=r"_(\d\d)_", metrics=["dinov1_l2"])
        one = agree(table, "dinov1_l2", scores_higher_is_better=False, opinion_higher_is_better=False)
        found = outlier_finding(one, table)
        shares = {name: count / total for name, (count, total) in found.by_type.items()}
        assert len(shares) == 24
        assert all(total == 125 for _, total in found.by_type.values())
        assert found.count / found.n == pytest.approx(0.054, abs=0.002)
        assert max(shares, key=lambda name: shares[name]) == "15"
        assert shares["15"] == pytest.approx(0.58, abs=0.02)
        blocks = [case for case in found.worst if case.type == "15"]
        assert blocks
        assert all(case.z < 0 for case in blocks)

    def test_dino_misjudges_detailed_references_of_tid2013_more_often_type_by_type(self) -> None:
        """24 of the 25 references are cut from Kodak's images; where, hardly matters to how detailed they are."""
        folder = needs(ASSETS / "images" / "kodak")
        table = read_scored(
            needs(ASSETS / "published" / "zsiqa_tid2013.csv.gz"), "mos", type_from=r"_(\d\d)_", metrics=["dinov1_l2"]
        )
        number = np.array([int(name[1:3]) for name in table.reference])
        keep = number < 25
        assert table.type is not None
        natural = ScoredTable(
            {"dinov1_l2": table.scores["dinov1_l2"][keep]},
            {},
            table.opinion[keep],
            table.reference[keep],
            table.image[keep],
            table.type[keep],
        )
        detail = {}
        for one in range(1, 25):
            image = read_image(folder / f"kodim{one:02d}.png")
            top, left = (image.shape[1] - 384) // 2, (image.shape[2] - 512) // 2
            cut = image[:, top : top + 384, left : left + 512].float() / 255
            detail[one] = image_features(cut, cut)["spatial information", "reference"]
        values = np.array([detail[one] for one in number[keep]])
        judged = agree(natural, "dinov1_l2", scores_higher_is_better=False, opinion_higher_is_better=False)
        within = outlier_finding(judged, natural, {("spatial information", "reference"): values}).stratified[0]
        assert within.effect > 0.6
        assert within.p < within.p_clustered < 0.05


def board(side: int = 64, square: int = 1) -> Tensor:
    """A chessboard ``(3, side, side)``."""
    steps = torch.arange(side) // square
    return ((steps[:, None] + steps[None, :]) % 2).float().expand(3, -1, -1).contiguous()


def kodak() -> Tensor:
    return read_image(needs(ASSETS / "images" / "kodak" / "kodim04.png"))[:, 100:356, 100:356].float() / 255


class TestFeatures:
    """What images hold."""

    def test_a_flat_image_holds_nothing(self) -> None:
        found = image_features(torch.full((3, 32, 40), 0.3), torch.full((3, 32, 40), 0.7))
        assert found == {key: pytest.approx(0, abs=1e-9) for key in found}
        assert len(found) == 10

    def test_high_frequencies_of_known_images(self) -> None:
        columns = torch.arange(64)
        waves = {
            cycles: (0.5 + 0.4 * torch.sin(2 * torch.pi * cycles * columns)).expand(3, 64, 64)
            for cycles in (0.05, 0.15, 0.35, 0.45)
        }
        share = {c: image_features(w, w)["high-frequency energy", "reference"] for c, w in waves.items()}
        assert share[0.05] < 1e-6
        assert share[0.15] < 1e-3
        assert share[0.35] > 0.999
        assert share[0.45] > 0.999
        ramp = torch.linspace(0, 1, 64).expand(3, 64, 64)
        found = image_features(board(), ramp)
        assert found["high-frequency energy", "reference"] > 0.999
        assert found["high-frequency energy", "distorted"] < 1e-3

    def test_white_noise_spreads_its_power_evenly(self) -> None:
        noise = torch.rand(3, 256, 256, generator=torch.Generator().manual_seed(0))
        share = image_features(noise, noise)["high-frequency energy", "reference"]
        assert share == pytest.approx(1 - np.pi * 0.25**2, abs=0.01)

    def test_coarser_squares_hold_less_high_frequency(self) -> None:
        shares = [image_features(board(64, n), board())["high-frequency energy", "reference"] for n in (1, 2, 8, 16)]
        assert shares == sorted(shares, reverse=True)
        assert shares[-1] < 0.1

    def test_spatial_information_and_the_laplacian_agree_with_scipy(self) -> None:
        image = kodak()
        grey = 255 * np.einsum("c,chw->hw", [0.299, 0.587, 0.114], image.double().numpy())
        gradient = np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1))[1:-1, 1:-1]
        kernel = np.array([[1, 1, 1], [1, -8, 1], [1, 1, 1]]) / 16
        found = image_features(image, image)
        assert found["spatial information", "reference"] == pytest.approx(gradient.std(), rel=1e-6)
        laplacian = ndimage.convolve(grey, kernel, mode="mirror")
        assert found["Laplacian variance", "reference"] == pytest.approx(laplacian.var(), rel=1e-6)

    def test_colourfulness_of_known_images(self) -> None:
        """Half red, half green: rg = +-255, yb = 127.5, so that M = 255 + 0.3 * 127.5."""
        image = torch.zeros(3, 16, 16)
        image[0, :, :8] = image[1, :, 8:] = 1
        found = image_features(image, image.mean(0).expand(3, -1, -1))
        assert found["colourfulness", "reference"] == pytest.approx(255 + 0.3 * 127.5)
        assert found["colourfulness", "distorted"] == pytest.approx(0, abs=1e-5)

    def test_contrast_scales_what_has_a_unit_and_nothing_else(self) -> None:
        image = kodak()
        faded = 0.5 * image
        found = image_features(image, faded)
        assert found["high-frequency energy", "distorted"] == pytest.approx(
            found["high-frequency energy", "reference"], rel=1e-5
        )
        for feature, power in (("Laplacian variance", 2), ("spatial information", 1), ("colourfulness", 1)):
            ratio = found[feature, "distorted"] / found[feature, "reference"]
            assert ratio == pytest.approx(0.5**power, rel=1e-5)

    def test_blur_takes_high_frequencies_and_noise_brings_them(self) -> None:
        from kornia.filters import gaussian_blur2d

        image = kodak()
        blurred = gaussian_blur2d(image[None], (11, 11), (1.5, 1.5))[0]
        noisy = (image + 0.05 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
        blur, noise = image_features(image, blurred), image_features(image, noisy)
        for feature in ("high-frequency energy", "Laplacian variance"):
            assert blur[feature, "distorted"] < blur[feature, "reference"] < noise[feature, "distorted"]
            assert noise[feature, "difference"] > blur[feature, "difference"]

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 10_000), st.integers(8, 40), st.integers(8, 40))
    def test_features_are_finite_and_the_same_turned_around(self, seed: int, height: int, width: int) -> None:
        image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))
        turned = image_features(image.flip(1), image.transpose(1, 2).flip(2).transpose(1, 2))
        found = image_features(image, image)
        for (feature, side), value in found.items():
            assert np.isfinite(value)
            assert value >= 0
            assert turned[feature, side] == pytest.approx(value, rel=1e-6, abs=1e-9) or side == "difference"
        assert 0 <= found["high-frequency energy", "reference"] <= 1

    def test_images_that_are_too_small_are_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 8 x 8"):
            image_features(torch.zeros(3, 7, 16), torch.zeros(3, 7, 16))


def finding(*dists: str) -> OutlierFinding:
    cases = tuple(WorstCase(row, "ref.png", dist, "", 1.0, 2.0, 3.0 - row) for row, dist in enumerate(dists))
    return OutlierFinding("ours", "", len(cases), 100, {}, (), (), cases)


class TestGallery:
    """Pictures of the worst."""

    def test_pictures_are_shrunk_and_small_ones_kept(self) -> None:
        def load(case: WorstCase) -> tuple[Tensor, Tensor]:
            side = 200 if case.dist == "large" else 40
            reference = (board(side, 1) * 255).to(torch.uint8)[:, : side // 2]
            return reference, torch.full_like(reference, 90)

        large, small = gallery(finding("large", "small"), load, None, width=50)
        assert [item.case.dist for item in (large, small)] == ["large", "small"]
        assert large.reference.shape == (25, 50, 3)
        assert small.reference.shape == (20, 40, 3)
        assert large.reference.dtype == np.uint8
        assert large.heat is None
        # A chessboard of single pixels is grey from afar; without antialiasing it would be black or white.
        assert (np.abs(large.reference.astype(int) - 127.5) < 15).all()
        assert set(np.unique(small.reference)) == {0, 255}
        assert (large.distorted == 90).all()

    def test_the_heat_is_the_metrics_map_of_preds_against_target(self) -> None:
        comparator = FeatureComparator(Recipe(**RANDOM_VIT))
        generator = torch.Generator().manual_seed(0)
        target = torch.randint(0, 256, (3, 64, 96), generator=generator, dtype=torch.uint8)
        preds = target.clone()
        preds[:, 32:, 48:] = 255 - preds[:, 32:, 48:]
        seen: list[Tensor] = []

        def heat(*pair: Tensor) -> Tensor:
            seen.extend(pair)
            return comparator.maps(*pair)["cosine"]["score"]

        (item,) = gallery(finding("a"), lambda case: (target, preds), heat, width=48)
        torch.testing.assert_close(seen[0], preds[None] / 255)
        assert item.heat is not None
        assert item.heat.shape == (32, 48)
        assert item.heat.dtype == np.float32
        full = comparator.maps(preds[None] / 255, target[None] / 255)["cosine"]["score"]
        assert item.heat.mean() == pytest.approx(float(full.mean()), rel=0.02)
        assert item.heat[16:, 24:].mean() > 2 * item.heat[:16, :24].mean()
