"""fmiqa gate and assert_looks_like: what passes, what fails, what is refused, and that nothing is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from tests.cli_runs import run_command
from torchmetrics_fmiqa.cli import app
from torchmetrics_fmiqa.gate import assert_looks_like
from torchmetrics_fmiqa.gate.assertion import record_image
from torchmetrics_fmiqa.gate.check import check, check_image, gate_comparator, load
from torchmetrics_fmiqa.gate.differences import Differences, aligned, measure
from torchmetrics_fmiqa.gate.golden import read_golden
from torchmetrics_fmiqa.gate.settings import SETTINGS
from torchmetrics_fmiqa.one_writer import one_writer
from torchmetrics_fmiqa.recipes import as_recipe

few = settings(max_examples=15, deadline=None, derandomize=True)


def photograph(seed: int, side: int = 96) -> Tensor:
    """A smooth picture with edges and some grain, ``(3, side, side)``, of 8 bits."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 7, 7, generator=generator)
    picture = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")[0].clamp(0.1, 0.9)
    picture[:, side // 3 : side // 2, side // 4 : side // 2] *= 0.5
    picture += 0.006 * torch.randn(picture.shape, generator=generator)
    return (picture.clamp(0, 1) * 255).round() / 255


def save(image: Tensor, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()).save(path)
    return path


run = partial(run_command, "gate")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    for seed in range(3):
        save(photograph(seed), folder / ("night" if seed else ".") / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def golden(outputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden") / "golden"
    code, text = run("record", folder, "--from", outputs)
    assert code == 0
    assert "3 golden images" in text
    return folder


def changed(outputs: Path, folder: Path, change) -> Path:
    """The outputs with one of them changed."""
    for path in outputs.rglob("*.png"):
        image = load(path)
        save(change(image) if path.stem == "1" else image, folder / path.relative_to(outputs))
    return folder


def grid(image: Tensor) -> Tensor:
    lines = torch.zeros_like(image)
    lines[:, ::8] = lines[:, :, ::8] = 2 / 255
    return image + lines


def broken(image: Tensor) -> Tensor:
    image = image.clone()
    image[:, 40:72, 32:64] = image[:, 40:72, 32:64].flip(2)
    return image


def noisy(image: Tensor) -> Tensor:
    return image + torch.randint(-1, 2, image.shape, generator=torch.Generator().manual_seed(9)) / 255


@pytest.mark.parametrize("change", [lambda image: image, noisy, lambda image: image.roll((1, -1), (1, 2))])
def test_harmless_changes_pass(change, outputs: Path, golden: Path, tmp_path: Path):
    code, text = run("check", golden, changed(outputs, tmp_path, change))
    assert code == 0
    assert "All 3 images look as recorded." in text


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda image: image.flip(0), "whole image"),
        (lambda image: image**1.1, "colours"),
        (broken, "worst place"),
        (grid, "pattern"),
        (lambda image: torch.nn.functional.avg_pool2d(image, 3, 1, 1), "whole image"),
        (lambda image: image.roll(3, 2), "whole image"),
    ],
    ids=["bgr", "gamma", "broken tile", "grid", "blur", "shift by 3"],
)
def test_faults_fail_and_are_named(change, what: str, outputs: Path, golden: Path, tmp_path: Path):
    result = check(read_golden(golden), changed(outputs, tmp_path, change))
    assert not result.holds
    assert [failure.name for failure in result.failures] == ["night/1"]
    assert what in result.failures[0].reason


def test_a_failure_has_a_report_pictures_and_junit(outputs: Path, golden: Path, tmp_path: Path):
    new = changed(outputs, tmp_path / "new", broken)
    (new / "0.png").unlink()
    save(photograph(8), new / "more.png")
    code, text = run("check", golden, new, "--report", tmp_path / "report")
    assert code == 3
    assert "1 of 2 images look worse or different; 1 cannot be compared" in text
    assert "more.png has no golden image" in text
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("data:image/png") == 1
    assert "://" not in page
    assert (tmp_path / "report" / "images" / "night" / "1.png").stat().st_size > 1000
    suite = ElementTree.parse(tmp_path / "report" / "junit.xml").getroot()
    assert {name: suite.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "4",
        "failures": "2",  # the mean fails too
        "errors": "1",
    }


def test_each_failure_has_a_picture_of_its_own_whatever_its_name(tmp_path: Path):
    for seed, name in enumerate(("ä", "ö", "a b", "a_b")):
        save(photograph(seed), tmp_path / "outputs" / f"{name}.png")
        save(broken(photograph(seed)), tmp_path / "new" / f"{name}.png")
    assert run("record", tmp_path / "golden", "--from", tmp_path / "outputs")[0] == 0
    assert run("check", tmp_path / "golden", tmp_path / "new", "--report", tmp_path / "report")[0] == 3
    assert len(list((tmp_path / "report" / "images").iterdir())) == 4


