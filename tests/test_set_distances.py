"""Distances between sets: against torchmetrics, closed forms, in any order and batches, saved, and over ranks."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance
from torchmetrics_fmiqa.callbacks.metric_arguments import ranking_metric

from tests.conftest import RANDOM_VIT, SQUEEZENET, make_pair, needs
from tests.processes import SHARDS, Outcome, pair_at
from tests.simulated_ranks import ranks
from torchmetrics_fmiqa import (
    FeatureComparator,
    FeatureDistance,
    FeatureMetricCollection,
    FrechetFeatureDistance,
    KernelFeatureDistance,
    MeanFrechetRatio,
    QualityMonitor,
    Recipe,
)
from torchmetrics_fmiqa.comparator.one_side import pooled_features
from torchmetrics_fmiqa.comparator.pooled_features import PooledRequest
from torchmetrics_fmiqa.distances.frechet import Moments, frechet_distance, moments
from torchmetrics_fmiqa.distances.kernel import Kernel
from torchmetrics_fmiqa.distances.set_figures import FOLDS, fold_of, frechet_figure, kernel_figure
from torchmetrics_fmiqa.features.network import load_network
from torchmetrics_fmiqa.metrics.frechet_feature_distance import join_packed, pack, unpack

METRICS = {"frechet": FrechetFeatureDistance, "kernel": KernelFeatureDistance}
both = pytest.mark.parametrize("metric_type", METRICS.values(), ids=METRICS)
pytestmark = pytest.mark.filterwarnings("ignore:figures of .* images:UserWarning")


@pytest.fixture(scope="module", autouse=True)
def network() -> Any:
    return load_network(RANDOM_VIT["backbone"], RANDOM_VIT["weights"])


class Features(nn.Module):
    """What torchmetrics takes for a network: it hands features through."""

    num_features = 6

    def forward(self, images: Tensor) -> Tensor:
        return images


def drawn(count: int, channels: int = 6, seed: int = 0, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    return torch.randn(count, channels, generator=generator, dtype=torch.float64) @ mix + shift


def whole(features: Tensor) -> Moments:
    return moments(features).joined()


# The arithmetic, on features


def test_frechet_is_that_of_torchmetrics() -> None:
    preds, target = drawn(50), drawn(80, seed=1, shift=0.5)
    oracle = FrechetInceptionDistance(Features()).set_dtype(torch.float64)
    oracle.update(target, real=True)
    oracle.update(preds, real=False)
    torch.testing.assert_close(frechet_distance(whole(preds), whole(target)), oracle.compute(), rtol=1e-6, atol=0)


def test_the_polynomial_kernel_is_that_of_torchmetrics() -> None:
    preds, target = drawn(40), drawn(40, seed=1, shift=0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = KernelInceptionDistance(Features(), subsets=1, subset_size=40)
    oracle.update(target, real=True)
    oracle.update(preds, real=False)
    found = kernel_figure(preds, target, Kernel("polynomial"))
    assert found.value == pytest.approx(float(oracle.compute()[0]), rel=1e-6)


def test_cmmd_is_the_published_formula() -> None:
    # Jayasumana et al.: sigma 10, scale 1000, embeddings of length 1, each image counted with itself.
    preds, target = (nn.functional.normalize(drawn(30, seed=seed)) for seed in range(2))

    def mean_kernel(one: Tensor, other: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(one, other).square() / (2 * 10**2)).mean()

    published = mean_kernel(preds, preds) + mean_kernel(target, target) - 2 * mean_kernel(preds, target)
    assert kernel_figure(preds, target, Kernel("rbf", 10.0), unbiased=False).value == pytest.approx(
        float(published), rel=1e-9
    )


def test_frechet_of_known_gaussians() -> None:
    # Of covariances with the same axes it is the sum of (s1 - s2)^2 over them.
    first, second = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 1.0, 0.25]).double()
    axes = torch.linalg.qr(drawn(3, 3))[0]
    shift = torch.tensor([1.0, 2.0, 3.0]).double()

    def gaussian(variances: Tensor, mean: Tensor) -> Moments:
        return Moments(torch.tensor(11.0).double(), mean, 10 * axes @ variances.diag() @ axes.T)

    expected = float((first.sqrt() - second.sqrt()).square().sum() + shift.square().sum())
    found = frechet_distance(gaussian(first, torch.zeros(3).double()), gaussian(second, shift))
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_frechet_of_gaussians_without_common_axes() -> None:
    # By the root of a symmetric matrix, which this was not computed with.
    one, other = (values.T @ values for values in (drawn(20, seed=2), drawn(30, seed=3)))
    values, vectors = torch.linalg.eigh(one)
    root = vectors @ values.sqrt().diag() @ vectors.T
    inner = torch.linalg.eigvalsh(root @ other @ root).sqrt().sum()
    zero, count = torch.zeros(6).double(), torch.tensor(2.0).double()
    found = frechet_distance(Moments(count, zero, one), Moments(count, zero, other))
    assert float(found) == pytest.approx(float(one.trace() + other.trace() - 2 * inner), rel=1e-9)


def test_the_rbf_kernel_of_known_gaussians() -> None:
    # E k(x, y) = (s² / (s² + a² + b²))^(C/2) exp(-|m|² / (2 (s² + a² + b²))) for x ~ N(0, a² I), y ~ N(m, b² I).
    channels, width, spread, shift = 3, 2.0, 1.5, 0.8

    def expected(a: float, b: float, gap: float) -> float:
        total = width**2 + a**2 + b**2
        return (width**2 / total) ** (channels / 2) * math.exp(-channels * gap**2 / (2 * total))

    truth = expected(1, 1, 0) + expected(spread, spread, 0) - 2 * expected(1, spread, shift)
    normal = torch.randn(2, 1500, channels, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = kernel_figure(normal[0], spread * normal[1] + shift, Kernel("rbf", width))
    assert found.low < truth < found.high
    assert found.value == pytest.approx(truth, rel=0.1)


def test_fewer_images_than_channels() -> None:
    # From the features themselves: the trace of the root is a sum of singular values of their products.
    preds, target = drawn(5, 40), drawn(9, 40, seed=1)
    centred = [one - one.mean(0) for one in (preds, target)]
    nuclear = torch.linalg.svdvals(centred[0] @ centred[1].T).sum() / math.sqrt(4 * 8)
    traces = sum(one.square().sum() / (len(one) - 1) for one in centred)
    expected = (preds.mean(0) - target.mean(0)).square().sum() + traces - 2 * nuclear
    assert float(frechet_distance(whole(preds), whole(target))) == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("count", [2, 5, 100])
def test_equal_sets_are_0(count: int) -> None:
    features = drawn(count, 20, shift=1000.0)
    size = float(features.square().sum())
    assert float(frechet_distance(whole(features), whole(features.flip(0)))) < 1e-12 * size
    assert kernel_figure(features, features, Kernel(), unbiased=False).value == pytest.approx(
        0.0, abs=1e-9 * float(Kernel()(features, features).max())
    )


def test_constant_features_are_0_apart_from_their_means() -> None:
    ones = torch.ones(4, 3)
    assert float(frechet_distance(whole(ones), whole(ones + 2))) == pytest.approx(12.0)


def test_large_means_cost_no_digits() -> None:
    features = drawn(200)
    moved = [whole(features + 1e6), whole(2 * features + 1e6)]
    own = [whole(features), whole(2 * features)]
    assert float(frechet_distance(*moved)) == pytest.approx(float(frechet_distance(*own)), rel=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_moments_hang_on_no_order_and_no_batches(sizes: list[int], random: Any) -> None:
    features = drawn(sum(sizes), shift=100.0)
    order = list(range(len(features)))
    random.shuffle(order)
    packed = pack(moments(features[:0]))
    for batch in features[order].split(sizes):
        packed = join_packed(torch.stack([packed, pack(moments(batch))]))
    for found, expected in zip(unpack(packed).joined(), whole(features), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_the_bias_of_few_images_is_extrapolated_away() -> None:
    # The truth is 0: both sides are of one distribution. 40 sets, so that their mean tells.
    figures = []
    for seed in range(40):
        sides = torch.randn(2, 60, 6, generator=torch.Generator().manual_seed(seed))
        figures.append(frechet_figure(*(moments(side, fold_of(60), FOLDS) for side in sides)))
    value = sum(one.value for one in figures) / 40
    extrapolated = sum(one.extrapolated for one in figures) / 40
    assert value > 0.3
    assert abs(extrapolated) < value / 5
    assert sum(one.low <= 0 for one in figures) >= 34
    assert all(0 <= one.low <= one.high for one in figures)


def test_nothing_is_extrapolated_from_too_few_images() -> None:
    sides = [moments(drawn(25, 13, seed=seed), fold_of(25), FOLDS) for seed in range(2)]
    figure = frechet_figure(*sides)
    assert figure.value > 0
    assert math.isnan(figure.extrapolated)
    assert math.isnan(figure.low)


def test_the_kernel_estimate_is_not_too_high_and_its_interval_holds_the_truth() -> None:
    sides = torch.randn(60, 2, 40, 4, generator=torch.Generator().manual_seed(0))
    figures = [kernel_figure(*pair, Kernel("rbf", 2.0)) for pair in sides]
    mean = sum(one.value for one in figures) / 60
    error = math.sqrt(sum(one.value**2 for one in figures)) / 60
    assert abs(mean) < 3 * error
    assert sum(one.low <= 0 <= one.high for one in figures) >= 53


def test_leaving_a_fold_out_is_what_it_says() -> None:
    from torchmetrics_fmiqa.distances.kernel import kernel_sums

    preds, target = drawn(23), drawn(31, seed=1)
    folds = fold_of(23), fold_of(31)
    without = kernel_sums(preds, target, Kernel("rbf", 3.0), folds, FOLDS).mmd_without()
    for fold in (0, 2, 9):
        rest = kernel_figure(preds[folds[0] != fold], target[folds[1] != fold], Kernel("rbf", 3.0), interval=False)
        assert float(without[fold]) == pytest.approx(rest.value, rel=1e-9)


# The metrics, on images


def features_of(images: Tensor, **fields: Any) -> Tensor:
    request = PooledRequest(Recipe(**{**RANDOM_VIT, **fields}))
    return pooled_features(FeatureComparator(request), images)[0]


@pytest.mark.parametrize("size", [(32, 32), (40, 300), (230, 240)])
def test_pairs_and_single_sides_give_the_same_features(size: tuple[int, int]) -> None:
    preds, target = make_pair(2, *size)
    request = PooledRequest(Recipe(**RANDOM_VIT), pool="cls", unit=True)
    comparator = FeatureComparator([Recipe(**RANDOM_VIT), request])
    found = comparator(preds, target)[1]
    torch.testing.assert_close(pooled_features(comparator, preds)[0], found.preds, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(pooled_features(comparator, target, "target")[0], found.target, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.preds.norm(dim=1), torch.ones(2))


@pytest.mark.slow
def test_large_images_in_pieces_give_the_same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchmetrics_fmiqa.comparator.piecewise.BUDGET", 1)
    images = make_pair(1, 736, 704)[0]
    comparator = FeatureComparator(PooledRequest(Recipe("fmiqa/embedded")))
    assert comparator.pieces(comparator.preprocess.plan(images), images) is not None
    in_pieces = pooled_features(comparator, images)[0]
    monkeypatch.undo()
    torch.testing.assert_close(in_pieces, pooled_features(comparator, images)[0], rtol=1e-3, atol=1e-3)


def test_the_mean_is_over_the_patches_of_the_last_tap() -> None:
    images = make_pair(2, 224, 224)[0]
    comparator = FeatureComparator(Recipe(**RANDOM_VIT))
    tokens = comparator.backbone((images - 0.5) / 0.5)[-1]
    torch.testing.assert_close(features_of(images), tokens.values[:, 1:].mean(1), rtol=1e-4, atol=1e-5)


def test_images_of_several_sizes_come_in_a_list() -> None:
    images = [make_pair(1, height, 32, seed=height)[0][0] for height in (32, 48, 32)]
    comparator = FeatureComparator(PooledRequest(Recipe(**RANDOM_VIT)))
    (found,) = pooled_features(comparator, images)
    for image, vector in zip(images, found, strict=True):
        torch.testing.assert_close(pooled_features(comparator, image[None])[0][0], vector, rtol=1e-4, atol=1e-6)


@both
def test_pairs_sides_and_torchmetrics_words_are_one(metric_type: Any) -> None:
    preds, target = make_pair(5, 32, 32)
    pairs, sides, words = (metric_type(**RANDOM_VIT) for _ in range(3))
    pairs.update(preds, target)
    sides.update(target[:3], real=True)
    sides.update(preds, real=False)
    sides.update(target[3:], real=True)
    words.update(preds, False)
    words.update(target, True)
    torch.testing.assert_close(sides.compute(), pairs.compute(), rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(words.compute(), pairs.compute(), rtol=1e-3, atol=1e-7)


@both
def test_the_sides_need_not_be_equally_large(metric_type: Any) -> None:
    metric = metric_type(**RANDOM_VIT)
    metric.update(make_pair(3, 32, 32)[0], real=False)
    assert math.isnan(metric.compute())
    metric.update(make_pair(7, 48, 32, seed=1)[1], real=True)
    assert math.isfinite(metric.compute())


@both
def test_it_is_clear_whose_images_they_are(metric_type: Any) -> None:
    metric, (preds, target) = metric_type(**RANDOM_VIT), make_pair(2, 32, 32)
    with pytest.raises(ValueError, match="whose images are these"):
        metric.update(preds)
    with pytest.raises(ValueError, match="not both"):
        metric.update(preds, target, real=True)
    with pytest.raises(ValueError, match=r"`target` spans .* data_range"):
        metric.update(255 * target, real=True)
    with pytest.raises(ValueError, match=r"`preds` spans"):
        metric.update(255 * preds, real=False)
    with pytest.raises(ValueError, match=r"`target` must be \(N, 3, H, W\)"):
        metric.update(target[0], real=True)
    metric.update(preds * 1.3 - 0.1, real=False)  # the output of a network leaves its range a little
    with pytest.raises(ValueError, match=r"`target` spans"):
        metric.update(target * 1.3, real=True)


@both
def test_the_contract_of_a_metric(metric_type: Any) -> None:
    preds, target = make_pair(6, 32, 32)
    metric = metric_type(**RANDOM_VIT)
    assert not list(metric.parameters())
    assert not metric.state_dict()
    assert metric.higher_is_better is False
    of_batch = metric(preds[:3], target[:3])
    metric.update(preds[3:], target[3:])
    once, first = metric_type(**RANDOM_VIT), metric_type(**RANDOM_VIT)
    once.update(preds, target)
    first.update(preds[:3], target[:3])
    torch.testing.assert_close(metric.compute(), once.compute(), rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(of_batch, first.compute())
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.clone()):
        torch.testing.assert_close(other.compute(), metric.compute())
    second = metric_type(**RANDOM_VIT)
    second.update(preds[3:], target[3:])
    first.merge_state(second)
    torch.testing.assert_close(first.compute(), once.compute(), rtol=1e-4, atol=1e-8)
    with pytest.raises(ValueError, match="measure differently"):
        first.merge_state(metric_type(**RANDOM_VIT, tap=0))
    metric.half().reset()
    assert math.isnan(metric.compute())


@both
def test_predictions_that_are_not_finite(metric_type: Any) -> None:
    preds, target = make_pair(4, 32, 32)
    preds[1] = torch.nan
    with pytest.raises(ValueError, match="`preds` holds NaN"):
        metric_type(**RANDOM_VIT).update(preds, real=False)
    metric, fewer = metric_type(**RANDOM_VIT, nan_strategy="ignore"), metric_type(**RANDOM_VIT)
    for one in (metric, fewer):
        one.update(target, real=True)
    metric.update(preds, real=False)
    metric.update(preds[1:2], real=False)
    fewer.update(preds[[0, 2, 3]], real=False)
    torch.testing.assert_close(metric.compute(), fewer.compute())


def test_a_collection_runs_the_network_once(forwarded: list[int]) -> None:
    metrics = FeatureMetricCollection(
        {
            "distance": FeatureDistance(**RANDOM_VIT, pooling="information"),
            "frechet": FrechetFeatureDistance(**RANDOM_VIT, pooling="information"),
            "kernel": KernelFeatureDistance(**RANDOM_VIT, pooling="information", tap=0, pool="cls"),
        }
    )
    preds, target = make_pair(4, 32, 32)
    alone = FrechetFeatureDistance(**RANDOM_VIT)
    forwarded.clear()
    metrics.update(preds, target, mask=torch.ones(4, 1, 32, 32))
    assert forwarded == [8]
    alone.update(preds, target)
    torch.testing.assert_close(metrics.compute()["frechet"], alone.compute(), rtol=1e-3, atol=1e-8)


def test_a_plain_collection_keeps_members_apart() -> None:
    metrics = MetricCollection(
        {name: FrechetFeatureDistance(**RANDOM_VIT, pool=name) for name in ("mean", "cls")}, compute_groups=True
    )
    for seed in range(2):
        metrics.update(*make_pair(3, 32, 32, seed=seed))
    found = metrics.compute()
    assert found["mean"] != found["cls"]


@both
def test_few_images_are_warned_of_with_their_number(metric_type: Any) -> None:
    metric = metric_type(**RANDOM_VIT)
    metric.update(*make_pair(3, 32, 32))
    with pytest.warns(UserWarning, match="figures of 3 images a side are mostly noise: from 2,000 on"):
        metric.compute()


def test_an_interval_comes_in_a_dict() -> None:
    preds, target = make_pair(30, 16, 16)
    options = {"backbone": "fmiqa/embedded", "tap": 0, "interval": True}
    frechet, kernel = FrechetFeatureDistance(**options), KernelFeatureDistance(**options)
    plain = FrechetFeatureDistance("embedded", tap=0)
    for metric in (frechet, kernel, plain):
        metric.update(preds, target)
    found = frechet.compute()
    assert list(found) == ["value", "extrapolated", "low", "high"]
    torch.testing.assert_close(found["value"], plain.compute(), rtol=1e-6, atol=0)
    found = kernel.compute()
    assert list(found) == ["value", "low", "high"]
    assert found["low"] < found["value"] < found["high"]


def test_batches_fill_the_folds_in_turn_by_forward_as_by_update() -> None:
    preds, target = make_pair(30, 16, 16)
    options = {"backbone": "fmiqa/embedded", "tap": 0, "interval": True}
    updated, forwarded = FrechetFeatureDistance(**options), FrechetFeatureDistance(**options)
    for batch in range(0, 30, 4):
        updated.update(preds[batch : batch + 4], target[batch : batch + 4])
        forwarded(preds[batch : batch + 4], target[batch : batch + 4])
    for side in ("preds", "target"):
        assert forwarded._moments(side).size.tolist() == [3.0] * FOLDS
    torch.testing.assert_close(forwarded.compute(), updated.compute(), equal_nan=True)


def test_options_that_do_not_exist_are_errors() -> None:
    for options, match in (
        ({"pool": "max"}, "`pool` must be one of mean, cls"),
        ({"tap": 99}, "out of range"),
        ({"kernel": "linear"}, "`kernel` must be one of"),
        ({"kernel": "rbf", "sigma": 0}, "`sigma` must be"),
        ({"scale": -1.0}, "`scale` must be"),
        ({"unbiased": False, "interval": True}, "unbiased estimate"),
    ):
        with pytest.raises(ValueError, match=match):
            KernelFeatureDistance(**RANDOM_VIT, **options)
    with pytest.raises(ValueError, match="read by the fmiqa protocol"):
        FrechetFeatureDistance(Recipe.zsiqa("vit_tiny_patch16_224", weights="random:0"))
    metric = FrechetFeatureDistance("embedded", pool="cls")
    with pytest.raises(ValueError, match="no CLS token"):
        metric.update(*make_pair(2, 32, 32))


def test_a_monitor_ranks_images_by_others() -> None:
    members = {"frechet": FrechetFeatureDistance(**RANDOM_VIT), "distance": FeatureDistance(**RANDOM_VIT)}
    assert ranking_metric(members, None, needed=True) == "distance"
    with pytest.raises(ValueError, match="scores no image"):
        ranking_metric(members, "frechet", needed=True)


def test_a_monitor_measures_sets_beside_samples_with_ids() -> None:
    preds, target = make_pair(6, 32, 32)
    monitor = QualityMonitor(
        {"frechet": FrechetFeatureDistance(**RANDOM_VIT), "distance": FeatureDistance(**RANDOM_VIT)}
    )
    for places in ([0, 1, 2], [2, 3], [4, 5, 0]):
        monitor.step(preds[places], target[places], ids=places)
    report = monitor.report()
    alone = FrechetFeatureDistance(**RANDOM_VIT)
    alone.update(preds, target)
    assert report.numbers["frechet"] == pytest.approx(float(alone.compute()), rel=1e-4)
    assert set(report.scores) == {"distance"}


def test_a_monitor_says_that_sets_count_the_samples_of_several_ranks_again() -> None:
    def work(rank: int) -> float:
        preds, target = make_pair(4, 32, 32)
        monitor = QualityMonitor(
            {"frechet": FrechetFeatureDistance(**RANDOM_VIT), "distance": FeatureDistance(**RANDOM_VIT)}
        )
        places = ([0, 1, 2], [0, 3])[rank]
        monitor.step(preds[places], target[places], ids=places)
        return monitor.report().samples

    with ranks(2) as run, pytest.warns(UserWarning, match="frechet: distances between sets count 1 samples again"):
        assert run(work) == [4, 4]


# Saved references


@both
@pytest.mark.parametrize("interval", [False, True])
def test_saved_references_are_those_that_were_seen(metric_type: Any, interval: bool, tmp_path: Path) -> None:
    preds, target = make_pair(24, 16, 16)
    options = {"recipe": "embedded", "tap": 0, "interval": interval}
    seen = metric_type(**options)
    seen.update(target, real=True)
    path = tmp_path / "target.safetensors"
    seen.save_reference(path)
    seen.update(preds, real=False)
    saved = metric_type(**options, reference=path)
    saved.update(preds)
    torch.testing.assert_close(saved.compute(), seen.compute(), rtol=1e-6, atol=0, equal_nan=True)
    again = pickle.loads(pickle.dumps(saved))
    torch.testing.assert_close(again.compute(), seen.compute(), rtol=1e-6, atol=0, equal_nan=True)
    with pytest.raises(ValueError, match="the references are those of"):
        saved.update(preds, target)


@both
def test_saved_references_refuse_what_they_were_not_made_for(metric_type: Any, tmp_path: Path) -> None:
    path = tmp_path / "target.safetensors"
    metric = metric_type(**RANDOM_VIT)
    with pytest.raises(ValueError, match="0 references to save"):
        metric.save_reference(path)
    metric.update(make_pair(3, 32, 32)[1], real=True)
    with pytest.raises(ValueError, match=r"saved as \.safetensors"):
        metric.save_reference(tmp_path / "target.pt")
    metric.save_reference(path)
    with pytest.raises(ValueError, match="exists: give another name, or overwrite=True"):
        metric.save_reference(path)
    metric.save_reference(path, overwrite=True)
    for options, match in (
        ({"tap": 0}, r"taps is \[1\] there and \[0\] here"),
        ({"pool": "cls"}, "pool is 'mean' there and 'cls' here"),
        ({"weights": "random:1"}, "weights is 'random:0' there"),
        ({"crop_border": 2}, "crop_border is 0 there and 2 here"),
    ):
        with pytest.raises(ValueError, match=match):
            metric_type(**{**RANDOM_VIT, **options}, reference=path)
    metric_type(**RANDOM_VIT, distance="l2", reference=path)  # which says nothing of features
    other = KernelFeatureDistance if metric_type is FrechetFeatureDistance else FrechetFeatureDistance
    with pytest.raises(ValueError, match="of references, but this metric takes"):
        other(**RANDOM_VIT, reference=path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"is no \.safetensors file"):
        metric_type(**RANDOM_VIT, reference=path)
    with pytest.raises(ValueError, match="missing"):
        metric_type(**RANDOM_VIT, reference=tmp_path / "missing.safetensors")


# Presets and several networks


def test_the_presets_are_as_published() -> None:
    fd = FrechetFeatureDistance.fd_dinov2("vit_small_patch14_dinov2", weights="random:0")
    assert (fd.request.pool, fd.recipe.taps, fd.recipe.resolution, fd.recipe.tile) == ("cls", ("norm",), "resize", 224)
    assert fd.recipe.normalization == "model"
    assert FrechetFeatureDistance.fd_dinov2.__defaults__ == ("vit_large_patch14_dinov2.lvd142m",)
    cmmd = KernelFeatureDistance.cmmd("vit_base_patch32_clip_quickgelu_224", weights="random:0")
    assert (cmmd.kernel, cmmd.scale, cmmd.request.unit) == (Kernel("rbf", 10.0), 1000.0, True)
    images = make_pair(2, 60, 80)[0]
    net = cmmd.comparator.backbone.network.on(torch.device("cpu"), torch.float32)
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (net.pretrained_cfg["mean"], net.pretrained_cfg["std"])
    )
    resized = nn.functional.interpolate(images, (224, 224), mode="bicubic", antialias=True)
    with torch.no_grad():
        embedding = nn.functional.normalize(net((resized - mean) / std))
    torch.testing.assert_close(pooled_features(cmmd.comparator, images)[0], embedding, rtol=1e-3, atol=1e-5)


def test_the_mean_ratio_is_a_mean_of_ratios() -> None:
    real, held_out, preds = (make_pair(6, 64, 64, seed=seed)[0] for seed in range(3))
    recipes = {"vit": FrechetFeatureDistance(**RANDOM_VIT), "own": "embedded"}
    among_real = MeanFrechetRatio(recipes)
    among_real.update(held_out, real)
    with pytest.raises(ValueError, match="no `baselines`"):
        among_real.compute()
    metric = MeanFrechetRatio(recipes, among_real.distances())
    metric.update(held_out, real)
    assert float(metric.compute()) == pytest.approx(1.0, rel=1e-6)
    metric.reset()
    metric.update(real, real=True)
    metric.update(preds, real=False)
    distances, base = metric.distances(), among_real.distances()
    expected = sum(float(distances[name] / base[name]) for name in recipes) / 2
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-6)
    assert not list(metric.parameters())
    with pytest.raises(ValueError, match="'own' is in one alone"):
        MeanFrechetRatio(recipes, {"vit": 1.0})
    with pytest.raises(ValueError, match="positive distances"):
        MeanFrechetRatio(recipes, {"vit": 1.0, "own": 0.0})


def test_the_mean_ratio_adds_up_what_another_has_seen_and_is_measured_by_a_monitor() -> None:
    preds, target = make_pair(6, 32, 32)
    recipes, baselines = {"vit": FrechetFeatureDistance(**RANDOM_VIT)}, {"vit": 2.0}
    whole, *halves = (MeanFrechetRatio(recipes, baselines) for _ in range(3))
    whole.update(preds, target)
    halves[0].update(preds[:2], target[:2])
    assert halves[1](target[2:], real=True).isnan()  # of one side alone
    halves[1](preds[2:], real=False)
    halves[0].merge_state(halves[1])
    expected = pytest.approx(float(whole.compute()), rel=1e-4)
    assert float(halves[0].compute()) == expected
    with pytest.raises(ValueError, match="merge a MeanFrechetRatio of vit, got"):
        whole.merge_state(MeanFrechetRatio({"other": recipes["vit"]}))
    for ids in (None, range(6)):
        monitor = QualityMonitor({"ratio": MeanFrechetRatio(recipes, baselines), "psnr": PeakSignalNoiseRatio(1.0)})
        monitor.step(preds, target, ids)
        assert monitor.report().numbers["ratio"] == expected
        assert monitor.options.worst_by == "psnr"


def test_on_a_real_network_blur_is_further_than_a_flip() -> None:
    fields = {"backbone": "torchvision/squeezenet1_1", "weights": str(needs(SQUEEZENET))}
    images = make_pair(12, 96, 96, noise=0.05)[0]
    blurred = nn.functional.avg_pool2d(images, 7, 1, 3)
    for metric_type in METRICS.values():
        found = []
        for preds in (images.flip(3), blurred):
            metric = metric_type(**fields)
            metric.update(preds, images)
            found.append(float(metric.compute()))
        assert found[0] < found[1]


# Over ranks


def _build() -> dict[str, Any]:
    return {
        "frechet": FrechetFeatureDistance(**RANDOM_VIT),
        "kernel": KernelFeatureDistance(**RANDOM_VIT),
        "interval": FrechetFeatureDistance(**RANDOM_VIT, interval=True),
    }


def _values(metric: Any) -> Tensor:
    found = metric.compute()
    return found["value"] if isinstance(found, dict) else found


def _sets(rank: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for name, shards in SHARDS.items():
        for kind, metric in _build().items():
            for places in shards[rank]:
                preds, target = pair_at(places)
                metric.update(preds, target)
                metric.update(target.flip(3), real=True)
            results[name, kind] = _values(metric)
    return results


WORKS = (_sets,)


@pytest.mark.parametrize("name", SHARDS)
def test_two_ranks_are_one(outcome: Outcome, name: str) -> None:
    places = tuple(place for rank in SHARDS[name] for batch in rank for place in batch)
    preds, target = pair_at(places)
    for kind, metric in _build().items():
        metric.update(preds, target)
        metric.update(target.flip(3), real=True)
        for found in outcome(_sets):
            torch.testing.assert_close(found[name, kind], _values(metric), rtol=1e-4, atol=1e-9)
