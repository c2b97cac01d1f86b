"""Distances of clips: of frames, of what changes between them, and what goes wrong with video."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.cli_runs import run_command
from tests.conftest import ASSETS, RANDOM_VIT, make_pair, needs
from tests.made_clips import FAULTS, MOTIONS, moving, noisy_to
from torchmetrics_fmiqa import (
    FeatureComparator,
    FeatureDistance,
    FeatureMetricCollection,
    ImageQualityMonitor,
    VideoFeatureDistance,
    VideoFeatureDistanceLoss,
    feature_distance,
    video_feature_distance,
)


def make_clips(count: int = 2, frames: int = 3, side: int = 32) -> tuple[Tensor, Tensor]:
    preds, target = make_pair(count * frames, side, side)
    return preds.unflatten(0, (count, frames)), target.unflatten(0, (count, frames))


def test_frames_are_measured_as_images() -> None:
    preds, target = make_clips()
    found = video_feature_distance(preds, target, reduction="none", **RANDOM_VIT)
    by_frame = feature_distance(preds.flatten(0, 1), target.flatten(0, 1), reduction="none", **RANDOM_VIT).view(2, 3)
    torch.testing.assert_close(found["frames"], by_frame.mean(1))
    torch.testing.assert_close(found["worst"], by_frame.amax(1))


@pytest.mark.parametrize("weighted", [False, True])
def test_an_error_that_stays_costs_nothing_in_time_and_one_that_comes_and_goes_twice(weighted: bool) -> None:
    recipe: Any = {**RANDOM_VIT, "distance": "cosine"}
    if weighted:
        recipe["channel_weights"] = dict.fromkeys((0, 1), torch.linspace(0, 2, 192))
    frame, _ = make_pair(1, 32, 32)
    target = frame.expand(1, 4, -1, -1, -1)
    steady = (target * 0.8).contiguous()
    assert video_feature_distance(steady, target, **recipe)["temporal"] == 0
    once = target.clone()
    once[:, 2] *= 0.8
    of_features = 2 * feature_distance(frame * 0.8, frame, **recipe) / 3
    of_changes = feature_distance(*(clip[0].diff(dim=0) / 2 + 0.5 for clip in (once, target)), **recipe)
    found = video_feature_distance(once, target, **recipe)["temporal"]
    torch.testing.assert_close(found, (2 * of_features + of_changes) / 3)


@pytest.mark.parametrize("tiles", [1, 2, 5, 32])
@pytest.mark.parametrize("grad", [False, True])
def test_portions_and_tiles_make_no_difference(tiles: int, grad: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    preds, target = make_clips(2, 3, 40)
    preds.requires_grad_(grad)
    tiled = {**RANDOM_VIT, "resolution": "tile", "tile": 32}
    loss = VideoFeatureDistanceLoss(reduction="none", **tiled)
    alone = [video_feature_distance(preds.detach()[[row]], target[[row]], **tiled) for row in range(2)]
    expected = torch.stack([found["frames"] + found["temporal"] for found in alone])
    monkeypatch.setattr(FeatureComparator, "at_once", lambda *_: tiles)
    torch.testing.assert_close(loss(preds, target).detach(), expected, rtol=1e-5, atol=1e-7)


def test_changes_count_everywhere_though_the_recipe_pools_by_information() -> None:
    still = torch.full((1, 4, 3, 48, 48), 0.4)
    still[..., 24:] = torch.rand(3, 48, 24, generator=torch.Generator().manual_seed(0))
    noise = 0.1 * torch.rand(4, 3, 48, 24, generator=torch.Generator().manual_seed(1))
    even, busy = still.clone(), still.clone()
    even[..., :24] += noise
    busy[..., 24:] = (busy[..., 24:] + noise).clamp(0, 1)
    found = [video_feature_distance(preds, still)["temporal"] for preds in (even, busy)]
    assert found[0] > found[1] > 0


def test_the_metric_pickles() -> None:
    preds, target = make_clips()
    metric = VideoFeatureDistance(**RANDOM_VIT)
    copied = pickle.loads(pickle.dumps(metric))
    assert copied(preds, target) == metric(preds, target)


def test_equal_clips_are_0_and_the_order_of_axes_makes_no_difference() -> None:
    preds, target = make_clips()
    assert [float(value) for value in video_feature_distance(target, target, **RANDOM_VIT).values()] == [0, 0, 0]
    turned = [side.transpose(1, 2) for side in (preds, target)]
    torch.testing.assert_close(
        video_feature_distance(*turned, layout="BCTHW", **RANDOM_VIT),
        video_feature_distance(preds, target, **RANDOM_VIT),
    )


def test_ranges_and_types_are_those_of_images() -> None:
    preds, target = ((side * 255).round() for side in make_clips(1))
    of_floats = video_feature_distance(preds, target, data_range=255, **RANDOM_VIT)
    of_bytes = video_feature_distance(preds.byte(), target.byte(), **RANDOM_VIT)
    torch.testing.assert_close(of_bytes, of_floats)
    signed = (side / 127.5 - 1 for side in (preds, target))
    torch.testing.assert_close(
        video_feature_distance(*signed, data_range=(-1, 1), **RANDOM_VIT), of_floats, rtol=1e-4, atol=1e-6
    )


def test_the_metric_is_the_mean_over_clips_of_any_length_and_counts_an_id_once() -> None:
    metric = VideoFeatureDistance(**RANDOM_VIT)
    short, longer = make_clips(2, 3), make_clips(1, 5)
    metric.update(*short, sample_ids=[4, 7])
    metric.update(*longer, sample_ids=[2])
    metric.update(*short, sample_ids=[7, 4])
    parts = [video_feature_distance(*clips, reduction="none", **RANDOM_VIT) for clips in (short, longer)]
    for name, value in metric.compute().items():
        torch.testing.assert_close(value, torch.cat([part[name] for part in parts]).mean())


def test_clips_that_are_not_finite_are_left_out_where_that_is_asked_for() -> None:
    preds, target = make_clips()
    spoilt = preds.clone()
    spoilt[1, 2, 0, 0, 0] = float("nan")
    metric = VideoFeatureDistance(nan_strategy="ignore", **RANDOM_VIT)
    metric.update(spoilt, target)
    torch.testing.assert_close(metric.compute(), video_feature_distance(preds[:1], target[:1], **RANDOM_VIT))
    with pytest.raises(ValueError, match="holds NaN"):
        VideoFeatureDistance(**RANDOM_VIT).update(spoilt, target)


def test_states_of_frames_and_of_clips_are_told_apart() -> None:
    images, clips = FeatureDistance(**RANDOM_VIT), VideoFeatureDistance(**RANDOM_VIT)
    assert not set(images.metric_state) & set(clips.metric_state)


def test_a_feature_collection_takes_clips_and_a_monitor_says_that_it_does_not() -> None:
    preds, target = make_clips()
    one, other = VideoFeatureDistance(**RANDOM_VIT), VideoFeatureDistance(distance="l2", **RANDOM_VIT)
    both = FeatureMetricCollection({"one": one, "other": other})
    both.update(preds, target, sample_ids=[3, 4])
    both.update(preds, target, sample_ids=[4, 3])
    found = both.compute()
    for name, metric in (("one", one), ("other", other)):
        for key, value in metric(preds, target).items():
            torch.testing.assert_close(found[f"{name}_{key}"], value)
    with pytest.raises(ValueError, match="'one', a VideoFeatureDistance: it takes clips, and a monitor takes images"):
        ImageQualityMonitor({"one": one})


@pytest.mark.parametrize("weight", [0.0, 2.5])
def test_the_loss_is_the_sum_of_both_parts(weight: float) -> None:
    preds, target = make_clips()
    preds.requires_grad_()
    loss = VideoFeatureDistanceLoss(temporal_weight=weight, **RANDOM_VIT)
    value = loss(preds, target)
    value.backward()
    found = video_feature_distance(preds.detach(), target, **RANDOM_VIT)
    torch.testing.assert_close(value.detach(), found["frames"] + weight * found["temporal"], rtol=1e-5, atol=1e-8)
    assert preds.grad is not None
    assert (preds.grad.flatten(2).abs().sum(2) > 0).all()  # each frame of each clip
    assert list(loss.parameters()) == []


@pytest.mark.parametrize("case", ["equal", "black", "one pixel"])
def test_gradients_are_finite_where_clips_tie(case: str) -> None:
    target = make_clips(1)[1] * (case != "black")
    preds = target.clone()
    if case == "one pixel":
        preds[0, 1, 0, 3, 4] += 0.1
    preds.requires_grad_()
    VideoFeatureDistanceLoss()(preds, target).backward()
    assert preds.grad is not None
    assert preds.grad.isfinite().all()


def test_the_gradient_is_that_of_finite_differences() -> None:
    preds, target = (side.double() for side in make_clips(1, 2, 16))
    loss = VideoFeatureDistanceLoss(distance="l2", **RANDOM_VIT)
    assert torch.autograd.gradcheck(lambda images: loss(images, target), preds.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize(
    ("shape", "layout", "message"),
    [
        ((2, 3, 32, 32), "BTCHW", r"for one clip give preds\[None\]"),
        ((1, 3, 4, 32, 32), "BTCHW", 'give layout="BCTHW"'),
        ((1, 4, 3, 32, 32), "BCTHW", 'give layout="BTCHW"'),
        ((1, 4, 32, 32, 3), "BTCHW", r"permute\(0, 1, 4, 2, 3\)$"),
        ((1, 4, 32, 32, 3), "BCTHW", r'permute\(0, 1, 4, 2, 3\) and layout="BTCHW"'),
        ((1, 4, 1, 32, 32), "BTCHW", r"repeat_interleave\(3, 2\)"),
        ((1, 1, 4, 32, 32), "BCTHW", r"repeat_interleave\(3, 1\)"),
        ((1, 1, 3, 32, 32), "BTCHW", "one frame a clip"),
        ((0, 4, 3, 32, 32), "BTCHW", "holds no pixels"),
        ((32, 32), "BTCHW", r"must be clips \(B, T, 3, H, W\), got \(32, 32\)$"),
        ((1, 4, 3, 32, 32), "TCHW", "`layout` must be one of BTCHW, BCTHW; got 'TCHW'"),
    ],
)
def test_other_shapes_are_refused_with_the_call_that_mends_them(
    shape: tuple[int, ...], layout: str, message: str
) -> None:
    clips = torch.rand(shape)
    with pytest.raises(ValueError, match=message):
        video_feature_distance(clips, clips, layout=layout, **RANDOM_VIT)  # type: ignore[arg-type]


def test_clips_of_two_lengths_masks_several_results_and_odd_weights_are_refused() -> None:
    preds, target = make_clips()
    with pytest.raises(ValueError, match="no frame is dropped or repeated for you"):
        video_feature_distance(preds, target[:, :2], **RANDOM_VIT)
    with pytest.raises(ValueError, match="`mask` is for images"):
        VideoFeatureDistance(**RANDOM_VIT).update(preds, target, mask=torch.ones(2, 3, 1, 32, 32))
    with pytest.raises(ValueError, match="clips are measured by one `distance`"):
        VideoFeatureDistance(**RANDOM_VIT, distance=["l2", "cosine"])
    for weight in (-1, float("nan"), True, "1"):
        with pytest.raises(ValueError, match="`temporal_weight` must be a finite number of at least 0"):
            VideoFeatureDistanceLoss(temporal_weight=weight, **RANDOM_VIT)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="or take VideoFeatureDistance"):
        feature_distance(preds, target, **RANDOM_VIT)


@pytest.fixture(scope="module")
def still() -> Tensor:
    path: Path = needs(ASSETS / "images/kodak/kodim05.png")
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("motion", MOTIONS)
def test_a_fault_in_time_costs_more_than_noise_in_every_frame_that_is_as_bad_frame_by_frame(
    still: Tensor, fault: str, motion: str
) -> None:
    target = moving(still, motion)
    preds = FAULTS[fault](target)

    def measured(clip: Tensor) -> dict[str, Tensor]:
        return video_feature_distance(clip[None], target[None])

    def of_frames(clip: Tensor) -> float:
        return float(feature_distance(clip, target))

    found = measured(preds)
    for same in (False, True):
        noise = measured(noisy_to(target, of_frames, float(found["frames"]), same))
        assert noise["frames"] >= 0.9 * found["frames"]
        assert found["temporal"] > 1.05 * noise["temporal"]


# Clips on disk


def write_frames(folder: Path, clip: Tensor) -> Path:
    folder.mkdir()
    for place, frame in enumerate(clip):
        pixels = (frame * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"frame_{place + 5}.png")
    return folder


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_folders_of_frames_are_scored_as_the_metric_does_and_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    preds, target = ((side * 255).round() / 255 for side in make_clips(1, 9))
    folders = write_frames(tmp_path / "ref", target[0]), write_frames(tmp_path / "dist", preds[0])
    status, output = run_command("video", *folders, "--out", tmp_path / "frames.csv")
    assert status == 0, output
    rows = read_rows(tmp_path / "frames.csv")
    assert [row["dist"] for row in rows] == [f"frame_{place}.png" for place in range(5, 14)]
    expected = video_feature_distance(preds, target)
    distances = [float(row["distance"]) for row in rows]
    assert sum(distances) / 9 == pytest.approx(float(expected["frames"]), rel=1e-5)
    assert max(distances) == pytest.approx(float(expected["worst"]), rel=1e-5)
    changes = [float(row["change"]) for row in rows[1:]]
    assert sum(changes) / 8 == pytest.approx(float(expected["temporal"]), rel=1e-4)
    assert rows[0]["change"] in ("", "nan")
    assert rows[distances.index(max(distances))]["dist"] in output


def test_clips_on_disk_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    preds, target = make_clips(1, 3)
    ref, dist = write_frames(tmp_path / "ref", target[0]), write_frames(tmp_path / "dist", preds[0, :2])
    single = write_frames(tmp_path / "single", preds[0, :1])
    mixed = write_frames(tmp_path / "mixed", preds[0, :2])
    Image.new("RGB", (40, 40)).save(mixed / "frame_7.png")
    text = tmp_path / "clip.txt"
    text.write_text("no video")
    broken = tmp_path / "clip.mp4"
    broken.write_bytes(b"no video")
    for arguments, message in (
        ((ref, dist), "the reference has 3 frames and the clip under test 2"),
        ((single, single), "a clip has at least two frames"),
        ((ref, mixed), "frames of the clip under test differ"),
        ((ref, text), "is no video"),
        ((ref, tmp_path / "absent"), "there is no folder of frames or video"),
        ((ref, broken), "clip.mp4"),
        ((ref, ref, "--out", ref / "frames.csv"), "lies in a folder of frames"),
    ):
        status, output = run_command("video", *arguments)
        assert (status, message in output) == (2, True), output


def test_grey_frames_with_any_names_are_taken_where_that_is_asked_for(tmp_path: Path) -> None:
    for side in ("ref", "dist"):
        (tmp_path / side).mkdir()
        for place in range(3):
            Image.new("L", (32, 32), 40 * place).save(tmp_path / side / f"²{place}.png")
    folders = tmp_path / "ref", tmp_path / "dist"
    status, output = run_command("video", *folders)
    assert (status, "--to-rgb" in output) == (2, True), output
    status, output = run_command("video", *folders, "--to-rgb", "--out", tmp_path / "frames.json")
    assert status == 0, output
    rows = json.loads((tmp_path / "frames.json").read_text(), parse_constant=pytest.fail)
    assert [row["distance"] for row in rows] == [0, 0, 0]
    assert [row["change"] for row in rows] == [None, 0, 0]


def test_files_of_video_are_read_by_torchcodec(tmp_path: Path) -> None:
    try:
        import torchcodec  # noqa: F401
    except Exception as error:
        pytest.skip(f"torchcodec does not work here: {str(error)[:80]}")
    ffmpeg = shutil.which("ffmpeg") or pytest.skip("needs ffmpeg to write a video")
    frames = write_frames(tmp_path / "frames", make_clips(1, 5, 64)[1][0])
    pattern = ["-start_number", "5", "-i", str(frames / "frame_%d.png")]
    subprocess.run(
        [ffmpeg, "-v", "error", *pattern, "-c:v", "ffv1", "-pix_fmt", "gbrp", str(tmp_path / "clip.mkv")], check=True
    )
    status, output = run_command("video", tmp_path / "clip.mkv", frames, "--out", tmp_path / "frames.csv")
    assert status == 0, output
    assert [float(row["distance"]) for row in read_rows(tmp_path / "frames.csv")] == [0.0] * 5  # without loss