def test_many_small_differences_fail_by_their_mean(golden: Path, outputs: Path, tmp_path: Path):
    # Each output may be as far off as the most that a harmless change does to it; all of them at once may not.
    known = read_golden(golden)
    tight = json.loads((golden / "golden.json").read_text())
    tight["margin"] = 1e-9
    for path in golden.rglob("*.png"):
        save(load(path), tmp_path / path.relative_to(golden))
    (tmp_path / "golden.json").write_text(json.dumps(tight))
    result = check(read_golden(tmp_path), changed(outputs, tmp_path / "new", noisy))
    assert result.mean_exceeded
    assert known.mean_bound > result.mean


def test_repeats_set_the_bounds(outputs: Path, tmp_path: Path):
    again = tmp_path / "again"
    for path in outputs.rglob("*.png"):
        save(load(path) + 4 / 255 * torch.randn(load(path).shape), again / path.relative_to(outputs))
    assert run("record", tmp_path / "g", "--from", outputs, "--harmless", "none", "--repeat", again)[0] == 0
    floors = [image.floor.score for image in read_golden(tmp_path / "g").images.values()]
    assert all(floor > 0 for floor in floors)
    assert run("check", tmp_path / "g", again)[0] == 0
    assert run("check", tmp_path / "g", changed(outputs, tmp_path / "new", broken))[0] == 3


def test_a_recording_that_was_killed_is_begun_again(outputs: Path, tmp_path: Path):
    with one_writer(tmp_path / "g"):
        shutil.copytree(tmp_path / "g", tmp_path / "killed")  # with what a killed process leaves
    assert list((tmp_path / "killed").iterdir())
    assert run("record", tmp_path / "killed", "--from", outputs)[0] == 0


def test_recording_again_is_an_explicit_act_that_says_what_changed(outputs: Path, tmp_path: Path):
    folder, new = tmp_path / "g", changed(outputs, tmp_path / "new", broken)
    (new / "0.png").rename(new / "zero.png")
    assert run("record", folder, "--from", outputs)[0] == 0
    before = (folder / "golden.json").read_bytes()
    code, text = run("record", folder, "--from", new)
    assert code == 2
    assert "give --update" in text
    assert (folder / "golden.json").read_bytes() == before
    code, text = run("record", folder, "--from", new, "--update", "--margin", "2")
    assert code == 0
    for line in ("added: zero", "removed: 0", "another image: night/1", "margin: 1.5 became 2.0"):
        assert line in text
    assert sorted(path.name for path in folder.rglob("*.png")) == ["1.png", "2.png", "zero.png"]


def test_wrong_use_is_one_line_and_status_2(outputs: Path, golden: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "junit.xml").write_text('<testsuite name="pytest"/>')
    other = json.loads((golden / "golden.json").read_text()) | {"digest": "0" * 12}
    for name, content in (("old", json.dumps(other)), ("torn", "{"), ("later", json.dumps(other | {"format": 9}))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "golden.json").write_text(content)
    cases = [
        (("check", tmp_path / "empty", outputs), "no golden results"),
        (("check", tmp_path / "old", outputs), "recipe of another version"),
        (("check", tmp_path / "torn", outputs), "record it anew"),
        (("check", tmp_path / "later", outputs), "it has format 9"),
        (("record", tmp_path / "full", "--from", outputs), "is not empty"),
        (("record", tmp_path / "g", "--from", tmp_path / "empty"), "no images"),
        (("record", tmp_path / "g", "--from", outputs, "--harmless", "blur"), "`harmless` takes noise, jpeg, shift"),
        (("record", tmp_path / "g", "--from", outputs, "--harmless", "none"), "give --harmless or --repeat"),
        (("record", tmp_path / "g", "--from", outputs, "--set", "distance=wasserstein"), "has maps"),
        (("check", golden, outputs, "--report", golden), "give another folder"),
        (("check", golden, outputs, "--report", golden / "images"), "give another folder"),
        (("check", golden, outputs, "--report", outputs / "report"), "give another folder"),
        (("check", golden, outputs, "--report", tmp_path / "theirs"), "is of no `fmiqa gate check`"),
        (("record", outputs / "golden", "--from", outputs), "give another folder"),
        (("record", tmp_path / "g", "--from", outputs, "--repeat", outputs), "give the outputs of another run"),
        (("record", tmp_path / "g", "--from", outputs, "--margin", "inf"), "`margin` must be a finite number"),
    ]
    for arguments, message in cases:
        code, text = run(*arguments)
        assert code == 2, (arguments, text)
        assert message in text
    assert not (tmp_path / "g" / "golden.json").exists()
    assert not list(outputs.rglob("golden*"))
    assert "pytest" in (tmp_path / "theirs" / "junit.xml").read_text()


