"""How the embedded network is taught: lessons, restorations, the teacher, a run that is resumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch

import train.embedded.distil as distil
from torchmetrics_fmiqa.features.embedded import load_embedded
from train.embedded.distil import Pupil, Run, Settings
from train.embedded.images import make_image
from train.embedded.lessons import COPIES, CROPS, SIDE, make_lesson
from train.embedded.photographs import photographs
from train.embedded.restorations import CHANGES, changed, moved
from train.embedded.teachers import squeezenet
from train.embedded.weights import load_facts

from .conftest import ASSETS, SQUEEZENET, needs

PICTURE = make_image(3, 160, "town").permute(1, 2, 0).numpy()


@pytest.mark.parametrize("change", [*CHANGES, moved, changed])
def test_a_change_changes_and_is_the_same_again(change: Callable[..., np.ndarray]) -> None:
    one, same, other = (change(PICTURE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == PICTURE.shape
    assert one.dtype == np.uint8
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert 0 < np.abs(one.astype(float) - PICTURE).mean() < 90


def test_a_lesson_is_crops_and_their_copies() -> None:
    one, same, other = (make_lesson([PICTURE], number) for number in (0, 0, 1))
    assert one.shape == (CROPS, 1 + COPIES, 3, SIDE, SIDE)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert (one[:, 1:] != one[:, :1]).flatten(2).any(2).all()


def test_photographs_are_large_enough() -> None:
    needs(ASSETS / "images" / "bsd100")
    found = photographs(SIDE)
    assert len(found) > 100
    assert all(image.shape[2] == 3 and min(image.shape[:2]) >= SIDE for image in found)


def test_the_teacher_looks_where_the_network_has_its_cells() -> None:
    needs(SQUEEZENET)
    # a dot in the middle of a cell of the coarsest tap is seen there, and to both sides alike
    image = torch.full((1, 3, 128, 128), 0.5)
    image[..., 71:73, 71:73] = 1.0
    teacher, even = squeezenet(), torch.full_like(image, 0.5)
    for tap, without, stride in zip(teacher(image), teacher(even), (4, 4, 8, 8, 16), strict=True):
        assert tap.shape[2:] == (128 // stride, 128 // stride)
        seen = (tap - without).abs().sum((0, 1))
        places = torch.arange(128 // stride) * stride + (stride - 1) / 2
        for axis in (0, 1):
            centre = float((seen.sum(axis) * places).sum() / seen.sum())
            assert centre == pytest.approx(71.5, abs=0.3 * stride)


def test_normalisation_goes_into_the_weights() -> None:
    pupil = Pupil(0, (4, 6, 8), (2, 3))
    images = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        pupil.features(images)
    pupil.eval()
    for one, other in zip(pupil.features(images), pupil.folded().features(images), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a run with two small lessons and a teacher that looks at light and colour."""

    def teacher() -> Callable[[torch.Tensor], list[torch.Tensor]]:
        pool = torch.nn.functional.avg_pool2d
        return lambda images: [
            pool(images, 2 ** (2 + n // 2)).repeat(1, c // 2, 1, 1)[:, :c] for n, c in enumerate((6, 6, 8, 8))
        ]

    monkeypatch.setitem(distil.TEACHERS, "light", teacher)
    for number in range(2):
        lesson = make_lesson([PICTURE], number)[:2, :3, :, :64, :64]
        np.save(tmp_path / f"{number:05d}.npy", lesson.numpy())
    return Settings(str(tmp_path), minutes=1, teacher="light", channels="4,6,8", squeezed="4,4")


def test_a_run_learns_what_its_teacher_sees_and_goes_on_where_it_was(settings: Settings, tmp_path: Path) -> None:
    whole, broken = Run(settings, tmp_path / "whole"), Run(settings, tmp_path / "broken")
    first = [whole.learn_step() for _ in range(12)]
    for run, steps in ((broken, 5), (Run, 7)):
        run = Run(settings, tmp_path / "broken") if run is Run else run
        for _ in range(steps):
            run.learn_step()
        run.save("by hand")
    whole.save("by hand")
    assert mean(one["features"] for one in first[8:]) < mean(one["features"] for one in first[:4])
    one, other = (load_embedded(tmp_path / name / "weights.safetensors") for name in ("whole", "broken"))
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], atol=1e-3, rtol=1e-2)
    facts = load_facts(tmp_path / "whole" / "weights.safetensors")
    assert facts["command"] == "by hand"
    assert facts["step"] == "12"
    assert {name: str(value) for name, value in asdict(settings).items()}.items() <= facts.items()


def test_another_runs_folder_and_no_lessons_are_refused(settings: Settings, tmp_path: Path) -> None:
    Run(settings, tmp_path / "run")
    with pytest.raises(ValueError, match="other settings"):
        Run(Settings(**{**asdict(settings), "seed": 1}), tmp_path / "run")
    with pytest.raises(ValueError, match=r"no lessons in .*make them with"):
        Run(Settings(**{**asdict(settings), "lessons": str(tmp_path / "none")}), tmp_path / "other")