def test_a_missing_output_fails_whatever_the_folders_are_called(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    new = changed(outputs, tmp_path / "out", lambda image: image)
    assert run("record", tmp_path / "out_golden", "--from", new)[0] == 0
    (new / "0.png").unlink()
    save(photograph(7), new / "more.png")
    monkeypatch.chdir(new)
    for folder, golden in ((new, tmp_path / "out_golden"), (Path(), Path("../out_golden"))):
        code, text = run("check", golden, folder)
        assert code == 3
        assert "0.png: has no partner" in text
        assert "more.png has no golden image" in text


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: content.update(margin=float("nan")), "`margin` must be a finite number"),
        (lambda content: content.update(harmless=["blur"]), "got 'blur'"),
        (lambda content: content["images"]["0"]["floor"].update(score=float("nan")), "the floor of '0.png'"),
        (lambda content: content["images"]["0"].update(file="../../mine.png"), "outside its folder"),
    ],
    ids=["margin", "harmless", "floor", "file"],
)
def test_an_edited_golden_file_lets_nothing_pass_and_removes_nothing(edit, message: str, golden: Path, tmp_path: Path):
    content = json.loads((golden / "golden.json").read_text())
    edit(content)
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "golden.json").write_text(json.dumps(content))
    mine = save(photograph(0), tmp_path / "mine.png")
    for arguments in (
        ("check", tmp_path / "g", golden / "images"),
        ("record", tmp_path / "g", "--from", golden / "images", "--update"),
    ):
        code, text = run(*arguments)
        assert code == 2
        assert message in text
    assert mine.exists()


def test_recording_again_keeps_the_old_images_until_all_are_measured(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "g"
    assert run("record", folder, "--from", outputs)[0] == 0
    new = changed(outputs, tmp_path / "new", broken)
    measured = []

    def interrupted(*arguments: object) -> Differences:
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(arguments)
        return Differences(1, 1, 1, 1)

    monkeypatch.setattr("torchmetrics_fmiqa.gate.check.floor_of", interrupted)
    done = CliRunner().invoke(app, ["gate", "record", str(folder), "--from", str(new), "--update"])
    assert done.exit_code != 0
    assert run("check", folder, outputs)[0] == 0


def test_a_golden_image_that_was_touched_fails(outputs: Path, tmp_path: Path):
    folder = tmp_path / "g"
    assert run("record", folder, "--from", outputs)[0] == 0
    save(photograph(5), folder / "images" / "0.png")
    (folder / "images" / "night" / "2.png").unlink()
    code, text = run("check", folder, outputs)
    assert code == 3
    assert "is not what was recorded" in text
    assert "is missing" in text


@given(y=st.integers(-1, 1), x=st.integers(-1, 1))
@few
def test_a_shift_is_undone_to_the_digit(y: int, x: int):
    image = photograph(3)
    output, target = aligned(image.roll((y, x), (1, 2)), image, 1)
    assert torch.equal(output, target)


@given(scale=st.floats(0.2, 1.0))
@few
def test_differences_are_0_for_equal_images_and_positive_for_others(scale: float):
    comparator, image = gate_comparator(as_recipe("default")), photograph(4, 48)
    assert set(measure(comparator, image.clone(), image)[0].items().values()) == {0.0}
    assert all(value > 0 for value in measure(comparator, grid(image) * scale, image)[0].items().values())


# assert_looks_like


def forms(image: Tensor, folder: Path) -> list[object]:
    pixels = (image * 255).round().to(torch.uint8)
    array = pixels.permute(1, 2, 0).numpy()
    return [
        image,
        image[None],
        pixels,
        array,
        Image.fromarray(array),
        save(image, folder / "a.png"),
        str(folder / "a.png"),
    ]


def test_every_kind_of_image_is_taken(tmp_path: Path):
    image = photograph(6, 48)
    record_image(image, "decoder/night", tmp_path / "golden")
    for got in forms(image, tmp_path):
        assert_looks_like(got, "decoder/night", tmp_path / "golden")
    assert_looks_like(image * 2 - 1, "decoder/night", tmp_path / "golden", data_range=(-1, 1))
    with pytest.raises(AssertionError, match=r"decoder/night does not look as recorded: .* at most .* is fine"):
        assert_looks_like(broken(photograph(6, 96))[:, 30:78, 20:68], "decoder/night", tmp_path / "golden")
    with pytest.raises(AssertionError, match="the size is 40x48 and was 48x48"):
        assert_looks_like(image[:, :40], "decoder/night", tmp_path / "golden")


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (3, "got a int"),
        (torch.zeros(2, 3, 8, 8), r"must be \(3, H, W\)"),
        (torch.full((3, 48, 48), 2.0), "must lie in `data_range`"),
        (np.zeros((8, 8, 3), np.float32), "of uint8"),
        ([], "no frames"),
        (Image.new("RGBA", (48, 48)), "must be opaque"),
        (Image.new("I;16", (48, 48)), "must be of 8 bits, got mode 'I;16'"),
    ],
)
def test_what_is_no_image_is_refused(got: object, message: str, tmp_path: Path):
    record_image(photograph(6, 48), "a", tmp_path)
    with pytest.raises(ValueError, match=message):
        assert_looks_like(got, "a", tmp_path)


def test_nothing_recorded_is_said(tmp_path: Path):
    with pytest.raises(ValueError, match="nothing was recorded"):
        assert_looks_like(photograph(1, 48), "a", tmp_path)
    record_image(photograph(1, 48), "a", tmp_path)
    with pytest.raises(ValueError, match="'b' was not recorded"):
        assert_looks_like(photograph(1, 48), "b", tmp_path)
    for name in ("", ".", "/etc/a", "../a", "a/../../b", "a//b", "a/./b", "a/"):
        with pytest.raises(ValueError, match="`name` must be that of a file"):
            record_image(photograph(1, 48), name, tmp_path)


def test_a_clip_that_lost_frames_fails_and_can_be_recorded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    frames = [photograph(seed, 48) for seed in range(3)]
    monkeypatch.setattr(SETTINGS, "recorded", set())
    monkeypatch.setattr(SETTINGS, "record", True)
    assert_looks_like(frames, "clip", tmp_path)
    assert_looks_like(frames, "clip_of_others", tmp_path)
    # A second image of one name in one run is checked, or the last one would win.
    with pytest.raises(AssertionError, match="it has 2 frames, and had 3"):
        assert_looks_like(frames[:2], "clip", tmp_path)
    assert_looks_like(frames, "clip", tmp_path)
    SETTINGS.recorded.clear()
    assert_looks_like(frames[:2], "clip", tmp_path)
    monkeypatch.setattr(SETTINGS, "record", False)
    assert_looks_like(frames[:2], "clip", tmp_path)
    assert_looks_like(frames, "clip_of_others", tmp_path)
    assert not (tmp_path / "images" / "clip_0002.png").exists()


SUITE = """
import torch
from torchmetrics_fmiqa.gate import assert_looks_like

def picture(shade):
    ramp = torch.linspace(0, 1, 48)
    return torch.stack([ramp.expand(48, 48), ramp[:, None].expand(48, 48), torch.full((48, 48), shade)])

def test_clip():
    assert_looks_like([picture(0.2), picture(0.4)], "clip")

def test_still():
    assert_looks_like(picture(SHADE), "still")
"""


def pytest_run(folder: Path, shade: float, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(SUITE.replace("SHADE", str(shade)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    if "torchmetrics_fmiqa.gate.pytest_plugin" not in plugins():
        command += ["-p", "torchmetrics_fmiqa.gate.pytest_plugin"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def plugins() -> list[str]:
    """Installed plugins of pytest: an environment that was made before this one was added has it not."""
    from importlib.metadata import entry_points

    return [entry.value for entry in entry_points(group="pytest11")]


@pytest.mark.slow  # three processes
def test_the_plugin_records_checks_and_reports(tmp_path: Path):
    (tmp_path / "pytest.ini").write_text("[pytest]\nfmiqa_golden = golden\n")
    recorded = pytest_run(tmp_path, 0.5, "--fmiqa-record", "-n", "2")  # both processes write one golden.json
    assert recorded.returncode == 0, recorded.stdout + recorded.stderr
    assert sorted(read_golden(tmp_path / "golden").images) == ["clip_0000", "clip_0001", "still"]
    assert pytest_run(tmp_path, 0.5).returncode == 0
    failed = pytest_run(tmp_path, 0.7, "--fmiqa-report", "seen")
    assert failed.returncode == 1
    assert "still does not look as recorded" in failed.stdout
    assert (tmp_path / "seen" / "images" / "still.png").is_file()
    assert SETTINGS.folder == Path("tests/golden") or SETTINGS.folder.is_absolute()


def test_a_check_is_quick(tmp_path: Path):
    # Seconds depend on the machine; a check is one forward pass of the pair, and little more.
    image = photograph(2, 256)
    record_image(image, "a", tmp_path)
    known, other = read_golden(tmp_path), noisy(image).clamp(0, 1)
    comparator = gate_comparator(known.recipe)

    def best(call) -> float:
        times = []
        for _ in range(5):
            began = time.process_time()
            call()
            times.append(time.process_time() - began)
        return min(times)

    check_image(known, "a", other)
    assert best(lambda: check_image(known, "a", other)) < 3 * best(lambda: comparator.maps(other[None], image[None]))
